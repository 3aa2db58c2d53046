//! Is a concurrent history linearizable? The search of Wing and Gong ("Testing and Verifying Concurrent Objects", JPDC
//! 17, 1993) with Lowe's memory of what was tried ("Testing for linearizability", 2017).
//!
//! Linearizability is local (Herlihy and Wing 1990): a history is linearizable if and only if its part on each key is,
//! so each key is searched by itself.

use super::register::{Register, Rules};
use super::{Op, Outcome};
use std::collections::HashSet;

/// An operation with its outcome, and when it began and ended by a clock that all threads share.
#[derive(Debug, Clone)]
pub struct Event {
    /// Which thread.
    pub thread: usize,
    /// Time of the call.
    pub began: u64,
    /// Time of the return.
    pub ended: u64,
    /// What was asked.
    pub op: Op,
    /// What came of it.
    pub outcome: Outcome,
}

/// Operations in one history at most: they are a set of bits.
pub const EVENTS_MAX: usize = 128;

/// What a key may hold after the history, over all orders that explain it: empty if there is none.
///
/// With `evicting`, the item may vanish before any operation.
pub fn explain(
    history: &[Event],
    start: &[Register],
    rules: &Rules,
    evicting: bool,
) -> HashSet<Register> {
    assert!(history.len() <= EVENTS_MAX, "{} events", history.len());
    let all = if history.is_empty() { 0 } else { u128::MAX >> (EVENTS_MAX - history.len()) };
    let mut tried = HashSet::new();
    let mut ends = HashSet::new();
    let mut open: Vec<(u128, Register)> = start.iter().map(|start| (0, start.clone())).collect();
    while let Some((done, register)) = open.pop() {
        if done == all {
            ends.insert(register);
            continue;
        }
        let waiting = || (0..history.len()).filter(|i| done & 1 << i == 0);
        // What began after another waiting one had ended must wait for it.
        let first_end = waiting().map(|i| history[i].ended).min().unwrap_or(u64::MAX);
        for i in waiting().filter(|i| history[*i].began < first_end) {
            let Event { op, outcome, .. } = &history[i];
            let gone = evicting.then(|| register.evicted());
            for before in [Some(&register), gone.as_ref()].into_iter().flatten() {
                if let Some(after) = before.after(op, outcome, rules) {
                    let next = (done | 1 << i, after);
                    if tried.insert(next.clone()) {
                        open.push(next);
                    }
                }
            }
        }
    }
    ends
}
