//! What the classic commands ask for. A key is 1 to [`KEY_MAX`](crate::protocol::KEY_MAX) bytes without a space.

use crate::protocol::Words;

/// get, gets, gat, gats: one or more keys.
#[derive(Debug, Clone, Copy)]
pub struct Get<'b> {
    /// The keys, at least one, none too long.
    pub keys: Words<'b>,
    /// gets and gats: show the cas unique.
    pub with_cas: bool,
    /// gat and gats: the new exptime as on the line, see `Clock::deadline`.
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

/// A storing command; its data block follows: `value_len` bytes and `\r\n`.
#[derive(Debug, Clone, Copy)]
pub struct Store<'b> {
    /// Which of them.
    pub verb: StoreVerb,
    /// The key.
    pub key: &'b [u8],
    /// Client flags.
    pub flags: u32,
    /// As on the line, see `Clock::deadline`.
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
    /// The key.
    pub key: &'b [u8],
    /// No reply wanted.
    pub noreply: bool,
}

/// incr, decr
#[derive(Debug, Clone, Copy)]
pub struct Arith<'b> {
    /// The key.
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
    /// The key.
    pub key: &'b [u8],
    /// As on the line, see `Clock::deadline`.
    pub exptime: i32,
    /// No reply wanted.
    pub noreply: bool,
}
