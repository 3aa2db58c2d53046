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
    let help = "What the eviction policy decided: spared, an item that was chosen stays after all; admitted, one of those ended its probation; rejected, one was evicted on probation.";
    for (decision, items) in [
        ("spared", totals.eviction_spared),
        ("admitted", totals.eviction_admitted),
        ("rejected", totals.eviction_rejected),
    ] {
        page.counter("volt_eviction_decisions_total", help, &[("decision", decision)], items);
    }
    let help = "Items stored whose keys had been evicted lately, as far as the policy remembers.";
    page.counter("volt_eviction_ghost_hits_total", help, &[], totals.eviction_ghost_hits);
    let help = "How long evicted items had not been used.";
    let (ages, sum) = (totals.evicted_ages(), totals.evicted_age_sum_s);
    // The counters are read while they move.
    let count = totals.evictions.max(ages.last().map_or(0, |(_, count)| *count));
    page.distribution("volt_evicted_age_seconds", help, &ages, count, sum);
    let help = "How long the item that was evicted last had not been used.";
    page.gauge("volt_eviction_age_seconds", help, &[], f64::from(engine.eviction_age));
}
