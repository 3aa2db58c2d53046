//! The copy on disk: how it does, how far it is behind, what it takes and what it has cost.
//!
//! The figures are those of `stats`, in base units. Without a data directory there is the state, which says so, and
//! nothing else.

use super::page::{Labels, Page};
use crate::command::Context;
use std::collections::HashMap;
use std::fmt::Display;

/// What the state may be; the page has all of them, so that one that has never been can be alerted on.
const STATES: [&str; 4] = ["off", "loading", "ok", "degraded"];

/// Microseconds of a second.
const SECOND_US: f64 = 1e6;

/// Percents of a whole.
const WHOLE_PERCENT: f64 = 100.0;

#[derive(Clone, Copy)]
enum Type {
    Counter,
    Gauge,
    /// A gauge of seconds whose figure is in microseconds.
    Seconds,
    /// A gauge from 0 to 1 whose figure is in percent.
    Ratio,
}

use Type::{Counter, Gauge, Ratio, Seconds};

/// Name, labels, type, figure of `stats`, help.
type Family = (&'static str, Labels<'static>, Type, &'static str, &'static str);

const LOST: &str = "Changes that came faster than they could be noted, by their kind; a checkpoint makes up for them.";
const WRITTEN: &str =
    "Bytes written to disk: changes as they come (log), and the whole cache anew (checkpoint).";

#[rustfmt::skip]
const FAMILIES: &[Family] = &[
    ("volt_persist_lag_seconds", &[], Seconds, "persist_lag_us", "Age of the oldest change that a kill could lose, at most."),
    ("volt_persist_queue_changes", &[], Gauge, "persist_queue_changes", "Changes that wait to be written."),
    ("volt_persist_queue_ratio", &[], Gauge, "persist_queue_share", "How full the fullest queue of changes is; at 1 changes are lost, stores at 0.75."),
    ("volt_persist_changes_total", &[], Counter, "persist_marked", "Changes taken from the queues to be written."),
    ("volt_persist_records_total", &[], Counter, "persist_records", "Records written for them: a key that changed often is written once."),
    ("volt_persist_written_bytes_total", &[("kind", "log")], Counter, "persist_log_bytes", WRITTEN),
    ("volt_persist_written_bytes_total", &[("kind", "checkpoint")], Counter, "persist_checkpoint_bytes", WRITTEN),
    ("volt_persist_checkpoints_total", &[], Counter, "persist_checkpoints", "Times the whole cache was written anew."),
    ("volt_persist_lost_changes_total", &[("kind", "store")], Counter, "persist_lost_stores", LOST),
    ("volt_persist_lost_changes_total", &[("kind", "removal")], Counter, "persist_lost_removals", LOST),
    ("volt_persist_errors_total", &[], Counter, "persist_errors", "Operations on the disk that failed."),
    ("volt_persist_generation", &[], Gauge, "persist_generation", "Number of the generation that is written to; it grows with every part of a checkpoint."),
    ("volt_persist_disk_bytes", &[], Gauge, "persist_disk_bytes", "Bytes that the data directory takes on disk."),
    ("volt_persist_sync_seconds", &[], Seconds, "persist_sync_us", "How long the last wait for the disk took."),
    ("volt_persist_longest_cycle_seconds", &[], Seconds, "persist_longest_cycle_us", "Longest time from taking changes to having handed them to the system."),
    ("volt_persist_recovered_items", &[], Gauge, "persist_recovered_items", "Items brought back at the start."),
    ("volt_persist_recovered_bytes", &[], Gauge, "persist_recovered_bytes", "Bytes of their keys and values."),
    ("volt_persist_recovery_ratio", &[], Ratio, "persist_recovery_percent", "How much of what was on disk has been gone through; 1 when it is over."),
    ("volt_persist_recovery_seconds", &[], Seconds, "persist_recovery_us", "How long bringing them back took; 0 before it is over."),
    ("volt_persist_recovery_missing_frames", &[], Gauge, "persist_recovery_missing", "Frames found damaged or missing at the start."),
];

/// Writes the families.
pub(super) fn write(context: &Context, page: &mut Page) {
    let mut figures = HashMap::new();
    if let Some(durability) = &context.durability {
        durability.figures(&mut |name: &str, value: &dyn Display| {
            figures.insert(name.to_owned(), value.to_string());
        });
    }
    let now = figures.get("persist_state").map_or("off", String::as_str);
    let help = "1 for what the copy on disk is doing, 0 for what it is not.";
    for state in STATES {
        let is = f64::from(u8::from(state == now));
        page.gauge("volt_persist_state", help, &[("state", state)], is);
    }
    for &(name, labels, kind, figure, help) in FAMILIES {
        let Some(text) = figures.get(figure) else { continue };
        let value: f64 = text.parse().unwrap_or_default();
        match kind {
            Counter => page.counter(name, help, labels, text.parse().unwrap_or_default()),
            Gauge => page.gauge(name, help, labels, value),
            Seconds => page.gauge(name, help, labels, value / SECOND_US),
            Ratio => page.gauge(name, help, labels, value / WHOLE_PERCENT),
        }
    }
}
