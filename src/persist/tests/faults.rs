//! A disk that fails, a directory that cannot be used, and marks that come faster than they are taken.

use super::*;

/// A disk that fails on demand.
#[derive(Default)]
struct Sick {
    now: AtomicBool,
    only: Option<Operation>,
    panics: bool,
}

impl Faults for Sick {
    fn check(&self, operation: Operation) -> io::Result<()> {
        let meant = self.only.is_none_or(|only| only == operation);
        match self.now.load(Ordering::Relaxed) && meant {
            true if self.panics => panic!("as a database that finds itself damaged does"),
            true => Err(io::Error::from(io::ErrorKind::StorageFull)),
            false => Ok(()),
        }
    }
}

#[test]
fn a_failing_disk_degrades_and_heals_by_itself() {
    for (only, panics) in [
        (None, false),
        (Some(Operation::Create), false),
        (Some(Operation::Save), false),
        (Some(Operation::Append), false),
        (Some(Operation::Feed), false),
        (Some(Operation::Feed), true),
        (Some(Operation::Flush), false),
        (Some(Operation::Sync), false),
    ] {
        let (_folder, mut options) = folder();
        options.fsync_interval = Duration::from_millis(5);
        let sick = Arc::new(Sick { now: AtomicBool::new(false), only, panics });
        options.disk = Disk::failing(Arc::clone(&sick) as _);
        let warm = Warm::start(options.clone());
        let (mut random, mut now) = (11, vec![None; 100]);
        churn(&warm, &mut random, 500, &mut now);
        warm.commit();
        sick.now.store(true, Ordering::Relaxed);
        warm.wait("degraded", |status| {
            churn(&warm, &mut random, 20, &mut now);
            if only == Some(Operation::Save) {
                warm.handle.engine().flush();
                now.fill(None);
            }
            status.state() == State::Degraded
        });
        churn(&warm, &mut random, 500, &mut now);
        let checkpoints = || warm.status().counters.checkpoints.load(Ordering::Relaxed);
        let before = checkpoints();
        sick.now.store(false, Ordering::Relaxed);
        warm.wait("healed", |status| status.state() == State::Ok);
        churn(&warm, &mut random, 50, &mut now);
        warm.commit();
        assert!(warm.status().counters.errors.load(Ordering::Relaxed) > 0);
        warm.wait("the checkpoint", |_| checkpoints() > before);
        let (_copy, copied) = killed(&options.directory);
        assert_all(&warm, &now);
        warm.stop();
        for options in [options, copied] {
            assert_all(&Warm::start(options), &now);
        }
    }
}

#[test]
fn a_start_that_fails_costs_nothing() {
    let (_folder, options) = folder();
    let warm = Warm::start(options.clone());
    warm.set("key", b"value");
    warm.stop();
    for required in [true, false, true] {
        let sick = Options { required, ..on_sick_disk(&options, Some(Operation::Create)) };
        if required {
            assert!(matches!(Persist::start(&engine(), sick), Err(StartError::Unwritable { .. })));
        } else {
            let warm = Warm::start(sick);
            assert_eq!(warm.status().state(), State::Degraded);
            assert_eq!(warm.value("key").unwrap(), b"value");
            warm.stop();
        }
    }
    assert_eq!(Warm::start(options).value("key").unwrap(), b"value");
}

#[test]
fn cas_uniques_are_not_given_out_twice_though_none_can_be_reserved() {
    let (_folder, options) = folder();
    let given = [0, 1, 2].map(|second| {
        let clock = Arc::new(Clock::manual());
        clock.advance(second);
        // The last one starts on a disk that is well.
        let options = if second < 2 { on_sick_disk(&options, None) } else { options.clone() };
        let warm = Warm::start_at(options, clock, 64 << 20);
        warm.set("key", b"");
        warm.get("key").unwrap().3
    });
    assert!(given[0] != given[1] && !given[..2].contains(&given[2]), "{given:?}");
}

fn on_sick_disk(options: &Options, only: Option<Operation>) -> Options {
    let sick = Sick { now: AtomicBool::new(true), only, panics: false };
    Options { disk: Disk::failing(Arc::new(sick)), ..options.clone() }
}

fn engine() -> Arc<Engine> {
    Engine::new(engine::Options::default(), Arc::new(Clock::manual()), Arc::default())
}

#[test]
fn a_directory_that_cannot_be_used_is_no_reason_not_to_start_unless_it_is_required() {
    let (folder, options) = folder();
    fs::write(&options.directory, "a file").unwrap();
    let required = Options { required: true, ..options.clone() };
    assert!(matches!(Persist::start(&engine(), required), Err(StartError::Directory(_))));
    let warm = Warm::start(options.clone());
    assert_eq!(warm.status().state(), State::Degraded);
    warm.set("key", b"value");
    fs::remove_file(&options.directory).unwrap();
    warm.wait("healed", |status| status.state() == State::Ok);
    let second = Persist::start(&engine(), options.clone());
    assert!(matches!(second, Err(StartError::Directory(OpenError::InUse(_)))));
    warm.stop();
    assert_eq!(Warm::start(options).value("key").unwrap(), b"value");
    drop(folder);
}

#[test]
fn marks_that_find_no_room_are_made_up_for() {
    let (_folder, mut options) = folder();
    // Rings are small in tests; nobody empties them in time.
    options.commit_interval = Duration::from_secs(1);
    let warm = Warm::start(options.clone());
    let (mut random, mut now) = (3, vec![None; 400]);
    churn(&warm, &mut random, 400, &mut now);
    warm.commit();
    churn(&warm, &mut random, 3000, &mut now);
    warm.commit();
    // Until everything is written anew it is missing rather than as it was.
    let (_copy, copied) = killed(&options.directory);
    let counters = &warm.status().counters;
    assert!(counters.lost_stores.load(Ordering::Relaxed) > 0);
    assert!(counters.lost_removals.load(Ordering::Relaxed) > 0);
    assert_all(&warm, &now);
    let back = Warm::start(copied);
    for (key, now) in now.iter().enumerate() {
        let found = back.value(&format!("key{key}"));
        assert!(found.is_none() || found == *now, "key{key} is as it was");
    }
    warm.stop();
    assert_all(&Warm::start(options), &now);
}

#[test]
fn a_stop_amid_a_checkpoint_makes_up_for_lost_marks() {
    let (_folder, mut options) = folder();
    options.commit_interval = Duration::from_secs(1);
    let warm = Warm::start(options.clone());
    let value = [1; 3000];
    let set_all = |round: u8| {
        for number in 0..2000_u32 {
            warm.set(&format!("key{number}"), &[&[round], &value[..]].concat());
        }
    };
    // A checkpoint is under way, of what there was before the last round and its lost marks.
    for round in 0..3 {
        set_all(round);
        warm.commit();
    }
    set_all(9);
    warm.commit();
    assert!(warm.status().counters.lost_stores.load(Ordering::Relaxed) > 0);
    warm.stop();
    let warm = Warm::start(options);
    for number in 0..2000 {
        let newest = warm.value(&format!("key{number}")).map(|value| value[0]);
        assert_eq!(newest, Some(9), "key{number}");
    }
}
