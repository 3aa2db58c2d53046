//! `lru_crawler`: crawls in search of expired items, and dumps of all keys.
//!
//! memcached crawls in a thread of its own. Here the worker of the asking connection does, one bounded step at a
//! time, so a crawl has no queue to wait in and is never BUSY; its `OK` comes when it is over.

use super::{
    Answer, BAD_FORMAT, ERROR, Listing, Outcome, SIZE_CLASS, SIZE_CLASSES_MAX, abbreviates,
};
use crate::command::Worker;
use crate::protocol::number::parse_u32;

const DISABLED: &str = "CLIENT_ERROR lru crawler disabled";
const BAD_CLASS: &str = "BADCLASS invalid class id";

/// Longest `sleep`, in microseconds.
const SLEEP_MAX_US: u32 = 1_000_000;

/// What a crawl or dump is to cover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coverage {
    /// Everything, class by class.
    All,
    /// Everything, in table order.
    Hash,
    /// Only classes that have no items.
    Nothing,
    /// No classes at all.
    Empty,
}

/// `lru_crawler <word> ...`.
pub(super) fn execute(worker: &Worker, arguments: &[&[u8]], pipelined: bool) -> Answer {
    match arguments {
        [word, classes] if abbreviates(word, "crawl") => crawl(worker, classes),
        [word, classes] if abbreviates(word, "metadump") => {
            dump(worker, classes, Dump::Meta, pipelined)
        }
        [word, classes] if abbreviates(word, "mgdump") => {
            dump(worker, classes, Dump::Mg, pipelined)
        }
        [word, items] if abbreviates(word, "tocrawl") => to_crawl(worker, items).into(),
        [word, time] if abbreviates(word, "sleep") => sleep(worker, time).into(),
        [word] if abbreviates(word, "enable") => enable(worker).into(),
        [word] if abbreviates(word, "disable") => {
            worker.context.tunables.lru_crawler.set(false);
            "OK".into()
        }
        _ => ERROR.into(),
    }
}

fn crawl(worker: &Worker, classes: &[u8]) -> Answer {
    if !worker.context.tunables.lru_crawler.get() {
        return DISABLED.into();
    }
    match coverage(classes) {
        None => BAD_CLASS.into(),
        Some(Coverage::Hash) => "ERROR an unknown error happened".into(),
        Some(Coverage::Empty) => "NOTSTARTED no items to crawl".into(),
        Some(Coverage::Nothing) => "OK".into(),
        Some(Coverage::All) => {
            worker.counters().lru_crawler_starts.bump();
            Outcome::List(Listing::crawl()).into()
        }
    }
}

/// Which dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dump {
    Meta,
    Mg,
}

fn dump(worker: &Worker, classes: &[u8], dump: Dump, pipelined: bool) -> Answer {
    if !worker.context.tunables.lru_crawler.get() {
        return DISABLED.into();
    }
    if !worker.context.options.dump_enabled {
        return match dump {
            Dump::Meta => "ERROR metadump not allowed".into(),
            Dump::Mg => "ERROR key dump not allowed".into(),
        };
    }
    if pipelined {
        return match dump {
            Dump::Meta => "ERROR cannot pipeline other commands before metadump".into(),
            Dump::Mg => "ERROR cannot pipeline other commands before mgdump".into(),
        };
    }
    let Some(coverage) = coverage(classes) else { return BAD_CLASS.into() };
    let empty = matches!(coverage, Coverage::Nothing | Coverage::Empty);
    let listing = match dump {
        Dump::Meta => Listing::metadump(empty),
        Dump::Mg => Listing::mgdump(empty),
    };
    worker.counters().lru_crawler_starts.bump();
    Outcome::List(listing).into()
}

/// Reads `all`, `hash` or a list of classes; `None` for what is no class.
fn coverage(classes: &[u8]) -> Option<Coverage> {
    match classes {
        b"all" => return Some(Coverage::All),
        b"hash" => return Some(Coverage::Hash),
        _ => {}
    }
    let mut coverage = Coverage::Empty;
    for class in classes.split(|&byte| byte == b',').filter(|class| !class.is_empty()) {
        coverage = match parse_u32(class)? {
            0 | SIZE_CLASSES_MAX.. => return None,
            SIZE_CLASS => Coverage::All,
            // The other classes have no items.
            _ if coverage == Coverage::All => Coverage::All,
            _ => Coverage::Nothing,
        };
    }
    Some(coverage)
}

fn to_crawl(worker: &Worker, items: &[u8]) -> &'static str {
    match parse_u32(items) {
        None => BAD_FORMAT,
        Some(items) => {
            worker.context.tunables.lru_crawler_tocrawl.set(items);
            "OK"
        }
    }
}

fn sleep(worker: &Worker, time: &[u8]) -> &'static str {
    match parse_u32(time) {
        None => BAD_FORMAT,
        Some(time) if time > SLEEP_MAX_US => "CLIENT_ERROR sleep must be one second or less",
        Some(time) => {
            worker.context.tunables.lru_crawler_sleep_us.set(time);
            "OK"
        }
    }
}

fn enable(worker: &Worker) -> &'static str {
    if worker.context.tunables.lru_crawler.get() {
        return "ERROR failed to start lru crawler thread";
    }
    worker.context.tunables.lru_crawler.set(true);
    "OK"
}
