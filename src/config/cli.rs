//! The command line: memcached's flags, and the few that are Volt's own.
//!
//! [`FLAGS`] is the whole of it, one line a flag: most give a setting a value, some do nothing here and say so
//! in the log, and what would promise something that Volt does not do is refused. The words of `-o` are in
//! [`extended`](super::extended). Flags are read in order as memcached reads them, so `-h` after a wrong flag
//! is not reached. Checks of values that a file can also give are in [`assemble`](super::assemble).
//!
//! Numbers are read as `atoi` reads them, since `-m 64m` is in many a script: what follows the number is
//! ignored with a notice. What has no number at all is an error, where memcached makes a 0 of it.

use super::error::Error;
use super::extended;
use super::getopt::{Flag, Takes, Words};
use super::help;
use super::layers::Layers;
use crate::command;
use ::config::ValueKind;
use std::path::PathBuf;

/// What the command line says.
#[derive(Debug, Default)]
pub(super) struct CommandLine {
    /// Settings in the order given: key, value, and the words that gave it.
    pub(super) settings: Vec<(&'static str, ValueKind, String)>,
    /// What `stats settings` shows of flags that do nothing else.
    pub(super) shown: command::options::Options,
    /// What is worth a line in the log.
    pub(super) notices: Vec<String>,
    /// The settings file to read.
    pub(super) file: Option<PathBuf>,
    /// A text to print in place of serving.
    pub(super) print: Option<String>,
    /// How many `-v`.
    pub(super) verbosity: u32,
    /// `debugtime` and its like are answered; only tests ask for it.
    pub(super) debug_commands: bool,
    /// `-p` was given.
    tcp_given: bool,
    /// `-U` was given, and named a port.
    udp_port: Option<i64>,
    /// `-U` was given.
    udp_given: bool,
}

/// What a flag or a word of `-o` does.
pub(super) enum Meaning {
    /// Gives the setting its text.
    Text(&'static str),
    /// Gives the setting a truth.
    Switch(&'static str, bool),
    /// Gives the setting a number, times so many.
    Number(&'static str, i64),
    /// Does nothing here, for this reason.
    NoEffect(&'static str),
    /// Promises what Volt does not do: this error, with this exit code.
    Refused(&'static str, u8),
    /// Anything else; told how the flag was written, and its value.
    Call(fn(&mut CommandLine, &str, &str) -> Result<(), Error>),
}

use Meaning::{Call, NoEffect, Number, Refused, Switch, Text};
use Takes::{Maybe, Nothing, Value};

const fn flag(short: char, long: &'static str, takes: Takes, meaning: Meaning) -> Flag<Meaning> {
    Flag { short: Some(short), long: Some(long), takes, spelled_out: false, meaning }
}

const fn own(long: &'static str, meaning: Meaning) -> Flag<Meaning> {
    Flag { short: None, long: Some(long), takes: Value, spelled_out: true, meaning }
}

/// Why there are no slabs.
pub(super) const SLABS: &str = "items have no slab classes, only statistics sort them into some";

static FLAGS: &[Flag<Meaning>] = &[
    flag('h', "help", Nothing, Call(CommandLine::help)),
    flag('i', "license", Nothing, Call(CommandLine::license)),
    flag('V', "version", Nothing, Call(CommandLine::version)),
    flag('p', "port", Value, Call(CommandLine::port)),
    flag('U', "udp-port", Value, Call(CommandLine::udp_port)),
    flag('s', "unix-socket", Value, Text("server.unix_socket")),
    flag('a', "unix-mask", Value, Text("server.unix_mask")),
    flag('A', "enable-shutdown", Nothing, Switch("commands.shutdown", true)),
    flag('l', "listen", Value, Call(CommandLine::listen)),
    flag('d', "daemon", Nothing, Switch("process.daemon", true)),
    flag('r', "enable-coredumps", Nothing, Switch("process.core_dumps", true)),
    flag('u', "user", Value, Text("process.user")),
    flag('m', "memory-limit", Value, Number("memory.limit", 1 << 20)),
    flag('M', "disable-evictions", Nothing, Switch("memory.evictions", false)),
    flag('c', "conn-limit", Value, Number("server.conn_limit", 1)),
    flag('k', "lock-memory", Nothing, Switch("process.lock_memory", true)),
    flag('v', "verbose", Maybe, Call(CommandLine::verbose)),
    flag('P', "pidfile", Value, Text("process.pid_file")),
    flag('f', "slab-growth-factor", Value, Call(CommandLine::growth_factor)),
    flag('n', "slab-min-size", Value, Call(CommandLine::chunk_size)),
    flag('L', "enable-largepages", Nothing, NoEffect("large pages are asked for anyway")),
    Flag { long: None, ..flag('D', "", Value, Call(CommandLine::prefix_delimiter)) },
    flag('t', "threads", Value, Number("server.threads", 1)),
    flag('R', "max-reqs-per-event", Value, Number("server.max_reqs_per_event", 1)),
    flag('C', "disable-cas", Nothing, Switch("commands.cas", false)),
    flag('b', "listen-backlog", Value, Number("server.backlog", 1)),
    flag('B', "protocol", Value, Call(CommandLine::protocol)),
    flag('I', "max-item-size", Value, Call(CommandLine::item_size_max)),
    flag('S', "enable-sasl", Nothing, Refused("This server is not built with SASL support.", 64)),
    flag('F', "disable-flush-all", Nothing, Switch("commands.flush_all", false)),
    flag('X', "disable-dumping", Nothing, Switch("commands.dump", false)),
    flag('W', "disable-watch", Nothing, Switch("commands.watch", false)),
    flag('Y', "auth-file", Value, Text("server.auth_file")),
    flag('e', "memory-file", Value, Call(CommandLine::memory_file)),
    flag('Z', "enable-ssl", Nothing, Refused("This server is not built with TLS support.", 64)),
    flag('o', "extended", Value, Call(extended::read)),
    flag('N', "napi-ids", Value, Call(CommandLine::napi_ids)),
    own("config", Call(CommandLine::config)),
    own("data-dir", Text("persist.directory")),
    own("startup", Text("persist.startup")),
    own("policy", Text("memory.policy")),
    own("metrics-listen", Text("metrics.listen")),
];

impl CommandLine {
    /// Reads the command line `words`, of which the first is how the program was called.
    pub(super) fn read(words: impl IntoIterator<Item = String>) -> Result<Self, Error> {
        let mut words = words.into_iter();
        let program = words.next().unwrap_or_default();
        let mut line = Self::default();
        let mut words = Words::new(FLAGS, words);
        for given in words.by_ref() {
            let (written, flag, value) = given
                // The second line is what memcached adds to getopt's.
                .map_err(|wrong| {
                    Error::flag(format!("{program}: {wrong}\nIllegal argument \"?\""))
                })?;
            let value = value.unwrap_or_default();
            line.act(&flag.meaning, &written, value.trim_ascii_start())?;
            if line.print.is_some() {
                break;
            }
        }
        line.notices.extend(words.into_operands().iter().map(|word| {
            format!("\"{word}\" is no flag and is ignored; a settings file needs --config")
        }));
        line.move_tcp_with_udp();
        Ok(line)
    }

    /// Does what a flag means.
    pub(super) fn act(
        &mut self,
        meaning: &Meaning,
        written: &str,
        value: &str,
    ) -> Result<(), Error> {
        match *meaning {
            Text(key) => self.set(key, value, written, value),
            Switch(key, truth) => self.set(key, truth, written, ""),
            Number(key, scale) => {
                let number = self.number(written, value)?;
                // What counts units is a size, whose own complaint would speak of units that no flag takes.
                if number < 0 && scale > 1 {
                    return Err(negative(written, value));
                }
                let Some(scaled) = number.checked_mul(scale) else {
                    return Err(Error::flag(format!("{written} {value} is too large")));
                };
                self.set(key, scaled, written, &as_read(value, value));
            }
            NoEffect(why) => self.no_effect(written, why),
            Refused(why, code) => return Err(Error::Flag { message: why.to_owned(), code }),
            Call(function) => return function(self, written, value),
        }
        Ok(())
    }

    /// Lays the settings on top of the others.
    pub(super) fn add_to(&self, layers: &mut Layers) {
        for (key, value, written) in &self.settings {
            layers.add_flag(key, value.clone(), written);
        }
    }

    /// Whether a port was given with one of memcached's flags.
    pub(super) fn port_given(&self) -> bool {
        self.tcp_given || self.udp_given
    }

    /// Gives a setting; the flag was `written` with `text` after it.
    pub(super) fn set(
        &mut self,
        key: &'static str,
        value: impl Into<ValueKind>,
        written: &str,
        text: &str,
    ) {
        let gap = if written.ends_with('=') || text.is_empty() { "" } else { " " };
        let written = format!("{written}{gap}{text}");
        self.settings.push((key, value.into(), written));
    }

    /// Notes that a flag is taken and does nothing.
    pub(super) fn no_effect(&mut self, written: &str, why: &str) {
        self.notices.push(format!("{} has no effect: {why}", written.trim_end_matches('=')));
    }

    /// The number at the start of a value.
    pub(super) fn number(&mut self, written: &str, text: &str) -> Result<i64, Error> {
        let (number, rest) = leading_number(text)
            .ok_or_else(|| Error::flag(format!("{written} takes a number, not \"{text}\"")))?;
        if !rest.is_empty() {
            self.notices
                .push(format!("{written} {text} is read as {number}, as memcached reads it"));
        }
        Ok(number)
    }

    fn port(&mut self, written: &str, text: &str) -> Result<(), Error> {
        self.tcp_given = true;
        let port = self.number(written, text)?;
        self.set("server.port", port, written, &as_read(text, text));
        Ok(())
    }

    fn udp_port(&mut self, written: &str, text: &str) -> Result<(), Error> {
        let port = self.number(written, text)?;
        self.udp_given = true;
        self.udp_port = Some(port).filter(|port| *port != 0);
        self.set("server.udp_port", port, written, &as_read(text, text));
        Ok(())
    }

    /// With a UDP port alone, memcached takes the same number for TCP.
    fn move_tcp_with_udp(&mut self) {
        if let (Some(port), false) = (self.udp_port, self.tcp_given) {
            self.set("server.port", port, "-U", &port.to_string());
        }
    }

    /// Several `-l` add up; one that is there already adds nothing.
    fn listen(&mut self, written: &str, text: &str) -> Result<(), Error> {
        let before = self.settings.iter().rev().find(|(key, ..)| *key == "server.listen");
        let all = match before.map(|(_, before, _)| before.to_string()) {
            Some(before) if before.split([',', ';']).any(|part| part == text) => before,
            Some(before) => format!("{before},{text}"),
            None => text.to_owned(),
        };
        self.set("server.listen", all.clone(), written, &all);
        Ok(())
    }

    fn verbose(&mut self, _: &str, _: &str) -> Result<(), Error> {
        self.verbosity += 1;
        Ok(())
    }

    fn help(&mut self, _: &str, _: &str) -> Result<(), Error> {
        self.print = Some(help::usage());
        Ok(())
    }

    fn license(&mut self, _: &str, _: &str) -> Result<(), Error> {
        self.print = Some(help::license());
        Ok(())
    }

    fn version(&mut self, _: &str, _: &str) -> Result<(), Error> {
        self.print = Some(help::version());
        Ok(())
    }

    fn growth_factor(&mut self, written: &str, text: &str) -> Result<(), Error> {
        let factor = text.parse().unwrap_or(0.0);
        if factor <= 1.0 {
            return Err(Error::flag("Factor must be greater than 1"));
        }
        self.shown.growth_factor = factor;
        self.no_effect(written, SLABS);
        Ok(())
    }

    fn chunk_size(&mut self, written: &str, text: &str) -> Result<(), Error> {
        match u32::try_from(self.number(written, text)?) {
            Ok(size @ 1..) => self.shown.chunk_size_bytes = size,
            _ => return Err(Error::flag("Chunk size must be greater than 0")),
        }
        self.no_effect(written, SLABS);
        Ok(())
    }

    /// The delimiter's first byte counts, and asking for one turns the counting on.
    fn prefix_delimiter(&mut self, written: &str, text: &str) -> Result<(), Error> {
        let Some(first) = text.chars().next() else {
            return Err(Error::flag("No delimiter specified"));
        };
        self.set("commands.prefix_delimiter", first.to_string(), written, text);
        self.set("commands.stats_detail", true, written, text);
        Ok(())
    }

    fn protocol(&mut self, written: &str, text: &str) -> Result<(), Error> {
        match text {
            "auto" | "ascii" => {
                self.set("server.protocol", text, written, text);
                Ok(())
            }
            "binary" => Err(Error::usage(
                "This server does not speak the binary protocol.\n -- -B should be auto or ascii",
            )),
            _ => Err(Error::usage(format!(
                "Invalid value for binding protocol: {text}\n -- should be one of auto or ascii"
            ))),
        }
    }

    /// A number of bytes, or of KiB or MiB with `k` or `m` at the end.
    fn item_size_max(&mut self, written: &str, text: &str) -> Result<(), Error> {
        let (digits, scale) = match text.char_indices().next_back() {
            Some((at, 'k' | 'K')) => (&text[..at], 1 << 10),
            Some((at, 'm' | 'M')) => (&text[..at], 1 << 20),
            _ => (text, 1),
        };
        // Less than nothing is too little in memcached's own words.
        let number = self.number(written, digits)?.saturating_mul(scale).max(0);
        self.set("memory.item_size_max", number, written, &as_read(text, digits));
        Ok(())
    }

    fn napi_ids(&mut self, written: &str, text: &str) -> Result<(), Error> {
        if self.number(written, text)? <= 0 {
            return Err(Error::flag("Maximum number of NAPI IDs must be greater than 0"));
        }
        self.no_effect(written, "connections go to the workers in turn");
        Ok(())
    }

    /// A memory file is to have the contents survive a restart; what does that here is a directory.
    fn memory_file(&mut self, written: &str, text: &str) -> Result<(), Error> {
        if text.is_empty() {
            return Err(Error::flag("-e requires a file name"));
        }
        let directory = format!("{text}.volt");
        self.notices
            .push(format!("{written} {text}: contents are kept in the directory {directory}"));
        self.set("persist.directory", directory, written, text);
        Ok(())
    }

    fn config(&mut self, _: &str, text: &str) -> Result<(), Error> {
        self.file = Some(PathBuf::from(text));
        Ok(())
    }
}

/// A number that had better not be negative.
pub(super) fn negative(written: &str, text: &str) -> Error {
    let written = written.trim_end_matches('=');
    Error::flag(format!("{written} takes no negative number ({text})"))
}

/// A flag's text for messages: where more than a number was given in place of `number`, with what was made of it.
fn as_read(text: &str, number: &str) -> String {
    match leading_number(number) {
        Some((read, rest)) if !rest.is_empty() => format!("{text}, read as {read}"),
        _ => text.to_owned(),
    }
}

/// The number that a text begins with, as `atoi` sees it, and the rest.
pub(super) fn leading_number(text: &str) -> Option<(i64, &str)> {
    let sign = usize::from(text.starts_with(['-', '+']));
    let digits = text[sign..].find(|c: char| !c.is_ascii_digit()).map_or(text.len(), |n| sign + n);
    Some((text[..digits].parse().ok()?, &text[digits..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_and_word_sets_a_setting_that_there_is() {
        let layers = Layers::defaults();
        let flags = FLAGS.iter().map(|flag| &flag.meaning);
        for meaning in flags.chain(extended::meanings()) {
            if let Text(key) | Switch(key, _) | Number(key, _) = meaning {
                assert!(layers.has(key), "{key}");
            }
        }
    }

    #[test]
    fn numbers_end_where_atoi_ends_them() {
        for (text, expected) in [
            ("12", Some((12, ""))),
            ("-1", Some((-1, ""))),
            ("+7x", Some((7, "x"))),
            ("64mb", Some((64, "mb"))),
            ("", None),
            ("x", None),
            ("-", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(leading_number(text), expected, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_words_are_too_strange(words in proptest::collection::vec("-{0,2}[a-zA-Z]?[-a-z0-9=,.:é ]{0,8}", 0..6)) {
            let _ = CommandLine::read(words);
        }
    }
}
