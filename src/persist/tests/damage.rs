//! A directory that was damaged: what comes back is right, and Volt starts.

use super::*;

/// Damages one thing in a directory; what it did.
fn damage(directory: &Path, random: &mut u64) -> String {
    let mut draw = |below: u64| draw(random) % below.max(1);
    let mut files = Vec::new();
    let mut folders = vec![directory.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in directory::entries(&folder) {
            if entry.is_dir() {
                folders.push(entry.clone());
            }
            files.push(entry);
        }
    }
    files.sort();
    // The files with the data more often than the others.
    let data: Vec<_> = files.iter().filter(|file| file.ends_with("db")).cloned().collect();
    let of = if draw(3) > 0 && !data.is_empty() { &data } else { &files };
    let file = of[draw(of.len() as u64) as usize].clone();
    if file.is_dir() {
        fs::remove_dir_all(&file).unwrap();
        return format!("{} removed", file.display());
    }
    let mut bytes = fs::read(&file).unwrap();
    let len = bytes.len() as u64;
    let at = draw(len) as usize;
    let until = (at + 1 + draw(4096) as usize).min(bytes.len());
    let kind = draw(7);
    match kind {
        0 => bytes.truncate(at),
        1 if len > 0 => bytes[at] ^= 1 << draw(8),
        2 => bytes[at.min(until)..until].fill(0),
        3 => bytes[at.min(until)..until].iter_mut().for_each(|byte| *byte = draw(256) as u8),
        // A stretch of the file once more, elsewhere.
        4 if len > 8192 => bytes.copy_within(at.min(until)..until, draw(len - 8192) as usize),
        5 => bytes.extend((0..draw(5000)).map(|byte| byte as u8)),
        _ => {
            fs::remove_file(&file).unwrap();
            return format!("{} removed", file.display());
        }
    }
    fs::write(&file, bytes).unwrap();
    format!("{}: {kind} at {at}", file.display())
}

/// A directory with history in two generations, a kill and all the values that every key ever had.
fn worn() -> (TempDir, Options, Vec<Vec<Vec<u8>>>) {
    let (folder, options) = folder();
    let mut history = vec![Vec::new(); 60];
    let (mut random, mut now) = (9, vec![None; history.len()]);
    for _ in 0..2 {
        let warm = Warm::start(options.clone());
        for _ in 0..60 {
            churn(&warm, &mut random, 10, &mut now);
            for (values, value) in history.iter_mut().zip(&now) {
                values.extend(value.clone());
                values.dedup();
            }
            // Values that were not seen here were not acknowledged either.
            warm.commit();
        }
        warm.stop();
    }
    (folder, options, history)
}

#[test]
fn a_large_item_that_lacks_a_frame_costs_itself_alone() {
    let (_folder, options) = folder();
    let warm = Warm::start(options.clone());
    let small: Vec<_> = (0..20).map(|key| format!("small{key}")).collect();
    for key in &small {
        // Each in a frame of its own.
        warm.set(key, key.as_bytes());
        warm.commit();
    }
    warm.set("large", &[b'x'; 100_000]);
    warm.commit();
    for part in 0..13 {
        let (_copy, damaged) = killed(&options.directory);
        let lost = lose_frame(&damaged.directory, part);
        assert!(lost > 0, "there is a part {part}");
        let back = Warm::start(damaged);
        assert_eq!(back.value("large"), None, "part {part}");
        // The last of all is one that may never have been written, for all that is known.
        let missing = back.status().counters.recovery_missing.load(Ordering::Relaxed);
        assert_eq!(missing, u64::from(part < 12), "part {part}");
        for key in &small {
            assert_eq!(back.value(key).as_deref(), Some(key.as_bytes()), "part {part}: {key}");
        }
    }
}

/// Breaks this part of every record that takes several frames, wherever it lies; how often it did.
fn lose_frame(directory: &Path, part: u32) -> usize {
    let mut lost = 0;
    for generation in directory::generations(directory) {
        for path in generation::data_files(&generation.path) {
            // A kill while a generation is made leaves one without files.
            let Ok(mut bytes) = fs::read(&path) else { continue };
            for at in memchr::memmem::find_iter(&bytes.clone(), frame::MAGIC) {
                let frame = frame::Frame::decode(&bytes[at..], generation.secret);
                if frame.is_some_and(|frame| frame.parts > 1 && frame.part == part) {
                    bytes[at] ^= 1;
                    lost += 1;
                }
            }
            fs::write(&path, bytes).unwrap();
        }
    }
    lost
}

/// How many random cases of damage are tried: some hundreds, or as many as the environment says.
fn cases() -> u64 {
    std::env::var("VOLT_PERSIST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(200)
}

#[test]
fn damage_costs_what_is_damaged_and_never_the_start() {
    let (_folder, options, history) = worn();
    let (mut back, mut starts) = (0, 0);
    for case in 0..cases() {
        let (_copy, damaged) = killed(&options.directory);
        let mut random = case.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut what = String::new();
        for _ in 0..=random % 3 {
            what += &damage(&damaged.directory, &mut random);
            what += "; ";
        }
        let check = |warm: &Warm| {
            let mut found = 0;
            for (key, values) in history.iter().enumerate() {
                if let Some(value) = warm.value(&format!("key{key}")) {
                    assert!(values.contains(&value), "case {case}: key{key} is wrong: {what}");
                    found += 1;
                }
            }
            found
        };
        let warm = Warm::start(damaged.clone());
        back += check(&warm);
        // It is written anew, and whole.
        warm.set("new", what.as_bytes());
        warm.commit();
        if case % 8 == 0 {
            starts += 1;
            let before = check(&warm);
            warm.wait("the checkpoint", |s| s.counters.checkpoints.load(Ordering::Relaxed) > 0);
            warm.stop();
            let warm = Warm::start(damaged);
            assert_eq!(check(&warm), before, "case {case}: {what}");
            assert_eq!(warm.value("new").unwrap(), what.as_bytes());
            assert_eq!(warm.status().counters.recovery_missing.load(Ordering::Relaxed), 0);
        }
    }
    assert!(starts > 0 && back > cases() * 20, "{back} keys were back");
}

#[test]
fn nothing_is_missing_after_a_stop_that_wrote_nothing() {
    let (_folder, options) = folder();
    for set in [false, true, false, false] {
        let warm = Warm::start(options.clone());
        if set {
            warm.set("key", b"value");
        }
        warm.wait("the checkpoint", |s| s.counters.checkpoints.load(Ordering::Relaxed) > 0);
        warm.stop();
        let report = inspect(&options.directory).unwrap();
        assert!(!report.is_damaged(), "{report}");
    }
}

#[test]
fn a_generation_in_the_making_is_no_damage_and_one_that_lacks_a_file_is() {
    for lost in [false, true] {
        let (_folder, options) = folder();
        let warm = Warm::start(options.clone());
        warm.set("key", b"value");
        warm.stop();
        let last = directory::generations(&options.directory).pop().unwrap();
        if lost {
            let begun = directory::generations(&options.directory).swap_remove(0);
            fs::remove_file(begun.path.join(tail::TAIL_FILE)).unwrap();
        } else {
            let name = format!("gen-{:08x}-{:x}-{:016x}", last.number + 1, last.first << 32, 1);
            fs::create_dir(options.directory.join(name)).unwrap();
        }
        assert_eq!(inspect(&options.directory).unwrap().is_damaged(), lost);
        let warm = Warm::start(options.clone());
        warm.wait("the checkpoint", |s| s.counters.checkpoints.load(Ordering::Relaxed) > 0);
        warm.stop();
        assert_eq!(directory::quarantined(&options.directory).len(), usize::from(lost));
    }
}
