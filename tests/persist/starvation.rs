//! Processor time that was withheld from the threads that bring changes to disk: processors that others use are no fault of
//! the log's.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How the names of those threads begin, Volt's and sled's.
const WRITERS: [&str; 5] =
    ["persist-log", "persist-feed", "persist-disk", "sled-io-", "log flusher"];

/// For how long, up to each of these times, one or another of the threads was ready to run and was not run.
pub struct Withheld(Vec<(Instant, Duration)>);

impl Withheld {
    /// Watches the threads of a process until they are gone.
    pub fn watch(process: u32) -> Self {
        let tasks = writers(process);
        let look = || tasks.iter().map(|task| Scheduled::read(task)).collect::<Vec<_>>();
        let (mut before, mut withheld) = (look(), vec![(Instant::now(), Duration::ZERO)]);
        loop {
            std::thread::sleep(Duration::from_millis(1));
            let now = look();
            if now.iter().all(Option::is_none) {
                return Self(withheld);
            }
            let (last, sum) = withheld[withheld.len() - 1];
            let passed = last.elapsed();
            let kept = before.iter().zip(&now).map(|(before, now)| match (before, now) {
                (Some(before), Some(now)) if before.ready => {
                    passed.saturating_sub(now.ran.saturating_sub(before.ran))
                }
                (Some(before), Some(now)) => now.waited.saturating_sub(before.waited).min(passed),
                _ => Duration::ZERO,
            });
            withheld.push((last + passed, sum + kept.max().unwrap_or_default()));
            before = now;
        }
    }

    /// How much of it lies after `from`.
    pub fn since(&self, from: Instant) -> Duration {
        let (_, all) = self.0[self.0.len() - 1];
        let before = self.0.iter().rev().find(|(at, _)| *at <= from);
        all - before.map_or(Duration::ZERO, |(_, sum)| *sum)
    }
}

/// Its threads that write; clients that are served amid loading may be there before them, and so may be its end: then none.
fn writers(process: u32) -> Vec<PathBuf> {
    let begun = Instant::now();
    loop {
        let lives = fs::exists(format!("/proc/{process}")).unwrap_or(true);
        let tasks = tasks(process, &WRITERS);
        if !tasks.is_empty() || !lives {
            return tasks;
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "nobody writes");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The threads of a process whose names begin like one of these; none, if it has ended.
pub fn tasks(process: u32, names: &[&str]) -> Vec<PathBuf> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let is_meant = |path: &PathBuf| {
        let name = fs::read_to_string(path.join("comm")).unwrap_or_default();
        names.iter().any(|wanted| name.starts_with(wanted))
    };
    tasks.map(|task| task.path()).filter(is_meant).collect()
}

/// What the system says of a thread (proc(5), `schedstat` and `stat`).
#[derive(Clone, Copy)]
struct Scheduled {
    /// On a processor, in all.
    ran: Duration,
    /// Ready without one, in all, the present wait apart.
    waited: Duration,
    /// It runs, or is ready to.
    ready: bool,
}

impl Scheduled {
    fn read(task: &Path) -> Option<Self> {
        let text = fs::read_to_string(task.join("schedstat")).ok()?;
        let mut times = text.split(' ').map(|time| Some(Duration::from_nanos(time.parse().ok()?)));
        let (ran, waited) = (times.next()??, times.next()??);
        let stat = fs::read_to_string(task.join("stat")).ok()?;
        let (_, rest) = stat.rsplit_once(") ")?;
        Some(Self { ran, waited, ready: rest.starts_with('R') })
            .filter(|_| !rest.starts_with(['Z', 'X']))
    }
}
