//! What every data command is run with.

use super::{Worker, watch};
use crate::clock::RelTime;
use crate::engine::{Key, Lookup, Session};
use crate::protocol::Request;
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

    /// Tells watchers of the lookup that the engine does by itself as part of a change.
    #[inline]
    pub fn log_lookup(&self, key: Key<'_>) {
        if self.worker.context.watch.watching(watch::Mask::FETCHERS) {
            let lookup = self.session.peek(key);
            watch::fetch(self.worker, self.cfd, key.bytes, &lookup);
            // This lookup has taken a dead item out, so the one that it stands for will not meet it.
            self.count_absence(&lookup);
        }
    }

    /// Counts why a key was not found, if there is more to it than that it is not there.
    #[inline]
    pub fn count_absence(&self, lookup: &Lookup<'_>) {
        match lookup {
            Lookup::Expired => self.counters().get_expired.bump(),
            Lookup::Flushed => self.counters().get_flushed.bump(),
            Lookup::Hit(_) | Lookup::Miss => {}
        }
    }

    /// The hash of the request's (first) key; of no use, but also of no harm, where there is none.
    #[inline]
    pub fn hash(&self, request: &Request<'_>) -> u64 {
        let key = match request {
            Request::Get(get) => get.keys.clone().next().unwrap_or_default(),
            Request::Store(store) => store.key,
            Request::Delete(delete) => delete.key,
            Request::Arith(arith) => arith.key,
            Request::Touch(touch) => touch.key,
            Request::Meta(request) => return request.with_key(|key| self.session.key(key).hash),
            _ => return 0,
        };
        self.session.key(key).hash
    }
}
