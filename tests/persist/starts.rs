//! Kills amid the start: nothing is lost of what was there, and of what clients do meanwhile no more than later.

use crate::observer::{BOUND, Killed, clients, fill};
use crate::program::{Program, Setup};
use crate::starvation::tasks;
use crate::{alone, kills};
use std::path::Path;
use std::time::Duration;

/// Enough that loading takes a while.
const KEYS: u64 = 40_000;
/// Clients, and keys that each of them changes.
const CLIENTS: u64 = 2;
const CHANGED: u64 = 500;

/// Keys that are missed, of those that nobody has changed, because they share a bit with one that was deleted before they were
/// back (`src/engine/departures.rs`): one is expected, of so many keys and deletes.
const MISSED_MAX: usize = 8;

fn is_loading(program: &Program) -> bool {
    !tasks(program.id(), &["persist-load"]).is_empty()
}

/// Starts a program; it has begun to load when this returns.
fn begin(data: &Path, startup: &str) -> Program {
    let program = Setup::on(data).with(startup).start();
    program.wait("loading to begin", || is_loading(&program));
    program
}

/// A directory with many items, how long it takes to load them, and what they are.
fn loaded(data: &Path) -> (Duration, Vec<Option<String>>) {
    let program = Setup::on(data).start();
    let before = fill(&mut program.connect(), 0..KEYS);
    program.stop();
    // The shortest of some: one that was held up would have kills come when loading is over.
    let times = (0..3).map(|_| {
        let program = Setup::on(data).start();
        let us = program.connect().number("persist_recovery_us");
        program.stop();
        Duration::from_micros(us)
    });
    (times.min().unwrap(), before)
}

/// Some time up to `long`, of the kill with this number.
fn some(round: u64, long: Duration) -> Duration {
    // The golden ratio's multiples lie everywhere.
    long.mul_f64(round as f64 * 0.618_034 % 1.0)
}

#[test]
fn a_stop_while_clients_wait_for_loading_is_obeyed_and_costs_nothing() {
    let _machine = alone();
    let data = tempfile::tempdir().unwrap();
    let (_, before) = loaded(data.path());
    // Now and then loading is over before the signal comes.
    let amid = (0..5).any(|_| {
        let (ended, log) = begin(data.path(), "--startup=wait").terminated();
        assert!(ended.success(), "{log}");
        log.contains("stopped before")
    });
    assert!(amid, "no signal was obeyed amid loading");
    let program = Setup::on(data.path()).start();
    assert!(program.connect().values(0..KEYS) == before);
}

#[test]
fn a_kill_while_clients_wait_for_loading_costs_nothing() {
    let _machine = alone();
    let data = tempfile::tempdir().unwrap();
    let (long, before) = loaded(data.path());
    let mut amid = 0;
    for round in 0..kills() {
        let program = begin(data.path(), "--startup=wait");
        std::thread::sleep(some(round, long));
        amid += u64::from(is_loading(&program));
        program.kill();
    }
    println!("{amid} of {} kills amid loading, which takes {long:?}", kills());
    assert!(amid * 2 >= kills(), "{amid} kills amid loading are too few to tell");
    let program = Setup::on(data.path()).start();
    assert!(program.connect().values(0..KEYS) == before);
}

#[test]
fn a_kill_while_clients_are_served_amid_loading_costs_what_it_may() {
    let _machine = alone();
    let data = tempfile::tempdir().unwrap();
    let (long, mut before) = loaded(data.path());
    let (mut worst, mut changes, mut amid) = (Duration::ZERO, 0, 0);
    for round in 0..kills() {
        let program = begin(data.path(), "--startup=serve");
        let clients = clients(&program, CLIENTS, CHANGED);
        let mut was_loading = false;
        let killed = Killed::amid(program, clients, 10 + round * 10, |program| {
            std::thread::sleep(some(round, long));
            was_loading = is_loading(program);
        });
        amid += u64::from(was_loading);
        let program = Setup::on(data.path()).start();
        let found = program.connect().values(0..KEYS);
        program.kill();
        let unchanged = (CLIENTS * CHANGED) as usize;
        let missed = (unchanged..before.len()).filter(|key| found[*key] != before[*key]);
        let missed: Vec<_> = missed.collect();
        if was_loading {
            assert_eq!(missed, [], "nobody has changed these");
        }
        for &key in &missed {
            assert_eq!(found[key], None, "k{key}");
        }
        assert!(missed.len() <= MISSED_MAX, "nobody has changed these: {missed:?}");
        missed.iter().for_each(|key| before[*key] = None);
        changes += killed.changes();
        worst = worst.max(killed.cost(&before, &found));
        before = found;
    }
    println!(
        "{changes} changes, {amid} of {} kills amid loading, which takes {long:?}: at most {worst:?} lost beyond starvation",
        kills()
    );
    assert!(amid * 2 >= kills(), "{amid} kills amid loading are too few to tell");
    assert!(changes > 20 * kills() as usize, "{changes} changes are too few to tell");
    assert!(worst <= BOUND, "{worst:?} of acknowledged changes were lost");
}
