//! loom models of the arena's protocol: every interleaving, at small sizes.
//!
//! Run as the table's are. A model's arena has a few spans of four slots (the class of 17 KiB), so a few steps fill, empty and
//! retire one. Slots are never touched: that each is owned by one thread at a time is checked by counts.

use super::class::{Class, LEN_MAX};
use super::shelf::Shelf;
use super::span::Claim;
use super::{Arena, system};
use crate::sync::{AtomicBool, AtomicUsize, Ordering};
use loom::sync::Arc;
use loom::thread::{self, JoinHandle};
use std::ptr::NonNull;

/// Bounded as the table's models are.
fn model(run: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(builder.preemption_bound.unwrap_or(3));
    builder.check(run);
}

/// Classes of four and of five slots.
fn classes() -> [Class; 2] {
    [LEN_MAX, LEN_MAX - LEN_MAX / 5 - 64].map(|len| Class::of(len).expect("short enough"))
}

/// One more than the threads need: one may be on its way from one shelf to another.
const SPANS: usize = 3;

struct Rig {
    arena: Arena,
    /// Owners of each slot, by its address.
    owners: [AtomicUsize; 8 * SPANS],
}

impl Rig {
    fn new() -> Arc<Self> {
        let shelf = || Shelf::new(SPANS, system::table(Shelf::words(SPANS)).expect("memory")).0;
        let last = classes()[0].number();
        let arena = Arena {
            base: NonNull::dangling(),
            len_min: 0,
            spans: system::table(SPANS).expect("memory"),
            shelves: (0..=last).map(|number| shelf_for(number, &shelf)).collect(),
            warm: shelf(),
            cold: shelf(),
            warm_count: AtomicUsize::new(SPANS),
            warm_max: AtomicUsize::new(9),
            blocks: AtomicUsize::new(1),
            used: AtomicUsize::new(0),
            opened: AtomicUsize::new(0),
            frugal: AtomicBool::new(false),
            round: Default::default(),
        };
        (0..SPANS).for_each(|span| arena.warm.insert(span));
        Arc::new(Self { arena, owners: std::array::from_fn(|_| AtomicUsize::new(0)) })
    }

    fn mark(&self, span: usize, claim: Claim, from: usize) {
        for slot in (0..8).filter(|slot| claim.bits & 1 << slot != 0) {
            let before = self.owners[span * 8 + slot].swap(1 - from, Ordering::Relaxed);
            assert_eq!(before, from, "slot {slot} of span {span}");
        }
    }

    fn take(&self, class: Class, most: usize) -> (usize, Claim) {
        let (span, claim) = self.arena.claim(class, most).expect("there is room");
        assert!(claim.bits.count_ones() as usize <= most && claim.bits < 1 << class.slots());
        self.mark(span, claim, 0);
        (span, claim)
    }

    fn give(&self, class: Class, (span, claim): (usize, Claim)) {
        self.mark(span, claim, 1);
        self.arena.give(span, class, claim);
    }

    /// Every span is free once, or it is used, and if it has free slots it is on its shelf.
    fn check(&self) {
        let used = self.arena.used.load(Ordering::Relaxed);
        let mut seen = 0;
        for (index, span) in self.arena.spans.iter().enumerate() {
            if self.arena.warm.contains(index) {
                assert!(!span.any_free(), "a free span has no slots");
                continue;
            }
            seen += 1;
            let class = span.class().expect("used, so of a class");
            assert!(!span.all_free(class), "all free and not retired");
            let shelved = self.arena.shelves[class.number()].contains(index);
            assert!(shelved || !span.any_free() || span.sealed() > 0, "its free slots are lost");
        }
        assert_eq!(seen, used);
    }
}

/// Only the models' classes need one that works.
fn shelf_for(number: usize, shelf: &impl Fn() -> Shelf) -> Shelf {
    let needed = classes().iter().any(|class| class.number() == number);
    if needed { shelf() } else { Shelf::new(0, &[]).0 }
}

/// What another thread does meanwhile.
fn beside<T: 'static>(rig: &Arc<Rig>, run: impl FnOnce(&Rig) -> T + 'static) -> JoinHandle<T> {
    let rig = Arc::clone(rig);
    thread::spawn(move || run(&rig))
}

#[test]
fn two_that_take_have_different_slots() {
    model(|| {
        let rig = Rig::new();
        let [class, _] = classes();
        let first = rig.take(class, 1);
        let other = beside(&rig, move |rig| rig.take(class, 2));
        rig.give(class, first);
        let second = rig.take(class, 2);
        let third = other.join().expect("no panic");
        rig.check();
        rig.give(class, second);
        rig.give(class, third);
        rig.check();
        assert_eq!(rig.arena.used.load(Ordering::Relaxed), 0);
    });
}

#[test]
fn the_last_two_slots_that_come_back_at_once_retire_the_span() {
    model(|| {
        let rig = Rig::new();
        let [class, _] = classes();
        let (mine, theirs) = (rig.take(class, 2), rig.take(class, 2));
        let other = beside(&rig, move |rig| rig.give(class, theirs));
        rig.give(class, mine);
        other.join().expect("no panic");
        rig.check();
        assert_eq!(rig.arena.used.load(Ordering::Relaxed), 0);
    });
}

#[test]
fn a_span_that_changes_its_class_under_a_taker_is_lost_to_nobody() {
    model(|| {
        let rig = Rig::new();
        let [four, five] = classes();
        let mine = rig.take(four, 4);
        let other = beside(&rig, move |rig| {
            let slots = rig.take(four, 1);
            rig.give(four, slots);
        });
        rig.give(four, mine);
        let mine = rig.take(five, 3);
        other.join().expect("no panic");
        rig.check();
        rig.give(five, mine);
        rig.check();
        assert_eq!(rig.arena.used.load(Ordering::Relaxed), 0);
    });
}

#[test]
fn a_full_span_that_gets_a_slot_back_is_found_again() {
    model(|| {
        let rig = Rig::new();
        let [class, _] = classes();
        let full = [rig.take(class, 1), rig.take(class, 1), rig.take(class, 2)];
        let other = beside(&rig, move |rig| rig.give(class, full[1]));
        // Finds the slot, or the span full and takes it off the shelf.
        let found = rig.take(class, 1);
        other.join().expect("no panic");
        rig.check();
        for slots in [full[0], full[2], found] {
            rig.give(class, slots);
        }
        rig.check();
    });
}

#[test]
fn a_slot_that_comes_back_while_its_span_is_sealed_or_unsealed_is_not_lost() {
    for sealed in [0, 1] {
        model(move || {
            let rig = Rig::new();
            let [class, _] = classes();
            let full = [rig.take(class, 2), rig.take(class, 2)];
            let index = full[0].0;
            rig.arena.spans[index].set_sealed(sealed);
            let other = beside(&rig, move |rig| rig.give(class, full[0]));
            match sealed {
                0 => rig.arena.seal_span(index, class),
                _ => rig.arena.unseal(index, class),
            }
            other.join().expect("no panic");
            rig.check();
            rig.arena.unseal(index, class);
            rig.check();
            rig.give(class, full[1]);
            rig.check();
            assert_eq!(rig.arena.used.load(Ordering::Relaxed), 0);
        });
    }
}

#[test]
fn a_span_that_comes_free_while_it_is_unsealed_is_retired_once() {
    model(|| {
        let rig = Rig::new();
        let [class, other_class] = classes();
        let all = rig.take(class, 4);
        let index = all.0;
        rig.arena.seal_span(index, class);
        let other = beside(&rig, move |rig| {
            rig.give(class, all);
            // It may be of another class at once.
            rig.take(other_class, 1)
        });
        rig.arena.unseal(index, class);
        let mine = rig.take(class, 1);
        let theirs = other.join().expect("no panic");
        rig.check();
        rig.give(class, mine);
        rig.give(other_class, theirs);
        rig.check();
        assert_eq!(rig.arena.used.load(Ordering::Relaxed), 0);
    });
}
