//! The fixed-rate client: how long requests take when they come at their own pace.
//!
//! An open loop: request number i is due at i / rate, whatever became of the ones before, and its time counts from when
//! it was due. A server that pauses therefore pays for every request that came meanwhile ("coordinated omission", Tene
//! 2013). One request a packet; the client never sleeps, so that it sends on time.

use crate::batch::{CONNECTIONS, Random, open};
use crate::sys::Readable;
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// What the requests do. One in eleven is a set where not said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scene {
    /// Gets and sets of keys that are there.
    Steady,
    /// Half the requests store new keys that stay.
    New,
    /// Half the requests store new keys that live for two seconds.
    ShortLived,
}

/// Times of requests, in microseconds.
#[derive(Debug, Clone, Copy, Default)]
pub struct Times {
    pub median: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

/// Keys that are there at the beginning, and from which gets choose.
pub const KEYS: usize = 100_000;

/// The key with this number, old or new.
pub fn key(number: usize) -> String {
    format!("steady-{number:09}")
}

/// Runs `rate` requests a second for so long; new keys are numbered from `first_new` on.
pub fn run(
    server: SocketAddr,
    scene: Scene,
    rate: f64,
    time: Duration,
    first_new: usize,
) -> io::Result<Times> {
    let readable = Readable::new()?;
    let mut connections = Vec::new();
    for number in 0..CONNECTIONS {
        let stream = open(server)?;
        stream.set_nonblocking(true)?;
        readable.add(&stream, number as u64)?;
        connections.push(Connection::new(stream));
    }
    let requests = (rate * time.as_secs_f64()) as usize;
    let mut script = Script { scene, random: Random(88_172_645_463_325_252), new: first_new };
    let mut times_ns = Vec::with_capacity(requests);
    let (mut ready, mut sent, mut line) = (Vec::new(), 0, Vec::new());
    let began = Instant::now();
    // Whoever cannot answer in this time more will not.
    let end = began + time * 2 + Duration::from_secs(5);
    while times_ns.len() < requests && Instant::now() < end {
        let due = began + Duration::from_secs_f64(sent as f64 / rate);
        if sent < requests && due <= Instant::now() {
            script.next(&mut line);
            connections[sent % CONNECTIONS].send(&line, due)?;
            sent += 1;
            // Answers that are here are read before more is sent, but not after every single request.
            if sent % 4 != 0 {
                continue;
            }
        }
        readable.wait(&mut ready, 0)?;
        for &number in &ready {
            connections[number as usize].receive(&mut times_ns)?;
        }
    }
    match times_ns.len() == requests {
        true => Ok(summary(times_ns)),
        false => Err(io::Error::new(io::ErrorKind::TimedOut, "the server does not keep up")),
    }
}

fn summary(mut times_ns: Vec<u64>) -> Times {
    times_ns.sort_unstable();
    let at = |share: f64| {
        let index = (times_ns.len() as f64 * share) as usize;
        times_ns[index.min(times_ns.len() - 1)] as f64 / 1000.0
    };
    Times { median: at(0.5), p99: at(0.99), p999: at(0.999), max: at(1.0) }
}

/// Makes the requests.
struct Script {
    scene: Scene,
    random: Random,
    new: usize,
}

impl Script {
    fn next(&mut self, line: &mut Vec<u8>) {
        let dice = self.random.below(22);
        let (new, ttl_s) = match self.scene {
            Scene::Steady => (false, 0),
            Scene::New => (true, 0),
            Scene::ShortLived => (true, 2),
        };
        line.clear();
        let number = self.random.below(KEYS);
        if dice < if new { 11 } else { 2 } {
            let number = if new { self.new } else { number };
            self.new += 1;
            let set = format!("set {} 0 {ttl_s} 100\r\n{}\r\n", key(number), "x".repeat(100));
            line.extend_from_slice(set.as_bytes());
        } else {
            line.extend_from_slice(format!("get {}\r\n", key(number)).as_bytes());
        }
    }
}

struct Connection {
    stream: TcpStream,
    /// When the requests that have not been answered were due.
    due: VecDeque<Instant>,
    /// Received, and part of an answer.
    input: Vec<u8>,
}

impl Connection {
    fn new(stream: TcpStream) -> Self {
        Self { stream, due: VecDeque::new(), input: Vec::new() }
    }

    /// A request is small beside the socket's buffer: what cannot be sent is an error.
    fn send(&mut self, line: &[u8], due: Instant) -> io::Result<()> {
        self.due.push_back(due);
        self.stream.write_all(line)
    }

    fn receive(&mut self, times_ns: &mut Vec<u64>) -> io::Result<()> {
        let mut buffer = [0; 16 * 1024];
        let received = self.stream.read(&mut buffer)?;
        if received == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let now = Instant::now();
        self.input.extend_from_slice(&buffer[..received]);
        let mut at = 0;
        while let Some(len) = answer_len(&self.input[at..]) {
            at += len;
            let due = self.due.pop_front().ok_or(io::ErrorKind::InvalidData)?;
            times_ns.push(u64::try_from((now - due).as_nanos()).unwrap_or(u64::MAX));
        }
        self.input.drain(..at);
        Ok(())
    }
}

/// Bytes of the answer that the input begins with, if it is whole.
fn answer_len(input: &[u8]) -> Option<usize> {
    let line = memchr::memchr(b'\n', input)? + 1;
    let Some(rest) = input.strip_prefix(b"VALUE ") else { return Some(line) };
    let text = std::str::from_utf8(&rest[..line - b"VALUE ".len()]).ok()?;
    let len: usize = text.split_whitespace().nth(2)?.parse().ok()?;
    let whole = line + len + b"\r\nEND\r\n".len();
    (whole <= input.len()).then_some(whole)
}
