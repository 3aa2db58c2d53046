//! The classic text protocol: finds the command line, and knows every command by name.
//!
//! A line ends with `\n`, with or without `\r` before it, and its command is what stands before the first space.
//! The commands of clients are parsed in full (`line`); those of operators are only told apart, their words are
//! for `command::admin`. protocol.txt is the description, memcached's `process_request` the law where it says more: which
//! errors keep silent under `noreply`, and after which of them the data block is swallowed.

mod line;
mod requests;
#[cfg(test)]
mod tests;

pub use line::BAD_EXPTIME;
pub use requests::{Arith, Delete, Get, Store, StoreVerb, Touch};

use super::tokens::find_space;
use super::{BAD_FORMAT, ERROR, Parse, Rejection, Request, Tokens, meta};

/// Without an end of line in so many bytes it must be a multi-get, or it is not for us (memcached's rule).
const SHORT_LINE_MAX: usize = 2048;
/// Longest line of a multi-get, in bytes. memcached has no bound; this one keeps a client that never ends its line
/// from growing our buffers. It is room for 16 000 keys of the greatest length.
const LINE_MAX: usize = 4 * 1024 * 1024;
/// So many spaces may stand before a long multi-get.
const LEADING_SPACES_MAX: usize = 100;
/// Shortest line that can be a command, in bytes with its end of line.
const LINE_MIN: usize = 4;

/// Parses the command line that `input` begins with.
#[inline]
pub fn parse(input: &[u8]) -> Parse<'_> {
    let Some(end) = memchr::memchr(b'\n', input) else {
        return unfinished(input);
    };
    let line = &input[..end];
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let consumed = end + 1;
    let request = if consumed < LINE_MIN {
        Request::Rejected(Rejection::new(BAD_FORMAT))
    } else {
        request(line).unwrap_or_else(Request::Rejected)
    };
    Parse::Request { request, consumed }
}

/// Whether a line that has not ended yet may still become one.
pub fn unfinished(input: &[u8]) -> Parse<'_> {
    if input.len() <= SHORT_LINE_MAX {
        return Parse::Incomplete;
    }
    let spaces = input.iter().take_while(|&&byte| byte == b' ').count();
    let text = &input[spaces..];
    let multi_get = text.starts_with(b"get ") || text.starts_with(b"gets ");
    if spaces <= LEADING_SPACES_MAX && multi_get && input.len() <= LINE_MAX {
        Parse::Incomplete
    } else {
        Parse::TooLong
    }
}

fn request(line: &[u8]) -> Result<Request<'_>, Rejection> {
    let (verb, rest) = line.split_at(find_space(line));
    match verb {
        b"get" => line::get(rest, false),
        b"gets" => line::get(rest, true),
        b"set" => line::store(StoreVerb::Set, rest),
        b"mg" => meta::parse(b'g', line).map(Request::Meta),
        b"ms" => meta::parse(b's', line).map(Request::Meta),
        b"md" => meta::parse(b'd', line).map(Request::Meta),
        b"ma" => meta::parse(b'a', line).map(Request::Meta),
        b"me" => meta::parse(b'e', line).map(Request::Meta),
        b"mn" => Ok(Request::MetaNoop),
        b"gat" => line::gat(rest, false),
        b"gats" => line::gat(rest, true),
        b"add" => line::store(StoreVerb::Add, rest),
        b"cas" => line::store(StoreVerb::Cas, rest),
        b"replace" => line::store(StoreVerb::Replace, rest),
        b"append" => line::store(StoreVerb::Append, rest),
        b"prepend" => line::store(StoreVerb::Prepend, rest),
        b"delete" => line::delete(rest),
        b"incr" => line::arith(rest, true),
        b"decr" => line::arith(rest, false),
        b"touch" => line::touch(rest),
        b"version" => Ok(Request::Version),
        b"quit" => Ok(Request::Quit),
        b"stats" | b"watch" => Ok(Request::Admin(Tokens::new(line))),
        _ => operator(Tokens::new(line)),
    }
}

/// The commands that may have spaces before them, and what is none at all.
fn operator(tokens: Tokens<'_>) -> Result<Request<'_>, Rejection> {
    match tokens.get(0).unwrap_or_default() {
        b"flush_all" => Ok(Request::FlushAll(tokens)),
        b"verbosity" | b"shutdown" | b"slabs" | b"lru" | b"lru_crawler" | b"cache_memlimit"
        | b"extstore" | b"refresh_certs" | b"debugtime" | b"debugitem" | b"misbehave" => {
            Ok(Request::Admin(tokens))
        }
        _ if tokens.count() > 1 && tokens.last().is_some_and(|word| word.starts_with(b"HTTP/")) => {
            Ok(Request::Hangup)
        }
        _ => Err(Rejection { noreply: tokens.noreply(), ..Rejection::new(ERROR) }),
    }
}
