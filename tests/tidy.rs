//! Tidy: the tree is as `src/lib.rs` says, and as this house writes.
//!
//! What the compiler and clippy do not see: which module may import which, which outside crate has which door,
//! how long files and functions may get, words that must not stay. Sources are read line by line, as rustfmt lays
//! them out; nothing is parsed. A breach names its file and line.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Lines of a file before its tests, at most.
const FILE_LINES_MAX: usize = 600;
/// Lines of a function, at most.
const FUNCTION_LINES_MAX: usize = 70;

/// Outside crates, and the paths in `src/` that may name them. One that is not here may be named anywhere.
const DOORS: &[(&str, &[&str])] = &[
    ("tokio", &["server/", "http/", "node/"]),
    ("metrics", &["http/"]),
    ("metrics_exporter_prometheus", &["http/metrics/page.rs"]),
    ("tokio_util", &["server/"]),
    ("socket2", &["server/"]),
    ("crossbeam_epoch", &["engine/reclaim.rs"]),
    ("tikv_jemalloc_sys", &["engine/memory.rs"]),
    ("tikv_jemallocator", &["main.rs"]),
    ("foldhash", &["engine/"]),
    ("getrandom", &["engine/", "persist/"]),
    ("sled", &["persist/generation.rs"]),
    ("base64", &["protocol/meta/"]),
    ("::config", &["config/"]),
    ("serde", &["config/", "units.rs"]),
    ("tracing_subscriber", &["config/logging.rs"]),
    ("tracing", &["main.rs", "node/", "server/", "http/", "config/", "persist/"]),
    (
        "libc",
        &[
            "server/",
            "command/admin/rusage.rs",
            "engine/table/buckets.rs",
            "engine/arena/system.rs",
        ],
    ),
    ("loom", &["sync.rs", "engine/table/", "engine/arena/"]),
];

/// Where unsafe code may be.
const UNSAFE: &[&str] = &["engine/", "main.rs", "server/process.rs", "command/admin/rusage.rs"];

/// What lies at the top, besides hidden files.
const TOP: &[&str] = &[
    "Cargo.toml",
    "Cargo.lock",
    "README.md",
    "LICENSE",
    "src",
    "config",
    "tests",
    "benches",
    "docker-compose.yml",
    "grafana",
    "target",
];

/// A source file in `src/`.
struct Source {
    /// Its path below `src/`.
    path: String,
    text: String,
}

impl Source {
    /// The lines before the file's tests, numbered from 1; of a file of tests, none.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let tests = ["tests.rs", "models.rs"].iter().any(|name| self.path.ends_with(name))
            || self.path.contains("/tests/");
        let lines = self
            .text
            .lines()
            .take_while(|line| !line.starts_with("#[cfg(") || !has_word(line, "test"));
        lines
            .take(if tests { 0 } else { usize::MAX })
            .enumerate()
            .map(|(index, line)| (index + 1, line))
    }

    /// The lines of code among them, without comments at their ends.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let code = |line: &'_ str| line.split("//").next().unwrap_or_default().len();
        self.lines().map(move |(number, line)| (number, &line[..code(line)]))
    }

    /// The first part of its path: `engine` for all of the engine.
    fn module(&self) -> &str {
        self.path.split('/').next().unwrap_or_default().trim_end_matches(".rs")
    }

    fn is_in(&self, places: &[&str]) -> bool {
        places.iter().any(|place| self.path.starts_with(place))
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below `directory`, hidden ones, build output and what fuzzing leaves not included.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("a readable directory") {
        let path = entry.expect("a readable entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('.') || ["target", "artifacts", "corpus"].contains(&&*name) {
            continue;
        }
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found.sort();
    found
}

fn sources() -> Vec<Source> {
    let src = root().join("src");
    let sources: Vec<_> = files(&src)
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| Source {
            text: fs::read_to_string(&path).expect("source text"),
            path: path.strip_prefix(&src).expect("below src").to_string_lossy().into_owned(),
        })
        .collect();
    assert!(sources.len() > 20, "only {} sources found", sources.len());
    sources
}

fn map() -> String {
    fs::read_to_string(root().join("src/lib.rs")).expect("src/lib.rs")
}

fn assert_none(breaches: &[String]) {
    assert!(breaches.is_empty(), "{} breaches\n{}", breaches.len(), breaches.join("\n"));
}

/// Whether `text` has `word` with nothing before or after it that would make it a longer one.
fn has_word(text: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word)
        .any(|(at, _)| !text[..at].ends_with(part) && !text[at + word.len()..].starts_with(part))
}

/// Module names by floor, from the table in lib.rs.
fn floors() -> BTreeMap<String, u32> {
    let mut floors = BTreeMap::new();
    for line in map().lines() {
        let mut cells = line.trim_start_matches("//!").split('|').map(str::trim).skip(1);
        let (Some(floor), Some(modules)) = (cells.next(), cells.next()) else { continue };
        let Ok(floor) = floor.parse() else { continue };
        // Modules in brackets are still to come.
        let there = modules.split('(').next().unwrap_or_default();
        for name in there.split('`').skip(1).step_by(2) {
            floors.insert(name.to_owned(), floor);
        }
    }
    assert!(floors.len() >= 10, "the table of floors in lib.rs: {floors:?}");
    floors
}

/// The modules of this crate that a line of code names: after `crate::`, one or a list in braces.
fn imported(code: &str) -> Vec<&str> {
    let mut modules = Vec::new();
    for (at, prefix) in code.match_indices("crate::").chain(code.match_indices("volt::")) {
        let rest = &code[at + prefix.len()..];
        let list =
            rest.strip_prefix('{').map_or(rest, |list| list.split('}').next().unwrap_or(list));
        let many = rest.starts_with('{');
        for name in list.split(',').take(if many { usize::MAX } else { 1 }) {
            modules.push(
                name.trim().split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or(""),
            );
        }
    }
    modules
}

#[test]
fn modules_import_only_from_floors_below() {
    let floors = floors();
    let mut breaches = Vec::new();
    for source in sources().iter().filter(|source| source.path != "lib.rs") {
        let module = source.module();
        let Some(floor) = floors.get(module) else {
            breaches.push(format!("{}: `{module}` has no floor in lib.rs", source.path));
            continue;
        };
        for (number, code) in source.code() {
            for name in imported(code) {
                // Names that are no modules are macros and such.
                let Some(below) = floors.get(name) else { continue };
                if name != module && below >= floor && module != "main" {
                    breaches.push(format!("{}:{number}: `{module}` imports `{name}`", source.path));
                }
            }
        }
    }
    assert_none(&breaches);
}

#[test]
fn outside_crates_stay_behind_their_doors() {
    let mut breaches = Vec::new();
    for source in sources() {
        for (number, code) in source.code() {
            for (name, doors) in DOORS {
                let path = format!("{name}::");
                let named = code.match_indices(&path).any(|(at, _)| {
                    !code[..at].ends_with(|c: char| c.is_alphanumeric() || "_:".contains(c))
                });
                if named && !source.is_in(doors) {
                    breaches.push(format!("{}:{number}: {name} belongs in {doors:?}", source.path));
                }
            }
        }
    }
    assert_none(&breaches);
}

#[test]
fn unsafe_code_is_where_it_is_meant_to_be() {
    let mut breaches = Vec::new();
    for source in sources().iter().filter(|source| !source.is_in(UNSAFE)) {
        for (number, code) in source.code() {
            if has_word(code, "unsafe") || has_word(code, "unsafe_code") {
                breaches.push(format!("{}:{number}: {}", source.path, code.trim()));
            }
        }
    }
    assert_none(&breaches);
}

#[test]
fn files_say_what_they_are_and_are_not_too_long() {
    let mut breaches = Vec::new();
    for source in sources() {
        if !source.text.starts_with("//! ") {
            breaches.push(format!("{}: no module docs", source.path));
        }
        let lines = source.lines().count();
        if lines > FILE_LINES_MAX {
            breaches.push(format!("{}: {lines} lines before its tests", source.path));
        }
    }
    assert_none(&breaches);
}

#[test]
fn functions_fit_a_screen() {
    let mut breaches = Vec::new();
    for source in sources() {
        // Indentation and line of the function that is open; functions in functions count as their outer one.
        let mut open: Option<(usize, usize)> = None;
        for (number, line) in source.text.lines().enumerate() {
            let code = line.trim_start();
            let indent = line.len() - code.len();
            match open {
                None if has_word(code, "fn")
                    && !code.starts_with("//")
                    && !line.ends_with([';', '}', ',']) =>
                {
                    open = Some((indent, number));
                }
                Some((outer, first)) if indent == outer && (code == "}" || code.ends_with(';')) => {
                    let lines = number - first + 1;
                    if lines > FUNCTION_LINES_MAX {
                        breaches.push(format!("{}:{}: {lines} lines", source.path, first + 1));
                    }
                    open = None;
                }
                _ => {}
            }
        }
    }
    assert_none(&breaches);
}

#[test]
fn no_word_is_left_that_should_not_stay() {
    let banned =
        ["todo!", "unimplemented!", "dbg!", "println!", "FIXME", "TODO", "XXX", ".unwrap()"];
    let mut breaches = Vec::new();
    for source in sources() {
        for (number, line) in source.lines() {
            for word in banned {
                let stands = match word {
                    ".unwrap()" | "println!" => {
                        line.contains(word) && !line.trim_start().starts_with("//")
                    }
                    _ => has_word(line, word),
                };
                // An error at start goes to standard error.
                if stands && !(word == "println!" && source.path == "main.rs") {
                    breaches.push(format!("{}:{number}: {word}", source.path));
                }
            }
            let code = line.trim_start();
            if code.contains("use ") && code.ends_with("::*;") {
                breaches.push(format!("{}:{number}: a glob import", source.path));
            }
        }
    }
    assert_none(&breaches);
}

#[test]
fn paths_in_the_map_exist() {
    let mut breaches = Vec::new();
    let mut checked = 0;
    for line in map().lines().filter(|line| line.starts_with("//!")) {
        // What is planned is in brackets after this word.
        let line = line.split("(later").next().unwrap_or_default();
        for name in line.split('`').skip(1).step_by(2) {
            let path = match name.strip_suffix(".rs") {
                Some(_) if name.starts_with("tests/") => root().join(name),
                Some(_) => root().join("src").join(name),
                // A path of modules; what begins with a capital is a name in one.
                None if name.contains("::") => {
                    let modules: Vec<_> = name
                        .split("::")
                        .take_while(|part| part.starts_with(|c: char| c.is_lowercase()))
                        .collect();
                    let path = root().join("src").join(modules.join("/"));
                    if path.is_dir() { path } else { path.with_extension("rs") }
                }
                None => continue,
            };
            checked += 1;
            if !path.exists() {
                breaches.push(format!("lib.rs names `{name}`"));
            }
        }
    }
    assert_none(&breaches);
    assert!(checked > 10, "only {checked} paths found");
}

#[test]
fn every_dependency_has_a_reason() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml");
    let (mut breaches, mut checked) = (Vec::new(), 0);
    let (mut dependencies, mut before) = (false, "");
    for line in manifest.lines() {
        if line.starts_with('[') {
            dependencies = line.ends_with("dependencies]");
        } else if dependencies && line.contains(" = ") {
            checked += 1;
            let name = line.split(' ').next().unwrap_or_default();
            // Two crates of one name, one below the other, share a reason.
            let family = name.split('-').next().unwrap_or_default();
            if !before.starts_with("# ") && !before.starts_with(family) {
                breaches.push(format!("{name}: no reason above it"));
            }
        }
        before = line;
    }
    assert_none(&breaches);
    assert!(checked > 5, "only {checked} dependencies found");
}

#[test]
fn the_top_level_holds_what_it_should() {
    let mut breaches = Vec::new();
    for entry in fs::read_dir(root()).expect("a readable directory") {
        let name = entry.expect("a readable entry").file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') && !TOP.contains(&name.as_str()) {
            breaches.push(name);
        }
    }
    assert_none(&breaches);
}

#[test]
fn no_file_names_a_machine() {
    // In two pieces, so that this file does not.
    let homes = [concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/wo", "rk/")];
    let mut breaches = Vec::new();
    for path in files(root()) {
        // What is not text names nothing.
        let Ok(text) = fs::read_to_string(&path) else { continue };
        for (number, line) in text.lines().enumerate() {
            if homes.iter().any(|home| line.contains(home)) {
                breaches.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
            }
        }
    }
    assert_none(&breaches);
}
