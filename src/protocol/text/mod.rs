//! The classic text protocol: the dispatch over command names, and the requests it knows.

use super::{BAD_FORMAT, ERROR, Parse, Rejection, Request, Tokens, Words, meta};

/// get, gets, gat, gats: one or more keys.
#[derive(Debug, Clone, Copy)]
pub struct Get<'b> {
    /// The keys, at least one; not checked for length.
    pub keys: Words<'b>,
    /// gets and gats: show the cas unique.
    pub with_cas: bool,
    /// gat and gats: the new exptime as on the line.
    pub touch: Option<i32>,
}

/// Which storing command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreVerb {
    /// set
    Set,
    /// add
    Add,
    /// replace
    Replace,
    /// append
    Append,
    /// prepend
    Prepend,
    /// cas
    Cas,
}

/// A storing command; its data block of `value_len` bytes and an end of line follows.
#[derive(Debug, Clone, Copy)]
pub struct Store<'b> {
    /// Which of them.
    pub verb: StoreVerb,
    /// The key, 1 to 250 bytes.
    pub key: &'b [u8],
    /// Client flags.
    pub flags: u32,
    /// As on the line: see `Clock::deadline`.
    pub exptime: i32,
    /// Length of the data block, in bytes, without its end of line.
    pub value_len: usize,
    /// cas: the unique to compare with; otherwise 0.
    pub cas: u64,
    /// No reply wanted.
    pub noreply: bool,
}

/// delete
#[derive(Debug, Clone, Copy)]
pub struct Delete<'b> {
    /// The key, 1 to 250 bytes.
    pub key: &'b [u8],
    /// No reply wanted.
    pub noreply: bool,
}

/// incr, decr
#[derive(Debug, Clone, Copy)]
pub struct Arith<'b> {
    /// The key, 1 to 250 bytes.
    pub key: &'b [u8],
    /// incr rather than decr.
    pub incr: bool,
    /// By how much.
    pub delta: u64,
    /// No reply wanted.
    pub noreply: bool,
}

/// touch
#[derive(Debug, Clone, Copy)]
pub struct Touch<'b> {
    /// The key, 1 to 250 bytes.
    pub key: &'b [u8],
    /// As on the line: see `Clock::deadline`.
    pub exptime: i32,
    /// No reply wanted.
    pub noreply: bool,
}

/// Parses the command line that `input` begins with.
pub fn parse(input: &[u8]) -> Parse<'_> {
    let Some(end) = memchr::memchr(b'\n', input) else {
        return Parse::Incomplete;
    };
    let line = &input[..end];
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let request = match line {
        b"quit" => Request::Quit,
        b"version" => Request::Version,
        b"mn" => Request::MetaNoop,
        [b'm', verb @ (b'g' | b's' | b'd' | b'a' | b'e'), b' ', ..] => {
            match meta::parse(*verb, line) {
                Ok(request) => Request::Meta(request),
                Err(rejection) => Request::Rejected(rejection),
            }
        }
        _ if line.len() < 2 => Request::Rejected(Rejection::new(BAD_FORMAT)),
        _ if line.starts_with(b"stats") => Request::Admin(Tokens::new(line)),
        _ => Request::Rejected(Rejection::new(ERROR)),
    };
    Parse::Request { request, consumed: end + 1 }
}
