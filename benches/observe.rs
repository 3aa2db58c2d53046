//! What watching costs: timing a turn, looking for hot keys, making a page of metrics.

use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use std::sync::Arc;
use volt::clock::Clock;
use volt::command::Context;
use volt::command::admin::hotkeys::HotKeys;
use volt::engine::{self, Engine};
use volt::http::metrics;
use volt::node::{Node, Options};
use volt::protocol::{Parse, parse};
use volt::server::{Listen, Port};
use volt::stats::latency::{Kind, Latency, Recorder};

fn turns(c: &mut Criterion) {
    let timed = Recorder::new(Some(Arc::new(Latency::default())));
    let untimed = Recorder::new(None);
    let mut turn = |name: &str, recorder: &Recorder, commands: u32, exact: bool| {
        c.bench_function(name, |b| {
            b.iter(|| {
                if exact {
                    recorder.refill();
                }
                let began = recorder.begin();
                for _ in 0..commands {
                    recorder.note(black_box(Kind::Get), 1);
                }
                recorder.end(began);
            });
        });
    };
    turn("turn of 1 command, timed one by one", &timed, 1, true);
    turn("turn of 1 command, sampled", &timed, 1, false);
    turn("turn of 1 command, not timed", &untimed, 1, false);
    turn("turn of 20 commands, sampled", &timed, 20, false);
    turn("turn of 20 commands, not timed", &untimed, 20, false);
}

fn hot_keys(c: &mut Criterion) {
    let clock = Arc::new(Clock::system());
    let engine = Engine::new(engine::Options::default(), clock, Arc::default());
    for (name, on) in [("a request, hot keys on", true), ("a request, hot keys off", false)] {
        let hot_keys = HotKeys::new(on, Arc::clone(&engine));
        let recorder = hot_keys.recorder();
        // As many cold keys as make every place change hands.
        let lines: Vec<_> = (0..10_000).map(|key| format!("get memtier-{key}\r\n")).collect();
        let requests: Vec<_> = lines
            .iter()
            .map(|line| match parse(line.as_bytes()) {
                Parse::Request { request, .. } => request,
                _ => unreachable!("it is a request"),
            })
            .collect();
        let mut next = 0;
        c.bench_function(name, |b| {
            b.iter(|| {
                next = (next + 1) % requests.len();
                recorder.see(black_box(&requests[next]));
            });
        });
    }
}

fn page(c: &mut Criterion) {
    let mut options = Options::default();
    options.server.threads = 4;
    options.server.listen = vec![Listen { host: Some("127.0.0.1".to_owned()), port: None }];
    options.server.port = Port::Any;
    options.command.latency = true;
    let node = Node::start(options).expect("a free port");
    let context: &Context = node.context();
    c.bench_function("a page of metrics", |b| {
        b.iter(|| black_box(metrics::render(context, false)));
    });
}

criterion_group!(benches, turns, hot_keys, page);
criterion_main!(benches);
