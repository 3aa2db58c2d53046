//! delete, touch and flush_all: what ends an item's life, or says when it ends.

use super::durable::Wait;
use super::watch::{self, DeleteCommand};
use super::{Output, Scope};
use crate::engine::{Key, Lookup, Removed};
use crate::protocol::number::parse_i32;
use crate::protocol::text::{BAD_EXPTIME, Delete, Touch};
use crate::protocol::{Rejection, Tokens};

const FLUSH_NOT_ALLOWED: &str = "CLIENT_ERROR flush_all not allowed";

/// Removes the key.
pub fn delete(scope: Scope<'_>, delete: &Delete<'_>, key: Key<'_>, output: &mut Output) {
    let (worker, counters) = (scope.worker, scope.counters());
    worker.detail.delete(delete.key);
    scope.log_lookup(key);
    let reply: &[u8] = match scope.session.delete(key, None) {
        Removed::Removed(item) => {
            counters.delete_hits.bump();
            watch::delete(worker, item, DeleteCommand::Delete);
            b"DELETED\r\n"
        }
        Removed::NotFound | Removed::Exists => {
            counters.delete_misses.bump();
            b"NOT_FOUND\r\n"
        }
    };
    if !delete.noreply {
        output.push(reply);
    }
}

/// Gives the key a new exptime.
pub fn touch(scope: Scope<'_>, touch: &Touch<'_>, key: Key<'_>, output: &mut Output) {
    let counters = scope.counters();
    counters.cmd_touch.bump();
    let found = scope.session.touch(key, scope.deadline(touch.exptime));
    watch::fetch(scope.worker, scope.cfd, touch.key, &found);
    scope.count_absence(&found);
    match found {
        Lookup::Hit(_) => counters.touch_hits.bump(),
        _ => counters.touch_misses.bump(),
    }
    if !touch.noreply {
        output.push(match found {
            Lookup::Hit(_) => b"TOUCHED\r\n",
            _ => b"NOT_FOUND\r\n",
        });
    }
}

/// `flush_all [<delay>] [noreply]`; nothing is told beyond the reply, which waits for the disk if there is a copy on one.
///
/// # Errors
/// The complaint, when flushing is not allowed (`-F`) or the delay is no number.
pub fn flush_all(
    scope: Scope<'_>,
    tokens: Tokens<'_>,
    output: &mut Output,
) -> Result<Option<Wait>, Rejection> {
    let noreply = tokens.noreply();
    let complain = |message| Rejection { noreply, ..Rejection::new(message) };
    scope.counters().cmd_flush.bump();
    if !scope.worker.context.options.flush_enabled {
        return Err(complain(FLUSH_NOT_ALLOWED));
    }
    let engine = &scope.worker.context.engine;
    let delay = match tokens.count() == if noreply { 2 } else { 1 } {
        true => 0,
        false => tokens.get(1).and_then(parse_i32).ok_or(complain(BAD_EXPTIME))?,
    };
    if delay > 0 {
        engine.flush_at(scope.deadline(delay));
    } else {
        engine.flush();
    }
    if noreply {
        return Ok(None);
    }
    let wait = Wait::for_flush(scope.worker);
    if wait.is_none() {
        output.push(b"OK\r\n");
    }
    Ok(wait)
}
