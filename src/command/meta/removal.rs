//! md: deletes one item, or with `I` marks it stale, or with `x` empties it.

use super::reply;
use crate::command::arithmetic::OUT_OF_MEMORY;
use crate::command::{Output, Scope, watch};
use crate::engine::{Invalidate, ItemRef, Key, Removed, Stored};
use crate::protocol::meta::{MetaRequest, OPAQUE_TOO_LONG};
use watch::{DeleteCommand, StoreCommand, StoreEvent, StoreStatus};

/// Runs md.
pub fn delete(scope: Scope<'_>, request: &MetaRequest<'_>, key: Key<'_>, output: &mut Output) {
    if request.opaque_too_long {
        return output.line(OPAQUE_TOO_LONG);
    }
    scope.log_lookup(key);
    let code = match request.has(b'I') || request.has(b'x') {
        true => invalidate(scope, request, key),
        false => remove(scope, request, key),
    };
    match code {
        Code::Done if request.quiet() => {}
        Code::Done => reply::plain(output, b"HD", request, key.bytes),
        Code::NotFound => {
            scope.counters().delete_misses.bump();
            reply::plain(output, b"NF", request, key.bytes);
        }
        Code::Exists => {
            scope.counters().delete_misses.bump();
            reply::plain(output, b"EX", request, key.bytes);
        }
        Code::NotStored => reply::plain(output, b"NS", request, key.bytes),
        Code::OutOfMemory => output.line(OUT_OF_MEMORY),
    }
}

enum Code {
    Done,
    NotFound,
    Exists,
    NotStored,
    OutOfMemory,
}

fn remove(scope: Scope<'_>, request: &MetaRequest<'_>, key: Key<'_>) -> Code {
    match scope.session.delete(key, request.compare()) {
        Removed::Removed(item) => {
            scope.counters().delete_hits.bump();
            watch::delete(scope.worker, item, DeleteCommand::MetaDelete);
            Code::Done
        }
        Removed::NotFound => Code::NotFound,
        Removed::Exists => Code::Exists,
    }
}

fn invalidate(scope: Scope<'_>, request: &MetaRequest<'_>, key: Key<'_>) -> Code {
    let (stale, clear_value) = (request.has(b'I'), request.has(b'x'));
    let how = Invalidate {
        compare: request.compare(),
        set_cas: request.new_cas(),
        stale,
        // An emptied item is a new one: it lives for ever unless T says how long.
        exptime: (clear_value || request.has(b'T')).then(|| scope.deadline(request.exptime)),
        clear_value,
        flags: request.client_flags,
    };
    match scope.session.invalidate(key, how) {
        Stored::Stored(item) => {
            if clear_value {
                log_emptied(scope, item);
            }
            // Stale items are still of use, so they do not count as deleted.
            if !stale {
                scope.counters().delete_hits.bump();
                watch::delete(scope.worker, item, DeleteCommand::MetaDelete);
            }
            Code::Done
        }
        Stored::NotFound => Code::NotFound,
        Stored::Exists => Code::Exists,
        Stored::NotStored => Code::NotStored,
        Stored::TooLarge | Stored::OutOfMemory => Code::OutOfMemory,
    }
}

/// Tells watchers of the empty item that was stored in place of another.
fn log_emptied(scope: Scope<'_>, item: ItemRef<'_>) {
    let event = StoreEvent {
        key: item.key(),
        status: StoreStatus::Stored,
        command: StoreCommand::Set,
        exptime: item.exptime(),
        value_len: 0,
    };
    watch::store(scope.worker, scope.cfd, &event);
}
