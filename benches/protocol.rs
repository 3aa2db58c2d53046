//! The parser alone: nanoseconds a request line.
//!
//! `cargo bench --bench protocol`.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use volt::protocol::parse;

const LINES: [(&str, &[u8]); 6] = [
    ("get", b"get key-000000012345\r\n"),
    ("get of ten keys", b"get k1 k2 k3 k4 k5 k6 k7 k8 k9 k10\r\n"),
    ("set", b"set key-000000012345 0 0 100\r\n"),
    ("incr", b"incr key-000000012345 1\r\n"),
    ("mg", b"mg key-000000012345 v\r\n"),
    ("ms", b"ms key-000000012345 100 T0 q\r\n"),
];

fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("parse");
    group.throughput(Throughput::Elements(1));
    for (name, line) in LINES {
        group.bench_function(name, |b| b.iter(|| black_box(parse(black_box(line)))));
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
