//! ma: adds to or subtracts from a number, which `N` creates if it is missing.
//!
//! `T` and `E` apply to the number whatever becomes of its length. memcached applies them to the old item when it
//! cannot change the number in place, so that they are lost; that is not imitated.

use super::{exptime_after, new_exptime, reply, vivified_exptime};
use crate::clock::RelTime;
use crate::command::arithmetic::{NON_NUMERIC, OUT_OF_MEMORY};
use crate::command::watch::{self, StoreCommand, StoreEvent, StoreStatus};
use crate::command::{Output, Scope};
use crate::engine::{Arith, ArithResult, ItemRef, Key, StoreHow, StoreMode, Stored};
use crate::protocol::meta::{MetaRequest, OPAQUE_TOO_LONG};

/// A number that was changed or created.
struct Counted<'s> {
    value: u64,
    item: ItemRef<'s>,
    /// The deadline before the request's `T` and `N`.
    exptime: RelTime,
    created: bool,
}

/// What became of the request.
enum Outcome<'s> {
    Counted(Counted<'s>),
    NotFound,
    Exists,
    NotStored,
    Failed(&'static str),
    /// Another client has stored the key in between.
    Again,
}

/// Runs ma.
pub fn count(scope: Scope<'_>, request: &MetaRequest<'_>, key: Key<'_>, output: &mut Output) {
    // Each further round means that another client has stored the key in between, which is rare and ends.
    let outcome = loop {
        match count_once(scope, request, key) {
            Outcome::Again => {}
            outcome => break outcome,
        }
    };
    if let Outcome::Failed(message) = outcome {
        return output.line(message);
    }
    if request.opaque_too_long {
        return output.line(OPAQUE_TOO_LONG);
    }
    match outcome {
        Outcome::Counted(counted) => {
            if !request.quiet() {
                answer(scope, request, key, &counted, output);
            }
        }
        Outcome::Exists => reply::plain(output, b"EX", request, key.bytes),
        Outcome::NotStored => reply::plain(output, b"NS", request, key.bytes),
        _ => reply::plain(output, b"NF", request, key.bytes),
    }
}

fn count_once<'s>(scope: Scope<'s>, request: &MetaRequest<'_>, key: Key<'_>) -> Outcome<'s> {
    scope.log_lookup(key);
    let incr = !request.decrement;
    let before = exptime_before(scope, request, key);
    let arith = Arith {
        incr,
        delta: request.delta,
        // C0 is no C.
        compare: request.compare().filter(|&cas| cas != 0),
        set_cas: request.new_cas(),
        exptime: new_exptime(scope, request),
    };
    let counters = scope.counters();
    match scope.session.arith(key, arith) {
        ArithResult::Done { value, item } => {
            if incr { &counters.incr_hits } else { &counters.decr_hits }.bump();
            let exptime = before.unwrap_or(item.exptime());
            Outcome::Counted(Counted { value, item, exptime, created: false })
        }
        ArithResult::NotFound if request.has(b'N') => create(scope, request, key),
        ArithResult::NotFound => {
            if incr { &counters.incr_misses } else { &counters.decr_misses }.bump();
            Outcome::NotFound
        }
        ArithResult::Exists => Outcome::Exists,
        ArithResult::NonNumeric => Outcome::Failed(NON_NUMERIC),
        ArithResult::OutOfMemory => Outcome::Failed(OUT_OF_MEMORY),
    }
}

/// The deadline that a `t` before `T` has to show, which is gone once the number is changed.
fn exptime_before(scope: Scope<'_>, request: &MetaRequest<'_>, key: Key<'_>) -> Option<RelTime> {
    if !(request.has(b't') && request.has(b'T')) {
        return None;
    }
    let lookup = scope.session.peek(key);
    scope.count_absence(&lookup);
    lookup.hit().map(|item| item.exptime())
}

/// Stores the initial value in place of a missing number.
#[cold]
fn create<'s>(scope: Scope<'s>, request: &MetaRequest<'_>, key: Key<'_>) -> Outcome<'s> {
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(request.initial).as_bytes();
    let exptime = vivified_exptime(scope, request);
    let Ok(mut draft) = scope.session.draft(key, digits.len(), 0, exptime) else {
        return Outcome::Failed("SERVER_ERROR Out of memory allocating new item");
    };
    draft.fill(digits);
    if let Some(cas) = request.new_cas() {
        draft.set_cas(cas);
    }
    if request.has(b'b') {
        draft.set_key_is_binary();
    }
    let how = StoreHow { mode: StoreMode::Add, compare: None, invalidate: false };
    match scope.session.store(draft, how) {
        Stored::Stored(item) => {
            log_created(scope, key, item);
            let value = request.initial;
            Outcome::Counted(Counted { value, item, exptime: 0, created: true })
        }
        Stored::NotStored => Outcome::Again,
        _ => Outcome::NotStored,
    }
}

/// Tells watchers of a number that was created, with no deadline: memcached sets it later.
fn log_created(scope: Scope<'_>, key: Key<'_>, item: ItemRef<'_>) {
    let event = StoreEvent {
        key: key.bytes,
        status: StoreStatus::Stored,
        command: StoreCommand::Add,
        exptime: 0,
        value_len: item.value().len(),
    };
    watch::store(scope.worker, scope.cfd, &event);
}

fn answer(
    scope: Scope<'_>,
    request: &MetaRequest<'_>,
    key: Key<'_>,
    counted: &Counted<'_>,
    output: &mut Output,
) {
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(counted.value).as_bytes();
    if request.has(b'v') {
        output.push(b"VA ");
        output.number(digits.len() as u64);
    } else {
        output.push(b"HD");
    }
    let mut exptime = counted.exptime;
    for word in request.flag_words() {
        exptime = exptime_after(scope, request, word[0], exptime, counted.created);
        match word[0] {
            b'c' => reply::number(output, b'c', counted.item.cas()),
            b't' => reply::ttl(output, exptime, scope.session.now()),
            b'O' => reply::opaque(output, word),
            b'k' => reply::key(output, key.bytes, request.has(b'b')),
            _ => {}
        }
    }
    output.push(reply::END);
    if request.has(b'v') {
        output.push(digits);
        output.push(reply::END);
    }
}
