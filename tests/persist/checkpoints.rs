//! Kills amid checkpoints, which write the table again and have what was written before go.

use crate::client::Client;
use crate::observer::{BOUND, Killed, clients, fill};
use crate::program::{Program, Setup};
use crate::{alone, kills};
use std::time::Duration;

/// Enough that the table is walked in several parts.
const KEYS: u64 = 20_000;
/// Clients, and keys that each of them changes.
const CLIENTS: u64 = 4;
const CHANGED: u64 = 500;

/// How far checkpoints are: bytes that they have written, and how many have gone over the whole table.
fn progress(client: &mut Client) -> (u64, u64) {
    let stats = client.stats();
    let number = |name: &str| stats[name].parse().unwrap();
    (number("persist_checkpoint_bytes"), number("persist_checkpoints"))
}

/// Waits until a walk has gone on for `steps` looks; whether it is that of the first checkpoint since the start.
fn amid_walk(program: &Program, steps: u64) -> bool {
    let mut client = program.connect();
    let mut seen = 0;
    let (mut bytes, mut checkpoints) = progress(&mut client);
    program.wait("a walk", || {
        let now = progress(&mut client);
        seen += u64::from(now.0 > bytes);
        (bytes, checkpoints) = now;
        seen > steps
    });
    checkpoints == 0
}

#[test]
fn a_kill_amid_a_checkpoint_costs_what_it_may() {
    let _machine = alone();
    let data = tempfile::tempdir().unwrap();
    let program = Setup::on(data.path()).start();
    let mut before = fill(&mut program.connect(), 0..KEYS);
    program.stop();
    let (mut worst, mut changes, mut first) = (Duration::ZERO, 0, 0);
    for round in 0..kills() {
        let program = Setup::on(data.path()).start();
        let clients = clients(&program, CLIENTS, CHANGED);
        let killed = Killed::amid(program, clients, 10 + round * 10, |program| {
            first += u64::from(amid_walk(program, round * 7 % 40));
        });
        let program = Setup::on(data.path()).start();
        let found = program.connect().values(0..KEYS);
        program.kill();
        changes += killed.changes();
        worst = worst.max(killed.cost(&before, &found));
        before = found;
    }
    println!(
        "{changes} changes, {} kills amid a checkpoint, {first} of them the first: at most {worst:?} lost beyond starvation",
        kills()
    );
    assert!(worst <= BOUND, "{worst:?} of acknowledged changes were lost");
}
