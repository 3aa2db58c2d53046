//! Stand-in until admin's commands arrive.

use super::watch::Subscription;
use super::{Output, Worker};
use crate::protocol::Tokens;

/// What an admin command came to.
pub enum Outcome {
    /// Answered.
    Done,
    /// Answered in steps: call [`Listing::step`] until it is over.
    List(Listing),
    /// Turn the connection into a watcher.
    Watch(Subscription),
    /// Close the connection.
    Close,
}

/// A long answer under way.
pub struct Listing;

impl Listing {
    /// Appends the next piece; `true` when that was the last.
    pub fn step(&mut self, worker: &Worker, output: &mut Output) -> bool {
        let _ = (worker, output);
        true
    }
}

/// Runs an operator's command on the connection `cfd`. `first`: nothing else waits in the output (metadump).
pub fn execute(worker: &Worker, tokens: Tokens<'_>, cfd: i32, output: &mut Output) -> Outcome {
    let _ = (worker, tokens, cfd);
    output.line(crate::protocol::ERROR);
    Outcome::Done
}
