//! Stand-in until the meta protocol arrives.

use super::Rejection;

/// A meta request, understood.
#[derive(Debug, Clone, Copy)]
pub struct MetaRequest<'b> {
    /// The letter after `m`: `g`, `s`, `d`, `a` or `e`.
    pub verb: u8,
    /// The key as on the line.
    pub key: &'b [u8],
    /// `ms`: length of the data block without its end of line.
    pub value_len: Option<usize>,
}

impl<'b> MetaRequest<'b> {
    /// Length of the data block that follows (`ms`), without its end of line; `None` for the other commands.
    pub fn value_len(&self) -> Option<usize> {
        self.value_len
    }

    /// The key that can be prefetched, if the command has a decoded one.
    pub fn key(&self) -> &'b [u8] {
        self.key
    }
}

/// Understands the meta command `m<verb>` from its whole line (without the end of line).
///
/// # Errors
/// The reply, and how much data to swallow (`ms` with a valid length but bad flags).
pub fn parse(verb: u8, line: &[u8]) -> Result<MetaRequest<'_>, Rejection> {
    let _ = (verb, line);
    Err(Rejection::new(super::ERROR))
}
