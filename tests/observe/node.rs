//! A node with metrics and a past: some of every command, evictions included.

use crate::support::Address;
use crate::support::connection::Connection;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;
use volt::http;
use volt::node::{Node, Options};
use volt::server::{Listen, Port};

/// Starts a small node on free ports.
pub fn start() -> Node {
    let mut options = Options::default();
    options.server.threads = 1;
    options.server.listen = Listen::parse_list("127.0.0.1").unwrap();
    options.server.port = Port::Any;
    options.command.latency = true;
    options.engine.memory_limit = 4 << 20;
    options.http.listen = http::Listen::parse("127.0.0.1:0").unwrap();
    options.http.required = true;
    Node::start(options).unwrap()
}

/// Connects to it as a client.
pub fn connect(node: &Node) -> Connection {
    Connection::open(&Address::Tcp(node.addresses().tcp[0])).unwrap()
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

/// The body that a path answers with, and whether its status was 200.
pub fn get(address: SocketAddr, path: &str) -> std::io::Result<(bool, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    Ok((head.contains(" 200 "), body.to_owned()))
}
