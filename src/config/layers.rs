//! Settings in layers: default, file, environment, command line; the last one that speaks is heard.
//!
//! Every value keeps where it came from, so that what is wrong with it can be said where it was written. A key
//! that no setting has is an error in every layer: a misspelt setting must not be a silent default.

use super::error::{EX_USAGE, Error};
use super::settings::Settings;
use ::config::{ConfigError, Environment, File, FileFormat, Map, Source, Value, ValueKind};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};

/// What the names of environment variables begin with that are settings.
const PREFIX: &str = "VOLT";

/// Between the parts of such a name, since keys have single underscores of their own.
const SEPARATOR: &str = "__";

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    /// Nobody gave it.
    Default,
    /// This settings file.
    File(PathBuf),
    /// This environment variable.
    Environment(String),
    /// This part of the command line, as it was written.
    Flag(String),
}

/// Whether an environment variable of this name is meant for Volt.
pub(super) fn is_setting(variable: &OsStr) -> bool {
    let rest = variable.as_encoded_bytes().strip_prefix(PREFIX.as_bytes());
    rest.is_some_and(|rest| rest.starts_with(SEPARATOR.as_bytes()))
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => path.display().fmt(f),
            Self::Environment(name) => write!(f, "{name} in the environment"),
            Self::Flag(words) => f.write_str(words),
        }
    }
}

/// The value of every setting, by its dotted key, and its origin.
pub(super) struct Layers {
    values: BTreeMap<String, (ValueKind, Origin)>,
}

impl Layers {
    /// The lowest layer; it has every key there is.
    pub(super) fn defaults() -> Self {
        let defaults = ::config::Config::try_from(&Settings::default())
            .and_then(|defaults| defaults.collect())
            .expect("the defaults are plain values");
        let mut values = BTreeMap::new();
        flatten("", defaults, &mut |key, kind| {
            values.insert(key, (kind, Origin::Default));
        });
        Self { values }
    }

    /// Adds the file at `path`.
    pub(super) fn add_file(&mut self, path: &Path) -> Result<(), Error> {
        let text = std::fs::read_to_string(path)
            .map_err(|cause| Error::Unreadable { path: path.to_owned(), cause })?;
        let tables = File::from_str(&text, FileFormat::Toml).collect().map_err(|error| {
            let cause = match error {
                ConfigError::FileParse { cause, .. } => cause.to_string(),
                other => other.to_string(),
            };
            Error::Syntax { path: path.to_owned(), cause: cause.trim_end().to_owned() }
        })?;
        self.add(tables, |_| Origin::File(path.to_owned()))
    }

    /// Adds the variables that begin with `VOLT__`.
    pub(super) fn add_environment(&mut self, variables: Map<String, String>) -> Result<(), Error> {
        let tables = Environment::with_prefix(PREFIX)
            .prefix_separator(SEPARATOR)
            .separator(SEPARATOR)
            .source(Some(variables))
            .collect()
            .expect("texts are not parsed here");
        self.add(tables, |key| {
            let name = key.replace('.', SEPARATOR).to_uppercase();
            Origin::Environment(format!("{PREFIX}{SEPARATOR}{name}"))
        })
    }

    /// Gives one setting, by the command line as it was `written`.
    pub(super) fn add_flag(&mut self, key: &str, kind: ValueKind, written: &str) {
        debug_assert!(self.has(key), "{key} is no setting");
        self.values.insert(key.to_owned(), (kind, Origin::Flag(written.to_owned())));
    }

    /// Whether there is a setting of this name.
    pub(super) fn has(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }

    /// Where the setting `key` was given.
    pub(super) fn origin(&self, key: &str) -> &Origin {
        self.values.get(key).map_or(&Origin::Default, |(_, origin)| origin)
    }

    /// Puts the layers on each other.
    pub(super) fn settings(&self) -> Result<Settings, Error> {
        let mut builder = ::config::Config::builder();
        for (key, (kind, _)) in &self.values {
            let value = Value::new(None, kind.clone());
            builder = builder.set_override(key, value).expect("keys are plain paths");
        }
        let merged = builder.build().expect("values in memory cannot fail to load");
        merged.try_deserialize().map_err(|error| {
            let key = key_of(&error).unwrap_or_default();
            self.error(&key, EX_USAGE, reason(&error))
        })
    }

    /// The error for the value of `key`: a flag ends with memcached's exit `code` and in its words, with what was
    /// written; any other origin is named.
    pub(super) fn error(&self, key: &str, code: u8, wrong: impl Into<String>) -> Error {
        let wrong = wrong.into();
        match self.values.get(key) {
            Some((_, Origin::Flag(written))) => {
                Error::Flag { message: format!("{wrong} ({written})"), code }
            }
            Some((kind, origin)) => Error::Value {
                key: key.to_owned(),
                value: shown(kind),
                origin: origin.to_string(),
                wrong,
            },
            None => Error::usage(wrong),
        }
    }

    /// A setting as messages about several of them show it.
    pub(super) fn describe(&self, key: &str) -> String {
        match self.values.get(key) {
            Some((_, Origin::Flag(written))) => written.clone(),
            Some((kind, origin)) => format!("{key} = {} ({origin})", shown(kind)),
            None => key.to_owned(),
        }
    }

    /// Adds a layer, if all of its keys are known and its values of the right kind.
    fn add(
        &mut self,
        tables: Map<String, Value>,
        origin: impl Fn(&str) -> Origin,
    ) -> Result<(), Error> {
        let mut given = Vec::new();
        flatten("", tables, &mut |key, kind| given.push((key, kind)));
        for (key, kind) in given {
            let origin = origin(&key);
            let Some(slot) = self.values.get_mut(&key) else {
                let nearest = self.nearest(&key);
                return Err(Error::UnknownKey { key, origin: origin.to_string(), nearest });
            };
            let wrong = mismatch(&slot.0, &kind);
            *slot = (kind, origin);
            if let Some(wrong) = wrong {
                return Err(self.error(&key, EX_USAGE, wrong));
            }
        }
        Ok(())
    }

    /// The key that is most like `key`, if one is like it at all.
    fn nearest(&self, key: &str) -> Option<String> {
        let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
        let wanted = last(key);
        let candidates = self.values.keys().map(|known| (distance(&wanted, &last(known)), known));
        let (distance, nearest) = candidates.min()?;
        (distance <= 2).then(|| nearest.clone())
    }
}

/// Calls `visit` with every value that is no table, under its dotted key.
fn flatten(prefix: &str, tables: Map<String, Value>, visit: &mut dyn FnMut(String, ValueKind)) {
    for (name, value) in tables {
        let key = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
        match value.kind {
            ValueKind::Table(table) => flatten(&key, table, visit),
            kind => visit(key, kind),
        }
    }
}

/// What would have been right, if `given` is not the kind of value that the setting has. The decoder would
/// take a number for a truth and round fractions; a setting should say what it means.
fn mismatch(default: &ValueKind, given: &ValueKind) -> Option<&'static str> {
    let fits = match (default, given) {
        (ValueKind::Boolean(_), ValueKind::String(text)) => text.parse::<bool>().is_ok(),
        (ValueKind::Boolean(_), given) => matches!(given, ValueKind::Boolean(_)),
        (ValueKind::String(_), given) => !matches!(given, ValueKind::Array(_) | ValueKind::Nil),
        (_, ValueKind::String(text)) => text.parse::<i64>().is_ok(),
        (_, given) => matches!(given, ValueKind::I64(_)),
    };
    let expected = match default {
        ValueKind::Boolean(_) => "expected true or false",
        ValueKind::String(_) => "expected a text",
        _ => "expected a whole number",
    };
    (!fits).then_some(expected)
}

impl fmt::Display for Layers {
    /// All settings on one line: `memory.limit = 67108864, ...`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (key, (kind, _))) in self.values.iter().enumerate() {
            let gap = if number == 0 { "" } else { ", " };
            write!(f, "{gap}{key} = {}", shown(kind))?;
        }
        Ok(())
    }
}

/// A value as it would be written in the file.
fn shown(kind: &ValueKind) -> String {
    match kind {
        ValueKind::String(text) => format!("{text:?}"),
        ValueKind::Array(_) => "[...]".to_owned(),
        other => other.to_string(),
    }
}

/// The key that the decoder stopped at.
fn key_of(error: &ConfigError) -> Option<String> {
    match error {
        ConfigError::Type { key, .. } => key.clone(),
        ConfigError::At { key, error, .. } => key.clone().or_else(|| key_of(error)),
        _ => None,
    }
}

/// What would have been right, without the key and origin that the decoder adds.
fn reason(error: &ConfigError) -> String {
    match error {
        ConfigError::Type { expected, .. } => format!("expected {expected}"),
        ConfigError::At { error, .. } => reason(error),
        other => {
            let text = other.to_string();
            text.find("expected ").map_or(text.clone(), |at| text[at..].to_owned())
        }
    }
}

/// Edits (a letter more, less or another) from one name to the other.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Result<Settings, String> {
        let variables =
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut layers = Layers::defaults();
        layers.add_environment(variables).map_err(|error| error.to_string())?;
        layers.settings().map_err(|error| error.to_string())
    }

    fn file(text: &str) -> Result<Settings, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("volt.toml");
        std::fs::write(&path, text).unwrap();
        let mut layers = Layers::defaults();
        let added = layers.add_file(&path);
        let shorten = |error: Error| error.to_string().replace(path.to_str().unwrap(), "FILE");
        added.map_err(shorten)?;
        layers.settings().map_err(shorten)
    }

    #[test]
    fn nothing_given_is_the_defaults() {
        assert_eq!(Layers::defaults().settings().unwrap(), Settings::default());
    }

    #[test]
    fn the_file_in_the_tree_is_the_defaults_and_names_every_key() {
        let text = include_str!("../../config/volt.toml");
        let mut keys_in_file = Vec::new();
        let tables = File::from_str(text, FileFormat::Toml).collect().unwrap();
        flatten("", tables, &mut |key, _| keys_in_file.push(key));
        keys_in_file.sort();
        let keys: Vec<String> = Layers::defaults().values.into_keys().collect();
        assert_eq!(keys_in_file, keys, "the file names every key, and no other");
        assert_eq!(file(text), Ok(Settings::default()));
    }

    #[test]
    fn the_environment_is_read_by_section_and_key() {
        let settings = environment(&[
            ("VOLT__MEMORY__LIMIT", "1GiB"),
            ("VOLT__MEMORY__EVICTIONS", "false"),
            ("VOLT__SERVER__PORT", "-1"),
            ("VOLT__SERVER__AUTH_FILE", "007"),
            ("VOLT_OTHER", "not ours"),
            ("HOME", "/"),
        ]);
        let settings = settings.unwrap();
        assert_eq!(settings.memory.limit.0, 1 << 30);
        assert!(!settings.memory.evictions);
        assert_eq!(settings.server.port, -1);
        assert_eq!(settings.server.auth_file, "007");
    }

    #[test]
    fn a_later_layer_wins_and_leaves_the_rest() {
        let mut layers = Layers::defaults();
        let variable = ("VOLT__SERVER__THREADS".to_owned(), "2".to_owned());
        layers.add_environment(Map::from([variable])).unwrap();
        layers.add_flag("server.backlog", ValueKind::I64(7), "-b 7");
        assert_eq!(layers.settings().unwrap().server.threads, 2);
        layers.add_flag("server.threads", ValueKind::I64(3), "-t 3");
        let settings = layers.settings().unwrap();
        assert_eq!((settings.server.threads, settings.server.backlog), (3, 7));
        assert_eq!(*layers.origin("server.threads"), Origin::Flag("-t 3".to_owned()));
        assert_eq!(*layers.origin("server.port"), Origin::Default);
    }

    #[test]
    fn a_wrong_value_in_the_file_is_told_with_what_would_be_right() {
        let size = "expected a size such as 1024, 512KiB, 64MiB or 2GiB";
        let span = "expected a duration such as 10s, 5m, 2h or 1d";
        for (key, value, expected) in [
            ("server.threads", "4.5", "expected a whole number"),
            ("server.threads", "true", "expected a whole number"),
            ("server.threads", "\"four\"", "expected a whole number"),
            ("memory.evictions", "3", "expected true or false"),
            ("memory.evictions", "\"nope\"", "expected true or false"),
            ("memory.limit", "\"3 MB\"", size),
            ("memory.limit", "true", size),
            ("memory.limit", "-3", size),
            ("memory.limit", "3.5", size),
            ("server.idle_timeout", "3", span),
            ("server.auth_file", "[...]", "expected a text"),
        ] {
            let text = format!("{key} = {}", value.replace("...", ""));
            assert_eq!(file(&text), Err(format!("{key} = {value} (FILE): {expected}")));
        }
    }

    #[test]
    fn a_wrong_value_in_the_environment_names_the_variable() {
        let expected = "server.threads = \"\" (VOLT__SERVER__THREADS in the environment): \
                        expected a whole number";
        assert_eq!(environment(&[("VOLT__SERVER__THREADS", "")]), Err(expected.to_owned()));
    }

    #[test]
    fn an_unknown_key_is_an_error_with_the_nearest_name() {
        let nearest =
            "unknown setting server.idle_timout (FILE); did you mean server.idle_timeout?";
        assert_eq!(file("server.idle_timout = 3"), Err(nearest.to_owned()));
        assert_eq!(file("memory = 3"), Err("unknown setting memory (FILE)".to_owned()));
        assert_eq!(
            environment(&[("VOLT__THREADS", "2")]),
            Err("unknown setting threads (VOLT__THREADS in the environment); \
                 did you mean server.threads?"
                .to_owned())
        );
    }

    #[test]
    fn a_file_that_is_no_toml_or_not_there_is_an_error() {
        let error = file("[server]\nthreads 4").unwrap_err();
        assert!(error.starts_with("the settings file FILE is not understood"), "{error}");
        assert!(error.contains("line 2"), "{error}");
        let error = Layers::defaults().add_file(Path::new("/nowhere/volt.toml")).unwrap_err();
        assert!(error.to_string().starts_with("cannot read the settings file /nowhere/volt.toml"));
    }
}
