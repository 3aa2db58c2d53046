//! Makes sequences of commands: about half as a client would send them, half bent or broken.
//!
//! A step is one write of a client: usually a command line with its data block. A few keys are used over and
//! over, so that commands meet. Deadlines are far from now, so that none passes while a sequence is played.
//!
//! Not asked for, because memcached's answer is none to repeat:
//!
//! * a retrieval of too long a key: it also drops the replies to what was pipelined before and not sent yet;
//! * a tab or carriage return in a number's place: its reader of numbers goes on into the next word;
//! * `b` with `N`: the item forgets that its key was encoded, and `k` returns it raw;
//! * `E` on a store that fails: its unique goes to the next store instead;
//! * `E` and `T` on `ma`: they are lost where the number gets longer;
//! * `ma` with `C` on a value that lies in several chunks: not a number, whatever its unique;
//! * `flush_all 1`: what is stored later in the same second is gone too;
//! * `watch` after other commands: whether they count as pipelined depends on what was sent meanwhile.
//!
//! What depends on how bytes fall into memcached's read buffer (lines longer than 2 KiB) is left out, and
//! so is what Volt's README lists as different.

use crate::reply::{CHOSEN_CAS_MIN, shown};
use crate::support::memcached::Version;
use crate::support::random::Random;
use std::fmt::Write;

/// One step of a client.
#[derive(Debug, Clone)]
pub struct Step {
    pub bytes: Vec<u8>,
}

/// Where memcached 1.6.45 changed what older ones do in so many ways that only sound commands are compared:
/// before it, a line with too few words is answered with ERROR and its data block is read as commands; `E` on `ms`,
/// `x` on `md`, and some flags that `ms` and `ma` return are not known.
const SAME_ERRORS_SINCE: Version = Version(1, 6, 45);

const LONG: &[u8] = &[b'k'; 250];
const TOO_LONG: &[u8] = &[b'k'; 251];
/// Every key that a sequence stores under, as classic commands name them.
pub const KEYS: &[&[u8]] =
    &[b"a", b"b", b"c", b"key:1", b"7", LONG, b"\xc3\xa4\x01\x7f", b"noreply"];
/// Those of them that are never taken for an option.
const SOUND_KEYS: &[&[u8]] = &[b"c", b"key:1", LONG];
/// Deletes the one key that has no other name than its base64; there is always one reply.
pub const DELETE_KEY_WITH_SPACE: &str = "md YSBi b";
/// Keys in base64 (`a`, `b`, bytes with spaces), and some that are not.
const BASE64_KEYS: &[&[u8]] = &[b"YQ==", b"Yg==", b"YSBi", b"YQ", b"!", b"YQ==="];
const EXPTIMES: &[&str] = &["0", "0", "0", "100", "1000", "-1", "2592000", "2000000000"];
const ODD_NUMBERS: &[&str] = &[
    "",
    "-",
    "-1",
    "-5",
    "+100",
    "1x",
    "x",
    "0x10",
    "1.5",
    "00012",
    "4000000000",
    "4294967295",
    "4294967296",
    "2147483647",
    "2147483648",
    "-2147483648",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "99999999999999999999999",
    "1048576",
    "1048577",
    "250",
];
const ODD_WORDS: &[&str] =
    &["noreply", "NOREPLY", "norepl", "q", "0", "k", "", "HTTP/1.1", "\u{0}", "END", "foo"];
const NUMBERS: &[&str] = &[
    "0",
    "1",
    "5",
    "10",
    "99",
    "007",
    " 5",
    "5 ",
    "1000000000000000000",
    "18446744073709551615",
    "1x",
    "x",
    "",
];
const LINES: &[&str] = &[
    "version",
    "mn",
    "mn x",
    "verbosity",
    "verbosity 0",
    "verbosity 0 noreply",
    "flush_all",
    "flush_all 0",
    "flush_all noreply",
    "flush_all 100000",
    "flush_all -1",
    "flush_all x",
    "flush_all 100000 2",
    "",
    " ",
    "x",
    "get",
    "gets ",
    "gat",
    "gat 0",
    "set",
    "set a",
    "incr a",
    "touch",
    "delete",
    "GET a",
    "Set a 0 0 1",
    "mg",
    "ms",
    "md",
    "ma",
    "me",
    "mg ",
    "mx a",
    "m",
    "lru",
    "lru x",
    "slabs",
    "slabs x",
    "slabs reassign 1",
    "lru_crawler",
    "lru_crawler x",
    "lru_crawler crawl",
    "cache_memlimit",
    "cache_memlimit x",
    "cache_memlimit 1",
    "shutdown",
    "extstore",
    "misbehave",
    "refresh_certs",
    "debugitem",
    "get a b c",
    "stats x",
    "stats detail",
    "stats detail x",
    "verbosity x",
    "delete a 0",
    "delete a 5",
    "delete a 0 noreply",
    "delete a noreply x",
    "me a b",
    "me a",
    "me c",
];

/// A sequence of random length.
pub fn random(random: &mut Random, version: Version) -> Vec<Step> {
    let count = 1 + random.index(*random.clone().pick(&[3, 10, 40]));
    let counting = random.chance(50);
    let mut maker = Maker { random, counting, sound: version < SAME_ERRORS_SINCE };
    let mut steps: Vec<_> = (0..count).map(|_| maker.step()).collect();
    // What is there in the end.
    steps.push([&b"gets "[..], &KEYS.join(&b' '), b"\r\n"].concat());
    if !maker.sound {
        // Lines for a block that is a little short.
        steps.push(b"\r\n\r\n\r\n".to_vec());
    }
    steps.into_iter().map(|bytes| Step { bytes }).collect()
}

/// The steps, one on a line.
pub fn print(steps: &[Step]) -> String {
    let mut text = String::new();
    for (number, step) in steps.iter().enumerate() {
        let _ = writeln!(text, "step {}: {}", number + 1, shown(&step.bytes));
    }
    text
}

struct Maker<'r> {
    random: &'r mut Random,
    /// Only what a client would send.
    sound: bool,
    /// Numbers are counted up and down, and values not asked for meanwhile: memcached changes a number in its place
    /// and keeps its length, but not while a reply with it waits to be sent.
    counting: bool,
}

impl Maker<'_> {
    fn step(&mut self) -> Vec<u8> {
        if !self.sound && self.random.chance(6) {
            return self.store_with_chosen_cas();
        }
        let mut other = false;
        let (mut line, block) = match self.random.index(20) {
            0..=4 => self.store(),
            5..=7 if self.counting => (self.arithmetic(), None),
            5..=7 => (self.retrieve(), None),
            8..=10 => (self.delete(), None),
            11 => (self.touch(), None),
            12..=17 => self.meta(),
            18 if !self.sound => (self.garbage(), None),
            _ => {
                other = true;
                (self.other(), None)
            }
        };
        // A line of `other` bent may be `stats`; for E see above.
        if !self.sound && !other && self.random.chance(12) {
            line = self.bend(&line);
        }
        let end: &[u8] = if !self.sound && self.random.chance(4) { b"\n" } else { b"\r\n" };
        line.extend(end);
        line.extend(block.unwrap_or_default());
        line
    }

    fn key(&mut self) -> Vec<u8> {
        match self.random.index(40) {
            0 if !self.sound => TOO_LONG.to_vec(),
            1..=20 => KEYS[self.random.index(2)].to_vec(),
            _ if self.sound => self.random.pick(SOUND_KEYS).to_vec(),
            _ => self.random.pick(KEYS).to_vec(),
        }
    }

    /// One of the usual numbers, now and then an odd one.
    fn number(&mut self, usual: &[&'static str]) -> &'static str {
        let odd = !self.sound && self.random.chance(6);
        let numbers: &[&'static str] = if odd { ODD_NUMBERS } else { usual };
        self.random.pick::<&str>(numbers)
    }

    fn value(&mut self) -> Vec<u8> {
        match self.random.index(12) {
            0..=4 => self.random.pick(NUMBERS).as_bytes().to_vec(),
            5..=8 => vec![b'v'; self.random.index(20)],
            9 => long(self.random.index(3000)),
            10 => b"line\r\ndelete c\r\n".to_vec(),
            _ => {
                let len = self.random.pick(&[10_000, 40_000, 1_048_000, 1_048_576, 1_100_000]);
                long(if self.counting || self.random.chance(70) { 100 } else { *len })
            }
        }
    }

    /// A data block for a value, and the length to say on its line; now and then they do not agree.
    fn block(&mut self) -> (String, Vec<u8>) {
        let mut block = self.value();
        let mut len = block.len();
        if !self.sound && self.random.chance(5) {
            len = (len + self.random.index(5)).saturating_sub(2);
        }
        match !self.sound && self.random.chance(4) {
            true => block.extend(*self.random.pick(&[&b"\n"[..], b"", b"xx", b"\r\r\n", b" \r\n"])),
            false => block.extend(b"\r\n"),
        }
        let odd = !self.sound && self.random.chance(2);
        let len = match odd {
            true => self.random.pick(ODD_NUMBERS).to_string(),
            false => len.to_string(),
        };
        (len, block)
    }

    fn noreply(&mut self, line: &mut Vec<u8>) {
        if self.random.chance(10) {
            line.extend(b" noreply");
        }
    }

    fn store(&mut self) -> (Vec<u8>, Option<Vec<u8>>) {
        let verb =
            *self.random.pick(&["set", "set", "set", "add", "replace", "append", "prepend", "cas"]);
        let (len, block) = self.block();
        let flags = self.number(&["0", "0", "5", "65535", "4294967295"]);
        let exptime = self.number(EXPTIMES);
        let mut line = words(&[verb.as_bytes(), &self.key()]);
        line.extend(format!(" {flags} {exptime} {len}").bytes());
        if verb == "cas" {
            line.extend(format!(" {}", self.cas()).bytes());
        }
        self.noreply(&mut line);
        (line, Some(block))
    }

    /// A sound store with a cas unique of the client's choice.
    fn store_with_chosen_cas(&mut self) -> Vec<u8> {
        let key = *self.random.pick(KEYS);
        let mut value = vec![b'e'; self.random.index(100)];
        let unique = CHOSEN_CAS_MIN + self.random.below(3);
        let flags =
            self.random.pick(&["", " c", " T100", " k q", " MS", " F7 s", " I C9000000001"]);
        let mut line = words(&[b"ms", key]);
        line.extend(format!(" {} E{unique}{flags}\r\n", value.len()).bytes());
        value.extend(b"\r\n");
        line.extend(value);
        line
    }

    fn cas(&mut self) -> String {
        match self.random.index(10) {
            0 => self.number(&["0"]).to_owned(),
            _ => (CHOSEN_CAS_MIN + self.random.below(3)).to_string(),
        }
    }

    fn retrieve(&mut self) -> Vec<u8> {
        let verb = *self.random.pick(&["get", "get", "gets", "gets", "gat", "gats"]);
        let mut line = verb.as_bytes().to_vec();
        if verb.starts_with("gat") {
            line.extend(format!(" {}", self.number(EXPTIMES)).bytes());
        }
        let keys = 1 + self.random.index(*self.random.clone().pick(&[1, 3, 12, 30]));
        for _ in 0..keys {
            // Lines stay under 2 KiB.
            if line.len() < 1600 {
                line.push(b' ');
                line.extend(*self.random.pick(KEYS));
            }
        }
        line
    }

    fn delete(&mut self) -> Vec<u8> {
        let mut line = words(&[b"delete", &self.key()]);
        if self.random.chance(10) {
            line.extend(format!(" {}", self.number(&["0"])).bytes());
        }
        self.noreply(&mut line);
        line
    }

    fn arithmetic(&mut self) -> Vec<u8> {
        let verb: &[u8] = if self.random.chance(50) { b"incr" } else { b"decr" };
        let delta = self.number(&["1", "5", "100", "0", "18446744073709551615"]);
        let mut line = words(&[verb, &self.key(), delta.as_bytes()]);
        self.noreply(&mut line);
        line
    }

    fn touch(&mut self) -> Vec<u8> {
        let exptime = self.number(EXPTIMES);
        let mut line = words(&[b"touch", &self.key(), exptime.as_bytes()]);
        self.noreply(&mut line);
        line
    }

    fn meta(&mut self) -> (Vec<u8>, Option<Vec<u8>>) {
        let often = if self.counting { "ma" } else { "mg" };
        let verb = *self.random.pick(&[often, often, often, "ms", "ms", "md", "mn"]);
        if verb == "mn" {
            return (b"mn".to_vec(), None);
        }
        let base64 = self.random.chance(8);
        let key = match base64 {
            true => {
                self.random.pick(if self.sound { &BASE64_KEYS[..3] } else { BASE64_KEYS }).to_vec()
            }
            false => self.key(),
        };
        let mut line = words(&[verb.as_bytes(), &key]);
        let block = (verb == "ms").then(|| {
            let (len, block) = self.block();
            line.extend(format!(" {len}").bytes());
            block
        });
        if base64 {
            line.extend(b" b");
        }
        for _ in 0..self.random.index(6) {
            line.push(b' ');
            let flag = self.flag(verb);
            let letter = flag.as_bytes()[0];
            if self.sound && line.windows(2).any(|two| two == [b' ', letter]) {
                break;
            }
            let flag = if base64 && flag.starts_with('N') { "k" } else { &flag };
            line.extend(flag.bytes());
        }
        (line, block)
    }

    /// A flag that the verb knows, now and then another one.
    fn flag(&mut self, verb: &str) -> String {
        if !self.sound && self.random.chance(6) {
            let letter = self
                .random
                .pick(b"abcdefghijklmnopqrstuvwxyzABCDFGHIJKLMNOPQRSTUVWXYZ0_-=\x80\x7f");
            return format!(
                "{}{}",
                char::from(*letter),
                self.random.pick(&["", "", "0", "5", "-1", "x"])
            );
        }
        let letters: &[u8] = match verb {
            "mg" => b"cfhkltsvqONTROvvcfts",
            "ms" if self.sound => b"kOqCFTIM",
            "ms" => b"cfkshOqCFITMNbc",
            "md" if self.sound => b"qkOCIT",
            "md" => b"qkOCITx",
            _ if self.sound => b"kOcvtCNDJ",
            _ => b"kOqcvtCINDJMv",
        };
        let letter = char::from(*self.random.pick(letters));
        match letter {
            'N' | 'T' | 'R' => format!("{letter}{}", self.number(EXPTIMES)),
            'C' => format!("{letter}{}", self.cas()),
            'D' | 'J' => format!("{letter}{}", self.number(&["1", "5", "100", "0"])),
            'F' => format!("F{}", self.number(&["0", "7", "4294967295"])),
            'O' if self.sound => "Oabc".to_owned(),
            'O' => {
                format!("O{}", self.random.pick(&["1", "abc", "12345678901234567890123456789012"]))
            }
            'M' if verb == "ms" => format!(
                "M{}",
                self.random.pick(&["S", "E", "A", "P", "R", "s", "e", "a", "p", "r"])
            ),
            'M' => {
                format!("M{}", self.random.pick(&["I", "D", "i", "d", "+", "-", "incr", "decr"]))
            }
            _ => letter.to_string(),
        }
    }

    fn other(&mut self) -> Vec<u8> {
        let line = match self.sound {
            true => *self.random.pick(&["version", "mn", "verbosity 0"]),
            false => *self.random.pick(LINES),
        };
        // No value while numbers are counted.
        if self.counting && line == "get a b c" {
            b"get".to_vec()
        } else {
            line.as_bytes().to_vec()
        }
    }

    /// A line of bytes of any value but an end of line.
    fn garbage(&mut self) -> Vec<u8> {
        let len = self.random.index(60);
        let mut line: Vec<u8> = (0..len).map(|_| self.random.next() as u8).collect();
        line.retain(|&byte| byte != b'\n');
        // A connection that begins with this speaks the binary protocol.
        if line.first() == Some(&0x80) {
            line.remove(0);
        }
        line
    }

    /// The line with a word gone, doubled, replaced or added, or with odd spaces.
    fn bend(&mut self, line: &[u8]) -> Vec<u8> {
        let mut words: Vec<Vec<u8>> =
            line.split(|&byte| byte == b' ').map(<[u8]>::to_vec).collect();
        let at = self.random.index(words.len());
        match self.random.index(7) {
            0 => drop(words.remove(at)),
            1 => words.insert(at, words[at].clone()),
            2 => words[at] = self.random.pick(ODD_WORDS).as_bytes().to_vec(),
            3 => words[at] = self.random.pick(ODD_NUMBERS).as_bytes().to_vec(),
            4 => words.insert(at, Vec::new()),
            5 => words.push(self.random.pick(ODD_WORDS).as_bytes().to_vec()),
            _ => words.truncate(at),
        }
        words.join(&b' ')
    }
}

/// A value of lines, so that it never is too long a line when it is taken for one.
fn long(len: usize) -> Vec<u8> {
    b"zzzzzzzzzzzzzzzzzzzzzzzzzzzzzz\r\n".iter().copied().cycle().take(len).collect()
}

fn words(words: &[&[u8]]) -> Vec<u8> {
    words.join(&b' ')
}
