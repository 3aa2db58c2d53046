//! Looking at a data directory without serving it: what it holds, and its items as a dump. Nothing is changed, and
//! the directory may be in use.

use super::directory;
use super::record::Record;
use super::recover::Recovery;
use crate::engine::Saved;
use crate::protocol::meta::base64::encode as in_base64;
use std::collections::HashSet;
use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// What a data directory holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Items that would be served, if memory sufficed.
    pub items: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
    /// Keys whose newest state is that they were removed.
    pub removed: u64,
    /// Keys whose newest item has expired or was flushed.
    pub dead: u64,
    /// Records that are history.
    pub superseded: u64,
    /// A line for each generation.
    pub generations: Vec<String>,
    /// Frames that must have been written, count, and are not there or not whole.
    pub missing: u64,
    /// Generations of which a file is not there or could not be read as a whole.
    pub broken: u64,
    /// There are frames and no whole manifest.
    pub manifest_lost: bool,
    /// The server that wrote it stopped with everything on disk.
    pub clean: bool,
    /// Generations that were set aside.
    pub quarantined: Vec<String>,
    /// Bytes on disk.
    pub disk_bytes: u64,
}

impl Report {
    /// Whether something is damaged.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        self.missing > 0 || self.broken > 0 || self.manifest_lost
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let yes = |is| if is { "yes" } else { "no" };
        writeln!(f, "items            {} ({} bytes of keys and values)", self.items, self.bytes)?;
        writeln!(f, "removed keys     {}", self.removed)?;
        writeln!(f, "expired, flushed {}", self.dead)?;
        writeln!(f, "older records    {}", self.superseded)?;
        writeln!(f, "on disk          {} bytes", self.disk_bytes)?;
        writeln!(f, "stopped cleanly  {}", yes(self.clean))?;
        for generation in &self.generations {
            writeln!(f, "generation       {generation}")?;
        }
        for name in &self.quarantined {
            writeln!(f, "set aside        {name}")?;
        }
        if self.manifest_lost {
            writeln!(f, "damage           the manifest is lost")?;
        }
        if self.missing > 0 {
            writeln!(f, "damage           {} frames are missing or damaged", self.missing)?;
        }
        if self.broken > 0 {
            writeln!(f, "damage           {} generations cannot be read as a whole", self.broken)?;
        }
        if !self.is_damaged() {
            writeln!(f, "damage           none")?;
        }
        Ok(())
    }
}

/// Looks at a directory.
///
/// # Errors
/// It is none, or cannot be read.
pub fn inspect(path: &Path) -> io::Result<Report> {
    std::fs::read_dir(path)?;
    let recovery = Recovery::look(path);
    let mut report = Report {
        missing: recovery.missing(),
        broken: recovery.broken().count() as u64,
        manifest_lost: recovery.manifest_lost,
        clean: recovery.manifest.clean,
        quarantined: directory::quarantined(path),
        disk_bytes: directory::disk_bytes(path),
        ..Report::default()
    };
    for found in &recovery.found {
        let frames = found.places.len();
        let counts = found.places.iter().filter(|p| p.sequence >= recovery.manifest.base).count();
        report.generations.push(format!(
            "{}: {frames} frames from {} on, {counts} count, {} missing, {} torn or damaged",
            found.name.number,
            found.name.first,
            found.missing(),
            found.rejected,
        ));
    }
    newest(&recovery, &mut |newest| {
        match newest {
            Newest::Item(item) => {
                report.items += 1;
                report.bytes += (item.key.len() + item.value.len()) as u64;
            }
            Newest::Removed => report.removed += 1,
            Newest::Dead => report.dead += 1,
            Newest::Superseded => report.superseded += 1,
        }
        Ok(())
    })?;
    Ok(report)
}

/// Writes every item of a directory as a command that stores it: what any server of this protocol reads. Returns how many
/// there are. Flags and deadlines are kept, cas uniques are not.
///
/// # Errors
/// The directory cannot be read, or `out` not be written.
pub fn export(path: &Path, out: &mut dyn Write) -> io::Result<u64> {
    std::fs::read_dir(path)?;
    let mut items = 0;
    newest(&Recovery::look(path), &mut |newest| match newest {
        Newest::Item(item) => {
            items += 1;
            dump(item, out)
        }
        Newest::Removed | Newest::Dead | Newest::Superseded => Ok(()),
    })?;
    Ok(items)
}

fn dump(item: &Saved<'_>, out: &mut dyn Write) -> io::Result<()> {
    let len = item.value.len();
    if item.key_is_binary {
        let key: Vec<u8> = in_base64(item.key).flatten().collect();
        out.write_all(b"ms ")?;
        out.write_all(&key)?;
        write!(out, " {len} b F{} T{}\r\n", item.flags, item.exptime)?;
    } else {
        out.write_all(b"set ")?;
        out.write_all(item.key)?;
        write!(out, " {} {} {len}\r\n", item.flags, item.exptime)?;
    }
    out.write_all(item.value)?;
    out.write_all(b"\r\n")
}

/// What a record turns out to be.
enum Newest<'r> {
    /// The newest state of its key, to be served.
    Item(&'r Saved<'r>),
    /// The newest state of its key: there is none.
    Removed,
    /// The newest state of its key, expired or flushed.
    Dead,
    /// History.
    Superseded,
}

/// Visits all records, newest first, and says what each is. Remembers all keys while it does.
fn newest(
    recovery: &Recovery,
    visit: &mut dyn FnMut(Newest<'_>) -> io::Result<()>,
) -> io::Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let due = recovery.manifest.flush_at;
    let flushed = due != 0 && due <= now;
    let mut seen: HashSet<Box<[u8]>> = HashSet::new();
    let mut result = Ok(());
    recovery.walk_back(&mut |record| {
        let newest = match record {
            _ if !seen.insert(record.key().into()) => Newest::Superseded,
            Record::Removal { .. } => Newest::Removed,
            Record::Item(item) => {
                let ended = item.exptime != 0 && item.exptime <= now;
                match ended || flushed || item.version <= recovery.manifest.flushed {
                    true => Newest::Dead,
                    false => Newest::Item(item),
                }
            }
        };
        result = visit(newest);
        result.is_ok()
    });
    result
}
