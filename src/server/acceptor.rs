//! The acceptor: a thread that accepts connections and hands them to the workers in turn.
//!
//! Connections are counted by permits: one goes with each connection until its socket is closed. Over the limit a
//! new connection is told so and closed; without `maxconns_fast` it waits in the acceptor's hand, and all
//! after it in the kernel's queue, until another one closes.
//!
//! A failed accept never ends a listener: a client that has gone already is skipped, and when files or memory run out
//! the listener pauses, for the queue of the kernel does not shrink by asking again.

use super::peer::Local;
use super::worker::Accepted;
use crate::command::Context;
use crate::command::connections::State;
use crate::stats::Counters;
use socket2::{SockAddr, Socket};
use std::cell::Cell;
use std::io;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Pause after an accept that failed for want of files or memory; memcached's.
const PAUSE: Duration = Duration::from_millis(10);

/// What a client over the limit is told; memcached's words.
const TOO_MANY: &[u8] = b"ERROR Too many open connections\r\n";

/// A listening socket.
pub(super) struct Listener {
    pub socket: Socket,
    pub local: Local,
}

/// What the acceptor's listeners share.
pub(super) struct Acceptor {
    pub workers: Vec<UnboundedSender<Accepted>>,
    /// The worker that gets the next connection.
    pub turn: Cell<usize>,
    pub permits: Arc<Semaphore>,
    pub maxconns_fast: bool,
    pub counters: Arc<Counters>,
}

impl Acceptor {
    /// Accepts from one listener, for ever.
    pub async fn listen(self: Rc<Self>, listener: Listener, context: Arc<Context>) {
        let Listener { socket, local } = listener;
        let endpoint = local.as_endpoint(socket.as_raw_fd());
        let socket = match AsyncFd::new(socket) {
            Ok(socket) => socket,
            Err(error) => return tracing::error!("cannot listen on {}: {error}", endpoint.addr),
        };
        let now = context.clock.now();
        let _entry = context.connections.register(endpoint, State::Listening, now);
        let local = Arc::new(local);
        loop {
            match accept(&socket).await {
                Ok((client, peer)) => match self.permit().await {
                    Some(permit) => self.hand_over(client, peer, &local, permit),
                    None => self.turn_away(&client),
                },
                Err(error) if is_passing(&error) => {}
                Err(error) => {
                    tracing::warn!("accept(): {error}");
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
            Err(_) => self.pause(Arc::clone(&self.permits).acquire_owned()).await.ok(),
        }
    }

    /// Waits for `until`, and counts the time as one in which nothing was accepted.
    async fn pause<T>(&self, until: impl Future<Output = T>) -> T {
        self.counters.listen_disabled_num.bump();
        let start = Instant::now();
        let result = until.await;
        let micros = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.counters.time_in_listen_disabled_us.add(micros);
        result
    }

    fn hand_over(
        &self,
        client: Socket,
        peer: SockAddr,
        local: &Arc<Local>,
        permit: OwnedSemaphorePermit,
    ) {
        let turn = self.turn.get();
        self.turn.set((turn + 1) % self.workers.len());
        let accepted = Accepted { client, peer, local: Arc::clone(local), permit };
        // A worker that is gone means that the server stops: the connection closes with it.
        let _ = self.workers[turn].send(accepted);
    }

    fn turn_away(&self, client: &Socket) {
        self.counters.rejected_connections.bump();
        // A courtesy: whether it arrives or not, the connection is closed.
        let _ = client.send(TOO_MANY);
    }
}

/// Accepts one connection, non-blocking.
async fn accept(listener: &AsyncFd<Socket>) -> io::Result<(Socket, SockAddr)> {
    loop {
        let mut ready = listener.readable().await?;
        if let Ok(accepted) = ready.try_io(|listener| listener.get_ref().accept()) {
            let (client, peer) = accepted?;
            client.set_nonblocking(true)?;
            return Ok((client, peer));
        }
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
