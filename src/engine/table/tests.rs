//! The table by itself: lookups, changes, growth, with nodes that count.

use super::super::item::{Birth, Node, Shape};
use super::super::memory;
use super::*;
use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::Mutex;

const BIRTH: Birth = Birth { exptime: 0, access: 1, policy: 0, no_cas: false };

/// Keeps what is retired to the end of the test, so nothing is freed under a borrow.
#[derive(Default)]
pub struct Kept(pub Mutex<Vec<Node>>);

// SAFETY: frees nothing before it is dropped.
unsafe impl Graveyard for Kept {
    unsafe fn retire(&self, node: Node) {
        let mut nodes = self.0.lock().expect("no panic elsewhere");
        assert!(!nodes.contains(&node), "retired twice");
        nodes.push(node);
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        for node in self.0.lock().expect("no panic elsewhere").drain(..) {
            // SAFETY: unlinked, and the test is over.
            unsafe { memory::free(node) };
        }
    }
}

pub fn node(key: &[u8]) -> Node {
    let shape = Shape {
        key_len: u8::try_from(key.len()).expect("short"),
        value_len: 0,
        flags: 0,
        cas: None,
        timed: true,
    };
    memory::allocate(&shape, BIRTH, key).expect("memory")
}

pub fn set(table: &Table, key: &[u8], graves: &Kept) {
    let fresh = node(key);
    loop {
        let spot = table.search(table.hash(key), key, graves);
        let done = match spot.item() {
            Some(_) => table.replace(&spot, fresh, graves),
            None => table.insert(&spot, fresh),
        };
        if done {
            return;
        }
    }
}

pub fn remove(table: &Table, key: &[u8], graves: &Kept) -> bool {
    loop {
        let spot = table.search(table.hash(key), key, graves);
        if spot.item().is_none() {
            return false;
        }
        if table.remove(&spot, graves) {
            return true;
        }
    }
}

fn finish(mut table: Table) {
    table.drain(|node| {
        // SAFETY: the table is dropped next.
        unsafe { memory::free(node) };
    });
}

fn keys_of(table: &Table, graves: &Kept, step: usize) -> Vec<Vec<u8>> {
    let (mut keys, mut place) = (Vec::new(), Some(0));
    while let Some(at) = place {
        let mut left = step;
        place = table.walk(at, graves, |view| {
            keys.push(view.key().to_vec());
            left -= 1;
            left > 0
        });
    }
    keys
}

#[test]
fn finds_what_was_put_in_while_the_table_doubles() {
    let (table, graves) = (Table::new(1, 7), Kept::default());
    for i in 0..5000_u32 {
        set(&table, &i.to_be_bytes(), &graves);
        if i.is_power_of_two() {
            table.buckets().double(table.buckets().size());
        }
        let probe = (i / 2).to_be_bytes();
        assert!(table.find(table.hash(&probe), &probe, &graves).is_some());
    }
    for i in 0..6000_u32 {
        let key = i.to_be_bytes();
        assert_eq!(table.find(table.hash(&key), &key, &graves).is_some(), i < 5000, "{i}");
    }
    finish(table);
}

#[test]
fn a_replaced_item_leaves_its_successor_and_the_removed_none() {
    let (table, graves) = (Table::new(2, 7), Kept::default());
    for key in [b"a", b"b", b"a", b"a"] {
        set(&table, key, &graves);
    }
    assert_eq!(graves.0.lock().expect("whole").len(), 2);
    assert!(remove(&table, b"a", &graves));
    assert!(!remove(&table, b"a", &graves));
    assert!(table.find(table.hash(b"a"), b"a", &graves).is_none());
    assert!(table.find(table.hash(b"b"), b"b", &graves).is_some());
    finish(table);
}

#[test]
fn a_stale_spot_changes_nothing() {
    let (table, graves) = (Table::new(2, 7), Kept::default());
    let spot = table.search(table.hash(b"k"), b"k", &graves);
    set(&table, b"k", &graves);
    let late = node(b"k");
    assert!(!table.insert(&spot, late), "the key came in between");
    let spot = table.search(table.hash(b"k"), b"k", &graves);
    set(&table, b"k", &graves);
    assert!(!table.replace(&spot, late, &graves), "the item was replaced in between");
    assert!(!table.remove(&spot, &graves), "the item was replaced in between");
    // SAFETY: never published.
    unsafe { memory::free(late) };
    finish(table);
}

#[test]
fn a_walk_in_steps_meets_every_item_once_while_the_table_doubles() {
    let (table, graves) = (Table::new(3, 7), Kept::default());
    for i in 0..1000_u32 {
        set(&table, &i.to_be_bytes(), &graves);
    }
    for step in [1, 7, 5000] {
        let keys = keys_of(&table, &graves, step);
        assert_eq!(keys.len(), 1000);
        assert_eq!(keys.iter().collect::<HashSet<_>>().len(), 1000);
        table.buckets().double(table.buckets().size());
    }
    finish(table);
}

#[test]
fn buckets_together_hold_every_item() {
    let (table, graves) = (Table::new(3, 7), Kept::default());
    for i in 0..500_u32 {
        set(&table, &i.to_be_bytes(), &graves);
    }
    table.buckets().double(8);
    let seen = RefCell::new(HashSet::new());
    for index in 0..16 {
        table.visit_bucket(index, &graves, |view, _| {
            seen.borrow_mut().insert(view.key().to_vec());
        });
    }
    assert_eq!(seen.borrow().len(), 500);
    finish(table);
}

#[test]
fn threads_that_set_and_remove_lose_and_double_nothing() {
    let (table, graves) = (Table::new(1, 7), Kept::default());
    std::thread::scope(|scope| {
        for thread in 0..4_u32 {
            let (table, graves) = (&table, &graves);
            scope.spawn(move || {
                for i in 0..2000_u32 {
                    let shared = (i % 64).to_be_bytes();
                    set(table, &shared, graves);
                    set(table, &(1000 + i * 4 + thread).to_be_bytes(), graves);
                    if i % 3 == 0 {
                        remove(table, &shared, graves);
                    }
                    if i % 512 == 0 {
                        table.buckets().double(table.buckets().size());
                    }
                }
            });
        }
    });
    let keys = keys_of(&table, &graves, 100);
    let distinct: HashSet<_> = keys.iter().collect();
    assert_eq!(distinct.len(), keys.len(), "a key is in the table twice");
    assert!(distinct.len() >= 8000, "an item was lost");
    finish(table);
}
