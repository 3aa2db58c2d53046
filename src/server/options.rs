//! What the server is told at start; `config` fills it in from memcached's flags and `volt.toml`.
//!
//! The defaults are memcached's. What the commands merely show (`stats settings`) is in
//! `command::options`; what concerns the process as a whole is in [`process::Options`](super::process::Options).

use super::listen::Listen;
use std::path::PathBuf;

/// Options of the sockets and worker threads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Worker threads (`-t`), at least 1.
    pub threads: usize,
    /// Interfaces to listen on (`-l`, see [`Listen::parse_list`]); empty: all of them. Applies to TCP and UDP.
    pub listen: Vec<Listen>,
    /// TCP port of every interface that does not name its own (`-p`).
    pub port: Port,
    /// UDP port, likewise (`-U`).
    pub udp_port: Port,
    /// Path of a unix socket to listen on (`-s`); when given, there is no TCP and no UDP.
    pub unix_path: Option<PathBuf>,
    /// Permissions of the unix socket's file (`-a`).
    pub unix_mode: u32,
    /// Connections that the kernel may keep before they are accepted (`-b`).
    pub backlog: u32,
    /// Most client connections at one time (`-c`), at least 1.
    pub max_connections: usize,
    /// Over the limit: `true` answers with an error and closes (`-o maxconns_fast`), `false` stops accepting
    /// until a connection has closed.
    pub maxconns_fast: bool,
    /// TCP connections that send no command for more than this many seconds are closed (`-o idle_timeout`);
    /// 0: never.
    pub idle_timeout_s: u32,
    /// File to write the ports to (environment variable `MEMCACHED_PORT_FILENAME`).
    pub port_file: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            threads: 4,
            listen: Vec::new(),
            port: Port::Fixed(11211),
            udp_port: Port::Off,
            unix_path: None,
            unix_mode: 0o700,
            backlog: 1024,
            max_connections: 1024,
            maxconns_fast: true,
            idle_timeout_s: 0,
            port_file: None,
        }
    }
}

/// A port as memcached's flags give it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    /// Do not listen (0).
    Off,
    /// Any free port (-1).
    Any,
    /// This one.
    Fixed(u16),
}

impl Port {
    /// Reads a flag's number; `None` when there is no such port.
    #[must_use]
    pub fn from_flag(number: i64) -> Option<Self> {
        match number {
            0 => Some(Self::Off),
            -1 => Some(Self::Any),
            _ => u16::try_from(number).ok().map(Self::Fixed),
        }
    }

    /// The number to bind to; `None` when not to listen.
    pub(super) fn to_bind(self) -> Option<u16> {
        match self {
            Self::Off => None,
            Self::Any => Some(0),
            Self::Fixed(port) => Some(port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_as_memcached_reads_them() {
        assert_eq!(Port::from_flag(0), Some(Port::Off));
        assert_eq!(Port::from_flag(-1), Some(Port::Any));
        assert_eq!(Port::from_flag(11212), Some(Port::Fixed(11212)));
        assert_eq!(Port::from_flag(65536), None);
        assert_eq!(Port::from_flag(-2), None);
    }
}
