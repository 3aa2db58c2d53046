//! Whole conversations without sockets: bytes in, bytes out, nanoseconds a key.
//!
//! `cargo bench --bench command`. What a worker does between its read and its write, with batches of 100 keys of 16 bytes
//! in random order and values of 100 bytes (a number for incr). Beside the loads the parser and the table's share of them are
//! in `protocol` and `engine`; what is beyond this in a server's time is the kernel's.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::sync::Arc;
use volt::clock::Clock;
use volt::command::context::NoControl;
use volt::command::options::Options;
use volt::command::watch::Hub;
use volt::command::{Context, Conversation, Next, Output, Worker};
use volt::engine::{self, Engine};
use volt::stats::Registry;

/// The server's own allocator.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static HEAP: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Keys in a batch.
const BATCH: usize = 100;
/// Bytes of all batches of a load together, about.
const PREPARED_BYTES: usize = 32 << 20;

const VALUE: &str = "vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv";

/// What is sent for one key, and by what the batch begins and ends.
struct Load {
    name: &'static str,
    begin: &'static str,
    line: fn(&str) -> String,
    end: &'static str,
    /// Keys in the cache.
    counts: &'static [usize],
}

/// A load whose requests are for one key each.
const fn one_by_one(name: &'static str, line: fn(&str) -> String) -> Load {
    Load { name, begin: "", line, end: "", counts: &[1000, 100_000] }
}

const LOADS: [Load; 6] = [
    one_by_one("get", |key| format!("get {key}\r\n")),
    Load {
        name: "get of 100 keys",
        begin: "get",
        line: |key| format!(" {key}"),
        end: "\r\n",
        counts: &[1000, 100_000, 2_000_000],
    },
    one_by_one("mg", |key| format!("mg {key} v\r\n")),
    one_by_one("set", |key| format!("set {key} 0 0 {}\r\n{VALUE}\r\n", VALUE.len())),
    Load {
        end: "mn\r\n",
        ..one_by_one("ms, quiet", |key| format!("ms {key} {} q\r\n{VALUE}\r\n", VALUE.len()))
    },
    one_by_one("incr", |key| format!("incr {key} 1\r\n")),
];

/// A worker with an engine and a clock of its own.
fn worker() -> Worker {
    let clock = Arc::new(Clock::system());
    let registry = Arc::new(Registry::default());
    let options = engine::Options { memory_limit: 4 << 30, ..engine::Options::default() };
    let engine = Engine::new(options, Arc::clone(&clock), Arc::clone(&registry));
    let options = Options::default();
    let (watch, _) = Hub::new(&options);
    let context = Context::new(engine, clock, registry, options, watch, Box::new(NoControl));
    Worker::new(Arc::new(context))
}

fn key(number: usize) -> String {
    format!("key-{number:012}")
}

/// A client whose replies go nowhere.
struct Client<'w> {
    worker: &'w Worker,
    conversation: Conversation,
    output: Output,
}

impl<'w> Client<'w> {
    fn new(worker: &'w Worker) -> Self {
        Self { worker, conversation: Conversation::new(worker, 0), output: Output::new() }
    }

    /// Sends what is to be answered at once; bytes of the answer.
    fn send(&mut self, mut input: &[u8]) -> usize {
        let mut answered = 0;
        loop {
            let progress = self.conversation.advance(self.worker, input, &mut self.output);
            input = &input[progress.consumed..];
            match progress.next {
                Next::Read => break,
                Next::Write | Next::Yield => {}
                _ => panic!("no other answer to these requests"),
            }
            answered += self.take();
        }
        assert!(input.is_empty(), "all requests are whole");
        answered + self.take()
    }

    fn take(&mut self) -> usize {
        let answered = self.output.len();
        black_box(self.output.parts());
        self.output.clear();
        answered
    }
}

/// A filled cache, and batches that ask for each key some times, or for many of them.
fn prepare(load: &Load, count: usize) -> (Worker, Vec<Vec<u8>>) {
    let worker = worker();
    let value = if load.name == "incr" { "1000000" } else { VALUE };
    // xorshift64 (Marsaglia 2003): keys in an order that no prefetcher guesses.
    let mut state = 88_172_645_463_325_252_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        key(state as usize % count)
    };
    // Stored in an order of their own, too: neighbours in the table are none in memory.
    let mut client = Client::new(&worker);
    let store = |key: &str| format!("set {key} 0 0 {} noreply\r\n{value}\r\n", value.len());
    for number in 0..count {
        client.send(store(&next()).as_bytes());
        client.send(store(&key(number)).as_bytes());
    }
    let mut batch = || {
        let lines: String = (0..BATCH).map(|_| (load.line)(&next())).collect();
        [load.begin, &lines, load.end].concat().into_bytes()
    };
    let first = batch();
    let batches = PREPARED_BYTES / first.len();
    let batches = std::iter::once(first).chain((1..batches).map(|_| batch())).collect();
    (worker, batches)
}

fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("conversation");
    group.throughput(Throughput::Elements(BATCH as u64)).sample_size(30);
    for load in &LOADS {
        for &count in load.counts {
            let (worker, batches) = prepare(load, count);
            let mut client = Client::new(&worker);
            let mut batches = batches.iter().cycle();
            group.bench_function(BenchmarkId::new(load.name, count), |b| {
                b.iter(|| client.send(batches.next().expect("endless")));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
