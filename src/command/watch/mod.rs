//! `watch`: lines about what the workers do, for clients that asked for them (protocol.txt, "Watchers").
//!
//! While nobody watches, an event costs its worker one relaxed load of a mask. While somebody does, the worker
//! formats the line and tries to put it in a bounded queue; a full queue loses the line, the worker never
//! waits. The [`Distributor`], a thread of its own, copies each line into the bounded buffer of every watcher
//! that asked for its kind; a watcher whose buffer is full loses lines and is told `skipped=N` once there is
//! room. The watcher's connection takes the bytes from its [`Subscription`] and writes them.
//!
//! Lines are memcached's to the letter: [`event`].

pub mod event;

mod distributor;
mod hub;
mod subscription;

pub use distributor::Distributor;
pub use event::{
    CloseReason, DeleteCommand, Evictions, StoreCommand, StoreEvent, StoreStatus, UriEncoded,
    connection_closed, connection_opened, delete, fetch, store,
};
pub use hub::{Hub, LogStats};
pub use subscription::Subscription;

/// A set of kinds of lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mask(u32);

impl Mask {
    /// No lines.
    pub const NONE: Self = Self(0);
    /// Start and end of background work. Volt has none to tell of.
    pub const SYSEVENTS: Self = Self(1 << 1);
    /// Lookups of keys, by any command.
    pub const FETCHERS: Self = Self(1 << 2);
    /// Stores.
    pub const MUTATIONS: Self = Self(1 << 3);
    /// Connections opened and closed.
    pub const CONNEVENTS: Self = Self(1 << 5);
    /// Items evicted.
    pub const EVICTIONS: Self = Self(1 << 6);
    /// Command lines as they came. memcached accepts it and logs none.
    pub const RAWCMDS: Self = Self(1 << 9);
    /// Of memcached's proxy: accepted, never logged.
    pub const PROXY: Self = Self(1 << 10);
    /// Items deleted by clients.
    pub const DELETIONS: Self = Self(1 << 13);

    /// Both sets.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether the sets have something in common.
    #[must_use]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// A formatted line on its way to the watchers.
#[derive(Debug)]
struct Line {
    kind: Mask,
    /// Grows with every line of the process; a watcher gets no line that is older than itself.
    gid: u64,
    text: String,
}

#[cfg(test)]
mod tests;
