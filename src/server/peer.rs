//! Who is at the other end: a connection's place in the table of connections, from accept to close.
//!
//! Addresses are written as `stats conns` of memcached writes them.

use super::worker::Shared;
use crate::command::connections::{Endpoint, Registration, State, Transport};
use crate::command::watch::{self, CloseReason};
use socket2::SockAddr;
use std::cell::Cell;
use std::net::SocketAddr;
use std::ops::Deref;
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
        watch::connection_closed(context, &self.entry.endpoint, self.reason.get());
    }
}

/// A socket's own address and how it is spoken to, for the table.
#[derive(Debug, Clone)]
pub(super) struct Local {
    pub transport: Transport,
    pub address: String,
}

impl Local {
    pub fn new(transport: Transport, address: &SockAddr) -> Self {
        Self { transport, address: describe(transport, address) }
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

    /// The table's line for a client that came in here.
    pub fn client(&self, cfd: i32, peer: &SockAddr) -> Endpoint {
        let (addr, remote) = match peer.as_socket() {
            Some(address) => (describe(self.transport, peer), (ip_text(&address), address.port())),
            // A unix socket's client has no address; memcached leaves its own zeroed.
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

fn describe(transport: Transport, address: &SockAddr) -> String {
    let family = if transport == Transport::Udp { "udp" } else { "tcp" };
    match (address.as_socket(), address.as_pathname()) {
        // IPv6 addresses print in brackets.
        (Some(SocketAddr::V6(address)), _) => {
            format!("{family}6:[{}]:{}", address.ip(), address.port())
        }
        (Some(address), _) => format!("{family}:{address}"),
        (None, Some(path)) => format!("unix:{}", path.display()),
        (None, None) => "?:<AF 0>".to_owned(),
    }
}

/// An address without its port; IPv6 without brackets.
fn ip_text(address: &SocketAddr) -> String {
    address.ip().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SockAddr {
        text.parse::<SocketAddr>().unwrap().into()
    }

    #[test]
    fn addresses_read_as_memcached_writes_them() {
        let listener = Local::new(Transport::Tcp, &address("127.0.0.1:11211"));
        let client = listener.client(7, &address("127.0.0.1:5000"));
        assert_eq!(client.addr, "tcp:127.0.0.1:5000");
        assert_eq!(client.listen_addr.as_deref(), Some("tcp:127.0.0.1:11211"));
        assert_eq!(client.remote, ("127.0.0.1".to_owned(), 5000));

        let listener = Local::new(Transport::Udp, &address("[::1]:11211"));
        assert_eq!(listener.as_endpoint(8).addr, "udp6:[::1]:11211");
        let client = Local::new(Transport::Tcp, &address("[::1]:1")).client(9, &address("[::1]:2"));
        assert_eq!((client.addr.as_str(), client.remote.0.as_str()), ("tcp6:[::1]:2", "::1"));

        let listener = Local::new(Transport::Local, &SockAddr::unix("/run/volt.sock").unwrap());
        assert_eq!(listener.as_endpoint(3).addr, "unix:/run/volt.sock");
        let client = listener.client(4, &SockAddr::unix("").unwrap());
        assert_eq!((client.addr.as_str(), client.remote.0.as_str()), ("?:<AF 0>", "unix"));
    }
}
