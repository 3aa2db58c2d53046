//! A node with metrics and a past: some of every command, evictions included, and a copy on disk.

use crate::support::connection::Connection;
use crate::support::observed;
use std::ops::Deref;
use tempfile::TempDir;
use volt::node::Node;

/// A node and its data directory.
pub struct Observed {
    // Stops before its directory goes.
    node: Node,
    _data: TempDir,
}

impl Deref for Observed {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.node
    }
}

/// Starts a small node on free ports.
pub fn start() -> Observed {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(observed::options(1, Some(data.path()))).unwrap();
    Observed { node, _data: data }
}

/// Some of everything; the node evicts afterwards.
pub fn use_it(connection: &mut Connection, round: u32) {
    let value = "x".repeat(4000);
    for key in 0..1200 {
        let reply = connection.ask(&format!("set {round}:{key} 0 0 4000\r\n{value}"));
        assert_eq!(reply, "STORED");
    }
    for command in ["get nothing", "mg nothing", "delete x", "incr x 1", "touch x 0", "bogus"] {
        connection.ask(command);
    }
}
