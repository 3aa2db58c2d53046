//! A real memcached as a peer: the program that the environment variable `VOLT_TEST_MEMCACHED` names.
//!
//! Tests that need it are ignored in a plain `cargo test`; when they do run, a missing program fails them.
//! Versions differ: what an older one does differently is written where it matters, as a version gate.

use super::connection::Connection;
use super::{Address, Peer};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Names the program to compare with.
pub const VARIABLE: &str = "VOLT_TEST_MEMCACHED";

/// A running memcached on a unix socket in a directory of its own.
pub struct Memcached {
    child: Child,
    directory: tempfile::TempDir,
}

impl Memcached {
    /// Starts it with these options and waits until it accepts.
    pub fn start(options: &[String]) -> Self {
        let program = std::env::var_os(VARIABLE)
            .unwrap_or_else(|| panic!("{VARIABLE} must name a memcached to compare with"));
        let directory = tempfile::tempdir().expect("a temporary directory");
        let child = Command::new(&program)
            .arg("-s")
            .arg(directory.path().join("socket"))
            .args(["-u", "root"])
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("starting {}: {error}", program.display()));
        let mut memcached = Self { child, directory };
        memcached.wait_until_it_accepts();
        memcached
    }

    fn wait_until_it_accepts(&mut self) {
        for _ in 0..500 {
            if Connection::open(&self.address()).is_ok() {
                return;
            }
            if let Some(status) = self.child.try_wait().expect("the child's status") {
                panic!("memcached ended at its start: {status}");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("memcached did not accept within 5 s");
    }
}

impl Peer for Memcached {
    fn address(&self) -> Address {
        Address::Unix(self.directory.path().join("socket"))
    }
}

impl Drop for Memcached {
    fn drop(&mut self) {
        // It may have ended by itself, after `shutdown` for one: then there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// memcached's version as three numbers, from its reply to `version`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32, pub u32);

impl Version {
    /// Parses `1.6.18`; whatever follows the third number is ignored.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(|c: char| !c.is_ascii_digit()).map(str::parse);
        Some(Self(parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?))
    }

    /// Asks a running peer.
    pub fn of(peer: &dyn Peer) -> Self {
        let mut connection = Connection::open(&peer.address()).expect("a connection");
        let reply = connection.ask("version");
        reply
            .strip_prefix("VERSION ")
            .and_then(Self::parse)
            .unwrap_or_else(|| panic!("unexpected reply to version: {reply}"))
    }
}
