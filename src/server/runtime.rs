//! Threads with a tokio runtime of their own: the acceptor and the workers.
//!
//! A runtime of this kind runs its tasks on the thread that made it and nowhere else, so they need no locks.

use super::listener::StartError;
use std::io;
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use tokio::runtime::{Builder, LocalOptions};

/// By which a thread says that it is up.
pub(super) struct Ready(Sender<io::Result<()>>);

impl Ready {
    pub fn say(self) {
        // Who started the thread waits for this.
        let _ = self.0.send(Ok(()));
    }
}

/// Starts a thread that runs `main` in a runtime, and waits until it is ready or has failed. When `main` ends, all
/// tasks of its runtime are dropped, and the thread ends.
pub(super) fn start<F, M>(name: &str, main: M) -> Result<JoinHandle<()>, StartError>
where
    F: Future<Output = io::Result<()>>,
    M: FnOnce(Ready) -> F + Send + 'static,
{
    let failed = |source| StartError::Thread { what: name.to_owned(), source };
    let (sender, ready) = channel();
    let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
        let runtime = Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build_local(LocalOptions::default());
        let result = runtime.and_then(|runtime| runtime.block_on(main(Ready(sender.clone()))));
        if let Err(error) = result {
            // Nobody listens any more if it was ready before.
            let _ = sender.send(Err(error));
        }
    });
    let thread = thread.map_err(failed)?;
    match ready.recv() {
        Ok(Ok(())) => Ok(thread),
        Ok(Err(error)) => Err(failed(error)),
        Err(error) => Err(failed(io::Error::other(error))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_up_when_it_says_so() {
        let (sender, receiver) = channel();
        let thread = start("test", async move |ready: Ready| {
            sender.send(1).unwrap();
            ready.say();
            sender.send(2).unwrap();
            Ok(())
        })
        .unwrap();
        assert_eq!(receiver.try_recv(), Ok(1));
        thread.join().unwrap();
        assert_eq!(receiver.try_recv(), Ok(2));
    }

    #[test]
    fn a_thread_that_fails_or_never_gets_ready_is_an_error() {
        let error = start("test", async |_| Err(io::Error::other("no luck"))).unwrap_err();
        assert_eq!(error.to_string(), "failed to start test: no luck");
        assert!(start("test", async |_| Ok(())).is_err());
    }
}
