//! `stats`: memcached's general statistics, all of its names in its order.
//!
//! What Volt has no counterpart of (slabs, LRU segments, response objects) stays at zero, so that whoever
//! expects the name finds it.

use super::{Sink, Snapshot};
use crate::command::admin::rusage;
use crate::protocol::VERSION;

/// Writes the general statistics.
pub fn write(snapshot: &Snapshot<'_>, sink: &mut Sink<'_>) {
    process(snapshot, sink);
    connections(snapshot, sink);
    commands(snapshot, sink);
    network(snapshot, sink);
    maintenance(snapshot, sink);
    log(snapshot, sink);
    items(snapshot, sink);
    if let Some(durability) = &snapshot.context.durability {
        durability.figures(sink);
    }
}

fn process(snapshot: &Snapshot<'_>, sink: &mut Sink<'_>) {
    let clock = &snapshot.context.clock;
    let (user, system) = rusage::cpu_times();
    sink("pid", &std::process::id());
    sink("uptime", &clock.uptime());
    sink("time", &clock.unix());
    sink("version", &VERSION);
    // Where memcached names its event library.
    sink("libevent", &"none");
    sink("pointer_size", &usize::BITS);
    sink("rusage_user", &user);
    sink("rusage_system", &system);
}

fn connections(snapshot: &Snapshot<'_>, sink: &mut Sink<'_>) {
    let context = snapshot.context;
    let open = context.connections.count();
    sink("max_connections", &context.options.maxconns);
    sink("curr_connections", &open);
    sink("total_connections", &snapshot.totals.total_connections);
    if context.options.maxconns_fast {
        sink("rejected_connections", &snapshot.totals.rejected_connections);
    }
    sink("connection_structures", &context.connections.peak());
    sink("response_obj_oom", &0);
    sink("response_obj_count", &0);
    sink("response_obj_bytes", &0);
    sink("read_buf_count", &open);
    sink("read_buf_bytes", &snapshot.engine.buffer_bytes);
    sink("read_buf_bytes_free", &0);
    sink("read_buf_oom", &0);
    sink("reserved_fds", &0);
}

fn commands(snapshot: &Snapshot<'_>, sink: &mut Sink<'_>) {
    let totals = &snapshot.totals;
    sink("cmd_get", &totals.cmd_get);
    sink("cmd_set", &totals.cmd_set);
    sink("cmd_flush", &totals.cmd_flush);
    sink("cmd_touch", &totals.cmd_touch);
    sink("cmd_meta", &totals.cmd_meta);
    sink("get_hits", &totals.get_hits);
    sink("get_misses", &totals.get_misses);
    sink("get_expired", &totals.get_expired);
    sink("get_flushed", &totals.get_flushed);
    sink("delete_misses", &totals.delete_misses);
    sink("delete_hits", &totals.delete_hits);
    sink("incr_misses", &totals.incr_misses);
    sink("incr_hits", &totals.incr_hits);
    sink("decr_misses", &totals.decr_misses);
    sink("decr_hits", &totals.decr_hits);
    sink("cas_misses", &totals.cas_misses);
    sink("cas_hits", &totals.cas_hits);
    sink("cas_badval", &totals.cas_badval);
    sink("touch_hits", &totals.touch_hits);
    sink("touch_misses", &totals.touch_misses);
    sink("store_too_large", &totals.store_too_large);
    sink("store_no_memory", &totals.store_no_memory);
    sink("auth_cmds", &totals.auth_cmds);
    sink("auth_errors", &totals.auth_errors);
}

fn network(snapshot: &Snapshot<'_>, sink: &mut Sink<'_>) {
    let options = &snapshot.context.options;
    let (totals, engine) = (&snapshot.totals, &snapshot.engine);
    if options.idle_timeout_s > 0 {
        sink("idle_kicks", &totals.idle_kicks);
    }
    sink("bytes_read", &totals.bytes_read);
    sink("bytes_written", &totals.bytes_written);
    sink("limit_maxbytes", &engine.memory_limit);
    sink("accepting_conns", &u8::from(snapshot.context.connections.accepting()));
    sink("listen_disabled_num", &totals.listen_disabled_num);
    sink("time_in_listen_disabled_us", &totals.time_in_listen_disabled_us);
    sink("threads", &options.num_threads);
    sink("conn_yields", &totals.conn_yields);
    sink("hash_power_level", &engine.hash_power);
    sink("hash_bytes", &engine.table_bytes);
    sink("hash_is_expanding", &0);
}

fn maintenance(snapshot: &Snapshot<'_>, sink: &mut Sink<'_>) {
    let context = snapshot.context;
    if context.options.slab_reassign {
        sink("slab_reassign_rescues", &0);
        sink("slab_reassign_chunk_rescues", &0);
        sink("slab_reassign_inline_reclaim", &0);
        sink("slab_reassign_busy_items", &0);
        sink("slab_reassign_busy_deletes", &0);
        sink("slab_reassign_busy_nomem", &0);
        sink("slab_reassign_last_busy_status", &"none");
        sink("slab_reassign_running", &0);
        sink("slabs_moved", &0);
    }
    if context.tunables.lru_crawler.get() {
        // A crawl is over before its answer is sent.
        sink("lru_crawler_running", &0);
        sink("lru_crawler_starts", &snapshot.totals.lru_crawler_starts);
    }
    if context.options.lru_maintainer_thread {
        sink("lru_maintainer_juggles", &0);
    }
    sink("malloc_fails", &0);
}

fn log(snapshot: &Snapshot<'_>, sink: &mut Sink<'_>) {
    let log = snapshot.context.watch.stats();
    sink("log_worker_dropped", &log.worker_dropped);
    sink("log_worker_written", &log.worker_written);
    sink("log_watcher_skipped", &log.watcher_skipped);
    sink("log_watcher_sent", &log.watcher_sent);
    sink("log_watchers", &log.watchers);
    sink("unexpected_napi_ids", &0);
    sink("round_robin_fallback", &0);
}

fn items(snapshot: &Snapshot<'_>, sink: &mut Sink<'_>) {
    let (totals, engine) = (&snapshot.totals, &snapshot.engine);
    let maintained = snapshot.context.options.lru_maintainer_thread;
    sink("bytes", &engine.item_bytes);
    sink("curr_items", &engine.items);
    sink("total_items", &totals.total_items);
    sink("slab_global_page_pool", &0);
    sink("expired_unfetched", &totals.expired_unfetched);
    sink("evicted_unfetched", &totals.evicted_unfetched);
    if maintained {
        sink("evicted_active", &0);
    }
    sink("evictions", &totals.evictions);
    sink("reclaimed", &totals.reclaimed);
    sink("crawler_reclaimed", &totals.crawler_reclaimed);
    sink("crawler_items_checked", &totals.crawler_items_checked);
    sink("lrutail_reflocked", &0);
    if maintained {
        sink("moves_to_cold", &0);
        sink("moves_to_warm", &0);
        sink("moves_within_lru", &0);
        sink("direct_reclaims", &totals.direct_reclaims);
        sink("lru_bumps_dropped", &0);
    }
}
