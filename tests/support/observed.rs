//! A node with metrics, on free ports of this machine, and what asks it for its pages.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use super::Address;
use super::connection::Connection;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;
use volt::http;
use volt::node::{Node, Options};
use volt::persist;
use volt::server::{Listen, Port};

/// How long an answer may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// The options of a small node that times its commands, with a copy on disk if a directory is given.
pub fn options(threads: usize, data: Option<&Path>) -> Options {
    let mut options = Options::default();
    options.server.threads = threads;
    options.server.listen = Listen::parse_list("127.0.0.1").unwrap();
    options.server.port = Port::Any;
    options.command.latency = true;
    options.engine.memory_limit = 4 << 20;
    options.http.listen = http::Listen::parse("127.0.0.1:0").unwrap();
    options.http.required = true;
    options.persist = data.map(|data| persist::Options::new(data.to_owned()));
    options
}

/// Connects to it as a client.
pub fn connect(node: &Node) -> Connection {
    Connection::open(&Address::Tcp(node.addresses().tcp[0])).unwrap()
}

/// Sends one HTTP request and reads the answer, which ends with the connection: its head and its body.
pub fn exchange(address: SocketAddr, request: &str) -> std::io::Result<(String, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    Ok((head.to_owned(), body.to_owned()))
}

/// What a path answers with.
pub fn get(address: SocketAddr, path: &str) -> std::io::Result<(String, String)> {
    exchange(address, &format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n"))
}
