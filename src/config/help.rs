//! What `-h`, `-V` and `-i` print.
//!
//! The first line is memcached's name and version, because scripts ask for it to find out what they talk to;
//! the second says who answers. memcached's test-suite looks for words such as `unix-socket` in this text to see
//! what there is to test, so what Volt does not have is not named here.

use std::fmt::Write;

/// The version of memcached whose behaviour Volt has.
pub const MEMCACHED_VERSION: &str = "1.6.45";

/// memcached's flags, by subject.
const FLAGS: &str = r#"
Where clients come in
-p, --port=<num>          TCP port (default: 11211; 0: none, -1: any free one)
-U, --udp-port=<num>      UDP port (default: 0, none; -1: any free one)
-l, --listen=<addr>       address to listen on: host, host:port, [IPv6]:port or *;
                          several with commas, or by repeating -l
                          (default: 127.0.0.1; all addresses, as memcached does,
                          with -p or -U or when started as memcached)
-s, --unix-socket=<file>  unix socket to listen on, in place of TCP and UDP
-a, --unix-mask=<mask>    permissions of the unix socket, in octal (default: 700)
-b, --listen-backlog=<num> connections that may wait to be accepted (default: 1024)
-c, --conn-limit=<num>    most connections at one time (default: 1024)
-B, --protocol=<name>     ascii or auto (default: auto)
-Y, --auth-file=<file>    clients have to log in; lines of user:password

Memory
-m, --memory-limit=<num>  memory in megabytes (default: 64)
-I, --max-item-size=<num> largest item, with k or m at the end for its unit
                          (default: 1m, min: 1k, max: 1024m)
-M, --disable-evictions   a store that finds no memory fails
-e, --memory-file=<file>  contents survive a restart, in the directory <file>.volt
-k, --lock-memory         keep all memory from being swapped out

Commands
-A, --enable-shutdown     allow the shutdown command
-C, --disable-cas         items without cas uniques
-F, --disable-flush-all   refuse flush_all
-X, --disable-dumping     refuse stats cachedump, stats detail, lru_crawler metadump
-W, --disable-watch       refuse watch
-D <char>                 end of a key's prefix in stats detail (default: ":");
                          counts by prefix from the start
-R, --max-reqs-per-event=<num> requests of one connection before the others get
                          their turn (default: 20)

Process
-t, --threads=<num>       worker threads (default: 4)
-d, --daemon              run in the background
-u, --user=<user>         user to become when started as root
-P, --pidfile=<file>      file for the process id
-r, --enable-coredumps    raise the limit on core files
-v, --verbose             more in the log: -v also connections, -vv everything
-h, --help                print this text
-i, --license             print the licence
-V, --version             print the version
-o, --extended=<words>    comma separated list of these, several -o add up:
   - maxconns_fast        over -c turn away with an error (default); no_maxconns_fast
                          lets connections wait
   - hashpower=<num>      log2 of the table's first size, 12 to 32 (default: 12)
   - idle_timeout=<sec>   close connections silent for longer (default: 0, never)
   - track_sizes          count items by size for stats sizes
   - watcher_logbuf_size=<kb> lines kept for one watcher (default: 256)
   - worker_logbuf_size=<kb>  lines of one worker for the watchers (default: 64)
   - no_lru_crawler       refuse clients' crawls and dumps (lru_crawler crawl, metadump,
                          mgdump) until lru_crawler enable; expired items are taken
                          out in the background all the same
   - modern, no_modern

Taken for memcached's sake, without effect
-f, --slab-growth-factor  -n, --slab-min-size  -L, --enable-largepages  -N, --napi-ids
-o lru_crawler_sleep, lru_crawler_tocrawl, no_hashexpand, hash_algorithm,
   tail_repair_time, read_buf_mem_limit, slab_sizes, slab_chunk_max, slab_reassign,
   slab_automove, slab_automove_ratio, slab_automove_window, lru_maintainer,
   hot_lru_pct, warm_lru_pct, hot_max_factor, warm_max_factor, temporary_ttl

Volt's own
    --config <file>       settings file; config/volt.toml has every key with its
                          default. VOLT__SECTION__KEY in the environment wins over
                          the file, the command line over both
    --data-dir <dir>      keep a copy of the cache there: warm after a restart, a kill
                          or a power cut
    --startup <how>       clients are served when that copy is loaded (wait, the
                          default), or at once, while it is being loaded (serve)
    inspect <dir>         in place of flags: verify a data directory and print what it
                          holds; export <dir> writes its items to standard output as
                          commands, import <dir> adds those on standard input to it
    --policy <name>       what is evicted first: s3fifo, lru or lfu (default: s3fifo)
    --metrics-listen <addr> where /metrics, /healthz and /readyz are: host:port or
                          off (default: 127.0.0.1:9150)
volt healthcheck [<addr>] does a Volt answer there? exit code 0 or 1
                          (default: the environment's port, or 127.0.0.1:11211)
volt top [-n <frames>] [<metrics addr> [<addr>]] what a running Volt does, in a
                          terminal (default: 127.0.0.1:9150 127.0.0.1:11211)
"#;

/// The text of `-h`.
pub(super) fn usage() -> String {
    let mut text = version();
    // Writing to a String cannot fail.
    let _ = write!(text, "{FLAGS}");
    text
}

/// The text of `-V`.
pub(super) fn version() -> String {
    format!(
        "memcached {MEMCACHED_VERSION}\nVolt {}, a replacement for memcached\n",
        env!("CARGO_PKG_VERSION")
    )
}

/// The text of `-i`.
pub(super) fn license() -> String {
    format!("{}\n{}", version(), include_str!("../../LICENSE"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_lines_tell_whose_behaviour_and_who_it_is() {
        for text in [usage(), version(), license()] {
            let mut lines = text.lines();
            assert_eq!(lines.next(), Some("memcached 1.6.45"));
            assert!(lines.next().is_some_and(|line| line.starts_with("Volt ")));
        }
    }

    #[test]
    fn help_names_what_there_is_to_test_and_nothing_else() {
        let text = usage();
        assert!(text.contains("unix-socket"));
        for word in ["enable-ssl", "sasl", "ext_path", "proxy_config", "no_drop_privileges"] {
            assert!(!text.contains(word), "{word}");
        }
        assert!(text.lines().all(|line| line.len() <= 90), "fits a terminal");
    }
}
