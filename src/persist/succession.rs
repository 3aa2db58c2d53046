//! Succession: which generation is written to, which come after it, and which before it still count.

use super::directory::Name;
use super::frame::Stamp;
use super::generation::Generation;
use super::manifest::Manifest;
use super::recover::RESERVE;
use super::writer::Writer;
use std::io;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// Frame numbers that are left to a generation while the next one is being made.
const FRAMES_AHEAD: u64 = 1 << 24;

impl Writer {
    /// Begins a generation. `void`: nothing before it counts any more.
    pub(super) fn begin(&mut self, void: bool) -> io::Result<()> {
        self.forget_prepared();
        let name = self.next_name()?;
        let first = name.first;
        // What is void has to stay so, should this fail.
        self.changed |= void;
        if void && !self.loading.is_over() {
            // On disk it will not be any more.
            self.status.need_loading();
        }
        if void && self.log.is_none() {
            // The disk may be full of what does not count any more.
            self.supersede_now(first)?;
        }
        let log = Generation::create(name, self.options.disk.clone())?;
        self.interrupt();
        self.enter(log)?;
        if void {
            self.round.owe();
            self.voided_at = Some(Instant::now());
            self.supersede_now(first)?;
        } else {
            self.save(|manifest| manifest.next = first)?;
        }
        Ok(())
    }

    /// What was made for the next walk is not needed.
    pub(super) fn forget_prepared(&mut self) {
        self.stale += u32::from(std::mem::take(&mut self.preparing));
        self.older.extend(self.prepared.take().map(|prepared| prepared.name().clone()));
    }

    /// A name for the next generation. Its frames are numbered well beyond what is written until it begins.
    pub(super) fn next_name(&self) -> io::Result<Name> {
        let numbers = self.older.iter().map(|name| name.number);
        let number = numbers.chain(self.log.as_ref().map(|log| log.name().number)).max();
        let secret = getrandom::u64().map_err(io::Error::other)?;
        let first = self.packer.next().saturating_add(FRAMES_AHEAD);
        Ok(self.directory.name(number.unwrap_or(0) + 1, first, secret))
    }

    /// Ends the walks that are under way, unfinished.
    pub(super) fn interrupt(&mut self) {
        self.walk = None;
        self.landings.clear();
        self.round.interrupt();
    }

    /// Goes on in this generation.
    pub(super) fn enter(&mut self, log: Generation) -> io::Result<()> {
        if self.log.is_some() {
            // What the last walk has left in the open frame.
            self.packer.seal();
            self.write_out()?;
        }
        let name = log.name().clone();
        if let Some(before) = self.log.replace(log) {
            self.older.push(before.name().clone());
            self.closing.push(before);
        }
        self.packer.restart(name.secret, name.first);
        self.status.counters.generation.store(name.number, Ordering::Relaxed);
        Ok(())
    }

    /// Sees to it that the last frames of generations before this one reach the disk.
    pub(super) fn close_older(&mut self) -> io::Result<()> {
        for generation in &mut self.closing {
            generation.tend()?;
        }
        let done = |generation: &mut Generation| generation.has_flushed(generation.position());
        self.unsynced.extend(self.closing.extract_if(.., done).map(Generation::close));
        Ok(())
    }

    /// Makes frames from `base` on the only ones that count, at once, and has the others go.
    fn supersede_now(&mut self, base: u64) -> io::Result<()> {
        self.save(|manifest| {
            manifest.base = base;
            manifest.next = manifest.next.max(base);
        })?;
        self.give_up_older();
        Ok(())
    }

    /// The same, when the janitor gets to it.
    pub(super) fn supersede(&mut self, base: u64) {
        let next = self.manifest.next.max(base);
        self.manifest = Manifest { base, next, ..self.manifest };
        self.packer.stamp.base = base;
        self.serial += 1;
        self.give_up_older();
    }

    /// Has the generations go that the manifest makes void.
    fn give_up_older(&mut self) {
        let base = self.manifest.base;
        // Nobody cares any more whether the disk gets the last of them.
        self.closing.retain(|generation| generation.name().first >= base);
        let older = self.older.extract_if(.., |name| name.first < base);
        let older = older.map(|name| (self.loading.has_damage(&name), name)).collect();
        self.janitor.supersede(self.manifest, self.serial, older);
    }

    pub(super) fn save(&mut self, change: impl FnOnce(&mut Manifest)) -> io::Result<()> {
        let mut manifest = Manifest { clean: false, ..self.manifest };
        change(&mut manifest);
        // Reserved before they are given out: half of what there was last time is left.
        let last = self.engine.last_version();
        if manifest.versions < last.saturating_add(RESERVE / 2) {
            manifest.versions = last.saturating_add(RESERVE);
        }
        manifest.flushed = manifest.flushed.max(self.engine.flushed_version());
        manifest.flush_at = self.flush_at();
        self.serial += 1;
        self.directory.save(manifest, self.serial)?;
        self.manifest = manifest;
        self.packer.stamp =
            Stamp { base: manifest.base, flushed: manifest.flushed, versions: manifest.versions };
        Ok(())
    }

    /// When everything is to be flushed, in Unix seconds.
    fn flush_at(&self) -> u64 {
        match self.engine.flush_due() {
            0 => 0,
            due => self.engine.clock().to_unix(due).unsigned_abs(),
        }
    }

    /// Writes the manifest when a flush was asked for, or when versions run out.
    pub(super) fn keep_manifest(&mut self) -> io::Result<()> {
        let flushed = self.engine.flushed_version() > self.manifest.flushed;
        let used = self.engine.last_version().saturating_add(RESERVE / 2);
        if flushed || self.flush_at() != self.manifest.flush_at || used > self.manifest.versions {
            self.save(|_| {})?;
        }
        Ok(())
    }
}
