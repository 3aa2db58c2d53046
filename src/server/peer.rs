//! Who is at the other end: a connection's place in the table of connections, from accept to close.
//!
//! Addresses are written as `stats conns` of memcached writes them.

use super::worker::Shared;
use crate::command::connections::{Endpoint, Registration, State, Transport};
use crate::command::watch::{self, CloseReason};
use std::cell::Cell;
use std::net::SocketAddr;
use std::ops::Deref;
use std::path::Path;
use std::rc::Rc;

/// A client connection's entry in the table. Dropping it logs the close and takes the entry out, so a connection drops it
/// before its socket: the descriptor may be given out anew.
pub(super) struct Peer {
    shared: Rc<Shared>,
    entry: Registration,
    reason: Cell<CloseReason>,
}

impl Peer {
    pub fn register(shared: Rc<Shared>, endpoint: Endpoint) -> Self {
        let context = &shared.commands.context;
        watch::connection_opened(context, &endpoint);
        tracing::debug!("<{} new client connection from {}", endpoint.cfd, endpoint.addr);
        let now = context.clock.now();
        let entry = context.connections.register(endpoint, State::NewCommand, now);
        shared.commands.counters().total_connections.bump();
        Self { shared, entry, reason: Cell::new(CloseReason::Error) }
    }

    /// Notes why the connection is about to be closed; without it the reason is an error.
    pub fn closes_for(&self, reason: CloseReason) {
        self.reason.set(reason);
    }
}

impl Deref for Peer {
    type Target = Registration;

    fn deref(&self) -> &Registration {
        &self.entry
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let context = &self.shared.commands.context;
        let (endpoint, reason) = (&self.entry.endpoint, self.reason.get());
        watch::connection_closed(context, endpoint, reason);
        tracing::debug!("<{} connection closed: {reason:?}", endpoint.cfd);
    }
}

/// A socket's own address and how it is spoken to, for the table.
#[derive(Debug, Clone)]
pub(super) struct Local {
    pub transport: Transport,
    pub address: String,
}

impl Local {
    pub fn tcp(address: SocketAddr) -> Self {
        Self { transport: Transport::Tcp, address: describe("tcp", address) }
    }

    pub fn udp(address: SocketAddr) -> Self {
        Self { transport: Transport::Udp, address: describe("udp", address) }
    }

    pub fn unix(path: Option<&Path>) -> Self {
        let path = path.unwrap_or(Path::new(""));
        Self { transport: Transport::Local, address: format!("unix:{}", path.display()) }
    }

    /// The table's line for the socket itself: a listener, or a UDP socket.
    pub fn as_endpoint(&self, cfd: i32) -> Endpoint {
        Endpoint {
            cfd,
            transport: self.transport,
            addr: self.address.clone(),
            listen_addr: None,
            remote: (String::new(), 0),
        }
    }

    /// The table's line for a client that came in here; over a unix socket it has no address, and memcached shows
    /// one of family 0.
    pub fn client(&self, cfd: i32, peer: Option<SocketAddr>) -> Endpoint {
        let (addr, remote) = match peer {
            Some(peer) => (describe("tcp", peer), (peer.ip().to_string(), peer.port())),
            None => ("?:<AF 0>".to_owned(), ("unix".to_owned(), 0)),
        };
        Endpoint {
            cfd,
            transport: self.transport,
            addr,
            listen_addr: Some(self.address.clone()),
            remote,
        }
    }
}

fn describe(transport: &str, address: SocketAddr) -> String {
    let version = if address.is_ipv6() { "6" } else { "" };
    format!("{transport}{version}:{address}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_read_as_memcached_writes_them() {
        let listener = Local::tcp(address("127.0.0.1:11211"));
        let client = listener.client(7, Some(address("127.0.0.1:5000")));
        assert_eq!(client.addr, "tcp:127.0.0.1:5000");
        assert_eq!(client.listen_addr.as_deref(), Some("tcp:127.0.0.1:11211"));
        assert_eq!(client.remote, ("127.0.0.1".to_owned(), 5000));

        let client = Local::tcp(address("[::1]:1")).client(9, Some(address("[::1]:2")));
        assert_eq!((client.addr.as_str(), client.remote.0.as_str()), ("tcp6:[::1]:2", "::1"));
        assert_eq!(Local::udp(address("[::1]:3")).as_endpoint(8).addr, "udp6:[::1]:3");

        let listener = Local::unix(Some(Path::new("/run/volt.sock")));
        assert_eq!(listener.as_endpoint(3).addr, "unix:/run/volt.sock");
        let client = listener.client(4, None);
        assert_eq!((client.addr.as_str(), client.remote.0.as_str()), ("?:<AF 0>", "unix"));
    }
}
