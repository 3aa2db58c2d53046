//! Answers that wait until the copy on disk has what they acknowledge: that of `flush_all` always, that of a delete if it is
//! [asked for](super::options::Options::durable_deletes).

use super::{Output, Scope, Worker};
use std::time::{Duration, Instant};

/// How long an answer waits at most.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// The disk has not said in time that it has a flush.
const FLUSH_LATE: &str = "SERVER_ERROR flushed in memory, not yet on disk";
/// Or a delete.
const DELETE_LATE: &str = "SERVER_ERROR deleted in memory, not yet on disk";

/// An answer to what was done in memory and is on its way to the disk.
pub struct Wait {
    ticket: u64,
    until: Instant,
    /// What to say when it is there.
    reply: Vec<u8>,
    late: &'static str,
}

impl Wait {
    /// Waits for all that was done before this call, to answer a flush; `None` if there is no copy on disk.
    pub fn for_flush(worker: &Worker) -> Option<Self> {
        Self::begin(worker, b"OK\r\n", FLUSH_LATE)
    }

    /// Takes back what a delete has answered, from `start` of the output on, to say it when the disk has it. `None` if that is not
    /// asked for, or there was no answer.
    pub fn for_delete(scope: Scope<'_>, start: usize, output: &mut Output) -> Option<Self> {
        let worker = scope.worker;
        if !worker.context.options.durable_deletes || output.end() == start {
            return None;
        }
        let wait = Self::begin(worker, output.since(start), DELETE_LATE)?;
        output.cut(start);
        Some(wait)
    }

    fn begin(worker: &Worker, reply: &[u8], late: &'static str) -> Option<Self> {
        let durability = worker.context.durability.as_ref()?;
        let (ticket, until) = (durability.ticket(), Instant::now() + WAIT_MAX);
        Some(Self { ticket, until, reply: reply.to_vec(), late })
    }

    /// Answers if it is time to; asked again otherwise.
    pub fn is_over(&self, worker: &Worker, output: &mut Output) -> bool {
        let durable = worker.context.durability.as_ref().is_none_or(|d| d.is_durable(self.ticket));
        if durable {
            output.push(&self.reply);
            return true;
        }
        let late = Instant::now() >= self.until;
        if late {
            output.line(self.late);
        }
        late
    }
}
