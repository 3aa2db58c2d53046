//! The program: settings in, exit code out. What happens in between is `node`'s.

use std::env;
use std::io::{self, Write};
use std::panic;
use std::process::{ExitCode, abort};
use std::thread;
use volt::config::{self, Config, Outcome, logging};
use volt::node::{Node, Options, StartError};
use volt::persist;
use volt::server::process::{self, PidFile};
use volt::server::signals::Signals;
use volt::tool;

/// The heap of the process, where large items come from, too.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static HEAP: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Asks for huge pages: large items are written at once, and a page of 4 KiB costs a fault each.
/// Two arenas, not four for each processor: most items do not come from here, and what the database's many threads free stays
/// with the arena that it came from. `_RJEM_MALLOC_CONF=thp:never` in the environment takes the huge pages back.
#[cfg(feature = "jemalloc")]
#[expect(unsafe_code, reason = "jemalloc finds its settings by the symbol's name")]
// SAFETY: the symbol is the one that jemalloc documents, and points to a string that ends with a zero.
#[unsafe(export_name = "_rjem_malloc_conf")]
static MALLOC_CONF: Option<&std::ffi::c_char> = {
    // SAFETY: the first byte of a string literal, which lives for ever.
    Some(unsafe { &*c"thp:always,narenas:2".as_ptr() })
};

/// `EX_OSERR` of sysexits.h: what memcached ends with when it cannot have its sockets.
const EX_OSERR: u8 = 71;

fn main() -> ExitCode {
    if let Some(code) = tool::run(&env::args_os().collect::<Vec<_>>()) {
        return code;
    }
    match config::load(env::args_os(), env::vars_os()) {
        Ok(Outcome::Run(config)) => run(*config),
        Ok(Outcome::Print(text)) => {
            // Whoever closes the pipe has read enough.
            let _ = io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error, error.exit_code()),
    }
}

fn run(config: Config) -> ExitCode {
    end_on_panic();
    let log = logging::init(config.log, config.log_format, config.process.verbosity);
    tracing::info!(settings = config.settings, "starting Volt {}", env!("CARGO_PKG_VERSION"));
    for notice in &config.notices {
        tracing::warn!("{notice}");
    }
    if let Err(error) = process::prepare(&config.process, config.server.max_connections) {
        return fail(&error, error.exit_code());
    }
    let mut signals = match Signals::install() {
        Ok(signals) => signals,
        Err(error) => return fail(&error, EX_OSERR),
    };
    let Config { engine, server, command, http, persist, .. } = config;
    let options = Options { engine, server, command, http, persist, log: Some(log) };
    let mut node = match Node::start_unless_stopped(options, &mut signals) {
        Ok(node) => node,
        Err(stopped @ StartError::Stopped) => {
            tracing::info!("{stopped}");
            return ExitCode::SUCCESS;
        }
        Err(error) => return fail(&error, EX_OSERR),
    };
    tracing::info!("listening: {}", node.addresses());
    let _pid_file = PidFile::create(&config.process);
    let gracefully = node.wait(&mut signals);
    tracing::info!("{}", if gracefully { "Gracefully stopping" } else { "Exiting normally" });
    drop(node);
    ExitCode::SUCCESS
}

/// A panic in any thread ends the process: a table that was being changed is not to be served. The threads that write to
/// disk change no table; what becomes of their panics is their business.
fn end_on_panic() {
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        report(panic);
        let thread = thread::current();
        if !thread.name().is_some_and(persist::contains_panics_of) {
            abort();
        }
    }));
}

fn fail(error: &dyn std::error::Error, code: u8) -> ExitCode {
    eprintln!("{error}");
    ExitCode::from(code)
}
