//! The text protocol over UDP (protocol.txt, "UDP protocol").
//!
//! A datagram is a frame header of 8 bytes and whole requests; the replies to all of them are one message, cut into
//! datagrams that carry the request's id, their own number and how many there are. (memcached numbers the
//! reply to every request, and to every key of a `get`, anew from 0, which no client can put in order.) A message
//! of several datagrams is dropped, and so are a request that is not whole and everything of the binary protocol.
//!
//! A datagram has no past and no future: each has a conversation of its own. Replies are sent as fast as the
//! socket takes them; nothing is repeated. Each socket is served by one worker, and other clients have their turn
//! between the steps of a long answer.
//!
//! Bounds: a message is gathered before it is sent, for its datagrams say how many they are. It may be as long as the
//! largest item (`-I`) and 64 KiB, and 65535 datagrams; what would make it longer is left out, a line of SERVER_ERROR
//! ends it, and the requests that follow are not run. (memcached bounds a reply by the number of datagrams alone, and
//! cuts it there.) What is gathered is charged to the engine's memory limit.

use super::connection::let_others_run;
use super::peer::Local;
use super::worker::Shared;
use crate::command::connections::State;
use crate::command::{Conversation, Next, Output};
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::UdpSocket;

/// Bytes of the frame header.
const HEADER_BYTES: usize = 8;

/// Most bytes of replies in one datagram; memcached's.
const PAYLOAD_BYTES: usize = 1400 - HEADER_BYTES;

/// Most bytes of a message: as many datagrams as the header can count.
const MESSAGE_BYTES_MAX: usize = PAYLOAD_BYTES * u16::MAX as usize;

/// Bytes that a message may have beside the largest item.
const MESSAGE_BYTES_MORE: usize = 64 * 1024;

/// Ends a message that would be too long.
const TOO_LONG: &[u8] = b"SERVER_ERROR response too large for UDP\r\n";

/// Pause after a failure to receive.
const PAUSE: Duration = Duration::from_millis(10);

/// Largest datagram there is.
const DATAGRAM_BYTES_MAX: usize = 65536;

/// Serves one socket for ever.
pub(super) async fn serve(shared: Rc<Shared>, socket: UdpSocket) {
    let cfd = socket.as_raw_fd();
    let context = &shared.commands.context;
    let Ok(address) = socket.local_addr() else { return };
    let endpoint = Local::udp(address).as_endpoint(cfd);
    let entry = context.connections.register(endpoint, State::Read, context.clock.now());
    let mut datagram = Buffer { shared: &shared, bytes: vec![0; DATAGRAM_BYTES_MAX], charged: 0 };
    datagram.settle(0);
    loop {
        let Ok((length, client)) = socket.recv_from(&mut datagram.bytes).await else {
            // About an earlier reply, or for want of memory; the socket itself goes on.
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        entry.command_at(context.clock.now());
        shared.commands.counters().bytes_read.add(length as u64);
        let Some((id, requests)) = open(&datagram.bytes[..length]) else { continue };
        let message = answer(&shared, cfd, requests).await;
        match send(&socket, client, id, &message.bytes).await {
            Ok(sent) => shared.commands.counters().bytes_written.add(sent),
            Err(error) => tracing::debug!("a reply to {client} could not be sent: {error}"),
        }
    }
}

/// The request's id and its requests; `None` for what is to be dropped.
fn open(datagram: &[u8]) -> Option<([u8; 2], &[u8])> {
    let (header, requests) = datagram.split_first_chunk::<HEADER_BYTES>()?;
    let [id_high, id_low, _, _, total_high, total_low, _, _] = *header;
    (!requests.is_empty() && [total_high, total_low] == [0, 1])
        .then_some(([id_high, id_low], requests))
}

/// Bytes that the engine is charged for.
struct Buffer<'s> {
    shared: &'s Shared,
    bytes: Vec<u8>,
    charged: usize,
}

impl Buffer<'_> {
    /// Charges what the buffer takes by now, and `more` bytes that live as long as it grows.
    fn settle(&mut self, more: usize) {
        let bytes = self.bytes.capacity() + more;
        self.shared.charge(bytes.cast_signed() - self.charged.cast_signed());
        self.charged = bytes;
    }
}

impl Drop for Buffer<'_> {
    fn drop(&mut self) {
        self.shared.charge(-self.charged.cast_signed());
    }
}

/// Runs the requests of one datagram.
async fn answer<'s>(shared: &'s Shared, cfd: i32, mut requests: &[u8]) -> Buffer<'s> {
    let commands = &shared.commands;
    let most = (commands.handle.engine().item_size_max() + MESSAGE_BYTES_MORE)
        .min(MESSAGE_BYTES_MAX)
        - TOO_LONG.len();
    let mut conversation = Conversation::new(commands, cfd);
    let mut output = Output::new();
    let mut message = Buffer { shared, bytes: Vec::new(), charged: 0 };
    loop {
        let began = commands.latency.begin();
        let progress = conversation.advance(commands, requests, &mut output);
        commands.latency.end(began);
        requests = &requests[progress.consumed..];
        if message.bytes.len() + output.len() > most {
            message.bytes.extend_from_slice(TOO_LONG);
            message.settle(0);
            return message;
        }
        for part in output.parts() {
            message.bytes.extend_from_slice(part);
        }
        output.clear();
        message.settle(output.capacity());
        if !matches!(progress.next, Next::Write | Next::Yield | Next::Wait) {
            message.settle(0);
            return message;
        }
        let_others_run().await;
    }
}

/// Sends a message in as many datagrams as it needs; the bytes sent.
async fn send(
    socket: &UdpSocket,
    client: SocketAddr,
    id: [u8; 2],
    message: &[u8],
) -> io::Result<u64> {
    let mut bytes = 0;
    let mut datagram = Vec::with_capacity(HEADER_BYTES + PAYLOAD_BYTES);
    let total = u16::try_from(message.len().div_ceil(PAYLOAD_BYTES)).unwrap_or(u16::MAX);
    for (number, payload) in (0..total).zip(message.chunks(PAYLOAD_BYTES)) {
        datagram.clear();
        datagram.extend_from_slice(&id);
        datagram.extend_from_slice(&number.to_be_bytes());
        datagram.extend_from_slice(&total.to_be_bytes());
        datagram.extend_from_slice(&[0, 0]);
        datagram.extend_from_slice(payload);
        bytes += socket.send_to(&datagram, client).await? as u64;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_single_datagrams_with_content_are_opened() {
        assert_eq!(open(b"\x01\x02\0\0\0\x01\0\0get a\r\n"), Some(([1, 2], &b"get a\r\n"[..])));
        assert_eq!(open(b"\x01\x02\0\0\0\x01\0\0"), None, "no request");
        assert_eq!(open(b"\x01\x02\0\0\0\x02\0\0get a\r\n"), None, "one of two datagrams");
        assert_eq!(open(b"\x01\x02\0"), None, "no header");
    }
}
