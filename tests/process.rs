//! The program as a process: signals, exit codes, daemon, pid file, port file.
//!
//! Each test starts the program itself on a port of its own and finds the port in the port file, which is there
//! when the program accepts. Signals are sent by the `kill` program to the one process that the test started.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const DEADLINE: Duration = Duration::from_secs(10);

/// A running program; ended when the test ends.
struct Program {
    child: Child,
    folder: TempDir,
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_volt"));
    command
        .args([
            "-u",
            "root",
            "-l",
            "127.0.0.1",
            "-p",
            "-1",
            "-m",
            "16",
            "-t",
            "1",
            "--metrics-listen",
            "off",
        ])
        .args(arguments)
        .env("MEMCACHED_PORT_FILENAME", folder.join("ports"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

fn start(arguments: &[&str]) -> Program {
    let folder = tempfile::tempdir().unwrap();
    let child = command(folder.path(), arguments).spawn().unwrap();
    Program { child, folder }
}

#[track_caller]
fn wait_for<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(start.elapsed() < DEADLINE, "not within the deadline: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn connect(folder: &Path) -> TcpStream {
    let text = wait_for("the port file", || fs::read_to_string(folder.join("ports")).ok());
    let port = text.trim().strip_prefix("TCP INET: ").unwrap().parse().unwrap();
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// Sends lines and takes the first line of the reply.
fn ask(stream: &mut TcpStream, request: &str) -> String {
    stream.write_all(request.as_bytes()).unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    line
}

fn kill(signal: &str, pid: u32) -> bool {
    let pid = pid.to_string();
    let status = Command::new("kill").args([signal, &pid]).stderr(Stdio::null()).status();
    status.unwrap().success()
}

impl Program {
    fn connect(&self) -> TcpStream {
        connect(self.folder.path())
    }

    fn signal(&self, signal: &str) {
        assert!(kill(signal, self.child.id()));
    }

    fn ends(&mut self) -> ExitStatus {
        wait_for("the end", || self.child.try_wait().unwrap())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It has ended by itself, if the test went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn every_signal_to_stop_stops_it_with_success() {
    for signal in ["-TERM", "-INT", "-USR1"] {
        let mut program = start(&[]);
        let mut stream = program.connect();
        assert_eq!(ask(&mut stream, "get a\r\n"), "END\r\n");
        program.signal(signal);
        assert_eq!(program.ends().code(), Some(0), "{signal}");
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "{signal} closes connections");
    }
}

#[test]
fn hangup_reads_the_users_again_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let users = folder.path().join("users");
    fs::write(&users, "foo:old\n").unwrap();
    let program = start(&["-Y", users.to_str().unwrap()]);
    let mut stream = program.connect();
    assert_eq!(ask(&mut stream, "set x 0 0 7\r\nfoo old\r\n"), "STORED\r\n");
    fs::write(&users, "foo:new\n").unwrap();
    program.signal("-HUP");
    wait_for("the new password", || {
        let mut stream = program.connect();
        (ask(&mut stream, "set x 0 0 7\r\nfoo new\r\n") == "STORED\r\n").then_some(())
    });
    assert_ne!(ask(&mut program.connect(), "set x 0 0 7\r\nfoo old\r\n"), "STORED\r\n");
    // A broken file changes nothing.
    fs::write(&users, "no colon\n").unwrap();
    program.signal("-HUP");
    assert_eq!(ask(&mut program.connect(), "set x 0 0 7\r\nfoo new\r\n"), "STORED\r\n");
}

#[test]
fn a_healthcheck_tells_a_volt_from_none() {
    let check = |address: &str| {
        Command::new(env!("CARGO_BIN_EXE_volt")).args(["healthcheck", address]).output().unwrap()
    };
    let folder = tempfile::tempdir().unwrap();
    let users = folder.path().join("users");
    fs::write(&users, "foo:bar\n").unwrap();
    for arguments in [&[][..], &["-Y", users.to_str().unwrap()]] {
        let mut program = start(arguments);
        let address = program.connect().peer_addr().unwrap().to_string();
        let output = check(&address);
        assert!(output.status.success(), "{output:?}");
        program.signal("-TERM");
        program.ends();
        let output = check(&address);
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8(output.stderr).unwrap().starts_with(&address));
    }
}

#[test]
fn the_log_is_an_object_a_line_where_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let mut program =
        command(folder.path(), &["-A", "-c", "77", "--metrics-listen", "127.0.0.1:0"]);
    let child = program.env("VOLT__LOG__FORMAT", "json").stderr(Stdio::piped()).spawn().unwrap();
    let mut program = Program { child, folder };
    program.connect().write_all(b"shutdown\r\n").unwrap();
    assert_eq!(program.ends().code(), Some(0));
    let mut log = String::new();
    program.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    let lines: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert!(lines.len() >= 4, "{log}");
    for line in &lines {
        assert!(line["timestamp"].is_string() && line["fields"]["message"].is_string(), "{line}");
    }
    let settings = lines[0]["fields"]["settings"].as_str().unwrap();
    assert_eq!(lines[0]["level"], "INFO");
    assert!(settings.contains("server.conn_limit = 77, ") && settings.contains("log.format = "));
}

#[test]
fn a_client_may_stop_it_where_that_is_allowed() {
    let mut program = start(&["-A"]);
    let mut stream = program.connect();
    stream.write_all(b"shutdown\r\n").unwrap();
    assert_eq!(program.ends().code(), Some(0));

    let program = start(&[]);
    let mut stream = program.connect();
    assert_eq!(ask(&mut stream, "shutdown\r\n"), "SERVER_ERROR: shutdown not enabled\r\n");
    assert_eq!(ask(&mut stream, "get a\r\n"), "END\r\n");
}

#[test]
fn a_taken_port_ends_the_start_with_the_exit_code_of_memcached() {
    let program = start(&[]);
    let port = program.connect().peer_addr().unwrap().port().to_string();
    let folder = tempfile::tempdir().unwrap();
    let output = command(folder.path(), &["-p", &port]).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(71));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("failed to listen on"), "{said}");
}

#[test]
fn an_unknown_user_ends_the_start() {
    // Only root changes users; anybody else serves as who he is.
    let id = Command::new("id").arg("-u").output().unwrap().stdout;
    if id != b"0\n" {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let status = command(folder.path(), &["-u", "no-such-user"]).status().unwrap();
    assert_eq!(status.code(), Some(67));
}

/// A failing test must not leave its daemon behind; after a good one there is nothing to end.
struct EndOnFailure(u32);

impl Drop for EndOnFailure {
    fn drop(&mut self) {
        if std::thread::panicking() {
            kill("-KILL", self.0);
        }
    }
}

#[test]
fn a_daemon_outlives_its_parent_and_removes_its_pid_file() {
    let folder = tempfile::tempdir().unwrap();
    let pid_file: PathBuf = folder.path().join("pid");
    let arguments = ["-d", "-P", pid_file.to_str().unwrap()];
    let status = command(folder.path(), &arguments).status().unwrap();
    assert_eq!(status.code(), Some(0), "the parent ends at once");
    let text = wait_for("the pid file", || fs::read_to_string(&pid_file).ok());
    let pid: u32 = text.trim().parse().unwrap();
    let _end = EndOnFailure(pid);
    let mut stream = connect(folder.path());
    assert_eq!(ask(&mut stream, "stats\r\n"), format!("STAT pid {pid}\r\n"));
    assert!(kill("-TERM", pid));
    wait_for("the daemon's end", || (!pid_file.exists()).then_some(()));
    wait_for("the process's end", || (!kill("-0", pid)).then_some(()));
}
