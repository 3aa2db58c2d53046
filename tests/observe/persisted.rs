//! The copy on disk on the page of metrics: what `stats` says, a disk that refuses, and no copy at all.

use crate::node;
use crate::support::exposition::Exposition;
use crate::support::observed::{self, connect, get};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use volt::clock::Clock;
use volt::command::context::{Context, Durability, Figures, NoControl};
use volt::command::{self, watch::Hub};
use volt::engine::{self, Engine};
use volt::http::{self, Http};
use volt::node::Node;
use volt::persist::{Disk, Faults, Operation};
use volt::stats::Registry;

/// Name, labels, figure of `stats`, and how many of that make one.
type Family = (&'static str, &'static [(&'static str, &'static str)], &'static str, f64);

/// Families that are figures of `stats`.
const FAMILIES: [Family; 16] = [
    ("volt_persist_changes_total", &[], "persist_marked", 1.0),
    ("volt_persist_records_total", &[], "persist_records", 1.0),
    ("volt_persist_written_bytes_total", &[("kind", "log")], "persist_log_bytes", 1.0),
    (
        "volt_persist_written_bytes_total",
        &[("kind", "checkpoint")],
        "persist_checkpoint_bytes",
        1.0,
    ),
    ("volt_persist_checkpoints_total", &[], "persist_checkpoints", 1.0),
    ("volt_persist_lost_changes_total", &[("kind", "store")], "persist_lost_stores", 1.0),
    ("volt_persist_lost_changes_total", &[("kind", "removal")], "persist_lost_removals", 1.0),
    ("volt_persist_errors_total", &[], "persist_errors", 1.0),
    ("volt_persist_generation", &[], "persist_generation", 1.0),
    ("volt_persist_queue_changes", &[], "persist_queue_changes", 1.0),
    ("volt_persist_sync_seconds", &[], "persist_sync_us", 1e6),
    ("volt_persist_recovered_items", &[], "persist_recovered_items", 1.0),
    ("volt_persist_recovered_bytes", &[], "persist_recovered_bytes", 1.0),
    ("volt_persist_recovery_ratio", &[], "persist_recovery_percent", 100.0),
    ("volt_persist_recovery_seconds", &[], "persist_recovery_us", 1e6),
    ("volt_persist_recovery_missing_frames", &[], "persist_recovery_missing", 1.0),
];

/// How long a page may take to be as wanted.
const DEADLINE: Duration = Duration::from_secs(20);

fn scrape(node: &Node) -> Exposition {
    Exposition::parse(&get(node.metrics_address().unwrap(), "/metrics").unwrap().1)
}

/// The state that has a 1; one has.
fn state(page: &Exposition) -> String {
    let all = page.values.iter().filter(|(series, _)| series.name == "volt_persist_state");
    let now: Vec<_> = all.filter(|(_, value)| **value == 1.0).collect();
    assert_eq!(now.len(), 1, "{now:?}");
    now[0].0.labels[0].1.clone()
}

/// Scrapes until it is as wanted.
#[track_caller]
fn wait(node: &Node, mut wanted: impl FnMut(&Exposition) -> bool) -> Exposition {
    let start = Instant::now();
    loop {
        let page = scrape(node);
        if wanted(&page) {
            return page;
        }
        assert!(start.elapsed() < DEADLINE, "{page:?}");
    }
}

#[test]
fn the_figures_of_stats_are_on_the_page_in_base_units() {
    let data = tempfile::tempdir().unwrap();
    let options = observed::options(1, Some(data.path()));
    drop({
        let node = Node::start(options.clone()).unwrap();
        node::use_it(&mut connect(&node), 1);
        node
    });
    let node = Node::start(options).unwrap();
    let mut connection = connect(&node);
    node::use_it(&mut connection, 2);
    // Nothing is under way any more, and stays so.
    wait(&node, |page| {
        page.value("volt_persist_checkpoints_total", &[]) >= 1.0
            && page.value("volt_persist_queue_changes", &[]) == 0.0
            && state(page) == "ok"
    });
    // What it makes void goes after the checkpoint, and the page is asked for before and after `stats`.
    let (page, stats) = loop {
        let (before, stats, page) = (scrape(&node), stats(&node), scrape(&node));
        let same =
            |(name, labels, ..): &Family| before.value(name, labels) == page.value(name, labels);
        if FAMILIES.iter().all(same) {
            break (page, stats);
        }
    };
    for (name, labels, figure, unit) in FAMILIES {
        let value: f64 = stats[figure].parse().unwrap();
        assert_eq!(page.value(name, labels), value / unit, "{name}");
    }
    for (name, labels) in [
        ("volt_persist_changes_total", &[][..]),
        ("volt_persist_written_bytes_total", &[("kind", "log")]),
        ("volt_persist_recovered_items", &[]),
        ("volt_persist_recovered_bytes", &[]),
        ("volt_persist_recovery_ratio", &[]),
        ("volt_persist_recovery_seconds", &[]),
        ("volt_persist_disk_bytes", &[]),
        ("volt_persist_longest_cycle_seconds", &[]),
    ] {
        assert!(page.value(name, labels) > 0.0, "{name}");
    }
    assert!(page.value("volt_persist_queue_ratio", &[]) < 0.1);
    assert!(page.value("volt_persist_lag_seconds", &[]) < 5.0);
}

fn stats(node: &Node) -> BTreeMap<String, String> {
    let mut connection = connect(node);
    connection.send(b"stats\r\n");
    let mut stats = BTreeMap::new();
    while let Some((name, value)) = connection.line().strip_prefix("STAT ").and_then(|stat| {
        let (name, value) = stat.split_once(' ')?;
        Some((name.to_owned(), value.to_owned()))
    }) {
        stats.insert(name, value);
    }
    stats
}

/// A disk that refuses when told to.
#[derive(Default)]
struct Sick(AtomicBool);

impl Faults for Sick {
    fn check(&self, _: Operation) -> io::Result<()> {
        match self.0.load(Ordering::Relaxed) {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        }
    }
}

#[test]
fn a_disk_that_refuses_is_told_with_a_lag_that_grows_until_it_is_back() {
    let data = tempfile::tempdir().unwrap();
    let mut options = observed::options(1, Some(data.path()));
    let sick = Arc::new(Sick::default());
    options.persist.as_mut().unwrap().disk = Disk::failing(Arc::clone(&sick) as _);
    let node = Node::start(options).unwrap();
    let mut connection = connect(&node);
    assert_eq!(connection.ask("set a 0 0 1\r\n1"), "STORED");
    let lag = |page: &Exposition| page.value("volt_persist_lag_seconds", &[]);
    wait(&node, |page| state(page) == "ok");
    sick.0.store(true, Ordering::Relaxed);
    assert_eq!(connection.ask("set a 0 0 1\r\n2"), "STORED");
    let page = wait(&node, |page| state(page) == "degraded" && lag(page) > 0.5);
    assert!(page.value("volt_persist_errors_total", &[]) >= 1.0);
    let later = wait(&node, |page| lag(page) > 1.0);
    assert_eq!(state(&later), "degraded");
    sick.0.store(false, Ordering::Relaxed);
    wait(&node, |page| state(page) == "ok" && lag(page) < 0.5);
}

/// A disk whose syncs take as long as it is told to hang.
#[derive(Default)]
struct Hung(AtomicBool);

impl Faults for Hung {
    fn check(&self, operation: Operation) -> io::Result<()> {
        let begun = Instant::now();
        let hangs = operation == Operation::Sync;
        // Not for ever: a test that fails has to end.
        while hangs && self.0.load(Ordering::Relaxed) && begun.elapsed() < 2 * DEADLINE {
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

#[test]
fn a_wait_for_the_disk_is_told_while_it_lasts() {
    let data = tempfile::tempdir().unwrap();
    let mut options = observed::options(1, Some(data.path()));
    let hung = Arc::new(Hung::default());
    let persist = options.persist.as_mut().unwrap();
    persist.disk = Disk::failing(Arc::clone(&hung) as _);
    persist.fsync_interval = Duration::from_millis(10);
    let node = Node::start(options).unwrap();
    hung.0.store(true, Ordering::Relaxed);
    let mut connection = connect(&node);
    let wait_s = |page: &Exposition| page.value("volt_persist_sync_seconds", &[]);
    wait(&node, |page| {
        assert_eq!(connection.ask("set a 0 0 1\r\n1"), "STORED");
        wait_s(page) > 0.5
    });
    hung.0.store(false, Ordering::Relaxed);
    wait(&node, |page| {
        assert_eq!(connection.ask("set a 0 0 1\r\n1"), "STORED");
        wait_s(page) < 0.5
    });
}

/// A copy on disk whose figures are not to be had while it hangs.
struct Stuck(AtomicBool);

impl Durability for Stuck {
    fn ticket(&self) -> u64 {
        0
    }

    fn is_durable(&self, _: u64) -> bool {
        true
    }

    fn is_loading(&self) -> bool {
        false
    }

    fn figures(&self, sink: &mut Figures<'_>) {
        while self.0.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(5));
        }
        sink("persist_state", &"ok");
    }
}

#[test]
fn a_page_that_waits_for_the_disk_holds_up_no_health_check() {
    let (clock, registry) = (Arc::new(Clock::system()), Arc::<Registry>::default());
    let engine = Engine::new(engine::Options::default(), Arc::clone(&clock), Arc::clone(&registry));
    let (hub, _distributor) = Hub::new(&command::options::Options::default());
    let options = command::options::Options::default();
    let stuck = Arc::new(Stuck(AtomicBool::new(true)));
    let context = Context::new(engine, clock, registry, options, hub, Box::new(NoControl));
    let context = Arc::new(context.with_durability(Some(Arc::clone(&stuck) as _)));
    let listen = http::Listen::parse("127.0.0.1:0").unwrap();
    let options = http::Options { listen, required: true, hot_key_names: false };
    let endpoint = Http::start(&options, &context).unwrap().unwrap();
    let address = endpoint.address();
    let scrapes: Vec<_> =
        (0..4).map(|_| std::thread::spawn(move || get(address, "/metrics").unwrap().1)).collect();
    // They are connected before this, or take their turn after it.
    std::thread::sleep(Duration::from_millis(100));
    let healthy = get(address, "/healthz");
    stuck.0.store(false, Ordering::Relaxed);
    assert_eq!(healthy.unwrap().1, "ok\n");
    for scrape in scrapes {
        assert_eq!(state(&Exposition::parse(&scrape.join().unwrap())), "ok");
    }
}

#[test]
fn without_a_data_directory_the_page_says_so_and_nothing_else() {
    let node = Node::start(observed::options(1, None)).unwrap();
    let page = scrape(&node);
    assert_eq!(state(&page), "off");
    let families: BTreeSet<_> =
        page.types.keys().filter(|name| name.starts_with("volt_persist_")).collect();
    assert_eq!(families.len(), 1, "{families:?}");
}
