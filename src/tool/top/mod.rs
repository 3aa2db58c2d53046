//! `volt top [-n FRAMES] [METRICS [SERVER]]`: what a running Volt does, in a terminal, anew every second.
//!
//! Everything comes from the server's `/metrics` (METRICS, 127.0.0.1:9150): rates are differences of two scrapes. The hot
//! keys come from `stats hotkeys` (SERVER, 127.0.0.1:11211), if somebody has turned them on. Plain ANSI: the screen
//! is painted over, so nothing has to be restored at the end; to a pipe the frames go one after the other. While the
//! server does not answer the frame says so: whoever watches a restart wants to see its end.

mod fetch;
mod frame;
mod scrape;

use scrape::Scrape;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::thread;
use std::time::{Duration, Instant};

/// Time between two frames.
const EVERY: Duration = Duration::from_secs(1);

const USAGE: &str = "usage: volt top [-n frames] [metrics host:port [server host:port]]";

/// Shows frames until it is interrupted, or has shown as many as were asked for.
pub(super) fn run(words: &[String]) -> Result<(), String> {
    let (frames, words) = match words {
        [flag, number, rest @ ..] if flag == "-n" => {
            (Some(number.parse::<u64>().map_err(|_| USAGE.to_owned())?), rest)
        }
        rest => (None, rest),
    };
    let (metrics, server) = match words {
        [] => ("127.0.0.1:9150", "127.0.0.1:11211"),
        [metrics] if !metrics.starts_with('-') => (metrics.as_str(), "127.0.0.1:11211"),
        [metrics, server] if !metrics.starts_with('-') => (metrics.as_str(), server.as_str()),
        _ => return Err(USAGE.to_owned()),
    };
    let terminal = io::stdout().is_terminal();
    let mut before = take(metrics)?;
    for _ in 0..frames.unwrap_or(u64::MAX) {
        thread::sleep(EVERY);
        let mut text = match take(metrics) {
            Ok(now) => {
                let text = frame::render(metrics, &before, &now, &fetch::hot_keys(server));
                before = now;
                text
            }
            Err(error) => format!("no answer: {error}\n"),
        };
        if terminal {
            text = painted_over(&text);
        }
        let mut out = io::stdout();
        if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
            // Whoever closes the pipe has seen enough.
            return Ok(());
        }
    }
    Ok(())
}

fn take(metrics: &str) -> Result<Scrape, String> {
    let page =
        fetch::page(metrics).map_err(|error| format!("http://{metrics}/metrics: {error}"))?;
    Ok(Scrape::parse(&page, Instant::now()))
}

/// The frame in place of the one before: each line in its row up to its end, and nothing below. What is beyond the
/// last row of a terminal comes to lie in that row, so nothing scrolls and the first lines stay.
fn painted_over(text: &str) -> String {
    let mut painted = String::with_capacity(2 * text.len());
    let mut row = 1;
    for line in text.lines() {
        // Writing to a String cannot fail.
        let _ = write!(painted, "\x1b[{row};1H{line}\x1b[K");
        row += 1;
    }
    let _ = write!(painted, "\x1b[J\x1b[{row};1H");
    painted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_painted_row_by_row_and_never_scrolls() {
        let painted = painted_over("a\n\nb\n");
        let rows = "\x1b[1;1Ha\x1b[K\x1b[2;1H\x1b[K\x1b[3;1Hb\x1b[K";
        assert_eq!(painted, format!("{rows}\x1b[J\x1b[4;1H"));
    }
}
