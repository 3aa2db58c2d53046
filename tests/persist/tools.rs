//! `volt inspect`, `volt export` and `volt import`.

use crate::beside_others;
use crate::program::Setup;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Runs a tool on a directory; its exit code and what it printed.
fn tool(name: &str, directory: &Path, input: &[u8]) -> (Option<i32>, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_volt"))
        .arg(name)
        .arg(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let said = [stdout, stderr].concat();
    (status.code(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn a_directory_can_be_inspected_exported_and_imported() {
    let _machine = beside_others();
    let data = tempfile::tempdir().unwrap();
    let program = Setup::on(data.path()).start();
    let mut client = program.connect();
    assert_eq!(client.ask("set plain 7 0 5\r\nvalue\r\n").unwrap(), "STORED");
    assert_eq!(client.ask("ms AP8gCg== 3 b F2\r\n1\r\n\r\n").unwrap(), "HD");
    assert_eq!(client.ask("set short 0 1000 1\r\n1\r\n").unwrap(), "STORED");
    assert_eq!(client.ask("set deleted 0 0 1\r\n1\r\n").unwrap(), "STORED");
    assert_eq!(client.ask("delete deleted\r\n").unwrap(), "DELETED");
    program.stop();

    let (code, report) = tool("inspect", data.path(), b"");
    assert_eq!(code, Some(0), "{report}");
    for line in ["items            3 (", "stopped cleanly  yes", "damage           none"] {
        assert!(report.contains(line), "{report}");
    }
    let (code, dump) = tool("export", data.path(), b"");
    assert_eq!(code, Some(0), "{dump}");
    assert!(dump.contains("set plain 7 0 5\r\nvalue\r\n"), "{dump}");
    assert!(dump.contains("ms AP8gCg== 3 b F2 T0\r\n1\r\n\r\n"), "{dump}");

    let other = tempfile::tempdir().unwrap();
    let (code, said) = tool("import", other.path(), dump.as_bytes());
    assert_eq!((code, &*said), (Some(0), "3 items stored\n"));
    let program = Setup::on(other.path()).start();
    let mut client = program.connect();
    assert_eq!(client.get("plain").unwrap(), "value");
    assert_eq!(client.ask("mg AP8gCg== b f t\r\n").unwrap(), "HD f2 t-1");
    let ttl = client.ask("mg short t\r\n").unwrap();
    let seconds: u32 = ttl.strip_prefix("HD t").unwrap().parse().unwrap();
    assert!((900..=1000).contains(&seconds), "{ttl}");
    program.stop();

    let (code, said) = tool("import", other.path(), &dump.as_bytes()[..dump.len() - 3]);
    assert_eq!(code, Some(1));
    assert!(said.contains("ends amid an item"), "{said}");
    assert_eq!(tool("inspect", &data.path().join("none"), b"").0, Some(1));
    let entries = fs::read_dir(data.path()).unwrap().flatten().map(|entry| entry.path());
    for generation in entries.filter(|path| path.join("db").exists()) {
        // The newest frames are in both.
        fs::write(generation.join("db"), b"").unwrap();
        fs::write(generation.join("tail"), b"").unwrap();
    }
    let (code, report) = tool("inspect", data.path(), b"");
    assert_eq!(code, Some(1), "{report}");
    assert!(report.contains("missing or damaged"), "{report}");
}
