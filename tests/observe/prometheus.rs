//! A real Prometheus over a running node: it takes every scrape, every panel's query has an answer there, and the values
//! are those that were counted.

use crate::board::{boards, panels, queries};
use crate::support::observed::{connect, get};
use crate::{node, text, top};
use serde_json::Value;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use std::{fs, io::Write};
use tempfile::TempDir;

const DEADLINE: Duration = Duration::from_secs(30);

/// A Prometheus on a free port, ended when dropped.
struct Prometheus {
    child: Child,
    address: SocketAddr,
    _folder: TempDir,
}

impl Prometheus {
    /// Starts one with the configuration that is shipped, but for the target and the time between scrapes.
    fn over(target: SocketAddr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = text("config/prometheus/prometheus.yml")
            .replace("volt:9150", &target.to_string())
            .replace("scrape_interval: 5s", "scrape_interval: 1s")
            .replace("scrape_timeout: 4s", "scrape_timeout: 1s");
        assert!(config.contains(&target.to_string()) && config.contains("interval: 1s"));
        let path = folder.path().join("prometheus.yml");
        fs::write(&path, config).unwrap();
        fs::copy(top("config/prometheus/alerts.yml"), folder.path().join("alerts.yml")).unwrap();
        // Free now, and nobody is likely to take it until Prometheus does.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", path.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("prometheus is installed");
        Self { child, address, _folder: folder }
    }

    /// Asks; `None` while it does not answer yet.
    fn ask(&self, query: &str) -> Option<Vec<Value>> {
        let query: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let (head, body) = get(self.address, &format!("/api/v1/query?query={query}")).ok()?;
        if body == "Service Unavailable" {
            return None;
        }
        assert!(head.contains(" 200 "), "{body}");
        let answer: Value = serde_json::from_str(&body).unwrap();
        Some(answer["data"]["result"].as_array().unwrap().clone())
    }

    /// The value of a query for one series.
    fn value(&self, query: &str) -> Option<f64> {
        self.ask(query)?.first()?["value"][1].as_str()?.parse().ok()
    }

    /// Waits until a query has an answer that is as wanted.
    #[track_caller]
    fn wait(&self, query: &str, mut wanted: impl FnMut(f64) -> bool) -> f64 {
        let start = Instant::now();
        loop {
            match self.value(query) {
                Some(value) if wanted(value) => return value,
                last => assert!(start.elapsed() < DEADLINE, "{query}: {last:?}"),
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It ends when it is told to; that it has not ended by itself is nobody's business here.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn promtool(arguments: &[&str], folder: &Path, input: &str) -> Output {
    let mut child = Command::new("promtool")
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is installed");
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
#[ignore = "needs Debian's package prometheus"]
fn promtool_accepts_the_configuration_the_alerts_and_their_tests() {
    for arguments in [
        &["check", "config", "config/prometheus/prometheus.yml"][..],
        &["check", "rules", "config/prometheus/alerts.yml"],
        &["test", "rules", "tests/observe/alerts.test.yml"],
    ] {
        let output = promtool(arguments, &top(""), "");
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }
}

#[test]
#[ignore = "needs Debian's package prometheus"]
fn promtool_finds_nothing_on_the_page_but_the_exporters_own_names() {
    let node = node::start();
    node::use_it(&mut connect(&node), 1);
    let (_, page) = get(node.metrics_address().unwrap(), "/metrics").unwrap();
    let output = promtool(&["check", "metrics"], &top(""), &page);
    let said = String::from_utf8(output.stderr).unwrap();
    let ours: Vec<_> = said.lines().filter(|line| !line.starts_with("memcached_")).collect();
    assert!(ours.is_empty(), "{said}");
    assert_ne!(output.status.code(), Some(1), "the page is not understood");
}

#[test]
#[ignore = "needs Debian's package prometheus"]
fn every_panel_has_data_and_the_values_are_those_that_were_counted() {
    let node = node::start();
    let prometheus = Prometheus::over(node.metrics_address().unwrap());
    let mut connection = connect(&node);
    let mut rounds = 0;
    // Load, until there are several scrapes of it.
    prometheus.wait("count_over_time(memcached_up[30s])", |scrapes| {
        rounds += 1;
        node::use_it(&mut connection, rounds);
        scrapes >= 5.0
    });
    let sets = format!("memcached_commands_total{{command=\"set\"}} == {}", rounds * 1200);
    prometheus.wait(&sets, |_| true);
    assert_eq!(prometheus.value("count(resets(memcached_items_total[30s]) > 0)"), None);
    assert_eq!(prometheus.value("up{job=\"volt\"}"), Some(1.0));
    let mut asked = 0;
    for (name, board) in boards() {
        for panel in panels(&board) {
            for query in queries(panel) {
                let query = query
                    .replace("$job", ".+")
                    .replace("$instance", ".+")
                    .replace("$__rate_interval", "10s");
                let answer = prometheus.ask(&query).unwrap();
                assert!(!answer.is_empty(), "{name}, {}: no data for {query}", panel["title"]);
                asked += 1;
            }
        }
    }
    assert!(asked > 40, "only {asked} queries");
}
