//! Volt's own families: what memcached's statistics have no name for.
//!
//! Base units, no label whose values a client chooses. The figures of the process have the names that
//! Prometheus' client libraries give them.

use super::page::Page;
use crate::command::admin::stats::Snapshot;
use std::fs;

/// Writes the families.
pub(super) fn write(snapshot: &Snapshot<'_>, page: &mut Page) {
    build(snapshot, page);
    requests(snapshot, page);
    memory(snapshot, page);
    connections(snapshot, page);
    let clock = &snapshot.context.clock;
    let started = clock.unix() - i64::from(clock.uptime());
    let help = "Unix time at which the process started.";
    page.gauge("process_start_time_seconds", help, &[], started as f64);
    process(page);
}

fn build(snapshot: &Snapshot<'_>, page: &mut Page) {
    let labels = [("version", env!("CARGO_PKG_VERSION"))];
    page.gauge("volt_build_info", "The version of Volt.", &labels, 1.0);
    let policy = snapshot.context.engine.policy_name();
    let help = "How it is chosen what is evicted first.";
    page.gauge("volt_eviction_policy_info", help, &[("policy", policy)], 1.0);
    let workers = f64::from(snapshot.context.options.num_threads);
    page.gauge("volt_workers", "Worker threads.", &[], workers);
}

fn requests(snapshot: &Snapshot<'_>, page: &mut Page) {
    let totals = &snapshot.totals;
    let series = snapshot.context.registry.latency().map(|(kind, sum)| (kind.name(), sum));
    page.histogram(
        "volt_command_duration_seconds",
        "Time from a command's arrival in the server to its reply's departure; commands of one pipeline share it, and a busy worker's are sampled.",
        "command",
        series,
    );
    let help = "Keys that were asked for and not found, by the reason.";
    let absent = totals.get_misses.saturating_sub(totals.get_expired + totals.get_flushed);
    for (reason, keys) in
        [("absent", absent), ("expired", totals.get_expired), ("flushed", totals.get_flushed)]
    {
        page.counter("volt_get_misses_total", help, &[("reason", reason)], keys);
    }
    let help = "Requests that were answered with ERROR or CLIENT_ERROR.";
    page.counter("volt_protocol_errors_total", help, &[], totals.protocol_errors);
    let help = "me commands (cmd_meta); mg, ms, md and ma count as what they do.";
    page.counter("volt_meta_debug_commands_total", help, &[], totals.cmd_meta);
    let help = "Logins tried.";
    page.counter("volt_auth_attempts_total", help, &[], totals.auth_cmds);
    page.counter("volt_auth_failures_total", "Logins failed.", &[], totals.auth_errors);
    let help = "Commands that stats detail did not count, since its memory was full.";
    let uncounted = snapshot.context.detail.uncounted();
    page.counter("volt_detail_uncounted_commands_total", help, &[], uncounted);
}

fn memory(snapshot: &Snapshot<'_>, page: &mut Page) {
    let engine = &snapshot.engine;
    let help = "Memory that counts towards the limit (memcached_limit_bytes), by its use.";
    for (kind, bytes) in [
        ("items", engine.item_bytes),
        ("table", engine.table_bytes),
        ("policy", engine.policy_bytes),
        ("buffers", engine.buffer_bytes),
        ("epoch_garbage", engine.garbage_bytes),
    ] {
        page.gauge("volt_memory_bytes", help, &[("kind", kind)], bytes as f64);
    }
    let buckets = (1_u64 << engine.hash_power) as f64;
    page.gauge("volt_table_buckets", "Buckets of the hash table.", &[], buckets);
    let load = engine.items as f64 / buckets;
    page.gauge("volt_table_load_factor", "Items for each bucket of the hash table.", &[], load);
}

fn connections(snapshot: &Snapshot<'_>, page: &mut Page) {
    let (context, totals) = (snapshot.context, &snapshot.totals);
    let peak = context.connections.peak() as f64;
    page.gauge("volt_connections_peak", "Most connections and listeners at one time.", &[], peak);
    let help = "Connections closed for idling.";
    page.counter("volt_connections_idle_kicked_total", help, &[], totals.idle_kicks);
    let log = context.watch.stats();
    page.gauge("volt_watchers", "Connections that watch.", &[], log.watchers as f64);
    let help =
        "Lines for watchers that were dropped, since a worker's or a watcher's buffer was full.";
    for (at, lines) in [("worker", log.worker_dropped), ("watcher", log.watcher_skipped)] {
        page.counter("volt_watch_lines_dropped_total", help, &[("at", at)], lines);
    }
}

/// What `/proc` calls a kB, in bytes.
const KIB: f64 = 1024.0;

/// What the system tells of the process. Where there is no `/proc`, the page goes without.
fn process(page: &mut Page) {
    if let Ok(status) = fs::read_to_string("/proc/self/status") {
        let kilobytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim_end_matches("kB").trim().parse::<f64>().ok()
        };
        if let Some(size) = kilobytes("VmRSS:") {
            let help = "Resident memory of the process.";
            page.gauge("process_resident_memory_bytes", help, &[], size * KIB);
        }
        if let Some(size) = kilobytes("VmSize:") {
            let help = "Virtual memory of the process.";
            page.gauge("process_virtual_memory_bytes", help, &[], size * KIB);
        }
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        let help = "Open file descriptors of the process.";
        page.gauge("process_open_fds", help, &[], open.count() as f64);
    }
    if let Some(most) = fs::read_to_string("/proc/self/limits").ok().as_deref().and_then(max_fds) {
        let help = "Most file descriptors that the process may open.";
        page.gauge("process_max_fds", help, &[], most);
    }
}

/// The soft limit on descriptors, from the text of `/proc/self/limits`.
fn max_fds(limits: &str) -> Option<f64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_on_descriptors_is_read() {
        let text = "Max processes  1  2  processes\nMax open files  1024  524288  files\n";
        assert_eq!(max_fds(text), Some(1024.0));
        assert_eq!(max_fds("Max open files unlimited unlimited files"), None);
        assert_eq!(max_fds(""), None);
    }
}
