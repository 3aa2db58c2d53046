//! The observer: what clients did to which key and when that was acknowledged, and what a kill has cost of it.

use crate::client::Client;
use crate::program::Program;
use crate::starvation::Withheld;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What a kill may lose.
pub const BOUND: Duration = Duration::from_millis(100);
/// A client's rest between two changes, so that all of them leave the log some of two processors.
const PACE: Duration = Duration::from_micros(250);
/// One of so many changes is looked at by who has made it.
const LOOK_EVERY: u64 = 8;

/// What was done to a key, in order: the value, or `None` for a delete; and when that was acknowledged, if it was.
type History = Vec<(Option<String>, Option<Instant>)>;

/// What clients have done.
#[derive(Default)]
pub struct Changed {
    histories: HashMap<u64, History>,
    /// The longest time that one of them waited for an answer.
    pub slowest: Duration,
}

impl Changed {
    /// Makes what the keys had what they have after these changes, all of which were answered.
    pub fn apply(self, keys: &mut [Option<String>]) {
        for (key, mut history) in self.histories {
            keys[key as usize] = history.pop().and_then(|(value, _)| value);
        }
    }
}

/// A value that says which key and change it belongs to, of some length.
pub fn value(key: u64, change: u64) -> String {
    let mark = format!("{key}:{change};");
    mark.repeat(1 + (change as usize % 7) * 40)
}

/// Gives every key of a range its first value; what they have then.
pub fn fill(client: &mut Client, keys: Range<u64>) -> Vec<Option<String>> {
    let set = |key| {
        let value = value(key, key);
        let reply = client.ask(&format!("set k{key} 0 0 {}\r\n{value}\r\n", value.len()));
        assert_eq!(reply.unwrap(), "STORED");
        Some(value)
    };
    keys.map(set).collect()
}

/// Changes keys until the server has gone, or until it is to stop.
fn write(mut client: Client, keys: Range<u64>, seed: u64, over: &AtomicBool) -> Changed {
    let mut changed = Changed::default();
    let mut random = seed;
    for change in seed * 1_000_000.. {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let key = keys.start + (random >> 33) % (keys.end - keys.start);
        let history = changed.histories.entry(key).or_default();
        let (request, new) = match (random >> 50) % 6 {
            0 => (format!("delete k{key}\r\n"), None),
            _ => {
                let value = value(key, change);
                (format!("set k{key} 0 0 {}\r\n{value}\r\n", value.len()), Some(value))
            }
        };
        history.push((new.clone(), None));
        let asked = Instant::now();
        let Some(reply) = client.ask(&request) else { break };
        let answered = Instant::now();
        changed.slowest = changed.slowest.max(answered - asked);
        history.last_mut().unwrap().1 = Some(answered);
        let right = match &new {
            Some(_) => reply == "STORED",
            None => reply == "DELETED" || reply == "NOT_FOUND",
        };
        assert!(right, "k{key}: {reply}");
        if change.is_multiple_of(LOOK_EVERY) {
            let name = format!("k{key}");
            let Some(mut found) = client.try_get(std::slice::from_ref(&name)) else { break };
            assert!(found.remove(&name) == new, "{name} is not what it was changed to");
        }
        if over.load(Ordering::Relaxed) {
            break;
        }
        std::thread::sleep(PACE);
    }
    changed
}

/// Says that it is over, however that comes about.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Has a client for each of these ranges change keys of it until `meanwhile` has ended; what that says, and what they have done.
pub fn change_meanwhile<T>(
    clients: Vec<(Client, Range<u64>)>,
    seed: u64,
    meanwhile: impl FnOnce() -> T,
) -> (T, Changed) {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let start = |((client, keys), seed)| {
            let over = &over;
            scope.spawn(move || write(client, keys, seed, over))
        };
        let writers: Vec<_> = clients.into_iter().zip(seed..).map(start).collect();
        let said = {
            let _over = Over(&over);
            meanwhile()
        };
        let mut all = Changed::default();
        for writer in writers {
            let changed = writer.join().unwrap();
            all.histories.extend(changed.histories);
            all.slowest = all.slowest.max(changed.slowest);
        }
        (said, all)
    })
}

/// A client for each of so many ranges of as many keys.
pub fn clients(program: &Program, ranges: u64, keys: u64) -> Vec<(Client, Range<u64>)> {
    (0..ranges).map(|part| (program.connect(), part * keys..(part + 1) * keys)).collect()
}

/// A kill amid changes.
pub struct Killed {
    at: Instant,
    withheld: Withheld,
    changed: Changed,
}

impl Killed {
    /// Kills a program when `moment` has passed, while clients change keys.
    pub fn amid(
        program: Program,
        clients: Vec<(Client, Range<u64>)>,
        seed: u64,
        moment: impl FnOnce(&Program),
    ) -> Self {
        let process = program.id();
        let kill = || {
            std::thread::scope(|scope| {
                let withheld = scope.spawn(|| Withheld::watch(process));
                moment(&program);
                let at = Instant::now();
                program.kill();
                (at, withheld.join().unwrap())
            })
        };
        let ((at, withheld), changed) = change_meanwhile(clients, seed, kill);
        Self { at, withheld, changed }
    }

    /// How many changes there were.
    pub fn changes(&self) -> usize {
        self.changed.histories.values().map(Vec::len).sum()
    }

    /// What the kill has cost, by what the keys had before the changes and what was found afterwards: the longest time before
    /// it that a change was acknowledged which is lost, processor time apart that the log did not get.
    pub fn cost(&self, before: &[Option<String>], found: &[Option<String>]) -> Duration {
        assert_eq!(before.len(), found.len());
        let keys = (0..).zip(before).zip(found);
        let lost = keys.map(|((key, before), found)| self.loss(key, before, found));
        let beyond = |lost| self.withheld.since(self.at - lost);
        lost.map(|lost: Duration| lost.saturating_sub(beyond(lost))).max().unwrap_or_default()
    }

    /// How long before the kill the oldest acknowledged change of a key was that is lost.
    pub fn loss(&self, key: u64, before: &Option<String>, found: &Option<String>) -> Duration {
        let history = self.changed.histories.get(&key).map_or(&[][..], |history| history);
        // The newest change that what is served may come from.
        let at = history.iter().rposition(|(value, _)| value == found);
        if at.is_none() && before != found {
            // Values are too long to be shown.
            let what = found.as_ref().and_then(|found| found.split(';').next());
            panic!("k{key} has {what:?}, which it has not had since the changes began");
        }
        let mut lost = history[at.map_or(0, |at| at + 1)..].iter();
        let lost = lost.find_map(|(_, acknowledged)| *acknowledged);
        lost.map_or(Duration::ZERO, |acknowledged| self.at.duration_since(acknowledged))
    }
}
