//! The server: sockets in front of the commands.
//!
//! One acceptor thread takes connections in and hands them to the workers in turn; a worker is a thread with a
//! tokio runtime of its own, and a connection is a task on one worker until it closes. There is no task switch, no channel
//! and no lock between a socket and the engine. The server knows nothing of requests: it moves bytes between
//! sockets and conversations, and does what [`Next`](crate::command::Next) says.
//!
//! Reading order: [`listener`] (opening sockets), `acceptor`, `worker`, `connection`; then `udp` and `idle`.
//! [`process`] is what concerns the process as a whole and runs before the threads do.

pub mod listen;
pub mod options;
pub mod process;
pub mod signals;

mod acceptor;
mod connection;
mod idle;
mod listener;
mod peer;
mod runtime;
mod udp;
mod worker;

pub use listen::Listen;
pub use listener::{Addresses, StartError};
pub use options::{Options, Port};

use crate::command::Context;
use listener::{SocketFile, Sockets};
use socket2::Socket;
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::sync::oneshot;
use worker::Accepted;

/// A running server. Dropping it stops accepting, closes all connections and waits for the threads.
pub struct Server {
    addresses: Addresses,
    /// Dropped to stop the acceptor, which stops the workers.
    stop: Option<oneshot::Sender<()>>,
    threads: Vec<JoinHandle<()>>,
    /// Removed after the threads have ended.
    _unix_file: Option<SocketFile>,
}

impl Server {
    /// Opens the sockets and starts the threads. When it returns, clients can connect.
    ///
    /// # Errors
    ///
    /// When a socket cannot be opened or a thread cannot be started; nothing is left running then.
    pub fn start(options: &Options, context: &Arc<Context>) -> Result<Self, StartError> {
        let sockets = Sockets::open(options)?;
        let addresses = sockets.addresses();
        let Sockets { tcp, udp, unix, unix_file } = sockets;
        let (workers, mut threads) = start_workers(options, context, udp)?;
        let plan = acceptor::Plan {
            tcp,
            unix,
            workers,
            max_connections: options.max_connections,
            maxconns_fast: options.maxconns_fast,
            context: Arc::clone(context),
        };
        let (stop, stopped) = oneshot::channel();
        threads.push(acceptor::start(plan, stopped)?);
        // The acceptor first: the workers end when it has let go of them.
        threads.rotate_right(1);
        Ok(Self { addresses, stop: Some(stop), threads, _unix_file: unix_file })
    }

    /// Where the server listens.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so; the process ends by its hook, or a test fails by itself.
            let _ = thread.join();
        }
    }
}

type Workers = (Vec<UnboundedSender<Accepted>>, Vec<JoinHandle<()>>);

/// Starts the workers; the UDP sockets go to them in turn. Those that run end by themselves if one does not.
fn start_workers(
    options: &Options,
    context: &Arc<Context>,
    udp: Vec<Socket>,
) -> Result<Workers, StartError> {
    let threads = options.threads.max(1);
    let mut datagrams: Vec<Vec<Socket>> = (0..threads).map(|_| Vec::new()).collect();
    for (number, socket) in udp.into_iter().enumerate() {
        datagrams[number % threads].push(socket);
    }
    let (mut senders, mut handles) = (Vec::new(), Vec::new());
    for (number, datagrams) in datagrams.into_iter().enumerate() {
        let (sender, accepted) = mpsc::unbounded_channel();
        let plan = worker::Plan {
            accepted,
            datagrams,
            idle_timeout_s: options.idle_timeout_s,
            input_bytes: worker::input_bytes(context.engine.options().memory_limit, threads),
        };
        handles.push(worker::start(number, Arc::clone(context), plan)?);
        senders.push(sender);
    }
    Ok((senders, handles))
}
