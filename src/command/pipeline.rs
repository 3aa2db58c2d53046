//! A batch of requests: looked at ahead, then run in order.
//!
//! A client that pipelines, or many keys in one packet, is served like a multi-get: the simple requests that are
//! whole in the input are parsed first, their keys hashed and their buckets and items prefetched, and then they
//! are run one after the other, so that their cache misses overlap. Parsing has no effect on anything, so
//! looking ahead changes no outcome. A request that is more than a data command, or that has not arrived
//! whole, ends a batch.

use super::admin::{self, Listing};
use super::durable::Wait;
use super::retrieval::{self, CHUNK, Fetch};
use super::upload::{self, Upload, WAIT_MAX};
use super::watch::{CloseReason, Subscription};
use super::{Output, Scope, arithmetic, meta, plain, removal};
use crate::engine::Key;
use crate::protocol::meta::Verb;
use crate::protocol::text::Get;
use crate::protocol::{self, Parse, Rejection, Request, VERSION};
use crate::stats::latency::Kind;

/// What a batch of requests came to.
pub(super) struct Batch {
    /// Bytes of the input that are done with.
    pub consumed: usize,
    /// Requests run.
    pub served: u32,
    /// What ended it.
    pub outcome: Outcome,
}

/// What is left to be done after a request.
pub(super) enum Outcome {
    /// Nothing: go on with the next one.
    Done,
    /// The line is not whole: read more and show it again.
    WaitForLine,
    /// The data block is short and not whole: read more and show both again.
    WaitForBlock,
    /// The output is full in the middle of a multi-get; the input goes on with its next key.
    Fetch(Fetch),
    /// A value is to be received.
    Receive(Upload),
    /// So many more bytes of a refused value are to be skipped.
    Swallow(usize),
    /// A long answer goes on.
    List(Listing),
    /// The answer waits for the disk.
    Wait(Wait),
    /// The connection becomes a watcher's.
    Watch(Subscription),
    /// Close the connection, for this reason.
    Close(CloseReason),
}

/// A request in the input.
struct Item<'b> {
    request: Request<'b>,
    /// Where its line begins and ends, and where its data block ends.
    start: usize,
    line_end: usize,
    end: usize,
}

impl Item<'_> {
    /// Whether it is a data command that is there with all its data.
    fn is_simple(&self, input: &[u8]) -> bool {
        matches!(
            self.request,
            Request::Get(_)
                | Request::Store(_)
                | Request::Meta(_)
                | Request::Delete(_)
                | Request::Arith(_)
                | Request::Touch(_)
        ) && self.end <= input.len()
    }

    /// As what it is timed.
    fn kind(&self) -> Kind {
        match &self.request {
            Request::Get(_) => Kind::Get,
            Request::Store(_) => Kind::Set,
            Request::Delete(_) => Kind::Delete,
            Request::Arith(_) => Kind::Incr,
            Request::Touch(_) => Kind::Touch,
            Request::Meta(request) => match request.verb {
                Verb::Get => Kind::MetaGet,
                Verb::Set => Kind::MetaSet,
                Verb::Delete => Kind::MetaDelete,
                Verb::Arith => Kind::MetaArith,
                Verb::Debug => Kind::Other,
            },
            _ => Kind::Other,
        }
    }
}

/// Runs requests from the beginning of `input`, which has at least one whole line: at most `allowed`, and at most a
/// batch of them.
pub(super) fn run(scope: Scope<'_>, input: &[u8], allowed: u32, output: &mut Output) -> Batch {
    if !scope.worker.hot_keys.is_on()
        && let Some((consumed, served)) = plain::run(scope, input, allowed as usize, output)
    {
        return Batch { consumed, served, outcome: Outcome::Done };
    }
    let first = match look(input, 0) {
        Ok(item) => item,
        Err(outcome) => return Batch { consumed: 0, served: 0, outcome },
    };
    if allowed > 1 && first.end < input.len() && first.is_simple(input) {
        return run_ahead(scope, input, first, allowed, output);
    }
    let hash = scope.hash(&first.request);
    let mut consumed = first.end;
    let outcome = run_one(scope, input, &first, hash, &mut consumed, output);
    // What waits for its data block is seen again.
    if !matches!(outcome, Outcome::WaitForBlock) {
        note(scope, &first);
    }
    Batch { consumed, served: 1, outcome }
}

/// The request at `start`.
fn look(input: &[u8], start: usize) -> Result<Item<'_>, Outcome> {
    let (request, line_len) = match protocol::parse(&input[start..]) {
        Parse::Request { request, consumed } => (request, consumed),
        Parse::Incomplete => return Err(Outcome::WaitForLine),
        Parse::TooLong => return Err(Outcome::Close(CloseReason::Error)),
    };
    let line_end = start + line_len;
    let value_len = match &request {
        Request::Store(store) => Some(store.value_len),
        Request::Meta(request) => request.value_len(),
        _ => None,
    };
    let end = value_len.map_or(line_end, |len| line_end + len + 2);
    Ok(Item { request, start, line_end, end })
}

/// Looks ahead from `first` on, prefetches, and runs what it has seen.
fn run_ahead(
    scope: Scope<'_>,
    input: &[u8],
    first: Item<'_>,
    allowed: u32,
    output: &mut Output,
) -> Batch {
    let mut items: [Option<Item<'_>>; CHUNK] = [const { None }; CHUNK];
    let mut keys = [Key { bytes: &[], hash: 0 }; CHUNK];
    let most = CHUNK.min(allowed as usize);
    let mut len = 0;
    items[0] = Some(first);
    while let Some(item) = &items[len] {
        keys[len].hash = scope.hash(&item.request);
        scope.session.prefetch(&keys[len]);
        let end = item.end;
        len += 1;
        if len == most || end == input.len() {
            break;
        }
        items[len] = look(input, end).ok().filter(|item| item.is_simple(input));
    }
    scope.session.prefetch_items(&keys[..len]);
    let mut batch = Batch { consumed: 0, served: 0, outcome: Outcome::Done };
    for (item, key) in items.iter().flatten().zip(&keys) {
        if output.is_full() {
            break;
        }
        batch.consumed = item.end;
        batch.served += 1;
        batch.outcome = run_one(scope, input, item, key.hash, &mut batch.consumed, output);
        note(scope, item);
        if !matches!(batch.outcome, Outcome::Done) {
            break;
        }
    }
    batch
}

/// Counts a request that was run.
#[inline]
fn note(scope: Scope<'_>, item: &Item<'_>) {
    scope.worker.latency.note(item.kind(), 1);
    scope.worker.hot_keys.see(&item.request);
}

/// Runs one request. `consumed` is where the input goes on after it; a request that does not use up its whole extent
/// sets it back.
fn run_one(
    scope: Scope<'_>,
    input: &[u8],
    item: &Item<'_>,
    hash: u64,
    consumed: &mut usize,
    output: &mut Output,
) -> Outcome {
    match &item.request {
        Request::Get(get) => {
            return fetch(scope, get, hash, &input[..item.line_end], consumed, output);
        }
        Request::Store(_) => return store(scope, input, item, hash, consumed, output),
        Request::Meta(request) if request.value_len().is_some() => {
            return store(scope, input, item, hash, consumed, output);
        }
        Request::Meta(request) => {
            let start = output.end();
            meta::execute(scope, request, hash, output);
            if request.verb == Verb::Delete {
                return deleted(scope, start, output);
            }
        }
        Request::Delete(delete) => {
            let start = output.end();
            removal::delete(scope, delete, Key { bytes: delete.key, hash }, output);
            return deleted(scope, start, output);
        }
        Request::Arith(arith) => {
            arithmetic::change(scope, arith, Key { bytes: arith.key, hash }, output);
        }
        Request::Touch(touch) => {
            removal::touch(scope, touch, Key { bytes: touch.key, hash }, output);
        }
        Request::MetaNoop => output.push(b"MN\r\n"),
        Request::Version => {
            output.push(b"VERSION ");
            output.line(VERSION);
        }
        Request::FlushAll(tokens) => {
            return match removal::flush_all(scope, *tokens, output) {
                Ok(None) => Outcome::Done,
                Ok(Some(wait)) => Outcome::Wait(wait),
                Err(rejection) => reject(scope, rejection, output),
            };
        }
        Request::Admin(tokens) => {
            return match admin::execute(scope.worker, *tokens, output) {
                admin::Outcome::Done => Outcome::Done,
                admin::Outcome::List(listing) => Outcome::List(listing),
                admin::Outcome::Watch(subscription) => Outcome::Watch(subscription),
                admin::Outcome::Close => Outcome::Close(CloseReason::Shutdown),
            };
        }
        Request::Quit => return Outcome::Close(CloseReason::Normal),
        Request::Hangup => return Outcome::Close(CloseReason::Error),
        Request::Rejected(rejection) => return reject(scope, *rejection, output),
    }
    Outcome::Done
}

/// After a delete that has answered from `start` of the output on: the answer may have to wait.
#[inline]
fn deleted(scope: Scope<'_>, start: usize, output: &mut Output) -> Outcome {
    Wait::for_delete(scope, start, output).map_or(Outcome::Done, Outcome::Wait)
}

/// A request with a data block, of which there may be as much as is whole, or less.
fn store(
    scope: Scope<'_>,
    input: &[u8],
    item: &Item<'_>,
    hash: u64,
    consumed: &mut usize,
    output: &mut Output,
) -> Outcome {
    let whole = item.end <= input.len();
    if !whole && item.end - item.start <= WAIT_MAX {
        *consumed = item.start;
        return Outcome::WaitForBlock;
    }
    let draft = match upload::draft(scope, &item.request, hash, whole) {
        Ok(draft) => draft,
        Err(rejection) => {
            *consumed = item.line_end;
            return reject(scope, rejection, output);
        }
    };
    if whole {
        let block = &input[item.line_end..item.end];
        upload::store(scope, &item.request, hash, draft, block, output);
        return Outcome::Done;
    }
    *consumed = item.line_end;
    Outcome::Receive(Upload::new(&input[item.start..item.line_end], draft))
}

/// Answers a request that cannot be done.
#[cold]
fn reject(scope: Scope<'_>, rejection: Rejection, output: &mut Output) -> Outcome {
    if !rejection.message.starts_with("SERVER_ERROR") {
        scope.counters().protocol_errors.bump();
    }
    if !rejection.noreply {
        output.line(rejection.message);
    }
    match rejection.swallow {
        0 => Outcome::Done,
        bytes => Outcome::Swallow(bytes),
    }
}

fn fetch(
    scope: Scope<'_>,
    get: &Get<'_>,
    hash: u64,
    line: &[u8],
    consumed: &mut usize,
    output: &mut Output,
) -> Outcome {
    let fetch =
        Fetch { with_cas: get.with_cas, touch: get.touch.map(|exptime| scope.deadline(exptime)) };
    let mut keys = get.keys;
    let first = keys.next().unwrap_or_default();
    if keys.clone().next().is_none() {
        retrieval::fetch_one(scope, fetch, Key { bytes: first, hash }, output);
        return Outcome::Done;
    }
    match retrieval::fetch_all(scope, fetch, get.keys, output) {
        None => Outcome::Done,
        Some(left) => {
            let end_of_line = if line.ends_with(b"\r\n") { 2 } else { 1 };
            *consumed = line.len() - end_of_line - left.rest().len();
            Outcome::Fetch(fetch)
        }
    }
}
