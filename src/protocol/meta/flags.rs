//! Meta flags: a letter each, with an argument directly after it.
//!
//! The flags of a request are read once, into a set of letters and the values of their arguments. Their text is
//! kept beside that, because a reply returns flags in the order in which they were asked for.

/// A set of flag letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FlagSet(u64);

impl FlagSet {
    /// The set of `letters`, each within `A` to `z`.
    pub const fn of(letters: &[u8]) -> Self {
        let mut set = 0;
        let mut index = 0;
        while index < letters.len() {
            set |= Self::bit(letters[index]);
            index += 1;
        }
        Self(set)
    }

    /// The one bit of a letter within `A` to `z`; there are 58 of them.
    const fn bit(letter: u8) -> u64 {
        1 << (letter - b'A')
    }

    /// Whether `letter` is in the set.
    #[inline]
    pub const fn has(self, letter: u8) -> bool {
        self.0 & Self::bit(letter) != 0
    }

    /// Whether one of the letters of `other` is in the set.
    #[inline]
    pub const fn has_any(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Adds `letter`; `false` if it was there.
    #[inline]
    pub const fn insert(&mut self, letter: u8) -> bool {
        let before = self.0;
        self.0 |= Self::bit(letter);
        self.0 != before
    }
}

/// The flags on a line in order, each as its word: the letter, then its argument.
#[derive(Debug, Clone, Copy)]
pub struct FlagWords<'b> {
    rest: &'b [u8],
}

impl<'b> FlagWords<'b> {
    /// The flags in `text`, which begins at the first of them or at a space before it.
    pub const fn new(text: &'b [u8]) -> Self {
        Self { rest: text }
    }
}

impl<'b> Iterator for FlagWords<'b> {
    type Item = &'b [u8];

    // Flags are a few bytes long: plain loops find their ends sooner than a vector search would.
    #[inline]
    fn next(&mut self) -> Option<&'b [u8]> {
        let start = self.rest.iter().position(|&byte| byte != b' ')?;
        let text = &self.rest[start..];
        let end = text.iter().position(|&byte| byte == b' ').unwrap_or(text.len());
        let (word, rest) = text.split_at(end);
        self.rest = rest;
        Some(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_letters() {
        let mut set = FlagSet::of(b"Az");
        assert!(set.has(b'A') && set.has(b'z') && !set.has(b'k'));
        assert!(set.insert(b'k') && !set.insert(b'k'));
        assert!(set.has_any(FlagSet::of(b"xk")) && !set.has_any(FlagSet::of(b"xy")));
    }

    #[test]
    fn words_are_what_spaces_leave() {
        let words: Vec<_> = FlagWords::new(b"  v Oabc  k ").collect();
        assert_eq!(words, [&b"v"[..], b"Oabc", b"k"]);
        assert_eq!(FlagWords::new(b"  ").next(), None);
    }
}
