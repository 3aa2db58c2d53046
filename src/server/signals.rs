//! The signals that a server obeys, with memcached's meanings.
//!
//! SIGINT and SIGTERM stop it, SIGUSR1 stops it gracefully, SIGHUP has it read its users again. From
//! [`install`](Signals::install) on they do nothing else, so it comes before there is anything to stop. SIGPIPE is
//! ignored by Rust's own start-up code.

use std::io;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What is asked of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Stop now.
    Stop,
    /// Stop, and save what is to be saved.
    StopGracefully,
    /// Read again what may be read again while serving.
    Reload,
}

/// The installed signal handlers.
#[derive(Debug)]
pub struct Signals {
    runtime: Runtime,
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    user1: Signal,
}

impl Signals {
    /// Installs the handlers. Not before [`process::prepare`](super::process::prepare), which may fork.
    ///
    /// # Errors
    ///
    /// When the system has no descriptors left for it.
    pub fn install() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_io().build()?;
        let entered = runtime.enter();
        let interrupt = signal(SignalKind::interrupt())?;
        let terminate = signal(SignalKind::terminate())?;
        let hangup = signal(SignalKind::hangup())?;
        let user1 = signal(SignalKind::user_defined1())?;
        drop(entered);
        Ok(Self { runtime, interrupt, terminate, hangup, user1 })
    }

    /// Blocks until a signal arrives or `other` has something.
    pub fn next_or(&mut self, other: impl Future<Output = Request>) -> Request {
        self.runtime.block_on(async {
            tokio::select! {
                _ = self.interrupt.recv() => Request::Stop,
                _ = self.terminate.recv() => Request::Stop,
                _ = self.user1.recv() => Request::StopGracefully,
                _ = self.hangup.recv() => Request::Reload,
                request = other => request,
            }
        })
    }
}
