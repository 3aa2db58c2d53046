//! `stats items` and `stats slabs`: the one size class that holds everything.
//!
//! Both have the names that exporters parse, and the same sums as memcached over all its classes. A page is taken
//! to be 1 MiB and a chunk to be just larger than the mean item, so that chunks times their size is the memory
//! in use, and a little more.

use super::{Sink, Snapshot};
use crate::command::admin::SIZE_CLASS;
use std::fmt::Display;

/// Bytes of a memcached page.
const PAGE_BYTES: u64 = 1024 * 1024;

/// Writes `stats items`; nothing while there are no items.
pub fn items(snapshot: &Snapshot<'_>, sink: &mut Sink<'_>) {
    let (totals, engine) = (&snapshot.totals, &snapshot.engine);
    if engine.items == 0 {
        return;
    }
    let maintained = snapshot.context.options.lru_maintainer_thread;
    let mut stat =
        |name: &str, value: &dyn Display| sink(&format!("items:{SIZE_CLASS}:{name}"), value);
    stat("number", &engine.items);
    if maintained {
        stat("number_hot", &0);
        stat("number_warm", &0);
        stat("number_cold", &engine.items);
        if snapshot.context.tunables.temp_lru.get() {
            stat("number_temp", &0);
        }
        stat("age_hot", &0);
        stat("age_warm", &0);
    }
    // There is no tail whose age could be told: that of the item that was evicted last is nearest to it.
    stat("age", &engine.eviction_age);
    stat("mem_requested", &engine.item_bytes);
    stat("evicted", &totals.evictions);
    stat("evicted_nonzero", &totals.evicted_nonzero);
    // `stats reset` forgets it with the evictions.
    stat("evicted_time", if totals.evictions > 0 { &engine.eviction_age } else { &0 });
    stat("outofmemory", &totals.store_no_memory);
    stat("tailrepairs", &0);
    stat("reclaimed", &totals.reclaimed);
    stat("expired_unfetched", &totals.expired_unfetched);
    stat("evicted_unfetched", &totals.evicted_unfetched);
    if maintained {
        stat("evicted_active", &0);
    }
    stat("crawler_reclaimed", &totals.crawler_reclaimed);
    stat("crawler_items_checked", &totals.crawler_items_checked);
    stat("lrutail_reflocked", &0);
    if maintained {
        stat("moves_to_cold", &0);
        stat("moves_to_warm", &0);
        stat("moves_within_lru", &0);
        stat("direct_reclaims", &totals.direct_reclaims);
        stat("hits_to_hot", &0);
        stat("hits_to_warm", &0);
        stat("hits_to_cold", &totals.get_hits);
        stat("hits_to_temp", &0);
    }
}

/// Writes `stats slabs`.
pub fn slabs(snapshot: &Snapshot<'_>, sink: &mut Sink<'_>) {
    let (totals, engine) = (&snapshot.totals, &snapshot.engine);
    // A class that ever had an item stays, as its pages do in memcached.
    let active = engine.items > 0 || totals.cmd_set > 0;
    if active {
        let chunk_bytes = engine.item_bytes / engine.items.max(1) + 1;
        let mut stat =
            |name: &str, value: &dyn Display| sink(&format!("{SIZE_CLASS}:{name}"), value);
        stat("chunk_size", &chunk_bytes);
        stat("chunks_per_page", &(PAGE_BYTES / chunk_bytes).max(1));
        stat("total_pages", &engine.item_bytes.div_ceil(PAGE_BYTES).max(1));
        stat("total_chunks", &engine.items);
        stat("used_chunks", &engine.items);
        stat("free_chunks", &0);
        stat("free_chunks_end", &0);
        stat("get_hits", &totals.get_hits);
        stat("cmd_set", &totals.cmd_set);
        stat("delete_hits", &totals.delete_hits);
        stat("incr_hits", &totals.incr_hits);
        stat("decr_hits", &totals.decr_hits);
        stat("cas_hits", &totals.cas_hits);
        stat("cas_badval", &totals.cas_badval);
        stat("touch_hits", &totals.touch_hits);
    }
    let overhead = engine.table_bytes + engine.policy_bytes;
    let memory = engine.item_bytes + overhead + engine.garbage_bytes + engine.buffer_bytes;
    sink("active_slabs", &u8::from(active));
    sink("total_malloced", &memory);
}

/// `stats evictions`: what was evicted and why.
pub fn evictions(snapshot: &Snapshot<'_>, sink: &mut Sink<'_>) {
    let totals = &snapshot.totals;
    sink("eviction_policy", &snapshot.context.engine.policy_name());
    sink("eviction_candidates", &totals.eviction_candidates);
    sink("eviction_spared", &totals.eviction_spared);
    sink("eviction_admitted", &totals.eviction_admitted);
    sink("eviction_rejected", &totals.eviction_rejected);
    sink("eviction_ghost_hits", &totals.eviction_ghost_hits);
    for (bound_s, items) in totals.evicted_ages() {
        sink(&format!("evicted_within_{bound_s}s"), &items);
    }
    sink("evicted_age_sum", &totals.evicted_age_sum_s);
}
