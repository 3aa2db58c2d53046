//! One client's conversation: bytes in, replies out, no I/O.

use super::watch::Subscription;
use super::{Output, Worker};
use crate::protocol::{self, Parse, Request};

/// What the driver of a conversation must do next.
pub enum Next {
    /// Write the output, read more input, call again.
    Read,
    /// Write the output, read straight into [`Conversation::vacancy`], say so with [`Conversation::filled`], call
    /// again. Whatever was read beyond the vacancy belongs to the input.
    ReadValue,
    /// Write the output out (some of it at least), then call again without reading.
    Write,
    /// Enough requests for now (`-R`): let other connections run, then call again without reading.
    Yield,
    /// Write the output, then close.
    Close,
    /// Write the output, then turn the connection into a watcher's.
    Watch(Subscription),
}

/// What a call of [`Conversation::advance`] came to.
pub struct Progress {
    /// Bytes of the input that are done with and must not be shown again.
    pub consumed: usize,
    /// What to do next.
    pub next: Next,
}

/// The state of one client's conversation between calls.
pub struct Conversation {
    /// The client's socket number, as logs and `stats conns` show it.
    cfd: i32,
}

impl Conversation {
    /// A new conversation over the connection that logs call `cfd`.
    pub fn new(worker: &Worker, cfd: i32) -> Self {
        let _ = worker;
        Self { cfd }
    }

    /// Runs the requests in `input`, as many as are whole and allowed, and appends their replies to `output`.
    pub fn advance(&mut self, worker: &Worker, input: &[u8], output: &mut Output) -> Progress {
        let _ = (worker, self.cfd);
        let mut consumed = 0;
        loop {
            let next = match protocol::parse(&input[consumed..]) {
                Parse::Incomplete => Next::Read,
                Parse::TooLong => Next::Close,
                Parse::Request { request, consumed: line } => {
                    consumed += line;
                    match request {
                        Request::Version => output.line("VERSION 1.6.45"),
                        Request::Quit => return Progress { consumed, next: Next::Close },
                        _ => output.line(protocol::ERROR),
                    }
                    continue;
                }
            };
            return Progress { consumed, next };
        }
    }

    /// Where the rest of a value is to be received; empty unless the last answer was [`Next::ReadValue`].
    pub fn vacancy(&mut self) -> &mut [u8] {
        &mut []
    }

    /// Notes that the first `bytes` bytes of the vacancy have been received.
    pub fn filled(&mut self, bytes: usize) {
        let _ = bytes;
    }
}
