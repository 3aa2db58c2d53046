//! A page of metrics as numbers by series, and what two of them say of the time between.

use std::collections::HashMap;
use std::time::Instant;

/// The name of the histogram's buckets.
const BUCKET: &str = "volt_command_duration_seconds_bucket{command=\"";

/// One page.
pub(super) struct Scrape {
    at: Instant,
    /// By series, as the page writes it: `name{label="value"}`.
    values: HashMap<String, f64>,
}

impl Scrape {
    /// Reads a page that was fetched then. Lines that are no series are passed over.
    pub fn parse(page: &str, at: Instant) -> Self {
        let series = page.lines().filter(|line| !line.starts_with('#'));
        let values = series
            .filter_map(|line| line.rsplit_once(' '))
            .filter_map(|(series, value)| Some((series.to_owned(), value.parse().ok()?)))
            .collect();
        Self { at, values }
    }

    /// The value of a series; 0 where it is missing.
    pub fn value(&self, series: &str) -> f64 {
        self.values.get(series).copied().unwrap_or_default()
    }

    /// The text of a label of the one series of this name.
    pub fn label(&self, name: &str, label: &str) -> String {
        let start = format!("{name}{{{label}=\"");
        let found = self.values.keys().find_map(|series| series.strip_prefix(&start));
        found.and_then(|rest| rest.split('"').next()).unwrap_or("?").to_owned()
    }

    /// How much a counter grew a second since `before`.
    pub fn rate(&self, before: &Self, series: &str) -> f64 {
        let seconds = self.at.duration_since(before.at).as_secs_f64().max(1e-3);
        // After a restart of the server it starts anew.
        (self.value(series) - before.value(series)).max(0.0) / seconds
    }

    /// The commands that are timed.
    pub fn commands(&self) -> Vec<String> {
        let mut commands: Vec<_> = self
            .values
            .keys()
            .filter_map(|series| {
                series.strip_prefix("volt_command_duration_seconds_count{command=\"")
            })
            .filter_map(|rest| rest.split('"').next())
            .map(str::to_owned)
            .collect();
        commands.sort();
        commands
    }

    /// The time in seconds that a share `quantile` of the commands since `before` has kept to, all kinds together or one;
    /// `None` without commands.
    pub fn quantile(&self, before: &Self, command: Option<&str>, quantile: f64) -> Option<f64> {
        let mut buckets = Vec::<(f64, f64)>::new();
        for (series, count) in &self.values {
            let Some((kind, le)) =
                series.strip_prefix(BUCKET).and_then(|rest| rest.split_once("\",le=\""))
            else {
                continue;
            };
            let le = le.trim_end_matches("\"}");
            let le = if le == "+Inf" { f64::INFINITY } else { le.parse().unwrap_or(f64::INFINITY) };
            if command.is_none_or(|command| command == kind) {
                buckets.push((le, (count - before.value(series)).max(0.0)));
            }
        }
        quantile_of(buckets, quantile)
    }
}

/// A quantile from cumulative buckets, which may occur several times, in any order; as Prometheus does it.
fn quantile_of(mut buckets: Vec<(f64, f64)>, quantile: f64) -> Option<f64> {
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    buckets.dedup_by(|next, kept| {
        let same = next.0 == kept.0;
        kept.1 += if same { next.1 } else { 0.0 };
        same
    });
    let wanted = quantile * buckets.last().map(|(_, all)| *all).filter(|all| *all > 0.0)?;
    let at = buckets.iter().position(|(_, count)| *count >= wanted)?;
    let (low, below) = if at == 0 { (0.0, 0.0) } else { buckets[at - 1] };
    let (high, count) = buckets[at];
    if high.is_infinite() {
        return Some(low);
    }
    Some(low + (high - low) * (wanted - below) / (count - below).max(f64::MIN_POSITIVE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn rates_are_differences_of_two_pages() {
        let began = Instant::now();
        let before = Scrape::parse("# TYPE a counter\na{x=\"1\"} 10\n", began);
        let now = Scrape::parse("a{x=\"1\"} 30\n\nb 2.5\n", began + Duration::from_secs(2));
        assert_eq!(now.rate(&before, "a{x=\"1\"}"), 10.0);
        assert_eq!(before.rate(&now, "a{x=\"1\"}"), 0.0, "it never falls");
        assert_eq!((now.value("b"), now.value("c")), (2.5, 0.0));
        assert_eq!((now.label("a", "x"), now.label("b", "x")), ("1".to_owned(), "?".to_owned()));
    }

    #[test]
    fn quantiles_are_read_off_between_two_bounds() {
        let buckets = [(1.0, 50.0), (2.0, 90.0), (4.0, 100.0), (f64::INFINITY, 100.0)];
        assert_eq!(quantile_of(buckets.to_vec(), 0.5), Some(1.0));
        assert_eq!(quantile_of(buckets.to_vec(), 0.7), Some(1.5));
        assert_eq!(quantile_of(buckets.to_vec(), 0.95), Some(3.0));
        // Two kinds of commands.
        assert_eq!(quantile_of([buckets, buckets].concat(), 0.7), Some(1.5));
        assert_eq!(quantile_of(vec![(1.0, 0.0), (f64::INFINITY, 0.0)], 0.5), None);
        assert_eq!(quantile_of(vec![(1.0, 1.0), (f64::INFINITY, 9.0)], 0.9), Some(1.0));
    }
}
