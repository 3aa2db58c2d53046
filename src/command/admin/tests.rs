//! The operator's commands, one by one, on a worker without sockets.

use super::*;
use crate::clock::Clock;
use crate::command::context::NoControl;
use crate::command::options::Options;
use crate::command::watch::Hub;
use crate::command::{Context, Conversation, Next};
use crate::engine::{self, Engine};
use crate::stats::Registry;
use std::sync::Arc;

/// A worker with an engine of its own and a clock that stands still.
fn worker(options: Options) -> Worker {
    let (clock, registry) = (Arc::new(Clock::manual()), Arc::new(Registry::default()));
    let engine_options = engine::Options { hash_power: 8, ..engine::Options::default() };
    let engine = Engine::new(engine_options, Arc::clone(&clock), Arc::clone(&registry));
    let (watch, _) = Hub::new(&options);
    let context = Context::new(engine, clock, registry, options, watch, Box::new(NoControl));
    Worker::new(Arc::new(context))
}

/// What a client that sends `input` gets, and how often the conversation stopped on the way.
fn ask_in_steps(worker: &Worker, input: &str) -> (String, usize) {
    let mut conversation = Conversation::new(worker, 7);
    let mut output = Output::new();
    let (mut input, mut answer, mut stops) = (input.as_bytes(), Vec::new(), 0);
    loop {
        let progress = conversation.advance(worker, input, &mut output);
        input = &input[progress.consumed..];
        answer.extend(output.parts().concat());
        output.clear();
        match progress.next {
            Next::Write | Next::Yield | Next::Wait => stops += 1,
            _ => break,
        }
    }
    (String::from_utf8(answer).expect("answers are text"), stops)
}

fn ask(worker: &Worker, input: &str) -> String {
    ask_in_steps(worker, input).0
}

/// The names of the statistics in an answer.
fn names(answer: &str) -> Vec<&str> {
    answer.lines().filter_map(|line| line.strip_prefix("STAT ")?.split(' ').next()).collect()
}

#[test]
fn words_may_be_cut_short_but_not_made_longer() {
    assert!(abbreviates(b"detail", "detail"));
    assert!(abbreviates(b"d", "detail"));
    assert!(!abbreviates(b"details", "detail"));
}

#[test]
fn kinds_to_watch_go_by_their_beginning() {
    assert_eq!(watched_kind(b"mutations"), Some(Mask::MUTATIONS));
    assert_eq!(watched_kind(b"e"), Some(Mask::EVICTIONS));
    assert_eq!(watched_kind(b"all"), None);
}

#[test]
fn as_many_statistics_as_memcached_has_with_the_same_options() {
    let count = |options| names(&ask(&worker(options), "stats\r\n")).len();
    assert_eq!(count(Options::default()), 93);
    assert_eq!(count(Options { idle_timeout_s: 1, ..Options::default() }), 94);
    // t/stats.t.
    let bare = Options { lru_crawler: false, lru_maintainer_thread: false, ..Options::default() };
    assert_eq!(count(bare), 84);
}

#[test]
fn every_statistic_is_one_word_with_a_one_word_value() {
    // Exporters split lines at spaces and refuse other numbers of words.
    let worker = worker(Options::default());
    ask(&worker, "set a 0 0 1\r\nx\r\n");
    for command in [
        "stats\r\n",
        "stats settings\r\n",
        "stats items\r\n",
        "stats slabs\r\n",
        "stats evictions\r\n",
    ] {
        let answer = ask(&worker, command);
        let lines: Vec<&str> = answer.lines().collect();
        let (end, lines) = lines.split_last().expect("at least END");
        assert_eq!(*end, "END");
        assert!(!lines.is_empty());
        for line in lines {
            assert_eq!(line.split(' ').count(), 3, "{line}");
        }
    }
}

#[test]
fn names_that_exporters_cannot_do_without() {
    let worker = worker(Options::default());
    ask(&worker, "set a 0 0 1\r\nx\r\nget a\r\n");
    let slabs = ask(&worker, "stats slabs\r\n");
    for name in ["1:cmd_set 1", "1:get_hits 1", "1:cas_hits 0", "1:cas_badval 0"] {
        assert!(slabs.contains(&format!("STAT {name}\r\n")), "{name} in {slabs}");
    }
    let items = ask(&worker, "stats items\r\n");
    assert!(items.contains("STAT items:1:outofmemory 0\r\n"));
    // With these, memcached's exporter panics.
    assert!(!items.contains("store_too_large") && !items.contains("store_no_memory"));
}

#[test]
fn settings_that_change_show() {
    let worker = worker(Options::default());
    for (command, shown) in [
        ("lru tune 10 20 0.5 3", "hot_lru_pct 10"),
        ("lru mode flat", "lru_segmented no"),
        ("lru temp_ttl 30", "temporary_ttl 30"),
        ("slabs automove window 20", "slab_automove_window 20"),
        ("slabs automove 0", "slab_automove 0"),
        ("lru_crawler sleep 7", "lru_crawler_sleep 7"),
        ("lru_crawler disable", "lru_crawler no"),
        ("cache_memlimit 128", "maxbytes 134217728"),
        ("verbosity 9", "verbosity 2"),
        ("stats detail on", "detail_enabled yes"),
    ] {
        assert_eq!(ask(&worker, &format!("{command}\r\n")), "OK\r\n", "{command}");
        let settings = ask(&worker, "stats settings\r\n");
        assert!(settings.contains(&format!("STAT {shown}\r\n")), "{command}: {settings}");
    }
}

#[test]
fn noreply_silences_what_memcached_lets_it_silence() {
    let worker = worker(Options::default());
    let silent =
        "slabs reassign 1 2 noreply\r\nverbosity x noreply\r\ncache_memlimit 64 noreply\r\n";
    assert_eq!(ask(&worker, silent), "");
    assert_eq!(ask(&worker, "stats noreply\r\n"), "ERROR\r\n");
    assert_eq!(ask(&worker, "stats reset noreply\r\n"), "RESET\r\n");
    assert_eq!(ask(&worker, "stats detail on noreply\r\n"), "OK\r\n");
}

#[test]
fn a_metadump_has_a_line_an_item() {
    let worker = worker(Options::default());
    ask(&worker, "set a,b 5 100 3\r\nxyz\r\n");
    let clock = &worker.context.clock;
    let (exp, la) = (clock.unix() + 100, clock.unix());
    let dump = ask(&worker, "lru_crawler metadump all\r\n");
    assert!(dump.starts_with(&format!("OK\r\nkey=a%2Cb exp={exp} la={la} cas=")), "{dump}");
    assert!(dump.contains(" fetch=no cls=1 size="), "{dump}");
    assert!(dump.ends_with(" flags=5 \nEND\r\n"), "{dump}");
    assert_eq!(ask(&worker, "lru_crawler metadump 2,3\r\n"), "OK\r\nEND\r\n");
    assert_eq!(ask(&worker, "lru_crawler metadump 2,x\r\n"), "BADCLASS invalid class id\r\n");
    assert_eq!(
        ask(&worker, "mn\r\nlru_crawler metadump all\r\n"),
        "MN\r\nERROR cannot pipeline other commands before metadump\r\n"
    );
}

#[test]
fn a_long_dump_comes_in_pieces_with_every_item_once() {
    let worker = worker(Options::default());
    for n in 0..5000 {
        ask(&worker, &format!("set key{n} 0 0 1 noreply\r\nx\r\n"));
    }
    let (dump, stops) = ask_in_steps(&worker, "lru_crawler mgdump hash\r\n");
    let mut keys: Vec<&str> = dump.lines().filter_map(|line| line.strip_prefix("mg ")).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 5000);
    assert!(dump.starts_with("OK\r\n") && dump.ends_with("\r\nEN\r\n"));
    assert!(stops >= 5000 / 1024, "{stops} stops");
}

#[test]
fn cachedump_lists_the_class_up_to_a_limit() {
    let worker = worker(Options::default());
    ask(&worker, "set a 0 0 3\r\nxyz\r\nms YmluYXJ5 1 b\r\nx\r\n");
    assert_eq!(ask(&worker, "stats cachedump 1 100\r\n"), "ITEM a [3 b; 0 s]\r\nEND\r\n");
    assert_eq!(ask(&worker, "stats cachedump 2 100\r\n"), "END\r\n");
    ask(&worker, "set b 0 0 1\r\nx\r\nset c 0 0 1\r\nx\r\n");
    let (all, two) =
        (ask(&worker, "stats cachedump 1 0\r\n"), ask(&worker, "stats cachedump 1 2\r\n"));
    assert_eq!((all.lines().count(), two.lines().count()), (4, 3));
}

#[test]
fn a_crawl_takes_expired_items_out() {
    let worker = worker(Options::default());
    ask(&worker, "set keep 0 0 1\r\nx\r\nset go 0 5 1\r\nx\r\n");
    worker.context.clock.advance(10);
    assert_eq!(ask(&worker, "lru_crawler crawl all\r\n"), "OK\r\n");
    assert_eq!(worker.context.engine.stats().items, 1);
    assert_eq!(worker.context.registry.totals().crawler_reclaimed, 1);
    assert_eq!(ask(&worker, "lru_crawler crawl 64\r\n"), "BADCLASS invalid class id\r\n");
}

#[test]
fn sizes_are_counted_when_asked_for() {
    assert_eq!(
        ask(&worker(Options::default()), "stats sizes\r\n"),
        "STAT sizes_status disabled\r\nEND\r\n"
    );
    let worker = worker(Options { track_sizes: true, ..Options::default() });
    ask(&worker, "set a 0 0 1\r\nx\r\nset b 0 0 1\r\nx\r\n");
    let sizes = ask(&worker, "stats sizes\r\n");
    let mut words = sizes.split_whitespace();
    assert_eq!(words.next(), Some("STAT"));
    let bar: usize = words.next().expect("a bar").parse().expect("a number");
    assert!(bar > 0 && bar.is_multiple_of(32));
    assert_eq!(words.next(), Some("2"));
}

#[test]
fn what_is_not_allowed_is_refused() {
    let options = Options { dump_enabled: false, watch_enabled: false, ..Options::default() };
    let worker = worker(options);
    for (command, refusal) in [
        ("watch", "CLIENT_ERROR watch commands not allowed"),
        ("lru_crawler metadump all", "ERROR metadump not allowed"),
        ("lru_crawler mgdump all", "ERROR key dump not allowed"),
        ("stats cachedump 1 1", "CLIENT_ERROR stats cachedump not allowed"),
        ("stats detail on", "CLIENT_ERROR stats detail not allowed"),
        ("shutdown", "SERVER_ERROR: shutdown not enabled"),
        ("debugtime 1", "ERROR"),
        ("misbehave", "ERROR"),
        ("refresh_certs", "Error TLS not enabled"),
    ] {
        assert_eq!(ask(&worker, &format!("{command}\r\n")), format!("{refusal}\r\n"));
    }
}

#[test]
fn a_long_dump_of_prefixes_comes_in_pieces_with_every_prefix_once() {
    let worker = worker(Options { detail_enabled: true, ..Options::default() });
    let other = Worker::new(Arc::clone(&worker.context));
    for n in 0..3000 {
        let counting = if n % 3 == 0 { &other } else { &worker };
        counting.detail.set(format!("p{n:04}:x").as_bytes());
        worker.detail.get(format!("p{n:04}:x").as_bytes(), true);
    }
    let (dump, stops) = ask_in_steps(&worker, "stats detail dump\r\n");
    let lines: Vec<_> =
        (0..3000).map(|n| format!("PREFIX p{n:04} get 1 hit 1 set 1 del 0")).collect();
    assert_eq!(dump, format!("{}\r\nEND\r\n", lines.join("\r\n")));
    assert!(stops > 3000 / 1000, "others had their turn {stops} times only");
}

#[test]
fn counts_by_prefix_are_charged_and_bounded_over_all_workers() {
    let worker = worker(Options { detail_enabled: true, ..Options::default() });
    let other = Worker::new(Arc::clone(&worker.context));
    let engine = &worker.context.engine;
    let bound = engine.stats().memory_limit / 16;
    let end = "x".repeat(200);
    for n in 0..20_000 {
        worker.detail.set(format!("{n}{end}:").as_bytes());
        other.detail.set(format!("{n}{end}:").as_bytes());
    }
    let charged = engine.stats().buffer_bytes;
    assert!(charged > bound / 10 * 9 && charged <= bound, "{charged} of {bound}");
    worker.detail.set(format!("late{end}:").as_bytes());
    let dump = ask(&worker, "stats detail dump\r\n");
    assert!(dump.lines().count() as u64 * 200 < charged, "more is kept than was charged");
    assert!(!dump.contains("late"));
    assert_eq!(ask(&worker, "stats reset\r\n"), "RESET\r\n");
    assert_eq!(engine.stats().buffer_bytes, 0);
    worker.detail.set(b"late:");
    assert_eq!(
        ask(&worker, "stats detail dump\r\n"),
        "PREFIX late get 0 hit 0 set 1 del 0\r\nEND\r\n"
    );
}
