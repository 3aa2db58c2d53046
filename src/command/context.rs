//! Stand-in until admin's context arrives.

use super::options::Options;
use crate::clock::Clock;
use crate::engine::Engine;
use crate::stats::Registry;
use std::sync::Arc;

/// What all workers share.
pub struct Context {
    /// The cache.
    pub engine: Arc<Engine>,
    /// The clock.
    pub clock: Arc<Clock>,
    /// All counters.
    pub stats: Arc<Registry>,
    /// Settings of the commands.
    pub options: Options,
}
