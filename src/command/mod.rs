//! Commands: what a parsed request does to the engine, and what it answers.
//!
//! A [`Conversation`] is one client's side of it: bytes in, [`Output`] out, no I/O and no waiting. It belongs to
//! one connection and is driven by the worker that the connection lives on, whose [`Worker`] it borrows. The
//! commands themselves keep no state: `retrieval`, `storage`, `arithmetic`, `removal` for the classic protocol, `meta`
//! for the meta protocol, `admin` for everything an operator uses.

pub mod admin;
pub mod auth;
pub mod connections;
pub mod context;
pub mod meta;
pub mod options;
pub mod watch;

mod arithmetic;
mod conversation;
mod durable;
mod login;
mod output;
mod pipeline;
mod plain;
mod removal;
mod retrieval;
mod scope;
mod storage;
mod upload;

pub use context::Context;
pub use conversation::{Conversation, Next, Progress};
pub use output::Output;
pub use scope::Scope;

use crate::engine::Handle;
use crate::stats::{Counters, latency};
use std::sync::Arc;

/// What one worker thread needs to run commands; lives on that thread.
pub struct Worker {
    /// The thread's way into the engine.
    pub handle: Handle,
    /// What all workers share.
    pub context: Arc<Context>,
    /// Counts by key prefix, while `stats detail` is on.
    pub detail: admin::detail::Recorder,
    /// Looks for hot keys, while `stats hotkeys` is on.
    pub hot_keys: admin::hotkeys::Recorder,
    /// How long commands take.
    pub latency: latency::Recorder,
}

impl Worker {
    /// A worker on the calling thread.
    pub fn new(context: Arc<Context>) -> Self {
        let histograms = context.options.latency.then(|| context.registry.register_latency());
        Self {
            handle: context.engine.handle(),
            detail: context.detail.recorder(),
            hot_keys: context.hot_keys.recorder(),
            latency: latency::Recorder::new(histograms),
            context,
        }
    }

    /// This worker's counters.
    pub fn counters(&self) -> &Counters {
        self.handle.counters()
    }
}

#[cfg(test)]
mod tests;
