//! Disks that fill up or break while clients change keys, and come back.

use crate::client::Client;
use crate::observer::{change_meanwhile, clients, fill};
use crate::program::{Program, Setup};
use crate::{alone, beside_others};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const KEYS: u64 = 2000;
/// Clients, each with keys of its own.
const CLIENTS: u64 = 4;
/// From the first failure until `stats` says so, at most; and from the end of the trouble until everything is written again.
const NOTICED: Duration = Duration::from_secs(2);
const HEALED: Duration = Duration::from_secs(10);
/// A client's longest wait: far less than a failing disk would cost it, and more than a busy machine does.
const ANSWERED: Duration = Duration::from_millis(500);

/// Has a disk fail amid changes, and come back. Nobody but `stats` notices, and when it is back nothing is lost by a stop or
/// a kill.
fn fails_and_heals(data: &Path, setup: &Setup, fail: impl FnOnce(), mend: impl FnOnce()) {
    let program = setup.start();
    let mut before = fill(&mut program.connect(), 0..KEYS);
    let ((noticed, healed), changed) =
        change_meanwhile(clients(&program, CLIENTS, KEYS / CLIENTS), 7, || {
            let mut client = program.connect();
            assert_eq!(client.stat("persist_state").unwrap(), "ok");
            fail();
            let failed = Instant::now();
            wait_for(&program, &mut client, "degraded");
            let noticed = failed.elapsed();
            // Clients go on for a while without a disk.
            program.wait("retries", || client.number("persist_errors") > 2);
            mend();
            let mended = Instant::now();
            wait_for(&program, &mut client, "ok");
            let done = client.number("persist_checkpoints");
            program
                .wait("everything to be written", || client.number("persist_checkpoints") > done);
            (noticed, mended.elapsed())
        });
    let slowest = changed.slowest;
    println!(
        "noticed after {noticed:?}, healed after {healed:?}, a client waited {slowest:?} at most"
    );
    assert!(noticed <= NOTICED && healed <= HEALED && slowest <= ANSWERED);
    changed.apply(&mut before);
    // Longer than a kill may cost.
    std::thread::sleep(Duration::from_millis(200));
    program.kill();
    let program = Setup::on(data).start();
    assert!(program.connect().values(0..KEYS) == before, "after the kill");
    program.stop();
    let program = Setup::on(data).start();
    assert!(program.connect().values(0..KEYS) == before, "after the stop");
}

fn wait_for(program: &Program, client: &mut Client, state: &str) {
    program.wait(state, || client.stat("persist_state").unwrap() == state);
}

/// Compiles the library that makes the disk break.
fn compiled(folder: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/persist/broken_disk.c");
    let library = folder.join("broken_disk.so");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).arg("-ldl");
    assert!(compiler.status().unwrap().success());
    library
}

#[test]
fn a_disk_that_breaks_and_comes_back_costs_no_client_anything() {
    let _machine = alone();
    let (folder, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let switch = folder.path().join("switch");
    let setup = Setup::on(data.path())
        .env("LD_PRELOAD", compiled(folder.path()))
        .env("BROKEN_DISK_BELOW", data.path())
        .env("BROKEN_DISK_SWITCH", &switch);
    let fail = || fs::write(&switch, "").unwrap();
    fails_and_heals(data.path(), &setup, fail, || fs::remove_file(&switch).unwrap());
}

/// A small disk in memory.
struct Mount(TempDir);

impl Mount {
    fn new(size: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(folder.path());
        assert!(mount.status().unwrap().success(), "only root may mount");
        Self(folder)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Whoever still uses it keeps it until then.
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

/// Takes all the space there is.
fn fill_up(ballast: &Path) {
    let mut file = File::create(ballast).unwrap();
    let failed = loop {
        if let Err(error) = file.write_all(&[1; 4096]) {
            break error;
        }
    };
    assert_eq!(failed.kind(), std::io::ErrorKind::StorageFull);
}

#[test]
#[ignore = "root alone may mount a disk"]
fn a_disk_that_is_full_and_is_cleared_costs_no_client_anything() {
    let _machine = beside_others();
    let disk = Mount::new("64m");
    let (data, ballast) = (disk.0.path().join("data"), disk.0.path().join("ballast"));
    let setup = Setup::on(&data);
    let mend = || fs::remove_file(&ballast).unwrap();
    fails_and_heals(&data, &setup, || fill_up(&ballast), mend);
}
