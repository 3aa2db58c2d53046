//! Asking a running Volt: for its page of metrics, and for its hot keys.

use crate::tool::connect;
use std::io::{self, Read, Write};
use std::time::Duration;

/// How long each step may take.
const STEP_TIME_MAX: Duration = Duration::from_secs(5);

/// Most bytes of an answer: many times what a page has.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// Sends a request and takes all of the answer.
fn exchange(address: &str, request: &str) -> io::Result<String> {
    let mut stream = connect(address, STEP_TIME_MAX)?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
    Ok(answer)
}

/// The text of `/metrics`.
pub(super) fn page(address: &str) -> io::Result<String> {
    let request = format!("GET /metrics HTTP/1.0\r\nHost: {address}\r\n\r\n");
    let answer = exchange(address, &request)?;
    match answer.split_once("\r\n\r\n") {
        Some((head, page)) if head.contains(" 200 ") => Ok(page.to_owned()),
        _ => Err(io::Error::other("this is not Volt's page of metrics")),
    }
}

/// The lines of `stats hotkeys`; none while nobody looks for hot keys, or where they cannot be had.
pub(super) fn hot_keys(server: &str) -> Vec<String> {
    let answer = exchange(server, "stats hotkeys\r\nquit\r\n").unwrap_or_default();
    answer.lines().filter_map(|line| line.strip_prefix("KEY ")).map(str::to_owned).collect()
}
