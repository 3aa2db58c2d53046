//! Logging in over the text protocol (`-Y`): `set <key> <flags> <exptime> <bytes>\r\n<user> <password>\r\n`.
//!
//! Until a client has logged in, a set with a user and a password as its data is all that is understood; key,
//! flags and exptime are ignored. A refused line does not take its data block with it: what follows is read as
//! the next line, as in memcached. protocol.txt, "Authentication".

use super::{Output, Worker};
use crate::protocol::Tokens;
use crate::protocol::number::parse_u32;

/// So many bytes without an end of line are no login.
const LINE_MAX: usize = 2048;
/// Shortest line that is answered at all, in bytes before its `\n`.
const LINE_MIN: usize = 6;
/// Longest user and password, in bytes.
const TOKEN_MAX: usize = 16 * 1024;

/// How far a client has come with logging in.
#[derive(Debug, Default)]
pub struct Login {
    /// Length of the data block that is awaited, in bytes with its end of line.
    block_len: Option<usize>,
}

/// What a step of a login came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Read more.
    Wait,
    /// So many bytes are done with; not logged in yet.
    Consumed(usize),
    /// Logged in, with so many bytes.
    LoggedIn(usize),
    /// No login: close without an answer.
    Close,
}

impl Login {
    /// Takes one line, or one data block, from the beginning of `input`.
    pub fn step(&mut self, worker: &Worker, input: &[u8], output: &mut Output) -> Step {
        match self.block_len {
            None => self.line(input, output),
            Some(len) => match input.get(..len) {
                None => Step::Wait,
                Some(block) => {
                    self.block_len = None;
                    check(worker, block, output)
                }
            },
        }
    }

    fn line(&mut self, input: &[u8], output: &mut Output) -> Step {
        let Some(end) = memchr::memchr(b'\n', input) else {
            return if input.len() > LINE_MAX { Step::Close } else { Step::Wait };
        };
        if end < LINE_MIN {
            return Step::Close;
        }
        let line = &input[..end];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let len = Tokens::new(line).get(4).and_then(parse_u32);
        let len = len.filter(|_| line.starts_with(b"set")).map(|len| len as usize);
        match len {
            None => output.line("CLIENT_ERROR unauthenticated"),
            Some(len) if len > TOKEN_MAX => output.line("CLIENT_ERROR auth token too long"),
            Some(len) => self.block_len = Some(len + 2),
        }
        Step::Consumed(end + 1)
    }
}

fn check(worker: &Worker, block: &[u8], output: &mut Output) -> Step {
    let Some(token) = block.strip_suffix(b"\r\n") else {
        output.line("CLIENT_ERROR bad command line termination");
        return Step::Consumed(block.len());
    };
    if !token.contains(&b' ') {
        output.line("CLIENT_ERROR bad authentication token format");
        return Step::Consumed(block.len());
    }
    worker.counters().auth_cmds.bump();
    if worker.context.auth.check(token) {
        output.line("STORED");
        Step::LoggedIn(block.len())
    } else {
        worker.counters().auth_errors.bump();
        output.line("CLIENT_ERROR authentication failure");
        Step::Consumed(block.len())
    }
}
