//! Any text as `volt.toml`, and any words as the command line: settings or an error that says what is wrong.
//!
//! The lines up to the first empty one are words of the command line, the rest is the file.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::LazyLock;
use tempfile::TempDir;
use volt::config::{self, Outcome};

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| TempDir::new().expect("a folder"));

fuzz_target!(|input: &str| {
    let (words, file) = input.split_once("\n\n").unwrap_or((input, ""));
    let mut line: Vec<OsString> = vec!["volt".into()];
    line.extend(words.lines().map(OsString::from));
    if !file.is_empty() {
        let path: PathBuf = FOLDER.path().join("volt.toml");
        std::fs::write(&path, file).expect("a file that can be written");
        line.extend(["--config".into(), path.into()]);
    }
    match config::load(line, []) {
        Ok(Outcome::Run(config)) => {
            assert!(config.engine.memory_limit > 0 && config.server.threads > 0);
            assert!(config.engine.item_size_max <= config.engine.memory_limit);
        }
        Ok(Outcome::Print(text)) => assert!(!text.is_empty()),
        Err(error) => assert!(!error.to_string().trim().is_empty(), "an error without a word"),
    }
});
