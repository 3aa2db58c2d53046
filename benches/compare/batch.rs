//! The batch client: a closed loop whose own cost is small, so that what it measures is the server.
//!
//! Requests are built beforehand. Each connection is sent a batch, then every answer is received; the end of an answer
//! is told by that to a closing `mn`. Nothing of an answer is looked at but its last four bytes.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    Get,
    /// One `get` with all keys of a batch.
    MultiGet,
    MetaGet,
    Set,
    /// `ms` with the q flag: answered by nothing.
    QuietMetaSet,
    Incr,
    Touch,
}

/// A load: what, how many at a time, on what data.
#[derive(Debug, Clone, Copy)]
pub struct Work {
    pub op: Op,
    /// Keys in a batch, which is one write.
    pub batch: usize,
    pub keys: usize,
    /// Bytes of a value.
    pub size: usize,
}

/// Connections of a client thread.
pub const CONNECTIONS: usize = 16;
/// Bytes of all prepared batches, about.
const PREPARED_BYTES: usize = 64 << 20;
/// An answer that takes longer is none.
const PATIENCE: Duration = Duration::from_secs(20);

/// The key with this number: 16 bytes.
fn key(number: usize) -> String {
    format!("key:{number:012}")
}

/// xorshift64 (Marsaglia 2003): keys in an order that no prefetcher guesses, the same in every run.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 as usize % bound
    }
}

/// Prepared batches of a load: as many as cover its keys a few times, or as fit in 64 MiB.
pub struct Batches {
    work: Work,
    batches: Vec<Vec<u8>>,
}

impl Batches {
    pub fn new(work: Work) -> Self {
        let value = "x".repeat(work.size);
        let mut random = Random(0x9E37_79B9_7F4A_7C15);
        let carried = if matches!(work.op, Op::Set | Op::QuietMetaSet) { work.size } else { 0 };
        let most = (PREPARED_BYTES / (work.batch * (40 + carried))).max(4);
        let count = (4 * work.keys / work.batch).clamp(16, most.max(16));
        let batches = (0..count).map(|_| prepare(work, &value, &mut random)).collect();
        Self { work, batches }
    }

    /// Stores every key once.
    pub fn fill(&self, server: SocketAddr) -> io::Result<()> {
        let Work { op, keys, size, .. } = self.work;
        let value = if op == Op::Incr { "1".to_owned() } else { "x".repeat(size) };
        fill(server, (0..keys).map(key), &value)
    }

    /// Runs for so long; keys that were asked for.
    pub fn run(&self, server: SocketAddr, threads: usize, time: Duration) -> io::Result<u64> {
        thread::scope(|scope| {
            let clients: Vec<_> =
                (0..threads).map(|n| scope.spawn(move || self.client(server, n, time))).collect();
            clients.into_iter().map(|client| client.join().expect("a client that ends")).sum()
        })
    }

    fn client(&self, server: SocketAddr, number: usize, time: Duration) -> io::Result<u64> {
        let mut streams: Vec<_> =
            (0..CONNECTIONS).map(|_| open(server)).collect::<io::Result<_>>()?;
        let mut batches = self.batches.iter().cycle().skip(number * 7919 % self.batches.len());
        let (mut answer, mut keys) = (vec![0; 256 * 1024], 0);
        let began = Instant::now();
        while began.elapsed() < time {
            for (stream, batch) in streams.iter_mut().zip(&mut batches) {
                stream.write_all(batch)?;
            }
            for stream in &mut streams {
                receive(stream, &mut answer)?;
            }
            keys += CONNECTIONS * self.work.batch;
        }
        Ok(keys as u64)
    }
}

fn prepare(work: Work, value: &str, random: &mut Random) -> Vec<u8> {
    let mut batch = String::new();
    if work.op == Op::MultiGet {
        batch += "get";
    }
    for _ in 0..work.batch {
        let (key, size) = (key(random.below(work.keys)), work.size);
        let written = match work.op {
            Op::Get => write!(batch, "get {key}\r\n"),
            Op::MultiGet => write!(batch, " {key}"),
            Op::MetaGet => write!(batch, "mg {key} v\r\n"),
            Op::Set => write!(batch, "set {key} 0 0 {size}\r\n{value}\r\n"),
            Op::QuietMetaSet => write!(batch, "ms {key} {size} q\r\n{value}\r\n"),
            Op::Incr => write!(batch, "incr {key} 1\r\n"),
            Op::Touch => write!(batch, "touch {key} 0\r\n"),
        };
        written.expect("a string takes everything");
    }
    batch += if work.op == Op::MultiGet { "\r\nmn\r\n" } else { "mn\r\n" };
    batch.into_bytes()
}

/// Stores the value under every key.
pub fn fill(server: SocketAddr, keys: impl Iterator<Item = String>, value: &str) -> io::Result<()> {
    let (mut stream, mut answer) = (open(server)?, vec![0; 4096]);
    let (mut batch, mut keys) = (String::new(), keys.peekable());
    while let Some(key) = keys.next() {
        write!(batch, "set {key} 0 0 {} noreply\r\n{value}\r\n", value.len())
            .expect("a string takes everything");
        if batch.len() > 32 * 1024 || keys.peek().is_none() {
            batch += "mn\r\n";
            stream.write_all(batch.as_bytes())?;
            receive(&mut stream, &mut answer)?;
            batch.clear();
        }
    }
    Ok(())
}

/// A connection to the server.
pub fn open(server: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(server)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Receives up to the answer to `mn`.
fn receive(stream: &mut TcpStream, answer: &mut [u8]) -> io::Result<()> {
    let mut tail = [0; 4];
    while &tail != b"MN\r\n" {
        let received = stream.read(answer)?;
        if received == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let fresh = received.min(4);
        tail.rotate_left(fresh);
        tail[4 - fresh..].copy_from_slice(&answer[received - fresh..received]);
    }
    Ok(())
}
