//! The text protocols of memcached: turns bytes into requests, in place.
//!
//! [`parse`] looks at the input for one command line. It does no I/O, keeps no state and allocates nothing: a
//! [`Request`] borrows its key and words from the input. A data block that follows the line is not looked at
//! here; the request says how long it is. What the line asks for is decided here, whether it can be done is
//! decided in `command`. Grammar: protocol.txt; where that is silent, memcached's parser is the law.

pub mod meta;
pub mod number;
pub mod plain;
pub mod text;

mod tokens;

pub use text::parse;
pub use tokens::{Tokens, Words};

/// What the input begins with.
#[derive(Debug)]
pub enum Parse<'b> {
    /// No end of line yet: read more.
    Incomplete,
    /// A whole command line. `consumed` covers it with its end of line, but not its data block.
    Request {
        /// What the line asks for.
        request: Request<'b>,
        /// Length of the line, in bytes.
        consumed: usize,
    },
    /// Too long a line to become a request, or not this protocol at all: close the connection.
    TooLong,
}

/// One command line, understood.
#[derive(Debug, Clone, Copy)]
pub enum Request<'b> {
    /// get, gets, gat, gats.
    Get(text::Get<'b>),
    /// set, add, replace, append, prepend, cas; a data block follows.
    Store(text::Store<'b>),
    /// delete.
    Delete(text::Delete<'b>),
    /// incr, decr.
    Arith(text::Arith<'b>),
    /// touch.
    Touch(text::Touch<'b>),
    /// flush_all, with its words still to be looked at.
    FlushAll(Tokens<'b>),
    /// mg, ms, md, ma, me.
    Meta(meta::MetaRequest<'b>),
    /// mn: answered at once, and the output is sent.
    MetaNoop,
    /// stats, watch, lru_crawler and the other commands of an operator.
    Admin(Tokens<'b>),
    /// version.
    Version,
    /// quit: closes without an answer.
    Quit,
    /// Looks like HTTP: closes without an answer.
    Hangup,
    /// Cannot be done as it stands.
    Rejected(Rejection),
}

/// A line that is answered with an error and otherwise ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rejection {
    /// The reply, without its end of line; memcached's own words.
    pub message: &'static str,
    /// Bytes that follow the line and must be skipped: the data block with its end of line, or 0.
    pub swallow: usize,
    /// Whether the client asked for no reply (errors of classic commands are then silent).
    pub noreply: bool,
}

impl Rejection {
    /// An error that is always told and has no data block.
    pub const fn new(message: &'static str) -> Self {
        Self { message, swallow: 0, noreply: false }
    }
}

/// What `version` and `stats` answer: the memcached whose behaviour this is, since clients choose by it what they
/// may use, then who it is. One word, as exporters expect of a statistic, and in the form that both semantic
/// versions and Python's know as build metadata, which comparisons leave out.
pub const VERSION: &str = concat!("1.6.45+volt.", env!("CARGO_PKG_VERSION"));
/// Longest key, in bytes.
pub const KEY_MAX: usize = 250;
/// The reply to a word that no command is named by.
pub const ERROR: &str = "ERROR";
/// The reply to a line that lacks arguments or has wrong ones.
pub const BAD_FORMAT: &str = "CLIENT_ERROR bad command line format";
