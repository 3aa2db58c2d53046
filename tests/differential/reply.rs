//! Compares two whole replies, line by line and word by word.
//!
//! Three things may differ. A cas unique that a server chose is a number of its own: in its place stands how many
//! others were seen before it, so that the same one twice must be the same one twice on both sides. Times move
//! on between the two: they may be [`SECS_APART_MAX`] apart. A key may be returned in base64 or raw. All else is compared to the byte.

use std::collections::HashMap;

/// Seconds by which two times may differ: the peers tick on their own.
const SECS_APART_MAX: u64 = 2;
/// Cas uniques from here on are a client's choice (meta flag E).
pub const CHOSEN_CAS_MIN: u64 = 9_000_000_000;

/// As they stand in a reply: keys in base64, and the same raw, amid a line and at its end.
const BASE64_KEYS_RAW: [(&[u8], [&[u8]; 2]); 3] =
    [(b"kYQ==", [b"ka", b"ka\r"]), (b"kYg==", [b"kb", b"kb\r"]), (b"kYSBi", [b"ka b", b"ka b\r"])];

/// One word of a reply.
#[derive(Debug, PartialEq, Eq)]
enum Word<'a> {
    Text(&'a [u8]),
    /// The how-manieth cas unique it is.
    Cas(usize),
    Time(u64),
}

impl Word<'_> {
    fn is_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Word::Time(a), Word::Time(b)) => a.abs_diff(*b) <= SECS_APART_MAX,
            _ => self == other,
        }
    }
}

/// Reads one peer's reply and remembers the cas uniques in it.
#[derive(Default)]
struct Reader {
    seen: HashMap<u64, usize>,
}

impl Reader {
    fn words<'a>(&mut self, line: &'a [u8]) -> Vec<Word<'a>> {
        let mut words: Vec<&[u8]> = line.split(|&byte| byte == b' ').collect();
        let verb = words[0];
        let meta = matches!(verb, b"VA" | b"HD" | b"EN" | b"NF" | b"EX" | b"NS" | b"HD\r" | b"ME");
        if meta {
            name_keys_raw(&mut words);
        }
        let count = words.len();
        let read = |(index, word): (usize, &'a [u8])| match word {
            // Volt says after memcached's version that it is Volt.
            [b'1', ..] if verb == b"VERSION" => Word::Text(b"1"),
            // The key, in base64 if it was stored so and that was not forgotten.
            _ if verb == b"ME" && index == 1 => Word::Text(b"key"),
            _ if verb == b"VALUE" && count == 5 && index == 4 => self.cas(word, word),
            [b'c', number @ ..] if meta && verb != b"ME" => self.cas(word, number),
            [b't' | b'l', number @ ..] if meta && verb != b"ME" => time(word, number),
            _ => match word.iter().position(|&byte| byte == b'=').map(|at| word.split_at(at + 1)) {
                Some((b"cas=", number)) if verb == b"ME" => self.cas(word, number),
                // Volt's items are of other sizes, and of no class.
                Some((name @ (b"size=" | b"cls="), _)) if verb == b"ME" => Word::Text(name),
                Some((b"exp=" | b"la=", number)) if verb == b"ME" => time(word, number),
                _ => Word::Text(word),
            },
        };
        words.iter().copied().enumerate().map(read).collect()
    }

    fn cas<'a>(&mut self, word: &'a [u8], number: &[u8]) -> Word<'a> {
        match parse(number) {
            Some(unique) if (1..CHOSEN_CAS_MIN).contains(&unique) => {
                let next = self.seen.len();
                Word::Cas(*self.seen.entry(unique).or_insert(next))
            }
            _ => Word::Text(word),
        }
    }
}

/// A key that was stored in base64 is returned so, and `b` after it. memcached forgets it with append, prepend and
/// numbers that get longer, and returns the key raw; here it is raw always.
fn name_keys_raw(words: &mut Vec<&[u8]>) {
    for (base64, raw) in BASE64_KEYS_RAW {
        if let Some(at) = words.iter().position(|word| *word == base64) {
            let named = words.get(at + 1).filter(|word| matches!(**word, b"b" | b"b\r"));
            let Some(end) = named.map(|word| word.len() == 2) else { continue };
            words.splice(at..at + 2, raw[usize::from(end)].split(|&byte| byte == b' '));
        }
    }
}

fn time<'a>(word: &'a [u8], number: &[u8]) -> Word<'a> {
    parse(number).map_or(Word::Text(word), Word::Time)
}

fn parse(number: &[u8]) -> Option<u64> {
    std::str::from_utf8(number).ok()?.trim_end_matches('\r').parse().ok()
}

/// Where the two replies depart from each other, for a person to read. If `cut`, memcached's may end sooner.
pub fn difference(volt: &[u8], memcached: &[u8], cut: bool) -> Option<String> {
    let (mut volt_reader, mut memcached_reader) = (Reader::default(), Reader::default());
    let mut volt_lines = volt.split(|&byte| byte == b'\n');
    let mut memcached_lines = memcached.split(|&byte| byte == b'\n');
    for number in 1.. {
        let lines = (volt_lines.next(), memcached_lines.next());
        if cut && lines.1 == Some(b"") && memcached_lines.clone().next().is_none() {
            break;
        }
        if lines == (None, None) {
            break;
        }
        let same = match lines {
            (Some(a), Some(b)) => {
                let (a, b) = (volt_reader.words(a), memcached_reader.words(b));
                a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| a.is_as(b))
            }
            _ => false,
        };
        if !same {
            let show = |line: Option<&[u8]>| line.map_or("(nothing)".to_owned(), shown);
            return Some(format!(
                "reply line {number}\n  Volt      {}\n  memcached {}\nwhole replies\n  Volt      {}\n  memcached {}",
                show(lines.0),
                show(lines.1),
                shown(volt),
                shown(memcached)
            ));
        }
    }
    None
}

/// Bytes as text, the long middle left out.
pub fn shown(bytes: &[u8]) -> String {
    match bytes.len() {
        0..=700 => bytes.escape_ascii().to_string(),
        len => format!(
            "{} [{len} bytes] {}",
            bytes[..400].escape_ascii(),
            bytes[len - 200..].escape_ascii()
        ),
    }
}

#[test]
fn a_difference_is_seen_and_what_may_differ_is_not() {
    let same = |a: &str, b: &str| difference(a.as_bytes(), b.as_bytes(), false).is_none();
    assert!(same("HD c5 t100\r\nEN\r\n", "HD c77 t99\r\nEN\r\n"));
    assert!(!same("HD c5\r\nHD c5\r\n", "HD c77\r\nHD c78\r\n"), "the same unique twice");
    assert!(!same("HD c9000000001\r\n", "HD c9000000002\r\n"), "a chosen unique");
    assert!(same("ME a exp=9 la=1 cas=4 size=1\r\n", "ME a exp=8 la=0 cas=5 size=2\r\n"));
    assert!(!same("HD t100\r\n", "HD t-1\r\n"));
    assert!(!same("HD t100\r\n", "HD t90\r\n"));
    assert!(same("VALUE a 0 1 7\r\nx\r\nEND\r\n", "VALUE a 0 1 8\r\nx\r\nEND\r\n"));
    assert!(!same("VALUE a 0 1\r\nx\r\nEND\r\n", "VALUE a 0 1\r\ny\r\nEND\r\n"));
    assert!(same("HD kYSBi b t-1\r\nHD kYg== b\r\n", "HD ka b t-1\r\nHD kb\r\n"));
    assert!(!same("HD kYg== b\r\n", "HD ka\r\n"));
    assert!(!same("HD kYg==\r\n", "HD kb\r\n"), "nothing says that it is in base64");
    assert!(!same("STORED\r\n", "STORED\n"));
    assert!(!same("STORED\r\n", ""));
    assert!(difference(b"HD\r\nEN\r\n", b"HD\r\n", true).is_none());
    assert!(difference(b"HD\r\nEN\r\n", b"EN\r\n", true).is_some());
}
