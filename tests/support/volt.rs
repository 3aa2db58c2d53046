//! Volt as a peer: a node in this process, started with memcached's own options.

use super::{Address, Peer};
use std::ffi::OsString;
use volt::config::{self, Outcome};
use volt::node::{Node, Options};

/// What a node listens on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// A free port of the loopback interface.
    Tcp,
    /// A unix socket in a directory of its own.
    Unix,
}

/// A running node.
pub struct Volt {
    // Stops before its directory goes.
    node: Node,
    directory: tempfile::TempDir,
    transport: Transport,
}

impl Volt {
    /// Starts a node with these options; it accepts when this returns. Tests may move its clock (`debugtime`).
    pub fn start(options: &[String], transport: Transport) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut line: Vec<OsString> = ["volt", "-o", "debug_commands"].map(OsString::from).into();
        match transport {
            Transport::Tcp => line.extend(["-l", "127.0.0.1", "-p", "-1"].map(OsString::from)),
            Transport::Unix => {
                line.extend(["-s".into(), directory.path().join("socket").into_os_string()]);
            }
        }
        line.extend(options.iter().map(OsString::from));
        let config = match config::load(line, []) {
            Ok(Outcome::Run(config)) => *config,
            Ok(Outcome::Print(text)) => panic!("options that only print: {text}"),
            Err(error) => panic!("{options:?}: {error}"),
        };
        let config::Config { engine, server, command, persist, .. } = config;
        let parts = Options { engine, server, command, persist, ..Options::default() };
        let node = Node::start(parts)
            .unwrap_or_else(|error| panic!("starting a node with {options:?}: {error}"));
        Self { node, directory, transport }
    }

    /// The node itself.
    pub fn node(&self) -> &Node {
        &self.node
    }
}

impl Peer for Volt {
    fn address(&self) -> Address {
        match self.transport {
            Transport::Tcp => Address::Tcp(self.node.addresses().tcp[0]),
            Transport::Unix => Address::Unix(self.directory.path().join("socket")),
        }
    }
}
