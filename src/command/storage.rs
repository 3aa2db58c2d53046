//! set, add, replace, append, prepend, cas: in two steps around the arrival of the data block.
//!
//! [`draft`] gets the memory for the new item, or refuses; the caller fills it, wherever the bytes come from;
//! [`finish`] publishes it and answers. A refused set takes the old value away, as in memcached: a client that
//! meant to replace it must not go on reading it.

use super::watch::{self, StoreCommand, StoreEvent, StoreStatus};
use super::{Output, Scope};
use crate::engine::{Draft, Key, Refusal, StoreHow, StoreMode, Stored};
use crate::protocol::Rejection;
use crate::protocol::text::{Store, StoreVerb};

/// The reply to a value that no item can hold.
pub const TOO_LARGE: &str = "SERVER_ERROR object too large for cache";
/// The reply to a value for which there is no memory.
pub const OUT_OF_MEMORY: &str = "SERVER_ERROR out of memory storing object";
/// The reply to a data block that does not end with `\r\n` where it should.
pub const BAD_DATA_CHUNK: &str = "CLIENT_ERROR bad data chunk";

/// Memory for the item that `store` asks for; `whole`: its data block is here already.
///
/// # Errors
/// The reply, and how much data to swallow. The refusal has been counted and told to watchers.
#[inline]
pub fn draft(
    scope: Scope<'_>,
    store: &Store<'_>,
    key: Key<'_>,
    whole: bool,
) -> Result<Draft, Rejection> {
    scope.worker.detail.set(store.key);
    let deadline = scope.deadline(store.exptime);
    let draft = match whole {
        true => scope.session.draft(key, store.value_len, store.flags, deadline),
        false => scope.session.draft_to_wait(key, store.value_len, store.flags, deadline),
    };
    match draft {
        Ok(draft) => {
            scope.counters().cmd_set.bump();
            Ok(draft)
        }
        Err(refusal) => Err(refuse(scope, store, key, refusal)),
    }
}

#[cold]
fn refuse(scope: Scope<'_>, store: &Store<'_>, key: Key<'_>, refusal: Refusal) -> Rejection {
    let (message, status) = match refusal {
        Refusal::TooLarge => {
            scope.counters().store_too_large.bump();
            (TOO_LARGE, StoreStatus::TooLarge)
        }
        Refusal::OutOfMemory => {
            scope.counters().store_no_memory.bump();
            (OUT_OF_MEMORY, StoreStatus::NoMemory)
        }
    };
    let event = StoreEvent {
        key: store.key,
        status,
        command: store_command(store.verb),
        exptime: 0,
        value_len: 0,
    };
    watch::store(scope.worker, scope.cfd, &event);
    if store.verb == StoreVerb::Set {
        scope.session.delete(key, None);
    }
    Rejection { message, swallow: store.value_len + 2, noreply: store.noreply }
}

/// Stores the filled draft and answers.
#[inline]
pub fn finish(
    scope: Scope<'_>,
    store: &Store<'_>,
    key: Key<'_>,
    draft: Draft,
    output: &mut Output,
) {
    scope.log_lookup(key);
    let deadline = draft.exptime();
    let how = StoreHow {
        mode: match store.verb {
            StoreVerb::Set | StoreVerb::Cas => StoreMode::Set,
            StoreVerb::Add => StoreMode::Add,
            StoreVerb::Replace => StoreMode::Replace,
            StoreVerb::Append => StoreMode::Append { vivify: false },
            StoreVerb::Prepend => StoreMode::Prepend { vivify: false },
        },
        compare: (store.verb == StoreVerb::Cas).then(|| unique(scope, store)),
        invalidate: false,
    };
    let stored = scope.session.store(draft, how);
    let (status, exptime, value_len) = match stored {
        Stored::Stored(item) => (StoreStatus::Stored, item.exptime(), item.value().len()),
        Stored::Exists => (StoreStatus::Exists, deadline, store.value_len),
        Stored::NotFound => (StoreStatus::NotFound, deadline, store.value_len),
        // An append that would grow too large or finds no memory is just not stored.
        Stored::NotStored | Stored::TooLarge | Stored::OutOfMemory => {
            (StoreStatus::NotStored, deadline, store.value_len)
        }
    };
    if store.verb == StoreVerb::Cas {
        count_cas(scope, status);
    }
    let event = StoreEvent {
        key: store.key,
        status,
        command: store_command(store.verb),
        exptime,
        value_len,
    };
    watch::store(scope.worker, scope.cfd, &event);
    if !store.noreply {
        output.push(match status {
            StoreStatus::Stored => b"STORED\r\n",
            StoreStatus::Exists => b"EXISTS\r\n",
            StoreStatus::NotFound => b"NOT_FOUND\r\n",
            _ => b"NOT_STORED\r\n",
        });
    }
}

/// The unique to compare with. With `-C` every item shows 0, and 0 must not fit them all.
fn unique(scope: Scope<'_>, store: &Store<'_>) -> u64 {
    if scope.worker.context.engine.options().use_cas { store.cas } else { store.cas.max(1) }
}

fn count_cas(scope: Scope<'_>, status: StoreStatus) {
    let counters = scope.counters();
    match status {
        StoreStatus::Stored => counters.cas_hits.bump(),
        StoreStatus::Exists => counters.cas_badval.bump(),
        StoreStatus::NotFound => counters.cas_misses.bump(),
        _ => {}
    }
}

fn store_command(verb: StoreVerb) -> StoreCommand {
    match verb {
        StoreVerb::Set => StoreCommand::Set,
        StoreVerb::Add => StoreCommand::Add,
        StoreVerb::Replace => StoreCommand::Replace,
        StoreVerb::Append => StoreCommand::Append,
        StoreVerb::Prepend => StoreCommand::Prepend,
        StoreVerb::Cas => StoreCommand::Cas,
    }
}
