//! memtier_benchmark as a client: one request a packet, or pipelined, on fifty connections.

use crate::batch;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

/// Keys that it asks for.
pub const KEYS: usize = 100_000;

/// The options that are always the same, for the report.
pub const OPTIONS: &str =
    "-P memcache_text -t 1 -c 50 -d 100 --ratio 1:10 --key-maximum 100000 --key-pattern R:R";

/// Stores every key that it will ask for.
pub fn fill(server: SocketAddr) -> io::Result<()> {
    batch::fill(server, (0..=KEYS).map(|number| format!("memtier-{number}")), &"x".repeat(100))
}

/// Runs it for so many seconds; requests made.
pub fn run(program: &Path, server: SocketAddr, pipeline: usize, seconds: u64) -> io::Result<u64> {
    let report = tempfile::NamedTempFile::new()?;
    let status = Command::new(program)
        .args(["-s", &server.ip().to_string(), "-p", &server.port().to_string()])
        .args(OPTIONS.split(' '))
        .args(["--pipeline", &pipeline.to_string(), "--test-time", &seconds.to_string()])
        .args(["--hide-histogram", "--json-out-file"])
        .arg(report.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    let json: serde_json::Value = serde_json::from_slice(&fs::read(report.path())?)?;
    let requests = json["ALL STATS"]["Totals"]["Count"].as_u64().filter(|&count| count > 0);
    match requests {
        Some(requests) if status.success() => Ok(requests),
        _ => Err(io::Error::other(format!("memtier_benchmark: {status}, no count of requests"))),
    }
}
