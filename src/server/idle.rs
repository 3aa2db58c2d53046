//! Closing connections that have been idle for too long (`-o idle_timeout`).
//!
//! A request costs nothing here: its connection notes the time of its last command anyway, and once a second the
//! worker looks at them all. As in memcached only TCP connections are closed, and only while they wait for a command;
//! a client in the middle of a value, or one that does not read, is not idle.

use super::peer::Peer;
use crate::clock::RelTime;
use crate::command::connections::{State, Transport};
use crate::command::watch::CloseReason;
use std::cell::RefCell;
use std::rc::{Rc, Weak};
use tokio::task::AbortHandle;

/// A worker's connections that may be closed for idling, with the handles to do it by.
pub(super) struct Idle {
    timeout_s: u32,
    connections: RefCell<Vec<(Weak<Peer>, AbortHandle)>>,
}

impl Idle {
    /// With a timeout of 0 nothing is ever watched.
    pub fn new(timeout_s: u32) -> Self {
        Self { timeout_s, connections: RefCell::default() }
    }

    /// Watches a connection; that it has closed is found out by the next `close_idle`.
    pub fn watch(&self, peer: &Rc<Peer>, task: AbortHandle) {
        if self.timeout_s > 0 && peer.endpoint.transport == Transport::Tcp {
            self.connections.borrow_mut().push((Rc::downgrade(peer), task));
        }
    }

    /// Closes what has been idle for too long at `now`; the number of those.
    pub fn close_idle(&self, now: RelTime) -> u64 {
        let mut closed = 0;
        self.connections.borrow_mut().retain(|(peer, task)| {
            let Some(peer) = peer.upgrade() else { return false };
            let idle = self.is_idle(&peer, now);
            if idle {
                peer.closes_for(CloseReason::IdleTimeout);
                task.abort();
                closed += 1;
            }
            !idle
        });
        closed
    }

    fn is_idle(&self, peer: &Peer, now: RelTime) -> bool {
        matches!(peer.state(), State::NewCommand | State::Read)
            && now.saturating_sub(peer.last_command()) > self.timeout_s
    }
}
