//! Plays a transcript against a peer and says where the peer departs from it.

use crate::script::{Action, Piece, Transcript};
use crate::support::connection::{Connection, Received};
use crate::support::random::Random;
use crate::support::{Address, Peer};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How the client's bytes reach the server.
pub enum Sending {
    /// One write for all lines up to the next expected one.
    Whole,
    /// Pieces of random sizes.
    Split(Random),
}

/// Plays the whole transcript on fresh connections; `Err` says what was expected and what came.
pub fn play(transcript: &Transcript, peer: &dyn Peer, sending: &mut Sending) -> Result<(), String> {
    let mut scene = Scene {
        address: peer.address(),
        connections: BTreeMap::new(),
        names: BTreeMap::new(),
        skipping: false,
    };
    // Transcripts with options have keys of their own: -F refuses this, -C flushes by the whole second.
    if transcript.options.is_empty() && !transcript.alone {
        assert_eq!(scene.connection(0)?.ask("flush_all"), "OK");
    }
    scene.connections.clear();
    let mut unsent = Vec::new();
    let mut steps = transcript.steps.iter().peekable();
    while let Some(step) = steps.next() {
        let at = |problem| format!("line {}: {problem}", step.line);
        match &step.action {
            Action::Send { pieces, now } => {
                unsent.extend(scene.render(pieces).map_err(at)?);
                let more = steps.peek().is_some_and(|next| {
                    next.connection == step.connection && matches!(next.action, Action::Send { .. })
                });
                if *now || !more {
                    let connection = scene.connection(step.connection)?;
                    match sending {
                        Sending::Whole => connection.send(&unsent),
                        Sending::Split(random) => connection.send_split(&unsent, random),
                    }
                    unsent.clear();
                }
            }
            Action::Expect(pieces) => scene.expect(step.connection, pieces).map_err(at)?,
            Action::Skip => scene.skipping = true,
            Action::Closed => scene.expect_closed(step.connection).map_err(at)?,
            Action::Close => {
                scene.connections.remove(&step.connection);
            }
            Action::Wait(seconds) => scene.wait(*seconds)?,
        }
    }
    scene.expect_nothing_more()
}

struct Scene {
    address: Address,
    connections: BTreeMap<usize, Connection>,
    names: BTreeMap<String, u64>,
    skipping: bool,
}

/// How far a pattern matches the input.
enum Match {
    /// To its end, which is this many bytes on.
    Whole(usize),
    /// As far as the input goes.
    SoFar,
    /// Not.
    Not,
}

impl Scene {
    fn connection(&mut self, number: usize) -> Result<&mut Connection, String> {
        use std::collections::btree_map::Entry;
        match self.connections.entry(number) {
            Entry::Occupied(entry) => Ok(entry.into_mut()),
            Entry::Vacant(entry) => {
                let opened = Connection::open(&self.address)
                    .map_err(|error| format!("connection {number}: {error}"))?;
                Ok(entry.insert(opened))
            }
        }
    }

    /// The bytes to send for this line.
    fn render(&self, pieces: &[Piece]) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        for piece in pieces {
            match piece {
                Piece::Literal(literal) => bytes.extend(literal),
                Piece::Named { name, plus } => {
                    let value = self.value(name)?.wrapping_add_signed(*plus);
                    bytes.extend(value.to_string().bytes());
                }
                Piece::Now(plus) => {
                    let now =
                        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_secs());
                    bytes.extend(now.wrapping_add_signed(*plus).to_string().bytes());
                }
                other => return Err(format!("cannot send {other:?}")),
            }
        }
        Ok(bytes)
    }

    fn value(&self, name: &str) -> Result<u64, String> {
        self.names.get(name).copied().ok_or_else(|| format!("nothing was named {name} so far"))
    }

    fn expect(&mut self, number: usize, pieces: &[Piece]) -> Result<(), String> {
        let skipping = std::mem::take(&mut self.skipping);
        loop {
            let mut names = self.names.clone();
            let input = &mut self.connection(number)?.input;
            match matches(pieces, input, &mut names)? {
                Match::Whole(length) => {
                    input.drain(..length);
                    self.names = names;
                    return Ok(());
                }
                Match::SoFar => {}
                Match::Not => {
                    let line_end = input.windows(2).position(|pair| pair == b"\r\n");
                    match line_end {
                        Some(end) if skipping => {
                            input.drain(..end + 2);
                            continue;
                        }
                        None if skipping => {}
                        _ => return Err(self.difference(number, pieces, "")),
                    }
                }
            }
            match self.connection(number)?.receive() {
                Received::Bytes => {}
                Received::Closed => {
                    return Err(self.difference(number, pieces, ", then it closed"));
                }
                Received::Silence => return Err(self.difference(number, pieces, ", then silence")),
            }
        }
    }

    fn difference(&mut self, number: usize, pieces: &[Piece], after: &str) -> String {
        let mut expected = String::new();
        for piece in pieces {
            match piece {
                Piece::Literal(bytes) => expected.push_str(&show(bytes)),
                Piece::Named { name, plus } => {
                    let value = self.names.get(name).map(|value| value.wrapping_add_signed(*plus));
                    let _ = write!(expected, "{{{name}{plus:+}: {value:?}}}");
                }
                other => {
                    let _ = write!(expected, "{{{other:?}}}");
                }
            }
        }
        let got = self.connections.get(&number).map_or(String::new(), |c| show(&c.input));
        format!("connection {number}\n    expected {expected}\n    got      {got}{after}")
    }

    fn expect_closed(&mut self, number: usize) -> Result<(), String> {
        loop {
            let connection = self.connection(number)?;
            if !connection.input.is_empty() {
                return Err(self.difference(number, &[], ", where it should have closed"));
            }
            match connection.receive() {
                Received::Bytes => {}
                Received::Closed => break,
                Received::Silence => return Err(format!("connection {number} stays open")),
            }
        }
        self.connections.remove(&number);
        Ok(())
    }

    /// Every connection that is still open answers the next request, and had nothing else to say.
    fn expect_nothing_more(&mut self) -> Result<(), String> {
        let numbers: Vec<_> = self.connections.keys().copied().collect();
        for number in numbers {
            self.connection(number)?.send(b"mn\r\n");
            self.expect(number, &[Piece::Literal(b"MN\r\n".to_vec())])
                .map_err(|problem| format!("after the last line: {problem}"))?;
        }
        Ok(())
    }

    /// Moves the peer's clock where it can be moved (`debugtime`); otherwise time has to pass.
    fn wait(&mut self, seconds: u64) -> Result<(), String> {
        let mut control = Connection::open(&self.address).map_err(|error| error.to_string())?;
        if control.ask(&format!("debugtime {seconds}")) != "OK" {
            std::thread::sleep(Duration::from_secs(seconds));
        }
        Ok(())
    }
}

fn matches(
    pieces: &[Piece],
    input: &[u8],
    names: &mut BTreeMap<String, u64>,
) -> Result<Match, String> {
    let mut at = 0;
    for piece in pieces {
        let rest = &input[at..];
        let length = match piece {
            Piece::Literal(bytes) if rest.starts_with(bytes) => bytes.len(),
            Piece::Literal(bytes) if bytes.starts_with(rest) => return Ok(Match::SoFar),
            Piece::Literal(_) => return Ok(Match::Not),
            Piece::Anything => match rest.windows(2).position(|pair| pair == b"\r\n") {
                Some(end) => end,
                None => return Ok(Match::SoFar),
            },
            piece => {
                let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
                if length == rest.len() {
                    return Ok(Match::SoFar);
                }
                let digits = std::str::from_utf8(&rest[..length]).expect("digits");
                match digits.parse() {
                    Ok(value) if number_fits(piece, value, names)? => length,
                    _ => return Ok(Match::Not),
                }
            }
        };
        at += length;
    }
    Ok(Match::Whole(at))
}

fn number_fits(
    piece: &Piece,
    value: u64,
    names: &mut BTreeMap<String, u64>,
) -> Result<bool, String> {
    Ok(match piece {
        Piece::Named { name, plus } => match names.get(name) {
            Some(known) => value == known.wrapping_add_signed(*plus),
            None => {
                names.insert(name.clone(), value);
                true
            }
        },
        Piece::Greater { name, than } => {
            let than = *names.get(than).ok_or_else(|| format!("nothing was named {than}"))?;
            names.insert(name.clone(), value);
            value > than
        }
        Piece::Near(target) => value <= *target && value + 3 >= *target,
        Piece::Number => true,
        other => return Err(format!("cannot expect {other:?}")),
    })
}

/// Bytes as a transcript writes them, shortened.
fn show(bytes: &[u8]) -> String {
    const SHOWN_MAX: usize = 300;
    let shown = &bytes[..bytes.len().min(SHOWN_MAX)];
    let more = if bytes.len() > SHOWN_MAX {
        format!("... ({} bytes)", bytes.len())
    } else {
        String::new()
    };
    format!("{}{more}", shown.escape_ascii())
}
