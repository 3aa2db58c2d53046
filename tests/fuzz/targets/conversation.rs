//! Whole conversations: the same bytes, in one packet and in pieces, each to a fresh cache, get the same replies.
//!
//! The first byte of the input decides where the rest is cut. Not compared, only run: what tells of the process
//! or lists the table in its own order, and what may not follow other commands in one packet (`watch`).

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::Arc;
use volt::clock::Clock;
use volt::command::context::{Context, NoControl};
use volt::command::options::Options;
use volt::command::watch::Hub;
use volt::command::{Conversation, Next, Output, Worker};
use volt::engine::{self, Engine};
use volt::stats::Registry;

/// Calls without a reply or progress, at most, before the conversation counts as stuck.
const IDLE_CALLS_MAX: usize = 10_000;

fuzz_target!(|input: &[u8]| {
    let Some((&cuts, input)) = input.split_first() else { return };
    let whole = replies(&[input]);
    let pieces = replies(&cut(input, cuts));
    let comparable =
        ["stats", "lru_crawler", "watch"].iter().all(|word| !contains(input, word.as_bytes()));
    if comparable {
        assert_eq!(whole.escape_ascii().to_string(), pieces.escape_ascii().to_string());
    }
});

/// Pieces whose lengths follow from `cuts`: byte by byte for 0, otherwise an irregular pattern.
fn cut(mut input: &[u8], cuts: u8) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    let mut state = u32::from(cuts);
    while !input.is_empty() {
        state = state.wrapping_mul(1_103_515_245).wrapping_add(u32::from(cuts));
        let length = 1 + (state >> 16) as usize % (1 + usize::from(cuts));
        let (piece, rest) = input.split_at(length.min(input.len()));
        pieces.push(piece);
        input = rest;
    }
    pieces
}

fn contains(input: &[u8], word: &[u8]) -> bool {
    input.windows(word.len()).any(|window| window == word)
}

fn worker() -> Worker {
    let clock = Arc::new(Clock::manual());
    let registry = Arc::new(Registry::default());
    let options =
        engine::Options { memory_limit: 64 << 20, hash_power: 8, ..engine::Options::default() };
    let engine = Engine::new(options, Arc::clone(&clock), Arc::clone(&registry));
    // Nobody watches: the smallest queue of log lines, which is made anew for every input.
    let options = Options { worker_logbuf_size_bytes: 0, ..Options::default() };
    let (watch, _) = Hub::new(&options);
    let context = Context::new(engine, clock, registry, options, watch, Box::new(NoControl));
    Worker::new(Arc::new(context))
}

/// Everything that a fresh server answers to these packets, and whether it closes.
fn replies(packets: &[&[u8]]) -> Vec<u8> {
    let worker = worker();
    let mut conversation = Conversation::new(&worker, 7);
    let (mut input, mut output, mut answered) = (Vec::new(), Output::new(), Vec::new());
    for packet in packets {
        let mut packet = *packet;
        if let Some(draft) = conversation.upload() {
            packet = &packet[draft.fill(packet)..];
        }
        input.extend_from_slice(packet);
        let mut idle_calls = 0;
        loop {
            let progress = conversation.advance(&worker, &input, &mut output);
            idle_calls += usize::from(progress.consumed == 0 && output.is_empty());
            assert!(idle_calls < IDLE_CALLS_MAX, "neither reads nor answers");
            input.drain(..progress.consumed);
            write(&mut output, &mut answered);
            match progress.next {
                Next::Read | Next::ReadValue => break,
                Next::Write | Next::Yield | Next::Wait => {}
                Next::Close(_) => {
                    answered.extend_from_slice(b"(closed)");
                    return answered;
                }
                Next::Watch(_) => {
                    answered.extend_from_slice(b"(watches)");
                    return answered;
                }
            }
        }
    }
    answered
}

fn write(output: &mut Output, answered: &mut Vec<u8>) {
    while !output.is_empty() {
        let part = output.parts().into_iter().find(|part| !part.is_empty());
        let part = part.expect("an output that is not empty has a part");
        let written = part.len();
        answered.extend_from_slice(part);
        output.wrote(written);
    }
}
