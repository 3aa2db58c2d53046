//! The log: one line an event on standard error, as loud as `-v` says.
//!
//! memcached is silent by default, tells errors with `-v`, commands and replies with `-vv` and state changes
//! with `-vvv`. Volt's events carry levels; [`Level::of_verbosity`] is where the two meet. What the server has to
//! say at start and stop is shown by default, since somebody who sees it needs it. The level can be changed
//! while serving (`verbosity`, an admin command).

use tracing::level_filters::LevelFilter;
use tracing_subscriber::Registry;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

/// What of the log is shown; ordered by loudness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Level {
    /// What keeps Volt from doing its work.
    Error,
    /// And what its owner should look at.
    Warn,
    /// And starting, listening and stopping.
    #[default]
    Info,
    /// And connections coming and going (`-v`).
    Debug,
    /// And everything else (`-vv`, `-vvv`).
    Trace,
}

impl Level {
    /// Every level by its name in the settings.
    pub(super) const NAMES: [(&'static str, Self); 5] = [
        ("error", Self::Error),
        ("warn", Self::Warn),
        ("info", Self::Info),
        ("debug", Self::Debug),
        ("trace", Self::Trace),
    ];

    fn filter(self) -> LevelFilter {
        match self {
            Self::Error => LevelFilter::ERROR,
            Self::Warn => LevelFilter::WARN,
            Self::Info => LevelFilter::INFO,
            Self::Debug => LevelFilter::DEBUG,
            Self::Trace => LevelFilter::TRACE,
        }
    }

    /// The level for so many `-v`; `quiet` is the level for none.
    #[must_use]
    pub fn of_verbosity(verbosity: u32, quiet: Self) -> Self {
        match verbosity {
            0 => quiet,
            1 => quiet.max(Self::Debug),
            _ => Self::Trace,
        }
    }
}

/// How a line of the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// For people: time, level, message, fields.
    #[default]
    Text,
    /// For machines: an object a line, with `timestamp`, `level` and `fields`.
    Json,
}

impl Format {
    /// Every format by its name in the settings.
    pub(super) const NAMES: [(&'static str, Self); 2] =
        [("text", Self::Text), ("json", Self::Json)];
}

/// Changes the level of the log that [`init`] installed.
#[derive(Debug, Clone)]
pub struct Verbosity {
    quiet: Level,
    filter: reload::Handle<LevelFilter, Registry>,
}

impl Verbosity {
    /// Shows what so many `-v` would show.
    pub fn set(&self, verbosity: u32) {
        // The only error is that the log is gone, and then there is nobody to tell.
        let _ = self.filter.reload(Level::of_verbosity(verbosity, self.quiet).filter());
    }
}

/// Installs the log for the whole process: `quiet` is what is shown without any `-v`. Does nothing if some
/// log is installed already (a program that embeds Volt has its own).
pub fn init(quiet: Level, format: Format, verbosity: u32) -> Verbosity {
    let (filter, handle) = reload::Layer::new(Level::of_verbosity(verbosity, quiet).filter());
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    let registry = tracing_subscriber::registry().with(filter);
    let _ = match format {
        Format::Text => registry.with(lines).try_init(),
        Format::Json => registry.with(lines.json()).try_init(),
    };
    Verbosity { quiet, filter: handle }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_v_makes_the_log_louder_and_none_keeps_it() {
        assert_eq!(Level::of_verbosity(0, Level::Warn), Level::Warn);
        assert_eq!(Level::of_verbosity(1, Level::Warn), Level::Debug);
        assert_eq!(Level::of_verbosity(1, Level::Trace), Level::Trace);
        assert_eq!(Level::of_verbosity(2, Level::Error), Level::Trace);
        assert_eq!(Level::of_verbosity(7, Level::Info), Level::Trace);
    }
}
