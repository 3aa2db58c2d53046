//! One client's connection: bytes from the socket to the conversation, replies back.
//!
//! A connection is a task that sleeps until its socket has something, and then takes one turn: it receives
//! into the worker's input buffer, runs every request that is whole, and writes all replies at once. What is left
//! over (the beginning of a request, replies that the socket did not take) becomes the connection's own until
//! the next turn. So an idle connection owns no buffer, and a turn has no await in it: the shared buffers never
//! hold anything of a connection that waits.
//!
//! Bounds: while a connection owns unsent replies it neither reads nor runs requests, so a client that does
//! not read costs at most one input buffer, one output up to its high-water mark, and two held values, the first of
//! which is shorter than 128 KiB. What a connection owns is charged to the engine's memory limit.
//!
//! A value that has not arrived whole is received straight into the memory of its item. After `-R` requests a
//! connection takes what is left of its input and goes to the end of the worker's queue; its replies wait for the
//! end of the input, or the output's high-water mark, so that a long pipeline still costs few writes.

use super::peer::Peer;
use super::worker::{INPUT_BYTES_MIN, Shared};
use crate::command::connections::State;
use crate::command::watch::{CloseReason, Subscription};
use crate::command::{Conversation, Next, Output};
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::io::poll_read_buf;

/// What is read at once where the line of a large value is expected, in bytes: some lines, and not much of the value.
const LINE_BYTES: usize = 4 * 1024;
const _: () = assert!(INPUT_BYTES_MIN / 2 >= LINE_BYTES);

/// Time between two looks whether the disk has what an answer waits for.
const DISK_WAIT: Duration = Duration::from_millis(1);

/// A client connection, whatever its socket is.
pub(super) struct Connection<S> {
    client: Client<S>,
    own: Own,
}

/// The client's side: who it is, its socket, its conversation.
struct Client<S> {
    /// Before the stream, for the table must forget the descriptor before it is closed.
    peer: Rc<Peer>,
    stream: S,
    /// After the stream: the connection counts until its socket is closed.
    _permit: OwnedSemaphorePermit,
    conversation: Conversation,
    shared: Rc<Shared>,
}

/// What a connection keeps while it waits.
struct Own {
    /// Received, and done with up to `start`.
    input: Vec<u8>,
    start: usize,
    /// Replies that the socket has not taken yet.
    output: Output,
    /// Bytes that the engine was charged for the above.
    charged: usize,
    /// The last thing that came was a value that was received into its item.
    uploading: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub fn new(
        shared: Rc<Shared>,
        stream: S,
        peer: Rc<Peer>,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        let conversation = Conversation::new(&shared.commands, peer.endpoint.cfd);
        let own = Own::new(&shared);
        let client = Client { peer, stream, _permit: permit, conversation, shared };
        Self { client, own }
    }

    /// Serves the client until one side closes.
    pub async fn run(mut self) {
        if let Ok(reason) = self.converse().await {
            self.client.peer.closes_for(reason);
        }
    }

    async fn converse(&mut self) -> io::Result<CloseReason> {
        let mut next = Next::Read;
        loop {
            if matches!(next, Next::Yield) {
                let_others_run().await;
            } else if !self.own.output.is_empty() {
                poll_fn(|cx| self.client.poll_send(cx, &mut self.own.output)).await?;
                self.own.settle(&self.client.shared);
            }
            let turn = match next {
                Next::Read => poll_fn(|cx| self.poll_receive(cx)).await?,
                Next::ReadValue => poll_fn(|cx| self.poll_receive_value(cx)).await?,
                Next::Write | Next::Yield => poll_fn(|cx| self.poll_go_on(cx)).await?,
                Next::Wait => {
                    tokio::time::sleep(DISK_WAIT).await;
                    poll_fn(|cx| self.poll_go_on(cx)).await?
                }
                Next::Close(reason) => return Ok(reason),
                Next::Watch(subscription) => return self.watch(&subscription).await,
            };
            match turn {
                Some(then) => next = then,
                None => return Ok(CloseReason::Normal),
            }
        }
    }

    /// Receives into the worker's buffer and runs what has come; `None` at the end of the stream.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Next>>> {
        let Self { client, own } = self;
        let before = own.input.len();
        if before > client.shared.input_bytes / 2 {
            return self.poll_receive_more(cx);
        }
        let shared = Rc::clone(&client.shared);
        let mut input = shared.input.borrow_mut();
        // What comes after one large value is mostly the next: little of it is to be copied from here.
        let most = if own.uploading { before + LINE_BYTES } else { shared.input_bytes };
        let received = ready!(client.poll_read(cx, &mut input[before..most]))?;
        if received == 0 {
            return Poll::Ready(Ok(None));
        }
        input[..before].copy_from_slice(&own.input);
        let input = &input[..before + received];
        let mut output = shared.output.borrow_mut();
        let served = client.serve(cx, input, &mut output);
        if let Ok((consumed, _)) = served {
            own.keep(&input[consumed..], &mut output);
        }
        // A short read may have been the end of the value's line, and tells nothing of what is next.
        own.uploading &= received < most - before || matches!(served, Ok((_, Next::ReadValue)));
        // The buffer is the worker's: what this client is sent no more, nobody else must be sent.
        output.clear();
        output.shrink(shared.output_bytes());
        drop(output);
        own.settle(&shared);
        Poll::Ready(served.map(|(_, next)| Some(next)))
    }

    /// Receives more of a line that is too long for the worker's buffer; `None` at the end of the stream.
    fn poll_receive_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Next>>> {
        let Self { client, own } = self;
        own.input.reserve(client.shared.input_bytes);
        let polled = poll_read_buf(Pin::new(&mut client.stream), cx, &mut own.input);
        own.settle(&client.shared);
        let received = ready!(polled)?;
        client.shared.commands.counters().bytes_read.add(received as u64);
        if received == 0 {
            return Poll::Ready(Ok(None));
        }
        self.poll_go_on(cx)
    }

    /// Receives a value into its item, and goes on when it is whole; `None` at the end of the stream.
    fn poll_receive_value(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Next>>> {
        self.own.uploading = true;
        while let Some(received) = ready!(self.client.poll_read_value(cx))? {
            if received == 0 {
                return Poll::Ready(Ok(None));
            }
        }
        self.poll_go_on(cx)
    }

    /// Runs what the connection still has of its own input. Always ready; it needs the context to write.
    fn poll_go_on(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Next>>> {
        let Self { client, own } = self;
        let (consumed, next) = client.serve(cx, &own.input[own.start..], &mut own.output)?;
        own.start += consumed;
        if !matches!(next, Next::Write | Next::Yield) {
            own.input.drain(..own.start);
            own.start = 0;
        }
        let shared = Rc::clone(&client.shared);
        own.settle(&shared);
        Poll::Ready(Ok(Some(next)))
    }

    /// Writes the lines that the subscription brings, until the client closes; what it sends is ignored.
    async fn watch(&mut self, subscription: &Subscription) -> io::Result<CloseReason> {
        self.client.peer.set_state(State::Watch);
        let (mut lines, mut sent) = (Vec::new(), 0);
        poll_fn(|cx| {
            while let Poll::Ready(received) = self.client.poll_read(cx, &mut [0; 512])? {
                if received == 0 {
                    return Poll::Ready(Ok(CloseReason::Normal));
                }
            }
            loop {
                if sent == lines.len() {
                    lines.clear();
                    sent = 0;
                    ready!(subscription.poll_lines(cx, &mut lines));
                }
                sent += ready!(self.client.poll_write(cx, &[&lines[sent..]]))?;
            }
        })
        .await
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// Runs the requests in `input` and writes their replies, until something has to be waited for. Returns the
    /// bytes that are done with, and what to wait for; replies that could not be written are left in `output`.
    fn serve(
        &mut self,
        cx: &mut Context<'_>,
        input: &[u8],
        output: &mut Output,
    ) -> io::Result<(usize, Next)> {
        let shared = Rc::clone(&self.shared);
        let began = shared.commands.latency.begin();
        self.peer.command_at(shared.commands.context.clock.now());
        self.peer.set_state(State::ParseCommand);
        let mut consumed = 0;
        let next = loop {
            let rest = &input[consumed..];
            let progress = self.conversation.advance(&shared.commands, rest, output);
            consumed += progress.consumed;
            match progress.next {
                Next::Yield => break Next::Yield,
                next => {
                    let sent = self.poll_send(cx, output)?;
                    if sent.is_pending() || !matches!(next, Next::Write) {
                        break next;
                    }
                }
            }
        };
        shared.commands.latency.end(began);
        self.peer.set_state(match next {
            Next::Read => self.conversation.receiving(),
            Next::ReadValue => State::ReadValue,
            _ => State::WriteMany,
        });
        Ok((consumed, next))
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        let received = buffer.filled().len();
        self.shared.commands.counters().bytes_read.add(received as u64);
        Poll::Ready(Ok(received))
    }

    /// Receives some of a value into its item; `None` when it is whole.
    fn poll_read_value(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<usize>>> {
        let Some(draft) = self.conversation.upload() else { return Poll::Ready(Ok(None)) };
        let received = ready!(poll_read_buf(Pin::new(&mut self.stream), cx, draft))?;
        self.shared.commands.counters().bytes_read.add(received as u64);
        Poll::Ready(Ok(Some(received)))
    }

    /// Writes the output; ready when nothing of it is left.
    fn poll_send(&mut self, cx: &mut Context<'_>, output: &mut Output) -> Poll<io::Result<()>> {
        while !output.is_empty() {
            let sent = ready!(self.poll_write(cx, &output.parts()))?;
            output.wrote(sent);
        }
        Poll::Ready(Ok(()))
    }

    /// Writes some of the parts, at least one byte.
    fn poll_write(&mut self, cx: &mut Context<'_>, parts: &[&[u8]]) -> Poll<io::Result<usize>> {
        let stream = Pin::new(&mut self.stream);
        let mut waiting = parts.iter().filter(|part| !part.is_empty());
        let sent = match (waiting.next(), waiting.next()) {
            // The plain call is the cheaper one, and nearly all replies are of one part.
            (Some(part), None) => ready!(stream.poll_write(cx, part))?,
            _ => {
                let mut slices = [IoSlice::new(&[]); Output::PARTS];
                for (slice, part) in slices.iter_mut().zip(parts) {
                    *slice = IoSlice::new(part);
                }
                ready!(stream.poll_write_vectored(cx, &slices))?
            }
        };
        if sent == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.shared.commands.counters().bytes_written.add(sent as u64);
        Poll::Ready(Ok(sent))
    }
}

impl Own {
    fn new(shared: &Shared) -> Self {
        let output = Output::bounded(shared.input_bytes);
        Self { input: Vec::new(), start: 0, output, charged: 0, uploading: false }
    }

    /// Takes what a turn has left over. The replies take their buffer with them: nothing is copied.
    fn keep(&mut self, rest: &[u8], output: &mut Output) {
        self.input.clear();
        self.input.extend_from_slice(rest);
        self.start = 0;
        if !output.is_empty() {
            mem::swap(&mut self.output, output);
        }
    }

    /// Lets go of memory that is not needed any more, and tells the engine of the rest.
    fn settle(&mut self, shared: &Shared) {
        if self.input.is_empty() {
            self.input = Vec::new();
        }
        if self.output.is_empty() && self.output.capacity() > 0 {
            let empty = Output::bounded(shared.input_bytes);
            let mut output = mem::replace(&mut self.output, empty);
            let mut place = shared.output.borrow_mut();
            // Back to where it came from, unless the worker has grown itself another one.
            if output.capacity() > place.capacity() {
                output.shrink(shared.output_bytes());
                *place = output;
            }
        }
        let bytes = self.input.capacity() + self.output.capacity();
        if bytes != self.charged {
            shared.charge(bytes.cast_signed() - self.charged.cast_signed());
            self.charged = bytes;
        }
    }
}

impl<S> Drop for Connection<S> {
    fn drop(&mut self) {
        self.client.shared.charge(-self.own.charged.cast_signed());
    }
}

/// Goes to the end of the worker's queue. Unlike tokio's `yield_now` this does not ask the system for events first:
/// the runtime does so by itself after a number of tasks.
pub(super) async fn let_others_run() {
    let mut yielded = false;
    poll_fn(|cx| {
        if mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
