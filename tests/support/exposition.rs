//! Prometheus' text format, read strictly: what this accepts, any scraper accepts.
//!
//! Beyond the grammar it demands what a well-kept page has: help and type before the first series of a family, a
//! family's lines together, no series twice, histograms that are whole and cumulative.

use std::collections::{BTreeMap, BTreeSet};

/// A series: its name, and its labels in order of their names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Series {
    /// The metric's name, with `_bucket` and its like.
    pub name: String,
    /// Names and values.
    pub labels: Vec<(String, String)>,
}

impl Series {
    /// A series by the text of its labels: `{"command": "get"}` as pairs.
    pub fn new(name: &str, labels: &[(&str, &str)]) -> Self {
        let mut labels: Vec<_> =
            labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        labels.sort();
        Self { name: name.to_owned(), labels }
    }
}

/// A page, parsed.
#[derive(Debug, Default)]
pub struct Exposition {
    /// Type by family.
    pub types: BTreeMap<String, String>,
    /// Value by series.
    pub values: BTreeMap<Series, f64>,
    helped: BTreeSet<String>,
}

impl Exposition {
    /// Parses a page; panics with what is wrong with it.
    pub fn parse(page: &str) -> Self {
        assert!(page.ends_with('\n'), "the last line has no end");
        let mut parsed = Self::default();
        let mut family = String::new();
        for line in page.lines().filter(|line| !line.is_empty()) {
            match line.strip_prefix("# ") {
                Some(comment) => parsed.comment(comment, &mut family),
                None => parsed.sample(line, &family),
            }
        }
        parsed.check_histograms();
        parsed
    }

    fn comment(&mut self, comment: &str, family: &mut String) {
        let mut words = comment.splitn(3, ' ');
        let (word, name, text) = (words.next(), words.next(), words.next());
        let (Some(word), Some(name), Some(text)) = (word, name, text) else {
            panic!("neither help nor type: {comment}")
        };
        assert!(is_name(name, ":"), "{comment}");
        match word {
            "HELP" => {
                assert!(self.helped.insert(name.to_owned()), "helped twice: {name}");
                assert!(!text.is_empty(), "no help: {comment}");
            }
            "TYPE" => {
                assert!(["counter", "gauge", "histogram"].contains(&text), "{comment}");
                assert!(self.helped.contains(name), "no help before the type of {name}");
                let before = self.types.insert(name.to_owned(), text.to_owned());
                assert_eq!(before, None, "typed twice, or not together: {name}");
                *family = name.to_owned();
            }
            _ => panic!("neither help nor type: {comment}"),
        }
    }

    fn sample(&mut self, line: &str, family: &str) {
        let (head, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
        let value: f64 = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
        let (name, labels) = match head.split_once('{') {
            Some((name, rest)) => {
                let rest = rest.strip_suffix('}').unwrap_or_else(|| panic!("no brace: {line}"));
                (name, labels(rest, line))
            }
            None => (head, Vec::new()),
        };
        assert!(is_name(name, ":"), "{line}");
        let kind = self.types.get(family).map(String::as_str);
        let suffixes: &[&str] = match kind {
            Some("histogram") => &["_bucket", "_sum", "_count"],
            _ => &[""],
        };
        let belongs = suffixes.iter().any(|suffix| name.strip_suffix(suffix) == Some(family));
        assert!(belongs, "not among its family, after {family}: {line}");
        if kind != Some("gauge") {
            assert!(value >= 0.0 && value.is_finite(), "no count: {line}");
        }
        let series = Series { name: name.to_owned(), labels };
        let before = self.values.insert(series, value);
        assert_eq!(before, None, "twice: {line}");
    }

    /// Every histogram has its buckets in order, up to one without a bound that has all.
    fn check_histograms(&self) {
        for (family, _) in self.types.iter().filter(|(_, kind)| *kind == "histogram") {
            let mut buckets = BTreeMap::<Vec<_>, Vec<(f64, f64)>>::new();
            let name = format!("{family}_bucket");
            for (series, value) in self.values.iter().filter(|(series, _)| series.name == name) {
                let (le, rest) =
                    series.labels.iter().cloned().partition::<Vec<_>, _>(|(name, _)| name == "le");
                let le = le.first().expect("a bucket has a bound").1.replace("+Inf", "inf");
                buckets.entry(rest).or_default().push((le.parse().expect("a bound"), *value));
            }
            assert!(!buckets.is_empty(), "{family} has no buckets");
            for (labels, mut buckets) in buckets {
                buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
                assert!(buckets.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{buckets:?}");
                let (bound, all) = buckets.pop().expect("it has some");
                assert_eq!(bound, f64::INFINITY, "{family}");
                let count = Series { name: format!("{family}_count"), labels: labels.clone() };
                assert_eq!(self.values.get(&count), Some(&all), "{count:?}");
                let sum = Series { name: format!("{family}_sum"), labels };
                assert!(self.values.contains_key(&sum), "{sum:?}");
            }
        }
    }

    /// The value of a series.
    #[track_caller]
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let series = Series::new(name, labels);
        *self.values.get(&series).unwrap_or_else(|| panic!("no {series:?}"))
    }

    /// The family that a series belongs to.
    pub fn family(&self, series: &Series) -> String {
        let name = &series.name;
        let stem = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        match stem {
            Some(stem) if self.types.contains_key(stem) => stem.to_owned(),
            _ => name.clone(),
        }
    }
}

/// Reads `name="value",...`; escapes are `\\`, `\"` and `\n`.
fn labels(mut rest: &str, line: &str) -> Vec<(String, String)> {
    let mut labels = Vec::new();
    while !rest.is_empty() {
        let (name, quoted) = rest.split_once("=\"").unwrap_or_else(|| panic!("labels: {line}"));
        assert!(is_name(name, ""), "label {name}: {line}");
        let (mut value, mut chars) = (String::new(), quoted.char_indices());
        let end = loop {
            match chars.next().unwrap_or_else(|| panic!("no end of a label: {line}")) {
                (at, '"') => break at,
                (_, '\\') => match chars.next().map(|(_, c)| c) {
                    Some('n') => value.push('\n'),
                    Some(c @ ('\\' | '"')) => value.push(c),
                    _ => panic!("no escape: {line}"),
                },
                (_, c) => value.push(c),
            }
        };
        labels.push((name.to_owned(), value));
        rest = &quoted[end + 1..];
        rest = match rest.strip_prefix(',') {
            Some(more) => more,
            None => {
                assert!(rest.is_empty(), "labels: {line}");
                rest
            }
        };
    }
    labels.sort();
    assert!(labels.windows(2).all(|pair| pair[0].0 != pair[1].0), "a label twice: {line}");
    labels
}

fn is_name(name: &str, more: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || more.contains(c);
    !name.is_empty() && name.chars().all(fits) && !name.starts_with(|c: char| c.is_ascii_digit())
}
