//! The table, in Markdown, and the sentence about where it comes from.

use crate::measure::Cost;
use crate::steady::Times;
use std::fmt::Write;
use std::fs;

/// What was found.
#[derive(Default)]
pub struct Report {
    /// Versions, machine and command: one line each.
    pub origin: Vec<String>,
    pub costs: Vec<CostRow>,
    pub tails: Vec<TailRow>,
    pub workers: Vec<WorkersRow>,
}

/// A load on memcached and Volt.
pub struct CostRow {
    pub name: String,
    /// How much less CPU time than memcached Volt is to take.
    pub goal: f64,
    pub memcached: Cost,
    pub volt: Cost,
    /// The toy's total, where it can answer the load.
    pub toy_us: Option<f64>,
    /// memcached's CPU time an operation by Volt's, median of the pairs.
    pub ratio: f64,
}

/// Times under a fixed rate.
pub struct TailRow {
    pub name: String,
    /// Requests a second.
    pub rate: f64,
    pub memcached: Times,
    pub volt: Times,
}

/// What a second worker gives: throughput by that of one.
pub struct WorkersRow {
    pub name: String,
    pub memcached: f64,
    pub volt: f64,
    pub toy: f64,
}

impl Report {
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        self.write(&mut text).expect("a string takes everything");
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        for line in &self.origin {
            writeln!(text, "* {line}")?;
        }
        if !self.costs.is_empty() {
            writeln!(
                text,
                "\nServer CPU time an operation (a key, where there are many in a request), user + system, in microseconds:\n"
            )?;
            writeln!(
                text,
                "| load | memcached | Volt | a toy | memcached / Volt | goal | keys/s, memcached | keys/s, Volt |"
            )?;
            writeln!(text, "|---|---|---|---|---|---|---|---|")?;
        }
        for row in &self.costs {
            let toy = row.toy_us.map_or_else(String::new, |us| format!("{us:.3}"));
            let (name, them, us) = (&row.name, cost(row.memcached), cost(row.volt));
            let (ratio, goal) = (row.ratio, row.goal);
            let rates = [thousands(row.memcached.rate), thousands(row.volt.rate)].join(" | ");
            writeln!(
                text,
                "| {name} | {them} | {us} | {toy} | **{ratio:.2}** | {goal} | {rates} |"
            )?;
        }
        if !self.tails.is_empty() {
            writeln!(
                text,
                "\nTime from when a request was due until its answer, in microseconds, memcached / Volt:\n"
            )?;
            writeln!(
                text,
                "| load | requests/s | median | p99 | p99.9 | max |\n|---|---|---|---|---|---|"
            )?;
        }
        for TailRow { name, rate, memcached: a, volt: b } in &self.tails {
            write!(text, "| {name} | {} |", thousands(*rate))?;
            for (a, b) in [(a.median, b.median), (a.p99, b.p99), (a.p999, b.p999), (a.max, b.max)] {
                write!(text, " {a:.0} / {b:.0} |")?;
            }
            writeln!(text)?;
        }
        if !self.workers.is_empty() {
            writeln!(
                text,
                "\nThroughput of two workers by that of one; clients and servers share two processors:\n"
            )?;
            writeln!(text, "| load | memcached | Volt | a toy |\n|---|---|---|---|")?;
        }
        for WorkersRow { name, memcached, volt, toy } in &self.workers {
            writeln!(text, "| {name} | {memcached:.2} | {volt:.2} | {toy:.2} |")?;
        }
        Ok(())
    }
}

fn cost(cost: Cost) -> String {
    format!("{:.3} + {:.3} = {:.3}", cost.user_us, cost.system_us, cost.total_us())
}

/// A number with its thousands apart.
fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The machine, in a few words.
pub fn machine() -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let models: Vec<_> = cpus
        .lines()
        .filter_map(|line| line.strip_prefix("model name")?.split(": ").nth(1))
        .collect();
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    format!(
        "{} x {}, Linux {}, load before the run {}",
        models.len(),
        models.first().unwrap_or(&"unknown processor"),
        kernel.trim(),
        load.split(' ').next().unwrap_or_default(),
    )
}
