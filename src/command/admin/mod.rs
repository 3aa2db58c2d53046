//! The commands of an operator: `stats`, `watch`, `lru_crawler`, `slabs`, `lru` and the rest of protocol.txt
//! that neither reads nor writes an item.
//!
//! Words are matched as memcached matches them, by prefix where it does (`stats set` is `stats settings`), and
//! refusals are in its words. Answers that grow with the number of items are produced piece by piece
//! ([`Listing`]); everything else is answered at once.

pub mod detail;
pub mod hotkeys;
pub mod stats;
pub mod tunables;

mod crawler;
mod listing;
mod rusage;
mod tuning;

pub use listing::Listing;

use super::watch::{Mask, Subscription};
use super::{Output, Worker};
use crate::protocol::{BAD_FORMAT, ERROR, Tokens};

/// The one size class that statistics and listings put all items in. Volt has no slabs: items take what the
/// allocator gives them, and a class of its own for every size would only be made up.
pub const SIZE_CLASS: u32 = 1;

/// memcached's class numbers are below this.
const SIZE_CLASSES_MAX: u32 = 64;

/// What an admin command came to.
pub enum Outcome {
    /// Answered.
    Done,
    /// Answered in steps: call [`Listing::step`] until it is over.
    List(Listing),
    /// Turn the connection into a watcher; the subscription brings the `OK`.
    Watch(Subscription),
    /// Close the connection.
    Close,
}

/// How a command is answered: by a line, which `noreply` suppresses, or otherwise.
enum Answer {
    Line(&'static str),
    Other(Outcome),
}

impl From<&'static str> for Answer {
    fn from(line: &'static str) -> Self {
        Self::Line(line)
    }
}

impl From<Outcome> for Answer {
    fn from(outcome: Outcome) -> Self {
        Self::Other(outcome)
    }
}

/// Runs an operator's command. What waits in `output` belongs to commands that came before it in the same
/// batch; those that take the connection over refuse then.
pub fn execute(worker: &Worker, tokens: Tokens<'_>, output: &mut Output) -> Outcome {
    let words: Vec<&[u8]> = tokens.iter().collect();
    let pipelined = !output.is_empty();
    let Some((&verb, arguments)) = words.split_first() else {
        output.line(ERROR);
        return Outcome::Done;
    };
    // These two do not know `noreply`.
    let silent = tokens.noreply() && verb != b"stats" && verb != b"watch";
    let answer = match verb {
        b"stats" => stats::execute(worker, arguments, output),
        b"watch" => watch(worker, arguments, pipelined),
        b"lru_crawler" => crawler::execute(worker, arguments, pipelined),
        b"shutdown" => shutdown(worker, arguments),
        b"verbosity" => tuning::verbosity(worker, arguments).into(),
        b"cache_memlimit" => tuning::memory_limit(worker, arguments).into(),
        b"lru" => tuning::lru(worker, arguments).into(),
        b"slabs" => tuning::slabs(worker, arguments).into(),
        b"debugtime" => debugtime(worker, arguments).into(),
        b"refresh_certs" => Answer::Line("Error TLS not enabled"),
        _ => Answer::Line(ERROR),
    };
    match answer {
        Answer::Other(outcome) => outcome,
        Answer::Line(line) => {
            if line.starts_with("ERROR") || line.starts_with("CLIENT_ERROR") {
                worker.counters().protocol_errors.bump();
            }
            if !silent {
                output.line(line);
            }
            Outcome::Done
        }
    }
}

/// Whether `word` is a beginning of `name`: memcached compares as far as the word goes.
fn abbreviates(word: &[u8], name: &str) -> bool {
    name.as_bytes().starts_with(word)
}

fn watch(worker: &Worker, kinds: &[&[u8]], pipelined: bool) -> Answer {
    if !worker.context.options.watch_enabled {
        return "CLIENT_ERROR watch commands not allowed".into();
    }
    if pipelined {
        return "ERROR cannot pipeline other commands before watch".into();
    }
    let mut mask = if kinds.is_empty() { Mask::FETCHERS } else { Mask::NONE };
    for word in kinds {
        let Some(kind) = watched_kind(word) else { return ERROR.into() };
        mask = mask.with(kind);
    }
    match worker.context.watch.subscribe(mask) {
        Some(subscription) => Outcome::Watch(subscription).into(),
        None => "WATCHER_TOO_MANY log watcher limit reached".into(),
    }
}

fn watched_kind(word: &[u8]) -> Option<Mask> {
    const KINDS: [(&str, Mask); 10] = [
        ("rawcmds", Mask::RAWCMDS),
        ("evictions", Mask::EVICTIONS),
        ("fetchers", Mask::FETCHERS),
        ("mutations", Mask::MUTATIONS),
        ("sysevents", Mask::SYSEVENTS),
        ("connevents", Mask::CONNEVENTS),
        ("proxyreqs", Mask::PROXY),
        ("proxyevents", Mask::PROXY),
        ("proxyuser", Mask::PROXY),
        ("deletions", Mask::DELETIONS),
    ];
    KINDS.iter().find(|(name, _)| abbreviates(word, name)).map(|&(_, kind)| kind)
}

fn shutdown(worker: &Worker, arguments: &[&[u8]]) -> Answer {
    if !worker.context.options.shutdown_command {
        return "SERVER_ERROR: shutdown not enabled".into();
    }
    match arguments {
        [] => worker.context.control.shutdown(),
        [b"graceful"] => worker.context.control.shutdown_graceful(),
        _ => return "CLIENT_ERROR invalid shutdown mode".into(),
    }
    Outcome::Close.into()
}

/// Moves the clock, for tests that cannot wait.
fn debugtime(worker: &Worker, arguments: &[&[u8]]) -> &'static str {
    if !worker.context.options.debug_commands {
        return ERROR;
    }
    match arguments.first().and_then(|word| crate::protocol::number::parse_i64(word)) {
        Some(seconds) => {
            worker.context.clock.advance(seconds);
            "OK"
        }
        None => ERROR,
    }
}

#[cfg(test)]
mod tests;
