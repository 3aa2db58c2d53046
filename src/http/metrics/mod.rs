//! The page at `/metrics`, in Prometheus' text format.
//!
//! Made anew for every scrape, from what `stats` shows and from the engine's and the workers' own figures; nothing
//! is kept in between, so what is gone from the cache is gone from the page. Counters count from the start of the
//! process, whatever `stats reset` says: a scraper's rates survive it.

mod hotkeys;
mod memcached;
mod page;
mod persist;
mod removals;
mod volt;

use crate::command::Context;
use crate::command::admin::stats::Snapshot;
use page::Page;
use std::time::Instant;

/// Renders the page; the names of hot keys are on it only if somebody wants that.
#[must_use]
pub fn render(context: &Context, hot_key_names: bool) -> String {
    let began = Instant::now();
    let mut page = Page::new();
    let snapshot = Snapshot::lifetime(context);
    memcached::write(&snapshot, &mut page);
    volt::write(&snapshot, &mut page);
    removals::write(&snapshot, &mut page);
    persist::write(context, &mut page);
    hotkeys::write(&context.hot_keys, hot_key_names, &mut page);
    page.gauge(
        "volt_scrape_duration_seconds",
        "Time it took to gather this page.",
        &[],
        began.elapsed().as_secs_f64(),
    );
    page.finish()
}
