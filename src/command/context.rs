//! What all workers share: the engine and everything that commands ask or change beside it.
//!
//! A [`Context`] is built once by `node` and shared behind an `Arc`. On the path of a data command nothing in
//! it is written; what is read there (`tunables`, the watch mask) is an atomic that changes when an
//! administrator says so.

use super::admin::detail::Detail;
use super::admin::hotkeys::HotKeys;
use super::admin::tunables::Tunables;
use super::auth::Auth;
use super::connections::Connections;
use super::options::Options;
use super::watch::Hub;
use crate::clock::Clock;
use crate::engine::Engine;
use crate::stats::Registry;
use std::fmt;
use std::sync::Arc;

/// Shared by all workers of a node.
pub struct Context {
    /// The cache.
    pub engine: Arc<Engine>,
    /// The coarse clock.
    pub clock: Arc<Clock>,
    /// Every worker's counters.
    pub registry: Arc<Registry>,
    /// What was set at start.
    pub options: Options,
    /// What clients may change since.
    pub tunables: Tunables,
    /// Who may log in.
    pub auth: Auth,
    /// Open connections and listeners.
    pub connections: Arc<Connections>,
    /// Lines for watchers.
    pub watch: Arc<Hub>,
    /// Counts by key prefix (`stats detail`).
    pub detail: Detail,
    /// The keys that are asked for most (`stats hotkeys`).
    pub hot_keys: HotKeys,
    /// The copy of the cache on disk, if there is one.
    pub durability: Option<Arc<dyn Durability>>,
    /// Stops the node.
    pub control: Box<dyn Control>,
}

impl Context {
    /// Puts the parts together; `watch` comes with its distributor from [`Hub::new`].
    pub fn new(
        engine: Arc<Engine>,
        clock: Arc<Clock>,
        registry: Arc<Registry>,
        options: Options,
        watch: Arc<Hub>,
        control: Box<dyn Control>,
    ) -> Self {
        let detail =
            Detail::new(options.stat_key_prefix, options.detail_enabled, Arc::clone(&engine));
        let hot_keys = HotKeys::new(options.hot_keys, Arc::clone(&engine));
        Self {
            engine,
            clock,
            registry,
            tunables: Tunables::new(&options),
            auth: Auth::new(options.auth.clone()),
            connections: Arc::new(Connections::default()),
            watch,
            detail,
            hot_keys,
            options,
            durability: None,
            control,
        }
    }

    /// Has a copy of the cache on disk.
    #[must_use]
    pub fn with_durability(self, durability: Option<Arc<dyn Durability>>) -> Self {
        Self { durability, ..self }
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("options", &self.options).finish_non_exhaustive()
    }
}

/// What commands may ask of the process; `node` implements it.
pub trait Control: Send + Sync {
    /// `shutdown`: stop now, as at SIGINT. Returns at once.
    fn shutdown(&self);

    /// `shutdown graceful`: stop as at SIGUSR1, saving what is to be saved. Returns at once.
    fn shutdown_graceful(&self);

    /// `verbosity`: say as much on standard error as so many `-v` would. Returns at once.
    fn set_verbosity(&self, verbosity: u32);
}

/// What commands may ask of the copy on disk; `node` implements it.
pub trait Durability: Send + Sync {
    /// A number that [`is_durable`](Self::is_durable) knows, for all that was done before this call.
    fn ticket(&self) -> u64;

    /// Whether what the ticket stands for is on disk: never blocks, and is asked again and again.
    fn is_durable(&self, ticket: u64) -> bool;

    /// Whether what it holds is still being brought back.
    fn is_loading(&self) -> bool;

    /// Figures for `stats`, by name.
    fn figures(&self, sink: &mut Figures<'_>);
}

/// Takes figures, one name and value at a time.
pub type Figures<'s> = dyn FnMut(&str, &dyn fmt::Display) + 's;

/// A control that ignores everything, for tests and tools that have no process to stop.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoControl;

impl Control for NoControl {
    fn shutdown(&self) {}

    fn shutdown_graceful(&self) {}

    fn set_verbosity(&self, _: u32) {}
}
