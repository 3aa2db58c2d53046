//! One client's conversation: bytes in, replies out, no I/O.
//!
//! The driver shows the input that it has, as often as it likes; the conversation takes whole requests from its
//! beginning, runs them in order and says what it needs next. Between calls it remembers no more than what the
//! input no longer shows: half a multi-get, a value on its way, a listing under way. The epoch is pinned for at most
//! one batch of requests and never after a call has returned.
//!
//! A data block that is short, or whole in the input, is copied from there. A longer one is received into the item
//! it will become: its line is kept, and parsed again when the value is whole.

use super::admin::Listing;
use super::durable::Wait;
use super::login::{Login, Step};
use super::pipeline::{self, Outcome};
use super::retrieval::{self, Fetch};
use super::upload::Upload;
use super::watch::{CloseReason, Subscription};
use super::{Output, Scope, Worker, connections};
use crate::engine::Draft;
use crate::protocol::{Parse, Words, text};

/// A first byte that no text command begins with: the binary protocol's, which is not spoken here.
const BINARY_MAGIC: u8 = 0x80;

/// What the driver of a conversation must do next.
pub enum Next {
    /// Write the output, read more input, call again. The input may be as long as the longest line allowed, so its
    /// buffer has to grow when it is full.
    Read,
    /// Write the output, read straight into [`Conversation::upload`] until it is whole, call again. What is read
    /// beyond the value belongs to the input.
    ReadValue,
    /// Write the output out, then call again without reading.
    Write,
    /// Enough for now (`-R` requests, or a long answer's step): let other connections run, then call again without
    /// reading. The output may wait.
    Yield,
    /// Write the output, wait a moment, call again without reading: an answer waits for the disk.
    Wait,
    /// Write the output, then close; the reason is for the log.
    Close(CloseReason),
    /// Write the output, then turn the connection into a watcher's.
    Watch(Subscription),
}

/// What a call of [`Conversation::advance`] came to.
pub struct Progress {
    /// Bytes of the input that are done with and must not be shown again.
    pub consumed: usize,
    /// What to do next.
    pub next: Next,
}

/// The state of one client's conversation between calls.
pub struct Conversation {
    /// The client's socket number, as logs and `stats conns` show it.
    cfd: i32,
    state: State,
    /// So many bytes at the beginning of the input are known to have no end of line.
    scanned: usize,
    /// Requests run since others last had their turn.
    served: u32,
    /// The input ends within a short data block.
    in_block: bool,
}

/// What the conversation is in the middle of.
enum State {
    /// Nothing was received yet.
    Fresh,
    /// Not logged in yet.
    Login(Login),
    /// Between two requests.
    Idle,
    /// In a multi-get: the input goes on with the rest of its keys.
    Fetching(Fetch),
    /// Receiving a value.
    Receiving(Upload),
    /// Skipping so many bytes of a refused value.
    Swallowing(usize),
    /// In the middle of a long answer.
    Listing(Listing),
    /// Before an answer that waits for the disk.
    Waiting(Wait),
}

impl Conversation {
    /// A new conversation over the connection that logs call `cfd`.
    pub fn new(worker: &Worker, cfd: i32) -> Self {
        let state = match worker.context.auth.required() {
            true => State::Login(Login::default()),
            false => State::Fresh,
        };
        Self { cfd, state, scanned: 0, served: 0, in_block: false }
    }

    /// Runs the requests in `input`, as many as are whole and allowed, and appends their replies to `output`.
    pub fn advance(&mut self, worker: &Worker, input: &[u8], output: &mut Output) -> Progress {
        let mut consumed = 0;
        let next = loop {
            if output.is_full() {
                break Next::Write;
            }
            let rest = &input[consumed..];
            let (taken, next) = match &mut self.state {
                State::Idle => self.serve(worker, rest, output),
                State::Fresh => self.begin(rest),
                State::Login(_) => self.log_in(worker, rest, output),
                State::Fetching(_) => self.fetch(worker, rest, output),
                State::Receiving(_) => self.receive(worker, rest, output),
                State::Swallowing(_) => self.swallow(rest),
                State::Waiting(wait) => match wait.is_over(worker, output) {
                    true => {
                        self.state = State::Idle;
                        (0, None)
                    }
                    false => (0, Some(Next::Wait)),
                },
                State::Listing(listing) => match listing.step(worker, output) {
                    true => {
                        self.state = State::Idle;
                        (0, None)
                    }
                    // It may also have looked at many items and listed few.
                    false => (0, Some(pause(output))),
                },
            };
            consumed += taken;
            if let Some(next) = next {
                break next;
            }
        };
        if !matches!(next, Next::Write) {
            self.served = 0;
        }
        Progress { consumed, next }
    }

    /// The item to receive the rest of a value into; there is one while the last answer was [`Next::ReadValue`].
    pub fn upload(&mut self) -> Option<&mut Draft> {
        match &mut self.state {
            State::Receiving(upload) if !upload.is_whole() => Some(upload.draft()),
            _ => None,
        }
    }

    /// The first byte tells whether this is text at all.
    fn begin(&mut self, input: &[u8]) -> (usize, Option<Next>) {
        match input.first() {
            None => (0, Some(Next::Read)),
            Some(&BINARY_MAGIC) => (0, Some(Next::Close(CloseReason::Error))),
            Some(_) => {
                self.state = State::Idle;
                (0, None)
            }
        }
    }

    fn log_in(
        &mut self,
        worker: &Worker,
        input: &[u8],
        output: &mut Output,
    ) -> (usize, Option<Next>) {
        let State::Login(login) = &mut self.state else { return (0, None) };
        match login.step(worker, input, output) {
            Step::Wait => (0, Some(Next::Read)),
            Step::Close => (0, Some(Next::Close(CloseReason::Error))),
            Step::Consumed(bytes) => (bytes, None),
            Step::LoggedIn(bytes) => {
                self.state = State::Idle;
                (bytes, None)
            }
        }
    }

    /// Runs one batch of the requests that `input` begins with.
    fn serve(
        &mut self,
        worker: &Worker,
        input: &[u8],
        output: &mut Output,
    ) -> (usize, Option<Next>) {
        if input.is_empty() {
            return (0, Some(Next::Read));
        }
        let allowed = worker.context.options.reqs_per_event.max(1);
        if self.served >= allowed {
            worker.counters().conn_yields.bump();
            return (0, Some(Next::Yield));
        }
        let unseen = input.get(self.scanned..).unwrap_or_default();
        if self.scanned > 0 && memchr::memchr(b'\n', unseen).is_none() {
            return self.wait_for_line(input);
        }
        self.scanned = 0;
        let session = worker.handle.pin();
        let scope = Scope { worker, session: &session, cfd: self.cfd };
        let batch = pipeline::run(scope, input, allowed - self.served, output);
        self.served += batch.served;
        self.in_block = matches!(batch.outcome, Outcome::WaitForBlock);
        let next = match batch.outcome {
            Outcome::Done => None,
            Outcome::WaitForLine => return self.wait_for_line(input),
            Outcome::WaitForBlock => Some(Next::Read),
            Outcome::Close(reason) => Some(Next::Close(reason)),
            Outcome::Watch(subscription) => Some(Next::Watch(subscription)),
            Outcome::Fetch(fetch) => {
                self.state = State::Fetching(fetch);
                Some(pause(output))
            }
            Outcome::Receive(upload) => self.enter(State::Receiving(upload)),
            Outcome::Swallow(bytes) => self.enter(State::Swallowing(bytes)),
            Outcome::List(listing) => self.enter(State::Listing(listing)),
            Outcome::Wait(wait) => self.enter(State::Waiting(wait)),
        };
        (batch.consumed, next)
    }

    /// What `stats conns` says of a connection that is to read on.
    pub fn receiving(&self) -> connections::State {
        match self.state {
            State::Swallowing(_) => connections::State::Swallow,
            State::Idle if self.in_block => connections::State::ReadValue,
            _ => connections::State::Read,
        }
    }

    fn enter(&mut self, state: State) -> Option<Next> {
        self.state = state;
        None
    }

    /// No end of line yet. What was looked at once is not looked at again, however slowly the line arrives.
    fn wait_for_line(&mut self, input: &[u8]) -> (usize, Option<Next>) {
        self.scanned = input.len();
        match text::unfinished(input) {
            Parse::TooLong => (0, Some(Next::Close(CloseReason::Error))),
            _ => (0, Some(Next::Read)),
        }
    }

    /// Goes on with a multi-get.
    fn fetch(
        &mut self,
        worker: &Worker,
        input: &[u8],
        output: &mut Output,
    ) -> (usize, Option<Next>) {
        let State::Fetching(fetch) = self.state else { return (0, None) };
        let Some(end) = memchr::memchr(b'\n', input) else { return (0, Some(Next::Read)) };
        let line = &input[..end];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let session = worker.handle.pin();
        let scope = Scope { worker, session: &session, cfd: self.cfd };
        match retrieval::fetch_all(scope, fetch, Words::new(line), output) {
            Some(left) => (line.len() - left.rest().len(), Some(pause(output))),
            None => {
                self.state = State::Idle;
                (end + 1, None)
            }
        }
    }

    /// Goes on receiving a value, and stores it when it is whole.
    fn receive(
        &mut self,
        worker: &Worker,
        input: &[u8],
        output: &mut Output,
    ) -> (usize, Option<Next>) {
        let State::Receiving(upload) = &mut self.state else { return (0, None) };
        let taken = upload.take(input);
        if !upload.is_whole() {
            return (taken, Some(Next::ReadValue));
        }
        let Some(end_of_line) = input[taken..].first_chunk::<2>() else {
            return (taken, Some(Next::Read));
        };
        let State::Receiving(upload) = std::mem::replace(&mut self.state, State::Idle) else {
            return (taken, None);
        };
        let session = worker.handle.pin();
        let scope = Scope { worker, session: &session, cfd: self.cfd };
        upload.finish(scope, end_of_line, output);
        (taken + 2, None)
    }

    fn swallow(&mut self, input: &[u8]) -> (usize, Option<Next>) {
        let State::Swallowing(left) = &mut self.state else { return (0, None) };
        let taken = input.len().min(*left);
        *left -= taken;
        if *left > 0 {
            return (taken, Some(Next::Read));
        }
        self.state = State::Idle;
        (taken, None)
    }
}

/// What a long answer has stopped for: the output is to be written, or others are to have their turn.
fn pause(output: &Output) -> Next {
    if output.is_full() { Next::Write } else { Next::Yield }
}
