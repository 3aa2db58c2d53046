//! The meta protocol: mg, ms, md, ma and me (protocol.txt, "Meta Commands"; mn is the text protocol's business).
//!
//! [`parse`] reads a line in one pass and without allocating: the key and the text of the flags are borrowed, the
//! arguments of the flags are decoded into numbers. A base64 key stays encoded until [`MetaRequest::with_key`] is
//! asked for it, so that a request is small enough to be handed around.
//!
//! Which flags make sense for which command is not checked, because memcached does not check it: a known flag
//! that a command has no use for is ignored.

pub mod base64;
mod flags;
mod parse;

pub use base64::encode;
pub use flags::{FlagSet, FlagWords};
pub use parse::parse;

use base64::KeyBuffer;

/// Longest key on the line, in bytes, be it base64 or not.
const KEY_MAX: usize = 250;

/// Longest opaque that is returned, in bytes, its letter `O` included.
pub const OPAQUE_MAX: usize = 32;

/// The reply to an opaque that is longer.
pub const OPAQUE_TOO_LONG: &str = "CLIENT_ERROR opaque token too long";

/// Which meta command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// mg
    Get,
    /// ms
    Set,
    /// md
    Delete,
    /// ma
    Arith,
    /// me
    Debug,
}

/// How ms stores: what its flag `M` chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// `MS`, and the mode without `M`: whatever there is.
    Set,
    /// `ME`: if there is nothing.
    Add,
    /// `MR`: if there is something.
    Replace,
    /// `MA`
    Append,
    /// `MP`
    Prepend,
}

/// One meta command, understood.
#[derive(Debug, Clone, Copy)]
pub struct MetaRequest<'b> {
    /// Which command.
    pub verb: Verb,
    /// ms: `M`. [`Mode::Set`] for other commands.
    pub mode: Mode,
    /// ma: `MD` or `M-` rather than `MI` or `M+`.
    pub decrement: bool,
    /// The letters of the flags that are there.
    pub flags: FlagSet,
    /// The key as on the line: 1 to 250 bytes.
    word: &'b [u8],
    /// The rest of the line: the flags as they were written.
    text: &'b [u8],
    /// ms: length of the data block, in bytes, without its end of line.
    value_len: usize,
    /// `T`, as on the line: see `Clock::deadline`. 0 (never) without it.
    pub exptime: i32,
    /// `N`, as on the line.
    pub vivify: i32,
    /// `R`, as on the line.
    pub recache: i32,
    /// `F`: client flags. 0 without it.
    pub client_flags: u32,
    /// `C`; meaningless without it.
    compare: u64,
    /// `E`; meaningless without it.
    new_cas: u64,
    /// ma `D`: by how much. 1 without it.
    pub delta: u64,
    /// ma `J`: the value of a counter that `N` creates. 0 without it.
    pub initial: u64,
    /// Whether there is an opaque that is too long to be returned. Not an error of the line: what is told first
    /// is up to the command.
    pub opaque_too_long: bool,
}

impl<'b> MetaRequest<'b> {
    const fn new(verb: Verb, word: &'b [u8], text: &'b [u8]) -> Self {
        Self {
            verb,
            mode: Mode::Set,
            decrement: false,
            opaque_too_long: false,
            flags: FlagSet::of(&[]),
            word,
            text,
            value_len: 0,
            exptime: 0,
            vivify: 0,
            recache: 0,
            client_flags: 0,
            compare: 0,
            new_cas: 0,
            delta: 1,
            initial: 0,
        }
    }

    /// Calls `run` with the key, decoded if the line has it in base64. Nothing is allocated for that.
    #[inline]
    pub fn with_key<R>(&self, run: impl FnOnce(&[u8]) -> R) -> R {
        if self.has(b'b') {
            // A key that cannot be decoded does not become a request.
            return run(KeyBuffer::new().decode(self.word).unwrap_or_default());
        }
        run(self.word)
    }

    /// Whether the flag `letter` is there.
    #[inline]
    pub const fn has(&self, letter: u8) -> bool {
        self.flags.has(letter)
    }

    /// `q`: replies that say no more than that all is as expected are left out.
    #[inline]
    pub const fn quiet(&self) -> bool {
        self.has(b'q')
    }

    /// `C`: the cas unique that the item must have.
    #[inline]
    pub fn compare(&self) -> Option<u64> {
        self.has(b'C').then_some(self.compare)
    }

    /// `E`: the cas unique that the changed item shall have.
    #[inline]
    pub fn new_cas(&self) -> Option<u64> {
        self.has(b'E').then_some(self.new_cas)
    }

    /// Length of the data block that follows (ms), in bytes without its end of line; `None` for other commands.
    pub fn value_len(&self) -> Option<usize> {
        (self.verb == Verb::Set).then_some(self.value_len)
    }

    /// The flags in the order in which they were written, letter and argument.
    pub const fn flag_words(&self) -> FlagWords<'b> {
        FlagWords::new(self.text)
    }
}
