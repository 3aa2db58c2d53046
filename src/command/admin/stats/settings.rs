//! `stats settings`: what the server was told, in memcached's names and order.
//!
//! Left out are the settings of what memcached can be built without and Volt is: TLS, extstore, the proxy.

use super::{Sink, Snapshot};
use crate::command::Context;
use std::fmt::Display;
use std::path::Path;

/// Writes the settings.
pub fn write(snapshot: &Snapshot<'_>, sink: &mut Sink<'_>) {
    process(snapshot.context, sink);
    protocol(snapshot.context, sink);
    slabs(snapshot.context, sink);
    lru(snapshot.context, sink);
    rest(snapshot.context, sink);
}

fn yes(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}

fn path<'p>(path: Option<&'p Path>, none: &'p str) -> impl Display + 'p {
    path.unwrap_or(Path::new(none)).display()
}

fn process(context: &Context, sink: &mut Sink<'_>) {
    let options = &context.options;
    let engine = context.engine.options();
    sink("maxbytes", &context.engine.stats().memory_limit);
    sink("maxconns", &options.maxconns);
    sink("tcpport", &options.tcpport);
    sink("udpport", &options.udpport);
    sink("inter", &options.inter.as_deref().unwrap_or("NULL"));
    sink("verbosity", &context.tunables.verbosity.get());
    sink("oldest", &0);
    sink("evictions", &if engine.evictions { "on" } else { "off" });
    sink("domain_socket", &path(options.domain_socket.as_deref(), "NULL"));
    sink("umask", &format_args!("{:o}", options.umask));
    sink("shutdown_command", &yes(options.shutdown_command));
    sink("growth_factor", &format_args!("{:.2}", options.growth_factor));
    sink("chunk_size", &options.chunk_size_bytes);
    sink("num_threads", &options.num_threads);
    sink("num_threads_per_udp", &options.num_threads);
}

fn protocol(context: &Context, sink: &mut Sink<'_>) {
    let options = &context.options;
    let engine = context.engine.options();
    sink("stat_key_prefix", &char::from(options.stat_key_prefix));
    sink("detail_enabled", &yes(context.detail.enabled()));
    sink("reqs_per_event", &options.reqs_per_event);
    sink("cas_enabled", &yes(engine.use_cas));
    sink("tcp_backlog", &options.tcp_backlog);
    sink("binding_protocol", &options.binding_protocol.name());
    sink("auth_enabled_sasl", &"no");
    sink("auth_enabled_ascii", &path(options.auth_file.as_deref(), "no"));
    sink("item_size_max", &context.engine.item_size_max());
    sink("maxconns_fast", &yes(options.maxconns_fast));
    sink("hashpower_init", &options.hashpower_init);
}

fn slabs(context: &Context, sink: &mut Sink<'_>) {
    let (tunables, options) = (&context.tunables, &context.options);
    sink("slab_reassign", &yes(options.slab_reassign));
    sink("slab_automove", &tunables.slab_automove.get());
    sink("slab_automove_ratio", &format_args!("{:.2}", tunables.slab_automove_ratio.get()));
    sink("slab_automove_window", &tunables.slab_automove_window.get());
    sink("slab_chunk_max", &options.slab_chunk_max_bytes);
}

fn lru(context: &Context, sink: &mut Sink<'_>) {
    let (tunables, options) = (&context.tunables, &context.options);
    sink("lru_crawler", &yes(tunables.lru_crawler.get()));
    sink("lru_crawler_sleep", &tunables.lru_crawler_sleep_us.get());
    sink("lru_crawler_tocrawl", &tunables.lru_crawler_tocrawl.get());
    sink("tail_repair_time", &options.tail_repair_time_s);
    sink("flush_enabled", &yes(options.flush_enabled));
    sink("dump_enabled", &yes(options.dump_enabled));
    sink("hash_algorithm", &options.hash_algorithm);
    sink("lru_maintainer_thread", &yes(options.lru_maintainer_thread));
    sink("lru_segmented", &yes(tunables.lru_segmented.get()));
    sink("hot_lru_pct", &tunables.hot_lru_pct.get());
    sink("warm_lru_pct", &tunables.warm_lru_pct.get());
    sink("hot_max_factor", &format_args!("{:.2}", tunables.hot_max_factor.get()));
    sink("warm_max_factor", &format_args!("{:.2}", tunables.warm_max_factor.get()));
    sink("temp_lru", &yes(tunables.temp_lru.get()));
    sink("temporary_ttl", &tunables.temporary_ttl_s.get());
}

fn rest(context: &Context, sink: &mut Sink<'_>) {
    let (tunables, options) = (&context.tunables, &context.options);
    sink("idle_timeout", &options.idle_timeout_s);
    sink("watcher_logbuf_size", &options.watcher_logbuf_size_bytes);
    sink("worker_logbuf_size", &options.worker_logbuf_size_bytes);
    sink("read_buf_mem_limit", &options.read_buf_mem_limit_bytes);
    sink("track_sizes", &yes(options.track_sizes));
    sink("inline_ascii_response", &"no");
    sink("slab_automove_freeratio", &format_args!("{:.3}", tunables.slab_automove_freeratio.get()));
    sink("num_napi_ids", &0);
    sink("memory_file", &path(options.memory_file.as_deref(), "(null)"));
    sink("client_flags_size", &size_of::<u32>());
}
