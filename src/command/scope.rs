//! What every data command is run with.

use super::Worker;
use crate::clock::RelTime;
use crate::engine::Session;
use crate::stats::Counters;

/// One worker, its pinned session, and the client that is served: handed to every data command.
#[derive(Clone, Copy)]
pub struct Scope<'a> {
    /// The worker that runs the command.
    pub worker: &'a Worker,
    /// Its pinned session.
    pub session: &'a Session<'a>,
    /// The client's socket number, for the lines of watchers.
    pub cfd: i32,
}

impl Scope<'_> {
    /// The worker's counters.
    #[inline]
    pub fn counters(&self) -> &Counters {
        self.session.counters()
    }

    /// The deadline that an exptime on a line stands for.
    #[inline]
    pub fn deadline(&self, exptime: i32) -> RelTime {
        match exptime {
            0 => 0,
            exptime => self.worker.context.clock.deadline(i64::from(exptime)),
        }
    }
}
