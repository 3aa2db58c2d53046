//! HTTP for those who watch over Volt: `/metrics` for Prometheus, `/healthz` and `/readyz` for whoever restarts things.
//!
//! A thread with a small runtime of its own, and another while a page is made, apart from the workers: they read the
//! workers' counters as `stats` does and write nothing that workers read, so a scrape costs those nothing but the
//! processor it runs on. What a page holds is [`metrics`]' business, how requests are read and answered that of `exchange`.
//!
//! Nobody is asked for a password, so it listens on the loopback interface unless told otherwise, and a wider address
//! is announced in the log. The address that nobody chose may be taken, by another Volt or by an exporter: then
//! Volt says so and serves without it.

pub mod metrics;

mod exchange;
mod listen;

pub use listen::{DEFAULT_LISTEN, Listen, ListenError};

use crate::command::Context;
use exchange::Service;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::sync::oneshot;

/// How long a page under way may hold up a stop.
const PAGE_TIME_MAX: Duration = Duration::from_secs(1);

/// What the endpoint is told at start.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// Where to listen; `None`: not at all.
    pub listen: Option<Listen>,
    /// Somebody chose the address: that it cannot be had ends the start.
    pub required: bool,
    /// The names of hot keys are on the page, for whoever reads it.
    pub hot_key_names: bool,
}

/// Why the endpoint does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("failed to listen on {listen} for metrics: {source}")]
    Listen {
        /// The address as it was given.
        listen: Listen,
        /// What the system said.
        source: io::Error,
    },
    /// No thread or runtime could be made.
    #[error("failed to start the thread for metrics: {0}")]
    Thread(#[source] io::Error),
}

/// The running endpoint. Dropping it ends its thread; answers under way are cut off.
#[derive(Debug)]
pub struct Http {
    address: SocketAddr,
    ready: Arc<AtomicBool>,
    /// Dropped to stop the thread.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Http {
    /// Opens the socket and starts the thread; `None` where there is to be no endpoint, or the default address is
    /// taken.
    ///
    /// # Errors
    ///
    /// When the address cannot be had although somebody chose it, or the thread not be started.
    pub fn start(options: &Options, context: &Arc<Context>) -> Result<Option<Self>, StartError> {
        let Some(listen) = &options.listen else { return Ok(None) };
        let listener = match listen.bind() {
            Ok(listener) => listener,
            Err(error) if !options.required && error.kind() == io::ErrorKind::AddrInUse => {
                tracing::warn!(
                    "{listen} is taken: serving without metrics; --metrics-listen chooses another \
                     address for them, or off"
                );
                return Ok(None);
            }
            Err(source) => return Err(StartError::Listen { listen: listen.clone(), source }),
        };
        Self::serve(listener, options, Arc::clone(context)).map(Some).map_err(StartError::Thread)
    }

    fn serve(listener: TcpListener, options: &Options, context: Arc<Context>) -> io::Result<Self> {
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let runtime = Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .thread_name("volt-page")
            .build()?;
        let ready = Arc::new(AtomicBool::new(false));
        let service = Arc::new(Service::new(context, Arc::clone(&ready), options.hot_key_names));
        let (stop, stopped) = oneshot::channel();
        let main = move || {
            runtime.block_on(exchange::run(listener, service, stopped));
            // A page may wait for a disk that hangs; nobody waits for the page any more.
            runtime.shutdown_timeout(PAGE_TIME_MAX);
        };
        let thread = thread::Builder::new().name("volt-http".to_owned()).spawn(main)?;
        announce(address);
        Ok(Self { address, ready, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens, with the port that it got.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Says whether clients are served (`/readyz`).
    pub fn set_ready(&self, ready: bool) {
        // Relaxed: the answer is a snapshot anyhow.
        self.ready.store(ready, Ordering::Relaxed);
    }
}

fn announce(address: SocketAddr) {
    tracing::info!("metrics: http://{address}/metrics");
    if !address.ip().is_loopback() {
        tracing::warn!(
            "metrics are open to whoever reaches {address}: nobody is asked for a password; \
             --metrics-listen 127.0.0.1:{} keeps them to this machine",
            address.port()
        );
    }
}

impl Drop for Http {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so; the process ends by its hook, or a test fails by itself.
            let _ = thread.join();
        }
    }
}
