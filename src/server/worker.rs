//! A worker: a thread with a runtime of its own, on which its connections live and die.
//!
//! Nothing of a connection is ever looked at by another thread, so connections are tasks without locks, and
//! what they need only while they run they share: one input buffer, one output buffer, the worker's way into
//! the engine. A connection that waits owns none of these.

use super::connection::Connection;
use super::idle::Idle;
use super::listener::StartError;
use super::peer::{Local, Peer};
use super::runtime::{self, Ready};
use super::udp;
use crate::command::{self, Context, Output};
use socket2::Socket;
use std::cell::RefCell;
use std::io;
use std::net;
use std::os::fd::AsRawFd;
use std::os::unix;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UdpSocket, UnixStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::UnboundedReceiver;

/// Bytes of the largest input buffer, which are what one read takes at most: a batch and its replies stay within the
/// second-level cache.
const INPUT_BYTES_MAX: usize = 64 * 1024;

/// Bytes of the smallest: a connection may have half of it waiting, and read a whole line more.
pub(super) const INPUT_BYTES_MIN: usize = 8 * 1024;

/// The part of the memory limit, 1/128, that the input buffers of all workers take, within these bounds.
const INPUT_SHARE: usize = 128;

/// Time between two rounds of a worker's own housekeeping: the clock's step.
const TEND_EVERY: Duration = Duration::from_secs(1);

/// A client's socket, non-blocking and of no runtime yet.
#[derive(Debug)]
pub(super) enum Client {
    Tcp(net::TcpStream, net::SocketAddr),
    Unix(unix::net::UnixStream),
}

/// A connection on its way from the acceptor to a worker.
pub(super) struct Accepted {
    pub client: Client,
    /// The listener it came in by.
    pub local: Arc<Local>,
    /// Its share of the connection limit, to be kept until the socket is closed.
    pub permit: OwnedSemaphorePermit,
}

/// What a worker's connections share.
pub(super) struct Shared {
    pub commands: command::Worker,
    /// Bytes just received; meaningful only within one turn of a connection.
    pub input: RefCell<Box<[u8]>>,
    /// Its length.
    pub input_bytes: usize,
    /// Replies of the connection whose turn it is; empty between turns.
    pub output: RefCell<Output>,
    /// Connections that may be closed for idling; empty without an idle timeout.
    pub idle: Idle,
}

/// What a worker is started with.
pub(super) struct Plan {
    pub accepted: UnboundedReceiver<Accepted>,
    pub datagrams: Vec<Socket>,
    pub idle_timeout_s: u32,
    /// Of the input buffer, see [`input_bytes`].
    pub input_bytes: usize,
}

/// Bytes of the input buffer of each of so many workers, where `limit` bytes are all that there is.
pub(super) fn input_bytes(limit: usize, workers: usize) -> usize {
    (limit / INPUT_SHARE / workers).clamp(INPUT_BYTES_MIN, INPUT_BYTES_MAX)
}

/// Starts a worker. It ends when the sender of its connections is dropped, and closes them.
pub(super) fn start(
    number: usize,
    context: Arc<Context>,
    plan: Plan,
) -> Result<JoinHandle<()>, StartError> {
    runtime::start(&format!("volt-worker-{number}"), move |ready| run(context, plan, ready))
}

async fn run(context: Arc<Context>, plan: Plan, ready: Ready) -> io::Result<()> {
    let Plan { mut accepted, datagrams, idle_timeout_s, input_bytes } = plan;
    let shared = Rc::new(Shared {
        commands: command::Worker::new(context),
        input: RefCell::new(vec![0; input_bytes].into()),
        input_bytes,
        // What is kept has twice this, and a turn goes little beyond.
        output: RefCell::new(Output::bounded(input_bytes)),
        idle: Idle::new(idle_timeout_s),
    });
    shared.charge((input_bytes + shared.output_bytes()).cast_signed());
    for socket in datagrams {
        let socket = UdpSocket::from_std(socket.into())?;
        tokio::task::spawn_local(udp::serve(Rc::clone(&shared), socket));
    }
    tokio::task::spawn_local(tend(Rc::clone(&shared)));
    ready.say();
    while let Some(accepted) = accepted.recv().await {
        if let Err(error) = shared.admit(accepted) {
            tracing::warn!("a connection could not be served: {error}");
        }
    }
    Ok(())
}

/// What a worker does once in a while, beside its connections.
async fn tend(shared: Rc<Shared>) {
    loop {
        tokio::time::sleep(TEND_EVERY).await;
        let kicked = shared.idle.close_idle(shared.commands.context.clock.now());
        shared.commands.counters().idle_kicks.add(kicked);
        // Without requests nothing else makes this thread's garbage and accounts known.
        shared.commands.handle.settle();
        shared.commands.latency.refill();
    }
}

impl Shared {
    /// Charges the engine for buffers that it does not see, or gives back what was charged.
    pub fn charge(&self, bytes: isize) {
        self.commands.handle.engine().charge_buffers(bytes);
    }

    /// Memory that the shared output keeps when it has been written, in bytes: replies are longer than requests.
    pub fn output_bytes(&self) -> usize {
        2 * self.input_bytes
    }

    fn admit(self: &Rc<Self>, accepted: Accepted) -> io::Result<()> {
        let Accepted { client, local, permit } = accepted;
        match client {
            Client::Tcp(stream, address) => {
                let endpoint = local.client(stream.as_raw_fd(), Some(address));
                let stream = TcpStream::from_std(stream)?;
                self.spawn(stream, Peer::register(Rc::clone(self), endpoint), permit);
            }
            Client::Unix(stream) => {
                let endpoint = local.client(stream.as_raw_fd(), None);
                let stream = UnixStream::from_std(stream)?;
                self.spawn(stream, Peer::register(Rc::clone(self), endpoint), permit);
            }
        }
        Ok(())
    }

    fn spawn<S>(self: &Rc<Self>, stream: S, peer: Peer, permit: OwnedSemaphorePermit)
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let peer = Rc::new(peer);
        let connection = Connection::new(Rc::clone(self), stream, Rc::clone(&peer), permit);
        let task = tokio::task::spawn_local(connection.run());
        self.idle.watch(&peer, task.abort_handle());
    }
}

#[cfg(test)]
mod tests {
    use super::input_bytes;

    #[test]
    fn a_small_memory_s_workers_have_small_buffers() {
        assert_eq!(input_bytes(64 << 20, 4), 64 << 10);
        assert_eq!(input_bytes(16 << 20, 4), 32 << 10);
        assert_eq!(input_bytes(2 << 20, 4), 8 << 10);
        assert_eq!(input_bytes(2 << 20, 1), 16 << 10);
    }
}
