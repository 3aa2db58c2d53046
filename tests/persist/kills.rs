//! Kills, while clients change keys.

use crate::observer::{BOUND, Killed, clients};
use crate::program::{Program, Setup};
use crate::{alone, beside_others, kills};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// Starts a program that has everything back; every other one has served before.
fn start(data: &Path, round: u64) -> Program {
    if round.is_multiple_of(2) {
        let program = Setup::on(data).with("--startup=serve").start();
        program.wait_until_loaded();
        return program;
    }
    Setup::on(data).start()
}

#[test]
fn a_kill_loses_at_most_the_last_tenth_of_a_second() {
    let _machine = alone();
    let data = tempfile::tempdir().unwrap();
    let (mut worst, mut changes) = (Duration::ZERO, 0);
    // What survived the last round is the beginning of this one's history.
    let mut before = vec![None; 2000];
    for round in 1..=kills() {
        let program = start(data.path(), round);
        assert!(program.connect().values(0..2000) == before, "the second start finds less");
        let clients = clients(&program, 4, 500);
        let killed = Killed::amid(program, clients, round * 10, |_| {
            std::thread::sleep(Duration::from_millis(150 + round * 77 % 350));
        });
        let program = Setup::on(data.path()).start();
        let found = program.connect().values(0..2000);
        changes += killed.changes();
        worst = worst.max(killed.cost(&before, &found));
        before = found;
        program.kill();
    }
    println!("{changes} changes, {} kills, at most {worst:?} lost beyond starvation", kills());
    assert!(changes > 100 * kills() as usize, "{changes} changes are too few to tell");
    assert!(worst <= BOUND, "{worst:?} of acknowledged changes were lost");
}

#[test]
fn a_durable_delete_that_is_acknowledged_is_not_undone_by_a_kill() {
    let _machine = beside_others();
    let data = tempfile::tempdir().unwrap();
    let settings = data.path().join("settings.toml");
    fs::write(&settings, "[persist]\ndurable_deletes = true\ncommit_interval = \"1s\"\n").unwrap();
    let setup = Setup::on(data.path()).with(format!("--config={}", settings.display()));
    let mut quickest = Duration::MAX;
    for round in 0..kills() {
        let program = setup.start();
        let mut client = program.connect();
        let set = format!("set key{round} 0 0 1\r\n1\r\n");
        assert_eq!(client.ask(&set).unwrap(), "STORED");
        // The first delete is answered when the disk has it, and has the set with it.
        assert_eq!(client.ask("delete other\r\n").unwrap(), "NOT_FOUND");
        let deleted = Instant::now();
        assert_eq!(client.ask(&format!("delete key{round}\r\n")).unwrap(), "DELETED");
        assert!(deleted.elapsed() < Duration::from_secs(1), "it does not wait for the interval");
        quickest = quickest.min(deleted.elapsed());
        program.kill();
        let program = setup.start();
        assert_eq!(program.connect().get(&format!("key{round}")), None, "round {round}");
        program.kill();
    }
    assert!(quickest < Duration::from_millis(500), "{quickest:?}: it waits for the interval");
}
