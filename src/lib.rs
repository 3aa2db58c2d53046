//! # Volt: a memcached that remembers
//!
//! This page is the map. It says which parts there are, who may import whom, how a request travels, and what
//! always holds. `tests/tidy.rs` holds the code to it.
//!
//! ## Threads
//!
//! ```text
//!   main ──► node: builds the parts, waits for a signal, stops the parts in order
//!     │
//!     ├─ acceptor ── accepts, counts, hands each connection to a worker in turn
//!     │
//!     ├─ worker 0..t   one current-thread tokio runtime each; a connection lives and dies on one worker
//!     │     socket ─► connection ─► conversation ─► engine ─► output ─► socket      (no lock, no channel, no task switch)
//!     │
//!     ├─ persist    writes what has changed to disk; a second thread waits for the disk; sled has threads of its own
//!     ├─ keeper     ticks the clock, takes expired items out of the table, serves crawls
//!     ├─ watch hub  formats log lines for `watch`ers; asleep while nobody watches
//!     │
//!     └─ http       /metrics, /healthz, /readyz: reads the counters of the others, writes nothing of theirs
//! ```
//!
//! ## Floors: who may import whom
//!
//! | floor | modules | may import |
//! |---|---|---|
//! | 5 | `main`, `node` | everything below |
//! | 4 | `config` | floor 0; the options of floors 1 to 3 and what they are made of |
//! | 3 | `server`, `http`, `tool` (later `grpc`, `cluster`) | floors 0 to 2; not each other |
//! | 2 | `command`; `persist` | floors 0 and 1; not each other |
//! | 1 | `protocol`; `engine` | floor 0; not each other |
//! | 0 | `sync`, `clock`, `stats`, `units` | nothing of Volt |
//!
//! One outside crate, one door: tokio only in `server`, `http` and `node`, the other crates about sockets only in
//! `server`; the crates about metrics only in `http::metrics::page`;
//! crossbeam-epoch only in `engine::reclaim`; the allocator only in `engine::memory`, and in `main`, which makes it
//! the process's; the config crate only in `config`, tracing-subscriber in `config::logging`; libc only in
//! `server`, `command::admin::rusage`, `engine::table::buckets` and `engine::arena::system`; sled only in `persist::generation`; log lines are written by `persist` and on
//! floors 3 to 5. `protocol`, `engine` and
//! `command` are synchronous: they do no I/O and can be tested without a runtime.
//!
//! ## The path of a request
//!
//! A readable socket fills the worker's input buffer (`server::connection`). `command::Conversation` takes the
//! bytes, lets `protocol` parse one request in place (keys and values are borrowed from the input, "not
//! complete yet" is an answer of its own), runs it against a pinned `engine::Session`, and appends the reply to
//! one `command::Output`. When the input is used up, one write sends the output. A value that has not arrived
//! whole is received into the memory of the item that it will become (`engine::Draft`); publishing the draft is
//! one compare-and-swap in the table.
//!
//! ## The path of a change to disk
//!
//! After a change has taken effect, its key goes into a ring of the thread's (`engine::marks`). The writer
//! (`persist::writer`) empties the rings some forty times a second, looks up what each key is now, and appends that to
//! a log of checksummed frames. A walk of the table into the same log supersedes what is before it. At
//! start the log is read newest first (`persist::load`), before clients are served or beside them: what they have done since
//! is newer (`engine::departures`).
//!
//! ## Invariants
//!
//! * A data operation takes no lock, spins on nobody and never waits for a disk. The mutexes in the tree guard
//!   lists that only start-up, `stats` and `watch` touch. The exception has to be asked for: while `stats detail` or
//!   `stats hotkeys` is on, an operation counts under a mutex of its own worker's, for which only the dump of those
//!   counts and their reset contend with it.
//! * Per key, operations are linearizable. An item is immutable once published, apart from its deadline, its
//!   access time, its policy bits and two flags; every other change publishes a new item in its place.
//! * A pinned epoch (`Session`) covers a bounded batch and never lives across an await: it is not `Send`, and
//!   the conversation lets go of it before it returns.
//! * Memory is accounted where it is allocated: items by the size of their slot (`engine::arena`), the table, drafts, held
//!   values, connection buffers, and retired items until their epoch has passed. The sum stays within the limit
//!   by eviction; while a thread that has lost the processor keeps much garbage from being freed, the others
//!   stand back for some milliseconds before a batch. Free slots beside items are a twenty-fourth of the limit and a MiB
//!   at most: items move together to free whole spans (`engine::compact`), and what is more costs items their place.
//! * A client that does not read costs at most one output buffer and two held values, the first of them shorter than
//!   128 KiB: no request is parsed while output waits beyond its high-water mark.
//! * `cas` uniques are 64 bits and grow strictly, whoever writes.
//! * A counter is written by one thread. What is shared between workers is written per allocation at most, not per
//!   hit.
//!
//! ## Reading order
//!
//! `main.rs`, `node/mod.rs`, then a get in six files: `server/connection.rs`, `command/conversation.rs`,
//! `protocol/mod.rs`, `command/retrieval.rs`, `engine/session.rs`, `engine/table/mod.rs`; then
//! `engine/item/mod.rs` (the bytes of an item), `engine/reclaim.rs` and `engine/evict/mod.rs`.

pub mod clock;
pub mod command;
pub mod config;
pub mod engine;
pub mod http;
pub mod node;
pub mod persist;
pub mod protocol;
pub mod server;
pub mod stats;
pub mod sync;
pub mod tool;
pub mod units;

/// The examples of the README, which are tests too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
