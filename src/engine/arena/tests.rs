//! The arena by itself: slots are handed out once, spans come free and change their class, whoever frees.

use super::{Arena, Local, SPAN_BYTES, SPAN_COST, spares};
use std::collections::HashSet;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, mpsc};
use std::thread;

const LIMIT: usize = 32 << 20;

fn arena() -> &'static Arena {
    Arena::leak(LIMIT).expect("addresses")
}

/// A block and its length; may go to another thread.
struct Block(NonNull<u8>, usize);

// SAFETY: the block is owned by who has this.
unsafe impl Send for Block {}

impl Block {
    /// A block with its length and mark written all over it.
    fn new(local: &Local, len: usize, mark: u8) -> Self {
        let block = local.allocate(len).expect("memory");
        // SAFETY: just allocated for len bytes.
        unsafe { block.write_bytes(mark, len) };
        Self(block, len)
    }

    fn free(self, arena: &'static Arena, mark: u8) {
        // SAFETY: allocated for so many bytes, written, and owned.
        let bytes = unsafe { std::slice::from_raw_parts(self.0.as_ptr(), self.1) };
        assert!(bytes.iter().all(|byte| *byte == mark), "somebody else has written here");
        // SAFETY: owned, and freed once.
        assert!(unsafe { arena.free(self.0, self.1) });
    }
}

#[test]
fn every_slot_is_handed_out_once_and_aligned() {
    let arena = arena();
    let local = Local::new(arena);
    for len in [27, 40, 152, 600, 5000, 17_408] {
        let count = 3 * SPAN_BYTES / len;
        let blocks: Vec<_> = (0..count).map(|_| Block::new(&local, len, 1)).collect();
        let mut starts: Vec<_> = blocks.iter().map(|block| block.0.as_ptr() as usize).collect();
        starts.sort_unstable();
        assert!(starts.iter().all(|start| start % 8 == 0));
        assert!(starts.windows(2).all(|pair| pair[1] - pair[0] >= len), "{len}: two overlap");
        blocks.into_iter().for_each(|block| block.free(arena, 1));
        local.give_back();
        assert_eq!(arena.used(), 0, "{len}: all is free");
    }
    assert!(local.allocate(17_409).is_none(), "too long for a span");
}

#[test]
fn what_is_freed_is_used_again_before_anything_else() {
    let arena = arena();
    let local = Local::new(arena);
    let mut blocks: Vec<_> = (0..10_000).map(|_| Block::new(&local, 100, 7)).collect();
    let used = arena.used();
    for round in 0..50 {
        // Every seventh goes, wherever it lies, and as many come.
        let (mut at, before) = (round, blocks.len());
        while at < blocks.len() {
            blocks.swap_remove(at).free(arena, 7);
            at += 7;
        }
        while blocks.len() < before {
            blocks.push(Block::new(&local, 100, 7));
        }
        assert!(
            arena.used() <= used + SPAN_COST,
            "{} spans more",
            (arena.used() - used) / SPAN_COST
        );
    }
}

#[test]
fn free_spans_serve_any_class_and_the_rest_goes_back() {
    let arena = arena();
    let local = Local::new(arena);
    for round in 0..20_usize {
        let len = [30, 200, 3000, 90, 16_000][round % 5];
        let count = LIMIT / 2 / len;
        let blocks: Vec<_> = (0..count).map(|_| Block::new(&local, len, 3)).collect();
        assert!(arena.used() < LIMIT / 2 * 5 / 4, "{len}");
        blocks.into_iter().for_each(|block| block.free(arena, 3));
        local.give_back();
        assert_eq!(arena.used(), 0);
        let warm = arena.warm_count.load(Ordering::Relaxed);
        assert!(
            warm <= arena.warm_max.load(Ordering::Relaxed),
            "{warm} free spans keep their pages"
        );
    }
    let blocks = arena.blocks.load(Ordering::Relaxed) * super::BLOCK_SPANS * SPAN_BYTES;
    assert!(blocks <= LIMIT / 2 * 5 / 4, "{blocks} bytes were made memory");
}

#[test]
fn an_arena_that_is_used_up_says_so_and_goes_on_once_there_is_room() {
    let arena = arena();
    let local = Local::new(arena);
    let mut blocks = Vec::new();
    while let Some(block) = local.allocate(16_000) {
        blocks.push(Block(block, 16_000));
    }
    assert_eq!(blocks.len(), arena.spans.len() * 4);
    assert!(local.allocate(100).is_none());
    for block in blocks {
        // SAFETY: owned, and freed once.
        assert!(unsafe { arena.free(block.0, block.1) });
    }
    assert!(local.allocate(100).is_some());
}

#[test]
fn threads_that_allocate_and_free_for_one_another_share_nothing() {
    const ROUNDS: usize = 60_000;
    let arena = arena();
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..4).map(|_| mpsc::sync_channel(512)).unzip();
    let receivers: Vec<_> =
        receivers.into_iter().map(|receiver| Mutex::new(Some(receiver))).collect();
    thread::scope(|scope| {
        for me in 0..4_usize {
            let to = senders[(me + 1) % 4].clone();
            let from: mpsc::Receiver<(Block, u8)> =
                receivers[me].lock().expect("fine").take().expect("once");
            scope.spawn(move || {
                let local = Local::new(arena);
                let mut kept = Vec::new();
                for round in 0..ROUNDS {
                    // Few sizes at a time, and other ones later: spans come free and change their class all the time.
                    let len = 27 + (round / 5000 * 677 + round % 3 * 50 + me * 8) % 4000;
                    let mark = (round % 251) as u8;
                    kept.push((Block::new(&local, len, mark), mark));
                    if kept.len() > 64 {
                        let block = kept.swap_remove(round % 64);
                        if let Err(mpsc::TrySendError::Full((block, mark)))
                        | Err(mpsc::TrySendError::Disconnected((block, mark))) =
                            to.try_send(block)
                        {
                            block.free(arena, mark);
                        }
                    }
                    while let Ok((block, mark)) = from.try_recv() {
                        block.free(arena, mark);
                    }
                    if round % 1000 == 0 {
                        local.give_back();
                    }
                }
                drop(to);
                kept.into_iter().for_each(|(block, mark)| block.free(arena, mark));
                // Until the neighbour has ended.
                for (block, mark) in from {
                    block.free(arena, mark);
                }
            });
        }
        drop(senders);
    });
    assert_eq!(arena.used(), 0, "every slot came back");
    assert!(arena.shelves.iter().all(|shelf| shelf.take(false).is_none_or(|index| {
        // Stale at most.
        !arena.spans[index].any_free()
    })));
}

#[test]
fn spans_that_are_emptied_by_two_at_once_are_retired_once() {
    let arena = arena();
    let go = AtomicBool::new(false);
    let (sender, receiver) = mpsc::sync_channel::<Vec<Block>>(1);
    thread::scope(|scope| {
        let go = &go;
        scope.spawn(move || {
            for blocks in receiver {
                while !go.load(Ordering::Acquire) {
                    std::hint::spin_loop();
                }
                blocks.into_iter().for_each(|block| block.free(arena, 1));
                spares::give_back();
                go.store(false, Ordering::Release);
            }
        });
        let local = Local::new(arena);
        for round in 0..300 {
            let len = [600, 64, 2000][round % 3];
            let mut mine: Vec<_> =
                (0..SPAN_BYTES / len).map(|_| Block::new(&local, len, 1)).collect();
            let theirs = mine.split_off(mine.len() / 2);
            sender.send(theirs).expect("it lives");
            go.store(true, Ordering::Release);
            mine.into_iter().for_each(|block| block.free(arena, 1));
            local.give_back();
            while go.load(Ordering::Acquire) {
                std::hint::spin_loop();
            }
            assert_eq!(arena.used(), 0, "round {round}");
        }
        drop(sender);
    });
    let mut free = HashSet::new();
    for shelf in [&arena.warm, &arena.cold] {
        while let Some(index) = shelf.take(false) {
            assert!(free.insert(index), "free twice");
        }
    }
    let made = arena.blocks.load(Ordering::Relaxed) * super::BLOCK_SPANS;
    assert_eq!(free.len(), made, "every span is free once");
}

#[test]
fn a_span_that_is_of_another_class_by_now_is_left_as_it_is() {
    let arena = arena();
    let local = Local::new(arena);
    let class = |len: usize| super::Class::of(len).expect("short enough");
    let (all, half) = (class(64).slots(), class(128).slots());
    let mut blocks: Vec<_> = (0..all).map(|_| Block::new(&local, 64, 1)).collect();
    let index = arena.span_of(blocks[0].0.as_ptr() as usize).expect("the arena's");
    blocks.drain(..half).for_each(|block| block.free(arena, 1));
    spares::give_back();
    // A thread that was slow puts it on its old shelf: nothing is taken from it there.
    arena.shelves[class(128).number()].insert(index);
    let other = local.allocate(128).expect("memory");
    assert_ne!(arena.span_of(other.as_ptr() as usize), Some(index));
    // Another finds as many slots free as the old class had: the others are still in use.
    let used = arena.used();
    arena.retire_if_free(index, class(128));
    assert_eq!((arena.used(), arena.spans[index].free_slots(class(64))), (used, half));
    blocks.into_iter().for_each(|block| block.free(arena, 1));
}

#[test]
fn what_a_thread_has_freed_it_gets_back_first_up_to_a_bound_and_not_amid_a_round() {
    let arena = arena();
    let local = Local::new(arena);
    let start = |block: &Block| block.0.as_ptr() as usize;
    let mut blocks: Vec<_> = (0..1000).map(|_| Block::new(&local, 100, 1)).collect();
    let last: Vec<_> = blocks[990..].iter().rev().map(start).collect();
    let class = super::Class::of(100).expect("short enough");
    let free = || (0..3).map(|span| arena.spans[span].free_slots(class)).sum::<usize>();
    blocks.drain(990..).for_each(|block| block.free(arena, 1));
    let again: Vec<_> = (0..10).map(|_| Block::new(&local, 100, 1)).collect();
    assert_eq!(again.iter().map(start).collect::<Vec<_>>(), last);
    blocks.extend(again);
    local.give_back();
    let before = free();
    // Another thread frees more than it keeps.
    thread::scope(|scope| {
        scope.spawn(move || {
            let one = blocks.pop().expect("a thousand");
            blocks.into_iter().for_each(|block| block.free(arena, 1));
            let kept = 999 - (free() - before);
            assert!((200..400).contains(&kept), "{kept} kept");
            // A round begins: the next one to be freed takes all with it.
            arena.round.begin();
            one.free(arena, 1);
            assert_eq!(arena.used(), 0);
        });
    });
}

#[test]
fn what_is_no_slot_of_a_span_is_a_small_share() {
    for class in (0..).map_while(super::Class::numbered) {
        let edges = SPAN_COST - class.slots() * class.size();
        assert!(edges <= SPAN_COST / super::EDGES_SHARE, "{class:?}: {edges}");
    }
}

#[test]
fn a_small_arena_is_for_long_blocks_alone() {
    let arena = Arena::leak(2 << 20).expect("addresses");
    let local = Local::new(arena);
    assert!(local.allocate(2047).is_none() && arena.size(2047).is_none());
    // Values of 16 KiB with headers: a slot of 17 KiB and no spares.
    let block = Block::new(&local, 16_430, 1);
    assert_eq!((arena.size(16_430), arena.used()), (Some(17_408), SPAN_COST));
    block.free(arena, 1);
    assert_eq!(arena.used(), 0);
}
