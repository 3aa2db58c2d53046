//! Settings: memcached's command line, `volt.toml` and the environment, made into the options of the parts.
//!
//! [`load`] is all there is to call. It reads, merges (command line over environment over file over default) and
//! checks everything before anything starts; what is wrong is one [`Error`] that says where it was written and
//! what would be right. The parts define their own options; nothing below this floor knows where they come from.
//!
//! | file | what it does |
//! |---|---|
//! | `getopt` | cuts the command line into flags, as the C library does |
//! | `cli`, `extended`, `help` | memcached's flags, the words of `-o`, the text of `-h` |
//! | `settings`, `layers` | every key with its default; the merge, with the origin of every value |
//! | `assemble` | checks, and the parts' options |
//! | `logging` | the log on standard error |

mod assemble;
mod cli;
mod error;
mod extended;
mod getopt;
mod help;
mod layers;
pub mod logging;
mod settings;

#[cfg(test)]
mod tests;

pub use error::Error;
pub use help::MEMCACHED_VERSION;

use crate::{command, engine, http, persist, server};
use cli::CommandLine;
use layers::Layers;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Everything that Volt is told at start, checked.
#[derive(Debug)]
pub struct Config {
    /// For the cache.
    pub engine: engine::Options,
    /// For the sockets and workers.
    pub server: server::Options,
    /// For the commands.
    pub command: command::options::Options,
    /// For the metrics.
    pub http: http::Options,
    /// For the copy on disk; `None` for none.
    pub persist: Option<persist::Options>,
    /// For the process.
    pub process: server::process::Options,
    /// What of the log is shown without `-v`.
    pub log: logging::Level,
    /// How its lines are written.
    pub log_format: logging::Format,
    /// Every setting with its value, for the log.
    pub settings: String,
    /// Lines for the log: flags that have no effect here, and what else deserves a look.
    pub notices: Vec<String>,
}

/// What the command line asks for.
#[derive(Debug)]
pub enum Outcome {
    /// Serve.
    Run(Box<Config>),
    /// Print this text on standard output and end with success (`-h`, `-V`, `-i`).
    Print(String),
}

/// Environment variable with the file that the ports are to be written to; memcached's own.
const PORT_FILE: &str = "MEMCACHED_PORT_FILENAME";

/// Reads the command line `args` (the program's name first), the environment `env`, and the file that `--config`
/// names.
///
/// # Errors
///
/// Whatever is not understood or not possible, by the first that is found.
pub fn load(
    args: impl IntoIterator<Item = OsString>,
    env: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Outcome, Error> {
    let args = args.into_iter().map(utf8).collect::<Result<Vec<_>, _>>()?;
    let as_memcached = args.first().is_some_and(|program| is_memcached(program));
    let mut line = CommandLine::read(args)?;
    if let Some(text) = line.print.take() {
        return Ok(Outcome::Print(text));
    }
    let mut layers = Layers::defaults();
    if let Some(file) = &line.file {
        layers.add_file(file)?;
    }
    let mut port_file = None;
    let mut variables = ::config::Map::new();
    for (name, value) in env {
        if name == PORT_FILE {
            port_file = Some(PathBuf::from(value));
        } else if layers::is_setting(&name) {
            variables.insert(utf8(name)?, utf8(value)?);
        }
    }
    layers.add_environment(variables)?;
    line.add_to(&mut layers);
    assemble::assemble(&layers, line, assemble::Caller { as_memcached, port_file })
}

/// Settings are text.
fn utf8(word: OsString) -> Result<String, Error> {
    word.into_string().map_err(|word| Error::usage(format!("{} is not UTF-8", word.display())))
}

/// Whether this is a name that memcached is started under (`memcached`, `memcached-debug`).
fn is_memcached(program: &str) -> bool {
    let name = Path::new(program).file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.starts_with("memcached"))
}
