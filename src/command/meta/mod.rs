//! The meta commands: mg, ms, md, ma, me (protocol.txt, "Meta Commands").
//!
//! Each reply is a code of two letters and then the flags that were asked for, in the order in which they were
//! asked for. `q` leaves out replies that say no more than that all is as expected: EN of mg, HD and VA of ms, md
//! and ma. Errors, and NF, NS and EX, are always told.
//!
//! A flag that changes an item (`T`, `N`) and one that shows it (`t`) take effect in the order of the line: `t T30`
//! shows the time that was left, `T30 t` shows 30.

mod arithmetic;
mod debug;
mod removal;
mod reply;
mod retrieval;
mod storage;

pub use retrieval::get_plain;
pub use storage::{draft, finish};

use super::{Output, Scope};
use crate::clock::RelTime;
use crate::engine::Key;
use crate::protocol::meta::{MetaRequest, OPAQUE_MAX, Verb};

/// Runs mg, md, ma or me; `hash` is that of the decoded key. ms has a data block, so it comes in two parts:
/// [`draft`] and [`finish`].
#[inline]
pub fn execute(scope: Scope<'_>, request: &MetaRequest<'_>, hash: u64, output: &mut Output) {
    request.with_key(|bytes| {
        let key = Key { bytes, hash };
        match request.verb {
            Verb::Get => retrieval::get(scope, request, key, output),
            Verb::Delete => removal::delete(scope, request, key, output),
            Verb::Arith => arithmetic::count(scope, request, key, output),
            Verb::Debug => debug::show(scope, key, output),
            Verb::Set => debug_assert!(false, "ms is a draft and a finish"),
        }
    });
}

/// The deadline of an item after the flag `letter`, which may be one that changes it. `N` concerns only an item that
/// it has `created`.
#[inline]
fn exptime_after(
    scope: Scope<'_>,
    request: &MetaRequest<'_>,
    letter: u8,
    exptime: RelTime,
    created: bool,
) -> RelTime {
    match letter {
        b'T' => scope.deadline(request.exptime),
        b'N' if created => scope.deadline(request.vivify),
        _ => exptime,
    }
}

/// The deadline that `T` asks for.
#[inline]
fn new_exptime(scope: Scope<'_>, request: &MetaRequest<'_>) -> Option<RelTime> {
    let reached = !request.opaque_too_long || reached(request).any(|word| word[0] == b'T');
    (request.has(b'T') && reached).then(|| scope.deadline(request.exptime))
}

/// The deadline of an item that `N` creates: the last of `N` and `T` on the line.
fn vivified_exptime(scope: Scope<'_>, request: &MetaRequest<'_>) -> RelTime {
    reached(request).fold(0, |exptime, word| exptime_after(scope, request, word[0], exptime, true))
}

/// The flags that take effect: mg and ma get as far as an opaque that is too long, and no further.
fn reached<'b>(request: &MetaRequest<'b>) -> impl Iterator<Item = &'b [u8]> {
    request.flag_words().take_while(|word| word[0] != b'O' || word.len() <= OPAQUE_MAX)
}

#[cfg(test)]
mod tests;
