//! The arguments of the classic commands, from the first space on.
//!
//! Too few words are always told. Once there are enough, the last one may be `noreply`, which hushes every later
//! complaint. A storing line that is refused still has a data block behind it, which must be swallowed, unless
//! its length was not to be had.

use super::{Arith, Delete, Get, Store, StoreVerb, Touch};
use crate::protocol::number::{parse_c_i32, parse_c_u32, parse_i32, parse_u64};
use crate::protocol::tokens::TOKENS_MAX;
use crate::protocol::{BAD_FORMAT, KEY_MAX, Rejection, Request, Words};

/// Longest data block, in bytes: memcached counts it with its end of line in an `int`.
const VALUE_LEN_MAX: i32 = i32::MAX - 2;
/// The reply to a get of a key that is too long. The empty line is memcached's, which appends an end of line to an
/// error that has one.
const BAD_KEY_IN_GET: &str = "CLIENT_ERROR bad command line format\r\n";
/// The reply to an exptime that is not a number.
pub const BAD_EXPTIME: &str = "CLIENT_ERROR invalid exptime argument";
const BAD_DELTA: &str = "CLIENT_ERROR invalid numeric delta argument";

const TOO_FEW_WORDS: Rejection = Rejection::new(BAD_FORMAT);

type Parsed<'b> = Result<Request<'b>, Rejection>;

/// `get[s] <key>*`
#[inline]
pub(super) fn get(rest: &[u8], with_cas: bool) -> Parsed<'_> {
    retrieval(Words::new(rest), with_cas, None)
}

/// `gat[s] <exptime> <key>*`
pub(super) fn gat(rest: &[u8], with_cas: bool) -> Parsed<'_> {
    let mut words = Words::new(rest);
    let exptime = words.next().ok_or(TOO_FEW_WORDS)?;
    if words.clone().next().is_none() {
        return Err(TOO_FEW_WORDS);
    }
    let exptime = parse_i32(exptime).ok_or(Rejection::new(BAD_EXPTIME))?;
    retrieval(words, with_cas, Some(exptime))
}

#[inline]
fn retrieval(keys: Words<'_>, with_cas: bool, touch: Option<i32>) -> Parsed<'_> {
    // A text that is no longer than a key may be has no key that is too long.
    if keys.rest().len() > KEY_MAX && keys.clone().any(|key| key.len() > KEY_MAX) {
        return Err(Rejection::new(BAD_KEY_IN_GET));
    }
    if keys.clone().next().is_none() {
        return Err(TOO_FEW_WORDS);
    }
    Ok(Request::Get(Get { keys, with_cas, touch }))
}

/// `<verb> <key> <flags> <exptime> <bytes> [<cas unique>] [noreply]`
#[inline]
pub(super) fn store(verb: StoreVerb, rest: &[u8]) -> Parsed<'_> {
    let mut words = Words::new(rest);
    let (Some(key), Some(flags), Some(exptime), Some(len)) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(TOO_FEW_WORDS);
    };
    let value_len = parse_i32(len).filter(|len| (0..=VALUE_LEN_MAX).contains(len));
    let value_len = value_len.and_then(|len| usize::try_from(len).ok()).ok_or(TOO_FEW_WORDS)?;
    // Most lines end here.
    let (unique, noreply) = match words.rest() {
        [] => (None, false),
        _ => (words.clone().next(), is_noreply(words.take(TOKENS_MAX - 5).last())),
    };

    let refused = Rejection { message: BAD_FORMAT, swallow: value_len + 2, noreply };
    let (flags, exptime) = parse_c_u32(flags)
        .zip(parse_c_i32(exptime))
        .filter(|_| key.len() <= KEY_MAX)
        .ok_or(refused)?;
    let cas = match verb {
        StoreVerb::Cas => unique.and_then(parse_u64).ok_or(refused)?,
        _ => 0,
    };
    Ok(Request::Store(Store { verb, key, flags, exptime, value_len, cas, noreply }))
}

/// `delete <key> [noreply]`; what else follows the key is ignored.
pub(super) fn delete(rest: &[u8]) -> Parsed<'_> {
    let mut words = Words::new(rest);
    let key = words.next().ok_or(TOO_FEW_WORDS)?;
    // The last word is looked at even when it is the key.
    let noreply = is_noreply(words.take(TOKENS_MAX - 2).last().or(Some(key)));
    let key = checked(key, noreply)?;
    Ok(Request::Delete(Delete { key, noreply }))
}

/// `incr|decr <key> <delta> [noreply]`
pub(super) fn arith(rest: &[u8], incr: bool) -> Parsed<'_> {
    let (key, delta, noreply) = key_and_number(rest)?;
    let complaint = Rejection { noreply, ..Rejection::new(BAD_DELTA) };
    let delta = parse_u64(delta).ok_or(complaint)?;
    Ok(Request::Arith(Arith { key, incr, delta, noreply }))
}

/// `touch <key> <exptime> [noreply]`
pub(super) fn touch(rest: &[u8]) -> Parsed<'_> {
    let (key, exptime, noreply) = key_and_number(rest)?;
    let complaint = Rejection { noreply, ..Rejection::new(BAD_EXPTIME) };
    let exptime = parse_i32(exptime).ok_or(complaint)?;
    Ok(Request::Touch(Touch { key, exptime, noreply }))
}

fn key_and_number(rest: &[u8]) -> Result<(&[u8], &[u8], bool), Rejection> {
    let mut words = Words::new(rest);
    let (Some(key), Some(number)) = (words.next(), words.next()) else {
        return Err(TOO_FEW_WORDS);
    };
    let noreply = match words.rest() {
        [] => is_noreply(Some(number)),
        _ => is_noreply(words.take(TOKENS_MAX - 3).last().or(Some(number))),
    };
    Ok((checked(key, noreply)?, number, noreply))
}

fn checked(key: &[u8], noreply: bool) -> Result<&[u8], Rejection> {
    if key.len() > KEY_MAX {
        return Err(Rejection { noreply, ..Rejection::new(BAD_FORMAT) });
    }
    Ok(key)
}

fn is_noreply(word: Option<&[u8]>) -> bool {
    word == Some(b"noreply")
}
