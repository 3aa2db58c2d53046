//! Data blocks: from the input into the item that they become.
//!
//! A block that is whole in the input is copied once, from there into the draft. An [`Upload`] is one that is not: it
//! owns the draft, which the driver reads into directly, and a copy of the command line, which is parsed once
//! more when all has arrived. It may live across waits; a client that goes away in the middle drops it, and nothing
//! was stored.

use super::storage::{self, BAD_DATA_CHUNK};
use super::{Output, Scope, meta};
use crate::engine::{Draft, Key};
use crate::protocol::{self, BAD_FORMAT, Parse, Rejection, Request};

/// A data block that together with its line is longer than this, in bytes, is received into its item; a shorter one
/// is waited for in the input.
pub const WAIT_MAX: usize = 16 * 1024;

/// A value on its way.
pub struct Upload {
    /// The command line, with its end of line.
    line: Box<[u8]>,
    draft: Draft,
}

impl Upload {
    /// Begins with nothing of the value that `line` announced.
    pub fn new(line: &[u8], draft: Draft) -> Self {
        Self { line: line.into(), draft }
    }

    /// The item that the rest of the value is to be received into.
    pub fn draft(&mut self) -> &mut Draft {
        &mut self.draft
    }

    /// Whether the value is whole.
    pub fn is_whole(&self) -> bool {
        self.draft.missing() == 0
    }

    /// Takes what it can use from the beginning of `input`; returns how much that was, in bytes.
    pub fn take(&mut self, input: &[u8]) -> usize {
        self.draft.fill(input)
    }

    /// Stores the value, now that it is whole and the two bytes after it are known.
    pub fn finish(self, scope: Scope<'_>, end_of_line: &[u8], output: &mut Output) {
        if let Parse::Request { request, .. } = protocol::parse(&self.line) {
            let hash = scope.hash(&request);
            finish(scope, &request, hash, self.draft, end_of_line, output);
        }
    }
}

/// Memory for the value that `request` announces; `whole`: all of it is here already.
///
/// # Errors
/// The reply, and how much of the data block to swallow.
pub fn draft(
    scope: Scope<'_>,
    request: &Request<'_>,
    hash: u64,
    whole: bool,
) -> Result<Draft, Rejection> {
    match request {
        Request::Store(store) => {
            storage::draft(scope, store, Key { bytes: store.key, hash }, whole)
        }
        Request::Meta(request) => meta::draft(scope, request, hash, whole),
        _ => Err(Rejection::new(BAD_FORMAT)),
    }
}

/// Fills `draft` from a whole data block, end of line included, and stores it.
pub fn store(
    scope: Scope<'_>,
    request: &Request<'_>,
    hash: u64,
    mut draft: Draft,
    block: &[u8],
    output: &mut Output,
) {
    let (value, end_of_line) = block.split_at(block.len() - 2);
    draft.fill(value);
    finish(scope, request, hash, draft, end_of_line, output);
}

/// Stores a filled draft, provided that its data block ends where it should.
fn finish(
    scope: Scope<'_>,
    request: &Request<'_>,
    hash: u64,
    draft: Draft,
    end_of_line: &[u8],
    output: &mut Output,
) {
    match request {
        _ if end_of_line != b"\r\n" => {
            scope.counters().protocol_errors.bump();
            // noreply hushes this error, the q of ms does not.
            if !matches!(request, Request::Store(store) if store.noreply) {
                output.line(BAD_DATA_CHUNK);
            }
        }
        Request::Store(store) => {
            storage::finish(scope, store, Key { bytes: store.key, hash }, draft, output);
        }
        Request::Meta(request) => meta::finish(scope, request, hash, draft, output),
        _ => {}
    }
}
