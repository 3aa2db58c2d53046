//! The families of Prometheus' memcached exporter (0.16), from the same statistics that it asks a server for.
//!
//! Names, labels, types and meanings are the exporter's, its oddities included (counters without `_total`, a gauge
//! that is called a counter), because dashboards and alerts rest on them. Its families about external storage and
//! the proxy appear there only where the server has them, and so never here.

use super::page::Page;
use crate::command::admin::stats::{Sink, Snapshot, general, items, settings};
use std::collections::HashMap;

/// Where a figure is found.
#[derive(Clone, Copy)]
enum Source {
    Stats(&'static str),
    Settings(&'static str),
    Items(&'static str),
    Slabs(&'static str),
}

use Source::{Items, Settings, Slabs, Stats};
use Type::{Counter, Fraction, Gauge};

#[derive(Clone, Copy)]
enum Type {
    Counter,
    Gauge,
    /// A counter that is no whole number.
    Fraction,
}

/// Name after `memcached_`, type, source, help.
type Family = (&'static str, Type, Source, &'static str);

/// Families of one series for the server, or one for each slab class.
#[rustfmt::skip]
const FAMILIES: &[Family] = &[
    ("memcached_uptime_seconds", Counter, Stats("uptime"), "Seconds since the server started."),
    ("memcached_time_seconds", Gauge, Stats("time"), "Current Unix time of the server."),
    ("memcached_process_user_cpu_seconds_total", Fraction, Stats("rusage_user"), "User CPU time of the process."),
    ("memcached_process_system_cpu_seconds_total", Fraction, Stats("rusage_system"), "System CPU time of the process."),
    ("memcached_current_bytes", Gauge, Stats("bytes"), "Bytes of the items stored now."),
    ("memcached_limit_bytes", Gauge, Stats("limit_maxbytes"), "Bytes that the server may use for storage."),
    ("memcached_current_items", Gauge, Stats("curr_items"), "Items stored now."),
    ("memcached_items_total", Counter, Stats("total_items"), "Items ever stored."),
    ("memcached_read_bytes_total", Counter, Stats("bytes_read"), "Bytes read from the network."),
    ("memcached_written_bytes_total", Counter, Stats("bytes_written"), "Bytes written to the network."),
    ("memcached_current_connections", Gauge, Stats("curr_connections"), "Open connections."),
    ("memcached_connections_total", Counter, Stats("total_connections"), "Connections ever accepted."),
    ("memcached_connections_rejected_total", Counter, Stats("rejected_connections"), "Connections turned away over the limit."),
    ("memcached_connections_yielded_total", Counter, Stats("conn_yields"), "Times a connection gave way to others after its share of requests."),
    ("memcached_connections_listener_disabled_total", Counter, Stats("listen_disabled_num"), "Times the limit on connections stopped the listener."),
    ("memcached_accepting_connections", Gauge, Stats("accepting_conns"), "Whether new connections are accepted."),
    ("memcached_max_connections", Gauge, Settings("maxconns"), "Most connections at one time."),
    ("memcached_items_evicted_total", Counter, Stats("evictions"), "Items evicted to make room."),
    ("memcached_items_reclaimed_total", Counter, Stats("reclaimed"), "Items whose memory came back by expiry."),
    ("memcached_item_too_large_total", Counter, Stats("store_too_large"), "Stores refused for the size of the item."),
    ("memcached_item_no_memory_total", Counter, Stats("store_no_memory"), "Stores refused for lack of memory."),
    ("memcached_direct_reclaims_total", Counter, Stats("direct_reclaims"), "Times a store had to evict before it had memory."),
    ("memcached_malloced_bytes", Gauge, Slabs("total_malloced"), "Bytes of memory in use for storage."),
    ("memcached_lru_crawler_starts_total", Counter, Stats("lru_crawler_starts"), "Runs of the crawler."),
    ("memcached_lru_crawler_items_checked_total", Counter, Stats("crawler_items_checked"), "Items that the crawler looked at."),
    ("memcached_lru_crawler_reclaimed_total", Counter, Stats("crawler_reclaimed"), "Items that the crawler took out."),
    ("memcached_lru_crawler_moves_to_cold_total", Counter, Stats("moves_to_cold"), "Items moved to the cold segment."),
    ("memcached_lru_crawler_moves_to_warm_total", Counter, Stats("moves_to_warm"), "Items moved to the warm segment."),
    ("memcached_lru_crawler_moves_within_lru_total", Counter, Stats("moves_within_lru"), "Items moved within their segment."),
    ("memcached_slab_current_items", Gauge, Items("number"), "Items of the slab class."),
    ("memcached_slab_items_age_seconds", Gauge, Items("age"), "Age of the oldest item of the slab class."),
    ("memcached_slab_items_crawler_reclaimed_total", Counter, Items("crawler_reclaimed"), "Items that the crawler took out."),
    ("memcached_slab_items_evicted_total", Counter, Items("evicted"), "Items evicted to make room."),
    ("memcached_slab_items_evicted_nonzero_total", Counter, Items("evicted_nonzero"), "Evicted items that had an exptime."),
    ("memcached_slab_items_evicted_time_seconds", Counter, Items("evicted_time"), "Seconds since the item that was evicted last had been used."),
    ("memcached_slab_items_evicted_unfetched_total", Counter, Items("evicted_unfetched"), "Evicted items that were never fetched."),
    ("memcached_slab_items_expired_unfetched_total", Counter, Items("expired_unfetched"), "Expired items that were never fetched."),
    ("memcached_slab_items_outofmemory_total", Counter, Items("outofmemory"), "Stores refused for lack of memory."),
    ("memcached_slab_items_reclaimed_total", Counter, Items("reclaimed"), "Items whose memory came back by expiry."),
    ("memcached_slab_items_tailrepairs_total", Counter, Items("tailrepairs"), "Times an item had to be freed by force."),
    ("memcached_slab_mem_requested_bytes", Counter, Items("mem_requested"), "Bytes of the items of the slab class."),
    ("memcached_slab_items_moves_to_cold", Counter, Items("moves_to_cold"), "Items moved to the cold segment."),
    ("memcached_slab_items_moves_to_warm", Counter, Items("moves_to_warm"), "Items moved to the warm segment."),
    ("memcached_slab_items_moves_within_lru", Counter, Items("moves_within_lru"), "Items moved within their segment."),
    ("memcached_slab_hot_items", Gauge, Items("number_hot"), "Items in the hot segment."),
    ("memcached_slab_warm_items", Gauge, Items("number_warm"), "Items in the warm segment."),
    ("memcached_slab_cold_items", Gauge, Items("number_cold"), "Items in the cold segment."),
    ("memcached_slab_temporary_items", Gauge, Items("number_temp"), "Items in the temporary segment."),
    ("memcached_slab_hot_age_seconds", Gauge, Items("age_hot"), "Age of the oldest item in the hot segment."),
    ("memcached_slab_warm_age_seconds", Gauge, Items("age_warm"), "Age of the oldest item in the warm segment."),
    ("memcached_slab_chunk_size_bytes", Gauge, Slabs("chunk_size"), "Bytes of a chunk."),
    ("memcached_slab_chunks_per_page", Gauge, Slabs("chunks_per_page"), "Chunks of a page."),
    ("memcached_slab_current_pages", Gauge, Slabs("total_pages"), "Pages of the slab class."),
    ("memcached_slab_current_chunks", Gauge, Slabs("total_chunks"), "Chunks of the slab class."),
    ("memcached_slab_chunks_used", Gauge, Slabs("used_chunks"), "Chunks with an item."),
    ("memcached_slab_chunks_free", Gauge, Slabs("free_chunks"), "Chunks without an item."),
    ("memcached_slab_chunks_free_end", Gauge, Slabs("free_chunks_end"), "Chunks at the end of the last page."),
];

/// Families that the exporter leaves out where there is no crawler.
#[rustfmt::skip]
const CRAWLER_FAMILIES: &[Family] = &[
    ("memcached_lru_crawler_enabled", Gauge, Settings("lru_crawler"), "Whether clients may ask for crawls and dumps."),
    ("memcached_lru_crawler_sleep", Gauge, Settings("lru_crawler_sleep"), "Microseconds, as set; without effect."),
    ("memcached_lru_crawler_to_crawl", Gauge, Settings("lru_crawler_tocrawl"), "Items, as set; without effect."),
    ("memcached_lru_crawler_maintainer_thread", Gauge, Settings("lru_maintainer_thread"), "Whether there is a maintainer thread."),
    ("memcached_lru_crawler_hot_percent", Gauge, Settings("hot_lru_pct"), "Share of the hot segment."),
    ("memcached_lru_crawler_warm_percent", Gauge, Settings("warm_lru_pct"), "Share of the warm segment."),
    ("memcached_lru_crawler_hot_max_factor", Gauge, Settings("hot_max_factor"), "Largest age of hot items, by that of the cold ones."),
    ("memcached_lru_crawler_warm_max_factor", Gauge, Settings("warm_max_factor"), "Largest age of warm items, by that of the cold ones."),
];

/// Commands that hit or miss.
const COMMANDS: [&str; 6] = ["get", "delete", "incr", "decr", "cas", "touch"];

/// Segments, by the exporter's name and memcached's.
const SEGMENTS: [(&str, &str); 4] =
    [("hot", "hot"), ("warm", "warm"), ("cold", "cold"), ("temporary", "temp")];

type Figures = HashMap<String, String>;

/// Everything the exporter asks for. Of slabs there is one class; its names go without their number here.
struct Statistics {
    general: Figures,
    settings: Figures,
    items: Figures,
    slabs: Figures,
    /// The number of the one class.
    class: Option<String>,
}

impl Statistics {
    fn gather(snapshot: &Snapshot<'_>) -> Self {
        let mut class = None;
        let mut last_word = |(name, figure): (String, String)| match name.rsplit_once(':') {
            Some((before, word)) => {
                class = before.rsplit(':').next().map(str::to_owned);
                (word.to_owned(), figure)
            }
            None => (name, figure),
        };
        let items = figures(snapshot, items::items).into_iter().map(&mut last_word).collect();
        let slabs = figures(snapshot, items::slabs).into_iter().map(&mut last_word).collect();
        Self {
            general: figures(snapshot, general::write),
            settings: figures(snapshot, settings::write),
            items,
            slabs,
            class,
        }
    }

    /// A figure as the exporter reads it; `None` where the server does not tell it.
    fn figure(&self, source: Source) -> Option<f64> {
        let figure = match source {
            Stats(name) => self.general.get(name),
            Settings(name) => self.settings.get(name),
            Items(name) => self.items.get(name),
            Slabs(name) => self.slabs.get(name),
        }?;
        match figure.as_str() {
            "yes" => Some(1.0),
            "no" => Some(0.0),
            number => number.parse().ok(),
        }
    }

    /// A figure that is a count; 0 where the server does not tell it.
    fn count(&self, source: Source) -> u64 {
        self.figure(source).map_or(0, |figure| figure as u64)
    }
}

fn figures(snapshot: &Snapshot<'_>, write: fn(&Snapshot<'_>, &mut Sink<'_>)) -> Figures {
    let mut figures = Figures::new();
    write(snapshot, &mut |name, figure| {
        figures.insert(name.to_owned(), figure.to_string());
    });
    figures
}

/// Writes the families.
pub(super) fn write(snapshot: &Snapshot<'_>, page: &mut Page) {
    let statistics = Statistics::gather(snapshot);
    page.gauge("memcached_up", "Whether the server answers.", &[], 1.0);
    if let Some(version) = statistics.general.get("version") {
        let labels = [("version", version.as_str())];
        page.gauge("memcached_version", "The version of the server.", &labels, 1.0);
    }
    for family in FAMILIES {
        write_family(&statistics, family, page);
    }
    if statistics.figure(Settings("lru_crawler")) == Some(1.0) {
        for family in CRAWLER_FAMILIES {
            write_family(&statistics, family, page);
        }
    }
    write_commands(&statistics, page);
    if let Some(class) = &statistics.class {
        write_class(&statistics, class, page);
    }
}

fn write_family(statistics: &Statistics, family: &Family, page: &mut Page) {
    let &(name, kind, source, help) = family;
    let Some(figure) = statistics.figure(source) else { return };
    let class = statistics.class.as_deref().unwrap_or_default();
    let of_class = [("slab", class)];
    let labels = if name.starts_with("memcached_slab_") { &of_class[..] } else { &[] };
    match kind {
        Counter => page.counter(name, help, labels, figure as u64),
        Gauge => page.gauge(name, help, labels, figure),
        Fraction => page.fraction_counter(name, help, figure),
    }
}

/// `memcached_commands_total`. memcached counts a cas under set as well; the exporter takes it out again.
fn write_commands(statistics: &Statistics, page: &mut Page) {
    let mut write = |command, status, count| {
        let labels = [("command", command), ("status", status)];
        page.counter("memcached_commands_total", "Commands by their outcome.", &labels, count);
    };
    let figure = |name: &str| {
        statistics.general.get(name).and_then(|figure| figure.parse().ok()).unwrap_or(0_u64)
    };
    for command in COMMANDS {
        write(command, "hit", figure(&format!("{command}_hits")));
        write(command, "miss", figure(&format!("{command}_misses")));
    }
    write("cas", "badval", figure("cas_badval"));
    write("flush", "hit", figure("cmd_flush"));
    let cas = figure("cas_misses") + figure("cas_hits") + figure("cas_badval");
    write("set", "hit", figure("cmd_set").saturating_sub(cas));
}

/// The families of the one slab class that have more labels than its number.
fn write_class(statistics: &Statistics, class: &str, page: &mut Page) {
    for (lru, segment) in SEGMENTS {
        if let Some(hits) = statistics.items.get(&format!("hits_to_{segment}")) {
            let labels = [("slab", class), ("lru", lru)];
            let hits = hits.parse().unwrap_or_default();
            page.counter("memcached_slab_lru_hits_total", "Hits by segment.", &labels, hits);
        }
    }
    let mut write = |command, status, count| {
        let labels = [("slab", class), ("command", command), ("status", status)];
        let help = "Commands of the slab class by their outcome.";
        page.counter("memcached_slab_commands_total", help, &labels, count);
    };
    for command in COMMANDS {
        if let Some(hits) = statistics.slabs.get(&format!("{command}_hits")) {
            write(command, "hit", hits.parse().unwrap_or_default());
        }
    }
    let badval = statistics.count(Slabs("cas_badval"));
    write("cas", "badval", badval);
    let cas = statistics.count(Slabs("cas_hits")) + badval;
    write("set", "hit", statistics.count(Slabs("cmd_set")).saturating_sub(cas));
}
