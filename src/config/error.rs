//! Why Volt does not start: one error, printed once, with the exit code that memcached would have.
//!
//! A wrong flag is told in memcached's own words. A wrong setting names its key, its value, where it came from
//! and what would be right.

use std::fmt;
use std::path::PathBuf;

/// `EX_USAGE` of sysexits.h: the command line does not make sense.
pub(super) const EX_USAGE: u8 = 64;

/// `EX_CONFIG` of sysexits.h: a setting does not make sense.
const EX_CONFIG: u8 = 78;

/// What memcached exits with for most wrong flags.
pub(super) const FAILURE: u8 = 1;

/// Why the settings are not usable.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line is wrong.
    #[error("{message}")]
    Flag {
        /// memcached's words, or as near as they fit.
        message: String,
        /// Exit code.
        code: u8,
    },
    /// The settings file cannot be read.
    #[error("cannot read the settings file {}: {cause}", path.display())]
    Unreadable {
        /// The file that `--config` names.
        path: PathBuf,
        /// What the system says.
        cause: std::io::Error,
    },
    /// The settings file is no TOML.
    #[error("the settings file {} is not understood: {cause}", path.display())]
    Syntax {
        /// The file that `--config` names.
        path: PathBuf,
        /// What the parser says, with the line.
        cause: String,
    },
    /// No setting has this name.
    #[error("unknown setting {key} ({origin}){}", Hint(nearest.as_deref()))]
    UnknownKey {
        /// The name, dotted.
        key: String,
        /// Where it was found.
        origin: String,
        /// The setting that was probably meant.
        nearest: Option<String>,
    },
    /// A setting has a value that it cannot have.
    #[error("{key} = {value} ({origin}): {wrong}")]
    Value {
        /// The setting's name, dotted.
        key: String,
        /// Its value, as given.
        value: String,
        /// Where it was given.
        origin: String,
        /// What would be right.
        wrong: String,
    },
    /// The file with users and passwords cannot be used.
    #[error("{0}")]
    AuthFile(String),
}

impl Error {
    /// A wrong flag for which memcached exits with 1.
    pub(super) fn flag(message: impl Into<String>) -> Self {
        Self::Flag { message: message.into(), code: FAILURE }
    }

    /// A wrong flag for which memcached exits with `EX_USAGE`.
    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self::Flag { message: message.into(), code: EX_USAGE }
    }

    /// The exit code of the process.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Flag { code, .. } => *code,
            Self::AuthFile(_) => FAILURE,
            Self::Unreadable { .. }
            | Self::Syntax { .. }
            | Self::UnknownKey { .. }
            | Self::Value { .. } => EX_CONFIG,
        }
    }
}

/// The end of a sentence about an unknown name.
struct Hint<'a>(Option<&'a str>);

impl fmt::Display for Hint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(name) => write!(f, "; did you mean {name}?"),
            None => Ok(()),
        }
    }
}
