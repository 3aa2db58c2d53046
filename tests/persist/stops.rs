//! Clean stops and starts, and who may use a directory.

use crate::beside_others;
use crate::program::Setup;

#[test]
fn a_stop_loses_nothing_and_a_flush_stays() {
    let _machine = beside_others();
    let data = tempfile::tempdir().unwrap();
    let program = Setup::on(data.path()).start();
    let mut client = program.connect();
    assert_eq!(client.ask("set before 0 0 1\r\n1\r\n").unwrap(), "STORED");
    assert_eq!(client.ask("flush_all\r\n").unwrap(), "OK");
    assert_eq!(client.ask("set after 5 0 1\r\n2\r\n").unwrap(), "STORED");
    assert_eq!(client.stat("persist_state").unwrap(), "ok");
    program.stop();
    let program = Setup::on(data.path()).start();
    let mut client = program.connect();
    assert_eq!(client.get("before"), None);
    assert_eq!(client.get("after").unwrap(), "2");
    assert_eq!(client.ask("flush_all\r\n").unwrap(), "OK");
    program.kill();
    let program = Setup::on(data.path()).start();
    assert_eq!(program.connect().get("after"), None, "the flush was on disk before its OK");
    program.stop();
}

#[test]
fn a_second_volt_on_the_same_directory_is_told_so() {
    let _machine = beside_others();
    let data = tempfile::tempdir().unwrap();
    let first = Setup::on(data.path()).start();
    first.connect();
    let (status, said) = Setup::on(data.path()).start().ended();
    assert_eq!(status.code(), Some(71));
    assert!(said.contains("is in use by another Volt"), "{said}");
}
