//! What the command layer is told at start: every value that `stats settings` shows and nobody else owns.
//!
//! Names are those of memcached's `stats settings` (protocol.txt, "Settings statistics"); the defaults are
//! memcached 1.6.45's. What the engine owns (memory limit, item size, evictions, cas) is not repeated here.
//! What a client may change at run time starts from these values and lives in
//! [`Tunables`](super::admin::tunables::Tunables). Some settings have no counterpart in Volt (slabs, LRU
//! segments): they are accepted, shown as given, and do nothing.

use std::path::PathBuf;

/// Options of the command layer.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    // Process and listeners: shown, and acted upon elsewhere.
    /// Most connections at once (`-c`).
    pub maxconns: u32,
    /// TCP port, 0 for none (`-p`).
    pub tcpport: i32,
    /// UDP port, 0 for none (`-U`).
    pub udpport: i32,
    /// Interfaces to listen on, as given (`-l`).
    pub inter: Option<String>,
    /// Path of the unix socket (`-s`).
    pub domain_socket: Option<PathBuf>,
    /// Mode of the unix socket; shown in octal (`-a`).
    pub umask: u32,
    /// Worker threads (`-t`).
    pub num_threads: u32,
    /// Length of the queue of connections not yet accepted (`-b`).
    pub tcp_backlog: u32,
    /// `auto-negotiate`, `ascii` or `binary` (`-B`).
    pub binding_protocol: BindingProtocol,
    /// Over `maxconns`: answer with an error and close, in place of leaving connections unaccepted.
    pub maxconns_fast: bool,
    /// Seconds until an idle connection is closed, 0 for never.
    pub idle_timeout_s: u32,
    /// Bytes that all read buffers together may take, 0 for no limit of their own.
    pub read_buf_mem_limit_bytes: u64,
    /// File that the cache is saved to and restored from (`-e`).
    pub memory_file: Option<PathBuf>,

    // What clients may do.
    /// Words on standard error: 0 to 3 and more (`-v`).
    pub verbosity: u32,
    /// `shutdown` is allowed (`-A`).
    pub shutdown_command: bool,
    /// `flush_all` is allowed (not `-F`).
    pub flush_enabled: bool,
    /// A delete is answered when the copy on disk has it, if there is one.
    pub durable_deletes: bool,
    /// `stats cachedump` and `lru_crawler metadump` are allowed (not `-X`).
    pub dump_enabled: bool,
    /// `watch` is allowed (not `-W`).
    pub watch_enabled: bool,
    /// Commands that only tests need (`debugtime`).
    pub debug_commands: bool,
    /// File with the users that may log in, as given (`-Y`); shown, the users themselves are in `auth`.
    pub auth_file: Option<PathBuf>,
    /// Users that may log in; `None`: nobody has to.
    pub auth: Option<super::auth::Credentials>,
    /// Requests of one connection before others get their turn (`-R`).
    pub reqs_per_event: u32,

    // Statistics.
    /// Ends the prefix of a key in `stats detail` (`-D`).
    pub stat_key_prefix: u8,
    /// Counts by prefix from the start (`-D`).
    pub detail_enabled: bool,
    /// `stats sizes` is to be answered.
    pub track_sizes: bool,
    /// The keys that are asked for most are counted from the start.
    pub hot_keys: bool,
    /// How long commands take is measured.
    pub latency: bool,
    /// Bytes of lines kept for a watcher that does not read.
    pub watcher_logbuf_size_bytes: usize,
    /// Bytes of lines that one worker may have on their way to the watchers.
    pub worker_logbuf_size_bytes: usize,

    // The table.
    /// log2 of the table's first size as asked for, 0 for the default.
    pub hashpower_init: u32,
    /// Name of the hash as asked for; shown. Volt always uses its own, keyed at random.
    pub hash_algorithm: String,

    // Slabs and LRU of memcached: shown. Volt has neither slabs nor LRU segments to apply them to.
    /// Each slab class is larger than the one before by this (`-f`).
    pub growth_factor: f64,
    /// Bytes of key, value and flags in the smallest slab class (`-n`).
    pub chunk_size_bytes: u32,
    /// Largest slab class.
    pub slab_chunk_max_bytes: u32,
    /// Shown; there are no slabs to move.
    pub slab_reassign: bool,
    /// Shown; there are no slabs to move.
    pub slab_automove: u32,
    /// Shown; there are no slabs to move.
    pub slab_automove_ratio: f64,
    /// Shown; there are no slabs to move.
    pub slab_automove_window: u32,
    /// Clients may ask for crawls and dumps; expired items are looked for in the background either way.
    pub lru_crawler: bool,
    /// Shown; a crawl gives way to other clients after every step. Microseconds.
    pub lru_crawler_sleep_us: u32,
    /// Shown; a crawl visits everything. Items.
    pub lru_crawler_tocrawl: u32,
    /// Shown; nothing can be left at a tail.
    pub tail_repair_time_s: u32,
    /// Shown; recency is maintained without a thread.
    pub lru_maintainer_thread: bool,
    /// Shown; one recency order for all.
    pub lru_segmented: bool,
    /// Shown.
    pub hot_lru_pct: u32,
    /// Shown.
    pub warm_lru_pct: u32,
    /// Shown.
    pub hot_max_factor: f64,
    /// Shown.
    pub warm_max_factor: f64,
    /// Shown: items that live shorter than `temporary_ttl_s` are kept apart.
    pub temp_lru: bool,
    /// Shown.
    pub temporary_ttl_s: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            maxconns: 1024,
            tcpport: 11211,
            udpport: 0,
            inter: None,
            domain_socket: None,
            umask: 0o700,
            num_threads: 4,
            tcp_backlog: 1024,
            binding_protocol: BindingProtocol::Negotiating,
            maxconns_fast: true,
            idle_timeout_s: 0,
            read_buf_mem_limit_bytes: 0,
            memory_file: None,
            verbosity: 0,
            shutdown_command: false,
            flush_enabled: true,
            durable_deletes: false,
            dump_enabled: true,
            watch_enabled: true,
            debug_commands: false,
            auth_file: None,
            auth: None,
            reqs_per_event: 20,
            stat_key_prefix: b':',
            detail_enabled: false,
            track_sizes: false,
            hot_keys: false,
            latency: false,
            watcher_logbuf_size_bytes: 256 * 1024,
            worker_logbuf_size_bytes: 64 * 1024,
            hashpower_init: 0,
            hash_algorithm: "murmur3".to_owned(),
            growth_factor: 1.25,
            chunk_size_bytes: 48,
            slab_chunk_max_bytes: 512 * 1024,
            slab_reassign: true,
            slab_automove: 1,
            slab_automove_ratio: 0.80,
            slab_automove_window: 10,
            lru_crawler: true,
            lru_crawler_sleep_us: 100,
            lru_crawler_tocrawl: 0,
            tail_repair_time_s: 0,
            lru_maintainer_thread: true,
            lru_segmented: true,
            hot_lru_pct: 20,
            warm_lru_pct: 40,
            hot_max_factor: 0.20,
            warm_max_factor: 2.00,
            temp_lru: false,
            temporary_ttl_s: 61,
        }
    }
}

/// Which protocol a connection may speak (`-B`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BindingProtocol {
    /// The text protocols only.
    Ascii,
    /// The binary protocol only.
    Binary,
    /// The first byte decides.
    #[default]
    Negotiating,
}

impl BindingProtocol {
    /// memcached's name of it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ascii => "ascii",
            Self::Binary => "binary",
            Self::Negotiating => "auto-negotiate",
        }
    }
}
