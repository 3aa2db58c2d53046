//! Persistence from outside: the program is killed while clients write, and started again.
//!
//! An observer in this process, which no kill touches, notes what was acknowledged and when. After a kill, what
//! is served is compared with the notes: whatever was acknowledged longer ago than the bound has to be there, or
//! something newer; what was deleted must not be; nothing else may appear.
//!
//! `VOLT_PERSIST_KILLS` sets the number of kills; a few without it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const DEADLINE: Duration = Duration::from_secs(20);

/// What a kill may lose.
const BOUND: Duration = Duration::from_millis(100);
/// A client's rest between two changes, so that all of them leave the log some of two processors.
const PACE: Duration = Duration::from_micros(250);
/// How the names of the threads begin that bring changes to disk, Volt's and sled's.
const WRITERS: [&str; 3] = ["volt-persist-", "sled-io-", "log flusher"];

/// The machine is for one test alone, or shared by several.
static MACHINE: RwLock<()> = RwLock::new(());

fn alone() -> RwLockWriteGuard<'static, ()> {
    MACHINE.write().unwrap_or_else(PoisonError::into_inner)
}

fn beside_others() -> RwLockReadGuard<'static, ()> {
    MACHINE.read().unwrap_or_else(PoisonError::into_inner)
}

/// A running program; killed when the test ends.
struct Program {
    child: Child,
    ports: TempDir,
}

fn command(data: &Path, ports: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_volt"));
    command
        .args(["-u", "root", "-l", "127.0.0.1", "-p", "-1", "-m", "64", "-t", "2", "-A"])
        .args(arguments)
        .arg(format!("--data-dir={}", data.display()))
        .env("MEMCACHED_PORT_FILENAME", ports.join("ports"))
        .env("VOLT__METRICS__LISTEN", "off")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

impl Program {
    fn start(data: &Path) -> Self {
        Self::start_with(data, &[])
    }

    fn start_with(data: &Path, arguments: &[&str]) -> Self {
        let ports = tempfile::tempdir().unwrap();
        let child = command(data, ports.path(), arguments).stderr(Stdio::null()).spawn().unwrap();
        Self { child, ports }
    }

    /// Serves at once, and returns when everything is back all the same.
    fn start_serving(data: &Path) -> Self {
        let program = Self::start_with(data, &["--startup=serve"]);
        let mut client = program.connect();
        let begun = Instant::now();
        while client.stat("persist_state").unwrap() != "ok" {
            assert!(begun.elapsed() < DEADLINE, "loading takes too long");
        }
        program
    }

    fn connect(&self) -> Client {
        let begun = Instant::now();
        let text = loop {
            match fs::read_to_string(self.ports.path().join("ports")) {
                Ok(text) => break text,
                Err(_) => std::thread::sleep(Duration::from_millis(2)),
            }
            assert!(begun.elapsed() < DEADLINE, "no port file");
        };
        let port = text.trim().strip_prefix("TCP INET: ").unwrap().parse().unwrap();
        Client::new(TcpStream::connect(("127.0.0.1", port)).unwrap())
    }

    /// The one process that this test has started is killed; nobody tidies up.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn stop(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    fn send(&mut self, request: &[u8]) -> Option<()> {
        self.stream.get_mut().write_all(request).ok()
    }

    /// A line, or `None` when the server has gone.
    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line).ok().filter(|read| *read > 0)?;
        line.ends_with("\r\n").then(|| line.trim_end().to_owned())
    }

    fn ask(&mut self, request: &str) -> Option<String> {
        self.send(request.as_bytes())?;
        self.line()
    }

    fn get(&mut self, key: &str) -> Option<String> {
        let header = self.ask(&format!("get {key}\r\n")).unwrap();
        if header == "END" {
            return None;
        }
        let len: usize = header.rsplit(' ').next().unwrap().parse().unwrap();
        let mut value = vec![0; len + 2];
        self.stream.read_exact(&mut value).unwrap();
        assert_eq!(self.line().unwrap(), "END");
        value.truncate(len);
        Some(String::from_utf8(value).unwrap())
    }

    fn stat(&mut self, name: &str) -> Option<String> {
        self.send(b"stats\r\n").unwrap();
        let mut found = None;
        loop {
            let line = self.line().unwrap();
            if line == "END" {
                return found;
            }
            let mut words = line.split(' ').skip(1);
            if words.next() == Some(name) {
                found = words.next().map(str::to_owned);
            }
        }
    }
}

/// What was done to a key, in order: the value, or `None` for a delete; and when that was acknowledged, if it was.
type History = Vec<(Option<String>, Option<Instant>)>;

/// A value that says which key and change it belongs to, of some length.
fn value(key: u64, change: u64) -> String {
    let mark = format!("{key}:{change};");
    mark.repeat(1 + (change as usize % 7) * 40)
}

/// Changes keys until the server has gone.
fn write(mut client: Client, keys: std::ops::Range<u64>, seed: u64) -> HashMap<u64, History> {
    let mut histories: HashMap<u64, History> = HashMap::new();
    let mut random = seed;
    for change in seed * 1_000_000.. {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let key = keys.start + (random >> 33) % (keys.end - keys.start);
        let history = histories.entry(key).or_default();
        let (request, new) = match (random >> 50) % 6 {
            0 => (format!("delete k{key}\r\n"), None),
            _ => {
                let value = value(key, change);
                (format!("set k{key} 0 0 {}\r\n{value}\r\n", value.len()), Some(value))
            }
        };
        history.push((new, None));
        if client.ask(&request).is_none() {
            return histories;
        }
        history.last_mut().unwrap().1 = Some(Instant::now());
        std::thread::sleep(PACE);
    }
    histories
}

/// Checks one key after a kill; how long before the kill the oldest acknowledged change was that is lost.
fn loss(history: &History, found: Option<&String>, killed: Instant) -> Duration {
    // The newest change that what is served may come from; before the first one there was nothing.
    let at = history.iter().rposition(|(value, _)| value.as_ref() == found);
    let first_lost = match at {
        Some(at) => at + 1,
        None if found.is_none() => 0,
        None => panic!("a value that was never written: {found:?}"),
    };
    let lost = history[first_lost..].iter().find_map(|(_, acknowledged)| *acknowledged);
    lost.map_or(Duration::ZERO, |acknowledged| killed.duration_since(acknowledged))
}

/// For how long, up to each of these times, one or another of the threads that bring changes to disk was ready to run and was
/// not run: processors that others use are no fault of the log's.
type Withheld = Vec<(Instant, Duration)>;

/// Watches those threads until they are gone.
fn watch_writers(process: u32) -> Withheld {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let writes = |path: &PathBuf| {
        let name = fs::read_to_string(path.join("comm")).unwrap_or_default();
        WRITERS.iter().any(|writer| name.starts_with(writer))
    };
    let tasks: Vec<_> = tasks.map(|task| task.unwrap().path()).filter(writes).collect();
    assert!(!tasks.is_empty(), "nobody writes");
    let look = || tasks.iter().map(|task| Scheduled::read(task)).collect::<Vec<_>>();
    let (mut before, mut withheld) = (look(), vec![(Instant::now(), Duration::ZERO)]);
    loop {
        std::thread::sleep(Duration::from_millis(1));
        let now = look();
        if now.iter().all(Option::is_none) {
            return withheld;
        }
        let (last, sum) = withheld[withheld.len() - 1];
        let passed = last.elapsed();
        let kept = before.iter().zip(&now).map(|(before, now)| match (before, now) {
            (Some(before), Some(now)) if before.ready => {
                passed.saturating_sub(now.ran.saturating_sub(before.ran))
            }
            (Some(before), Some(now)) => now.waited.saturating_sub(before.waited).min(passed),
            _ => Duration::ZERO,
        });
        withheld.push((last + passed, sum + kept.max().unwrap_or_default()));
        before = now;
    }
}

/// How much of it lies after `from`.
fn withheld_since(withheld: &Withheld, from: Instant) -> Duration {
    let (_, all) = withheld[withheld.len() - 1];
    let before = withheld.iter().rev().find(|(at, _)| *at <= from);
    all - before.map_or(Duration::ZERO, |(_, sum)| *sum)
}

/// What the system says of a thread (proc(5), `schedstat` and `stat`).
#[derive(Clone, Copy)]
struct Scheduled {
    /// On a processor, in all.
    ran: Duration,
    /// Ready without one, in all, the present wait apart.
    waited: Duration,
    /// It runs, or is ready to.
    ready: bool,
}

impl Scheduled {
    fn read(task: &Path) -> Option<Self> {
        let text = fs::read_to_string(task.join("schedstat")).ok()?;
        let mut times = text.split(' ').map(|time| Some(Duration::from_nanos(time.parse().ok()?)));
        let (ran, waited) = (times.next()??, times.next()??);
        let stat = fs::read_to_string(task.join("stat")).ok()?;
        let (_, rest) = stat.rsplit_once(") ")?;
        Some(Self { ran, waited, ready: rest.starts_with('R') })
            .filter(|_| !rest.starts_with(['Z', 'X']))
    }
}

fn kills() -> u64 {
    std::env::var("VOLT_PERSIST_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(4)
}

#[test]
fn a_kill_loses_at_most_the_last_tenth_of_a_second() {
    let _machine = alone();
    let data = tempfile::tempdir().unwrap();
    let mut worst = Duration::ZERO;
    let mut changes = 0;
    for round in 1..=kills() {
        let start = if round % 2 == 0 { Program::start_serving } else { Program::start };
        let program = start(data.path());
        let mut client = program.connect();
        // What survived the last round is the beginning of this one's history.
        let ranges: Vec<_> = (0..4).map(|part| part * 500..(part + 1) * 500).collect();
        let before: Vec<_> = (0..2000).map(|key| client.get(&format!("k{key}"))).collect();
        let (killed, histories, withheld) = std::thread::scope(|scope| {
            let process = program.child.id();
            let withheld = scope.spawn(move || watch_writers(process));
            let writers: Vec<_> = ranges
                .iter()
                .enumerate()
                .map(|(part, keys)| {
                    let client = program.connect();
                    scope.spawn(move || write(client, keys.clone(), round * 10 + part as u64))
                })
                .collect();
            std::thread::sleep(Duration::from_millis(150 + round * 77 % 350));
            let killed = Instant::now();
            program.kill();
            let histories: Vec<_> =
                writers.into_iter().map(|writer| writer.join().unwrap()).collect();
            (killed, histories, withheld.join().unwrap())
        });
        let program = Program::start(data.path());
        let mut client = program.connect();
        for (key, changed) in histories.into_iter().flatten() {
            let mut history = vec![(before[key as usize].clone(), None)];
            changes += changed.len();
            history.extend(changed);
            let found = client.get(&format!("k{key}"));
            let lost = loss(&history, found.as_ref(), killed);
            worst = worst.max(lost.saturating_sub(withheld_since(&withheld, killed - lost)));
        }
        program.kill();
    }
    println!("{changes} changes, {} kills, at most {worst:?} lost beyond starvation", kills());
    assert!(changes > 100 * kills() as usize, "{changes} changes are too few to tell");
    assert!(worst <= BOUND, "{worst:?} of acknowledged changes were lost");
}

#[test]
fn a_kill_during_the_start_costs_nothing() {
    let _machine = beside_others();
    let data = tempfile::tempdir().unwrap();
    let program = Program::start(data.path());
    let mut client = program.connect();
    for key in 0..2000 {
        let value = value(key, 1);
        let reply = client.ask(&format!("set k{key} 0 0 {}\r\n{value}\r\n", value.len()));
        assert_eq!(reply.unwrap(), "STORED");
    }
    program.stop();
    for round in 0..kills() * 2 {
        let startup = if round % 2 == 0 { "--startup=wait" } else { "--startup=serve" };
        let program = Program::start_with(data.path(), &[startup]);
        std::thread::sleep(Duration::from_millis(round * 7 % 60));
        program.kill();
    }
    let program = Program::start(data.path());
    let mut client = program.connect();
    for key in 0..2000 {
        assert_eq!(client.get(&format!("k{key}")), Some(value(key, 1)), "k{key}");
    }
}

#[test]
fn a_stop_loses_nothing_and_a_flush_stays() {
    let _machine = beside_others();
    let data = tempfile::tempdir().unwrap();
    let program = Program::start(data.path());
    let mut client = program.connect();
    assert_eq!(client.ask("set before 0 0 1\r\n1\r\n").unwrap(), "STORED");
    assert_eq!(client.ask("flush_all\r\n").unwrap(), "OK");
    assert_eq!(client.ask("set after 5 0 1\r\n2\r\n").unwrap(), "STORED");
    assert_eq!(client.stat("persist_state").unwrap(), "ok");
    program.stop();
    let program = Program::start(data.path());
    let mut client = program.connect();
    assert_eq!(client.get("before"), None);
    assert_eq!(client.get("after").unwrap(), "2");
    assert_eq!(client.ask("flush_all\r\n").unwrap(), "OK");
    program.kill();
    let program = Program::start(data.path());
    assert_eq!(program.connect().get("after"), None, "the flush was on disk before its OK");
    program.stop();
}

#[test]
fn a_durable_delete_that_is_acknowledged_is_not_undone_by_a_kill() {
    let _machine = beside_others();
    let data = tempfile::tempdir().unwrap();
    let settings = data.path().join("settings.toml");
    fs::write(&settings, "[persist]\ndurable_deletes = true\ncommit_interval = \"1s\"\n").unwrap();
    let config = format!("--config={}", settings.display());
    for round in 0..kills() {
        let program = Program::start_with(data.path(), &[&config]);
        let mut client = program.connect();
        let set = format!("set key{round} 0 0 1\r\n1\r\n");
        assert_eq!(client.ask(&set).unwrap(), "STORED");
        // The first delete is answered when the disk has it, and has the set with it.
        assert_eq!(client.ask("delete other\r\n").unwrap(), "NOT_FOUND");
        let deleted = Instant::now();
        assert_eq!(client.ask(&format!("delete key{round}\r\n")).unwrap(), "DELETED");
        assert!(deleted.elapsed() < Duration::from_secs(1), "it does not wait for the interval");
        program.kill();
        let program = Program::start_with(data.path(), &[&config]);
        assert_eq!(program.connect().get(&format!("key{round}")), None, "round {round}");
        program.kill();
    }
}

#[test]
fn a_second_volt_on_the_same_directory_is_told_so() {
    let _machine = beside_others();
    let data = tempfile::tempdir().unwrap();
    let first = Program::start(data.path());
    first.connect();
    let ports = tempfile::tempdir().unwrap();
    let Output { status, stderr, .. } = command(data.path(), ports.path(), &[]).output().unwrap();
    assert_eq!(status.code(), Some(71));
    let said = String::from_utf8(stderr).unwrap();
    assert!(said.contains("is in use by another Volt"), "{said}");
}

/// Runs a tool on a directory; its exit code and what it printed.
fn tool(name: &str, directory: &Path, input: &[u8]) -> (Option<i32>, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_volt"))
        .arg(name)
        .arg(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let said = [stdout, stderr].concat();
    (status.code(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn a_directory_can_be_inspected_exported_and_imported() {
    let _machine = beside_others();
    let data = tempfile::tempdir().unwrap();
    let program = Program::start(data.path());
    let mut client = program.connect();
    assert_eq!(client.ask("set plain 7 0 5\r\nvalue\r\n").unwrap(), "STORED");
    assert_eq!(client.ask("ms AP8gCg== 3 b F2\r\n1\r\n\r\n").unwrap(), "HD");
    assert_eq!(client.ask("set short 0 1000 1\r\n1\r\n").unwrap(), "STORED");
    assert_eq!(client.ask("set deleted 0 0 1\r\n1\r\n").unwrap(), "STORED");
    assert_eq!(client.ask("delete deleted\r\n").unwrap(), "DELETED");
    program.stop();

    let (code, report) = tool("inspect", data.path(), b"");
    assert_eq!(code, Some(0), "{report}");
    for line in ["items            3 (", "stopped cleanly  yes", "damage           none"] {
        assert!(report.contains(line), "{report}");
    }
    let (code, dump) = tool("export", data.path(), b"");
    assert_eq!(code, Some(0), "{dump}");
    assert!(dump.contains("set plain 7 0 5\r\nvalue\r\n"), "{dump}");
    assert!(dump.contains("ms AP8gCg== 3 b F2 T0\r\n1\r\n\r\n"), "{dump}");

    let other = tempfile::tempdir().unwrap();
    let (code, said) = tool("import", other.path(), dump.as_bytes());
    assert_eq!((code, &*said), (Some(0), "3 items stored\n"));
    let program = Program::start(other.path());
    let mut client = program.connect();
    assert_eq!(client.get("plain").unwrap(), "value");
    assert_eq!(client.ask("mg AP8gCg== b f t\r\n").unwrap(), "HD f2 t-1");
    let ttl = client.ask("mg short t\r\n").unwrap();
    let seconds: u32 = ttl.strip_prefix("HD t").unwrap().parse().unwrap();
    assert!((900..=1000).contains(&seconds), "{ttl}");
    program.stop();

    let (code, said) = tool("import", other.path(), &dump.as_bytes()[..dump.len() - 3]);
    assert_eq!(code, Some(1));
    assert!(said.contains("ends amid an item"), "{said}");
    assert_eq!(tool("inspect", &data.path().join("none"), b"").0, Some(1));
    let entries = fs::read_dir(data.path()).unwrap().flatten().map(|entry| entry.path());
    for generation in entries.filter(|path| path.join("db").exists()) {
        // The newest frames are in both.
        fs::write(generation.join("db"), b"").unwrap();
        fs::write(generation.join("tail"), b"").unwrap();
    }
    let (code, report) = tool("inspect", data.path(), b"");
    assert_eq!(code, Some(1), "{report}");
    assert!(report.contains("missing or damaged"), "{report}");
}
