//! The binary as a user starts it: texts, wrong flags, wrong settings, and which setting wins.
//!
//! What the settings mean in detail is tested where they are read (`src/config`); here it is that the process
//! prints on the right stream, ends with the right code, and serves with what it was told.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Longest that a process may take to start or to fail.
const PATIENCE: Duration = Duration::from_secs(20);

fn volt(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_volt"));
    command.args(args).env_clear().env("VOLT__METRICS__LISTEN", "off");
    command
}

fn output(args: &[&str]) -> Output {
    volt(args).output().expect("the binary starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("messages are UTF-8")
}

/// A Volt on a unix socket, ended when dropped.
struct Server {
    process: Child,
    socket: std::path::PathBuf,
}

impl Server {
    fn start(mut command: Command, socket: &Path) -> Self {
        let process = command.stderr(Stdio::piped()).spawn().expect("the binary starts");
        let mut server = Self { process, socket: socket.to_owned() };
        server.wait_until_it_accepts();
        server
    }

    /// Looks for the socket until it accepts; a process that ended shows why.
    fn wait_until_it_accepts(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while UnixStream::connect(&self.socket).is_err() {
            if let Some(status) = self.process.try_wait().expect("is a child") {
                let mut log = String::new();
                let _ = self.process.stderr.take().expect("is piped").read_to_string(&mut log);
                panic!("Volt ended at its start: {status}\n{log}");
            }
            assert!(Instant::now() < deadline, "Volt does not accept");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The reply to `command`.
    fn ask(&self, command: &str) -> String {
        let mut stream = UnixStream::connect(&self.socket).expect("is listening");
        stream.set_read_timeout(Some(PATIENCE)).expect("is a socket");
        write!(stream, "{command}\r\nquit\r\n").expect("is writable");
        let mut reply = String::new();
        stream.read_to_string(&mut reply).expect("is closed after quit");
        reply
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn help_version_and_licence_go_to_standard_output() {
    for flag in ["-h", "--help", "-V", "--version", "-i", "--license"] {
        let output = output(&[flag]);
        assert_eq!(output.status.code(), Some(0), "{flag}");
        assert!(output.stderr.is_empty(), "{flag}: {}", text(&output.stderr));
        assert!(text(&output.stdout).starts_with("memcached 1.6.45\nVolt "), "{flag}");
    }
    assert!(text(&output(&["-h"]).stdout).contains("--unix-socket=<file>"));
    assert!(text(&output(&["-i"]).stdout).contains("MIT"));
}

#[test]
fn nobody_has_to_read_the_help_to_its_end() {
    let mut process = volt(&["-h"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(process.stdout.take());
    let mut complaints = String::new();
    process.stderr.take().unwrap().read_to_string(&mut complaints).unwrap();
    process.wait().unwrap();
    assert_eq!(complaints, "");
}

#[test]
fn wrong_flags_end_the_process_with_a_message() {
    for (args, message) in [
        (&["-c", "0"][..], "Maximum connections must be greater than 0"),
        (&["-c", "-1"], "Maximum connections must be greater than 0"),
        (&["-t", "0"], "Number of threads must be greater than 0"),
        (&["-I", "1000"], "Item max size cannot be less than 1024 bytes."),
        (&["-I", "256m"], "Cannot set item size limit higher than 1/2 of memory max."),
        (&["-B", "http"], "Invalid value for binding protocol: http"),
        (&["-B", "binary"], "does not speak the binary protocol"),
        (&["-S"], "This server is not built with SASL support."),
        (&["-Z"], "This server is not built with TLS support."),
        (&["-o", "nonsense"], "Illegal suboption \"nonsense\""),
        (&["--nonsense"], "unrecognized option '--nonsense'"),
        (&["-p"], "option requires an argument -- 'p'"),
        (&["--config", "/nowhere/volt.toml"], "cannot read the settings file /nowhere/volt.toml"),
    ] {
        let output = output(args);
        assert!(matches!(output.status.code(), Some(1..)), "{args:?}: {:?}", output.status);
        assert!(text(&output.stderr).contains(message), "{args:?}: {}", text(&output.stderr));
        assert!(output.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn wrong_settings_are_named_with_their_origin() {
    let output = volt(&[]).env("VOLT__SERVER__THREADS", "many").output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    assert_eq!(
        text(&output.stderr),
        "server.threads = \"many\" (VOLT__SERVER__THREADS in the environment): \
         expected a whole number\n"
    );
    let output = volt(&[]).env("VOLT__MEMORY__LIMT", "1GiB").output().unwrap();
    assert_eq!(
        text(&output.stderr),
        "unknown setting memory.limt (VOLT__MEMORY__LIMT in the environment); \
         did you mean memory.limit?\n"
    );
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("volt.toml");
    std::fs::write(&file, "[memory]\nevictions = 1\n").unwrap();
    let file = file.to_str().unwrap();
    let output = volt(&["--config", file]).output().unwrap();
    assert_eq!(
        text(&output.stderr),
        format!("memory.evictions = 1 ({file}): expected true or false\n")
    );
}

#[test]
fn it_serves_with_what_it_was_told_and_the_command_line_wins() {
    let dir = tempfile::tempdir().unwrap();
    let (file, socket) = (dir.path().join("volt.toml"), dir.path().join("volt.sock"));
    std::fs::write(&file, "[server]\nthreads = 1\nbacklog = 11\nconn_limit = 111\n").unwrap();
    let mut command = volt(&["--config", file.to_str().unwrap(), "-t", "3", "-u", "root"]);
    command.env("VOLT__SERVER__UNIX_SOCKET", &socket);
    command.env("VOLT__SERVER__BACKLOG", "22").env("VOLT__SERVER__THREADS", "2");
    let settings = Server::start(command, &socket).ask("stats settings");
    for line in ["STAT maxconns 111\r\n", "STAT tcp_backlog 22\r\n", "STAT num_threads 3\r\n"] {
        assert!(settings.contains(line), "{line}{settings}");
    }
}

#[test]
fn it_works_under_the_name_of_memcached() {
    let dir = tempfile::tempdir().unwrap();
    let (name, socket) = (dir.path().join("memcached"), dir.path().join("volt.sock"));
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_volt"), &name).unwrap();
    let mut command = Command::new(&name);
    command
        .env_clear()
        .args(["-u", "root", "-o", "relaxed_privileges,slab_reassign", "-s"])
        .arg(&socket);
    let settings = Server::start(command, &socket).ask("stats settings");
    assert!(settings.contains("STAT domain_socket "), "{settings}");
    assert!(settings.ends_with("END\r\n"), "{settings}");
}

#[test]
fn the_log_is_as_loud_as_it_is_told_to_be() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("volt.sock");
    let mut command = volt(&["-u", "root", "-A", "-f", "1.5", "-s"]);
    command.arg(&socket);
    let mut server = Server::start(command, &socket);
    assert!(server.ask("version").starts_with("VERSION "));
    assert_eq!(server.ask("verbosity 1"), "OK\r\n");
    assert!(server.ask("version").starts_with("VERSION "));
    server.ask("shutdown");
    let mut log = String::new();
    server.process.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert!(log.contains("-f has no effect"), "{log}");
    assert!(log.contains("listening: unix "), "{log}");
    // Of five connections, the two after `verbosity` (the one that waited for the socket may be slow).
    let connections = log.matches("new client connection").count();
    assert!((2..=3).contains(&connections), "{log}");
    assert!(log.contains("connection closed: "), "{log}");
}
