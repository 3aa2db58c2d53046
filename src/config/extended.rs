//! The words of `-o`: a list separated by commas, some with a value, most with a `no_` twin.
//!
//! [`WORDS`] has every word of memcached 1.6.45. Those about slabs and the segmented LRU do nothing here: their
//! values are checked as memcached checks them and shown by `stats settings`, and the log says that they
//! have no effect. Words of TLS, the proxy, external storage and dropped privileges are refused.

use super::cli::{CommandLine, Meaning, SLABS, negative};
use super::error::{Error, FAILURE};
use super::getopt::suboptions;
use crate::command::options::Options as Shown;
use std::ops::RangeInclusive;

/// One word of `-o`.
struct Word {
    name: &'static str,
    /// The complaint when its value is missing; empty when it can do without.
    missing: &'static str,
    effect: Effect,
}

/// What a word does.
enum Effect {
    /// What a flag could do as well.
    Meant(Meaning),
    /// Nothing at all, not even a line in the log.
    Quiet,
    /// Is shown; has no effect for the reason given.
    Fixed(&'static str, fn(&mut Shown)),
    /// Shows a whole number in this range, or complains.
    Whole(&'static str, RangeInclusive<i64>, &'static str, fn(&mut Shown, u32)),
    /// Shows a number above 0 and up to this, or complains.
    Real(&'static str, f64, &'static str, fn(&mut Shown, f64)),
}

use Effect::{Fixed, Meant, Quiet, Real, Whole};
use Meaning::{Call, NoEffect, Number, Refused, Switch};

/// Why there is no segmented LRU to tune.
const LRU: &str = "recency is kept in one order, and no thread maintains it";

/// Why a crawl has no pace to set.
const CRAWL: &str = "a crawl visits everything, and gives way to other clients after every step";

/// No reason: the word says whether clients may ask for crawls and dumps. Expired items are taken out in the
/// background either way.
const ACTED_UPON: &str = "";

/// Any number of things.
const COUNT: RangeInclusive<i64> = 0..=i32::MAX as i64;

const fn word(name: &'static str, effect: Effect) -> Word {
    Word { name, missing: "", effect }
}

const fn with(name: &'static str, missing: &'static str, effect: Effect) -> Word {
    Word { name, missing, effect }
}

static WORDS: &[Word] = &[
    word("maxconns_fast", Meant(Switch("server.maxconns_fast", true))),
    word("no_maxconns_fast", Meant(Switch("server.maxconns_fast", false))),
    with(
        "hashpower",
        "Missing numeric argument for hashpower",
        Meant(Number("memory.hash_power", 1)),
    ),
    with("idle_timeout", "Missing numeric argument for idle_timeout", Meant(Call(idle_timeout))),
    word("track_sizes", Meant(Switch("commands.track_sizes", true))),
    with(
        "watcher_logbuf_size",
        "Missing watcher_logbuf_size argument",
        Meant(Number("commands.watcher_logbuf_size", 1 << 10)),
    ),
    with(
        "worker_logbuf_size",
        "Missing worker_logbuf_size argument",
        Meant(Number("commands.worker_logbuf_size", 1 << 10)),
    ),
    word("lru_crawler", Fixed(ACTED_UPON, |shown| shown.lru_crawler = true)),
    word("no_lru_crawler", Fixed(ACTED_UPON, |shown| shown.lru_crawler = false)),
    with(
        "lru_crawler_sleep",
        "Missing lru_crawler_sleep value",
        Whole(
            CRAWL,
            0..=1_000_000,
            "LRU crawler sleep must be between 0 and 1 second",
            |shown, us| shown.lru_crawler_sleep_us = us,
        ),
    ),
    with(
        "lru_crawler_tocrawl",
        "Missing lru_crawler_tocrawl value",
        Whole(
            CRAWL,
            0..=u32::MAX as i64,
            "lru_crawler_tocrawl takes a numeric 32bit value",
            |shown, items| shown.lru_crawler_tocrawl = items,
        ),
    ),
    word("no_modern", Meant(Call(no_modern))),
    // Volt's own, for tests alone: `debugtime` is answered.
    word("debug_commands", Meant(Call(debug_commands))),
    // What has nothing to say here.
    word("modern", Quiet),
    word("no_drop_privileges", Quiet),
    word("relaxed_privileges", Quiet),
    word("inline_ascii_resp", Quiet),
    word("no_inline_ascii_resp", Quiet),
    // What has no counterpart here.
    word("no_hashexpand", Meant(NoEffect("the table grows when it has to"))),
    with("hash_algorithm", "Missing hash_algorithm argument", Meant(Call(hash_algorithm))),
    with(
        "tail_repair_time",
        "Missing numeric argument for tail_repair_time",
        Whole(
            "nothing can be left behind at a tail",
            10..=i32::MAX as i64,
            "Cannot set tail_repair_time to less than 10 seconds",
            |shown, seconds| shown.tail_repair_time_s = seconds,
        ),
    ),
    with(
        "read_buf_mem_limit",
        "Missing read_buf_mem_limit argument",
        Whole(
            "the buffers of connections count towards -m",
            0..=4095,
            "could not parse argument to read_buf_mem_limit",
            |shown, mib| shown.read_buf_mem_limit_bytes = u64::from(mib) << 20,
        ),
    ),
    word("resp_obj_mem_limit", Meant(NoEffect("it is deprecated"))),
    // Slabs.
    with("slab_sizes", "Missing slab_sizes argument", Meant(NoEffect(SLABS))),
    with(
        "slab_chunk_max",
        "Missing slab_chunk_max argument",
        Whole(SLABS, 1..=1024, "slab_chunk_max must be specified in kilobytes.", |shown, kib| {
            shown.slab_chunk_max_bytes = kib << 10;
        }),
    ),
    word("no_chunked_items", Fixed(SLABS, |shown| shown.slab_chunk_max_bytes = 1 << 20)),
    word("slab_reassign", Fixed(SLABS, |shown| shown.slab_reassign = true)),
    word("no_slab_reassign", Fixed(SLABS, |shown| shown.slab_reassign = false)),
    word(
        "slab_automove",
        Whole(SLABS, 0..=2, "slab_automove must be between 0 and 2", |shown, mode| {
            shown.slab_automove = mode;
        }),
    ),
    word("no_slab_automove", Fixed(SLABS, |shown| shown.slab_automove = 0)),
    with(
        "slab_automove_ratio",
        "Missing slab_automove_ratio argument",
        Real(SLABS, 1.0, "slab_automove_ratio must be > 0 and < 1", |shown, ratio| {
            shown.slab_automove_ratio = ratio;
        }),
    ),
    with(
        "slab_automove_window",
        "Missing slab_automove_window argument",
        Whole(SLABS, 3..=1800, "slab_automove_window must be > 2 and < 1800", |shown, window| {
            shown.slab_automove_window = window;
        }),
    ),
    // The segmented LRU.
    word("lru_maintainer", Fixed(LRU, |shown| maintainer(shown, true))),
    word("no_lru_maintainer", Fixed(LRU, |shown| maintainer(shown, false))),
    with(
        "hot_lru_pct",
        "Missing hot_lru_pct argument",
        Whole(LRU, 1..=79, "hot_lru_pct must be > 1 and < 80", |shown, pct| {
            shown.hot_lru_pct = pct;
        }),
    ),
    with(
        "warm_lru_pct",
        "Missing warm_lru_pct argument",
        Whole(LRU, 1..=79, "warm_lru_pct must be > 1 and < 80", |shown, pct| {
            shown.warm_lru_pct = pct;
        }),
    ),
    with(
        "hot_max_factor",
        "Missing hot_max_factor argument",
        Real(LRU, f64::MAX, "hot_max_factor must be > 0", |shown, factor| {
            shown.hot_max_factor = factor;
        }),
    ),
    with(
        "warm_max_factor",
        "Missing warm_max_factor argument",
        Real(LRU, f64::MAX, "warm_max_factor must be > 0", |shown, factor| {
            shown.warm_max_factor = factor;
        }),
    ),
    with(
        "temporary_ttl",
        "Missing temporary_ttl argument",
        Whole(LRU, COUNT, "temporary_ttl must not be negative", |shown, seconds| {
            shown.temp_lru = true;
            shown.temporary_ttl_s = seconds;
        }),
    ),
    // What would be a false promise.
    word(
        "drop_privileges",
        Meant(Refused(
            "Illegal suboption \"drop_privileges\": this server cannot drop its privileges",
            FAILURE,
        )),
    ),
];

/// Beginnings of words that belong to a part of memcached that is not here.
const ABSENT: [(&str, &str); 4] = [
    ("ssl_", "this server is not built with TLS support"),
    ("proxy_", "this server is not built with proxy support"),
    ("ext_", "this server is not built with external storage"),
    ("slab_automove_freeratio", "this server is not built with external storage"),
];

/// Reads one `-o` list.
pub(super) fn read(line: &mut CommandLine, flag: &str, list: &str) -> Result<(), Error> {
    for (name, value) in suboptions(list) {
        let Some(word) = WORDS.iter().find(|word| word.name == name) else {
            return Err(illegal(name));
        };
        if value.is_none() && !word.missing.is_empty() {
            return Err(Error::flag(word.missing));
        }
        let equals = if value.is_some() { "=" } else { "" };
        act(line, &word.effect, &format!("{flag} {name}{equals}"), value)?;
    }
    Ok(())
}

/// Does what a word means.
fn act(
    line: &mut CommandLine,
    effect: &Effect,
    written: &str,
    value: Option<&str>,
) -> Result<(), Error> {
    let text = value.unwrap_or_default();
    let why = match effect {
        Quiet => return Ok(()),
        Meant(meaning) => return line.act(meaning, written, text),
        Fixed(why, show) => {
            show(&mut line.shown);
            why
        }
        Whole(why, range, wrong, show) => {
            // A word that can do without its value means 1.
            let number = if value.is_none() { 1 } else { line.number(written, text)? };
            let number = Some(number).filter(|number| range.contains(number));
            let number = number.and_then(|number| u32::try_from(number).ok());
            show(&mut line.shown, number.ok_or_else(|| Error::flag(*wrong))?);
            why
        }
        Real(why, most, wrong, show) => {
            let number = text.parse().ok().filter(|number| *number > 0.0 && number <= most);
            show(&mut line.shown, number.ok_or_else(|| Error::flag(*wrong))?);
            why
        }
    };
    if *why != ACTED_UPON {
        line.no_effect(written, why);
    }
    Ok(())
}

fn illegal(name: &str) -> Error {
    let mut message = format!("Illegal suboption \"{name}\"");
    if let Some((_, why)) = ABSENT.iter().find(|(start, _)| name.starts_with(start)) {
        message.push_str(": ");
        message.push_str(why);
    }
    Error::flag(message)
}

/// Seconds, as opposed to the text that the setting takes.
fn idle_timeout(line: &mut CommandLine, written: &str, text: &str) -> Result<(), Error> {
    let seconds = line.number(written, text)?;
    if seconds < 0 {
        return Err(negative(written, text));
    }
    line.set("server.idle_timeout", format!("{seconds}s"), written, text);
    Ok(())
}

fn hash_algorithm(line: &mut CommandLine, written: &str, text: &str) -> Result<(), Error> {
    if !["jenkins", "murmur3", "xxh3"].contains(&text) {
        return Err(Error::flag("Unknown hash_algorithm option (jenkins, murmur3, xxh3)"));
    }
    text.clone_into(&mut line.shown.hash_algorithm);
    line.no_effect(written, "keys are hashed with a key of the process's own");
    Ok(())
}

/// memcached's defaults of version 1.4, as far as there is something like them here.
fn no_modern(line: &mut CommandLine, written: &str, _: &str) -> Result<(), Error> {
    line.set("server.maxconns_fast", false, written, "");
    let shown = &mut line.shown;
    shown.slab_chunk_max_bytes = 1 << 20;
    shown.slab_reassign = false;
    shown.slab_automove = 0;
    shown.lru_crawler = false;
    "jenkins".clone_into(&mut shown.hash_algorithm);
    maintainer(shown, false);
    Ok(())
}

fn maintainer(shown: &mut Shown, on: bool) {
    shown.lru_maintainer_thread = on;
    shown.lru_segmented = on;
}

fn debug_commands(line: &mut CommandLine, _: &str, _: &str) -> Result<(), Error> {
    line.debug_commands = true;
    Ok(())
}

/// What the words mean that do what a flag could do.
#[cfg(test)]
pub(super) fn meanings() -> impl Iterator<Item = &'static Meaning> {
    WORDS.iter().filter_map(|word| match &word.effect {
        Meant(meaning) => Some(meaning),
        _ => None,
    })
}
