//! incr and decr. The number itself is the engine's affair: wrapping, stopping at 0, and keeping the length.

use super::{Output, Scope};
use crate::engine::{self, ArithResult, Key};
use crate::protocol::text::Arith;

/// The reply to arithmetic on a value that is no number.
pub const NON_NUMERIC: &str = "CLIENT_ERROR cannot increment or decrement non-numeric value";
/// The reply when the longer number finds no memory.
pub const OUT_OF_MEMORY: &str = "SERVER_ERROR out of memory";

/// Adds or subtracts, and answers with the new number.
pub fn change(scope: Scope<'_>, arith: &Arith<'_>, key: Key<'_>, output: &mut Output) {
    scope.log_lookup(key);
    let how = engine::Arith {
        incr: arith.incr,
        delta: arith.delta,
        compare: None,
        set_cas: None,
        exptime: None,
    };
    let result = scope.session.arith(key, how);
    count(scope, arith.incr, &result);
    if arith.noreply {
        return;
    }
    match result {
        ArithResult::Done { value, .. } => {
            output.number(value);
            output.push(b"\r\n");
        }
        ArithResult::NonNumeric => output.line(NON_NUMERIC),
        ArithResult::OutOfMemory => output.line(OUT_OF_MEMORY),
        // Nothing was compared, so nothing can differ.
        ArithResult::NotFound | ArithResult::Exists => output.push(b"NOT_FOUND\r\n"),
    }
}

fn count(scope: Scope<'_>, incr: bool, result: &ArithResult<'_>) {
    let counters = scope.counters();
    match (result, incr) {
        (ArithResult::Done { .. }, true) => counters.incr_hits.bump(),
        (ArithResult::Done { .. }, false) => counters.decr_hits.bump(),
        (ArithResult::NotFound, true) => counters.incr_misses.bump(),
        (ArithResult::NotFound, false) => counters.decr_misses.bump(),
        _ => {}
    }
}
