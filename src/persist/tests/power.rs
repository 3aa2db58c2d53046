//! The power is cut: a disk is modelled that keeps what was waited for, and of the rest whatever it likes.

use super::*;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, MutexGuard};

/// A disk keeps or loses this much at a time.
const PAGE: usize = 4096;

/// A database waits this long,
const FEED_PAUSE: Duration = Duration::from_millis(10);
/// once in so many insertions.
const FEED_PAUSE_EVERY: u64 = 256;

/// What a power cut may lose.
const BOUND: Duration = Duration::from_secs(1);

/// A disk. Every file and directory is known by the number of its inode, which stays its own while it is held open.
#[derive(Default)]
struct Platter {
    kept: Mutex<Kept>,
    /// Insertions into the databases.
    fed: AtomicU64,
}

/// What was waited for.
#[derive(Default)]
struct Kept {
    /// A directory's entries.
    names: HashMap<u64, BTreeMap<OsString, u64>>,
    /// A file's bytes; none, if only its name was waited for.
    bytes: HashMap<u64, Vec<u8>>,
    open: HashMap<u64, File>,
}

/// What becomes of something that nobody has waited for.
#[derive(Clone, Copy)]
enum Fate {
    Lost,
    Kept,
    /// Each page and each name by chance.
    Any,
}

impl Faults for Platter {
    fn check(&self, operation: Operation) -> io::Result<()> {
        // The database waits for a busy disk now and then, and what it was given is not in the kernel yet.
        let fed = self.fed.fetch_add(u64::from(operation == Operation::Feed), Ordering::Relaxed);
        if operation == Operation::Feed && fed.is_multiple_of(FEED_PAUSE_EVERY) {
            std::thread::sleep(FEED_PAUSE);
        }
        Ok(())
    }

    /// The real disk is not asked: it may take its time, and has no say in what is lost.
    fn sync(&self, path: &Path, _ask: &dyn Fn() -> io::Result<()>) -> io::Result<()> {
        let mut kept = self.kept();
        let file = File::open(path)?;
        let inode = file.metadata()?.ino();
        // What is written while the system is asked is not promised, so this is read before.
        if path.is_dir() {
            let names = listing(path);
            for (name, &inode) in &names {
                kept.open.entry(inode).or_insert(File::open(path.join(name))?);
            }
            kept.names.insert(inode, names);
        } else {
            let bytes = read(&file);
            kept.bytes.insert(inode, bytes);
            kept.open.entry(inode).or_insert(file);
        }
        Ok(())
    }
}

fn listing(directory: &Path) -> BTreeMap<OsString, u64> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    // A name may be gone by now.
    entries.filter_map(|e| Some((e.file_name(), e.metadata().ok()?.ino()))).collect()
}

fn read(file: &File) -> Vec<u8> {
    let mut bytes = vec![0; file.metadata().map_or(0, |found| found.len() as usize)];
    let mut filled = 0;
    while let Ok(read @ 1..) = file.read_at(&mut bytes[filled..], filled as u64) {
        filled += read;
    }
    bytes.truncate(filled);
    bytes
}

impl Platter {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap()
    }

    /// Cuts the power: what is found in the directory afterwards. Nobody's wait for the disk ends meanwhile, so what is
    /// read here was there, or on its way, at the instant this begins.
    fn cut(&self, directory: &Path, random: &mut u64) -> (TempDir, Options) {
        let fate = [Fate::Lost, Fate::Kept, Fate::Any, Fate::Any][draw(random) as usize % 4];
        self.cut_with(fate, directory, random)
    }

    fn cut_with(&self, fate: Fate, directory: &Path, random: &mut u64) -> (TempDir, Options) {
        let mut kept = self.kept();
        let (folder, options) = folder();
        let root = fs::metadata(directory).unwrap().ino();
        let mut seen = BTreeSet::new();
        kept.restore(root, Some(directory), &options.directory, fate, random, &mut seen);
        kept.names.retain(|inode, _| seen.contains(inode));
        kept.bytes.retain(|inode, _| seen.contains(inode));
        kept.open.retain(|inode, _| seen.contains(inode));
        (folder, options)
    }
}

impl Kept {
    /// Makes the directory `inode` at `to`, which is at `now` if it is still there.
    fn restore(
        &self,
        inode: u64,
        now: Option<&Path>,
        to: &Path,
        fate: Fate,
        random: &mut u64,
        seen: &mut BTreeSet<u64>,
    ) {
        seen.insert(inode);
        fs::create_dir_all(to).unwrap();
        let current = now.map(listing).unwrap_or_default();
        let kept = self.names.get(&inode).cloned().unwrap_or_default();
        let names: BTreeSet<_> = current.keys().chain(kept.keys()).collect();
        for name in names {
            let (before, after) = (kept.get(name), current.get(name));
            seen.extend(before.into_iter().chain(after));
            let choice = if before == after || fate.keeps(random) { after } else { before };
            let Some(&chosen) = choice else { continue };
            let path = now.map(|now| now.join(name)).filter(|_| after == Some(&chosen));
            let file = match &path {
                Some(path) => File::open(path).ok(),
                None => self.open.get(&chosen).and_then(|file| file.try_clone().ok()),
            };
            // A name may have gone since it was listed.
            let Some(file) = file else { continue };
            if file.metadata().unwrap().is_dir() {
                self.restore(chosen, path.as_deref(), &to.join(name), fate, random, seen);
            } else {
                let kept = self.bytes.get(&chosen).map_or(&[][..], |bytes| bytes);
                fs::write(to.join(name), mix(kept, &read(&file), fate, random)).unwrap();
            }
        }
    }
}

impl Fate {
    fn keeps(self, random: &mut u64) -> bool {
        match self {
            Self::Lost => false,
            Self::Kept => true,
            Self::Any => draw(random).is_multiple_of(2),
        }
    }
}

/// A file that had `before` when it was waited for, and has `after` now.
fn mix(before: &[u8], after: &[u8], fate: Fate, random: &mut u64) -> Vec<u8> {
    let len = if fate.keeps(random) { after.len() } else { before.len() };
    let mut mixed = vec![0; len];
    for start in (0..len).step_by(PAGE) {
        let page = start..len.min(start + PAGE);
        let from = if fate.keeps(random) { after } else { before };
        let there = page.start.min(from.len())..page.end.min(from.len());
        mixed[page.start..][..there.len()].copy_from_slice(&from[there]);
    }
    mixed
}

/// What a client knows: every state that a key has had, and since when.
struct Client {
    history: Vec<Vec<(Instant, Option<Vec<u8>>)>>,
    /// Each value is told from all others by its number.
    number: u64,
    random: u64,
    /// The longest time that a change had been there when a cut lost it.
    lost: Duration,
}

impl Client {
    fn new(keys: usize) -> Self {
        let history = vec![vec![(Instant::now(), None)]; keys];
        Self { history, number: 0, random: 3, lost: Duration::ZERO }
    }

    fn change(&mut self, warm: &Warm, changes: usize) {
        for _ in 0..changes {
            let draw = draw(&mut self.random);
            let key = draw as usize % self.history.len();
            let name = format!("key{key}");
            self.number += 1;
            let len = [16, 104, 1000, 20_000][draw as usize / 7 % 4];
            let value = self.number.to_le_bytes().repeat(len / 8);
            let value = (!draw.is_multiple_of(7)).then_some(value);
            match &value {
                Some(value) => warm.set(&name, value),
                None => drop(warm.delete(&name)),
            }
            self.history[key].push((Instant::now(), value));
        }
    }

    /// Checks what a cut has left: states that were there, and none that had been gone for long.
    fn check(&mut self, cut: Instant, options: Options, what: &str) {
        let warm = Warm::start(options);
        for (key, states) in self.history.iter_mut().enumerate() {
            let found = warm.value(&format!("key{key}"));
            let state = states.iter().rposition(|(_, state)| *state == found);
            let state = state.unwrap_or_else(|| panic!("{what}: key{key} never had this"));
            if let Some((since, _)) = states.get(state + 1) {
                let age = cut.saturating_duration_since(*since);
                self.lost = self.lost.max(age);
                assert!(age <= BOUND, "{what}: key{key} lost what it had had for {age:?}");
            }
            // What is older than that is never to be found any more, and would only cost time.
            let old =
                states.partition_point(|(since, _)| cut.saturating_duration_since(*since) > BOUND);
            states.drain(..old.saturating_sub(1));
        }
    }
}

/// A new directory, on a disk whose power may be cut.
fn on_platter() -> (TempDir, Options, Arc<Platter>) {
    let (folder, options) = folder();
    let platter = Arc::new(Platter::default());
    let disk = Disk::failing(Arc::clone(&platter) as _);
    (folder, Options { disk, ..options }, platter)
}

/// How many cuts: some, or as many as the environment says.
fn cuts() -> u64 {
    std::env::var("VOLT_PERSIST_CUTS").ok().and_then(|cuts| cuts.parse().ok()).unwrap_or(40)
}

#[test]
fn a_power_cut_loses_a_second_at_most() {
    let (_folder, mut options, platter) = on_platter();
    options.fsync_interval = Duration::from_millis(20);
    options.commit_interval = Duration::from_millis(2);
    let mut client = Client::new(500);
    let mut random = 17;
    let mut warm = Warm::start(options.clone());
    let mut checkpoints = 0;
    for cut in 0..cuts() {
        let changing = Instant::now();
        let long = Duration::from_millis(draw(&mut random) % 60);
        while changing.elapsed() < long {
            client.change(&warm, 5);
            if draw(&mut random).is_multiple_of(4) {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        let at = Instant::now();
        let (_image, image) = platter.cut(&options.directory, &mut random);
        client.check(at, image, &format!("cut {cut}"));
        if cut % 16 == 15 {
            // A start between two cuts, whose first checkpoint supersedes what the last run has left.
            checkpoints += warm.status().counters.checkpoints.load(Ordering::Relaxed);
            client.change(&warm, 100);
            warm.stop();
            let (_image, image) = platter.cut(&options.directory, &mut random);
            let stopped = Warm::start(image);
            for (key, states) in client.history.iter().enumerate() {
                let found = stopped.value(&format!("key{key}"));
                assert!(found == states.last().unwrap().1, "cut {cut}, stopped: key{key}");
            }
            stopped.stop();
            warm = Warm::start(options.clone());
        }
    }
    println!("{} cuts: nothing was lost after {:?}", cuts(), client.lost);
    assert!(checkpoints > 2, "{checkpoints} checkpoints");
}

#[test]
fn a_change_is_on_disk_within_a_second_though_no_checkpoint_comes() {
    let (_folder, options, platter) = on_platter();
    let warm = Warm::start(options.clone());
    warm.wait("the checkpoint", |s| s.counters.checkpoints.load(Ordering::Relaxed) > 0);
    for number in 0_u8..5 {
        warm.set("key", &[number]);
        let changed = Instant::now();
        loop {
            let age = changed.elapsed();
            let (_image, image) = platter.cut_with(Fate::Lost, &options.directory, &mut 1);
            if Warm::start(image).value("key").as_deref() == Some(&[number]) {
                break;
            }
            assert!(age <= BOUND, "{number} was not on disk after {age:?}");
        }
    }
}

#[test]
fn a_power_cut_brings_nothing_back_that_was_flushed() {
    let (_folder, options, platter) = on_platter();
    let warm = Warm::start(options.clone());
    let (mut random, mut now) = (23, vec![None; 60]);
    for _ in 0..10 {
        churn(&warm, &mut random, 100, &mut now);
        warm.commit();
        std::thread::sleep(options.fsync_interval);
        warm.handle.engine().flush();
        warm.commit();
        let (_image, image) = platter.cut(&options.directory, &mut random);
        let cut = Warm::start(image);
        assert_all(&cut, &vec![None; 60]);
    }
}
