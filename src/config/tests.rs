//! Command lines as memcached's users write them, and what comes of them.

use super::*;
use crate::command::options::BindingProtocol;
use crate::engine::PolicyKind;
use crate::persist::Startup;
use crate::server::{Listen, Port};

fn outcome(line: &str, env: &[(&str, &str)]) -> Result<Outcome, Error> {
    let env = env.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    load(line.split_whitespace().map(OsString::from), env)
}

fn run_in(line: &str, env: &[(&str, &str)]) -> Config {
    match outcome(line, env) {
        Ok(Outcome::Run(config)) => *config,
        other => panic!("{line}: {other:?}"),
    }
}

fn run(line: &str) -> Config {
    run_in(line, &[])
}

fn fails(line: &str) -> (String, u8) {
    let error = outcome(line, &[]).expect_err(line);
    (error.to_string(), error.exit_code())
}

fn host(name: &str) -> Listen {
    Listen { host: Some(name.to_owned()), port: None }
}

#[test]
fn a_bare_start_is_memcacheds_defaults_on_the_loopback() {
    let config = run("volt");
    assert_eq!(
        config.server,
        server::Options { listen: vec![host("127.0.0.1")], ..server::Options::default() }
    );
    assert_eq!(
        config.command,
        command::options::Options {
            inter: Some("127.0.0.1".to_owned()),
            latency: true,
            ..command::options::Options::default()
        }
    );
    assert_eq!(config.process, server::process::Options::default());
    assert_eq!(config.engine, engine::Options::default());
    assert_eq!(config.http.listen, http::Listen::parse("127.0.0.1:9150").unwrap());
    assert!(!config.http.required, "it may be taken");
    assert_eq!(config.log, logging::Level::Info);
    assert_eq!(config.notices, [""; 0]);
}

#[test]
fn who_replaces_a_memcached_listens_where_it_did() {
    for line in ["memcached", "/usr/bin/memcached-debug -m 64", "volt -p 11211", "volt -U 0"] {
        let config = run(line);
        assert_eq!(config.server.listen, [], "{line}");
        assert_eq!(config.command.inter, None, "{line}");
        assert_eq!(config.notices.len(), 1, "{line}: somebody should know");
    }
    assert_eq!(run("memcached -l 127.0.0.2").server.listen, [host("127.0.0.2")]);
    for line in ["memcached -s /run/volt.sock", "volt -p 0"] {
        assert_eq!(run(line).notices, [""; 0], "{line}");
    }
}

#[test]
fn several_listeners_add_up() {
    let config = run("volt -l 127.0.0.1,[::1] -l localhost:11300");
    let localhost = Listen { host: Some("localhost".to_owned()), port: Some(11300) };
    assert_eq!(config.server.listen, [host("127.0.0.1"), host("::1"), localhost]);
    assert_eq!(config.command.inter.as_deref(), Some("127.0.0.1,[::1],localhost:11300"));
    assert_eq!(run("volt -l ::1 -l ::1").server.listen, [host("::1")]);
    let (message, code) = fails("volt -l 127.0.0.1:http");
    assert_eq!((message.as_str(), code), ("Invalid port number: \"http\" (-l 127.0.0.1:http)", 64));
}

#[test]
fn ports_move_as_memcached_moves_them() {
    for (line, tcp, udp) in [
        ("volt -p 11212", Port::Fixed(11212), Port::Off),
        ("volt -U 11222", Port::Fixed(11222), Port::Fixed(11222)),
        ("volt -p -1", Port::Any, Port::Off),
        ("volt -U -1", Port::Any, Port::Any),
        ("volt -p 0", Port::Off, Port::Off),
        ("volt -U 0", Port::Fixed(11211), Port::Off),
        ("volt -U 11233 -p 11232", Port::Fixed(11232), Port::Fixed(11233)),
        ("volt -p -1 -U 11252", Port::Any, Port::Fixed(11252)),
    ] {
        let server = run(line).server;
        assert_eq!((server.port, server.udp_port), (tcp, udp), "{line}");
    }
    assert_eq!(fails("volt -p 70000").0, "ERROR: Invalid port number 70000. (-p 70000)");
    let file = run_in("volt", &[("MEMCACHED_PORT_FILENAME", "/tmp/ports")]).server.port_file;
    assert_eq!(file, Some(PathBuf::from("/tmp/ports")));
}

#[test]
fn flags_reach_the_parts() {
    let config =
        run("volt -AdrkvvMCFXW -u nobody -P /run/v.pid -m128 -I2m -c 10 -t 2 -R 5 -b 8675 \
                      -s /tmp/v.sock -a 770 -B ascii -D: --policy=lfu -o hashpower=20,track_sizes \
                      -o idle_timeout=9,no_maxconns_fast,watcher_logbuf_size=8,debug_commands");
    assert_eq!(config.engine.memory_limit, 128 << 20);
    assert_eq!(config.engine.item_size_max, 2 << 20);
    assert_eq!((config.engine.hash_power, config.command.hashpower_init), (20, 20));
    assert_eq!(config.engine.policy, PolicyKind::Lfu);
    assert!(!config.engine.evictions && !config.engine.use_cas);
    let server = &config.server;
    assert_eq!((server.max_connections, server.threads, server.backlog), (10, 2, 8675));
    assert_eq!((server.idle_timeout_s, server.maxconns_fast), (9, false));
    assert_eq!(
        (server.unix_path.as_deref(), server.unix_mode),
        (Some(Path::new("/tmp/v.sock")), 0o770)
    );
    let command = &config.command;
    assert!(command.shutdown_command && command.detail_enabled && command.debug_commands);
    assert!(command.track_sizes);
    assert!(!command.flush_enabled && !command.dump_enabled && !command.watch_enabled);
    assert_eq!((command.reqs_per_event, command.verbosity), (5, 2));
    assert_eq!(command.binding_protocol, BindingProtocol::Ascii);
    assert_eq!(command.watcher_logbuf_size_bytes, 8192);
    let process = &config.process;
    assert!(process.daemonize && process.core_dumps && process.lock_memory);
    assert_eq!(process.user.as_deref(), Some("nobody"));
    assert_eq!(process.pid_file.as_deref(), Some(Path::new("/run/v.pid")));
}

#[test]
fn a_table_that_leaves_no_room_for_items_is_refused() {
    let message = "a table of 2^23 buckets takes 64 MiB, more than half of -m 64 (-o hashpower=23)";
    assert_eq!(fails("volt -m 64 -o hashpower=23"), (message.to_owned(), 1));
    assert_eq!(run("volt -m 64 -o hashpower=22").engine.hash_power, 22);
}

#[test]
fn what_memcached_refuses_is_refused_in_its_words() {
    for (line, message, code) in [
        ("volt -c 0", "Maximum connections must be greater than 0 (-c 0)", 1),
        ("volt -c -1", "Maximum connections must be greater than 0 (-c -1)", 1),
        ("volt -t 0", "Number of threads must be greater than 0 (-t 0)", 1),
        ("volt -R 0", "Number of requests per event must be greater than 0 (-R 0)", 1),
        ("volt -f 1", "Factor must be greater than 1", 1),
        ("volt -n 0", "Chunk size must be greater than 0", 1),
        ("volt -I 1000", "Item max size cannot be less than 1024 bytes. (-I 1000)", 64),
        (
            "volt -I 256m",
            "Cannot set item size limit higher than 1/2 of memory max. \
             (-I 256m, memory.limit = \"64MiB\" (default))",
            64,
        ),
        (
            "volt -m 4096 -I 2000m",
            "Cannot set item size limit higher than a gigabyte. (-I 2000m)",
            64,
        ),
        (
            "volt -o hashpower=11",
            "Initial hashtable multiplier of 11 is too low (-o hashpower=11)",
            1,
        ),
        (
            "volt -o hashpower=33",
            "Initial hashtable multiplier of 33 is too high (-o hashpower=33)",
            1,
        ),
        ("volt -o hashpower", "Missing numeric argument for hashpower", 1),
        ("volt -o modern,nonsense", "Illegal suboption \"nonsense\"", 1),
        ("volt -o a,,b", "Illegal suboption \"a\"", 1),
        ("volt -q", "volt: invalid option -- 'q'\nIllegal argument \"?\"", 1),
        ("volt -N 0", "Maximum number of NAPI IDs must be greater than 0", 1),
        ("volt -p x", "-p takes a number, not \"x\"", 1),
        ("volt -m 99999999999999", "-m 99999999999999 is too large", 1),
        ("volt -c 99999999999", "expected at most 2147483647 (-c 99999999999)", 1),
        ("volt -t 99999999999", "expected at most 2147483647 (-t 99999999999)", 1),
        ("volt -R 99999999999", "expected at most 2147483647 (-R 99999999999)", 1),
        ("volt -b 99999999999", "expected at most 2147483647 (-b 99999999999)", 1),
        ("volt -m -5", "-m takes no negative number (-5)", 1),
        ("volt -o idle_timeout=-1", "-o idle_timeout takes no negative number (-1)", 1),
        (
            "volt -o watcher_logbuf_size=-1",
            "-o watcher_logbuf_size takes no negative number (-1)",
            1,
        ),
        (
            "volt -o idle_timeout=99999999999",
            "expected at most 4294967295 seconds (-o idle_timeout=99999999999)",
            64,
        ),
        ("volt -I -5", "Item max size cannot be less than 1024 bytes. (-I -5)", 64),
        ("volt -I 1t", "Item max size cannot be less than 1024 bytes. (-I 1t, read as 1)", 64),
        ("volt -t 0x8", "Number of threads must be greater than 0 (-t 0x8, read as 0)", 1),
        ("volt -p 70000x", "ERROR: Invalid port number 70000. (-p 70000x, read as 70000)", 64),
        (
            "volt -a 7777",
            "expected permissions in octal, such as 700 or 770, up to 777 (-a 7777)",
            64,
        ),
        ("volt --policy fifo", "expected \"s3fifo\" or \"lru\" or \"lfu\" (--policy fifo)", 64),
        ("volt -a 9", "expected permissions in octal, such as 700 or 770, up to 777 (-a 9)", 64),
    ] {
        assert_eq!(fails(line), (message.to_owned(), code), "{line}");
    }
}

#[test]
fn what_would_be_a_false_promise_is_refused() {
    for line in [
        "volt -Z",
        "volt -S",
        "volt -B binary",
        "volt -B http",
        "volt -o ssl_chain_cert=/a,ssl_key=/b",
        "volt -o ext_path=/tmp/ext:64m",
        "volt -o proxy_config=routelib",
        "volt -o slab_automove_freeratio=0.1",
        "volt -o drop_privileges",
        "volt -l proto[binary]:127.0.0.1",
        "volt -l notls:127.0.0.1",
    ] {
        assert_ne!(fails(line).1, 0, "{line}");
    }
}

#[test]
fn what_has_no_counterpart_is_taken_with_a_line_in_the_log() {
    let config = run(
        "volt -f 1.1 -n 64 -L -N 2 -o slab_reassign,slab_automove=2,no_lru_maintainer \
                      -o hash_algorithm=jenkins,tail_repair_time=10,temporary_ttl=5,hot_lru_pct=30",
    );
    let flags: Vec<&str> =
        config.notices.iter().filter_map(|notice| notice.split(" has no effect").next()).collect();
    assert_eq!(
        flags,
        [
            "-f",
            "-n",
            "-L",
            "-N",
            "-o slab_reassign",
            "-o slab_automove",
            "-o no_lru_maintainer",
            "-o hash_algorithm",
            "-o tail_repair_time",
            "-o temporary_ttl",
            "-o hot_lru_pct"
        ]
    );
    let shown = &config.command;
    assert_eq!((shown.chunk_size_bytes, shown.slab_automove, shown.hot_lru_pct), (64, 2, 30));
    assert!(!shown.lru_maintainer_thread && shown.temp_lru);
    assert_eq!(shown.hash_algorithm, "jenkins");
    let crawler = run("volt -o lru_crawler_sleep=7,lru_crawler_tocrawl=8");
    assert_eq!(crawler.notices.len(), 2, "{:?}", crawler.notices);
    for (notice, word) in crawler.notices.iter().zip(["lru_crawler_sleep", "lru_crawler_tocrawl"]) {
        assert!(notice.starts_with(&format!("-o {word} has no effect: ")), "{notice}");
    }
    let help = help::usage();
    let (acted_upon, without_effect) = help.split_once("without effect").unwrap();
    assert!(acted_upon.contains("no_lru_crawler"));
    for word in ["lru_crawler_sleep", "lru_crawler_tocrawl"] {
        assert!(without_effect.contains(word) && !acted_upon.contains(word), "{word}");
    }
    let quiet = run("volt -o relaxed_privileges,modern,no_drop_privileges,no_lru_crawler");
    assert_eq!(quiet.notices, [""; 0]);
    assert!(!quiet.command.lru_crawler);
}

#[test]
fn numbers_are_read_as_atoi_reads_them_with_a_notice() {
    let config = run("volt -m 128m");
    assert_eq!(config.engine.memory_limit, 128 << 20);
    assert_eq!(config.notices, ["-m 128m is read as 128, as memcached reads it"]);
}

#[test]
fn words_that_are_no_flags_are_ignored_with_a_notice() {
    let config = run("volt foo.toml -m 128 bar -- -t");
    assert_eq!(config.engine.memory_limit, 128 << 20);
    let ignored =
        |word| format!("\"{word}\" is no flag and is ignored; a settings file needs --config");
    assert_eq!(config.notices, ["foo.toml", "bar", "-t"].map(ignored));
}

#[test]
fn the_command_line_wins_over_the_environment_and_that_over_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("any.conf");
    std::fs::write(
        &path,
        "[server]\nport = 1\nthreads = 1\nbacklog = 1\n[memory]\npolicy = \"lfu\"",
    )
    .unwrap();
    let env = [("VOLT__SERVER__THREADS", "2"), ("VOLT__SERVER__BACKLOG", "2")];
    let config = run_in(&format!("volt --config {} -b 3", path.display()), &env);
    assert_eq!(config.server.port, Port::Fixed(1));
    assert_eq!(config.server.threads, 2);
    assert_eq!(config.server.backlog, 3);
    assert_eq!(config.engine.policy, PolicyKind::Lfu);
    assert_eq!(
        config.server.listen,
        [host("127.0.0.1")],
        "a port in a file opens no other address"
    );
}

#[test]
fn a_value_from_elsewhere_is_checked_like_a_flag() {
    let error = outcome("volt", &[("VOLT__SERVER__CONN_LIMIT", "0")]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "server.conn_limit = \"0\" (VOLT__SERVER__CONN_LIMIT in the environment): \
         Maximum connections must be greater than 0"
    );
    assert_eq!(error.exit_code(), 78);
    let error = outcome("volt", &[("VOLT__SERVER__IDLE_TIMEOUT", "1500ms")]).unwrap_err();
    assert!(error.to_string().ends_with("expected whole seconds"), "{error}");
}

#[test]
fn passwords_need_the_text_protocol_and_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("auth");
    std::fs::write(&file, "foo:bar").unwrap();
    let file = file.display();
    let config = run(&format!("volt -Y {file}"));
    assert!(config.command.auth.is_some());
    assert_eq!(config.command.binding_protocol, BindingProtocol::Ascii);
    assert!(fails(&format!("volt -Y {file} -B auto")).0.contains("BINARY protocol"));
    assert!(fails(&format!("volt -Y {file} -U 11211")).0.starts_with("Cannot use UDP"));
    assert!(
        fails("volt -Y /nowhere/auth").0.starts_with("Could not open authfile [/nowhere/auth]")
    );
    std::fs::write(dir.path().join("bad"), "foobar").unwrap();
    let bad = dir.path().join("bad");
    assert!(fails(&format!("volt -Y {}", bad.display())).0.ends_with("Should be 'user:password'"));
}

#[cfg(unix)]
#[test]
fn what_is_not_utf8_matters_only_where_it_is_a_setting() {
    use std::os::unix::ffi::OsStringExt;
    let garbage = || OsString::from_vec(vec![0xff]);
    let with = |name: &str| load([OsString::from("volt")], [(OsString::from(name), garbage())]);
    assert!(with("VOLTA_HOME").is_ok());
    assert_eq!(with("VOLT__LOG__LEVEL").unwrap_err().exit_code(), 64);
    assert_eq!(load([OsString::from("volt"), garbage()], []).unwrap_err().exit_code(), 64);
}

#[test]
fn texts_are_printed_before_anything_else_is_looked_at() {
    for line in ["volt -h", "volt --help -c 0", "volt -vV", "volt -i", "volt --config /nowhere -V"]
    {
        match outcome(line, &[("VOLT__NONSENSE", "1")]) {
            Ok(Outcome::Print(text)) => assert!(text.starts_with("memcached 1.6.45\nVolt ")),
            other => panic!("{line}: {other:?}"),
        }
    }
}

#[test]
fn metrics_go_where_somebody_wants_them_and_are_not_timed_for_nobody() {
    let config = run("volt --metrics-listen [::1]:0");
    assert_eq!(config.http.listen, http::Listen::parse("[::1]:0").unwrap());
    assert!(config.http.required);
    let off = run("volt --metrics-listen off");
    assert_eq!((off.http.listen, off.command.latency), (None, false));
    let untimed = run_in("volt", &[("VOLT__METRICS__LATENCY", "false")]);
    assert!(untimed.http.listen.is_some() && !untimed.command.latency);
    let (message, code) = fails("volt --metrics-listen 9150");
    let expected = "expected host:port, [IPv6]:port, *:port or off (--metrics-listen 9150)";
    assert_eq!((message.as_str(), code), (expected, 64));
}

#[test]
fn a_memory_file_is_a_data_directory_beside_it() {
    let directory = |line: &str| run(line).persist.map(|persist| persist.directory);
    assert_eq!(directory("volt"), None);
    assert_eq!(directory("volt --data-dir /data"), Some("/data".into()));
    assert_eq!(directory("volt -e /dev/shm/file"), Some("/dev/shm/file.volt".into()));
    assert_eq!(outcome("volt --memory-file=", &[]).unwrap_err().exit_code(), 1);
    let startup = |line: &str| run(line).persist.map(|persist| persist.startup);
    assert_eq!(startup("volt --data-dir d"), Some(Startup::Wait));
    assert_eq!(startup("volt --data-dir d --startup serve"), Some(Startup::Serve));
    let wrong = outcome("volt --data-dir d --startup later", &[]).unwrap_err().to_string();
    assert_eq!(wrong, "expected \"wait\" or \"serve\" (--startup later)");
    let wrong = outcome("volt --data-dir d", &[("VOLT__PERSIST__COMMIT_INTERVAL", "2s")]);
    let wrong = wrong.unwrap_err().to_string();
    assert!(wrong.contains("persist.commit_interval") && wrong.contains("1ms to 1s"), "{wrong}");
}
