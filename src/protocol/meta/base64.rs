//! base64 keys (meta flag `b`): the standard alphabet, padded.
//!
//! Not a general codec. Decoding is as lenient as memcached's, which a codec crate would not be: bytes outside the
//! alphabet are skipped, and whatever follows the padding is ignored. A key decodes into a small array on the
//! stack; nothing is allocated.

use super::KEY_MAX;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// What stands in [`VALUES`] for a byte that is to be skipped.
const SKIP: u8 = 0xff;

/// The value of each byte. The padding has value 0: its bits are cut off later.
const VALUES: [u8; 256] = {
    let mut values = [SKIP; 256];
    let mut value = 0;
    while value < 64 {
        values[ALPHABET[value as usize] as usize] = value;
        value += 1;
    }
    values[b'=' as usize] = 0;
    values
};

/// Longest decoded key, in bytes: each four characters become at most three bytes.
const DECODED_MAX: usize = KEY_MAX / 4 * 3;

/// The place a base64 key is decoded into.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeyBuffer([u8; DECODED_MAX]);

impl KeyBuffer {
    /// An empty one.
    #[inline]
    pub(super) const fn new() -> Self {
        Self([0; DECODED_MAX])
    }

    /// Decodes `text`, which is at most [`KEY_MAX`] bytes long. `None` if it is no base64.
    pub(super) fn decode(&mut self, text: &[u8]) -> Option<&[u8]> {
        let valid = text.iter().filter(|&&byte| VALUES[usize::from(byte)] != SKIP).count();
        if valid == 0 || valid % 4 != 0 {
            return None;
        }
        let mut written = 0;
        let (mut group, mut chars, mut padding) = (0u32, 0, 0);
        for &byte in text {
            let value = VALUES[usize::from(byte)];
            if value == SKIP {
                continue;
            }
            padding += usize::from(byte == b'=');
            group = group << 6 | u32::from(value);
            chars += 1;
            if chars % 4 == 0 {
                let [_, bytes @ ..] = group.to_be_bytes();
                self.0.get_mut(written..written + 3)?.copy_from_slice(&bytes);
                written += 3;
                group = 0;
                match padding {
                    0 => {}
                    1 | 2 => return Some(&self.0[..written - padding]),
                    _ => return None,
                }
            }
        }
        Some(&self.0[..written])
    }
}

/// `key` as base64, in parts of four characters.
pub fn encode(key: &[u8]) -> impl Iterator<Item = [u8; 4]> {
    key.chunks(3).map(|chunk| {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let group = byte(0) << 16 | byte(1) << 8 | byte(2);
        let char = |index: usize| match index <= chunk.len() {
            true => ALPHABET[(group >> (18 - 6 * index) & 63) as usize],
            false => b'=',
        };
        [char(0), char(1), char(2), char(3)]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(text: &[u8]) -> Option<Vec<u8>> {
        KeyBuffer::new().decode(text).map(<[u8]>::to_vec)
    }

    fn encoded(key: &[u8]) -> Vec<u8> {
        encode(key).flatten().collect()
    }

    #[test]
    fn rfc_4648_examples_go_both_ways() {
        for (key, text) in [
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
            ("テスト", "44OG44K544OI"),
        ] {
            assert_eq!(encoded(key.as_bytes()), text.as_bytes());
            assert_eq!(decoded(text.as_bytes()).unwrap(), key.as_bytes());
        }
    }

    #[test]
    fn decoding_is_as_lenient_as_memcached() {
        assert_eq!(decoded(b"Zm-9v").unwrap(), b"foo", "bytes outside the alphabet are skipped");
        assert_eq!(decoded(b"Zg==Zm9v").unwrap(), b"f", "the padding ends the key");
        assert_eq!(decoded(b"Z=8=").unwrap(), [0x64], "padding in the wrong place is only counted");
        for junk in [&b""[..], b"Zg", b"Zm9vY", b"Z===", b"====", b"!!!!"] {
            assert_eq!(decoded(junk), None, "{junk:?}");
        }
    }

    #[test]
    fn the_longest_key_fits() {
        let key = vec![0xff; DECODED_MAX];
        let text = encoded(&key);
        assert_eq!(text.len(), 248);
        assert_eq!(decoded(&text).unwrap(), key);
    }
}
