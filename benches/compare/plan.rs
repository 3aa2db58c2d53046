//! What is measured: the loads, in the order of the table.

use crate::Options;
use crate::batch::{Batches, Op, Work};
use crate::measure::{Cost, Effort, Rounds, median};
use crate::memtier;
use crate::report::{CostRow, Report, TailRow, WorkersRow};
use crate::server::{Kind, Programs, Server, Setup};
use crate::steady::{self, Scene, Times};
use std::io;
use std::path::Path;
use std::time::Duration;

/// A load of the batch client with its name and goal.
const fn load(
    name: &'static str,
    goal: f64,
    op: Op,
    batch: usize,
    keys: usize,
    size: usize,
) -> (&'static str, f64, Work) {
    (name, goal, Work { op, batch, keys, size })
}

/// The loads of the batch client.
const LOADS: [(&str, f64, Work); 15] = [
    load("get of 100 keys", 5.0, Op::MultiGet, 100, 100_000, 100),
    load("get of 100 keys, 2 M keys", 4.0, Op::MultiGet, 100, 2_000_000, 100),
    load("get of 10 keys", 1.8, Op::MultiGet, 10, 100_000, 100),
    load("get x 100", 5.0, Op::Get, 100, 100_000, 100),
    load("mg k v x 100", 4.0, Op::MetaGet, 100, 100_000, 100),
    load("set x 100", 4.0, Op::Set, 100, 100_000, 100),
    load("ms, quiet, x 100", 4.0, Op::QuietMetaSet, 100, 100_000, 100),
    load("incr x 100", 3.5, Op::Incr, 100, 100_000, 100),
    load("touch x 100", 3.5, Op::Touch, 100, 100_000, 100),
    load("get, 10 KB", 1.0, Op::Get, 1, 1000, 10_000),
    load("set, 10 KB", 1.0, Op::Set, 1, 1000, 10_000),
    load("get, 100 KB", 1.0, Op::Get, 1, 500, 100_000),
    load("set, 100 KB", 1.0, Op::Set, 1, 500, 100_000),
    load("get, 1 MB", 1.0, Op::Get, 1, 100, 1_000_000),
    load("set, 1 MB", 1.0, Op::Set, 1, 100, 1_000_000),
];

/// Loads that the toy answers as a server would: with values of 100 bytes.
fn fits_toy(work: Work) -> bool {
    matches!(work.op, Op::Get | Op::MultiGet | Op::Set) && work.size == 100
}

/// Runs what the options ask for.
pub fn run(options: &Options, report: &mut Report) -> io::Result<()> {
    let (programs, effort) = (&options.programs, options.effort);
    if let Some(memtier) = &options.memtier {
        for (name, pipeline, goal) in
            [("memtier 1:10, one a packet", 1, 1.15), ("memtier 1:10, --pipeline 32", 32, 2.0)]
        {
            if options.wants(name) {
                report.costs.push(by_memtier(programs, effort, memtier, (name, pipeline, goal))?);
            }
        }
    }
    for (name, goal, work) in LOADS {
        if options.wants(name) {
            report.costs.push(by_batches(programs, effort, name, goal, work)?);
        }
    }
    tails(options, report)?;
    for (name, work) in [("get, one a packet", LOADS[3].2), ("get of 100 keys", LOADS[0].2)] {
        let work = if name.starts_with("get,") { Work { batch: 1, ..work } } else { work };
        let name = format!("two workers: {name}");
        if options.wants(&name) {
            report.workers.push(two_workers(programs, effort, &name, work)?);
        }
    }
    Ok(())
}

fn start(programs: &Programs, kinds: &[Kind], setup: Setup) -> io::Result<Vec<Server>> {
    kinds.iter().map(|&kind| Server::start(programs, kind, setup, false)).collect()
}

fn by_batches(
    programs: &Programs,
    effort: Effort,
    name: &str,
    goal: f64,
    work: Work,
) -> io::Result<CostRow> {
    eprintln!("{name} ...");
    let kinds = [Kind::Memcached, Kind::Volt, Kind::Toy];
    let kinds = if fits_toy(work) { &kinds[..] } else { &kinds[..2] };
    let servers = start(programs, kinds, Setup::default())?;
    let batches = Batches::new(work);
    for server in &servers {
        batches.fill(server.address)?;
    }
    let rounds =
        Rounds::run(&servers, effort.rounds, |server| batches.run(server.address, 1, effort.turn))?;
    Ok(cost_row(name, goal, &rounds, kinds.len() > 2))
}

fn by_memtier(
    programs: &Programs,
    effort: Effort,
    program: &Path,
    (name, pipeline, goal): (&str, usize, f64),
) -> io::Result<CostRow> {
    eprintln!("{name} ...");
    let servers = start(programs, &[Kind::Memcached, Kind::Volt, Kind::Toy], Setup::default())?;
    for server in &servers {
        memtier::fill(server.address)?;
    }
    let seconds = effort.turn.as_secs().max(1);
    let rounds = Rounds::run(&servers, effort.rounds, |server| {
        memtier::run(program, server.address, pipeline, seconds)
    })?;
    Ok(cost_row(name, goal, &rounds, true))
}

fn cost_row(name: &str, goal: f64, rounds: &Rounds, toy: bool) -> CostRow {
    CostRow {
        name: name.to_owned(),
        goal,
        memcached: rounds.cost(0),
        volt: rounds.cost(1),
        toy_us: toy.then(|| rounds.cost(2).total_us()),
        ratio: rounds.ratio(0, 1, Cost::total_us),
    }
}

/// The scenes of the fixed-rate client: name, what is done, `-m` in MiB, keys that are there beforehand.
const SCENES: [(&str, Scene, usize, usize); 4] = [
    ("steady", Scene::Steady, 1024, steady::KEYS),
    ("the table grows", Scene::New, 1024, steady::KEYS),
    ("eviction, -m 64", Scene::New, 64, 600_000),
    ("expiry after 2 s", Scene::ShortLived, 1024, steady::KEYS),
];

fn tails(options: &Options, report: &mut Report) -> io::Result<()> {
    let (programs, effort) = (&options.programs, options.effort);
    let mut rate = None;
    for (name, scene, memory_mib, keys) in SCENES {
        let name = format!("half the peak: {name}");
        if !options.wants(&name) {
            continue;
        }
        let rate = match rate {
            Some(rate) => rate,
            None => *rate.insert(half_the_peak(programs, effort)?),
        };
        eprintln!("{name} ...");
        let kinds = [Kind::Memcached, Kind::Volt];
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..effort.rounds {
            for (kind, times) in kinds.iter().zip(&mut times) {
                // A server of its own for every turn: tables grow once.
                let setup = Setup { memory_mib, ..Setup::default() };
                let server = Server::start(programs, *kind, setup, false)?;
                crate::batch::fill(server.address, (0..keys).map(steady::key), &"x".repeat(100))?;
                times.push(steady::run(server.address, scene, rate, effort.turn * 4, keys)?);
            }
        }
        let [memcached, volt] = times.map(|times| medians(&times));
        report.tails.push(TailRow { name, rate, memcached, volt });
    }
    Ok(())
}

/// Half of what memcached answers at most, one request a packet.
fn half_the_peak(programs: &Programs, effort: Effort) -> io::Result<f64> {
    let servers = start(programs, &[Kind::Memcached], Setup::default())?;
    let batches = Batches::new(Work { batch: 1, ..LOADS[3].2 });
    batches.fill(servers[0].address)?;
    let rounds =
        Rounds::run(&servers, effort.rounds, |server| batches.run(server.address, 1, effort.turn))?;
    Ok(rounds.cost(0).rate / 2.0)
}

fn medians(times: &[Times]) -> Times {
    let of = |part: fn(&Times) -> f64| median(times.iter().map(part).collect());
    Times { median: of(|t| t.median), p99: of(|t| t.p99), p999: of(|t| t.p999), max: of(|t| t.max) }
}

fn two_workers(
    programs: &Programs,
    effort: Effort,
    name: &str,
    work: Work,
) -> io::Result<WorkersRow> {
    eprintln!("{name} ...");
    let batches = Batches::new(work);
    let mut gains = Vec::new();
    for kind in [Kind::Memcached, Kind::Volt, Kind::Toy] {
        let servers = [1, 2]
            .into_iter()
            .map(|threads| {
                Server::start(programs, kind, Setup { threads, ..Setup::default() }, true)
            })
            .collect::<io::Result<Vec<_>>>()?;
        for server in &servers {
            batches.fill(server.address)?;
        }
        // The clients may run on every processor, too: each worker's would else be the limit.
        let cores = [programs.client_cores.as_slice(), programs.server_cores.as_slice()].concat();
        crate::sys::pin(&cores)?;
        let rounds = Rounds::run(&servers, effort.rounds, |server| {
            batches.run(server.address, 2, effort.turn.max(Duration::from_millis(500)))
        });
        crate::sys::pin(&programs.client_cores)?;
        gains.push(rounds?.ratio(1, 0, |cost| cost.rate));
    }
    Ok(WorkersRow { name: name.to_owned(), memcached: gains[0], volt: gains[1], toy: gains[2] })
}
