//! The manifest: the few numbers that say which frames count. A text file, replaced whole.

use super::disk::Disk;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Its name in the directory.
const NAME: &str = "MANIFEST";
/// Its first line; the number is the format's.
const TITLE: &str = "volt persist 1";

/// What the manifest says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Manifest {
    /// Frames before this number are superseded.
    pub base: u64,
    /// The first frame number that was not in use when this was written.
    pub next: u64,
    /// Items up to this version are flushed.
    pub flushed: u64,
    /// When everything is to be flushed, in Unix seconds; 0 for never.
    pub flush_at: u64,
    /// No version above this has been given out.
    pub versions: u64,
    /// Written when a server stopped with everything on disk: the last frame is `next` - 1.
    pub clean: bool,
}

impl Manifest {
    fn fields(&mut self) -> [(&'static str, &mut u64); 5] {
        [
            ("base", &mut self.base),
            ("next", &mut self.next),
            ("flushed", &mut self.flushed),
            ("flush_at", &mut self.flush_at),
            ("versions", &mut self.versions),
        ]
    }

    /// The manifest of a directory; `None` if there is none, or none that is whole.
    pub fn read(directory: &Path) -> Option<Self> {
        Self::parse(&fs::read_to_string(directory.join(NAME)).ok()?)
    }

    /// Whether a directory has a manifest, whole or not.
    pub fn exists(directory: &Path) -> bool {
        directory.join(NAME).exists()
    }

    fn parse(text: &str) -> Option<Self> {
        let (body, crc) = text.trim_end().rsplit_once("\ncrc ")?;
        if u32::from_str_radix(crc, 16).ok()? != crc32fast::hash(body.as_bytes()) {
            return None;
        }
        let mut lines = body.lines();
        if lines.next()? != TITLE {
            return None;
        }
        let mut manifest = Self::default();
        for line in lines {
            let (name, value) = line.split_once(' ')?;
            if name == "clean" {
                manifest.clean = value == "yes";
            } else {
                let mut fields = manifest.fields();
                *fields.iter_mut().find(|(field, _)| *field == name)?.1 = value.parse().ok()?;
            }
        }
        Some(manifest)
    }

    fn text(mut self) -> String {
        let clean = if self.clean { "yes" } else { "no" };
        let mut text = format!("{TITLE}\nclean {clean}");
        for (name, value) in self.fields() {
            // Writing to a string cannot fail.
            let _ = write!(text, "\n{name} {value}");
        }
        let crc = crc32fast::hash(text.as_bytes());
        text + &format!("\ncrc {crc:08x}\n")
    }

    /// Puts this manifest in the place of the one there is. When it returns, a power cut keeps it.
    ///
    /// # Errors
    /// What the system says; the old one is in place then.
    pub fn save(self, directory: &Path, disk: &Disk) -> io::Result<()> {
        let temporary = directory.join("MANIFEST.new");
        let mut file = File::create(&temporary)?;
        file.write_all(self.text().as_bytes())?;
        disk.sync(&temporary, &|| file.sync_all())?;
        fs::rename(&temporary, directory.join(NAME))?;
        disk.keep(directory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: Manifest =
        Manifest { base: 1, next: 2, flushed: 3, flush_at: 4, versions: u64::MAX, clean: true };

    #[test]
    fn what_is_saved_is_read() {
        let directory = tempfile::tempdir().expect("a directory");
        assert_eq!(Manifest::read(directory.path()), None);
        for manifest in [MANIFEST, Manifest::default()] {
            manifest.save(directory.path(), &Disk::default()).expect("saved");
            assert_eq!(Manifest::read(directory.path()), Some(manifest));
        }
    }

    #[test]
    fn every_cut_and_every_other_byte_is_seen() {
        let text = MANIFEST.text();
        for at in 0..text.len() - 1 {
            assert_eq!(Manifest::parse(&text[..at]), None, "{at}");
            let mut damaged = text.clone().into_bytes();
            damaged[at] ^= 1;
            let damaged = String::from_utf8_lossy(&damaged);
            assert_eq!(Manifest::parse(&damaged), None, "{damaged}");
        }
    }
}
