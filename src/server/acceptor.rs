//! The acceptor: a thread that accepts connections and hands them to the workers in turn.
//!
//! Connections are counted by permits: one goes with each connection until its socket is closed. Over the limit a
//! new connection is told so and closed; without `maxconns_fast` it waits in the acceptor's hand, and all
//! after it in the kernel's queue, until another one closes.
//!
//! A failed accept never ends a listener: a client that has gone already is skipped, and when files or memory
//! run out the listener pauses, for the kernel's queue does not shrink by asking again.

use super::listener::StartError;
use super::peer::Local;
use super::runtime::{self, Ready};
use super::worker::{Accepted, Client};
use crate::command::Context;
use crate::command::connections::{Connections, State};
use crate::stats::Counters;
use socket2::Socket;
use std::cell::Cell;
use std::io::{self, Write};
use std::mem;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Pause after an accept that failed for want of files or memory; memcached's.
const PAUSE: Duration = Duration::from_millis(10);

/// What a client over the limit is told; memcached's words.
const TOO_MANY: &[u8] = b"ERROR Too many open connections\r\n";

/// What the acceptor is started with.
pub(super) struct Plan {
    pub tcp: Vec<Socket>,
    pub unix: Option<Socket>,
    pub workers: Vec<UnboundedSender<Accepted>>,
    pub max_connections: usize,
    pub maxconns_fast: bool,
    pub context: Arc<Context>,
}

/// Starts the acceptor. It runs until the other end of `stopped` is dropped, and lets go of the workers then.
pub(super) fn start(
    plan: Plan,
    stopped: oneshot::Receiver<()>,
) -> Result<JoinHandle<()>, StartError> {
    runtime::start("volt-acceptor", async move |ready: Ready| {
        listen(plan)?;
        ready.say();
        // Dropped, never sent to. The listeners end with the runtime.
        let _ = stopped.await;
        Ok(())
    })
}

/// Takes the sockets into the calling thread's runtime and begins to accept.
fn listen(plan: Plan) -> io::Result<()> {
    let tcp = plan.tcp.into_iter().map(|s| TcpListener::from_std(s.into()).map(Listener::Tcp));
    let unix = plan.unix.into_iter().map(|s| UnixListener::from_std(s.into()).map(Listener::Unix));
    let acceptor = Rc::new(Acceptor {
        workers: plan.workers,
        turn: Cell::new(0),
        permits: Arc::new(Semaphore::new(plan.max_connections.min(Semaphore::MAX_PERMITS))),
        maxconns_fast: plan.maxconns_fast,
        connections: Arc::clone(&plan.context.connections),
        counters: plan.context.registry.register(),
    });
    for listener in tcp.chain(unix) {
        let listener = listener?;
        let local = listener.local()?;
        let context = Arc::clone(&plan.context);
        tokio::task::spawn_local(Rc::clone(&acceptor).accept_all(listener, local, context));
    }
    Ok(())
}

/// A listening socket.
enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    fn cfd(&self) -> i32 {
        match self {
            Self::Tcp(listener) => listener.as_raw_fd(),
            Self::Unix(listener) => listener.as_raw_fd(),
        }
    }

    fn local(&self) -> io::Result<Local> {
        match self {
            Self::Tcp(listener) => Ok(Local::tcp(listener.local_addr()?)),
            Self::Unix(listener) => Ok(Local::unix(listener.local_addr()?.as_pathname())),
        }
    }

    /// Accepts a connection, and takes it off this thread's runtime again: it is to be a worker's.
    async fn accept(&self) -> io::Result<Client> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok(Client::Tcp(stream.into_std()?, peer))
            }
            Self::Unix(listener) => Ok(Client::Unix(listener.accept().await?.0.into_std()?)),
        }
    }
}

/// What the listeners share.
struct Acceptor {
    workers: Vec<UnboundedSender<Accepted>>,
    /// The worker that gets the next connection.
    turn: Cell<usize>,
    permits: Arc<Semaphore>,
    maxconns_fast: bool,
    connections: Arc<Connections>,
    counters: Arc<Counters>,
}

impl Acceptor {
    /// Accepts from one listener, for ever.
    async fn accept_all(self: Rc<Self>, listener: Listener, local: Local, context: Arc<Context>) {
        let endpoint = local.as_endpoint(listener.cfd());
        let now = context.clock.now();
        let _entry = context.connections.register(endpoint, State::Listening, now);
        let local = Arc::new(local);
        let mut failing = false;
        loop {
            match listener.accept().await {
                Ok(client) => {
                    failing = false;
                    match self.permit().await {
                        Some(permit) => self.hand_over(client, &local, permit),
                        None => self.turn_away(client),
                    }
                }
                Err(error) if is_passing(&error) => {}
                Err(error) => {
                    // Once, not with every attempt.
                    if !mem::replace(&mut failing, true) {
                        self.counters.listen_disabled_num.bump();
                        tracing::warn!("accept(): {error}; trying again until it works");
                    }
                    self.pause(tokio::time::sleep(PAUSE)).await;
                }
            }
        }
    }

    /// Permission for one more connection; over the limit it is refused, or waited for without `maxconns_fast`.
    async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        match Arc::clone(&self.permits).try_acquire_owned() {
            Ok(permit) => Some(permit),
            Err(_) if self.maxconns_fast => None,
            Err(_) => {
                self.counters.listen_disabled_num.bump();
                self.pause(Arc::clone(&self.permits).acquire_owned()).await.ok()
            }
        }
    }

    /// Waits for `until`, and counts the time as one in which nothing was accepted.
    async fn pause<T>(&self, until: impl Future<Output = T>) -> T {
        let (_pause, start) = (self.connections.pause(), Instant::now());
        let result = until.await;
        let micros = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.counters.time_in_listen_disabled_us.add(micros);
        result
    }

    fn hand_over(&self, client: Client, local: &Arc<Local>, permit: OwnedSemaphorePermit) {
        let turn = self.turn.get();
        self.turn.set((turn + 1) % self.workers.len());
        // A worker that is gone means that the server stops: the connection closes with it.
        let _ = self.workers[turn].send(Accepted { client, local: Arc::clone(local), permit });
    }

    fn turn_away(&self, client: Client) {
        self.counters.rejected_connections.bump();
        // A courtesy: whether it arrives or not, the connection is closed.
        let _ = match client {
            Client::Tcp(mut stream, _) => stream.write(TOO_MANY),
            Client::Unix(mut stream) => stream.write(TOO_MANY),
        };
    }
}

/// An error of the one connection that was to be accepted, not of the listener.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}
