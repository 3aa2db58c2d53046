//! What the program can do besides serving: `volt healthcheck`, `volt top`.
//!
//! A tool is a client of a running Volt, in a process of its own. It speaks to it as any client does and shares
//! nothing with it; std's blocking sockets are all it needs.

mod healthcheck;
mod top;

use std::ffi::OsStr;
use std::io::{self, Write};
use std::process::ExitCode;

/// Runs the tool that the command line's first word names; `None` if it names none, and the program is to serve.
/// memcached's command line has no words of this kind.
pub fn run(args: &[impl AsRef<OsStr>]) -> Option<ExitCode> {
    let mut words = args.iter().map(|word| word.as_ref().to_string_lossy().into_owned()).skip(1);
    let outcome = match words.next()?.as_str() {
        "healthcheck" => healthcheck::run(&words.collect::<Vec<_>>()),
        "top" => top::run(&words.collect::<Vec<_>>()),
        _ => return None,
    };
    Some(match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(wrong) => {
            // Nobody is told who has closed standard error.
            let _ = writeln!(io::stderr(), "{wrong}");
            ExitCode::FAILURE
        }
    })
}
