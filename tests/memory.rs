//! The memory of the whole process, as the system sees it: within the limit whatever clients do.
//!
//! The program runs as a child with `-m 64`, and its resident set is read from /proc while clients store, overwrite,
//! delete and let expire values of 10 bytes to 1 MiB, send half commands, or never read. With `VOLT_TEST_MEMCACHED`
//! and `--ignored` the same load runs against memcached, to see the figures side by side. `VOLT_MEMORY_SECS` sets how long the
//! mixed load runs (3 by default).
#![cfg(target_os = "linux")]

mod support;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use support::random::Random;

const MIB: u64 = 1 << 20;
const LIMIT_MIB: u64 = 64;
/// A quarter for the allocator's fragmentation, 16 MiB for the program, its threads and buffers.
const RSS_MAX: u64 = LIMIT_MIB * MIB * 5 / 4 + 16 * MIB;

/// The program under load, ended when dropped.
struct Server {
    child: Child,
    directory: tempfile::TempDir,
}

impl Server {
    fn start(program: PathBuf) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let child = Command::new(program)
            .arg("-s")
            .arg(directory.path().join("socket"))
            .args(["-u", "root", "-t", "2", "-c", "4096", "-m", &LIMIT_MIB.to_string()])
            .env("VOLT__METRICS__LISTEN", "off")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        Self { child, directory }
    }

    fn volt() -> Self {
        Self::start(env!("CARGO_BIN_EXE_volt").into())
    }

    fn connect(&self) -> UnixStream {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match UnixStream::connect(self.directory.path().join("socket")) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
                    return stream;
                }
                Err(error) => assert!(Instant::now() < deadline, "no connection: {error}"),
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Resident bytes now.
    fn rss(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/statm", self.child.id()));
        let text = text.expect("the child lives");
        let pages: u64 = text.split(' ').nth(1).and_then(|n| n.parse().ok()).expect("statm");
        pages * 4096
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Ends a batch and reads until its answer has come; returns how many lines of the reply were errors.
fn finish(stream: &mut UnixStream, batch: &mut Vec<u8>) -> usize {
    batch.extend_from_slice(b"mn\r\n");
    stream.write_all(batch).expect("written");
    batch.clear();
    let mut reply = Vec::new();
    let mut buffer = vec![0; 1 << 16];
    while !reply.ends_with(b"MN\r\n") {
        let read = stream.read(&mut buffer).expect("a reply");
        assert!(read > 0, "the server closed");
        reply.extend_from_slice(&buffer[..read]);
    }
    reply.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"SERVER_ERROR")).count()
}

/// A size between 10 bytes and 1 MiB, each power of ten as likely as the next.
fn size(random: &mut Random) -> usize {
    let bound = *random.pick(&[100, 1_000, 10_000, 100_000, 1_048_000]);
    10 + random.index(bound - 10)
}

/// Stores, overwrites, deletes and lets expire for `duration`; the largest resident set seen, and the errors.
fn mixed_load(server: &Server, duration: Duration, seed: u64) -> (u64, usize) {
    let mut random = Random::new(seed);
    let mut stream = server.connect();
    let (mut peak, mut errors) = (0, 0);
    let value = vec![b'v'; 1 << 20];
    let mut batch = Vec::new();
    let start = Instant::now();
    while start.elapsed() < duration {
        for _ in 0..20 {
            let key = random.below(20_000);
            match random.below(10) {
                0 => batch.extend_from_slice(format!("delete key{key} noreply\r\n").as_bytes()),
                action => {
                    let len = size(&mut random);
                    let exptime = if action < 4 { 1 } else { 0 };
                    let line = format!("set key{key} 0 {exptime} {len}\r\n");
                    batch.extend_from_slice(line.as_bytes());
                    batch.extend_from_slice(&value[..len]);
                    batch.extend_from_slice(b"\r\n");
                }
            }
        }
        errors += finish(&mut stream, &mut batch);
        peak = peak.max(server.rss());
    }
    (peak, errors)
}

fn seconds() -> Duration {
    let text = std::env::var("VOLT_MEMORY_SECS").unwrap_or_else(|_| "3".into());
    Duration::from_secs(text.parse().expect("VOLT_MEMORY_SECS is a number of seconds"))
}

/// Empties the cache and waits for its memory to come back; resident bytes after at most five seconds.
fn flushed_rss(server: &Server, enough: u64) -> u64 {
    let mut stream = server.connect();
    finish(&mut stream, &mut b"flush_all\r\n".to_vec());
    let deadline = Instant::now() + Duration::from_secs(5);
    while server.rss() > enough && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    server.rss()
}

#[test]
fn mixed_sizes_stay_within_the_limit_and_a_flush_gives_the_memory_back() {
    let server = Server::volt();
    let (peak, errors) = mixed_load(&server, seconds(), 1);
    println!("volt: peak {} MiB, {errors} errors", peak / MIB);
    assert_eq!(errors, 0, "nothing was too large, and everything could be evicted");
    assert!(peak <= RSS_MAX, "{} MiB resident at -m {LIMIT_MIB}", peak / MIB);
    let enough = peak / 2;
    let after = flushed_rss(&server, enough);
    println!("volt: {} MiB after flush_all", after / MIB);
    assert!(after <= enough, "{} MiB after flush_all, {} before", after / MIB, peak / MIB);
}

#[test]
#[ignore = "needs VOLT_TEST_MEMCACHED; prints memcached's figures for the same load"]
fn memcached_under_the_same_load() {
    let program = std::env::var_os(support::memcached::VARIABLE).expect("names a memcached");
    let server = Server::start(program.into());
    let (peak, errors) = mixed_load(&server, seconds(), 1);
    println!("memcached: peak {} MiB, {errors} errors", peak / MIB);
    println!("memcached: {} MiB after flush_all", flushed_rss(&server, peak / 2) / MIB);
    assert!(peak > 0);
}

#[test]
fn half_commands_and_clients_that_never_read_cost_a_bounded_amount() {
    let server = Server::volt();
    let mut stream = server.connect();
    let value = vec![b'v'; 1_000_000];
    let mut batch = b"set big 0 0 1000000\r\n".to_vec();
    batch.extend_from_slice(&value);
    batch.extend_from_slice(b"\r\n");
    assert_eq!(finish(&mut stream, &mut batch), 0);
    let deaf: Vec<_> = (0..1000)
        .map(|_| {
            let mut client = server.connect();
            client.write_all(&b"get big big big big\r\n".repeat(50)).expect("written");
            client
        })
        .collect();
    let half: Vec<_> = (0..1000)
        .map(|i| {
            let mut client = server.connect();
            // Some stop within the line, some within a small value, some within a large one.
            let bytes: &[u8] = match i % 3 {
                0 => b"get ke",
                1 => b"set half 0 0 2000\r\nhalf of it",
                _ => b"set half 0 0 1000000\r\nhalf of it",
            };
            client.write_all(bytes).expect("written");
            client
        })
        .collect();
    // The others are served meanwhile. (Values on their way may have taken the room of what was stored before.)
    for _ in 0..20 {
        stream.write_all(b"set small 0 0 5\r\nhello\r\nget small\r\n").expect("written");
        let expected = b"STORED\r\nVALUE small 0 5\r\nhello\r\nEND\r\n";
        let mut reply = vec![0; expected.len()];
        stream.read_exact(&mut reply).expect("a reply");
        assert_eq!(reply, expected);
    }
    let rss = server.rss();
    println!("volt: {} MiB with 2000 hostile clients", rss / MIB);
    // Connections cost something beside the items: 16 KiB each are allowed for.
    let allowed = RSS_MAX + 2000 * 16 * 1024;
    assert!(rss <= allowed, "{} MiB resident", rss / MIB);
    drop((half, deaf));
}
