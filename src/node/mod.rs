//! A node: the parts of Volt put together, started and stopped in order.
//!
//! `main` starts one from the command line's settings; tests start as many as they like in one process, on free ports and with
//! clocks of their own. Nothing here is global, and nothing is decided here: a node only knows which part needs
//! which.
//!
//! Started bottom up: clock and counters, engine, what was on disk, what commands share, the threads that keep
//! house, the sockets. Stopped top down by dropping it: no connection is left when the last changes go to disk.

mod threads;
mod wiring;

use crate::clock::Clock;
use crate::command;
use crate::command::auth::Credentials;
use crate::command::context::Context;
use crate::command::watch::{Evictions, Hub};
use crate::config::logging::Verbosity;
use crate::engine::{self, Engine};
use crate::http::{self, Http};
use crate::persist::{self, Persist};
use crate::server::signals::{Request, Signals};
use crate::server::{self, Addresses, Server};
use crate::stats::Registry;
use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use threads::{Keeper, WatchThread};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use wiring::{ByCommand, OnDisk};

/// What a node is made of.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The cache.
    pub engine: engine::Options,
    /// The sockets and worker threads.
    pub server: server::Options,
    /// The commands.
    pub command: command::options::Options,
    /// The metrics; by default there are none.
    pub http: http::Options,
    /// The copy on disk; `None` for none.
    pub persist: Option<persist::Options>,
    /// The log that `verbosity` makes louder; `None` leaves the log to whoever has one.
    pub log: Option<Verbosity>,
}

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its sockets or workers.
    #[error(transparent)]
    Server(#[from] server::StartError),
    /// Its metrics.
    #[error(transparent)]
    Http(#[from] http::StartError),
    /// Its copy on disk.
    #[error(transparent)]
    Persist(#[from] persist::StartError),
    /// It was asked to stop before it had begun to serve.
    #[error("stopped before everything was back from disk")]
    Stopped,
}

/// A running node. Dropping it stops it: connections are closed, threads have ended when the drop returns.
pub struct Node {
    // In the order in which they stop.
    server: Server,
    /// After the last change, and while the clock is ticked.
    _persist: Option<Persist>,
    _keeper: Keeper,
    _watch: WatchThread,
    /// Answers that the node is not ready while the others stop.
    http: Option<Http>,
    context: Arc<Context>,
    /// What clients ask for (`shutdown`).
    requests: UnboundedReceiver<Request>,
}

impl Node {
    /// Starts a node that goes by the system's time. When it returns, clients can connect.
    ///
    /// # Errors
    ///
    /// When a socket cannot be opened, a thread not be started, or the data directory not be had; nothing is left
    /// running then.
    pub fn start(options: Options) -> Result<Self, StartError> {
        Self::start_at(options, Arc::new(Clock::system()))
    }

    /// Starts a node that goes by `clock`.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn start_at(options: Options, clock: Arc<Clock>) -> Result<Self, StartError> {
        let wait = |persist: &Persist| {
            persist.wait();
            true
        };
        Self::build(options, clock, wait)
    }

    /// As [`start`](Self::start), unless a signal asks it to stop while what was on disk is being brought back.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start), and [`StartError::Stopped`].
    pub fn start_unless_stopped(
        options: Options,
        signals: &mut Signals,
    ) -> Result<Self, StartError> {
        let wait = |persist: &Persist| wait_for(persist, signals);
        Self::build(options, Arc::new(Clock::system()), wait)
    }

    fn build(
        options: Options,
        clock: Arc<Clock>,
        wait: impl FnOnce(&Persist) -> bool,
    ) -> Result<Self, StartError> {
        let registry = Arc::new(Registry::default());
        let engine = Engine::new(options.engine, Arc::clone(&clock), Arc::clone(&registry));
        let persist = match options.persist {
            Some(options) => Some(Persist::start(&engine, options)?),
            None => None,
        };
        let (hub, distributor) = Hub::new(&options.command);
        let (stop, requests) = unbounded_channel();
        let control = Box::new(ByCommand { stop, log: options.log });
        let context = Context::new(
            Arc::clone(&engine),
            clock,
            registry,
            options.command,
            Arc::clone(&hub),
            control,
        );
        let context = Arc::new(
            context.with_durability(persist.as_ref().map(|persist| OnDisk::of(persist, &engine))),
        );
        engine.set_observer(Arc::new(Evictions::new(&context)));
        let watch = WatchThread::start(hub, distributor)?;
        let keeper = Keeper::start(engine)?;
        let http = Http::start(&options.http, &context)?;
        if !persist.as_ref().is_none_or(wait) {
            return Err(StartError::Stopped);
        }
        let server = Server::start(&options.server, &context)?;
        if let Some(http) = &http {
            http.set_ready(true);
        }
        Ok(Self {
            server,
            _persist: persist,
            _keeper: keeper,
            _watch: watch,
            http,
            context,
            requests,
        })
    }

    /// Where the node listens.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        self.server.addresses()
    }

    /// Where its metrics are.
    #[must_use]
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.http.as_ref().map(Http::address)
    }

    /// What its workers share: the engine, the clock, the counters.
    #[must_use]
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// Blocks until the node is to stop, by a signal or by a client; obeys what else is asked meanwhile. `true`
    /// if it is to stop gracefully.
    pub fn wait(&mut self, signals: &mut Signals) -> bool {
        loop {
            let requests = &mut self.requests;
            // The other end is in the context, which is as old as the node.
            let request = async { requests.recv().await.unwrap_or(Request::Stop) };
            match signals.next_or(request) {
                Request::Stop => return false,
                Request::StopGracefully => return true,
                Request::Reload => self.reload(),
            }
        }
    }

    /// Reads the users that may log in again. If that fails, those from before stay.
    fn reload(&self) {
        let Some(path) = &self.context.options.auth_file else { return };
        match fs::read(path) {
            Ok(file) => match Credentials::parse(&file) {
                Some(credentials) => self.context.auth.replace(credentials),
                None => tracing::warn!("{} is malformed: users stay as they are", path.display()),
            },
            Err(error) => tracing::warn!("{}: {error}: users stay as they are", path.display()),
        }
    }
}

/// Waits until clients may be served; `false` if a signal has asked for a stop before.
fn wait_for(persist: &Persist, signals: &mut Signals) -> bool {
    let (over, mut told) = unbounded_channel::<()>();
    let status = Arc::clone(persist.status());
    thread::scope(|scope| {
        let listener = scope.spawn(move || {
            loop {
                let over = async {
                    told.recv().await;
                    Request::Reload
                };
                match signals.next_or(over) {
                    Request::Reload if told.is_closed() => return true,
                    // There is nothing to read again yet.
                    Request::Reload => {}
                    Request::Stop | Request::StopGracefully => {
                        status.stop();
                        return false;
                    }
                }
            }
        });
        persist.wait();
        drop(over);
        listener.join().unwrap_or(false)
    })
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(http) = &self.http {
            http.set_ready(false);
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("addresses", self.addresses()).finish_non_exhaustive()
    }
}
