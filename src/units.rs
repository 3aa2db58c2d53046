//! Byte sizes and durations as people write them: `64MiB`, `10s`.
//!
//! A size is a whole number with an optional binary unit; `k` and `KiB` are both 1024, and the decimal `KB` is
//! refused because half of its writers mean 1024. A duration is a whole number with a unit that has to be
//! there, since memcached's own settings mix seconds, microseconds and milliseconds. memcached's command
//! line keeps memcached's units and does not come through here.

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct ByteSize(pub u64);

/// A span of time, to the millisecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Span(pub Duration);

/// What a size should have looked like.
const SIZE_WANTED: &str = "a size such as 1024, 512KiB, 64MiB or 2GiB";

/// What a duration should have looked like.
const SPAN_WANTED: &str = "a duration such as 10s, 5m, 2h or 1d";

/// Units of sizes, largest first so that printing picks the shortest form.
const SIZE_UNITS: [(&str, u64); 5] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("", 1)];

/// Units of durations in milliseconds, largest first.
const SPAN_UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// A text that is no size, or no duration: says what would be right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected {0}")]
pub struct Malformed(&'static str);

impl FromStr for ByteSize {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let malformed = Malformed(SIZE_WANTED);
        let (number, unit) = split(text).ok_or(malformed)?;
        let scale = match unit.to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kib" => 1 << 10,
            "m" | "mib" => 1 << 20,
            "g" | "gib" => 1 << 30,
            "t" | "tib" => 1 << 40,
            _ => return Err(malformed),
        };
        number.checked_mul(scale).map(Self).ok_or(malformed)
    }
}

impl FromStr for Span {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let malformed = Malformed(SPAN_WANTED);
        let (number, unit) = split(text).ok_or(malformed)?;
        let scale = match SPAN_UNITS.iter().find(|(name, _)| *name == unit) {
            Some((_, scale)) => *scale,
            // Nothing is nothing in every unit.
            None if unit.is_empty() && number == 0 => 0,
            None => return Err(malformed),
        };
        number.checked_mul(scale).map(|ms| Self(Duration::from_millis(ms))).ok_or(malformed)
    }
}

/// The number at the start and the unit after it.
fn split(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit.trim_start()))
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print_whole(f, self.0, &SIZE_UNITS, "0")
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        print_whole(f, ms, &SPAN_UNITS, "0s")
    }
}

/// Prints in the largest unit that leaves a whole number.
fn print_whole(
    f: &mut fmt::Formatter<'_>,
    number: u64,
    units: &[(&str, u64)],
    zero: &str,
) -> fmt::Result {
    match units.iter().find(|(_, scale)| number >= *scale && number.is_multiple_of(*scale)) {
        Some((unit, scale)) => write!(f, "{}{unit}", number / scale),
        None => f.write_str(zero),
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = ByteSize;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(SIZE_WANTED)
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<ByteSize, E> {
                text.parse().map_err(E::custom)
            }
            fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<ByteSize, E> {
                u64::try_from(bytes).map(ByteSize).map_err(|_| E::custom(Malformed(SIZE_WANTED)))
            }
            fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<ByteSize, E> {
                Ok(ByteSize(bytes))
            }
        }
        deserializer.deserialize_any(Text)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Span;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(SPAN_WANTED)
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Span, E> {
                text.parse().map_err(E::custom)
            }
            // A bare number says no unit, so it says nothing, unless it is 0.
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Span, E> {
                number.to_string().parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_printed_in_binary_units() {
        for (text, bytes) in [
            ("0", 0),
            ("1000", 1000),
            ("7b", 7),
            ("1k", 1024),
            ("512KiB", 512 << 10),
            (" 64 MiB ", 64 << 20),
            ("3g", 3 << 30),
            ("1TiB", 1 << 40),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
        for (bytes, text) in
            [(0, "0"), (1000, "1000"), (1536, "1536"), (64 << 20, "64MiB"), (1 << 30, "1GiB")]
        {
            assert_eq!(ByteSize(bytes).to_string(), text);
        }
    }

    #[test]
    fn sizes_that_could_be_misread_are_refused() {
        for text in ["", "MiB", "1KB", "1.5GiB", "-1", "1 2", "16777216TiB", "99999999999999999999"]
        {
            assert_eq!(text.parse::<ByteSize>(), Err(Malformed(SIZE_WANTED)), "{text}");
        }
    }

    #[test]
    fn durations_need_a_unit_unless_they_are_nothing() {
        for (text, ms) in [
            ("0", 0),
            ("250ms", 250),
            ("10s", 10_000),
            ("5 m", 300_000),
            ("2h", 7_200_000),
            ("1d", 86_400_000),
        ] {
            assert_eq!(text.parse(), Ok(Span(Duration::from_millis(ms))), "{text}");
        }
        for text in ["10", "s", "1w", "-1s", "1.5s", "99999999999999999d"] {
            assert_eq!(text.parse::<Span>(), Err(Malformed(SPAN_WANTED)), "{text}");
        }
    }

    #[test]
    fn what_is_printed_reads_back() {
        for ms in [0, 1, 999, 1000, 90_000, 86_400_000] {
            let span = Span(Duration::from_millis(ms));
            assert_eq!(span.to_string().parse(), Ok(span));
        }
    }
}
