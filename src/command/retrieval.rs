//! get, gets, gat, gats.
//!
//! Keys are taken in chunks: all of a chunk are hashed and their buckets prefetched, then their first items, and
//! only then are they looked up, so that the cache misses of a multi-get overlap. A reply that fills the
//! output stops between two keys and goes on when it is called with the rest.

use super::watch;
use super::{Output, Scope};
use crate::clock::RelTime;
use crate::engine::{ItemRef, Key};
use crate::protocol::Words;

/// Keys that are prefetched together: more than the misses a core can have under way, and little enough to stay in
/// the first-level cache until they are used.
pub const CHUNK: usize = 32;

/// Keys that are fetched in one go: what a line of many megabytes asks for must not keep the epoch pinned, nor other
/// connections waiting, for longer than a fraction of a millisecond.
const KEYS_MAX: usize = 128 * CHUNK;

/// Bytes of the line before a value, its key apart: `VALUE ` and three numbers.
const HEADER_MAX: usize = 64;

/// How keys are to be fetched.
#[derive(Debug, Clone, Copy)]
pub struct Fetch {
    /// gets and gats: show the cas unique.
    pub with_cas: bool,
    /// gat and gats: the new deadline.
    pub touch: Option<RelTime>,
}

/// Fetches one key.
#[inline]
pub fn fetch_one(scope: Scope<'_>, fetch: Fetch, key: Key<'_>, output: &mut Output) {
    lookup(scope, fetch, key, output);
    output.push(b"END\r\n");
}

/// Fetches `keys`. What is left when the output has filled up, or others should have their turn, is returned, and
/// has to be fetched to the end later.
pub fn fetch_all<'b>(
    scope: Scope<'_>,
    fetch: Fetch,
    mut keys: Words<'b>,
    output: &mut Output,
) -> Option<Words<'b>> {
    let mut chunk = [Key { bytes: &[], hash: 0 }; CHUNK];
    for _ in 0..KEYS_MAX / CHUNK {
        let start = keys;
        let mut len = 0;
        for (slot, bytes) in chunk.iter_mut().zip(&mut keys) {
            *slot = scope.session.key(bytes);
            scope.session.prefetch(slot);
            len += 1;
        }
        let chunk = &chunk[..len];
        scope.session.prefetch_items(chunk);
        for (served, key) in chunk.iter().enumerate() {
            if output.is_full() {
                let mut left = start;
                left.by_ref().take(served).for_each(drop);
                return Some(left);
            }
            lookup(scope, fetch, *key, output);
        }
        if len < CHUNK {
            output.push(b"END\r\n");
            return None;
        }
    }
    Some(keys)
}

#[inline]
fn lookup(scope: Scope<'_>, fetch: Fetch, key: Key<'_>, output: &mut Output) {
    let counters = scope.counters();
    let found = match fetch.touch {
        None => {
            counters.cmd_get.bump();
            scope.session.get(key)
        }
        Some(deadline) => {
            counters.cmd_touch.bump();
            scope.session.touch(key, deadline)
        }
    };
    watch::fetch(scope.worker, scope.cfd, key.bytes, &found);
    scope.count_absence(&found);
    let hit = found.hit();
    if let Some(item) = hit {
        push_value(item, fetch.with_cas, output);
    }
    let hit = hit.is_some();
    // A gat counts as a touch alone, as in memcached.
    match (fetch.touch.is_some(), hit) {
        (false, true) => counters.get_hits.bump(),
        (false, false) => counters.get_misses.bump(),
        (true, true) => counters.touch_hits.bump(),
        (true, false) => counters.touch_misses.bump(),
    }
    scope.worker.detail.get(key.bytes, hit);
}

/// `VALUE <key> <flags> <bytes> [<cas unique>]\r\n<data block>\r\n`
#[inline]
fn push_value(item: ItemRef<'_>, with_cas: bool, output: &mut Output) {
    let (key, value) = (item.key(), item.value());
    output.compose(HEADER_MAX + key.len(), |line| {
        line.push(b"VALUE ");
        line.push(key);
        match item.flags() {
            0 => line.push(b" 0 "),
            flags => {
                line.push(b" ");
                line.number(u64::from(flags));
                line.push(b" ");
            }
        }
        line.number(value.len() as u64);
        if with_cas {
            line.push(b" ");
            line.number(item.cas());
        }
        line.push(b"\r\n");
    });
    output.value(item);
    output.push(b"\r\n");
}
