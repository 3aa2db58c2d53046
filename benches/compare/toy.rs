//! The limit: a server that does nothing but receive, answer and send.
//!
//! One epoll loop a thread, one read and one write a wake-up, blocking sockets that are read only when they are
//! readable. It parses as little as will do, stores nothing, and answers every key of a `get` with 100 bytes, so
//! that the kernel moves as much as for a server that has the key. What it costs a request is what the machine
//! costs.

use crate::sys::Readable;
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

const VALUE: &[u8] = &[b'x'; 100];

/// Serves on this port of the loopback interface until it is killed.
pub fn serve(port: u16, threads: usize) -> io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    if threads <= 1 {
        return work(&Source::Listener(listener));
    }
    let workers: Vec<Sender<TcpStream>> = (0..threads)
        .map(|_| {
            let (sender, receiver) = channel();
            thread::spawn(move || work(&Source::Acceptor(receiver)));
            sender
        })
        .collect();
    for worker in workers.iter().cycle() {
        let (stream, _) = listener.accept()?;
        // A worker that has failed has said so.
        let _ = worker.send(stream);
    }
    Ok(())
}

/// Where a worker gets its connections from.
enum Source {
    /// It is the only one, and accepts between two turns.
    Listener(TcpListener),
    /// Another thread accepts.
    Acceptor(Receiver<TcpStream>),
}

/// The number under which the listener is waited for.
const LISTENER: u64 = 0;
/// How long a worker sleeps before it asks for new connections, in milliseconds.
const ASK_EVERY_MS: i32 = 10;

fn work(source: &Source) -> io::Result<()> {
    let readable = Readable::new()?;
    let mut connections: HashMap<u64, Connection> = HashMap::new();
    let (mut next, mut ready) = (LISTENER + 1, Vec::new());
    let mut timeout_ms = ASK_EVERY_MS;
    if let Source::Listener(listener) = source {
        readable.add(listener, LISTENER)?;
        timeout_ms = -1;
    }
    let mut admit = |stream: TcpStream, connections: &mut HashMap<_, _>| {
        stream.set_nodelay(true)?;
        readable.add(&stream, next)?;
        connections.insert(next, Connection { stream, rest: Vec::new(), skip: 0 });
        next += 1;
        io::Result::Ok(())
    };
    let (mut input, mut output) = (vec![0; 64 * 1024], Vec::new());
    loop {
        if let Source::Acceptor(accepted) = source {
            while let Ok(stream) = accepted.try_recv() {
                admit(stream, &mut connections)?;
            }
        }
        readable.wait(&mut ready, timeout_ms)?;
        for &number in &ready {
            if let (LISTENER, Source::Listener(listener)) = (number, source) {
                admit(listener.accept()?.0, &mut connections)?;
                continue;
            }
            let Some(connection) = connections.get_mut(&number) else { continue };
            if !connection.turn(&mut input, &mut output).unwrap_or(false) {
                connections.remove(&number);
            }
        }
    }
}

struct Connection {
    stream: TcpStream,
    /// The beginning of a line.
    rest: Vec<u8>,
    /// Bytes of a value that are still to come.
    skip: usize,
}

impl Connection {
    /// One read, one write; `false` at the end.
    fn turn(&mut self, buffer: &mut [u8], output: &mut Vec<u8>) -> io::Result<bool> {
        let received = self.stream.read(buffer)?;
        if received == 0 {
            return Ok(false);
        }
        output.clear();
        if self.rest.is_empty() {
            let used = self.answer(&buffer[..received], output);
            self.rest.extend_from_slice(&buffer[used..received]);
        } else {
            let mut input = std::mem::take(&mut self.rest);
            input.extend_from_slice(&buffer[..received]);
            let used = self.answer(&input, output);
            input.drain(..used);
            self.rest = input;
        }
        if !output.is_empty() {
            self.stream.write_all(output)?;
        }
        Ok(true)
    }

    /// Answers the whole lines of the input; bytes used.
    fn answer(&mut self, input: &[u8], output: &mut Vec<u8>) -> usize {
        let mut at = 0;
        loop {
            let skipped = self.skip.min(input.len() - at);
            self.skip -= skipped;
            at += skipped;
            let Some(end) = memchr::memchr(b'\n', &input[at..]) else { return at };
            let line = &input[at..at + end];
            at += end + 1;
            let mut words = line.trim_ascii_end().split(|&byte| byte == b' ');
            match words.next() {
                Some(b"get") => {
                    for key in words {
                        output.extend_from_slice(b"VALUE ");
                        output.extend_from_slice(key);
                        output.extend_from_slice(b" 0 100\r\n");
                        output.extend_from_slice(VALUE);
                        output.extend_from_slice(b"\r\n");
                    }
                    output.extend_from_slice(b"END\r\n");
                }
                Some(b"set") => {
                    let digits = words.nth(3).unwrap_or_default();
                    let len =
                        digits.iter().fold(0, |len, digit| len * 10 + usize::from(digit & 15));
                    self.skip = len + 2;
                    output.extend_from_slice(b"STORED\r\n");
                }
                _ => output.extend_from_slice(b"MN\r\n"),
            }
        }
    }
}
