//! The events that watchers are told of, in memcached's words (its `logger.c` defines the lines).
//!
//! Each function first asks the hub whether somebody watches; that is all it costs otherwise. Keys are
//! URI-encoded; sizes are of the value alone.

use super::{Hub, Mask};
use crate::clock::{Clock, RelTime};
use crate::command::Worker;
use crate::command::admin::SIZE_CLASS;
use crate::command::connections::{Endpoint, Transport};
use crate::command::context::Context;
use crate::engine::{ItemRef, Lookup, Observer, Removal};
use std::fmt::{self, Write};
use std::sync::Arc;

/// Why a connection was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// The server closed it: a broken request, a failed write.
    Error,
    /// The client closed it, or said `quit`.
    Normal,
    /// It was idle for too long.
    IdleTimeout,
    /// It said `shutdown`.
    Shutdown,
}

/// What a store was asked by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the commands by their names")]
pub enum StoreCommand {
    Add,
    Set,
    Replace,
    Append,
    Prepend,
    Cas,
}

/// What a store came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "memcached's words for it")]
pub enum StoreStatus {
    NotStored,
    Stored,
    Exists,
    NotFound,
    TooLarge,
    NoMemory,
}

/// What a delete was asked by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeleteCommand {
    /// `delete`.
    Delete,
    /// `md`.
    MetaDelete,
}

/// A store, done or refused.
#[derive(Debug, Clone, Copy)]
pub struct StoreEvent<'k> {
    /// The key.
    pub key: &'k [u8],
    /// What it came to.
    pub status: StoreStatus,
    /// What was asked.
    pub command: StoreCommand,
    /// The deadline of the new item, 0 for never.
    pub exptime: RelTime,
    /// Bytes of the value; 0 when it was refused.
    pub value_len: usize,
}

/// Tells that `key` was looked up, by whichever command: memcached has this line for stores, arithmetic and
/// deletes too, before their own.
#[inline]
pub fn fetch(worker: &Worker, cfd: i32, key: &[u8], lookup: &Lookup<'_>) {
    let context = &*worker.context;
    if context.watch.watching(Mask::FETCHERS) {
        log_fetch(context, cfd, key, lookup);
    }
}

#[cold]
fn log_fetch(context: &Context, cfd: i32, key: &[u8], lookup: &Lookup<'_>) {
    let (status, class, size) = match lookup {
        Lookup::Miss => ("not_found", 0, 0),
        Lookup::Hit(item) => ("found", SIZE_CLASS, item.value().len()),
        Lookup::Flushed => ("flushed", 0, 0),
        Lookup::Expired => ("expired", 0, 0),
    };
    let key = UriEncoded(key);
    context.watch.log(Mask::FETCHERS, |line| {
        write!(line, "type=item_get key={key} status={status} clsid={class} cfd={cfd} size={size}")
    });
}

/// Tells of a store.
#[inline]
pub fn store(worker: &Worker, cfd: i32, event: &StoreEvent<'_>) {
    let context = &*worker.context;
    if context.watch.watching(Mask::MUTATIONS) {
        log_store(context, cfd, event);
    }
}

#[cold]
fn log_store(context: &Context, cfd: i32, event: &StoreEvent<'_>) {
    let status = match event.status {
        StoreStatus::NotStored => "not_stored",
        StoreStatus::Stored => "stored",
        StoreStatus::Exists => "exists",
        StoreStatus::NotFound => "not_found",
        StoreStatus::TooLarge => "too_large",
        StoreStatus::NoMemory => "no_memory",
    };
    let command = match event.command {
        StoreCommand::Add => "add",
        StoreCommand::Set => "set",
        StoreCommand::Replace => "replace",
        StoreCommand::Append => "append",
        StoreCommand::Prepend => "prepend",
        StoreCommand::Cas => "cas",
    };
    let class = match event.status {
        StoreStatus::TooLarge | StoreStatus::NoMemory => 0,
        _ => SIZE_CLASS,
    };
    let ttl = match event.exptime {
        0 => 0,
        // A deadline that has passed wraps around, as it does in memcached.
        exptime => exptime.wrapping_sub(context.clock.now()),
    };
    let (key, size) = (UriEncoded(event.key), event.value_len);
    context.watch.log(Mask::MUTATIONS, |line| {
        write!(
            line,
            "type=item_store key={key} status={status} cmd={command} ttl={ttl} clsid={class} \
             cfd={cfd} size={size}"
        )
    });
}

/// Tells that a client has deleted `item`.
#[inline]
pub fn delete(worker: &Worker, item: ItemRef<'_>, command: DeleteCommand) {
    let context = &*worker.context;
    if context.watch.watching(Mask::DELETIONS) {
        log_delete(context, item, command);
    }
}

#[cold]
fn log_delete(context: &Context, item: ItemRef<'_>, command: DeleteCommand) {
    let command = match command {
        DeleteCommand::Delete => "delete",
        DeleteCommand::MetaDelete => "md",
    };
    let (key, size) = (UriEncoded(item.key()), item.value().len());
    context.watch.log(Mask::DELETIONS, |line| {
        write!(line, "type=deleted key={key} cmd={command} clsid={SIZE_CLASS} size={size}")
    });
}

/// Tells of a new connection.
pub fn connection_opened(context: &Context, endpoint: &Endpoint) {
    if context.watch.watching(Mask::CONNEVENTS) {
        log_connection(context, endpoint, "conn_new", None);
    }
}

/// Tells that a connection is being closed.
pub fn connection_closed(context: &Context, endpoint: &Endpoint, reason: CloseReason) {
    if context.watch.watching(Mask::CONNEVENTS) {
        log_connection(context, endpoint, "conn_close", Some(reason));
    }
}

fn log_connection(
    context: &Context,
    endpoint: &Endpoint,
    event: &str,
    reason: Option<CloseReason>,
) {
    let transport = match endpoint.transport {
        Transport::Local => "local",
        Transport::Tcp => "tcp",
        Transport::Udp => "udp",
    };
    let reason = match reason {
        None => "",
        Some(CloseReason::Error) => " reason=error",
        Some(CloseReason::Normal) => " reason=normal",
        Some(CloseReason::IdleTimeout) => " reason=idle_timeout",
        Some(CloseReason::Shutdown) => " reason=shutdown",
    };
    let ((ip, port), cfd) = (&endpoint.remote, endpoint.cfd);
    context.watch.log(Mask::CONNEVENTS, |line| {
        write!(line, "type={event} rip={ip} rport={port} transport={transport}{reason} cfd={cfd}")
    });
}

/// Tells of evictions: the observer to install in the engine.
#[derive(Debug)]
pub struct Evictions {
    watch: Arc<Hub>,
    clock: Arc<Clock>,
}

impl Evictions {
    /// An observer that logs to the context's hub.
    #[must_use]
    pub fn new(context: &Context) -> Self {
        Self { watch: Arc::clone(&context.watch), clock: Arc::clone(&context.clock) }
    }

    #[cold]
    fn log(&self, item: ItemRef<'_>) {
        let now = self.clock.now();
        let ttl = match item.exptime() {
            0 => -1,
            exptime => i64::from(exptime) - i64::from(now),
        };
        let age = now.saturating_sub(item.last_access());
        let fetched = if item.fetched() { "yes" } else { "no" };
        let (key, size) = (UriEncoded(item.key()), item.value().len());
        self.watch.log(Mask::EVICTIONS, |line| {
            write!(
                line,
                "type=eviction key={key} fetch={fetched} ttl={ttl} la={age} clsid={SIZE_CLASS} \
                 size={size}"
            )
        });
    }
}

impl Observer for Evictions {
    fn removed(&self, item: ItemRef<'_>, why: Removal) {
        if why == Removal::Evicted && self.watch.watching(Mask::EVICTIONS) {
            self.log(item);
        }
    }
}

/// A key as watchers and `metadump` show it: everything but letters, digits and `-._~` as `%XX`.
#[derive(Debug, Clone, Copy)]
pub struct UriEncoded<'k>(pub &'k [u8]);

impl fmt::Display for UriEncoded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
        let mut rest = self.0;
        while !rest.is_empty() {
            let (run, others) = rest.split_at(rest.iter().take_while(|byte| plain(byte)).count());
            f.write_str(std::str::from_utf8(run).unwrap_or_default())?;
            rest = others;
            if let Some((byte, others)) = others.split_first() {
                write!(f, "%{byte:02X}")?;
                rest = others;
            }
        }
        Ok(())
    }
}
