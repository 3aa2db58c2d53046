//! `stats` and its subcommands (protocol.txt, "Statistics").
//!
//! The figures come out through a [`Sink`], name by name, so that other front ends than the text protocol can
//! have the same ones.

pub mod conns;
pub mod general;
pub mod items;
pub mod settings;

use super::{
    Answer, BAD_FORMAT, ERROR, Listing, Outcome, SIZE_CLASS, SIZE_CLASSES_MAX, abbreviates,
};
use crate::command::{Context, Output, Worker};
use crate::engine::EngineStats;
use crate::protocol::number::parse_u32;
use crate::stats::Totals;
use std::fmt::{Display, Write};

/// Takes statistics, one name and value at a time.
pub type Sink<'s> = dyn FnMut(&str, &dyn Display) + 's;

/// What the figures are taken from, all at one time.
pub struct Snapshot<'c> {
    /// Whose figures they are.
    pub context: &'c Context,
    /// What was counted.
    pub totals: Totals,
    /// What the engine holds.
    pub engine: EngineStats,
}

impl<'c> Snapshot<'c> {
    /// The figures now, counted since the last `stats reset`.
    pub fn since_reset(context: &'c Context) -> Self {
        Self { context, totals: context.registry.totals(), engine: context.engine.stats() }
    }

    /// The figures now, counted since the start.
    pub fn lifetime(context: &'c Context) -> Self {
        Self { context, totals: context.registry.lifetime(), engine: context.engine.stats() }
    }
}

/// `stats [<word> ...]`.
pub(super) fn execute(worker: &Worker, arguments: &[&[u8]], output: &mut Output) -> Answer {
    let Some((&word, rest)) = arguments.split_first() else {
        return lines(worker, output, general::write);
    };
    // In memcached's order: it decides what an abbreviation stands for. The last ones are not abbreviated.
    if abbreviates(word, "reset") {
        reset(worker);
        "RESET".into()
    } else if abbreviates(word, "detail") {
        detail(worker, rest)
    } else if abbreviates(word, "settings") {
        lines(worker, output, settings::write)
    } else if abbreviates(word, "cachedump") {
        cachedump(worker, rest)
    } else if abbreviates(word, "conns") {
        lines(worker, output, conns::write)
    } else {
        match word {
            b"items" => lines(worker, output, items::items),
            b"slabs" => lines(worker, output, items::slabs),
            b"evictions" => lines(worker, output, items::evictions),
            b"hotkeys" => hotkeys(worker, rest, output),
            b"sizes" if worker.context.options.track_sizes => {
                Outcome::List(Listing::sizes()).into()
            }
            b"sizes" => lines(worker, output, |_, sink| sink("sizes_status", &"disabled")),
            _ => ERROR.into(),
        }
    }
}

/// Answers with a line a statistic.
fn lines(
    worker: &Worker,
    output: &mut Output,
    write: impl FnOnce(&Snapshot<'_>, &mut Sink<'_>),
) -> Answer {
    write(&Snapshot::since_reset(&worker.context), &mut |name, value| {
        // Writing to the output cannot fail.
        let _ = write!(output, "STAT {name} {value}\r\n");
    });
    output.line("END");
    Outcome::Done.into()
}

fn reset(worker: &Worker) {
    let context = &worker.context;
    context.registry.reset();
    context.watch.reset_stats();
    context.detail.clear();
}

fn detail(worker: &Worker, arguments: &[&[u8]]) -> Answer {
    let context = &worker.context;
    if !context.options.dump_enabled {
        return "CLIENT_ERROR stats detail not allowed".into();
    }
    match arguments.first() {
        Some(word) if abbreviates(word, "on") => context.detail.enable(true),
        Some(word) if abbreviates(word, "off") => context.detail.enable(false),
        Some(word) if abbreviates(word, "dump") => {
            return Outcome::List(Listing::detail()).into();
        }
        _ => return "CLIENT_ERROR usage: stats detail on|off|dump".into(),
    }
    "OK".into()
}

/// Volt's own: keys are shown to whom they may be dumped to.
fn hotkeys(worker: &Worker, arguments: &[&[u8]], output: &mut Output) -> Answer {
    let context = &worker.context;
    if !context.options.dump_enabled {
        return "CLIENT_ERROR stats hotkeys not allowed".into();
    }
    match arguments {
        [] if context.hot_keys.enabled() => {
            context.hot_keys.dump(output);
            Outcome::Done.into()
        }
        [] => lines(worker, output, |_, sink| sink("hotkeys_status", &"disabled")),
        [b"on"] => {
            context.hot_keys.enable(true);
            "OK".into()
        }
        [b"off"] => {
            context.hot_keys.enable(false);
            "OK".into()
        }
        _ => "CLIENT_ERROR usage: stats hotkeys [on|off]".into(),
    }
}

fn cachedump(worker: &Worker, arguments: &[&[u8]]) -> Answer {
    if !worker.context.options.dump_enabled {
        return "CLIENT_ERROR stats cachedump not allowed".into();
    }
    let [class, limit, ..] = arguments else { return "CLIENT_ERROR bad command line".into() };
    let (Some(class), Some(limit)) = (parse_u32(class), parse_u32(limit)) else {
        return BAD_FORMAT.into();
    };
    if class >= SIZE_CLASSES_MAX {
        return "CLIENT_ERROR Illegal slab id".into();
    }
    Outcome::List(Listing::cachedump(limit, class != SIZE_CLASS)).into()
}
