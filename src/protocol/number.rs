//! Numbers of the protocol, without the general parser: decimal digits, checked for overflow, nothing around them.

/// An unsigned 64-bit number: digits only.
#[inline]
pub fn parse_u64(word: &[u8]) -> Option<u64> {
    if word.is_empty() {
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
    u32::try_from(parse_u64(word)?).ok()
}

/// A signed 32-bit number: an optional `-`, then digits.
#[inline]
pub fn parse_i32(word: &[u8]) -> Option<i32> {
    i32::try_from(parse_i64(word)?).ok()
}

/// A signed 64-bit number: an optional `-`, then digits.
#[inline]
pub fn parse_i64(word: &[u8]) -> Option<i64> {
    match word.split_first() {
        Some((b'-', digits)) => 0i64.checked_sub_unsigned(parse_u64(digits)?),
        _ => i64::try_from(parse_u64(word)?).ok(),
    }
}
