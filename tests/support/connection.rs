//! A client's connection to a peer: bytes out, whole or in random pieces, and bytes in, with a deadline.

use super::Address;
use super::random::Random;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// How long a peer may take for the next byte of a reply. Only failing tests wait this long.
const REPLY_TIMEOUT: Duration = Duration::from_secs(5);

/// Writes of one `send_split`, at most: beyond it the rest goes out whole.
const PIECES_MAX: usize = 400;

trait Socket: Read + Write + Send {
    fn second_handle(&self) -> std::io::Result<Box<dyn Socket>>;
    fn shutdown_write(&self) -> std::io::Result<()>;
}

impl Socket for TcpStream {
    fn second_handle(&self) -> std::io::Result<Box<dyn Socket>> {
        Ok(Box::new(self.try_clone()?))
    }

    fn shutdown_write(&self) -> std::io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

impl Socket for UnixStream {
    fn second_handle(&self) -> std::io::Result<Box<dyn Socket>> {
        Ok(Box::new(self.try_clone()?))
    }

    fn shutdown_write(&self) -> std::io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

/// What reading found.
#[derive(Debug, PartialEq, Eq)]
pub enum Received {
    /// More bytes are in the buffer.
    Bytes,
    /// The peer closed the connection.
    Closed,
    /// Nothing came within the deadline.
    Silence,
}

/// One connection and the bytes that have arrived on it.
pub struct Connection {
    socket: Box<dyn Socket>,
    /// What has arrived and was not taken yet.
    pub input: Vec<u8>,
}

impl Connection {
    /// Connects once; the caller decides whether to try again.
    pub fn open(address: &Address) -> std::io::Result<Self> {
        let socket: Box<dyn Socket> = match address {
            Address::Tcp(address) => {
                let socket = TcpStream::connect(address)?;
                socket.set_nodelay(true)?;
                socket.set_read_timeout(Some(REPLY_TIMEOUT))?;
                socket.set_write_timeout(Some(REPLY_TIMEOUT))?;
                Box::new(socket)
            }
            Address::Unix(path) => {
                let socket = UnixStream::connect(path)?;
                socket.set_read_timeout(Some(REPLY_TIMEOUT))?;
                socket.set_write_timeout(Some(REPLY_TIMEOUT))?;
                Box::new(socket)
            }
        };
        Ok(Self { socket, input: Vec::new() })
    }

    /// A second handle of the same socket, with an input buffer of its own: one to send, one to receive.
    pub fn try_clone(&self) -> std::io::Result<Self> {
        Ok(Self { socket: self.socket.second_handle()?, input: Vec::new() })
    }

    /// Sends everything. A peer that has closed is not an error here: reading will tell.
    pub fn send(&mut self, bytes: &[u8]) {
        match self.socket.write_all(bytes) {
            Ok(()) => {}
            Err(error) if is_closed(error.kind()) => {}
            Err(error) => panic!("sending {} bytes: {error}", bytes.len()),
        }
    }

    /// Nothing more will be sent; the peer may still answer. One that has closed already is not an error.
    pub fn finish(&mut self) {
        let _ = self.socket.shutdown_write();
    }

    /// Sends everything in pieces of random sizes, many of them of one byte.
    pub fn send_split(&mut self, bytes: &[u8], random: &mut Random) {
        let mut rest = bytes;
        for _ in 0..PIECES_MAX {
            let most = *random.pick(&[1, 1, 3, 16, 200, 3000, 70_000]);
            let (piece, after) =
                rest.split_at(random.index(most).saturating_add(1).min(rest.len()));
            self.send(piece);
            rest = after;
            if rest.is_empty() {
                return;
            }
            std::thread::yield_now();
        }
        self.send(rest);
    }

    /// Waits for more input.
    pub fn receive(&mut self) -> Received {
        let mut chunk = [0; 16 * 1024];
        match self.socket.read(&mut chunk) {
            Ok(0) => Received::Closed,
            Ok(n) => {
                self.input.extend_from_slice(&chunk[..n]);
                Received::Bytes
            }
            Err(error) if is_closed(error.kind()) => Received::Closed,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Received::Silence
            }
            Err(error) => panic!("receiving: {error}"),
        }
    }

    /// Sends `command` and takes one line of reply, without its line end.
    pub fn ask(&mut self, command: &str) -> String {
        self.send(format!("{command}\r\n").as_bytes());
        self.line()
    }

    /// Takes one line, without its line end.
    pub fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.input.windows(2).position(|pair| pair == b"\r\n") {
                let line = String::from_utf8_lossy(&self.input[..end]).into_owned();
                self.input.drain(..end + 2);
                return line;
            }
            assert_eq!(self.receive(), Received::Bytes, "waiting for a line");
        }
    }
}

fn is_closed(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted
    )
}
