//! The boards and alerts as files: what a board of Grafana's classic schema has to have, by the rules that Grafana's own
//! linter for boards checks, and that nothing names a metric that there is not.

use crate::support::exposition::Exposition;
use crate::support::observed::{connect, get};
use crate::{node, text, top};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;

/// Panels that show series.
const PANELS: [&str; 4] = ["stat", "timeseries", "heatmap", "table"];

/// Units that the panels use, of those that Grafana knows.
const UNITS: [&str; 11] =
    ["none", "string", "short", "percentunit", "s", "bytes", "Bps", "ops", "reqps", "cps", "rps"];

/// Series that Prometheus itself makes for every target.
const OF_PROMETHEUS: [&str; 2] = ["up", "scrape_duration_seconds"];

/// All boards, by file name.
pub fn boards() -> Vec<(String, Value)> {
    let mut boards = Vec::new();
    for entry in fs::read_dir(top("grafana/dashboards")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let text = text(&format!("grafana/dashboards/{name}"));
        assert!(text.lines().count() > 100, "{name} is not laid out for reading");
        boards.push((name, serde_json::from_str(&text).unwrap()));
    }
    assert!(!boards.is_empty());
    boards
}

/// The panels of a board but for its rows.
pub fn panels(board: &Value) -> impl Iterator<Item = &Value> {
    board["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] != "row")
}

/// The queries of a panel.
pub fn queries(panel: &Value) -> impl Iterator<Item = &str> {
    panel["targets"].as_array().unwrap().iter().map(|target| target["expr"].as_str().unwrap())
}

/// The names of metrics in a query: words before `{` or `[`, and all that have a prefix of ours.
fn metrics(query: &str) -> BTreeSet<&str> {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut names = BTreeSet::new();
    for (at, _) in query.match_indices(part) {
        let before = query[..at].chars().next_back();
        if before.is_some_and(part) {
            continue;
        }
        let len = query[at..].find(|c| !part(c)).unwrap_or(query.len() - at);
        let (name, after) = query[at..].split_at(len);
        let ours = ["memcached_", "volt_", "process_"].iter().any(|ours| name.starts_with(ours));
        if ours || after.starts_with('{') {
            names.insert(name);
        }
    }
    names
}

#[test]
fn names_are_found_in_queries() {
    let query =
        "sum by (le) (rate(volt_a_bucket{job=~\"$job\"}[5m])) / up{x=\"memcachedx\"} > memcached_b";
    assert_eq!(metrics(query), BTreeSet::from(["memcached_b", "up", "volt_a_bucket"]));
}

#[test]
fn every_metric_of_a_panel_or_an_alert_is_in_a_scrape() {
    let node = node::start();
    node::use_it(&mut connect(&node), 1);
    let (_, page) = get(node.metrics_address().unwrap(), "/metrics").unwrap();
    let page = Exposition::parse(&page);
    let names: BTreeSet<_> = page.values.keys().map(|series| series.name.as_str()).collect();
    let mut asked = 0;
    let mut check = |whence: &str, query: &str| {
        for name in metrics(query).into_iter().filter(|name| !OF_PROMETHEUS.contains(name)) {
            assert!(names.contains(name), "{whence} names {name}, which is in no scrape");
            asked += 1;
        }
    };
    for (name, board) in boards() {
        for panel in panels(&board) {
            for query in queries(panel) {
                check(&format!("{name}, {}", panel["title"]), query);
            }
        }
        for variable in board["templating"]["list"].as_array().unwrap() {
            check(&name, variable["definition"].as_str().unwrap_or_default());
        }
        for annotation in board["annotations"]["list"].as_array().unwrap() {
            check(&name, annotation["expr"].as_str().unwrap_or_default());
        }
    }
    check("alerts.yml", &text("config/prometheus/alerts.yml"));
    assert!(asked > 60, "only {asked} names found");
}

#[test]
fn boards_are_of_the_classic_schema_and_choose_source_job_and_instance() {
    let mut uids = BTreeSet::new();
    for (name, board) in boards() {
        assert!(uids.insert(board["uid"].as_str().unwrap().to_owned()), "{name}: uid");
        assert!((41..=42).contains(&board["schemaVersion"].as_i64().unwrap()), "{name}");
        assert_eq!(board["editable"], false, "{name}");
        assert!(board.get("id").is_none() && board.get("__inputs").is_none(), "{name}");
        assert!(!board["title"].as_str().unwrap().is_empty(), "{name}");
        let variable = |wanted: &str| {
            let variables = board["templating"]["list"].as_array().unwrap();
            let found = variables.iter().find(|variable| variable["name"] == wanted);
            found.unwrap_or_else(|| panic!("{name} has no variable {wanted}"))
        };
        let source = variable("datasource");
        assert_eq!(
            (&source["type"], &source["label"], &source["query"]),
            (&"datasource".into(), &"Data source".into(), &"prometheus".into())
        );
        for (wanted, label) in [("job", "Job"), ("instance", "Instance")] {
            let variable = variable(wanted);
            assert_eq!(variable["type"], "query", "{name}");
            assert_eq!(variable["label"], label, "{name}");
            assert_eq!(variable["multi"], true, "{name}");
            assert_eq!(variable["allValue"], ".+", "{name}");
            assert_eq!(variable["refresh"], 2, "{name}: on time change");
            assert_eq!(variable["datasource"]["uid"], "${datasource}", "{name}");
        }
    }
}

#[test]
fn panels_have_title_description_unit_and_queries_that_heed_the_variables() {
    for (name, board) in boards() {
        let (mut ids, mut places) = (BTreeSet::new(), Vec::new());
        for panel in board["panels"].as_array().unwrap() {
            assert!(ids.insert(panel["id"].as_i64().unwrap()), "{name}: {}", panel["title"]);
        }
        for panel in panels(&board) {
            let title = panel["title"].as_str().unwrap();
            let whence = format!("{name}, {title}");
            assert!(!title.is_empty(), "{name}");
            assert!(panel["description"].as_str().unwrap().ends_with('.'), "{whence}");
            let kind = panel["type"].as_str().unwrap();
            assert!(PANELS.contains(&kind), "{whence}: {kind}");
            let unit = match kind {
                "heatmap" => &panel["options"]["yAxis"]["unit"],
                _ => &panel["fieldConfig"]["defaults"]["unit"],
            };
            assert!(UNITS.contains(&unit.as_str().unwrap_or_default()), "{whence}: unit {unit}");
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{whence}");
            places.push(place(&panel["gridPos"]));
            assert!(queries(panel).count() > 0, "{whence}");
            for query in queries(panel) {
                check_query(&whence, query);
            }
        }
        for (index, a) in places.iter().enumerate() {
            assert!(a[0] + a[2] <= 24, "{name}: wider than the board");
            for b in &places[..index] {
                let apart = a[0] + a[2] <= b[0]
                    || b[0] + b[2] <= a[0]
                    || a[1] + a[3] <= b[1]
                    || b[1] + b[3] <= a[1];
                assert!(apart, "{name}: panels lie on each other");
            }
        }
    }
}

/// Left, top, width, height.
fn place(grid: &Value) -> [i64; 4] {
    ["x", "y", "w", "h"].map(|side| grid[side].as_i64().unwrap())
}

/// Every selector heeds the variables, and what counts is looked at as a rate.
fn check_query(whence: &str, query: &str) {
    for name in metrics(query) {
        for (at, _) in query.match_indices(&format!("{name}{{")) {
            let rest = &query[at + name.len()..];
            let (labels, after) = rest.split_once('}').unwrap();
            assert!(labels.contains("job=~\"$job\""), "{whence}: {query}");
            assert!(labels.contains("instance=~\"$instance\""), "{whence}: {query}");
            let counts = ["_total", "_bucket", "_count", "_sum"].iter().any(|s| name.ends_with(s));
            if counts {
                assert!(after.starts_with("[$__rate_interval]"), "{whence}: {query}");
                let before = &query[..at];
                assert!(before.ends_with("rate(") || before.ends_with("increase("), "{whence}");
            }
        }
    }
}

#[test]
fn every_alert_says_how_bad_it_is_and_what_to_do_and_is_tested() {
    let (alerts, tests) =
        (text("config/prometheus/alerts.yml"), text("tests/observe/alerts.test.yml"));
    let mut rules = alerts.split("- alert: ").skip(1).peekable();
    assert!(rules.peek().is_some());
    for rule in rules {
        let name = rule.lines().next().unwrap();
        for part in ["expr:", "severity:", "summary:", "description:", "runbook:"] {
            assert!(rule.contains(part), "{name} has no {part}");
        }
        assert!(tests.contains(&format!("alertname: {name}\n        exp_alerts:")), "{name}");
    }
}
