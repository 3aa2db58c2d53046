//! Runs of plain requests: the same command over and over, each in its plainest form.
//!
//! What a client pipelines is nearly always that. Such a run is read into a small array, its keys hashed and their
//! buckets and items prefetched, and then it is served in order, like a multi-get. It comes to what the requests would
//! come to one by one; whatever is out of the ordinary, in the input or in the cache, is left to them.

use super::retrieval::{self, CHUNK, Fetch};
use super::watch::{self, StoreCommand, StoreEvent, StoreStatus};
use super::{Output, Scope, arithmetic, meta, removal};
use crate::engine::Key;
use crate::protocol::plain::{self, Get, Set};
use crate::protocol::text::{Arith, Touch};
use crate::stats::latency::Kind;

/// Serves the plain requests of one kind that `input` begins with, `most` of them at most. Returns the bytes of input that
/// are done with, and how many requests that were; `None` if there is none that can be served here.
#[inline]
pub(super) fn run(
    scope: Scope<'_>,
    input: &[u8],
    most: usize,
    output: &mut Output,
) -> Option<(usize, u32)> {
    let run = Run { scope, input, most };
    let (kind, done) = match input {
        [b'g', b'e', b't', b' ', ..] => {
            (Kind::Get, run.serve(output, plain::get, |get| get.key, fetch))
        }
        [b's', b'e', b't', b' ', ..] => {
            (Kind::Set, run.serve(output, plain::set, |set| set.key, set))
        }
        [b'm', b'g', b' ', ..] => {
            (Kind::MetaGet, run.serve(output, plain::meta_get, |get| get.key, meta::get_plain))
        }
        [b'm', b's', b' ', ..] => {
            (Kind::MetaSet, run.serve(output, plain::meta_set, |set| set.key, meta_set))
        }
        [b'i', b'n', b'c', b'r', b' ', ..] | [b'd', b'e', b'c', b'r', b' ', ..] => {
            (Kind::Incr, run.serve(output, plain::arith, |arith| arith.key, change))
        }
        [b't', b'o', b'u', b'c', b'h', b' ', ..] => {
            (Kind::Touch, run.serve(output, plain::touch, |touch| touch.key, touch))
        }
        _ => return None,
    };
    let (consumed, served) = done?;
    scope.worker.latency.note(kind, served);
    Some((consumed, served))
}

#[inline]
fn fetch(scope: Scope<'_>, _: &Get<'_>, key: Key<'_>, output: &mut Output) -> bool {
    retrieval::fetch_one(scope, Fetch { with_cas: false, touch: None }, key, output);
    true
}

#[inline]
fn set(scope: Scope<'_>, set: &Set<'_>, key: Key<'_>, output: &mut Output) -> bool {
    let done = store(scope, set, key, b"STORED\r\n", output);
    if done {
        scope.worker.detail.set(set.key);
    }
    done
}

#[inline]
fn meta_set(scope: Scope<'_>, set: &Set<'_>, key: Key<'_>, output: &mut Output) -> bool {
    store(scope, set, key, b"HD\r\n", output)
}

#[inline]
fn change(scope: Scope<'_>, arith: &Arith<'_>, key: Key<'_>, output: &mut Output) -> bool {
    arithmetic::change(scope, arith, key, output);
    true
}

#[inline]
fn touch(scope: Scope<'_>, touch: &Touch<'_>, key: Key<'_>, output: &mut Output) -> bool {
    removal::touch(scope, touch, key, output);
    true
}

/// What a run is served from.
#[derive(Clone, Copy)]
struct Run<'a, 'b> {
    scope: Scope<'a>,
    input: &'b [u8],
    most: usize,
}

impl<'a, 'b> Run<'a, 'b> {
    /// Reads requests with `read` until there is none, or enough, and runs them in order until one cannot be, or the output
    /// is full.
    #[inline]
    fn serve<R: Copy>(
        self,
        output: &mut Output,
        read: impl Fn(&'b [u8]) -> Option<(R, usize)>,
        key_of: impl Fn(&R) -> &'b [u8],
        run: impl Fn(Scope<'a>, &R, Key<'b>, &mut Output) -> bool,
    ) -> Option<(usize, u32)> {
        let session = self.scope.session;
        let mut requests = [const { None::<(R, usize)> }; CHUNK];
        let mut keys = [Key { bytes: &[], hash: 0 }; CHUNK];
        let (mut len, mut end) = (0, 0);
        for (slot, key) in requests.iter_mut().zip(&mut keys).take(self.most) {
            let Some((request, read)) = read(&self.input[end..]) else { break };
            *key = session.key(key_of(&request));
            session.prefetch(key);
            end += read;
            *slot = Some((request, end));
            len += 1;
        }
        if len > 1 {
            session.prefetch_items(&keys[..len]);
        }
        let (mut consumed, mut served) = (0, 0);
        for ((request, end), key) in requests.iter().flatten().zip(keys) {
            if output.is_full() || !run(self.scope, request, key, output) {
                break;
            }
            consumed = *end;
            served += 1;
        }
        (served > 0).then_some((consumed, served))
    }
}

/// Stores; `false`, and nothing has happened, if there is no memory.
#[inline]
fn store(scope: Scope<'_>, set: &Set<'_>, key: Key<'_>, reply: &[u8], output: &mut Output) -> bool {
    let deadline = scope.deadline(set.exptime);
    let Ok(mut draft) = scope.session.draft(key, set.value.len(), set.flags, deadline) else {
        return false;
    };
    draft.fill(set.value);
    scope.counters().cmd_set.bump();
    scope.log_lookup(key);
    let item = scope.session.set(draft);
    let event = StoreEvent {
        key: key.bytes,
        status: StoreStatus::Stored,
        command: StoreCommand::Set,
        exptime: item.exptime(),
        value_len: set.value.len(),
    };
    watch::store(scope.worker, scope.cfd, &event);
    if !set.quiet {
        output.push(reply);
    }
    true
}
