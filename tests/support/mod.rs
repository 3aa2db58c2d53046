//! What the tests that talk to a server share: peers to talk to, connections to them, and a seeded generator.
//!
//! A peer is started on a port or path of its own, is ready when it accepts, and ends when it is dropped. No
//! test sleeps until something is ready, and none has a fixed port.

#![allow(dead_code, reason = "every test program uses a part of this")]

pub mod connection;
pub mod engine;
pub mod exposition;
pub mod memcached;
pub mod observed;
pub mod random;
pub mod volt;

/// Where a peer listens.
#[derive(Debug, Clone)]
pub enum Address {
    /// An address on the loopback interface.
    Tcp(std::net::SocketAddr),
    /// The path of a unix socket.
    Unix(std::path::PathBuf),
}

/// A server under test, Volt or memcached, for as long as the value lives.
pub trait Peer {
    /// Where it accepts connections.
    fn address(&self) -> Address;
}
