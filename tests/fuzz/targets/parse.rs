//! Any bytes at the parser of command lines: what it makes of them keeps to the limits of the protocol, and does
//! not depend on what follows the line.

#![no_main]

use libfuzzer_sys::fuzz_target;
use volt::protocol::{KEY_MAX, Parse, Request, parse};

/// Longest data block that may be announced, in bytes.
const VALUE_LEN_MAX: usize = i32::MAX as usize;

/// Longest line that may go on without an end, in bytes, unless it is a multi-get.
const SHORT_LINE_MAX: usize = 2048;

fuzz_target!(|input: &[u8]| {
    match parse(input) {
        Parse::Incomplete => assert!(!input.contains(&b'\n'), "a whole line is not incomplete"),
        Parse::TooLong => {
            assert!(input.len() > SHORT_LINE_MAX && !input.contains(&b'\n'), "not long at all");
        }
        Parse::Request { request, consumed } => {
            let line = &input[..consumed];
            assert_eq!(line.iter().position(|&byte| byte == b'\n'), Some(consumed - 1));
            check(&request, line);
            let Parse::Request { request: alone, consumed: same } = parse(line) else {
                panic!("a line by itself is no request any more");
            };
            assert_eq!(consumed, same);
            assert_eq!(format!("{request:?}"), format!("{alone:?}"));
        }
    }
});

fn check(request: &Request<'_>, line: &[u8]) {
    match request {
        Request::Get(get) => get.keys.for_each(|key| check_word(key)),
        Request::Store(store) => {
            check_key(store.key);
            assert!(store.value_len <= VALUE_LEN_MAX);
        }
        Request::Delete(delete) => check_key(delete.key),
        Request::Arith(arith) => check_key(arith.key),
        Request::Touch(touch) => check_key(touch.key),
        Request::Meta(meta) => {
            meta.with_key(|key| {
                assert!(!key.is_empty() && key.len() <= KEY_MAX, "a key of {} bytes", key.len());
            });
            assert!(meta.value_len().unwrap_or_default() <= VALUE_LEN_MAX);
        }
        Request::Rejected(rejection) => {
            assert!(!rejection.message.trim_end().is_empty());
            assert!(rejection.swallow <= VALUE_LEN_MAX + 2);
        }
        Request::FlushAll(tokens) | Request::Admin(tokens) => {
            assert!(tokens.count() <= line.len());
        }
        Request::MetaNoop | Request::Version | Request::Quit | Request::Hangup => {}
    }
}

fn check_key(key: &[u8]) {
    assert!(key.len() <= KEY_MAX, "a key of {} bytes", key.len());
    check_word(key);
}

/// Keys of a multi-get are measured when they are looked up.
fn check_word(word: &[u8]) {
    assert!(!word.is_empty());
    assert!(!word.contains(&b' ') && !word.contains(&b'\n'), "a separator in a key");
}
