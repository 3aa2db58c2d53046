//! Numbers of the protocol: decimal digits, checked for overflow.
//!
//! There are two dialects, as in memcached. Most arguments are a word of digits and nothing else ([`parse_u64`] and
//! its kin, which also bound the word's length). The flags and exptime of the storing commands are older and
//! read as C's `strtoul` and `strtol` do ([`parse_c_u32`], [`parse_c_i32`]): a plus is allowed, a tab ends the
//! number, and 64 bits are cut to 32.

/// Longest word that is read as a 32-bit number, in bytes.
const WORD_32_MAX: usize = 11;
/// Longest word that is read as a 64-bit number, in bytes.
const WORD_64_MAX: usize = 22;

/// An unsigned 64-bit number: digits only.
#[inline]
pub fn parse_u64(word: &[u8]) -> Option<u64> {
    if word.is_empty() || word.len() > WORD_64_MAX { None } else { digits(word) }
}

/// An unsigned 32-bit number: digits only.
#[inline]
pub fn parse_u32(word: &[u8]) -> Option<u32> {
    if word.len() > WORD_32_MAX { None } else { u32::try_from(parse_u64(word)?).ok() }
}

/// A signed 32-bit number: an optional minus, then digits.
#[inline]
pub fn parse_i32(word: &[u8]) -> Option<i32> {
    if let Some(number) = short_digits(word) {
        return Some(number.cast_signed());
    }
    if word.len() > WORD_32_MAX { None } else { i32::try_from(parse_i64(word)?).ok() }
}

/// A signed 64-bit number: an optional minus, then digits. A minus alone is 0, as memcached has it.
#[inline]
pub fn parse_i64(word: &[u8]) -> Option<i64> {
    match word.split_first() {
        Some((b'-', rest)) if word.len() <= WORD_64_MAX => 0i64.checked_sub_unsigned(digits(rest)?),
        _ => i64::try_from(parse_u64(word)?).ok(),
    }
}

/// Client flags of a storing command, as `strtoul` reads them: 64 bits, of which the low 32 count.
#[inline]
pub fn parse_c_u32(word: &[u8]) -> Option<u32> {
    if let Some(number) = short_digits(word) {
        return Some(number);
    }
    let (negative, magnitude) = parse_c(word)?;
    let number = if negative { magnitude.wrapping_neg() } else { magnitude };
    // A number that the minus turned into a huge one is refused; one that wrapped into the lower half is not.
    if negative && number > i64::MAX as u64 {
        return None;
    }
    Some(low_32_bits(number))
}

/// The exptime of a storing command, as `strtol` reads it: 64 bits, of which the low 32 count.
#[inline]
pub fn parse_c_i32(word: &[u8]) -> Option<i32> {
    if let Some(number) = short_digits(word) {
        return Some(number.cast_signed());
    }
    let (negative, magnitude) = parse_c(word)?;
    let number = if negative {
        0i64.checked_sub_unsigned(magnitude)?
    } else {
        i64::try_from(magnitude).ok()?
    };
    Some(low_32_bits(number.cast_unsigned()).cast_signed())
}

/// The common case: up to nine digits and nothing else.
#[inline]
fn short_digits(word: &[u8]) -> Option<u32> {
    if word.is_empty() || word.len() > 9 {
        return None;
    }
    let mut number = 0;
    for &byte in word {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number * 10 + u32::from(digit);
    }
    Some(number)
}

/// Sign and magnitude as C reads them: white space, a sign, digits, and then white space or nothing.
#[cold]
fn parse_c(word: &[u8]) -> Option<(bool, u64)> {
    let start = word.iter().position(|&byte| !is_c_space(byte))?;
    let (negative, rest) = match word[start..].split_first()? {
        (b'-', rest) => (true, rest),
        (b'+', rest) => (false, rest),
        _ => (false, &word[start..]),
    };
    let len = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
    if len == 0 || rest.get(len).is_some_and(|&byte| byte != 0 && !is_c_space(byte)) {
        return None;
    }
    Some((negative, digits(&rest[..len])?))
}

/// The number that `digits` spells; 0 for no digit at all.
#[inline]
fn digits(digits: &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for &byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    Some(number)
}

fn is_c_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

#[expect(clippy::cast_possible_truncation, reason = "cutting to 32 bits is the point")]
fn low_32_bits(number: u64) -> u32 {
    number as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_digits() {
        assert_eq!(parse_u64(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(parse_u64(b"18446744073709551616"), None, "2^64");
        assert_eq!(parse_u64(b"0000000000000000000001"), Some(1), "22 digits");
        assert_eq!(parse_u64(b"00000000000000000000001"), None, "23 digits");
        assert_eq!(parse_u32(b"4294967295"), Some(u32::MAX));
        assert_eq!(parse_u32(b"4294967296"), None);
        for word in [&b""[..], b"-1", b"+1", b"1x", b" 1", b"1 "] {
            assert_eq!(parse_u64(word), None, "{word:?}");
        }
    }

    #[test]
    fn signed_words() {
        assert_eq!(parse_i32(b"2147483647"), Some(i32::MAX));
        assert_eq!(parse_i32(b"2147483648"), None);
        assert_eq!(parse_i32(b"-2147483648"), Some(i32::MIN));
        assert_eq!(parse_i32(b"-2147483649"), None);
        assert_eq!(parse_i32(b"000000000001"), None, "12 digits");
        assert_eq!(parse_i32(b"-"), Some(0), "as memcached has it");
        assert_eq!(parse_i32(b""), None);
        assert_eq!(parse_i64(b"-9223372036854775808"), Some(i64::MIN));
    }

    #[test]
    fn the_c_dialect() {
        assert_eq!(parse_c_u32(b"4294967295"), Some(u32::MAX));
        assert_eq!(parse_c_u32(b"4294967296"), Some(0), "cut to 32 bits");
        assert_eq!(parse_c_u32(b"+5"), Some(5));
        assert_eq!(parse_c_u32(b"5\tx"), Some(5), "a tab ends the number");
        assert_eq!(parse_c_u32(b"-1"), None);
        assert_eq!(parse_c_u32(b"5x"), None);
        assert_eq!(parse_c_u32(b"x"), None);
        assert_eq!(parse_c_u32(b"99999999999999999999"), None);
        assert_eq!(parse_c_i32(b"-1"), Some(-1));
        assert_eq!(parse_c_i32(b"4294967297"), Some(1), "cut to 32 bits");
        assert_eq!(parse_c_i32(b"9223372036854775808"), None);
    }
}
