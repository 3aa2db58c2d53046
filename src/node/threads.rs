//! The threads that keep house.

use super::StartError;
use crate::command::watch::{Distributor, Hub};
use crate::engine::{Engine, Handle};
use crate::server;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Time between two steps of the keeper: the clock is never later than this behind the system's.
const KEEPER_STEP: Duration = Duration::from_millis(100);

/// The thread that ticks the clock, takes out what has expired and lets the epoch move on.
pub(super) struct Keeper {
    /// Dropped to stop it.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    pub(super) fn start(engine: Arc<Engine>) -> Result<Self, StartError> {
        let (stop, stopped) = channel();
        let thread = spawn("volt-keeper", move || keep(&engine.handle(), &stopped))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

fn keep(handle: &Handle, stopped: &Receiver<()>) {
    while stopped.recv_timeout(KEEPER_STEP) == Err(RecvTimeoutError::Timeout) {
        let engine = handle.engine();
        engine.clock().tick();
        engine.maintain(handle);
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.stop.take());
        join(&mut self.thread);
    }
}

/// The thread that brings lines to the watchers.
pub(super) struct WatchThread {
    hub: Arc<Hub>,
    thread: Option<JoinHandle<()>>,
}

impl WatchThread {
    pub(super) fn start(hub: Arc<Hub>, distributor: Distributor) -> Result<Self, StartError> {
        let thread = spawn("volt-watch", move || distributor.run())?;
        Ok(Self { hub, thread: Some(thread) })
    }
}

impl Drop for WatchThread {
    fn drop(&mut self) {
        self.hub.stop();
        join(&mut self.thread);
    }
}

fn spawn(name: &str, main: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StartError> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(main)
        .map_err(|source| server::StartError::Thread { what: name.to_owned(), source }.into())
}

fn join(thread: &mut Option<JoinHandle<()>>) {
    if let Some(thread) = thread.take() {
        // A thread that panicked has said so; the process ends by its hook, or a test fails by itself.
        let _ = thread.join();
    }
}
