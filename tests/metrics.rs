//! The metrics: what is scraped is well-formed, is what `stats` says, and only grows where it should.
//!
//! The families that Prometheus' memcached exporter has are computed here once more, from the replies to `stats`,
//! `stats settings`, `stats items` and `stats slabs`, as the exporter does it, and compared series by series.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;
use support::Address;
use support::connection::Connection;
use support::exposition::{Exposition, Series};
use support::observed::{self, connect};
use volt::http;
use volt::node::{Node, Options};
use volt::server::{Listen, Port};

const DEADLINE: Duration = Duration::from_secs(10);

fn start() -> Node {
    Node::start(observed::options(2, None)).unwrap()
}

fn exchange(address: SocketAddr, request: &str) -> (String, String) {
    observed::exchange(address, request).unwrap()
}

fn get(address: SocketAddr, path: &str) -> (String, String) {
    observed::get(address, path).unwrap()
}

fn scrape(node: &Node) -> Exposition {
    let (head, page) = get(node.metrics_address().unwrap(), "/metrics");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("Content-Type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
    assert!(head.contains(&format!("Content-Length: {}", page.len())), "{head}");
    Exposition::parse(&page)
}

/// The reply to a `stats` command, by name.
fn stats(connection: &mut Connection, command: &str) -> BTreeMap<String, String> {
    let mut stats = BTreeMap::new();
    let mut line = connection.ask(command);
    while let Some(stat) = line.strip_prefix("STAT ") {
        let (name, value) = stat.split_once(' ').unwrap();
        stats.insert(name.to_owned(), value.to_owned());
        line = connection.line();
    }
    assert_eq!(line, "END");
    stats
}

/// A store that is refused for its size.
const TOO_LARGE: &str = "set big 0 0 2097152";

/// Some of everything that is counted.
fn use_it(connection: &mut Connection) {
    for command in [
        "set a 0 0 1\r\n1",
        "set b 0 100 3\r\nabc",
        "get a",
        "get nothing",
        "gets a",
        "delete b",
        "delete b",
        "incr a 2",
        "incr b 1",
        "decr a 1",
        "decr b 1",
        "touch a 0",
        "touch b 0",
        "cas a 0 0 1 99999\r\n2",
        "cas b 0 0 1 1\r\n2",
        "append a 0 0 1\r\n2",
        "mg a v",
        "ms c 1\r\nx",
        "md c",
        "ma a",
        "bogus",
        TOO_LARGE,
        "flush_all",
        "get a",
        "set a 0 0 1\r\n1",
    ] {
        let reply = connection.ask(command);
        // A value has lines of its own: the data, and after the classic reply END.
        if reply.starts_with("VALUE ") || reply.starts_with("VA ") {
            connection.line();
        }
        if reply.starts_with("VALUE ") {
            connection.line();
        }
        if command == TOO_LARGE {
            connection.send(&[b'x'; 2 << 20]);
            connection.send(b"\r\n");
        }
    }
}

/// What the exporter would make of these replies: type and value by series.
struct Exporter {
    expected: BTreeMap<Series, (&'static str, f64)>,
}

impl Exporter {
    fn put(&mut self, kind: &'static str, name: &str, labels: &[(&str, &str)], value: &str) {
        let value = match value {
            "yes" => 1.0,
            "no" => 0.0,
            number => number.parse().unwrap(),
        };
        let series = Series::new(&format!("memcached_{name}"), labels);
        assert_eq!(self.expected.insert(series, (kind, value)), None, "{name}");
    }

    fn of(connection: &mut Connection) -> Self {
        let mut exporter = Self { expected: BTreeMap::new() };
        let general = stats(connection, "stats");
        exporter.general(&general);
        exporter.settings(&stats(connection, "stats settings"));
        exporter.items(&stats(connection, "stats items"));
        exporter.slabs(&stats(connection, "stats slabs"));
        exporter
    }

    fn general(&mut self, stats: &BTreeMap<String, String>) {
        self.put("gauge", "up", &[], "1");
        self.put("gauge", "version", &[("version", &stats["version"])], "1");
        for (name, stat) in [
            ("uptime_seconds", "uptime"),
            ("items_total", "total_items"),
            ("read_bytes_total", "bytes_read"),
            ("written_bytes_total", "bytes_written"),
            ("connections_total", "total_connections"),
            ("connections_rejected_total", "rejected_connections"),
            ("connections_yielded_total", "conn_yields"),
            ("connections_listener_disabled_total", "listen_disabled_num"),
            ("items_evicted_total", "evictions"),
            ("items_reclaimed_total", "reclaimed"),
            ("item_too_large_total", "store_too_large"),
            ("item_no_memory_total", "store_no_memory"),
            ("direct_reclaims_total", "direct_reclaims"),
            ("process_user_cpu_seconds_total", "rusage_user"),
            ("process_system_cpu_seconds_total", "rusage_system"),
            ("lru_crawler_starts_total", "lru_crawler_starts"),
            ("lru_crawler_items_checked_total", "crawler_items_checked"),
            ("lru_crawler_reclaimed_total", "crawler_reclaimed"),
            ("lru_crawler_moves_to_cold_total", "moves_to_cold"),
            ("lru_crawler_moves_to_warm_total", "moves_to_warm"),
            ("lru_crawler_moves_within_lru_total", "moves_within_lru"),
        ] {
            self.put("counter", name, &[], &stats[stat]);
        }
        for (name, stat) in [
            ("time_seconds", "time"),
            ("current_bytes", "bytes"),
            ("limit_bytes", "limit_maxbytes"),
            ("current_items", "curr_items"),
            ("current_connections", "curr_connections"),
            ("accepting_connections", "accepting_conns"),
        ] {
            self.put("gauge", name, &[], &stats[stat]);
        }
        let mut command = |command: &str, status: &str, value: &str| {
            let labels = [("command", command), ("status", status)];
            self.put("counter", "commands_total", &labels, value);
        };
        for name in ["get", "delete", "incr", "decr", "cas", "touch"] {
            command(name, "hit", &stats[&format!("{name}_hits")]);
            command(name, "miss", &stats[&format!("{name}_misses")]);
        }
        command("cas", "badval", &stats["cas_badval"]);
        command("flush", "hit", &stats["cmd_flush"]);
        let number = |name: &str| stats[name].parse::<u64>().unwrap();
        let cas = number("cas_misses") + number("cas_hits") + number("cas_badval");
        command("set", "hit", &(number("cmd_set") - cas).to_string());
    }

    fn settings(&mut self, stats: &BTreeMap<String, String>) {
        for (name, stat) in [
            ("max_connections", "maxconns"),
            ("lru_crawler_enabled", "lru_crawler"),
            ("lru_crawler_sleep", "lru_crawler_sleep"),
            ("lru_crawler_to_crawl", "lru_crawler_tocrawl"),
            ("lru_crawler_maintainer_thread", "lru_maintainer_thread"),
            ("lru_crawler_hot_percent", "hot_lru_pct"),
            ("lru_crawler_warm_percent", "warm_lru_pct"),
            ("lru_crawler_hot_max_factor", "hot_max_factor"),
            ("lru_crawler_warm_max_factor", "warm_max_factor"),
        ] {
            self.put("gauge", name, &[], &stats[stat]);
        }
    }

    fn items(&mut self, stats: &BTreeMap<String, String>) {
        let slab = [("slab", "1")];
        for (kind, name, stat) in [
            ("gauge", "slab_current_items", "number"),
            ("gauge", "slab_items_age_seconds", "age"),
            ("counter", "slab_items_crawler_reclaimed_total", "crawler_reclaimed"),
            ("counter", "slab_items_evicted_total", "evicted"),
            ("counter", "slab_items_evicted_nonzero_total", "evicted_nonzero"),
            ("counter", "slab_items_evicted_time_seconds", "evicted_time"),
            ("counter", "slab_items_evicted_unfetched_total", "evicted_unfetched"),
            ("counter", "slab_items_expired_unfetched_total", "expired_unfetched"),
            ("counter", "slab_items_outofmemory_total", "outofmemory"),
            ("counter", "slab_items_reclaimed_total", "reclaimed"),
            ("counter", "slab_items_tailrepairs_total", "tailrepairs"),
            ("counter", "slab_mem_requested_bytes", "mem_requested"),
            ("counter", "slab_items_moves_to_cold", "moves_to_cold"),
            ("counter", "slab_items_moves_to_warm", "moves_to_warm"),
            ("counter", "slab_items_moves_within_lru", "moves_within_lru"),
            ("gauge", "slab_hot_items", "number_hot"),
            ("gauge", "slab_warm_items", "number_warm"),
            ("gauge", "slab_cold_items", "number_cold"),
            ("gauge", "slab_hot_age_seconds", "age_hot"),
            ("gauge", "slab_warm_age_seconds", "age_warm"),
        ] {
            self.put(kind, name, &slab, &stats[&format!("items:1:{stat}")]);
        }
        for (lru, stat) in
            [("hot", "hot"), ("warm", "warm"), ("cold", "cold"), ("temporary", "temp")]
        {
            let hits = &stats[&format!("items:1:hits_to_{stat}")];
            self.put("counter", "slab_lru_hits_total", &[("slab", "1"), ("lru", lru)], hits);
        }
    }

    fn slabs(&mut self, stats: &BTreeMap<String, String>) {
        self.put("gauge", "malloced_bytes", &[], &stats["total_malloced"]);
        for (name, stat) in [
            ("slab_chunk_size_bytes", "chunk_size"),
            ("slab_chunks_per_page", "chunks_per_page"),
            ("slab_current_pages", "total_pages"),
            ("slab_current_chunks", "total_chunks"),
            ("slab_chunks_used", "used_chunks"),
            ("slab_chunks_free", "free_chunks"),
            ("slab_chunks_free_end", "free_chunks_end"),
        ] {
            self.put("gauge", name, &[("slab", "1")], &stats[&format!("1:{stat}")]);
        }
        let mut command = |command: &str, status: &str, value: &str| {
            let labels = [("slab", "1"), ("command", command), ("status", status)];
            self.put("counter", "slab_commands_total", &labels, value);
        };
        for name in ["get", "delete", "incr", "decr", "cas", "touch"] {
            command(name, "hit", &stats[&format!("1:{name}_hits")]);
        }
        command("cas", "badval", &stats["1:cas_badval"]);
        let number = |name: &str| stats[&format!("1:{name}")].parse::<u64>().unwrap();
        let set = number("cmd_set") - number("cas_hits") - number("cas_badval");
        command("set", "hit", &set.to_string());
    }
}

/// What the scrape, the asking itself or the passing of time changes.
fn moves_by_itself(name: &str) -> bool {
    ["cpu_seconds", "time_seconds", "uptime", "_bytes_total", "age_seconds", "malloced"]
        .iter()
        .any(|part| name.contains(part))
}

#[test]
fn the_exporters_families_are_there_with_its_types_and_the_values_of_stats() {
    let node = start();
    let mut connection = connect(&node);
    use_it(&mut connection);
    let expected = Exporter::of(&mut connection).expected;
    let page = scrape(&node);
    for (series, (kind, value)) in &expected {
        assert_eq!(page.types.get(&series.name).map(String::as_str), Some(*kind), "{series:?}");
        let found = *page.values.get(series).unwrap_or_else(|| panic!("no {series:?}"));
        let near = moves_by_itself(&series.name) && (found - value).abs() <= value * 0.2 + 5000.0;
        assert!(found == *value || near, "{series:?}: {found}, not {value}");
    }
    let more: Vec<_> = page
        .values
        .keys()
        .filter(|series| series.name.starts_with("memcached_") && !expected.contains_key(series))
        .collect();
    assert!(more.is_empty(), "the exporter has none of {more:?}");
    assert!(expected.len() > 80, "only {} series compared", expected.len());
    assert!(
        page.value("memcached_commands_total", &[("command", "cas"), ("status", "badval")]) > 0.0
    );
}

#[test]
fn me_alone_counts_as_a_meta_command() {
    let node = start();
    let mut connection = connect(&node);
    assert_eq!(connection.ask("ms a 1\r\n1"), "HD");
    for (command, reply) in [("mg a", "HD"), ("mn", "MN"), ("me b", "EN"), ("me b", "EN")] {
        assert_eq!(connection.ask(command), reply);
    }
    assert_eq!(stats(&mut connection, "stats")["cmd_meta"], "2");
    assert_eq!(scrape(&node).value("volt_meta_debug_commands_total", &[]), 2.0);
}

#[test]
fn every_command_is_timed_once() {
    let node = start();
    let mut connection = connect(&node);
    use_it(&mut connection);
    // In a pipeline, and in pieces: counted when they run.
    connection.send(b"get x\r\nget x\r\nget x\r\nset y 0 0 5\r\n12");
    connection.send(b"345\r\nversion\r\n");
    while connection.line() != "STORED" {}
    assert!(connection.line().starts_with("VERSION"));
    // A turn's commands are entered when its replies are out: certainly when there is the reply of another turn.
    connection.ask("version");
    let page = scrape(&node);
    let count =
        |command| page.value("volt_command_duration_seconds_count", &[("command", command)]);
    for (command, expected) in [
        ("get", 7.0),
        ("set", 8.0),
        ("delete", 2.0),
        ("incr", 4.0),
        ("touch", 2.0),
        ("mg", 1.0),
        ("ms", 1.0),
        ("md", 1.0),
        ("ma", 1.0),
    ] {
        assert_eq!(count(command), expected, "{command}");
    }
    let sum = page.value("volt_command_duration_seconds_sum", &[("command", "get")]);
    assert!(sum > 0.0 && sum < DEADLINE.as_secs_f64(), "{sum}");
}

#[test]
fn counters_grow_under_load_and_survive_a_reset_of_stats() {
    let node = start();
    let address = Address::Tcp(node.addresses().tcp[0]);
    let load = std::thread::spawn(move || {
        let mut connection = Connection::open(&address).unwrap();
        let value = "x".repeat(2000);
        for key in 0..20_000 {
            let reply = connection.ask(&format!("set key{key} 0 0 2000\r\n{value}"));
            assert_eq!(reply, "STORED");
        }
        connection.ask("stats reset")
    });
    let mut before = scrape(&node);
    let (mut scrapes, mut done) = (0, false);
    while !done {
        done = load.is_finished();
        let now = scrape(&node);
        for (series, value) in &before.values {
            let family = now.family(series);
            // The exporter calls these gauges counters.
            let gauges =
                ["memcached_slab_mem_requested_bytes", "memcached_slab_items_evicted_time_seconds"];
            if now.types[&family] != "gauge" && !gauges.contains(&family.as_str()) {
                assert!(now.values[series] >= *value, "{series:?} fell from {value}");
            }
        }
        before = now;
        scrapes += 1;
    }
    assert_eq!(load.join().unwrap(), "RESET");
    assert!(scrapes >= 2);
    let sets = before.value("memcached_commands_total", &[("command", "set"), ("status", "hit")]);
    assert_eq!(sets, 20_000.0);
    assert!(before.value("volt_items_removed_total", &[("reason", "evicted")]) > 0.0);
    assert_eq!(stats(&mut connect(&node), "stats")["cmd_set"], "0");
}

#[test]
fn health_is_told_apart_from_readiness_and_nonsense_is_refused() {
    let node = start();
    let address = node.metrics_address().unwrap();
    let status = |path: &str| get(address, path).0[9..12].to_owned();
    assert_eq!(get(address, "/healthz").1, "ok\n");
    assert_eq!(get(address, "/readyz").1, "ready\n");
    assert_eq!((status("/"), status("/metric")), ("200".to_owned(), "404".to_owned()));
    let (head, body) = exchange(address, "HEAD /metrics HTTP/1.0\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200") && body.is_empty(), "{head}");
    for (request, status) in [
        ("DELETE /metrics HTTP/1.1\r\n\r\n".to_owned(), "405"),
        ("set a 0 0 1\r\n\r\n".to_owned(), "400"),
        (format!("GET /{} HTTP/1.1\r\n", "x".repeat(9000)), "431"),
    ] {
        let head = exchange(address, &request).0;
        assert_eq!(&head[9..12], status, "{head}");
    }
}

#[test]
fn a_connection_takes_one_request_after_the_other() {
    let node = start();
    let mut stream = TcpStream::connect(node.metrics_address().unwrap()).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    // Two at once, the second without an end yet.
    stream.write_all(b"GET /healthz HTTP/1.1\r\n\r\nGET /readyz HTTP/1.1\r\n").unwrap();
    stream.write_all(b"connection: close\r\n\r\n").unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).unwrap();
    assert!(answers.contains("\r\n\r\nok\nHTTP/1.1 200") && answers.ends_with("\r\n\r\nready\n"));
}

#[test]
fn connections_that_are_held_open_keep_nobody_out() {
    let node = start();
    let address = node.metrics_address().unwrap();
    let mut scraper = TcpStream::connect(address).unwrap();
    let mut ask = |path: &str| {
        write!(scraper, "GET {path} HTTP/1.1\r\n\r\n").unwrap();
        let mut first = [0; 12];
        scraper.read_exact(&mut first).unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
        // The rest of a short answer is there with its first bytes.
        let mut rest = [0; 512];
        assert!(scraper.read(&mut rest).unwrap() > 0);
    };
    ask("/healthz");
    let silent: Vec<_> = (0..100)
        .map(|_| {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(b"GET /healthz").unwrap();
            // Beyond the tick of the clock that tells who has been silent for longest.
            std::thread::sleep(Duration::from_millis(2));
            ask("/healthz");
            stream
        })
        .collect();
    assert_eq!(get(address, "/healthz").1, "ok\n");
    drop(silent);
}

#[test]
fn all_interfaces_are_those_of_ipv6_too() {
    let mut options = observed::options(1, None);
    options.http.listen = http::Listen::parse("*:0").unwrap();
    let node = Node::start(options).unwrap();
    let port = node.metrics_address().unwrap().port();
    assert_eq!(get((Ipv4Addr::LOCALHOST, port).into(), "/healthz").1, "ok\n");
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
        assert_eq!(get((Ipv6Addr::LOCALHOST, port).into(), "/healthz").1, "ok\n");
    }
}

#[test]
fn a_default_address_that_is_taken_is_done_without_and_a_chosen_one_is_an_error() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut options = Options::default();
    options.server.listen = Listen::parse_list("127.0.0.1").unwrap();
    options.server.port = Port::Any;
    options.http.listen = http::Listen::parse(&address).unwrap();
    let node = Node::start(options.clone()).unwrap();
    assert_eq!(node.metrics_address(), None);
    assert!(connect(&node).ask("version").starts_with("VERSION"));
    options.http.required = true;
    let error = Node::start(options).unwrap_err().to_string();
    assert!(error.starts_with(&format!("failed to listen on {address} for metrics: ")), "{error}");
}

#[test]
fn an_address_that_is_open_to_the_world_is_announced() {
    let said = |listen: &str| {
        let mut volt = Command::new(env!("CARGO_BIN_EXE_volt"))
            .args(["-u", "root", "-A", "-l", "127.0.0.1", "-p", "-1", "--metrics-listen", listen])
            .stderr(Stdio::piped())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = std::io::BufReader::new(volt.stderr.take().unwrap());
        let mut said = String::new();
        while !said.contains("listening: tcp ") {
            assert_ne!(std::io::BufRead::read_line(&mut lines, &mut said).unwrap(), 0, "{said}");
        }
        let address = said.rsplit("listening: tcp ").next().unwrap().trim().parse().unwrap();
        // It stops by itself when asked to.
        Connection::open(&Address::Tcp(address)).unwrap().send(b"shutdown\r\n");
        assert!(volt.wait().unwrap().success());
        said
    };
    assert!(said("*:0").contains("metrics are open to whoever reaches "));
    let local = said("127.0.0.1:0");
    assert!(local.contains("metrics: http://127.0.0.1:") && !local.contains("open"), "{local}");
}

#[test]
fn hot_keys_are_shown_while_somebody_looks_for_them() {
    let node = start();
    let mut connection = connect(&node);
    assert_eq!(connection.ask("stats hotkeys"), "STAT hotkeys_status disabled");
    assert_eq!(connection.line(), "END");
    assert_eq!(connection.ask("stats hotkeys on"), "OK");
    for round in 0..1000 {
        connection.ask(&format!("get {}", if round % 2 == 0 { "hot" } else { "warm" }));
        connection.ask(&format!("delete cold{round}"));
    }
    let line = connection.ask("stats hotkeys");
    let words: Vec<_> = line.split(' ').collect();
    let ["KEY", "hot" | "warm", "accesses", accesses, "error", _, "share", share] = words[..]
    else {
        panic!("{line}")
    };
    // One access in eight is counted, at random.
    assert!((150..1000).contains(&accesses.parse::<u32>().unwrap()), "{line}");
    let share: f64 = share.parse().unwrap();
    assert!((0.1..0.4).contains(&share), "{line}");
    while connection.line() != "END" {}
    let page = scrape(&node);
    assert!((page.value("volt_hot_keys_share", &[("top", "1")]) - share).abs() < 0.001);
    assert!(!page.types.contains_key("volt_hot_key_share"), "nobody asked for names");
    assert_eq!(connection.ask("stats hotkeys off"), "OK");
    assert!(!scrape(&node).types.contains_key("volt_hot_keys_share"));
    assert!(connection.ask("stats hotkeys x").starts_with("CLIENT_ERROR usage"));
}

#[test]
fn top_shows_what_is_going_on() {
    let node = start();
    let (metrics, server) = (node.metrics_address().unwrap(), node.addresses().tcp[0]);
    let mut connection = connect(&node);
    connection.ask("stats hotkeys on");
    let mut top = Command::new(env!("CARGO_BIN_EXE_volt"))
        .args(["top", "-n", "1", &metrics.to_string(), &server.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let status = loop {
        assert_eq!(connection.ask("get nothing"), "END");
        if let Some(status) = top.try_wait().unwrap() {
            break status;
        }
    };
    let mut frame = String::new();
    top.stdout.take().unwrap().read_to_string(&mut frame).unwrap();
    assert!(status.success(), "{frame}");
    for part in ["hit ratio 0.0%", "\nget ", "memory [", "conns  ", "hot key", "\nnothing "] {
        assert!(frame.contains(part), "{part} is not in\n{frame}");
    }
    assert!(!frame.contains('\x1b'), "nothing is painted in a pipe");
    drop(node);
    let output = Command::new(env!("CARGO_BIN_EXE_volt"))
        .args(["top", &metrics.to_string()])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("/metrics: "));
}
