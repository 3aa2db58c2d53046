//! Numbers of the protocol, without the general parser: decimal digits, checked for overflow, nothing around them.
//!
//! memcached's own number reader has two habits that are kept here because clients can see them: it refuses
//! words over a fixed length however many of their digits are zeros, and it takes a lone `-` for 0.

/// Longest word that is looked at as a 32-bit number, in bytes.
const WORD_MAX_32: usize = 11;
/// Longest word that is looked at as a 64-bit number, in bytes.
const WORD_MAX_64: usize = 22;

/// An unsigned 64-bit number: digits only.
#[inline]
pub fn parse_u64(word: &[u8]) -> Option<u64> {
    if word.is_empty() || word.len() > WORD_MAX_64 {
        return None;
    }
    let mut value = 0u64;
    for &byte in word {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    Some(value)
}

/// An unsigned 32-bit number: digits only.
#[inline]
pub fn parse_u32(word: &[u8]) -> Option<u32> {
    if word.len() > WORD_MAX_32 {
        return None;
    }
    u32::try_from(parse_u64(word)?).ok()
}

/// A signed 32-bit number: an optional `-`, then digits.
#[inline]
pub fn parse_i32(word: &[u8]) -> Option<i32> {
    if word.len() > WORD_MAX_32 {
        return None;
    }
    i32::try_from(parse_i64(word)?).ok()
}

/// A signed 64-bit number: an optional `-`, then digits.
#[inline]
pub fn parse_i64(word: &[u8]) -> Option<i64> {
    match word {
        b"-" => Some(0),
        [b'-', digits @ ..] => 0i64.checked_sub_unsigned(parse_u64(digits)?),
        _ => i64::try_from(parse_u64(word)?).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_digits_within_their_range() {
        assert_eq!(parse_u64(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(parse_u64(b"18446744073709551616"), None);
        assert_eq!(parse_u32(b"4294967295"), Some(u32::MAX));
        assert_eq!(parse_u32(b"4294967296"), None);
        assert_eq!(parse_i32(b"-2147483648"), Some(i32::MIN));
        assert_eq!(parse_i32(b"2147483648"), None);
        assert_eq!(parse_i64(b"-9223372036854775808"), Some(i64::MIN));
        for junk in [&b""[..], b"+1", b" 1", b"1 ", b"1x", b"--1", b"0x1", b"\xb1"] {
            assert_eq!(parse_i32(junk), None, "{junk:?}");
            assert_eq!(parse_u64(junk), None, "{junk:?}");
        }
    }

    #[test]
    fn long_words_and_a_lone_minus_are_read_as_memcached_reads_them() {
        assert_eq!(parse_u32(b"00000000005"), Some(5));
        assert_eq!(parse_u32(b"000000000005"), None);
        assert_eq!(parse_i32(b"000000000005"), None);
        assert_eq!(parse_u64(b"0000000000000000000005"), Some(5));
        assert_eq!(parse_u64(b"00000000000000000000005"), None);
        assert_eq!(parse_i32(b"-"), Some(0));
    }
}
