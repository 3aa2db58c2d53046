//! Sealing: which spans are to be emptied, so that whole ones come free.
//!
//! Slots of one class are free here and there after sizes have shifted, in spans that no other class can use. A round begins
//! with sealing: of each class the sparsest spans, as many as the free slots of its other spans take the items of. Nobody
//! takes slots from a sealed span. Then whoever takes part ([`Arena::next_part`]) goes over a part of the table and moves the
//! items that lie in sealed spans; with its last item a span comes free as any other does. What a round leaves behind
//! (a draft whose value is slow to come, say) stays sealed for the next one and is then given up.

use super::Arena;
use super::class::{COUNT, Class};
use crate::sync::{AtomicUsize, Ordering};
use std::ops::Range;

/// Spans are told apart by how many such shares of their slots are free.
const GRADES: usize = 16;

/// Rounds for which a span stays sealed.
const ROUNDS_MAX: u64 = 2;

/// A round is worth its while if it frees this share of the spans in use,
const GAIN_SHARE: usize = 128;
/// and no fewer than these.
const GAIN_MIN: usize = 4;

/// Of the free slots that are left, an eighth is not counted on: others take slots, too.
const MARGIN: usize = 8;

/// Larger arenas are not looked over by who stores: that is left to the keeper.
const SMALL_SPANS: usize = 16 * 1024;

/// After a look over so many spans that was in vain the keeper leaves out a turn.
const SPANS_A_LOOK: usize = 4096;

const IDLE: usize = 0;
const SEALING: usize = 1;
const MOVING: usize = 2;

/// Where a round stands.
#[derive(Default)]
pub struct Round {
    phase: AtomicUsize,
    /// The part of the table that is to be gone over next.
    next: AtomicUsize,
    /// Spans that had been opened when a round was begun or found not to be worth it.
    opened: AtomicUsize,
    /// Calls of the keeper's that are let pass before it looks over all spans again.
    rest: AtomicUsize,
}

#[cfg(test)]
impl Round {
    pub(super) fn begin(&self) {
        self.phase.store(MOVING, Ordering::Release);
    }
}

/// Spans of a class and a grade.
#[derive(Clone, Copy, Default)]
struct Grade {
    spans: usize,
    free: usize,
    used: usize,
}

impl Arena {
    /// Whether a round is under way.
    #[inline]
    pub fn moving(&self) -> bool {
        // Acquire: with the phase come the seals and the place to begin.
        self.round.phase.load(Ordering::Acquire) == MOVING
    }

    /// Whether something lies in a sealed span.
    #[inline]
    pub fn is_sealed(&self, address: usize) -> bool {
        self.span_of(address).is_some_and(|span| self.spans[span].sealed() > 0)
    }

    /// The next part of a table of so many buckets to go over; `None` once the round is over.
    pub fn next_part(&self, buckets: usize, size: usize) -> Option<Range<usize>> {
        if !self.moving() {
            return None;
        }
        let from = self.round.next.fetch_add(buckets, Ordering::Relaxed);
        if from >= size {
            // Release: nothing of this round comes after its end.
            let (over, relaxed) = (Ordering::Release, Ordering::Relaxed);
            let _ = self.round.phase.compare_exchange(MOVING, IDLE, over, relaxed);
            return None;
        }
        Some(from..size.min(from.saturating_add(buckets)))
    }

    /// Begins a round, for who stores something: not in a large arena, nor if little has happened since the last one.
    pub fn seal_soon(&self) {
        let opened = self.opened.load(Ordering::Relaxed);
        let since = opened.wrapping_sub(self.round.opened.load(Ordering::Relaxed));
        let used = self.used.load(Ordering::Relaxed);
        if self.made() <= SMALL_SPANS && since >= GAIN_MIN.max(used / GAIN_SHARE) {
            self.seal();
        }
    }

    /// Begins a round, for the keeper: the less often in vain the more there is to look at.
    pub fn seal_in_turn(&self) {
        match self.round.rest.load(Ordering::Relaxed) {
            0 => self.seal(),
            rest => self.round.rest.store(rest - 1, Ordering::Relaxed),
        }
    }

    /// Begins a round, unless one is under way or there is little to gain.
    pub fn seal(&self) {
        let (acquire, relaxed) = (Ordering::Acquire, Ordering::Relaxed);
        if self.round.phase.compare_exchange(IDLE, SEALING, acquire, relaxed).is_err() {
            return;
        }
        self.round.opened.store(self.opened.load(Ordering::Relaxed), Ordering::Relaxed);
        let count = self.made();
        let mut grades = vec![[Grade::default(); GRADES]; COUNT];
        let left = self.grade(count, &mut grades);
        let mut gain = left;
        for classes in &mut grades {
            gain += choose(classes);
        }
        let worth = gain >= GAIN_MIN.max(self.used.load(Ordering::Relaxed) / GAIN_SHARE);
        if worth {
            self.seal_chosen(count, &mut grades);
            self.round.next.store(0, Ordering::Relaxed);
        }
        let rest = if worth { 0 } else { count / SPANS_A_LOOK };
        self.round.rest.store(rest, Ordering::Relaxed);
        // Release: see `moving`.
        self.round.phase.store(if worth { MOVING } else { IDLE }, Ordering::Release);
    }

    /// Counts the spans that are neither full nor sealed; the number of those that stay sealed.
    fn grade(&self, count: usize, grades: &mut [[Grade; GRADES]]) -> usize {
        let mut left = 0;
        for index in 0..count {
            let span = &self.spans[index];
            let Some((class, free, grade)) = self.standing(index) else { continue };
            match span.sealed() {
                0 => {}
                rounds if rounds < ROUNDS_MAX => {
                    span.set_sealed(rounds + 1);
                    left += 1;
                    continue;
                }
                _ => self.unseal(index, class),
            }
            let grade = &mut grades[class.number()][grade];
            grade.spans += 1;
            grade.free += free;
            grade.used += class.slots() - free;
        }
        left
    }

    /// Class, free slots and grade of a span that is neither full nor free.
    fn standing(&self, index: usize) -> Option<(Class, usize, usize)> {
        let span = &self.spans[index];
        let class = span.class()?;
        // It may be of another class by now, with more slots.
        let free = span.free_slots(class).min(class.slots());
        (free > 0).then(|| (class, free, (free * GRADES / (class.slots() + 1)).min(GRADES - 1)))
    }

    /// Seals as many spans as were chosen, from behind: new items go to the front.
    fn seal_chosen(&self, count: usize, grades: &mut [[Grade; GRADES]]) {
        for index in (0..count).rev() {
            let Some((class, _, grade)) = self.standing(index) else { continue };
            let chosen = &mut grades[class.number()][grade].spans;
            if *chosen > 0 && self.spans[index].sealed() == 0 {
                *chosen -= 1;
                self.seal_span(index, class);
            }
        }
    }

    /// From now on nobody takes slots from a span, but who is doing so already.
    pub(super) fn seal_span(&self, index: usize, class: Class) {
        self.spans[index].set_sealed(1);
        self.shelves[class.number()].remove(index);
    }

    /// Lets slots be taken from a span again. Who freed one meanwhile has not put the span on its shelf; who frees one from
    /// now on does: the seal is SeqCst, as the words are.
    pub(super) fn unseal(&self, index: usize, class: Class) {
        self.spans[index].set_sealed(0);
        self.shelve(index, class);
    }
}

/// Chooses, of the spans of one class, the sparsest whose items fit the others: leaves in each grade the number of those to be
/// sealed, and gives their sum.
fn choose(grades: &mut [Grade; GRADES]) -> usize {
    let mut room: usize = grades.iter().map(|grade| grade.free).sum();
    let (mut moved, mut gain) = (0, 0);
    let mut done = false;
    for grade in grades.iter_mut().rev().filter(|grade| grade.spans > 0) {
        let mut chosen = 0;
        while !done && chosen < grade.spans {
            // As if they were all alike.
            let (free, used) = (grade.free / grade.spans, grade.used / grade.spans);
            if moved + used > room.saturating_sub(free) / MARGIN * (MARGIN - 1) {
                done = true;
                break;
            }
            room -= free;
            moved += used;
            chosen += 1;
        }
        grade.spans = chosen;
        gain += chosen;
    }
    gain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(spans: &[(usize, usize, usize)]) -> usize {
        let mut grades = [Grade::default(); GRADES];
        for (grade, spans, free) in spans {
            let (spans, slots) = (*spans, 100);
            grades[*grade] = Grade { spans, free: free * spans, used: (slots - free) * spans };
        }
        choose(&mut grades)
    }

    #[test]
    fn no_more_is_sealed_than_finds_room_elsewhere() {
        assert_eq!(chosen(&[]), 0);
        assert_eq!(chosen(&[(0, 1, 5)]), 0, "one span alone");
        assert_eq!(chosen(&[(8, 2, 60)]), 1, "of two half empty ones, one");
        assert_eq!(chosen(&[(0, 100, 6)]), 5, "of a hundred with little room each, some");
        assert_eq!(chosen(&[(15, 10, 95), (0, 100, 1)]), 10, "the sparsest first");
    }
}
