//! A worker: a thread with a runtime of its own, on which its connections live and die.
//!
//! Nothing of a connection is ever looked at by another thread, so connections are tasks without locks, and
//! what they need only while they run they share: one input buffer, one output buffer, the worker's way into
//! the engine. A connection that waits owns none of these.

use super::connection::Connection;
use super::listener::StartError;
use super::peer::{Local, Peer};
use super::{idle, udp};
use crate::command::{self, Context, Output};
use socket2::{SockAddr, Socket};
use std::cell::RefCell;
use std::io;
use std::net;
use std::os::fd::AsRawFd;
use std::os::unix;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UdpSocket, UnixStream};
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::UnboundedReceiver;

/// Bytes of the input buffer: what one read takes at most.
pub(super) const INPUT_BYTES: usize = 64 * 1024;

/// Memory that the shared output keeps when it has been written, in bytes.
pub(super) const OUTPUT_BYTES: usize = 128 * 1024;

/// A connection on its way from the acceptor to a worker.
pub(super) struct Accepted {
    pub client: Socket,
    pub peer: SockAddr,
    /// The listener it came in by.
    pub local: Arc<Local>,
    /// Its share of the connection limit, to be kept until the socket is closed.
    pub permit: OwnedSemaphorePermit,
}

/// What a worker's connections share.
pub(super) struct Shared {
    pub commands: command::Worker,
    /// Bytes just received; meaningful only within one turn of a connection.
    pub input: RefCell<Vec<u8>>,
    /// Replies of the connection whose turn it is; empty between turns.
    pub output: RefCell<Output>,
    /// Connections that may be closed for idling; empty without an idle timeout.
    pub idle: idle::Watched,
}

/// What a worker is started with.
pub(super) struct Plan {
    pub accepted: UnboundedReceiver<Accepted>,
    pub datagrams: Vec<Socket>,
    pub idle_timeout_s: u32,
}

/// Starts a worker; returns when it is ready. It ends when the sender of its connections is dropped, and closes
/// them.
pub(super) fn start(
    number: usize,
    context: Arc<Context>,
    plan: Plan,
) -> Result<JoinHandle<()>, StartError> {
    let name = format!("volt-worker-{number}");
    let failed = |source| StartError::Thread { what: name.clone(), source };
    let (ready, when_ready) = mpsc::channel();
    let thread = thread::Builder::new()
        .name(name.clone())
        .spawn(move || {
            let runtime = Builder::new_current_thread()
                .enable_io()
                .enable_time()
                .build_local(LocalOptions::default());
            match runtime {
                Ok(runtime) => {
                    let _ = ready.send(Ok(()));
                    run(&runtime, context, plan);
                }
                Err(error) => drop(ready.send(Err(error))),
            }
        })
        .map_err(failed)?;
    when_ready.recv().unwrap_or_else(|error| Err(io::Error::other(error))).map_err(failed)?;
    Ok(thread)
}

fn run(runtime: &LocalRuntime, context: Arc<Context>, plan: Plan) {
    let Plan { mut accepted, datagrams, idle_timeout_s } = plan;
    let shared = Rc::new(Shared {
        commands: command::Worker::new(context),
        input: RefCell::new(vec![0; INPUT_BYTES]),
        output: RefCell::default(),
        idle: idle::Watched::new(idle_timeout_s),
    });
    shared.charge((INPUT_BYTES + OUTPUT_BYTES).cast_signed());
    runtime.block_on(async {
        for socket in datagrams {
            tokio::task::spawn_local(serve_datagrams(Rc::clone(&shared), socket));
        }
        if idle_timeout_s > 0 {
            tokio::task::spawn_local(idle::sweep(Rc::clone(&shared)));
        }
        while let Some(accepted) = accepted.recv().await {
            if let Err(error) = shared.admit(accepted) {
                tracing::warn!("a connection could not be served: {error}");
            }
        }
    });
}

async fn serve_datagrams(shared: Rc<Shared>, socket: Socket) {
    match UdpSocket::from_std(net::UdpSocket::from(socket)) {
        Ok(socket) => udp::serve(shared, socket).await,
        Err(error) => tracing::error!("a UDP socket could not be served: {error}"),
    }
}

impl Shared {
    /// Charges the engine for buffers that it does not see, or gives back what was charged.
    pub fn charge(&self, bytes: isize) {
        self.commands.handle.engine().charge_buffers(bytes);
    }

    fn admit(self: &Rc<Self>, accepted: Accepted) -> io::Result<()> {
        let Accepted { client, peer, local, permit } = accepted;
        let endpoint = local.client(client.as_raw_fd(), &peer);
        if peer.is_unix() {
            let stream = UnixStream::from_std(unix::net::UnixStream::from(client))?;
            self.spawn(stream, Peer::register(Rc::clone(self), endpoint), permit);
        } else {
            let stream = TcpStream::from_std(net::TcpStream::from(client))?;
            self.spawn(stream, Peer::register(Rc::clone(self), endpoint), permit);
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
