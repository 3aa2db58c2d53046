//! Watching: what subscribers get, in which order, and what they lose.

use super::*;
use crate::command::options::Options;
use std::fmt::Write;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

fn hub(worker_bytes: usize, watcher_bytes: usize) -> (Arc<Hub>, Distributor) {
    Hub::new(&Options {
        num_threads: 1,
        worker_logbuf_size_bytes: worker_bytes,
        watcher_logbuf_size_bytes: watcher_bytes,
        ..Options::default()
    })
}

fn log(hub: &Hub, kind: Mask, text: &str) {
    hub.log(kind, |line| line.write_str(text));
}

/// What waits for the watcher, without the varying times.
fn read(subscription: &Subscription) -> String {
    let mut lines = Vec::new();
    let mut context = Context::from_waker(Waker::noop());
    match subscription.poll_lines(&mut context, &mut lines) {
        Poll::Pending => String::new(),
        Poll::Ready(()) => String::from_utf8(lines)
            .expect("lines are text")
            .split_inclusive('\n')
            .map(|line| match line.strip_prefix("ts=") {
                Some(rest) => rest.split_once(' ').expect("ts, gid, text").1,
                None => line,
            })
            .collect(),
    }
}

#[test]
fn a_watcher_gets_the_kinds_it_asked_for_from_when_it_asked() {
    let (hub, distributor) = hub(65536, 65536);
    assert!(!hub.watching(Mask::FETCHERS));
    log(&hub, Mask::FETCHERS, "before");
    let watcher = hub.subscribe(Mask::FETCHERS.with(Mask::EVICTIONS)).expect("room for one");
    assert!(hub.watching(Mask::FETCHERS) && !hub.watching(Mask::MUTATIONS));
    log(&hub, Mask::MUTATIONS, "other");
    log(&hub, Mask::FETCHERS, "a");
    log(&hub, Mask::EVICTIONS, "b");
    distributor.run_once();
    assert_eq!(read(&watcher), "OK\r\ngid=3 a\ngid=4 b\n");
    assert_eq!(read(&watcher), "");
    drop(watcher);
    assert!(!hub.watching(Mask::FETCHERS));
    assert_eq!(hub.stats().watchers, 0);
}

#[test]
fn a_slow_watcher_loses_lines_and_is_told() {
    let (hub, distributor) = hub(65536, 350);
    let watcher = hub.subscribe(Mask::FETCHERS).expect("room for one");
    let long = "x".repeat(100);
    for _ in 0..5 {
        log(&hub, Mask::FETCHERS, &long);
    }
    distributor.run_once();
    assert_eq!(read(&watcher), format!("OK\r\ngid=1 {long}\n"));
    log(&hub, Mask::FETCHERS, "b");
    distributor.run_once();
    assert_eq!(read(&watcher), "skipped=4\ngid=6 b\n");
    let stats = hub.stats();
    assert_eq!((stats.watcher_sent, stats.watcher_skipped), (2, 4));
}

#[test]
fn a_full_queue_loses_lines_and_recovers() {
    let (hub, distributor) = hub(300, 65536);
    let watcher = hub.subscribe(Mask::FETCHERS).expect("room for one");
    let long = "x".repeat(100);
    for _ in 0..4 {
        log(&hub, Mask::FETCHERS, &long);
    }
    let stats = hub.stats();
    assert_eq!((stats.worker_written, stats.worker_dropped), (2, 2));
    distributor.run_once();
    log(&hub, Mask::FETCHERS, "b");
    distributor.run_once();
    assert_eq!(read(&watcher), format!("OK\r\ngid=1 {long}\ngid=2 {long}\ngid=5 b\n"));
}

#[test]
fn there_are_twenty_watchers_at_most() {
    let (hub, _distributor) = hub(65536, 65536);
    let watchers: Vec<_> = std::iter::from_fn(|| hub.subscribe(Mask::FETCHERS)).take(100).collect();
    assert_eq!(watchers.len(), 20);
    drop(watchers);
    assert!(hub.subscribe(Mask::FETCHERS).is_some());
}

#[test]
fn the_distributor_wakes_the_watcher_and_stops_when_told() {
    struct Flag(std::thread::Thread);
    impl std::task::Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let (hub, distributor) = hub(65536, 65536);
    let thread = std::thread::spawn(|| distributor.run());
    let watcher = hub.subscribe(Mask::FETCHERS).expect("room for one");
    let waker = Waker::from(Arc::new(Flag(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut lines = Vec::new();
    assert_eq!(watcher.poll_lines(&mut context, &mut lines), Poll::Ready(()));
    lines.clear();
    assert_eq!(watcher.poll_lines(&mut context, &mut lines), Poll::Pending);
    log(&hub, Mask::FETCHERS, "a");
    while watcher.poll_lines(&mut context, &mut lines).is_pending() {
        std::thread::park();
    }
    assert!(lines.ends_with(b"gid=1 a\n"));
    hub.stop();
    thread.join().expect("the distributor returns");
}

#[test]
fn keys_are_encoded_as_in_a_uri() {
    assert_eq!(UriEncoded(b"aZ9-._~").to_string(), "aZ9-._~");
    assert_eq!(UriEncoded(b"a,#\xff\n").to_string(), "a%2C%23%FF%0A");
}
