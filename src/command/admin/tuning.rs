//! `verbosity`, `cache_memlimit`, `lru` and `slabs`: settings that change while serving.
//!
//! The memory limit takes effect. The knobs of slabs and LRU segments, which Volt does not have, are checked
//! as memcached checks them and shown by `stats settings`, so that scripts that set them go on working.

use super::{BAD_FORMAT, ERROR, SIZE_CLASSES_MAX, abbreviates};
use crate::command::Worker;
use crate::protocol::number::{parse_i32, parse_u32};

const OK: &str = "OK";

/// Highest verbosity that a client can set.
const VERBOSITY_MAX: u32 = 2;

/// `verbosity <level>`.
pub(super) fn verbosity(worker: &Worker, arguments: &[&[u8]]) -> &'static str {
    match arguments.first().and_then(|word| parse_u32(word)) {
        Some(level) => {
            let level = level.min(VERBOSITY_MAX);
            worker.context.tunables.verbosity.set(level);
            worker.context.control.set_verbosity(level);
            OK
        }
        None => BAD_FORMAT,
    }
}

/// `cache_memlimit <megabytes>`.
pub(super) fn memory_limit(worker: &Worker, arguments: &[&[u8]]) -> &'static str {
    match arguments.first().and_then(|word| parse_u32(word)) {
        None => ERROR,
        Some(0..8) => "MEMLIMIT_TOO_SMALL cannot set maxbytes to less than 8m",
        Some(1_000_000_001..) => "MEMLIMIT_ADJUST_FAILED input value is megabytes not bytes",
        Some(megabytes) => match usize::try_from(u64::from(megabytes) << 20) {
            Ok(bytes) => {
                worker.context.engine.set_memory_limit(bytes);
                OK
            }
            Err(_) => "MEMLIMIT_ADJUST_FAILED out of bounds or unable to adjust",
        },
    }
}

/// `lru tune|mode|temp_ttl ...`.
pub(super) fn lru(worker: &Worker, arguments: &[&[u8]]) -> &'static str {
    let maintained = worker.context.options.lru_maintainer_thread;
    match arguments {
        [word, hot, warm, hot_factor, warm_factor, ..] if abbreviates(word, "tune") => {
            lru_tune(worker, [hot, warm], [hot_factor, warm_factor])
        }
        [word, mode, ..] if maintained && abbreviates(word, "mode") => lru_mode(worker, mode),
        [word, ttl, ..] if maintained && abbreviates(word, "temp_ttl") => lru_temp_ttl(worker, ttl),
        _ => ERROR,
    }
}

fn lru_tune(worker: &Worker, percents: [&[u8]; 2], factors: [&[u8]; 2]) -> &'static str {
    let (Some(hot), Some(warm)) = (parse_u32(percents[0]), parse_u32(percents[1])) else {
        return ERROR;
    };
    let (Some(hot_factor), Some(warm_factor)) = (parse_f64(factors[0]), parse_f64(factors[1]))
    else {
        return ERROR;
    };
    if hot.saturating_add(warm) > 80 {
        return "ERROR hot and warm pcts must not exceed 80";
    }
    if hot_factor <= 0.0 || warm_factor <= 0.0 {
        return "ERROR hot/warm age factors must be greater than 0";
    }
    let tunables = &worker.context.tunables;
    tunables.hot_lru_pct.set(hot);
    tunables.warm_lru_pct.set(warm);
    tunables.hot_max_factor.set(hot_factor);
    tunables.warm_max_factor.set(warm_factor);
    OK
}

fn lru_mode(worker: &Worker, mode: &[u8]) -> &'static str {
    match mode {
        b"flat" => worker.context.tunables.lru_segmented.set(false),
        b"segmented" => worker.context.tunables.lru_segmented.set(true),
        _ => return ERROR,
    }
    OK
}

fn lru_temp_ttl(worker: &Worker, ttl: &[u8]) -> &'static str {
    let tunables = &worker.context.tunables;
    let Some(ttl) = parse_i32(ttl) else { return ERROR };
    match u32::try_from(ttl) {
        Ok(ttl) => {
            tunables.temp_lru.set(true);
            tunables.temporary_ttl_s.set(ttl);
        }
        Err(_) => tunables.temp_lru.set(false),
    }
    OK
}

/// `slabs reassign|automove ...`.
pub(super) fn slabs(worker: &Worker, arguments: &[&[u8]]) -> &'static str {
    match arguments {
        [word, source, destination] if abbreviates(word, "reassign") => {
            slabs_reassign(worker, source, destination)
        }
        [word, arguments @ ..] if !arguments.is_empty() && abbreviates(word, "automove") => {
            slabs_automove(worker, arguments)
        }
        _ => ERROR,
    }
}

/// There are no pages to move, and that is what a source class without pages is told.
fn slabs_reassign(worker: &Worker, source: &[u8], destination: &[u8]) -> &'static str {
    if !worker.context.options.slab_reassign {
        return "CLIENT_ERROR slab reassignment disabled";
    }
    let (Some(source), Some(destination)) = (parse_i32(source), parse_i32(destination)) else {
        return BAD_FORMAT;
    };
    let is_class = |class: i32| u32::try_from(class).is_ok_and(|class| class < SIZE_CLASSES_MAX);
    if source == destination {
        "SAME src and dst class are identical"
    } else if !is_class(source) || !is_class(destination) {
        "BADCLASS invalid src or dst class id"
    } else {
        "NOSPARE source class has no spare pages"
    }
}

fn slabs_automove(worker: &Worker, arguments: &[&[u8]]) -> &'static str {
    let tunables = &worker.context.tunables;
    let number = |index: usize| arguments.get(index).and_then(|word| parse_u32(word));
    let ratio = || arguments.get(1).and_then(|word| parse_f64(word));
    let word = arguments[0];
    if abbreviates(word, "ratio") {
        let Some(ratio) = ratio() else { return ERROR };
        tunables.slab_automove_ratio.set(ratio);
    } else if abbreviates(word, "freeratio") {
        let Some(ratio) = ratio() else { return ERROR };
        tunables.slab_automove_freeratio.set(ratio);
    } else if abbreviates(word, "window") {
        match number(1) {
            None => return BAD_FORMAT,
            Some(window @ 3..=1800) => tunables.slab_automove_window.set(window),
            Some(_) => return "CLIENT_ERROR automove window too low or too high",
        }
    } else {
        match number(0) {
            None => return BAD_FORMAT,
            Some(level @ 0..=2) => tunables.slab_automove.set(level),
            Some(_) => return ERROR,
        }
    }
    OK
}

fn parse_f64(word: &[u8]) -> Option<f64> {
    std::str::from_utf8(word).ok()?.parse().ok()
}
