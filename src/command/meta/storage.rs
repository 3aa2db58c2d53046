//! ms: stores one item, in two parts because its data may still be on the way.
//!
//! [`draft`] gets the memory, or says why not; [`finish`] stores what the data block has filled it with.

use super::reply;
use crate::command::storage::{OUT_OF_MEMORY, TOO_LARGE};
use crate::command::{Output, Scope, watch};
use crate::engine::{Draft, Key, Lookup, Refusal, StoreHow, StoreMode, Stored};
use crate::protocol::Rejection;
use crate::protocol::meta::{MetaRequest, Mode, OPAQUE_TOO_LONG};
use watch::{StoreCommand, StoreEvent, StoreStatus};

/// ms, first half: memory for the value; `whole`: it is here already.
///
/// # Errors
/// The reply, with the length of the data block that must be skipped.
pub fn draft(
    scope: Scope<'_>,
    request: &MetaRequest<'_>,
    hash: u64,
    whole: bool,
) -> Result<Draft, Rejection> {
    let value_len = request.value_len().unwrap_or_default();
    let draft = |bytes: &[u8]| new_draft(scope, request, Key { bytes, hash }, value_len, whole);
    request.with_key(draft).map_err(|message| Rejection {
        message,
        swallow: value_len.saturating_add(2),
        noreply: false,
    })
}

fn new_draft(
    scope: Scope<'_>,
    request: &MetaRequest<'_>,
    key: Key<'_>,
    value_len: usize,
    whole: bool,
) -> Result<Draft, &'static str> {
    let exptime = match (request.mode, request.has(b'N')) {
        (Mode::Append | Mode::Prepend, true) => request.vivify,
        _ => request.exptime,
    };
    let exptime = scope.deadline(exptime);
    let draft = match whole {
        true => scope.session.draft(key, value_len, request.client_flags, exptime),
        false => scope.session.draft_to_wait(key, value_len, request.client_flags, exptime),
    };
    let mut draft = match draft {
        Ok(draft) => draft,
        Err(refusal) => return Err(refuse(scope, request, key, refusal)),
    };
    scope.counters().cmd_set.bump();
    if request.opaque_too_long {
        return Err(OPAQUE_TOO_LONG);
    }
    // memcached takes E0 for no E here.
    if let Some(cas) = request.new_cas().filter(|&cas| cas != 0) {
        draft.set_cas(cas);
    }
    if request.has(b'b') {
        draft.set_key_is_binary();
    }
    Ok(draft)
}

/// Counts and words a refusal. The value that was to be replaced is gone, whatever the mode.
#[cold]
fn refuse(
    scope: Scope<'_>,
    request: &MetaRequest<'_>,
    key: Key<'_>,
    refusal: Refusal,
) -> &'static str {
    let (status, message) = match refusal {
        Refusal::TooLarge => {
            scope.counters().store_too_large.bump();
            (StoreStatus::TooLarge, TOO_LARGE)
        }
        Refusal::OutOfMemory => {
            scope.counters().store_no_memory.bump();
            (StoreStatus::NoMemory, OUT_OF_MEMORY)
        }
    };
    let command = command(request);
    let event = StoreEvent { key: key.bytes, status, command, exptime: 0, value_len: 0 };
    watch::store(scope.worker, scope.cfd, &event);
    scope.session.delete(key, None);
    message
}

/// ms, second half: the draft is full, store it and answer.
pub fn finish(
    scope: Scope<'_>,
    request: &MetaRequest<'_>,
    hash: u64,
    draft: Draft,
    output: &mut Output,
) {
    request.with_key(|bytes| {
        let key = Key { bytes, hash };
        scope.log_lookup(key);
        let exptime = draft.exptime();
        let stored = match compares_with_nothing(request) {
            true => refuse_compare(scope, key),
            false => scope.session.store(draft, how(scope, request)),
        };
        let status = status(request, &stored);
        count_compare(scope, request, status);
        let event = StoreEvent {
            key: bytes,
            status,
            command: command(request),
            exptime,
            value_len: stored_len(request, &stored),
        };
        watch::store(scope.worker, scope.cfd, &event);
        let code = match status {
            StoreStatus::Stored if request.quiet() => return,
            StoreStatus::Stored => b"HD",
            StoreStatus::Exists => b"EX",
            StoreStatus::NotFound => b"NF",
            _ => b"NS",
        };
        answer(request, bytes, &stored, code, output);
    });
}

/// Whether the store is one of "only if unchanged": C with set or replace. add ignores C, append and prepend only
/// check it.
const fn is_cas(request: &MetaRequest<'_>) -> bool {
    request.has(b'C') && matches!(request.mode, Mode::Set | Mode::Replace)
}

/// C0 with set or replace: memcached has no items with the cas unique 0, except by E0, and compares none.
fn compares_with_nothing(request: &MetaRequest<'_>) -> bool {
    is_cas(request) && request.compare() == Some(0)
}

fn refuse_compare<'s>(scope: Scope<'s>, key: Key<'_>) -> Stored<'s> {
    let lookup = scope.session.peek(key);
    scope.count_absence(&lookup);
    match lookup {
        Lookup::Hit(_) => Stored::Exists,
        _ => Stored::NotFound,
    }
}

/// How the engine is to store.
fn how(scope: Scope<'_>, request: &MetaRequest<'_>) -> StoreHow {
    let vivify = request.has(b'N');
    let compare = request.compare();
    let (mode, compare) = match request.mode {
        // Replace and C together are what C alone is: only what is there can be unchanged.
        Mode::Replace if compare.is_none() => (StoreMode::Replace, None),
        Mode::Set | Mode::Replace => (StoreMode::Set, compare),
        Mode::Add => (StoreMode::Add, None),
        Mode::Append => (StoreMode::Append { vivify }, appended_compare(scope, compare)),
        Mode::Prepend => (StoreMode::Prepend { vivify }, appended_compare(scope, compare)),
    };
    StoreHow { mode, compare, invalidate: request.has(b'I') && is_cas(request) }
}

/// For append and prepend, C0 is no C, and without cas uniques (`-C`) no C counts.
fn appended_compare(scope: Scope<'_>, compare: Option<u64>) -> Option<u64> {
    compare.filter(|&cas| cas != 0 && scope.worker.context.engine.options().use_cas)
}

fn status(request: &MetaRequest<'_>, stored: &Stored<'_>) -> StoreStatus {
    match stored {
        Stored::Stored(_) => StoreStatus::Stored,
        Stored::Exists => StoreStatus::Exists,
        Stored::NotFound if is_cas(request) => StoreStatus::NotFound,
        // Something to append to is missing, or there is no memory for both parts together.
        Stored::NotFound | Stored::NotStored | Stored::TooLarge | Stored::OutOfMemory => {
            StoreStatus::NotStored
        }
    }
}

fn count_compare(scope: Scope<'_>, request: &MetaRequest<'_>, status: StoreStatus) {
    if !is_cas(request) {
        return;
    }
    match status {
        StoreStatus::Stored => scope.counters().cas_hits.bump(),
        StoreStatus::Exists => scope.counters().cas_badval.bump(),
        StoreStatus::NotFound => scope.counters().cas_misses.bump(),
        _ => {}
    }
}

/// What watchers are told that the command was.
const fn command(request: &MetaRequest<'_>) -> StoreCommand {
    match request.mode {
        _ if is_cas(request) => StoreCommand::Cas,
        Mode::Set => StoreCommand::Set,
        Mode::Add => StoreCommand::Add,
        Mode::Replace => StoreCommand::Replace,
        Mode::Append => StoreCommand::Append,
        Mode::Prepend => StoreCommand::Prepend,
    }
}

/// Length of the value that there is now, or of the one that was not stored.
fn stored_len(request: &MetaRequest<'_>, stored: &Stored<'_>) -> usize {
    match stored {
        Stored::Stored(item) => item.value().len(),
        _ => request.value_len().unwrap_or_default(),
    }
}

fn answer(
    request: &MetaRequest<'_>,
    key: &[u8],
    stored: &Stored<'_>,
    code: &[u8; 2],
    output: &mut Output,
) {
    output.push(code);
    for word in request.flag_words() {
        match word[0] {
            b'O' => reply::opaque(output, word),
            b'k' => reply::key(output, key, request.has(b'b')),
            b'c' => {
                let cas = if let Stored::Stored(item) = stored { item.cas() } else { 0 };
                reply::number(output, b'c', cas);
            }
            b's' => reply::number(output, b's', stored_len(request, stored) as u64),
            _ => {}
        }
    }
    output.push(reply::END);
}
