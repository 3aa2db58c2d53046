//! The process as a whole: limits, user, daemon, pid file.

use std::path::PathBuf;

/// Options of the process.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// Go to the background (`-d`).
    pub daemonize: bool,
    /// File to write the process id to (`-P`).
    pub pid_file: Option<PathBuf>,
    /// User to become when started as root (`-u`). Root has to name one, be it root.
    pub user: Option<String>,
    /// Raise the limit on core files as far as it goes (`-r`).
    pub core_dumps: bool,
    /// Lock all memory (`-k`).
    pub lock_memory: bool,
    /// Words on standard error (`-v`); a daemon that has some keeps its standard error.
    pub verbosity: u32,
}
