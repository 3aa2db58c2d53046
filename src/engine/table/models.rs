//! loom models of the table's protocols: every interleaving, at small sizes.
//!
//! Run with `RUSTFLAGS="--cfg volt_loom" cargo test --release --lib models`. Each model runs two or three threads for a few
//! steps on one or two buckets and checks the outcome against what some order of the operations gives. Retired
//! nodes are kept to the end, so a model also proves that none is retired twice or is still linked.

use super::super::item::{Birth, Node, Shape, Touched};
use super::super::memory;
use super::{Graveyard, Table};
use loom::sync::{Arc, Mutex};
use loom::thread;
use std::collections::HashSet;

const BIRTH: Birth = Birth { exptime: 0, access: 1, policy: 0, no_cas: false };

/// loom's own limit on how often a schedule may preempt a thread; two find nearly everything.
fn model(run: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(builder.preemption_bound.unwrap_or(2));
    builder.check(run);
}

#[derive(Default)]
struct Kept(Mutex<Vec<Node>>);

// SAFETY: frees nothing before the model's threads have ended.
unsafe impl Graveyard for Kept {
    unsafe fn retire(&self, node: Node) {
        let mut nodes = self.0.lock().expect("no panic elsewhere");
        assert!(!nodes.contains(&node), "retired twice");
        nodes.push(node);
    }
}

struct Rig {
    table: Table,
    graves: Kept,
}

impl Rig {
    fn new(power: u32, keys: &[&[u8]]) -> Arc<Self> {
        let rig = Self { table: Table::new(power, 7), graves: Kept::default() };
        for key in keys {
            rig.set(key, b"0");
        }
        Arc::new(rig)
    }

    fn node(key: &[u8], value: &[u8]) -> Node {
        let shape = Shape {
            key_len: u8::try_from(key.len()).expect("short"),
            value_len: u32::try_from(value.len()).expect("short"),
            flags: 0,
            cas: None,
            timed: true,
        };
        let node = memory::allocate(&shape, BIRTH, key).expect("memory");
        // SAFETY: just allocated.
        unsafe { node.vacancy() }.write_copy_of_slice(value);
        node
    }

    /// Sets; returns the value that was replaced.
    fn set(&self, key: &[u8], value: &[u8]) -> Option<Vec<u8>> {
        let fresh = Self::node(key, value);
        loop {
            let spot = self.table.search(self.table.hash(key), key, &self.graves);
            let old = spot.item().map(|view| view.value().to_vec());
            let done = match spot.item() {
                Some(_) => self.table.replace(&spot, fresh, &self.graves),
                None => self.table.insert(&spot, fresh),
            };
            if done {
                return old;
            }
        }
    }

    fn remove(&self, key: &[u8]) -> Option<Vec<u8>> {
        loop {
            let spot = self.table.search(self.table.hash(key), key, &self.graves);
            let old = spot.item()?.value().to_vec();
            if self.table.remove(&spot, &self.graves) {
                return Some(old);
            }
        }
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        let found = self.table.find(self.table.hash(key), key, &self.graves);
        found.map(|view| view.value().to_vec())
    }

    /// Takes the rig apart: what is linked and what was retired are different nodes, no key is linked twice, and nothing
    /// that was removed is still linked.
    fn finish(rig: Arc<Self>) -> HashSet<Vec<u8>> {
        let rig = Arc::try_unwrap(rig).ok().expect("the threads have ended");
        let (mut linked, mut keys) = (Vec::new(), HashSet::new());
        rig.table.walk(0, &rig.graves, |view| {
            assert!(keys.insert(view.key().to_vec()), "a key is linked twice");
            true
        });
        let mut table = rig.table;
        table.drain(|node| linked.push(node));
        assert_eq!(linked.len(), keys.len(), "removed and left in the list");
        let retired = rig.graves.0.into_inner().expect("no panic elsewhere");
        assert!(linked.iter().all(|node| !retired.contains(node)), "retired and still linked");
        for node in linked.into_iter().chain(retired) {
            // SAFETY: the model is over.
            unsafe { memory::free(node) };
        }
        keys
    }
}

#[test]
fn two_sets_of_a_new_key_leave_one_item() {
    model(|| {
        let rig = Rig::new(1, &[]);
        let other = {
            let rig = Arc::clone(&rig);
            thread::spawn(move || rig.set(b"k", b"1"))
        };
        let mine = rig.set(b"k", b"2");
        let theirs = other.join().expect("no panic");
        let last = rig.get(b"k").expect("there");
        match (mine, theirs) {
            (None, Some(old)) => assert!(old == b"2" && last == b"1"),
            (Some(old), None) => assert!(old == b"1" && last == b"2"),
            outcome => panic!("no order gives {outcome:?}"),
        }
        assert_eq!(Rig::finish(rig).len(), 1);
    });
}

#[test]
fn a_key_that_is_replaced_is_never_missing() {
    model(|| {
        let rig = Rig::new(1, &[b"k"]);
        let other = {
            let rig = Arc::clone(&rig);
            thread::spawn(move || {
                rig.set(b"k", b"1");
                rig.set(b"k", b"2");
            })
        };
        let first = rig.get(b"k").expect("never missing");
        let second = rig.get(b"k").expect("never missing");
        assert!(first <= second, "a value came back");
        other.join().expect("no panic");
        assert_eq!(rig.get(b"k").expect("there"), b"2");
        assert_eq!(Rig::finish(rig).len(), 1);
    });
}

#[test]
fn set_and_remove_of_one_key_happen_in_some_order() {
    model(|| {
        let rig = Rig::new(1, &[b"k"]);
        let other = {
            let rig = Arc::clone(&rig);
            thread::spawn(move || rig.remove(b"k"))
        };
        let replaced = rig.set(b"k", b"1");
        let removed = other.join().expect("no panic");
        match (replaced.as_deref(), removed.as_deref()) {
            (Some(b"0"), Some(b"1")) => assert_eq!(rig.get(b"k"), None),
            (None, Some(b"0")) => assert_eq!(rig.get(b"k").as_deref(), Some(&b"1"[..])),
            outcome => panic!("no order gives {outcome:?}"),
        }
        Rig::finish(rig);
    });
}

#[test]
fn two_removes_of_one_key_have_one_winner() {
    model(|| {
        let rig = Rig::new(1, &[b"k", b"other"]);
        let other = {
            let rig = Arc::clone(&rig);
            thread::spawn(move || rig.remove(b"k").is_some())
        };
        let mine = rig.remove(b"k").is_some();
        assert!(mine ^ other.join().expect("no panic"));
        assert_eq!(Rig::finish(rig).len(), 1);
    });
}

#[test]
fn neighbours_do_not_disturb_one_another() {
    model(|| {
        // One bucket: all in one chain.
        let rig = Rig::new(1, &[b"a", b"b", b"c"]);
        let other = {
            let rig = Arc::clone(&rig);
            thread::spawn(move || {
                rig.remove(b"a");
                rig.set(b"d", b"1");
            })
        };
        rig.set(b"b", b"1");
        assert_eq!(rig.get(b"c").as_deref(), Some(&b"0"[..]));
        other.join().expect("no panic");
        assert_eq!(rig.get(b"a"), None);
        assert_eq!(rig.get(b"b").as_deref(), Some(&b"1"[..]));
        assert_eq!(Rig::finish(rig).len(), 3);
    });
}

#[test]
fn the_first_use_of_a_bucket_loses_nothing() {
    model(|| {
        let rig = Rig::new(1, &[b"a", b"b", b"c"]);
        rig.table.buckets().double(2);
        let other = {
            let rig = Arc::clone(&rig);
            thread::spawn(move || {
                for key in [b"a", b"b", b"c"] {
                    assert!(rig.get(key).is_some());
                }
            })
        };
        rig.set(b"d", b"1");
        rig.set(b"a", b"1");
        other.join().expect("no panic");
        assert_eq!(rig.get(b"a").as_deref(), Some(&b"1"[..]));
        assert_eq!(Rig::finish(rig).len(), 4);
    });
}

#[test]
fn two_first_users_of_a_bucket_both_insert() {
    model(|| {
        let rig = Rig::new(1, &[]);
        rig.table.buckets().double(2);
        let last = |key: &u8| rig.table.hash(&[*key]) & 3 == 3;
        let keys: Vec<u8> = (0..=u8::MAX).filter(last).take(2).collect();
        let (mine, theirs) = (keys[0], keys[1]);
        let other = {
            let rig = Arc::clone(&rig);
            thread::spawn(move || rig.set(&[theirs], b"1"))
        };
        rig.set(&[mine], b"1");
        other.join().expect("no panic");
        assert_eq!(Rig::finish(rig).len(), 2);
    });
}

#[test]
fn growing_while_keys_come_and_go_loses_nothing() {
    model(|| {
        let rig = Rig::new(1, &[b"a", b"b"]);
        let other = {
            let rig = Arc::clone(&rig);
            thread::spawn(move || {
                rig.table.buckets().double(2);
                rig.remove(b"a");
            })
        };
        rig.set(b"c", b"1");
        assert!(rig.get(b"b").is_some());
        other.join().expect("no panic");
        let keys = Rig::finish(rig);
        assert!(keys.contains(&b"b"[..]) && keys.contains(&b"c"[..]) && keys.len() == 2);
    });
}

#[test]
fn a_frozen_item_takes_no_touch_that_its_copy_would_miss() {
    model(|| {
        let rig = Rig::new(1, &[b"k"]);
        let other = {
            let rig = Arc::clone(&rig);
            thread::spawn(move || {
                let view = rig.table.find(rig.table.hash(b"k"), b"k", &rig.graves).expect("there");
                view.touch(9, 1) == Touched::Done
            })
        };
        let view = rig.table.find(rig.table.hash(b"k"), b"k", &rig.graves).expect("there");
        let carried = view.freeze().exptime;
        let touched = other.join().expect("no panic");
        assert_eq!(touched, carried == 9, "an acknowledged touch was not carried over");
        Rig::finish(rig);
    });
}
