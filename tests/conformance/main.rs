//! Conformance: what memcached's protocol says, as transcripts, played against Volt and against memcached.
//!
//! The text files beside this one are the documentation of how Volt answers; [`script`] says how to read
//! them. Each is played over TCP and over a unix socket, whole and in random pieces. The same files are
//! played against the memcached that `VOLT_TEST_MEMCACHED` names, which keeps them honest: those tests are
//! ignored in a plain `cargo test`, and fail without the program when they do run.
//!
//! `VOLT_TEST_ONLY=text` plays only the transcripts with that text in their file name or title;
//! `VOLT_TEST_SEED=number` repeats the random pieces of a failure.

#[path = "../support/mod.rs"]
mod support;

mod play;
mod script;

use play::{Sending, play};
use script::Transcript;
use std::collections::BTreeMap;
use std::path::Path;
use support::Peer;
use support::memcached::{Memcached, Version};
use support::random::Random;
use support::volt::{Transport, Volt};

/// The transcripts, by the options that their server is started with and, where one wants a server for
/// itself, by their place.
fn transcripts() -> BTreeMap<(Vec<String>, Option<String>), Vec<Transcript>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance");
    let only = std::env::var("VOLT_TEST_ONLY").unwrap_or_default();
    let mut by_options: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for transcript in script::load(&directory) {
        if transcript.place.contains(&only) || transcript.title.contains(&only) {
            let alone = transcript.alone.then(|| transcript.place.clone());
            by_options.entry((transcript.options.clone(), alone)).or_default().push(transcript);
        }
    }
    by_options
}

/// Plays every transcript that holds for `version`, and fails with all departures.
fn play_all<P: Peer>(start: impl Fn(&[String]) -> P, version_gate: bool, mut sending: Sending) {
    let (mut played, mut departures) = (0, Vec::new());
    for ((options, _), transcripts) in transcripts() {
        let peer = start(&options);
        let version = version_gate.then(|| Version::of(&peer));
        for transcript in transcripts {
            let Transcript { place, title, .. } = &transcript;
            if let (Some(version), Some((since, why))) = (version, &transcript.since)
                && version < *since
            {
                println!("{place}: {title}: not played on {version:?}: {why}");
                continue;
            }
            played += 1;
            if let Err(problem) = play(&transcript, &peer, &mut sending) {
                departures.push(format!("{place}: {title} ({})\n  {problem}", transcript.section));
            }
        }
    }
    let failed = departures.len();
    assert!(departures.is_empty(), "{failed} of {played} failed\n\n{}", departures.join("\n\n"));
    println!("{played} transcripts played");
    assert!(played > 0, "no transcript was played");
}

/// Random pieces, from a seed that is printed.
fn split() -> Sending {
    let seed = Random::seed_from_env("VOLT_TEST_SEED");
    println!("VOLT_TEST_SEED={seed}");
    Sending::Split(Random::new(seed))
}

#[test]
fn volt_keeps_to_the_transcripts_over_tcp() {
    play_all(|options| Volt::start(options, Transport::Tcp), false, Sending::Whole);
}

#[test]
fn volt_keeps_to_the_transcripts_over_a_unix_socket() {
    play_all(|options| Volt::start(options, Transport::Unix), false, Sending::Whole);
}

#[test]
fn volt_keeps_to_the_transcripts_in_pieces() {
    play_all(|options| Volt::start(options, Transport::Tcp), false, split());
}

#[test]
#[ignore = "needs VOLT_TEST_MEMCACHED"]
fn memcached_keeps_to_the_transcripts() {
    play_all(Memcached::start, true, Sending::Whole);
}

#[test]
#[ignore = "needs VOLT_TEST_MEMCACHED"]
fn memcached_keeps_to_the_transcripts_in_pieces() {
    play_all(Memcached::start, true, split());
}
