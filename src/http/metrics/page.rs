//! The text of a page: families with their help and type, series with their labels.
//!
//! Whole-numbered counters and gauges go through the recorder of `metrics-exporter-prometheus`, one for each page.
//! Its interface has no place for the rest: a counter of a fraction (seconds of CPU), and a histogram whose buckets
//! were counted elsewhere; those are written here.

use crate::stats::latency::{BOUNDS_NS, Sum};
use metrics::{Key, KeyName, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
use std::fmt::Write;

/// Nanoseconds of a second.
const SECOND_NS: f64 = 1e9;

/// What recorders want to know of who records.
const METADATA: Metadata<'_> = Metadata::new(module_path!(), Level::INFO, None);

/// Name and value of a label; values are static, or few.
pub(super) type Labels<'l> = &'l [(&'static str, &'l str)];

/// A page that is being written.
pub(super) struct Page {
    recorder: PrometheusRecorder,
    /// What the recorder cannot take.
    text: String,
}

impl Page {
    pub fn new() -> Self {
        Self { recorder: PrometheusBuilder::new().build_recorder(), text: String::new() }
    }

    /// A series of a counter.
    pub fn counter(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: Labels<'_>,
        value: u64,
    ) {
        self.recorder.describe_counter(KeyName::from_const_str(name), None, help.into());
        self.recorder.register_counter(&key(name, labels), &METADATA).absolute(value);
    }

    /// A series of a gauge.
    pub fn gauge(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: Labels<'_>,
        value: f64,
    ) {
        self.recorder.describe_gauge(KeyName::from_const_str(name), None, help.into());
        self.recorder.register_gauge(&key(name, labels), &METADATA).set(value);
    }

    /// A counter of one series that counts in fractions.
    pub fn fraction_counter(&mut self, name: &str, help: &str, value: f64) {
        self.begin(name, help, "counter");
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(self.text, "{name} {value}");
    }

    /// A histogram of times, with a series for each value of `label`.
    pub fn histogram<'s>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        series: impl Iterator<Item = (&'s str, Sum)>,
    ) {
        self.begin(name, help, "histogram");
        for (value, sum) in series {
            let mut count = 0;
            for (bound_ns, commands) in BOUNDS_NS.iter().zip(&sum.buckets) {
                count += commands;
                let le = *bound_ns as f64 / SECOND_NS;
                let _ =
                    writeln!(self.text, "{name}_bucket{{{label}=\"{value}\",le=\"{le}\"}} {count}");
            }
            let (count, seconds) = (sum.count(), sum.sum_ns as f64 / SECOND_NS);
            let _ = writeln!(
                self.text,
                "{name}_bucket{{{label}=\"{value}\",le=\"+Inf\"}} {count}\n\
                 {name}_sum{{{label}=\"{value}\"}} {seconds}\n\
                 {name}_count{{{label}=\"{value}\"}} {count}"
            );
        }
    }

    /// A histogram of its own: bounds with the counts up to each, the count of all, and the sum.
    pub fn distribution(
        &mut self,
        name: &str,
        help: &str,
        buckets: &[(u32, u64)],
        count: u64,
        sum: u64,
    ) {
        self.begin(name, help, "histogram");
        for (le, items) in buckets {
            let _ = writeln!(self.text, "{name}_bucket{{le=\"{le}\"}} {items}");
        }
        let _ = writeln!(
            self.text,
            "{name}_bucket{{le=\"+Inf\"}} {count}\n{name}_sum {sum}\n{name}_count {count}"
        );
    }

    fn begin(&mut self, name: &str, help: &str, kind: &str) {
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// The whole page.
    pub fn finish(self) -> String {
        let mut page = self.recorder.handle().render();
        page.push_str(&self.text);
        page
    }
}

fn key(name: &'static str, labels: Labels<'_>) -> Key {
    let labels = labels.iter().map(|(name, value)| Label::new(*name, (*value).to_owned()));
    Key::from_parts(name, labels.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_help_type_and_every_series() {
        let mut page = Page::new();
        page.counter("a_total", "As.", &[("x", "1")], 3);
        page.gauge("b_bytes", "Bs.", &[], 0.25);
        page.fraction_counter("c_seconds_total", "Cs.", 1.5);
        let page = page.finish();
        for lines in [
            "# HELP a_total As.\n# TYPE a_total counter\na_total{x=\"1\"} 3\n",
            "# HELP b_bytes Bs.\n# TYPE b_bytes gauge\nb_bytes 0.25\n",
            "# HELP c_seconds_total Cs.\n# TYPE c_seconds_total counter\nc_seconds_total 1.5\n",
        ] {
            assert!(page.contains(lines), "{page}");
        }
    }

    #[test]
    fn a_distribution_has_its_bounds_and_the_rest() {
        let mut page = Page::new();
        page.distribution("e_seconds", "Es.", &[(1, 2), (10, 5)], 6, 70);
        let lines = "# HELP e_seconds Es.\n# TYPE e_seconds histogram\n\
                     e_seconds_bucket{le=\"1\"} 2\ne_seconds_bucket{le=\"10\"} 5\n\
                     e_seconds_bucket{le=\"+Inf\"} 6\ne_seconds_sum 70\ne_seconds_count 6\n";
        let page = page.finish();
        assert!(page.contains(lines), "{page}");
    }

    #[test]
    fn buckets_are_cumulative_and_in_seconds() {
        let mut sum = Sum { buckets: [0; BOUNDS_NS.len() + 1], sum_ns: 1_000_002_500 };
        sum.buckets[0] = 1;
        sum.buckets[1] = 2;
        sum.buckets[BOUNDS_NS.len()] = 1;
        let mut page = Page::new();
        page.histogram("d_seconds", "Ds.", "command", [("get", sum)].into_iter());
        let page = page.finish();
        for line in [
            "# TYPE d_seconds histogram\n",
            "d_seconds_bucket{command=\"get\",le=\"0.000001\"} 1\n",
            "d_seconds_bucket{command=\"get\",le=\"0.0000015\"} 3\n",
            "d_seconds_bucket{command=\"get\",le=\"1\"} 3\n",
            "d_seconds_bucket{command=\"get\",le=\"+Inf\"} 4\n",
            "d_seconds_sum{command=\"get\"} 1.0000025\n",
            "d_seconds_count{command=\"get\"} 4\n",
        ] {
            assert!(page.contains(line), "{line}{page}");
        }
    }
}
