//! `volt inspect`, `volt export`, `volt import`: work on a data directory without a server.
//!
//! A dump is what a client would send to store the items, so any server of this protocol takes it, and what imports
//! it is the conversation that serves clients.

use crate::clock::Clock;
use crate::command::context::NoControl;
use crate::command::watch::Hub;
use crate::command::{self, Context, Conversation, Next, Output, Worker};
use crate::engine::{self, Engine};
use crate::persist::{self, Persist};
use crate::stats::Registry;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;
use std::sync::Arc;

/// Bytes read at a time.
const CHUNK: usize = 256 << 10;
/// Commands run before the input is moved up.
const BATCH: u32 = 1000;

/// Why a tool has not done its work.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// A directory or stream cannot be read or written.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The directory cannot be had.
    #[error(transparent)]
    Persist(#[from] persist::StartError),
    /// The dump is none.
    #[error("the dump is not understood after {stored} items: {reply}")]
    Dump {
        /// Items that were stored before.
        stored: u64,
        /// What a server would have said.
        reply: String,
    },
    /// The dump ends amid an item.
    #[error("the dump ends amid an item, after {0} items")]
    Cut(u64),
}

/// Verifies a directory and prints what it holds.
pub(super) fn inspect(words: &[String]) -> Result<(), String> {
    let directory = only(words, "inspect")?;
    let report = persist::inspect(directory).map_err(|error| at(directory, &error))?;
    write!(io::stdout(), "{report}").map_err(|error| error.to_string())?;
    match report.is_damaged() {
        true => Err(format!("{}: damaged", directory.display())),
        false => Ok(()),
    }
}

/// Writes a directory's items to standard output.
pub(super) fn export(words: &[String]) -> Result<(), String> {
    let directory = only(words, "export")?;
    let mut output = BufWriter::new(io::stdout().lock());
    let exported = persist::export(directory, &mut output).and_then(|_| output.flush());
    exported.map_err(|error| at(directory, &error))
}

/// Adds the items on standard input to a directory.
pub(super) fn import(words: &[String]) -> Result<(), String> {
    let directory = only(words, "import")?;
    let stored = add(directory, &mut io::stdin().lock()).map_err(|error| error.to_string())?;
    writeln!(io::stdout(), "{stored} items stored").map_err(|error| error.to_string())
}

fn only<'w>(words: &'w [String], tool: &str) -> Result<&'w Path, String> {
    match words {
        [directory] if !directory.starts_with('-') => Ok(Path::new(directory)),
        _ => Err(format!("usage: volt {tool} <data directory>")),
    }
}

fn at(directory: &Path, error: &io::Error) -> String {
    format!("{}: {error}", directory.display())
}

/// Adds a dump's items to a directory, as if a client had stored them; how many there were.
fn add(path: &Path, input: &mut dyn Read) -> Result<u64, Error> {
    // No limit: it is the server that has one, and a dump larger than that is cut there.
    let memory_limit = usize::MAX / 4;
    let options =
        engine::Options { memory_limit, item_size_max: 1 << 30, ..engine::Options::default() };
    let (clock, registry) = (Arc::new(Clock::system()), Arc::new(Registry::default()));
    let engine = Engine::new(options, Arc::clone(&clock), Arc::clone(&registry));
    let options = persist::Options { required: true, ..persist::Options::new(path.to_owned()) };
    let persist = Persist::start(&engine, options)?;
    let options = command::options::Options { reqs_per_event: BATCH, ..Default::default() };
    let (hub, _distributor) = Hub::new(&options);
    let control = Box::new(NoControl);
    let context = Context::new(engine, clock, registry, options, hub, control);
    let stored = converse(&Worker::new(Arc::new(context)), input);
    // Writes everything.
    drop(persist);
    stored
}

/// Plays a dump's commands as a client would; how many items were stored.
fn converse(worker: &Worker, input: &mut dyn Read) -> Result<u64, Error> {
    let mut conversation = Conversation::new(worker, 0);
    let (mut output, mut pending, mut stored) = (Output::new(), Vec::new(), 0);
    loop {
        let progress = conversation.advance(worker, &pending, &mut output);
        pending.drain(..progress.consumed);
        stored += replies(&mut output).map_err(|reply| Error::Dump { stored, reply })?;
        match progress.next {
            Next::Read | Next::ReadValue => {
                let before = pending.len();
                input.take(CHUNK as u64).read_to_end(&mut pending)?;
                if pending.len() > before {
                    continue;
                }
                let between = pending.is_empty() && matches!(progress.next, Next::Read);
                return if between { Ok(stored) } else { Err(Error::Cut(stored)) };
            }
            Next::Write | Next::Yield | Next::Wait => {}
            Next::Close(_) | Next::Watch(_) => {
                let reply = "the conversation is over".to_owned();
                return Err(Error::Dump { stored, reply });
            }
        }
    }
}

/// Counts replies that say "stored"; the first that says something else is an error.
fn replies(output: &mut Output) -> Result<u64, String> {
    let bytes = output.parts().concat();
    output.clear();
    let mut stored = 0;
    for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match line {
            b"STORED\r" | b"HD\r" => stored += 1,
            other => return Err(String::from_utf8_lossy(other).trim_end().to_owned()),
        }
    }
    Ok(stored)
}
