//! Why items left without being asked to: evicted to make room, expired, or flushed.

use super::page::Page;
use crate::command::admin::stats::Snapshot;

/// Writes the families.
pub(super) fn write(snapshot: &Snapshot<'_>, page: &mut Page) {
    let (totals, engine) = (&snapshot.totals, &snapshot.engine);
    let help = "Items that left without being asked to: evicted to make room, expired, or flushed.";
    let expired = totals.reclaimed.saturating_sub(totals.reclaimed_flushed);
    for (reason, items) in
        [("evicted", totals.evictions), ("expired", expired), ("flushed", totals.reclaimed_flushed)]
    {
        page.counter("volt_items_removed_total", help, &[("reason", reason)], items);
    }
    let help = "Items that were evicted or expired without ever having been fetched.";
    for (reason, items) in
        [("evicted", totals.evicted_unfetched), ("expired", totals.expired_unfetched)]
    {
        page.counter("volt_items_removed_unfetched_total", help, &[("reason", reason)], items);
    }
    let help = "Items looked at in search of one to evict.";
    page.counter("volt_eviction_candidates_total", help, &[], totals.eviction_candidates);
    let help = "How long the item that was evicted last had not been used.";
    page.gauge("volt_eviction_age_seconds", help, &[], f64::from(engine.eviction_age));
}
