//! What is built on the metrics: the boards for Grafana, the alerts, the Prometheus that evaluates both.
//!
//! A board rots when a metric is renamed and nobody looks; so every metric that a panel or an alert names has to be in
//! a page scraped from a running node. What a real Prometheus makes of it all is asked of one where there is one:
//! `cargo test --test observe -- --include-ignored` needs Debian's package `prometheus`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../support/mod.rs"]
mod support;

mod board;
mod node;
mod persisted;
mod prometheus;

use std::fs;
use std::path::{Path, PathBuf};

/// A path below the top of the tree.
fn top(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A file below the top of the tree.
fn text(path: &str) -> String {
    fs::read_to_string(top(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}
