//! A record: the newest state of one key, as it is written down.
//!
//! ```text
//!   item:     marks u8 │ key_len u8 │ value_len 30 bits, uses 2 bits │ version u64 │ [flags u32] │ [exptime u64] │ [cas u64] │ key │ value
//!   removal:  marks u8 │ key_len u8 │ key
//! ```
//!
//! Numbers are little-endian; `uses` are the high bits of a u32. The exptime is an absolute Unix time in seconds, so that it means the same in
//! another process. What is not there (no flags, no end, no chosen cas unique) takes no bytes.

use crate::engine::{KEY_MAX, Saved, USES_MAX, VALUE_LEN_MAX};

const REMOVAL: u8 = 1;
const STALE: u8 = 1 << 1;
const TOKEN: u8 = 1 << 2;
const FETCHED: u8 = 1 << 3;
const BINARY_KEY: u8 = 1 << 4;
const HAS_FLAGS: u8 = 1 << 5;
const HAS_EXPTIME: u8 = 1 << 6;
const HAS_CAS: u8 = 1 << 7;

const USES_SHIFT: u32 = 30;
const _: () = assert!(VALUE_LEN_MAX < 1 << USES_SHIFT && USES_MAX < 4);

/// The newest state of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Record<'b> {
    /// It has this item.
    Item(Saved<'b>),
    /// It has none.
    Removal {
        /// The key.
        key: &'b [u8],
    },
}

impl<'b> Record<'b> {
    /// The key it is about.
    pub fn key(&self) -> &'b [u8] {
        match self {
            Self::Item(item) => item.key,
            Self::Removal { key } => key,
        }
    }

    /// Bytes of its encoding.
    pub fn len(&self) -> usize {
        match self {
            Self::Item(item) => {
                let optional = optional(item);
                14 + optional.iter().map(|(_, bytes)| bytes.len()).sum::<usize>()
                    + item.key.len()
                    + item.value.len()
            }
            Self::Removal { key } => 2 + key.len(),
        }
    }

    /// Appends its encoding.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Item(item) => encode(item, out),
            Self::Removal { key } => {
                out.extend([REMOVAL, key.len() as u8]);
                out.extend(*key);
            }
        }
    }

    /// Takes the first record from `bytes`; `None` if there is no whole one.
    pub fn decode(bytes: &mut &'b [u8]) -> Option<Self> {
        let mut rest = *bytes;
        let [marks, key_len] = array(&mut rest)?;
        let key_len = usize::from(key_len);
        if key_len == 0 || key_len > KEY_MAX {
            return None;
        }
        let record = match marks & REMOVAL {
            0 => Self::Item(decode(marks, key_len, &mut rest)?),
            _ => Self::Removal { key: take(&mut rest, key_len)? },
        };
        *bytes = rest;
        Some(record)
    }
}

/// The fields that may be missing: their marks and bytes.
fn optional(item: &Saved<'_>) -> [(u8, OptionalBytes); 3] {
    let field = |mark, there, bytes: &[u8]| match there {
        true => (mark, OptionalBytes::new(bytes)),
        false => (0, OptionalBytes::default()),
    };
    let cas = item.chosen_cas;
    [
        field(HAS_FLAGS, item.flags != 0, &item.flags.to_le_bytes()),
        field(HAS_EXPTIME, item.exptime != 0, &item.exptime.to_le_bytes()),
        field(HAS_CAS, cas.is_some(), &cas.unwrap_or_default().to_le_bytes()),
    ]
}

fn encode(item: &Saved<'_>, out: &mut Vec<u8>) {
    let optional = optional(item);
    let mut marks = optional.iter().fold(0, |marks, (mark, _)| marks | mark);
    for (set, mark) in [
        (item.stale, STALE),
        (item.token_sent, TOKEN),
        (item.fetched, FETCHED),
        (item.key_is_binary, BINARY_KEY),
    ] {
        marks |= if set { mark } else { 0 };
    }
    out.extend([marks, item.key.len() as u8]);
    let len = item.value.len() as u32 | u32::from(item.uses) << USES_SHIFT;
    out.extend(len.to_le_bytes());
    out.extend(item.version.to_le_bytes());
    for (_, bytes) in &optional {
        out.extend(bytes.as_slice());
    }
    out.extend(item.key);
    out.extend(item.value);
}

fn decode<'b>(marks: u8, key_len: usize, rest: &mut &'b [u8]) -> Option<Saved<'b>> {
    let len = u32::from_le_bytes(array(rest)?);
    let value_len = (len & ((1 << USES_SHIFT) - 1)) as usize;
    let uses = (len >> USES_SHIFT) as u8;
    let version = u64::from_le_bytes(array(rest)?);
    let mut item = Saved { version, uses, ..Saved::default() };
    if marks & HAS_FLAGS != 0 {
        item.flags = u32::from_le_bytes(array(rest)?);
    }
    if marks & HAS_EXPTIME != 0 {
        item.exptime = u64::from_le_bytes(array(rest)?);
    }
    if marks & HAS_CAS != 0 {
        item.chosen_cas = Some(u64::from_le_bytes(array(rest)?));
    }
    item.key = take(rest, key_len)?;
    item.value = take(rest, value_len)?;
    item.stale = marks & STALE != 0;
    item.token_sent = marks & TOKEN != 0;
    item.fetched = marks & FETCHED != 0;
    item.key_is_binary = marks & BINARY_KEY != 0;
    Some(item)
}

/// Up to 8 bytes.
#[derive(Default)]
struct OptionalBytes {
    bytes: [u8; 8],
    len: usize,
}

impl OptionalBytes {
    fn new(from: &[u8]) -> Self {
        let mut bytes = [0; 8];
        bytes[..from.len()].copy_from_slice(from);
        Self { bytes, len: from.len() }
    }

    fn len(&self) -> usize {
        self.len
    }

    fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// The first `len` bytes.
fn take<'b>(rest: &mut &'b [u8], len: usize) -> Option<&'b [u8]> {
    let (taken, left) = rest.split_at_checked(len)?;
    *rest = left;
    Some(taken)
}

/// The first `N` bytes.
fn array<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, left) = rest.split_first_chunk::<N>()?;
    *rest = left;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(len: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(any::<u8>(), len)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            key in bytes(1..251), value in bytes(0..600), numbers in any::<(u32, u64, u64, Option<u64>)>(),
            marks in any::<(bool, bool, bool, bool)>(), uses in 0..=USES_MAX, removal in any::<bool>(),
        ) {
            let record = if removal {
                Record::Removal { key: &key }
            } else {
                Record::Item(Saved {
                    key: &key,
                    value: &value,
                    flags: numbers.0,
                    exptime: numbers.1,
                    version: numbers.2,
                    chosen_cas: numbers.3,
                    stale: marks.0,
                    token_sent: marks.1,
                    fetched: marks.2,
                    key_is_binary: marks.3,
                    uses,
                })
            };
            let mut encoded = Vec::new();
            record.encode(&mut encoded);
            prop_assert_eq!(encoded.len(), record.len());
            for cut in [0, 1, encoded.len() / 2, encoded.len() - 1] {
                prop_assert_eq!(Record::decode(&mut &encoded[..cut]), None);
            }
            let mut rest = &encoded[..];
            prop_assert_eq!(Record::decode(&mut rest), Some(record));
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn no_bytes_are_too_strange(noise in bytes(0..300)) {
            let mut rest = &noise[..];
            while Record::decode(&mut rest).is_some() {}
        }
    }
}
