//! Plain lines: the most frequent commands in the form in which clients send them, one space between two words, an
//! `\r\n` at the end, numbers of a few digits, recognised without taking the line apart word by word.
//!
//! Whatever else the input begins with is for [`parse`](super::parse), which understands a plain line just the same.

use super::KEY_MAX;
use super::meta::FlagSet;
use super::text::{Arith, Touch};

/// Most digits of a number that is plain: it fits 32 bits, signed or not.
const DIGITS_MAX: usize = 9;

/// `get <key>`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Get<'b> {
    /// The key.
    pub key: &'b [u8],
}

/// `set <key> <flags> <exptime> <bytes> [noreply]` or `ms <key> <bytes> [F<flags>] [T<exptime>] [q]`, with all of the
/// data block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Set<'b> {
    /// The key.
    pub key: &'b [u8],
    /// The value.
    pub value: &'b [u8],
    /// Client flags.
    pub flags: u32,
    /// As on the line, see `Clock::deadline`.
    pub exptime: i32,
    /// noreply or `q`: no reply wanted if it is stored.
    pub quiet: bool,
}

/// `mg <key> <flag>*` with flags that return something and have no argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetaGet<'b> {
    /// The key.
    pub key: &'b [u8],
    /// The flags as they are on the line: a space and a letter each.
    pub words: &'b [u8],
    /// Their letters.
    pub flags: FlagSet,
}

/// `get`
#[inline]
pub fn get(input: &[u8]) -> Option<(Get<'_>, usize)> {
    let mut line = Line::begin(input, b"get ")?;
    let key = line.key()?;
    line.end()?;
    Some((Get { key }, line.read(input)))
}

/// `set`
#[inline]
pub fn set(input: &[u8]) -> Option<(Set<'_>, usize)> {
    let mut line = Line::begin(input, b"set ")?;
    let key = line.key()?;
    let flags = line.space()?.number()?;
    let exptime = line.space()?.number()?.cast_signed();
    let value_len = line.space()?.number()?;
    let quiet = line.skip(b" noreply");
    line.end()?;
    let value = line.block(value_len)?;
    Some((Set { key, value, flags, exptime, quiet }, line.read(input)))
}

/// `ms`
#[inline]
pub fn meta_set(input: &[u8]) -> Option<(Set<'_>, usize)> {
    let mut line = Line::begin(input, b"ms ")?;
    let key = line.key()?;
    let value_len = line.space()?.number()?;
    let (mut flags, mut exptime, mut quiet) = (None, None, false);
    while line.end().is_none() {
        // What is there twice is for the parser to refuse.
        match line.space()?.letter()? {
            b'q' if !quiet => quiet = true,
            b'T' if exptime.is_none() => exptime = Some(line.number()?.cast_signed()),
            b'F' if flags.is_none() => flags = Some(line.number()?),
            _ => return None,
        }
    }
    let value = line.block(value_len)?;
    let (flags, exptime) = (flags.unwrap_or(0), exptime.unwrap_or(0));
    Some((Set { key, value, flags, exptime, quiet }, line.read(input)))
}

/// `mg`
#[inline]
pub fn meta_get(input: &[u8]) -> Option<(MetaGet<'_>, usize)> {
    let mut line = Line::begin(input, b"mg ")?;
    let key = line.key()?;
    let words = line.rest;
    let mut flags = FlagSet::default();
    while line.end().is_none() {
        let letter @ (b'v' | b'f' | b'k' | b's' | b'c' | b't' | b'q') = line.space()?.letter()?
        else {
            return None;
        };
        if !flags.insert(letter) {
            return None;
        }
    }
    let words = &words[..words.len() - line.rest.len() - 2];
    Some((MetaGet { key, words, flags }, line.read(input)))
}

/// `incr <key> <delta>` or `decr <key> <delta>`
#[inline]
pub fn arith(input: &[u8]) -> Option<(Arith<'_>, usize)> {
    let incr = input.first() == Some(&b'i');
    let mut line = Line::begin(input, if incr { b"incr " } else { b"decr " })?;
    let key = line.key()?;
    let delta = line.space()?.number()?.into();
    line.end()?;
    Some((Arith { key, incr, delta, noreply: false }, line.read(input)))
}

/// `touch <key> <exptime>`
#[inline]
pub fn touch(input: &[u8]) -> Option<(Touch<'_>, usize)> {
    let mut line = Line::begin(input, b"touch ")?;
    let key = line.key()?;
    let exptime = line.space()?.number()?.cast_signed();
    line.end()?;
    Some((Touch { key, exptime, noreply: false }, line.read(input)))
}

/// What is left of the input.
struct Line<'b> {
    rest: &'b [u8],
}

impl<'b> Line<'b> {
    #[inline]
    fn begin(input: &'b [u8], command: &[u8]) -> Option<Self> {
        Some(Self { rest: input.strip_prefix(command)? })
    }

    /// Takes a key, up to a space or a control character.
    #[inline]
    fn key(&mut self) -> Option<&'b [u8]> {
        let len = find_blank(self.rest)?;
        if !matches!(len, 1..=KEY_MAX) {
            return None;
        }
        let (key, rest) = self.rest.split_at(len);
        self.rest = rest;
        Some(key)
    }

    #[inline]
    fn space(&mut self) -> Option<&mut Self> {
        self.rest = self.rest.strip_prefix(b" ")?;
        Some(self)
    }

    #[inline]
    fn letter(&mut self) -> Option<u8> {
        let (letter, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*letter)
    }

    #[inline]
    fn skip(&mut self, text: &[u8]) -> bool {
        self.rest.strip_prefix(text).inspect(|rest| self.rest = rest).is_some()
    }

    /// Takes all digits that there are.
    #[inline(always)]
    fn number(&mut self) -> Option<u32> {
        let (mut number, mut len) = (0_u32, 0);
        for byte in self.rest {
            let digit = byte.wrapping_sub(b'0');
            if digit >= 10 {
                break;
            }
            // Wraps only if there are too many.
            number = number.wrapping_mul(10).wrapping_add(digit.into());
            len += 1;
        }
        self.rest = &self.rest[len..];
        (1..=DIGITS_MAX).contains(&len).then_some(number)
    }

    #[inline]
    fn end(&mut self) -> Option<()> {
        self.rest = self.rest.strip_prefix(b"\r\n")?;
        Some(())
    }

    /// Takes a data block with its end.
    #[inline]
    fn block(&mut self, len: u32) -> Option<&'b [u8]> {
        let (value, rest) = self.rest.split_at_checked(len as usize)?;
        self.rest = rest;
        self.end()?;
        Some(value)
    }

    /// How much of the input was taken, in bytes.
    #[inline]
    fn read(&self, input: &[u8]) -> usize {
        input.len() - self.rest.len()
    }
}

/// Where the first byte of `text` is that is a space or a control character.
#[inline]
fn find_blank(text: &[u8]) -> Option<usize> {
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    const PAST_SPACE: u64 = u64::from_ne_bytes([b' ' + 1; 8]);
    let mut at = 0;
    while let Some(chunk) = text[at..].first_chunk::<8>() {
        let word = u64::from_le_bytes(*chunk);
        // The lowest set bit is exact: what is above it may have lent to what is below.
        let found = word.wrapping_sub(PAST_SPACE) & !word & HIGH;
        if found != 0 {
            return Some(at + (found.trailing_zeros() / 8) as usize);
        }
        at += 8;
    }
    text[at..].iter().position(|byte| *byte <= b' ').map(|found| at + found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Parse, Request, parse};

    /// The request that the parser makes of a line, and the line's length.
    fn parsed(input: &[u8]) -> (Request<'_>, usize) {
        match parse(input) {
            Parse::Request { request, consumed } => (request, consumed),
            other => panic!("{}: {other:?}", input.escape_ascii()),
        }
    }

    #[test]
    fn a_plain_get_is_what_the_parser_takes_it_for() {
        for len in 1..=KEY_MAX {
            let key: Vec<u8> = (0..len).map(|i| [b'!', 0xa0, b'~', 0xff, b'a'][i % 5]).collect();
            let line = [b"get ", &key[..], b"\r\nget b"].concat();
            assert_eq!(get(&line), Some((Get { key: &key }, len + 6)));
            let (Request::Get(mut seen), consumed) = parsed(&line) else { panic!("no get") };
            assert_eq!(
                (seen.keys.next(), seen.keys.next(), consumed),
                (Some(&key[..]), None, len + 6)
            );
        }
    }

    #[test]
    fn a_plain_set_is_what_the_parser_takes_it_for() {
        for (flags, exptime, value, quiet) in [
            (0, 0, &b""[..], false),
            (999_999_999, 1, b"\r\nset", true),
            (7, 999_999_999, b"x", false),
        ] {
            let noreply = if quiet { " noreply" } else { "" };
            let line = format!("set k~ {flags} {exptime} {}{noreply}\r\n", value.len());
            let input = [line.as_bytes(), value, b"\r\nget a\r\n"].concat();
            let read = line.len() + value.len() + 2;
            assert_eq!(set(&input), Some((Set { key: b"k~", value, flags, exptime, quiet }, read)));
            let (Request::Store(seen), consumed) = parsed(&input) else { panic!("no set") };
            assert_eq!((seen.key, seen.flags, seen.exptime), (&b"k~"[..], flags, exptime));
            assert_eq!((seen.value_len, seen.noreply, consumed), (value.len(), quiet, line.len()));
        }
    }

    #[test]
    fn a_plain_meta_set_is_what_the_parser_takes_it_for() {
        for (words, flags, exptime, quiet) in [
            ("", 0, 0, false),
            (" q", 0, 0, true),
            (" T30 q F5", 5, 30, true),
            (" F0 T0", 0, 0, false),
        ] {
            let input = format!("ms key 2{words}\r\nab\r\n");
            let plain = Set { key: b"key", value: b"ab", flags, exptime, quiet };
            assert_eq!(meta_set(input.as_bytes()), Some((plain, input.len())), "{input:?}");
            let (Request::Meta(seen), _) = parsed(input.as_bytes()) else { panic!("no ms") };
            assert_eq!((seen.client_flags, seen.exptime, seen.quiet()), (flags, exptime, quiet));
            assert_eq!(seen.value_len(), Some(2));
        }
    }

    #[test]
    fn a_plain_meta_get_is_what_the_parser_takes_it_for() {
        for words in ["", " v", " q v c t s f k"] {
            let input = format!("mg key{words}\r\nmn\r\n");
            let Some((plain, read)) = meta_get(input.as_bytes()) else { panic!("{input:?}") };
            let (Request::Meta(seen), consumed) = parsed(input.as_bytes()) else { panic!("no mg") };
            assert_eq!((plain.key, plain.words), (&b"key"[..], words.as_bytes()));
            assert_eq!((plain.flags, read), (seen.flags, consumed));
        }
    }

    #[test]
    fn plain_changes_are_what_the_parser_takes_them_for() {
        let (plain, read) = arith(b"decr k 12\r\n").expect("plain");
        let (Request::Arith(seen), consumed) = parsed(b"decr k 12\r\n") else { panic!("no decr") };
        assert_eq!((plain.key, plain.incr, plain.delta), (seen.key, seen.incr, seen.delta));
        assert_eq!(read, consumed);
        let (plain, read) = touch(b"touch k 9\r\n").expect("plain");
        let (Request::Touch(seen), consumed) = parsed(b"touch k 9\r\n") else { panic!("no touch") };
        assert_eq!((plain.key, plain.exptime, read), (seen.key, seen.exptime, consumed));
    }

    #[test]
    fn other_lines_are_left_to_the_parser() {
        let long = [b"get ".to_vec(), vec![b'k'; KEY_MAX + 1], b"\r\n".to_vec()].concat();
        let lines: [&[u8]; 40] = [
            b"get a",
            b"get a\r",
            b"get a\n",
            b"get a b\r\n",
            b"get  a\r\n",
            b"get \r\n",
            b"get a\tb\r\n",
            b"get a \r\n",
            b"gets a\r\n",
            b" get a\r\n",
            &long,
            b"set k 0 0 1\r\nx",
            b"set k 0 0 1\r\nx\r",
            b"set k 0 0 1\r\nxy\r\n",
            b"set k 0 0 -1\r\nx\r\n",
            b"set k 0 -1 1\r\nx\r\n",
            b"set k 0 0 1 \r\nx\r\n",
            b"set k 0 0 1 norep\r\nx\r\n",
            b"set k 0 0 \r\nx\r\n",
            b"set k 1234567890 0 1\r\nx\r\n",
            b"set k  0 0 1\r\nx\r\n",
            b"set k\t0 0 1\r\nx\r\n",
            b"ms k 1 b\r\nx\r\n",
            b"ms k 1 q q\r\nx\r\n",
            b"ms k 1 T\r\nx\r\n",
            b"ms k 1 T-1\r\nx\r\n",
            b"ms k 1 T1 T1\r\nx\r\n",
            b"ms k 1  q\r\nx\r\n",
            b"ms k 1 qx\r\nx\r\n",
            b"ms k q\r\nx\r\n",
            b"mg k v v\r\n",
            b"mg k N30\r\n",
            b"mg k vk\r\n",
            b"mg k v \r\n",
            b"mg k Oabc\r\n",
            b"incr k -1\r\n",
            b"incr k\r\n",
            b"incr k 1 noreply\r\n",
            b"touch k -1\r\n",
            b"touch noreply\r\n",
        ];
        for line in lines {
            let taken = get(line).is_some()
                || set(line).is_some()
                || meta_set(line).is_some()
                || meta_get(line).is_some()
                || arith(line).is_some()
                || touch(line).is_some();
            assert!(!taken, "{}", line.escape_ascii());
        }
    }
}
