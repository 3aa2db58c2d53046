//! Differential: random sequences of commands, right ones and broken ones, to Volt and to memcached; the
//! replies must be the same to the byte.
//!
//! Each sequence goes over a connection of its own that is closed for sending when everything is out, so what
//! came back when the peer closes is the whole answer. Before they are compared, cas uniques that the servers
//! chose are numbered in order of appearance, and times may be a few seconds apart ([`reply`]). A sequence whose
//! replies differ is shrunk, by leaving out steps for as long as they still differ, and printed with its seed.
//!
//! `VOLT_TEST_MEMCACHED` names the memcached; without it nothing is compared, so the test is ignored in a plain
//! `cargo test`. `VOLT_DIFFERENTIAL_SECS` bounds the time (2 by default), `VOLT_TEST_SEED=number` repeats a run.

#[path = "../support/mod.rs"]
mod support;

mod reply;
mod sequence;

use sequence::{KEYS, Step};
use std::time::{Duration, Instant};
use support::connection::{Connection, Received};
use support::memcached::{Memcached, Version};
use support::random::Random;
use support::volt::{Transport, Volt};
use support::{Address, Peer};

/// Times in seconds that the test may take, unless the environment says otherwise.
const SECS: u64 = 2;
/// Sequences that are tried to make a failing one shorter, at most.
const SHRINK_TRIES_MAX: usize = 400;

/// What every sequence ends with, to see whether it is taken for a command.
const END: &[u8] = b"mn\r\n";
const END_REPLY: &[u8] = b"MN\r\n";

/// A peer, and a connection for what happens between sequences.
struct Side {
    address: Address,
    between: Connection,
}

impl Side {
    fn new(peer: &dyn Peer) -> Self {
        let address = peer.address();
        let between = Connection::open(&address).expect("a connection");
        Self { address, between }
    }

    /// Leaves nothing behind of the sequence before: no item, no flush still to come.
    fn clear(&mut self) {
        assert_eq!(self.between.ask("flush_all"), "OK");
        // A flush may spare what was stored in the same second with a cas unique of the client's choice.
        for key in KEYS {
            self.between.send(&[b"delete ", *key, b" noreply\r\n"].concat());
        }
        self.between.ask(sequence::DELETE_KEY_WITH_SPACE);
        assert_eq!(self.between.ask("mn"), "MN");
    }

    /// Everything that the peer answers to these bytes.
    fn answer(&mut self, bytes: &[u8], pieces: Option<u64>) -> Vec<u8> {
        self.clear();
        let mut receiver = Connection::open(&self.address).expect("a connection");
        let mut sender = receiver.try_clone().expect("a second handle");
        std::thread::scope(|scope| {
            scope.spawn(move || {
                match pieces {
                    Some(seed) => sender.send_split(bytes, &mut Random::new(seed)),
                    None => sender.send(bytes),
                }
                sender.finish();
            });
            loop {
                match receiver.receive() {
                    Received::Bytes => {}
                    Received::Closed => break,
                    Received::Silence => {
                        receiver.input.extend(b"[the connection stays open]");
                        break;
                    }
                }
            }
        });
        receiver.input
    }
}

/// The two peers.
struct Pair {
    volt: Side,
    memcached: Side,
}

impl Pair {
    /// The first difference between the replies to these steps.
    ///
    /// Steps that flush are played twice before they count: memcached marks what was stored in earlier seconds,
    /// and deletes what was stored in this one by walking its lists, where it passes over an item whose lock is
    /// held and stops at the first older one.
    fn difference(&mut self, steps: &[Step], pieces: Option<u64>) -> Option<String> {
        let flushes = |step: &Step| step.bytes.starts_with(b"flush_all");
        let first = self.difference_once(steps, pieces)?;
        match steps.iter().any(flushes) {
            true => self.difference_once(steps, pieces),
            false => Some(first),
        }
    }

    fn difference_once(&mut self, steps: &[Step], pieces: Option<u64>) -> Option<String> {
        let bytes =
            steps.iter().map(|step| &step.bytes[..]).chain([END]).collect::<Vec<_>>().concat();
        let volt = self.volt.answer(&bytes, pieces);
        let memcached = self.memcached.answer(&bytes, None);
        // Within a data block memcached sends nothing before it has it all.
        reply::difference(&volt, &memcached, !volt.ends_with(END_REPLY))
    }

    /// Leaves out steps for as long as the replies still differ.
    fn shrink(&mut self, mut steps: Vec<Step>, pieces: Option<u64>) -> Vec<Step> {
        let mut tries = 0;
        let mut run = steps.len() / 2;
        while run > 0 {
            let mut start = 0;
            while start + run <= steps.len() && steps.len() > 1 {
                tries += 1;
                if tries > SHRINK_TRIES_MAX {
                    return steps;
                }
                let mut fewer = steps.clone();
                fewer.drain(start..start + run);
                if self.difference(&fewer, pieces).is_some() {
                    steps = fewer;
                } else {
                    start += run;
                }
            }
            run /= 2;
        }
        steps
    }
}

#[test]
#[ignore = "needs VOLT_TEST_MEMCACHED"]
fn volt_answers_as_memcached_does() {
    let seed = Random::seed_from_env("VOLT_TEST_SEED");
    let secs = std::env::var("VOLT_DIFFERENTIAL_SECS")
        .map_or(SECS, |text| text.parse().expect("VOLT_DIFFERENTIAL_SECS is a number"));
    println!("VOLT_TEST_SEED={seed} VOLT_DIFFERENTIAL_SECS={secs}");

    let memcached = Memcached::start(&[]);
    let volt = Volt::start(&[], Transport::Unix);
    let version = Version::of(&memcached);
    let mut pair = Pair { volt: Side::new(&volt), memcached: Side::new(&memcached) };

    let end = Instant::now() + Duration::from_secs(secs);
    let mut random = Random::new(seed);
    let (mut sequences, mut commands) = (0, 0);
    while Instant::now() < end {
        let steps = sequence::random(&mut random, version);
        // Volt gets every third sequence in pieces, which must make no difference.
        let pieces = random.chance(33).then(|| random.next());
        (sequences, commands) = (sequences + 1, commands + steps.len());
        if let Some(first) = pair.difference(&steps, pieces) {
            let steps = pair.shrink(steps, pieces);
            let difference = pair
                .difference(&steps, pieces)
                .unwrap_or_else(|| format!("not seen again: {first}"));
            panic!(
                "sequence {sequences} of VOLT_TEST_SEED={seed}, in pieces: {}\n{}\n{difference}",
                pieces.is_some(),
                sequence::print(&steps),
            );
        }
    }
    println!("{sequences} sequences of {commands} commands, compared with {version:?}");
    assert!(sequences > 0, "nothing was compared");
}
