//! A command line as words separated by spaces.
//!
//! Nothing is stored: words are found when they are asked for, so a `Tokens` is as cheap as a slice. Only the
//! space separates words (a tab belongs to its word), runs of spaces count as one, and spaces at the end do not
//! make an empty word.

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
    pub const fn iter(&self) -> Words<'b> {
        Words { rest: self.line }
    }

    /// The word at `index`; 0 is the command.
    pub fn get(&self, index: usize) -> Option<&'b [u8]> {
        self.iter().nth(index)
    }

    /// How many words there are, the command included.
    pub fn count(&self) -> usize {
        self.iter().count()
    }

    /// Whether the last word is `noreply`.
    pub fn noreply(&self) -> bool {
        self.iter().last() == Some(b"noreply")
    }
}

impl<'b> IntoIterator for Tokens<'b> {
    type Item = &'b [u8];
    type IntoIter = Words<'b>;

    fn into_iter(self) -> Words<'b> {
        self.iter()
    }
}

/// The words of a line that are still to come.
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
        let start = self.rest.iter().position(|&byte| byte != b' ')?;
        let text = &self.rest[start..];
        let end = memchr::memchr(b' ', text).unwrap_or(text.len());
        let (word, rest) = text.split_at(end);
        self.rest = rest;
        Some(word)
    }
}
