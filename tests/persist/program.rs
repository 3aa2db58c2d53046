//! The program: how it is started, asked how it is, and ended.

use crate::DEADLINE;
use crate::client::Client;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How a program is to be started.
pub struct Setup {
    data: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(&'static str, OsString)>,
}

impl Setup {
    /// With this data directory.
    pub fn on(data: &Path) -> Self {
        Self { data: data.to_owned(), arguments: Vec::new(), environment: Vec::new() }
    }

    /// And this argument.
    pub fn with(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// And this variable in its environment.
    pub fn env(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    /// Starts it; it may be at the very beginning when this returns.
    pub fn start(&self) -> Program {
        let folder = tempfile::tempdir().unwrap();
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_volt"))
            .args(["-u", "root", "-l", "127.0.0.1", "-p", "-1", "-m", "256", "-t", "2", "-A"])
            .args(&self.arguments)
            .arg(format!("--data-dir={}", self.data.display()))
            .env("MEMCACHED_PORT_FILENAME", folder.path().join("ports"))
            .env("VOLT__METRICS__LISTEN", "off")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Program { child, folder }
    }
}

/// A running program; killed when the test ends.
pub struct Program {
    child: Child,
    folder: TempDir,
}

impl Program {
    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has said so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// Connects as soon as it accepts clients.
    pub fn connect(&self) -> Client {
        let ports = self.folder.path().join("ports");
        self.wait("the port file", || ports.exists());
        let text = fs::read_to_string(ports).unwrap();
        Client::connect(text.trim().strip_prefix("TCP INET: ").unwrap().parse().unwrap())
    }

    /// Waits until everything is back, for a program that serves before.
    pub fn wait_until_loaded(&self) {
        let mut client = self.connect();
        self.wait("loading", || client.stat("persist_state").unwrap() == "ok");
    }

    /// Waits until it is as wanted, and looks often.
    #[track_caller]
    pub fn wait(&self, what: &str, mut met: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !met() {
            assert!(begun.elapsed() < DEADLINE, "not within the deadline: {what}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// The one process that this test has started is killed; nobody tidies up.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Has it stop, which it does without an error.
    pub fn stop(self) {
        let (status, log) = self.terminated();
        assert!(status.success(), "{log}");
    }

    /// Asks it to stop, and waits until it has ended; how it did, and what it said.
    pub fn terminated(self) -> (ExitStatus, String) {
        let pid = self.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        self.ended()
    }

    /// Waits until it has ended by itself; how it did, and what it said.
    pub fn ended(mut self) -> (ExitStatus, String) {
        (self.child.wait().unwrap(), self.log())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
