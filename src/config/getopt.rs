//! The words of a command line, cut as the C library's `getopt_long` and `getsubopt` cut them.
//!
//! Whoever replaces memcached keeps its unit files and scripts, so the details count: clustered letters
//! (`-vvd`), values in place or in the next word (`-m64`, `-m 64`; `-m=64` is the value `=64`), long names cut
//! short as long as one option is meant, operands skipped wherever they stand, and the messages. What the
//! options mean is none of this file's business.

/// Whether an option is followed by a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    /// Stands alone.
    Nothing,
    /// Has a value, in the same word or the next.
    Value,
    /// May have a value, only after `--long=`.
    Maybe,
}

/// One option: how it is written, and what its owner makes of it.
pub(super) struct Flag<M> {
    /// Its letter, if it has one.
    pub(super) short: Option<char>,
    /// Its long name without the dashes, if it has one.
    pub(super) long: Option<&'static str>,
    /// Whether a value follows.
    pub(super) takes: Takes,
    /// Whether the long name must be written out. Volt's own must, so that none of them makes a shortened name of
    /// memcached's ambiguous.
    pub(super) spelled_out: bool,
    /// The owner's.
    pub(super) meaning: M,
}

/// An option as it was given: the user's spelling of it, which one it is, and its value.
pub(super) type Given<'t, M> = (String, &'t Flag<M>, Option<String>);

/// Cuts `words` (without the program's name) by `table`, one option at a time.
pub(super) struct Words<'t, M, I> {
    table: &'t [Flag<M>],
    words: I,
    /// Letters left of a cluster such as `-vvd`.
    cluster: String,
    /// What is neither an option nor a value.
    operands: Vec<String>,
    ended: bool,
}

impl<'t, M, I: Iterator<Item = String>> Words<'t, M, I> {
    pub(super) fn new(table: &'t [Flag<M>], words: I) -> Self {
        Self { table, words, cluster: String::new(), operands: Vec::new(), ended: false }
    }

    /// The operands that were skipped so far.
    pub(super) fn into_operands(self) -> Vec<String> {
        self.operands
    }

    /// The next letter of the cluster, with its value if it takes one.
    fn letter(&mut self) -> Result<Given<'t, M>, String> {
        let letter = self.cluster.remove(0);
        let option = self
            .table
            .iter()
            .find(|option| option.short == Some(letter))
            .ok_or_else(|| format!("invalid option -- '{letter}'"))?;
        let value = match option.takes {
            Takes::Nothing | Takes::Maybe => None,
            Takes::Value if self.cluster.is_empty() => Some(
                self.words
                    .next()
                    .ok_or_else(|| format!("option requires an argument -- '{letter}'"))?,
            ),
            Takes::Value => Some(std::mem::take(&mut self.cluster)),
        };
        Ok((format!("-{letter}"), option, value))
    }

    /// A long option; `word` is what follows the two dashes.
    fn long(&mut self, word: &str) -> Result<Given<'t, M>, String> {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (word, None),
        };
        let (long, option) = self.named(name, word)?;
        let value = match (option.takes, value) {
            (Takes::Nothing, Some(_)) => {
                return Err(format!("option '--{long}' doesn't allow an argument"));
            }
            (Takes::Value, None) => Some(
                self.words
                    .next()
                    .ok_or_else(|| format!("option '--{long}' requires an argument"))?,
            ),
            (_, value) => value,
        };
        Ok((format!("--{long}"), option, value))
    }

    /// The option that `name` means: all of its name, or as much of it as no other option shares.
    fn named(&self, name: &str, word: &str) -> Result<(&'static str, &'t Flag<M>), String> {
        let mut candidates = Vec::new();
        for option in self.table {
            let Some(long) = option.long else { continue };
            if long == name {
                return Ok((long, option));
            }
            if !option.spelled_out && long.starts_with(name) {
                candidates.push((long, option));
            }
        }
        match candidates.as_slice() {
            [] => Err(format!("unrecognized option '--{word}'")),
            [only] => Ok(*only),
            several => {
                let names: String =
                    several.iter().map(|(long, _)| format!(" '--{long}'")).collect();
                Err(format!("option '--{word}' is ambiguous; possibilities:{names}"))
            }
        }
    }
}

impl<'t, M, I: Iterator<Item = String>> Iterator for Words<'t, M, I> {
    type Item = Result<Given<'t, M>, String>;

    fn next(&mut self) -> Option<Self::Item> {
        if !self.cluster.is_empty() {
            return Some(self.letter());
        }
        while !self.ended {
            let word = self.words.next()?;
            if word == "--" {
                self.ended = true;
                self.operands.extend(self.words.by_ref());
            } else if let Some(long) = word.strip_prefix("--") {
                return Some(self.long(long));
            } else if let Some(letters) = word.strip_prefix('-').filter(|rest| !rest.is_empty()) {
                letters.clone_into(&mut self.cluster);
                return Some(self.letter());
            } else {
                // memcached takes no operands and ignores them.
                self.operands.push(word);
            }
        }
        None
    }
}

/// Cuts one `-o` list into words with their values, as `getsubopt` does: `a,b=1,c`.
pub(super) fn suboptions(list: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    // A comma at the very end ends the list; anywhere else, nothing between commas is a word of its own.
    let list = list.strip_suffix(',').unwrap_or(list);
    list.split(',').filter(move |_| !list.is_empty()).map(|word| match word.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (word, None),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn flag(short: char, long: &'static str, takes: Takes) -> Flag<char> {
        Flag { short: Some(short), long: Some(long), takes, spelled_out: false, meaning: short }
    }

    const TABLE: [Flag<char>; 6] = [
        flag('p', "port", Takes::Value),
        flag('P', "pidfile", Takes::Value),
        flag('l', "listen", Takes::Value),
        flag('b', "listen-backlog", Takes::Value),
        flag('v', "verbose", Takes::Maybe),
        Flag { spelled_out: true, ..flag('y', "policy", Takes::Value) },
    ];

    fn cut(line: &str) -> Result<Vec<(char, Option<String>)>, String> {
        let words = line.split(' ').filter(|word| !word.is_empty()).map(str::to_owned);
        Words::new(&TABLE, words)
            .map(|given| given.map(|(_, flag, value)| (flag.meaning, value)))
            .collect()
    }

    fn with(letter: char, value: &str) -> (char, Option<String>) {
        (letter, Some(value.to_owned()))
    }

    #[test]
    fn values_stand_in_the_word_or_after_it() {
        assert_eq!(
            cut("-p1 -p 2 --port=3 --port 4").unwrap(),
            [with('p', "1"), with('p', "2"), with('p', "3"), with('p', "4")]
        );
        assert_eq!(cut("-p -1 -vp=5").unwrap(), [with('p', "-1"), ('v', None), with('p', "=5")]);
        assert_eq!(
            cut("--port= --verbose=3 --verbose x").unwrap(),
            [with('p', ""), with('v', "3"), ('v', None)]
        );
    }

    #[test]
    fn operands_are_skipped_and_two_dashes_end_the_options() {
        assert_eq!(cut("a -v - b -v -- -v").unwrap(), [('v', None), ('v', None)]);
    }

    #[test]
    fn long_names_may_be_cut_short_while_they_mean_one_option() {
        assert_eq!(
            cut("--po 1 --verb --listen x --listen-b 2").unwrap(),
            [with('p', "1"), ('v', None), with('l', "x"), with('b', "2")]
        );
        assert_eq!(
            cut("--li=x").unwrap_err(),
            "option '--li=x' is ambiguous; possibilities: '--listen' '--listen-backlog'"
        );
    }

    #[test]
    fn mistakes_are_told_in_the_words_of_the_c_library() {
        assert_eq!(cut("-vq").unwrap_err(), "invalid option -- 'q'");
        assert_eq!(cut("-p").unwrap_err(), "option requires an argument -- 'p'");
        assert_eq!(cut("--port").unwrap_err(), "option '--port' requires an argument");
        assert_eq!(cut("--nope=1").unwrap_err(), "unrecognized option '--nope=1'");
    }

    #[test]
    fn lists_of_suboptions() {
        let cut = |list| suboptions(list).collect::<Vec<_>>();
        assert_eq!(
            cut("a,b=1,c=x=y,d="),
            [("a", None), ("b", Some("1")), ("c", Some("x=y")), ("d", Some(""))]
        );
        assert_eq!(cut(""), []);
        assert_eq!(cut("a,"), [("a", None)]);
        assert_eq!(cut("a,,b"), [("a", None), ("", None), ("b", None)]);
    }
}
