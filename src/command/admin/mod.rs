//! The commands of an operator: `stats`, `watch`, `lru_crawler` and the rest (protocol.txt, from "Slabs
//! Reassign" to the end).

pub mod detail;
pub mod size_class;
pub mod tunables;

use super::watch::Subscription;
use super::{Output, Worker};
use crate::protocol::Tokens;

/// What an admin command came to.
pub enum Outcome {
    /// Answered.
    Done,
    /// Answered in steps: call [`Listing::step`] until it is over.
    List(Listing),
    /// Turn the connection into a watcher; the subscription brings the `OK`.
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

/// Runs an operator's command on the connection `cfd`.
pub fn execute(worker: &Worker, tokens: Tokens<'_>, cfd: i32, output: &mut Output) -> Outcome {
    let _ = (worker, tokens, cfd);
    output.line(crate::protocol::ERROR);
    Outcome::Done
}
