//! The engine without protocol and sockets: nanoseconds an operation, by number of keys.
//!
//! `cargo bench --bench engine`. Keys of 16 bytes in random order, values of 100 bytes, one thread; a session is renewed every
//! 64 operations, as the server does. Ratios within one run mean something, absolute times only on one machine. What a full cache
//! costs is in `evict`.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::sync::Arc;
use volt::clock::Clock;
use volt::engine::{Arith, Engine, Handle, Options, StoreHow, StoreMode};
use volt::stats::Registry;

/// Operations under one pin.
const BATCH: usize = 64;
const VALUE: [u8; 100] = [b'v'; 100];

/// Keys in an order that no prefetcher guesses.
fn keys(count: usize) -> Vec<[u8; 16]> {
    let mut state = 88_172_645_463_325_252_u64;
    let mut keys: Vec<[u8; 16]> = (0..count)
        .map(|i| format!("key-{i:012}").into_bytes().try_into().expect("16 bytes"))
        .collect();
    for i in (1..count).rev() {
        // xorshift64 (Marsaglia 2003) and Fisher-Yates.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        keys.swap(i, state as usize % (i + 1));
    }
    keys
}

fn filled(keys: &[[u8; 16]], value: &[u8]) -> Handle {
    let options = Options { memory_limit: 4 << 30, ..Options::default() };
    let engine = Engine::new(options, Arc::new(Clock::system()), Arc::new(Registry::default()));
    let handle = engine.handle();
    for chunk in keys.chunks(BATCH) {
        let session = handle.pin();
        for key in chunk {
            set(&session, key, value);
        }
    }
    handle
}

fn set(session: &volt::engine::Session<'_>, key: &[u8], value: &[u8]) {
    let mut draft = session.draft(session.key(key), value.len(), 0, 0).expect("room");
    draft.fill(value);
    black_box(session.store(draft, StoreHow::plain(StoreMode::Set)));
}

fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("engine");
    group.throughput(Throughput::Elements(BATCH as u64)).sample_size(20);
    for count in [100_000, 2_000_000] {
        let keys = keys(count);
        let handle = filled(&keys, &VALUE);
        let mut batches = keys.chunks_exact(BATCH).cycle();
        group.bench_function(BenchmarkId::new("get", count), |b| {
            b.iter(|| {
                let session = handle.pin();
                for key in batches.next().expect("endless") {
                    black_box(session.get(session.key(key)).hit().map(|item| item.value()[0]));
                }
            });
        });
        group.bench_function(BenchmarkId::new("get, prefetched", count), |b| {
            b.iter(|| {
                let session = handle.pin();
                for chunk in batches.next().expect("endless").chunks(32) {
                    let keys: [_; 32] = std::array::from_fn(|i| session.key(&chunk[i]));
                    keys.iter().for_each(|key| session.prefetch(key));
                    session.prefetch_items(&keys);
                    for key in keys {
                        black_box(session.get(key).hit().map(|item| item.value()[0]));
                    }
                }
            });
        });
        group.bench_function(BenchmarkId::new("set", count), |b| {
            b.iter(|| {
                let session = handle.pin();
                for key in batches.next().expect("endless") {
                    set(&session, key, &VALUE);
                }
            });
        });
    }
    let keys = keys(100_000);
    let handle = filled(&keys, b"1000000");
    let mut batches = keys.chunks_exact(BATCH).cycle();
    let arith = Arith { incr: true, delta: 1, compare: None, set_cas: None, exptime: None };
    group.bench_function(BenchmarkId::new("incr", 100_000), |b| {
        b.iter(|| {
            let session = handle.pin();
            for key in batches.next().expect("endless") {
                black_box(session.arith(session.key(key), arith));
            }
        });
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
