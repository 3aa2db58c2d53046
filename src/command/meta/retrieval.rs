//! mg: looks up one item, and with `N`, `R` and `T` lets one client among many win the right to recache it.

use super::{exptime_after, new_exptime, reply, vivified_exptime};
use crate::clock::RelTime;
use crate::command::arithmetic::OUT_OF_MEMORY;
use crate::command::{Output, Scope, watch};
use crate::engine::{ItemRef, Key, Lookup, StoreHow, StoreMode, Stored};
use crate::protocol::meta::{FlagSet, MetaRequest, OPAQUE_TOO_LONG};
use crate::protocol::plain::MetaGet;

/// Flags that show or change what counting the access would change first (memcached's "locked" lookups), and `u`,
/// which does not count it at all.
const PEEK: FlagSet = FlagSet::of(b"NTRlhu");

/// Lookups tried. Each further one means that another client has changed the item in between, which is rare and ends,
/// unless there is no memory for a copy of an item that was about to be replaced.
const ROUNDS_MAX: u32 = 100;

/// Whether a lookup came to its end.
enum Outcome {
    Done,
    /// The item was about to be replaced while its deadline was to be changed.
    Again,
}

/// Runs mg.
pub fn get(scope: Scope<'_>, request: &MetaRequest<'_>, key: Key<'_>, output: &mut Output) {
    for _ in 0..ROUNDS_MAX {
        if let Outcome::Done = get_once(scope, request, key, output) {
            return;
        }
    }
    output.line(OUT_OF_MEMORY);
}

/// Runs an mg that does no more than show the item; `false`, and nothing is counted, if there is more to tell of it.
#[inline]
pub fn get_plain(scope: Scope<'_>, get: &MetaGet<'_>, key: Key<'_>, output: &mut Output) -> bool {
    let lookup = scope.session.peek(key);
    let Lookup::Hit(item) = lookup else {
        watch::fetch(scope.worker, scope.cfd, key.bytes, &lookup);
        scope.count_absence(&lookup);
        count_miss(scope);
        if !get.flags.has(b'q') {
            output.push(b"EN");
            if get.flags.has(b'k') {
                reply::key(output, key.bytes, false);
            }
            output.push(reply::END);
        }
        return true;
    };
    if item.stale() || item.token_sent() {
        return false;
    }
    scope.session.access(item);
    watch::fetch(scope.worker, scope.cfd, key.bytes, &lookup);
    let with_value = get.flags.has(b'v');
    if with_value {
        output.push(b"VA ");
        output.number(item.value().len() as u64);
    } else {
        output.push(b"HD");
    }
    for word in get.words.chunks_exact(2) {
        match word[1] {
            b's' => reply::number(output, b's', item.value().len() as u64),
            b'c' => reply::number(output, b'c', item.cas()),
            b'f' => reply::number(output, b'f', item.flags().into()),
            b'k' => reply::key(output, item.key(), item.key_is_binary()),
            b't' => reply::ttl(output, item.exptime(), scope.session.now()),
            _ => {}
        }
    }
    output.push(reply::END);
    if with_value {
        output.value(item);
        output.push(reply::END);
    }
    count_hit(scope, false);
    true
}

#[inline]
fn get_once(
    scope: Scope<'_>,
    request: &MetaRequest<'_>,
    key: Key<'_>,
    output: &mut Output,
) -> Outcome {
    let lookup = match request.flags.has_any(PEEK) {
        true => scope.session.peek(key),
        false => scope.session.get(key),
    };
    watch::fetch(scope.worker, scope.cfd, key.bytes, &lookup);
    if let Lookup::Hit(item) = lookup {
        return hit(scope, request, item, false, output);
    }
    scope.count_absence(&lookup);
    if request.has(b'N') {
        match vivify(scope, request, key) {
            Stored::Stored(item) => return hit(scope, request, item, true, output),
            Stored::NotStored => return Outcome::Again,
            // There is no memory: as if it had not been asked for.
            _ => {}
        }
    }
    miss(scope, request, key, output);
    Outcome::Done
}

/// Puts an empty item in place of a missing one, its token already won by this client.
#[cold]
fn vivify<'s>(scope: Scope<'s>, request: &MetaRequest<'_>, key: Key<'_>) -> Stored<'s> {
    let exptime = vivified_exptime(scope, request);
    let Ok(mut draft) = scope.session.draft(key, 0, 0, exptime) else {
        return Stored::OutOfMemory;
    };
    // Without a reply there is no winner.
    if !request.opaque_too_long {
        draft.set_token_sent();
    }
    if let Some(cas) = request.new_cas() {
        draft.set_cas(cas);
    }
    // memcached forgets this here and then returns the raw bytes of the key, line ends and all.
    if request.has(b'b') {
        draft.set_key_is_binary();
    }
    let how = StoreHow { mode: StoreMode::Add, compare: None, invalidate: false };
    scope.session.store(draft, how)
}

fn miss(scope: Scope<'_>, request: &MetaRequest<'_>, key: Key<'_>, output: &mut Output) {
    count_miss(scope);
    if request.opaque_too_long {
        output.line(OPAQUE_TOO_LONG);
    } else if !request.quiet() {
        reply::plain(output, b"EN", request, key.bytes);
    }
}

/// Answers from `item`, which `N` has `created` or which was there.
#[inline]
fn hit(
    scope: Scope<'_>,
    request: &MetaRequest<'_>,
    item: ItemRef<'_>,
    created: bool,
    output: &mut Output,
) -> Outcome {
    let exptime = if created { 0 } else { item.exptime() };
    if !created && new_exptime(scope, request).is_some_and(|exptime| !item.set_exptime(exptime)) {
        return Outcome::Again;
    }
    if request.opaque_too_long {
        output.line(OPAQUE_TOO_LONG);
        return Outcome::Done;
    }
    let with_value = request.has(b'v') && request.compare() != Some(item.cas());
    if with_value {
        output.push(b"VA ");
        output.number(item.value().len() as u64);
    } else {
        output.push(b"HD");
    }
    let recache = item_flags(scope, request, item, exptime, created, output);
    tokens(item, recache, created, output);
    output.push(reply::END);
    if with_value {
        output.value(item);
        output.push(reply::END);
    }
    if request.flags.has_any(PEEK) && !request.has(b'u') {
        scope.session.access(item);
    }
    count_hit(scope, request.has(b'T'));
    Outcome::Done
}

/// Appends the flags that were asked for; returns whether the remaining time is below `R`.
#[inline]
fn item_flags(
    scope: Scope<'_>,
    request: &MetaRequest<'_>,
    item: ItemRef<'_>,
    mut exptime: RelTime,
    created: bool,
    output: &mut Output,
) -> bool {
    let now = scope.session.now();
    let mut recache = false;
    for word in request.flag_words() {
        match word[0] {
            letter @ (b'T' | b'N') => {
                exptime = exptime_after(scope, request, letter, exptime, created);
            }
            b's' => reply::number(output, b's', item.value().len() as u64),
            b'c' => reply::number(output, b'c', item.cas()),
            b'f' => reply::number(output, b'f', item.flags().into()),
            b'k' => reply::key(output, item.key(), item.key_is_binary()),
            b'O' => reply::opaque(output, word),
            b't' => reply::ttl(output, exptime, now),
            b'l' => {
                reply::number(output, b'l', now.saturating_sub(item.last_access()).into());
            }
            b'h' => reply::number(output, b'h', item.fetched().into()),
            b'R' => {
                recache = !created && exptime != 0 && exptime < scope.deadline(request.recache);
            }
            _ => {}
        }
    }
    recache
}

/// Appends `Z` if another client has won the token before, `X` if the item is stale, `W` if this client wins.
fn tokens(item: ItemRef<'_>, recache: bool, created: bool, output: &mut Output) {
    let stale = item.stale();
    // The token of an item that this client has created is its own.
    let won = created || (recache || stale) && item.win_token();
    if !won && item.token_sent() {
        output.push(b" Z");
    }
    if stale {
        output.push(b" X");
    }
    if won {
        output.push(b" W");
    }
}

fn count_miss(scope: Scope<'_>) {
    scope.counters().cmd_get.bump();
    scope.counters().get_misses.bump();
}

#[inline]
fn count_hit(scope: Scope<'_>, touched: bool) {
    let counters = scope.counters();
    if touched {
        counters.cmd_touch.bump();
        counters.touch_hits.bump();
    } else {
        counters.cmd_get.bump();
        counters.get_hits.bump();
    }
}
