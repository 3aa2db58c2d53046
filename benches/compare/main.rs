//! Volt beside memcached, on this machine, in this run: see README.md in this directory.
//!
//! `cargo bench --bench compare -- --memcached /usr/bin/memcached --memtier /usr/bin/memtier_benchmark [--quick]`

mod batch;
mod measure;
mod memtier;
mod plan;
mod plot;
mod report;
mod server;
mod steady;
mod sys;
mod toy;

use measure::Effort;
use report::Report;
use server::Programs;
use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// What the command line asks for.
pub struct Options {
    programs: Programs,
    memtier: Option<PathBuf>,
    effort: Effort,
    /// Only loads with this in their names.
    only: String,
    /// Into the repository, rather than into target/.
    publish: bool,
}

impl Options {
    fn wants(&self, name: &str) -> bool {
        name.contains(&self.only)
    }

    /// `None` if no memcached is named: there is nothing to compare with.
    fn read(mut words: impl Iterator<Item = String>) -> Result<Option<Self>> {
        let mut memcached = None;
        let mut options = Self {
            programs: Programs {
                memcached: PathBuf::new(),
                volt: PathBuf::from(env!("CARGO_BIN_EXE_volt")),
                server_cores: vec![0],
                client_cores: vec![1],
            },
            memtier: None,
            effort: Effort { rounds: 5, turn: Duration::from_secs(2) },
            only: String::new(),
            publish: false,
        };
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            match word.as_str() {
                "--memcached" => memcached = Some(PathBuf::from(value()?)),
                "--memtier" => options.memtier = Some(PathBuf::from(value()?)),
                "--volt" => options.programs.volt = PathBuf::from(value()?),
                "--server-core" => options.programs.server_cores = vec![value()?.parse()?],
                "--client-core" => options.programs.client_cores = vec![value()?.parse()?],
                "--rounds" => options.effort.rounds = value()?.parse()?,
                "--only" => options.only = value()?,
                "--quick" => {
                    options.effort = Effort { rounds: 3, turn: Duration::from_millis(500) };
                }
                "--publish" => options.publish = true,
                // cargo's own.
                "--bench" => {}
                _ => return Err(format!("{word} is no option").into()),
            }
        }
        Ok(memcached.map(|memcached| {
            options.programs.memcached = memcached;
            options
        }))
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let words: Vec<String> = env::args().skip(1).collect();
    if let [toy, port, threads] = words.as_slice()
        && toy == "toy"
    {
        return Ok(toy::serve(port.parse()?, threads.parse()?)?);
    }
    let Some(options) = Options::read(words.iter().cloned())? else {
        println!("compare: nothing to compare with (--memcached PATH; benches/compare/README.md)");
        return Ok(());
    };
    sys::pin(&options.programs.client_cores)?;
    let mut report = Report { origin: origin(&options, &words), ..Report::default() };
    // What was measured before something failed is not lost.
    let result = plan::run(&options, &mut report);
    let markdown = report.markdown();
    println!("{markdown}");
    result?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let directory = root.join(if options.publish { "benches/compare" } else { "target/compare" });
    fs::create_dir_all(&directory)?;
    fs::write(directory.join("results.md"), &markdown)?;
    fs::write(directory.join("results.svg"), plot::svg(&report.costs))?;
    println!("written to {}", directory.display());
    if options.publish {
        publish(&root.join("README.md"), &markdown)?;
    }
    Ok(())
}

/// Where the numbers come from. Paths are left out: they are of no use elsewhere.
fn origin(options: &Options, words: &[String]) -> Vec<String> {
    let programs = &options.programs;
    let mut versions = vec![
        server::version(&programs.memcached, "-V"),
        format!("Volt {}", env!("CARGO_PKG_VERSION")),
    ];
    versions.extend(options.memtier.iter().map(|memtier| {
        let said = server::version(memtier, "--version");
        said.split(" bits").next().unwrap_or_default().to_owned()
    }));
    let bare = |word: &String| word.rsplit('/').next().unwrap_or_default().to_owned();
    let command: Vec<_> = words.iter().filter(|word| *word != "--bench").map(bare).collect();
    let Effort { rounds, turn } = options.effort;
    vec![
        versions.join("; "),
        report::machine(),
        format!("`cargo bench --bench compare -- {}`", command.join(" ")),
        format!(
            "medians of {rounds} alternating turns of {turn:?}; server (`-t 1 -m 1024`) on processor {:?}, \
             client on {:?}; memtier `{}`",
            programs.server_cores,
            programs.client_cores,
            memtier::OPTIONS
        ),
    ]
}

/// Between these lines the README shows the table.
const BEGIN: &str = "<!-- compare: begin -->\n";
const END: &str = "<!-- compare: end -->";

fn publish(readme: &Path, markdown: &str) -> Result<()> {
    let text = fs::read_to_string(readme)?;
    let (Some(begin), Some(end)) = (text.find(BEGIN), text.find(END)) else {
        return Err(format!("{} has no place for the table", readme.display()).into());
    };
    let (before, after) = (&text[..begin + BEGIN.len()], &text[end..]);
    fs::write(readme, format!("{before}\n{markdown}\n{after}"))?;
    Ok(())
}
