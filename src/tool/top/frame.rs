//! One frame: the numbers of two scrapes as lines of text, 80 columns wide.

use super::scrape::Scrape;
use std::fmt::Write;

/// Characters of the bar that shows memory.
const BAR: usize = 40;

/// Hot keys that are shown.
const HOT_KEYS: usize = 10;

/// The frame for the time from `before` to `now`.
pub(super) fn render(metrics: &str, before: &Scrape, now: &Scrape, hot_keys: &[String]) -> String {
    let mut text = String::new();
    head(&mut text, metrics, now);
    commands(&mut text, before, now);
    memory(&mut text, before, now);
    traffic(&mut text, before, now);
    disk(&mut text, before, now);
    keys(&mut text, hot_keys);
    text
}

// Writing to a String cannot fail, here and below.

fn head(text: &mut String, metrics: &str, now: &Scrape) {
    let version = now.label("volt_build_info", "version");
    let uptime = duration(now.value("memcached_uptime_seconds"));
    let policy = now.label("volt_eviction_policy_info", "policy");
    let _ = writeln!(text, "Volt {version} at {metrics}, up {uptime}, evicts {policy}\n");
}

fn commands(text: &mut String, before: &Scrape, now: &Scrape) {
    let _ = writeln!(
        text,
        "{:<10}{:>12}{:>12}{:>12}{:>12}",
        "command", "per second", "p50", "p99", "p99.9"
    );
    let mut all = 0.0;
    for command in now.commands() {
        let series = format!("volt_command_duration_seconds_count{{command=\"{command}\"}}");
        let rate = now.rate(before, &series);
        all += rate;
        if rate > 0.0 {
            line(text, &command, rate, |quantile| now.quantile(before, Some(&command), quantile));
        }
    }
    line(text, "all", all, |quantile| now.quantile(before, None, quantile));
    let gets = |status| {
        now.rate(
            before,
            &format!("memcached_commands_total{{command=\"get\",status=\"{status}\"}}"),
        )
    };
    let (hits, misses) = (gets("hit"), gets("miss"));
    let ratio = match hits + misses {
        0.0 => "-".to_owned(),
        all => format!("{:.1}%", hits / all * 100.0),
    };
    let _ =
        writeln!(text, "\nhit ratio {ratio}  ({} hits/s, {} misses/s)", short(hits), short(misses));
}

fn line(text: &mut String, name: &str, rate: f64, quantile: impl Fn(f64) -> Option<f64>) {
    let _ = write!(text, "{name:<10}{:>12}", short(rate));
    for wanted in [0.5, 0.99, 0.999] {
        let shown = quantile(wanted).map_or_else(|| "-".to_owned(), latency);
        let _ = write!(text, "{shown:>12}");
    }
    text.push('\n');
}

fn memory(text: &mut String, before: &Scrape, now: &Scrape) {
    let kind = |kind: &str| now.value(&format!("volt_memory_bytes{{kind=\"{kind}\"}}"));
    let kinds = ["items", "table", "policy", "buffers", "epoch_garbage"].map(kind);
    let (used, limit) = (kinds.iter().sum::<f64>(), now.value("memcached_limit_bytes").max(1.0));
    let share = (used / limit).clamp(0.0, 1.0);
    let full = (share * BAR as f64).round() as usize;
    let _ = writeln!(
        text,
        "\nmemory [{}{}] {:.1}% of {}",
        "#".repeat(full),
        ".".repeat(BAR - full),
        used / limit * 100.0,
        bytes(limit)
    );
    let [items, table, _, buffers, garbage] = kinds.map(bytes);
    let _ =
        writeln!(text, "       items {items}, table {table}, buffers {buffers}, garbage {garbage}");
    let removed = |reason: &str| {
        short(now.rate(before, &format!("volt_items_removed_total{{reason=\"{reason}\"}}")))
    };
    let _ = writeln!(
        text,
        "items  {}; evicted {}/s, expired {}/s, flushed {}/s; eviction age {}",
        short(now.value("memcached_current_items")),
        removed("evicted"),
        removed("expired"),
        removed("flushed"),
        duration(now.value("volt_eviction_age_seconds"))
    );
}

fn traffic(text: &mut String, before: &Scrape, now: &Scrape) {
    let rate = |series: &str| now.rate(before, series);
    let _ = writeln!(
        text,
        "conns  {} of {}; {} new/s; in {}/s, out {}/s",
        now.value("memcached_current_connections"),
        now.value("memcached_max_connections"),
        short(rate("memcached_connections_total")),
        bytes(rate("memcached_read_bytes_total")),
        bytes(rate("memcached_written_bytes_total"))
    );
    let cpu = rate("memcached_process_user_cpu_seconds_total")
        + rate("memcached_process_system_cpu_seconds_total");
    let _ = writeln!(
        text,
        "cpu    {cpu:.2} cores; resident {}; protocol errors {}/s",
        bytes(now.value("process_resident_memory_bytes")),
        short(rate("volt_protocol_errors_total"))
    );
}

/// The copy on disk, if there is one.
fn disk(text: &mut String, before: &Scrape, now: &Scrape) {
    let is = |state: &&str| now.value(&format!("volt_persist_state{{state=\"{state}\"}}")) == 1.0;
    let Some(state) = ["loading", "ok", "degraded"].into_iter().find(is) else { return };
    let written = |kind: &str| {
        now.rate(before, &format!("volt_persist_written_bytes_total{{kind=\"{kind}\"}}"))
    };
    let _ = writeln!(
        text,
        "disk   {state}, {} behind; written {}/s; {} used; sync {}",
        latency(now.value("volt_persist_lag_seconds")),
        bytes(written("log") + written("checkpoint")),
        bytes(now.value("volt_persist_disk_bytes")),
        latency(now.value("volt_persist_sync_seconds"))
    );
}

/// Lines of `stats hotkeys`: `<key> accesses <n> error <n> share <share>`.
fn keys(text: &mut String, hot_keys: &[String]) {
    if hot_keys.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n{:<60}{:>12}", "hot key", "share");
    for line in hot_keys.iter().take(HOT_KEYS) {
        let mut words = line.split(' ');
        let (key, share) =
            (words.next().unwrap_or_default(), words.next_back().unwrap_or_default());
        let share = share.parse::<f64>().unwrap_or_default() * 100.0;
        let key: String = key.chars().take(58).collect();
        let _ = writeln!(text, "{key:<60}{share:>11.2}%");
    }
}

/// A number in at most five characters and a letter.
fn short(number: f64) -> String {
    match number {
        1e9.. => format!("{:.2}G", number / 1e9),
        1e6.. => format!("{:.2}M", number / 1e6),
        1e4.. => format!("{:.1}k", number / 1e3),
        _ => format!("{number:.0}"),
    }
}

fn bytes(number: f64) -> String {
    const KIB: f64 = 1024.0;
    match number {
        _ if number >= KIB * KIB * KIB => format!("{:.2} GiB", number / (KIB * KIB * KIB)),
        _ if number >= KIB * KIB => format!("{:.1} MiB", number / (KIB * KIB)),
        _ if number >= KIB => format!("{:.1} KiB", number / KIB),
        _ => format!("{number:.0} B"),
    }
}

fn latency(seconds: f64) -> String {
    match seconds {
        _ if seconds >= 1.0 => format!("{seconds:.2} s"),
        _ if seconds >= 1e-3 => format!("{:.2} ms", seconds * 1e3),
        _ => format!("{:.1} us", seconds * 1e6),
    }
}

fn duration(seconds: f64) -> String {
    let seconds = seconds as u64;
    match seconds {
        86_400.. => format!("{}d {}h", seconds / 86_400, seconds % 86_400 / 3600),
        3600.. => format!("{}h {}m", seconds / 3600, seconds % 3600 / 60),
        60.. => format!("{}m {}s", seconds / 60, seconds % 60),
        _ => format!("{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    const BEFORE: &str = "\
volt_command_duration_seconds_count{command=\"get\"} 0
memcached_commands_total{command=\"get\",status=\"hit\"} 0
";
    const NOW: &str = "\
volt_build_info{version=\"0.1.0\"} 1
volt_eviction_policy_info{policy=\"lru\"} 1
memcached_uptime_seconds 3700
volt_command_duration_seconds_count{command=\"get\"} 30000
volt_command_duration_seconds_count{command=\"set\"} 0
volt_command_duration_seconds_bucket{command=\"get\",le=\"0.00001\"} 15000
volt_command_duration_seconds_bucket{command=\"get\",le=\"0.001\"} 30000
volt_command_duration_seconds_bucket{command=\"get\",le=\"+Inf\"} 30000
memcached_commands_total{command=\"get\",status=\"hit\"} 27000
memcached_commands_total{command=\"get\",status=\"miss\"} 3000
volt_memory_bytes{kind=\"items\"} 31457280
volt_memory_bytes{kind=\"table\"} 2097152
memcached_limit_bytes 67108864
volt_persist_state{state=\"loading\"} 0
volt_persist_state{state=\"ok\"} 1
volt_persist_lag_seconds 0.0312
volt_persist_written_bytes_total{kind=\"log\"} 2097152
volt_persist_written_bytes_total{kind=\"checkpoint\"} 1048576
volt_persist_disk_bytes 104857600
volt_persist_sync_seconds 0.0043
";

    #[test]
    fn a_frame_shows_rates_latency_memory_and_hot_keys() {
        let began = Instant::now();
        let before = Scrape::parse(BEFORE, began);
        let now = Scrape::parse(NOW, began + Duration::from_secs(1));
        let hot = ["user:1 accesses 80 error 0 share 0.1234".to_owned()];
        let frame = render("here:9150", &before, &now, &hot);
        for expected in [
            "Volt 0.1.0 at here:9150, up 1h 1m, evicts lru\n",
            "get              30.0k     10.0 us    980.2 us    998.0 us\n",
            "all              30.0k",
            "hit ratio 90.0%  (27.0k hits/s, 3000 misses/s)\n",
            "memory [####################....................] 50.0% of 64.0 MiB\n",
            "items 30.0 MiB, table 2.0 MiB",
            "disk   ok, 31.20 ms behind; written 3.0 MiB/s; 100.0 MiB used; sync 4.30 ms\n",
            "user:1 ",
            " 12.34%\n",
        ] {
            assert!(frame.contains(expected), "{expected}\n{frame}");
        }
        assert!(!frame.contains("\nset "), "nobody sets");
        assert!(!render("", &before, &before, &[]).contains("disk "), "there is none");
        assert!(frame.lines().all(|line| line.len() <= 80), "{frame}");
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!([999.4, 12_345.0, 2.5e6, 3e9].map(short), ["999", "12.3k", "2.50M", "3.00G"]);
        assert_eq!([12.0, 2048.0, 3.2e9].map(bytes), ["12 B", "2.0 KiB", "2.98 GiB"]);
        assert_eq!([2.0, 0.0025, 0.000_012].map(latency), ["2.00 s", "2.50 ms", "12.0 us"]);
        assert_eq!([5.0, 65.0, 90_000.0].map(duration), ["5s", "1m 5s", "1d 1h"]);
    }
}
