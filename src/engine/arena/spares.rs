//! A thread's spare slots: what it has freed last, for what it allocates next.
//!
//! Values that take the place of values of about the same length go round in here, and no span learns of it. The slots of a
//! class are a list through the slots themselves. Spares keep spans as sparse as they are; so where much is free in sparse spans
//! ([`Arena::set_frugal`]), and while a [round](super::seal) is under way, a thread has none.
#![expect(unsafe_code, reason = "links free slots by pointers in them")]

use super::Arena;
use super::class::{COUNT, Class};
use crate::sync::Ordering;
use std::cell::Cell;
use std::ptr::{self, NonNull};

/// Bytes of one class that are kept at most: of usual items, all that comes free with a few bags of garbage.
const CLASS_BYTES: usize = 32 * 1024;

/// Bytes of all classes. What goes beyond sends all of them back, so none stay for a size that is no longer in use.
const ALL_BYTES: usize = 256 * 1024;

thread_local! {
    static SPARES: Spares = const { Spares::new() };
}

/// A free slot of this thread's.
type Slot = NonNull<Option<Link>>;
/// In a slot: the next of its list.
#[derive(Clone, Copy)]
struct Link(Slot);

struct List {
    first: Cell<Option<Link>>,
    count: Cell<usize>,
}

/// Free slots of one arena.
struct Spares {
    arena: Cell<Option<&'static Arena>>,
    bytes: Cell<usize>,
    lists: [List; COUNT],
}

/// Keeps a slot of this class as a spare; `false` if it is to be given to its span.
///
/// # Safety
/// The slot is the arena's, of this class, and the caller's own; if it is kept, it is so no more.
#[inline]
pub unsafe fn keep(arena: &'static Arena, class: Class, slot: NonNull<u8>) -> bool {
    // A thread that is about to end keeps nothing.
    SPARES.try_with(|spares| spares.keep(arena, class, slot.cast())).unwrap_or(false)
}

/// A spare of this class, the caller's own from now on.
#[inline]
pub fn take(arena: &'static Arena, class: Class) -> Option<NonNull<u8>> {
    SPARES.try_with(|spares| spares.take(arena, class)).ok().flatten()
}

/// Gives all that this thread has to their spans.
pub fn give_back() {
    let _ = SPARES.try_with(Spares::give_back);
}

impl Spares {
    const fn new() -> Self {
        let lists = [const { List { first: Cell::new(None), count: Cell::new(0) } }; COUNT];
        Self { arena: Cell::new(None), bytes: Cell::new(0), lists }
    }

    /// Whether spares of this arena may be kept and taken now.
    #[inline]
    fn are_for(&self, arena: &'static Arena) -> bool {
        if arena.moving() || arena.frugal.load(Ordering::Relaxed) {
            self.give_back();
            return false;
        }
        if !self.arena.get().is_some_and(|mine| ptr::eq(mine, arena)) {
            self.give_back();
            self.arena.set(Some(arena));
        }
        true
    }

    #[inline]
    fn keep(&self, arena: &'static Arena, class: Class, slot: Slot) -> bool {
        let list = &self.lists[class.number()];
        if !self.are_for(arena) || (list.count.get() + 1) * class.size() > CLASS_BYTES {
            return false;
        }
        if self.bytes.get() + class.size() > ALL_BYTES {
            self.give_back();
        }
        // SAFETY: the slot is ours by the contract of `keep`, aligned to 8, and no slot is shorter than a pointer.
        unsafe { slot.write(list.first.get()) };
        list.first.set(Some(Link(slot)));
        list.count.set(list.count.get() + 1);
        self.bytes.set(self.bytes.get() + class.size());
        true
    }

    #[inline]
    fn take(&self, arena: &'static Arena, class: Class) -> Option<NonNull<u8>> {
        if !self.are_for(arena) {
            return None;
        }
        let slot = self.lists[class.number()].pop()?;
        self.bytes.set(self.bytes.get() - class.size());
        Some(slot)
    }

    fn give_back(&self) {
        if self.bytes.replace(0) == 0 {
            return;
        }
        let Some(arena) = self.arena.get() else { return };
        for (class, list) in (0..).map_while(Class::numbered).zip(&self.lists) {
            while let Some(slot) = list.pop() {
                arena.give_slot(slot, class);
            }
        }
    }
}

impl List {
    #[inline]
    fn pop(&self) -> Option<NonNull<u8>> {
        let Link(slot) = self.first.get()?;
        // SAFETY: what is in the list is this thread's, and was written by `keep`.
        self.first.set(unsafe { slot.read() });
        self.count.set(self.count.get() - 1);
        Some(slot.cast())
    }
}

impl Drop for Spares {
    fn drop(&mut self) {
        self.give_back();
    }
}
