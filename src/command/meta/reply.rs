//! The parts that replies to meta commands are made of.

use crate::clock::RelTime;
use crate::command::Output;
use crate::protocol::meta::{MetaRequest, encode};

/// Ends a reply, or a value.
pub const END: &[u8] = b"\r\n";

/// Appends a space, a flag's letter and a number.
#[inline]
pub fn number(output: &mut Output, letter: u8, number: u64) {
    output.push(&[b' ', letter]);
    output.number(number);
}

/// Appends `t`: the seconds until `exptime`, -1 for never.
#[inline]
pub fn ttl(output: &mut Output, exptime: RelTime, now: RelTime) {
    match exptime {
        0 => output.push(b" t-1"),
        // A deadline that has passed (T-1 t) wraps around, as it does in memcached.
        _ => number(output, b't', exptime.wrapping_sub(now).into()),
    }
}

/// Appends a space and the word of `O` as it came.
#[inline]
pub fn opaque(output: &mut Output, word: &[u8]) {
    output.push(b" ");
    output.push(word);
}

/// Appends `k`, and `b` if the key has to be sent as base64.
#[inline]
pub fn key(output: &mut Output, key: &[u8], binary: bool) {
    output.push(b" k");
    if binary {
        base64(output, key);
        output.push(b" b");
    } else {
        output.push(key);
    }
}

/// Appends a key as base64.
pub fn base64(output: &mut Output, key: &[u8]) {
    for part in encode(key) {
        output.push(&part);
    }
}

/// Appends a reply that returns nothing of an item: a code, and the request's `O` and `k`.
pub fn plain(output: &mut Output, code: &[u8; 2], request: &MetaRequest<'_>, bytes: &[u8]) {
    output.push(code);
    for word in request.flag_words() {
        match word[0] {
            b'O' => opaque(output, word),
            b'k' => key(output, bytes, request.has(b'b')),
            _ => {}
        }
    }
    output.push(END);
}
