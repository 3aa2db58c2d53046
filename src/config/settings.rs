//! The settings model: every key of `volt.toml`, with its default.
//!
//! One table a subject, in the words a user knows; the parts' own options are assembled from it in
//! [`assemble`](super::assemble). The defaults here and the file `config/volt.toml` are the same by test, key by
//! key, so the file is the reference of the keys and this is only their shape.

use crate::http;
use crate::units::{ByteSize, Span};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// All settings.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    pub(super) memory: Memory,
    pub(super) server: Server,
    pub(super) commands: Commands,
    pub(super) metrics: Metrics,
    pub(super) persist: Persist,
    pub(super) process: Process,
    pub(super) log: Log,
}

/// What may be stored, and what goes when memory is full.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Memory {
    pub(super) limit: ByteSize,
    pub(super) item_size_max: ByteSize,
    pub(super) evictions: bool,
    pub(super) policy: String,
    pub(super) hash_power: i64,
}

/// Where clients come in, and how many.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Server {
    pub(super) listen: String,
    pub(super) port: i64,
    pub(super) udp_port: i64,
    pub(super) unix_socket: String,
    pub(super) unix_mask: String,
    pub(super) protocol: String,
    pub(super) backlog: i64,
    pub(super) threads: i64,
    pub(super) conn_limit: i64,
    pub(super) maxconns_fast: bool,
    pub(super) idle_timeout: Span,
    pub(super) max_reqs_per_event: i64,
    pub(super) auth_file: String,
}

/// What clients may ask for, and what is counted.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Commands {
    pub(super) cas: bool,
    pub(super) flush_all: bool,
    pub(super) dump: bool,
    pub(super) watch: bool,
    pub(super) shutdown: bool,
    pub(super) prefix_delimiter: String,
    pub(super) stats_detail: bool,
    pub(super) hot_keys: bool,
    pub(super) track_sizes: bool,
    pub(super) watcher_logbuf_size: ByteSize,
    pub(super) worker_logbuf_size: ByteSize,
}

/// What Volt tells those who watch over it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Metrics {
    pub(super) listen: String,
    pub(super) latency: bool,
    pub(super) hot_key_names: bool,
}

/// The copy of the cache on disk.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Persist {
    pub(super) directory: String,
    pub(super) commit_interval: Span,
    pub(super) fsync_interval: Span,
    pub(super) startup: String,
    pub(super) durable_deletes: bool,
    pub(super) load_limit: Span,
    pub(super) required: bool,
}

/// The process as the system sees it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Process {
    pub(super) daemon: bool,
    pub(super) pid_file: String,
    pub(super) user: String,
    pub(super) core_dumps: bool,
    pub(super) lock_memory: bool,
}

/// The log.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Log {
    pub(super) level: String,
    pub(super) format: String,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            limit: ByteSize(64 << 20),
            item_size_max: ByteSize(1 << 20),
            evictions: true,
            policy: "s3fifo".to_owned(),
            hash_power: 12,
        }
    }
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: String::new(),
            port: 11211,
            udp_port: 0,
            unix_socket: String::new(),
            unix_mask: "700".to_owned(),
            protocol: "auto".to_owned(),
            backlog: 1024,
            threads: 4,
            conn_limit: 1024,
            maxconns_fast: true,
            idle_timeout: Span(Duration::ZERO),
            max_reqs_per_event: 20,
            auth_file: String::new(),
        }
    }
}

impl Default for Commands {
    fn default() -> Self {
        Self {
            cas: true,
            flush_all: true,
            dump: true,
            watch: true,
            shutdown: false,
            prefix_delimiter: ":".to_owned(),
            stats_detail: false,
            hot_keys: false,
            track_sizes: false,
            watcher_logbuf_size: ByteSize(256 << 10),
            worker_logbuf_size: ByteSize(64 << 10),
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self { listen: http::DEFAULT_LISTEN.to_owned(), latency: true, hot_key_names: false }
    }
}

impl Default for Persist {
    fn default() -> Self {
        Self {
            directory: String::new(),
            commit_interval: Span(Duration::from_millis(25)),
            fsync_interval: Span(Duration::from_millis(250)),
            startup: "wait".to_owned(),
            durable_deletes: false,
            load_limit: Span(Duration::from_secs(5 * 60)),
            required: false,
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: "text".to_owned() }
    }
}
