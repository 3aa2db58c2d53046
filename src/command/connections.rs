//! The table of open connections and listeners: what `stats conns` shows and `stats` counts.
//!
//! The table is a mutex around a map by file descriptor; only accept, close and `stats` take it. What changes
//! with every batch of requests (state, time of the last command) is a pair of atomics in the connection's own
//! entry: its worker writes them, `stats conns` reads them, Relaxed, since nothing hangs on their order.

use crate::clock::RelTime;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a connection is doing, in memcached's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// A listening socket.
    Listening,
    /// Accepted, nothing received yet.
    NewCommand,
    /// Waiting for a request.
    Waiting,
    /// Receiving a request (an idle UDP socket stays here).
    Read,
    /// Carrying out a request.
    ParseCommand,
    /// Writing replies.
    Write,
    /// Receiving the value of a store.
    ReadValue,
    /// Receiving a value that was refused.
    Swallow,
    /// About to close.
    Closing,
    /// Writing more than one buffer's worth of replies.
    WriteMany,
    /// A watcher.
    Watch,
}

impl State {
    const ALL: [Self; 11] = [
        Self::Listening,
        Self::NewCommand,
        Self::Waiting,
        Self::Read,
        Self::ParseCommand,
        Self::Write,
        Self::ReadValue,
        Self::Swallow,
        Self::Closing,
        Self::WriteMany,
        Self::Watch,
    ];

    /// memcached's name of the state.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Listening => "conn_listening",
            Self::NewCommand => "conn_new_cmd",
            Self::Waiting => "conn_waiting",
            Self::Read => "conn_read",
            Self::ParseCommand => "conn_parse_cmd",
            Self::Write => "conn_write",
            Self::ReadValue => "conn_nread",
            Self::Swallow => "conn_swallow",
            Self::Closing => "conn_closing",
            Self::WriteMany => "conn_mwrite",
            Self::Watch => "conn_watch",
        }
    }
}

/// How a connection came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// A unix socket.
    Local,
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// What is known of a connection when it is registered.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// The socket's descriptor: the connection's name in `stats conns` and in watchers' lines.
    pub cfd: i32,
    /// How it came in.
    pub transport: Transport,
    /// `stats conns` addr: the peer's, or a listener's own: `tcp:127.0.0.1:5000`, `tcp6:[::1]:5000`,
    /// `unix:/path`, or `?:<AF 0>` for the peer of a unix socket.
    pub addr: String,
    /// `stats conns` listen_addr, in the same form; `None` for listeners and idle UDP sockets.
    pub listen_addr: Option<String>,
    /// The peer's address alone (`unix` for unix sockets) and its port, for watchers.
    pub remote: (String, u16),
}

/// A connection's entry in the table.
#[derive(Debug)]
pub struct Connection {
    /// What it was registered with.
    pub endpoint: Endpoint,
    state: AtomicU8,
    last_command: AtomicU32,
}

impl Connection {
    /// Notes what the connection is doing.
    #[inline]
    pub fn set_state(&self, state: State) {
        self.state.store(state as u8, Ordering::Relaxed);
    }

    /// What the connection is doing.
    pub fn state(&self) -> State {
        State::ALL[usize::from(self.state.load(Ordering::Relaxed))]
    }

    /// Notes that a command began at `now`.
    #[inline]
    pub fn command_at(&self, now: RelTime) {
        self.last_command.store(now, Ordering::Relaxed);
    }

    /// When the last command began (relative time).
    pub fn last_command(&self) -> RelTime {
        self.last_command.load(Ordering::Relaxed)
    }
}

/// All open connections and listeners.
#[derive(Debug, Default)]
pub struct Connections {
    open: Mutex<Table>,
    /// Listeners that do not accept for now.
    pausing: AtomicUsize,
}

#[derive(Debug, Default)]
struct Table {
    by_cfd: BTreeMap<i32, Arc<Connection>>,
    /// Most connections that were open at one time.
    peak: usize,
    listeners: usize,
}

impl Connections {
    /// Enters a connection; it leaves the table when the registration is dropped. `now` counts as its last
    /// command.
    ///
    /// Close the socket after dropping the registration, never before: the descriptor may be given out anew.
    pub fn register(
        self: &Arc<Self>,
        endpoint: Endpoint,
        state: State,
        now: RelTime,
    ) -> Registration {
        let connection = Arc::new(Connection {
            endpoint,
            state: AtomicU8::new(state as u8),
            last_command: AtomicU32::new(now),
        });
        let listens = state == State::Listening;
        let mut table = self.table();
        table.by_cfd.insert(connection.endpoint.cfd, Arc::clone(&connection));
        table.listeners += usize::from(listens);
        table.peak = table.peak.max(table.by_cfd.len());
        drop(table);
        Registration { connection, table: Arc::clone(self), listens }
    }

    /// The open connections and listeners, by descriptor.
    pub fn snapshot(&self) -> Vec<Arc<Connection>> {
        self.table().by_cfd.values().cloned().collect()
    }

    /// Open connections, without listeners.
    pub fn count(&self) -> usize {
        let table = self.table();
        table.by_cfd.len() - table.listeners
    }

    /// Most connections and listeners that were open at one time.
    pub fn peak(&self) -> usize {
        self.table().peak
    }

    /// Notes that a listener does not accept until the returned value is dropped.
    pub fn pause(&self) -> Pause<'_> {
        self.pausing.fetch_add(1, Ordering::Relaxed);
        Pause(&self.pausing)
    }

    /// Whether every listener accepts.
    pub fn accepting(&self) -> bool {
        self.pausing.load(Ordering::Relaxed) == 0
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A listener that does not accept, until dropped.
#[derive(Debug)]
pub struct Pause<'c>(&'c AtomicUsize);

impl Drop for Pause<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection's place in the table, given up when dropped.
#[derive(Debug)]
pub struct Registration {
    connection: Arc<Connection>,
    table: Arc<Connections>,
    listens: bool,
}

impl std::ops::Deref for Registration {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut table = self.table.table();
        table.listeners -= usize::from(self.listens);
        // A descriptor that was closed too early may be another connection's by now.
        let cfd = self.connection.endpoint.cfd;
        if table.by_cfd.get(&cfd).is_some_and(|entry| Arc::ptr_eq(entry, &self.connection)) {
            table.by_cfd.remove(&cfd);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(cfd: i32) -> Endpoint {
        Endpoint {
            cfd,
            transport: Transport::Tcp,
            addr: format!("tcp:127.0.0.1:{cfd}"),
            listen_addr: None,
            remote: ("127.0.0.1".to_owned(), 1),
        }
    }

    #[test]
    fn a_connection_is_in_the_table_as_long_as_its_registration() {
        let table = Arc::new(Connections::default());
        let listener = table.register(endpoint(3), State::Listening, 62);
        let b = table.register(endpoint(9), State::NewCommand, 62);
        let a = table.register(endpoint(5), State::NewCommand, 62);
        assert_eq!(table.snapshot().iter().map(|c| c.endpoint.cfd).collect::<Vec<_>>(), [3, 5, 9]);
        assert_eq!(table.count(), 2);
        b.set_state(State::ReadValue);
        b.command_at(70);
        assert_eq!(table.snapshot()[2].state().name(), "conn_nread");
        assert_eq!(table.snapshot()[2].last_command(), 70);
        drop(b);
        drop(a);
        assert_eq!(table.count(), 0);
        assert_eq!(table.peak(), 3);
        drop(listener);
        assert!(table.snapshot().is_empty());
    }

    #[test]
    fn every_state_survives_the_atomic() {
        let table = Arc::new(Connections::default());
        let entry = table.register(endpoint(5), State::NewCommand, 62);
        for state in State::ALL {
            entry.set_state(state);
            assert_eq!(entry.state(), state);
        }
    }
}
