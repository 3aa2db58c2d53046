//! Answers that wait until the copy on disk has what they acknowledge.

use super::{Output, Worker};
use std::time::{Duration, Instant};

/// How long an answer waits at most.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// The disk has not said in time that it has it.
const NOT_DURABLE: &str = "SERVER_ERROR flushed in memory, not yet on disk";

/// A `flush_all` that was done in memory and is on its way to the disk.
pub struct Wait {
    ticket: u64,
    until: Instant,
}

impl Wait {
    /// Waits for all that was done before this call; `None` if there is no copy on disk.
    pub fn begin(worker: &Worker) -> Option<Self> {
        let durability = worker.context.durability.as_ref()?;
        Some(Self { ticket: durability.ticket(), until: Instant::now() + WAIT_MAX })
    }

    /// Answers if it is time to; asked again otherwise.
    pub fn is_over(&self, worker: &Worker, output: &mut Output) -> bool {
        let durable = worker.context.durability.as_ref().is_none_or(|d| d.is_durable(self.ticket));
        if durable {
            output.push(b"OK\r\n");
            return true;
        }
        let late = Instant::now() >= self.until;
        if late {
            output.line(NOT_DURABLE);
        }
        late
    }
}
