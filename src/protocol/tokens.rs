//! A command line as words separated by spaces.
//!
//! Nothing is stored: words are found when they are asked for, so a [`Tokens`] is as cheap as a slice. Only the
//! space separates words (a tab belongs to its word), runs of spaces count as one, and spaces at the end do not
//! make an empty word. As in memcached, a line has at most [`TOKENS_MAX`] words: more are not looked at, not
//! even for a `noreply`. The keys of a multi-get have no such bound; they are [`Words`].

/// How many words of a line are looked at.
pub const TOKENS_MAX: usize = 23;

/// A command line without its end of line. The first word is the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tokens<'b> {
    line: &'b [u8],
}

impl<'b> Tokens<'b> {
    /// The words of `line`, which has no end of line.
    pub const fn new(line: &'b [u8]) -> Self {
        Self { line }
    }

    /// The whole line.
    pub const fn line(&self) -> &'b [u8] {
        self.line
    }

    /// The words in order, the command first.
    pub fn iter(&self) -> std::iter::Take<Words<'b>> {
        Words::new(self.line).take(TOKENS_MAX)
    }

    /// The word at `index`; 0 is the command.
    pub fn get(&self, index: usize) -> Option<&'b [u8]> {
        self.iter().nth(index)
    }

    /// How many words there are, the command included.
    pub fn count(&self) -> usize {
        self.iter().count()
    }

    /// The last word.
    pub fn last(&self) -> Option<&'b [u8]> {
        self.iter().last()
    }

    /// Whether the last word is `noreply`.
    pub fn noreply(&self) -> bool {
        self.last() == Some(b"noreply")
    }
}

impl<'b> IntoIterator for Tokens<'b> {
    type Item = &'b [u8];
    type IntoIter = std::iter::Take<Words<'b>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// The words of a text, however many, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Words<'b> {
    rest: &'b [u8],
}

impl<'b> Words<'b> {
    /// The words of `text`.
    pub const fn new(text: &'b [u8]) -> Self {
        Self { rest: text }
    }

    /// What has not been looked at yet.
    pub const fn rest(&self) -> &'b [u8] {
        self.rest
    }
}

impl<'b> Iterator for Words<'b> {
    type Item = &'b [u8];

    #[inline]
    fn next(&mut self) -> Option<&'b [u8]> {
        // Nearly always there is one space, or none before the first word.
        let text = match self.rest {
            [b' ', text @ ..] => text,
            text => text,
        };
        let text = match text.first()? {
            b' ' => &text[text.iter().position(|&byte| byte != b' ')?..],
            _ => text,
        };
        let (word, rest) = text.split_at(find_space(text));
        self.rest = rest;
        Some(word)
    }
}

/// Where the first space of `text` is, or its length. Words are short: eight bytes at a time in a register beat a
/// call of memchr.
#[inline]
pub(super) fn find_space(text: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    const SPACES: u64 = u64::from_ne_bytes([b' '; 8]);
    let mut at = 0;
    while let Some(chunk) = text[at..].first_chunk::<8>() {
        // A zero byte is where a space was. The lowest set bit is exact; higher ones may be carries.
        let zeros = u64::from_le_bytes(*chunk) ^ SPACES;
        let found = zeros.wrapping_sub(ONES) & !zeros & HIGH;
        if found != 0 {
            return at + (found.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let tail = &text[at..];
    at + tail.iter().position(|&byte| byte == b' ').unwrap_or(tail.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_separated_by_runs_of_spaces() {
        let tokens = Tokens::new(b"  get   a b\tc  ");
        let words: Vec<_> = tokens.iter().collect();
        assert_eq!(words, [&b"get"[..], b"a", b"b\tc"]);
        assert_eq!(tokens.get(1), Some(&b"a"[..]));
        assert_eq!(tokens.get(3), None);
        assert_eq!(Tokens::new(b"   ").count(), 0);
    }

    #[test]
    fn only_the_first_words_count() {
        let line = [b"x".to_vec(), b" a".repeat(TOKENS_MAX - 2), b" noreply".to_vec()].concat();
        assert!(Tokens::new(&line).noreply());
        let line = [b"x".to_vec(), b" a".repeat(TOKENS_MAX - 1), b" noreply".to_vec()].concat();
        assert!(!Tokens::new(&line).noreply());
        assert_eq!(Tokens::new(&line).count(), TOKENS_MAX);
    }

    #[test]
    fn a_space_is_found_wherever_it_is() {
        for len in 0..40 {
            // Neighbours of the space that differ from it in one bit would trip a careless trick.
            let mut text: Vec<u8> = (0..len).map(|i| [b'!', 0xa0, 0x21, 0x1f][i % 4]).collect();
            assert_eq!(find_space(&text), len);
            for at in (0..len).rev() {
                text[at] = b' ';
                assert_eq!(find_space(&text), at, "length {len}");
            }
        }
    }
}
