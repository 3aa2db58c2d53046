//! `get <key>\r\n`, the plainest and most frequent of lines, recognised without taking it apart word by word.

use crate::protocol::KEY_MAX;

/// The key, and the length of the line, if `input` begins with a `get` of one key, in one space and ended by `\r\n`.
/// Whatever else it begins with is for [`parse`](super::parse), which understands such a line just the same.
#[inline]
pub fn plain_get(input: &[u8]) -> Option<(&[u8], usize)> {
    let text = input.strip_prefix(b"get ")?;
    let len = find_blank(text)?;
    (matches!(len, 1..=KEY_MAX) && text[len..].starts_with(b"\r\n"))
        .then(|| (&text[..len], b"get \r\n".len() + len))
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
    use crate::protocol::text::{Get, parse};
    use crate::protocol::{Parse, Request};

    #[test]
    fn a_plain_get_is_what_the_parser_takes_it_for() {
        for len in 1..=KEY_MAX {
            let key: Vec<u8> = (0..len).map(|i| [b'!', 0xa0, b'~', 0xff, b'a'][i % 5]).collect();
            let line = [b"get ", &key[..], b"\r\nget b"].concat();
            assert_eq!(plain_get(&line), Some((&key[..], len + 6)));
            let Parse::Request { request: Request::Get(Get { mut keys, .. }), consumed } =
                parse(&line)
            else {
                panic!("no get: {line:?}");
            };
            assert_eq!((keys.next(), keys.next(), consumed), (Some(&key[..]), None, len + 6));
        }
    }

    #[test]
    fn other_lines_are_left_to_the_parser() {
        let long = [b"get ".to_vec(), vec![b'k'; KEY_MAX + 1], b"\r\n".to_vec()].concat();
        let lines: [&[u8]; 11] = [
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
        ];
        for line in lines {
            assert_eq!(plain_get(line), None, "{}", line.escape_ascii());
        }
    }
}
