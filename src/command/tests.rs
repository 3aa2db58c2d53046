//! Transcripts of whole conversations: what a client sends, what it gets. Unless said otherwise the expectations are
//! memcached 1.6.45's, and hold however the bytes are cut into packets.

use super::auth::Credentials;
use super::context::{Durability, Figures, NoControl};
use super::options::Options;
use super::watch::Hub;
use super::{Context, Conversation, Next, Output, Worker};
use crate::clock::Clock;
use crate::engine::{self, Engine};
use crate::protocol::VERSION;
use crate::stats::{Registry, Totals};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A worker with an engine of its own.
pub(super) fn worker(options: Options) -> Worker {
    let clock = Arc::new(Clock::manual());
    let registry = Arc::new(Registry::default());
    let engine_options =
        engine::Options { memory_limit: 64 << 20, hash_power: 8, ..engine::Options::default() };
    let engine = Engine::new(engine_options, Arc::clone(&clock), Arc::clone(&registry));
    let (watch, _) = Hub::new(&options);
    let context = Context::new(engine, clock, registry, options, watch, Box::new(NoControl));
    Worker::new(Arc::new(context))
}

pub(super) fn totals(worker: &Worker) -> Totals {
    worker.context.registry.totals()
}

/// A client, and the part of the server that the conversation expects.
pub(super) struct Client<'w> {
    worker: &'w Worker,
    conversation: Conversation,
    /// Received and not yet consumed.
    input: Vec<u8>,
    output: Output,
    /// Everything that was answered.
    pub(super) answered: Vec<u8>,
    closed: bool,
    yields: u32,
}

impl<'w> Client<'w> {
    pub(super) fn new(worker: &'w Worker) -> Self {
        Self {
            worker,
            conversation: Conversation::new(worker, 7),
            input: Vec::new(),
            output: Output::new(),
            answered: Vec::new(),
            closed: false,
            yields: 0,
        }
    }

    /// One packet arrives and is dealt with.
    pub(super) fn send(&mut self, mut packet: &[u8]) {
        if let Some(draft) = self.conversation.upload() {
            packet = &packet[draft.fill(packet)..];
        }
        self.input.extend_from_slice(packet);
        while !self.closed {
            let progress = self.conversation.advance(self.worker, &self.input, &mut self.output);
            self.input.drain(..progress.consumed);
            match progress.next {
                Next::Read | Next::ReadValue => break,
                Next::Write => assert!(!self.output.is_empty(), "nothing to write"),
                Next::Yield | Next::Wait => self.yields += 1,
                Next::Close(_) => self.closed = true,
                Next::Watch(_) => panic!("nobody asked to watch"),
            }
            self.write();
        }
        self.write();
    }

    /// Writes the output in awkward pieces.
    fn write(&mut self) {
        while !self.output.is_empty() {
            let part = self.output.parts().into_iter().find(|part| !part.is_empty());
            let part = part.expect("an output that is not empty has a part");
            let piece = &part[..part.len().min(1000)];
            self.answered.extend_from_slice(piece);
            let written = piece.len();
            self.output.wrote(written);
        }
    }
}

pub(super) fn ask(worker: &Worker, packets: &[&[u8]]) -> String {
    let mut client = Client::new(worker);
    for packet in packets {
        client.send(packet);
    }
    String::from_utf8_lossy(&client.answered).into_owned()
}

/// Sends `question` in one packet, cut in two at every byte, and byte by byte, each to a fresh cache.
fn check(options: &Options, question: &str, answer: &str) {
    let question = question.as_bytes();
    let answer = answer.replace("VERSION", &format!("VERSION {VERSION}"));
    assert_eq!(ask(&worker(options.clone()), &[question]), answer, "in one packet");
    for cut in 1..question.len() {
        let (a, b) = question.split_at(cut);
        assert_eq!(ask(&worker(options.clone()), &[a, b]), answer, "cut at {cut}");
    }
    let bytes: Vec<&[u8]> = question.chunks(1).collect();
    assert_eq!(ask(&worker(options.clone()), &bytes), answer, "byte by byte");
}

pub(super) fn transcript(question: &str, answer: &str) {
    check(&Options::default(), question, answer);
}

#[test]
fn storing_and_fetching() {
    transcript(
        "set a 5 0 3\r\nabc\r\nget a\r\ngets b\r\nadd a 0 0 1\r\n1\r\nadd b 0 0 1\r\n2\r\n\
         replace c 0 0 1\r\n1\r\nreplace b 1 0 2\r\n22\r\nappend b 9 0 1\r\n3\r\n\
         prepend b 9 0 1\r\n1\r\nget b  a   c\r\nappend c 0 0 1\r\n1\r\n",
        "STORED\r\nVALUE a 5 3\r\nabc\r\nEND\r\nEND\r\nNOT_STORED\r\nSTORED\r\n\
         NOT_STORED\r\nSTORED\r\nSTORED\r\n\
         STORED\r\nVALUE b 1 4\r\n1223\r\nVALUE a 5 3\r\nabc\r\nEND\r\nNOT_STORED\r\n",
    );
}

#[test]
fn a_cas_needs_the_unique_of_the_item() {
    let worker = worker(Options::default());
    let answer = ask(&worker, &[b"cas a 0 0 1 1\r\nx\r\nset a 0 0 1\r\n1\r\ngets a\r\n"]);
    let unique = answer.split_whitespace().nth(6).expect("a unique").to_owned();
    assert_eq!(answer, format!("NOT_FOUND\r\nSTORED\r\nVALUE a 0 1 {unique}\r\n1\r\nEND\r\n"));
    let cas = format!("cas a 0 0 1 {unique}\r\n2\r\n");
    let question = [&cas, &cas, "cas a 0 0 1 0\r\n3\r\n", "get a\r\n"].concat();
    let answer = ask(&worker, &[question.as_bytes()]);
    assert_eq!(answer, "STORED\r\nEXISTS\r\nEXISTS\r\nVALUE a 0 1\r\n2\r\nEND\r\n");
    let totals = totals(&worker);
    assert_eq!((totals.cas_hits, totals.cas_badval, totals.cas_misses), (1, 2, 1));
    assert_eq!(totals.cmd_set, 5, "whatever came of it");
}

#[test]
fn arithmetic() {
    transcript(
        "set n 0 0 2\r\n10\r\nincr n 5\r\ndecr n 6\r\nget n\r\ndecr n 100\r\nincr n 1 noreply\r\nget n\r\n\
         incr x 1\r\ndecr x 1\r\nset n 0 0 20\r\n18446744073709551615\r\nincr n 3\r\nget n\r\n\
         set n 0 0 1\r\nx\r\nincr n 1\r\nincr n x\r\nset n 0 0 0\r\n\r\nincr n 1\r\n",
        "STORED\r\n15\r\n9\r\nVALUE n 0 2\r\n9 \r\nEND\r\n0\r\nVALUE n 0 2\r\n1 \r\nEND\r\n\
         NOT_FOUND\r\nNOT_FOUND\r\nSTORED\r\n2\r\nVALUE n 0 20\r\n2                   \r\nEND\r\n\
         STORED\r\nCLIENT_ERROR cannot increment or decrement non-numeric value\r\n\
         CLIENT_ERROR invalid numeric delta argument\r\n\
         STORED\r\nCLIENT_ERROR cannot increment or decrement non-numeric value\r\n",
    );
}

#[test]
fn deleting_touching_and_flushing() {
    transcript(
        "set a 0 0 1\r\n1\r\ntouch a 100\r\ngat 0 a b\r\ngats 10 b\r\ntouch b 0\r\ndelete a 0\r\ndelete a\r\n\
         set a 0 0 1\r\n1\r\nflush_all\r\nget a\r\nset a 0 -1 1\r\n1\r\nget a\r\n\
         flush_all noreply\r\nflush_all x\r\nverbosity 1\r\nverbosity\r\nverbosity 0 noreply\r\n",
        "STORED\r\nTOUCHED\r\nVALUE a 0 1\r\n1\r\nEND\r\nEND\r\nNOT_FOUND\r\nDELETED\r\nNOT_FOUND\r\n\
         STORED\r\nOK\r\nEND\r\nSTORED\r\nEND\r\n\
         CLIENT_ERROR invalid exptime argument\r\nOK\r\nCLIENT_ERROR bad command line format\r\n",
    );
    let options = Options { flush_enabled: false, ..Options::default() };
    check(
        &options,
        "set a 0 0 1\r\n1\r\nflush_all\r\nflush_all noreply\r\nget a\r\n",
        "STORED\r\nCLIENT_ERROR flush_all not allowed\r\nVALUE a 0 1\r\n1\r\nEND\r\n",
    );
}

/// A disk that has everything, or nothing.
#[derive(Default)]
struct Disk(AtomicBool);

impl Durability for Disk {
    fn ticket(&self) -> u64 {
        1
    }

    fn is_durable(&self, _: u64) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn is_loading(&self) -> bool {
        false
    }

    fn figures(&self, _: &mut Figures<'_>) {}
}

#[test]
fn durable_deletes_are_answered_when_the_disk_has_them() {
    for (request, reply, waits) in [
        ("delete a\r\n", "DELETED\r\n", true),
        ("delete b\r\n", "NOT_FOUND\r\n", true),
        ("md a k Ox\r\n", "HD ka Ox\r\n", true),
        ("md a I\r\n", "HD\r\n", true),
        ("delete b noreply\r\nmd a q\r\nmn\r\n", "MN\r\n", false),
        ("get b\r\n", "END\r\n", false),
    ] {
        for durable_deletes in [true, false] {
            let disk = Arc::new(Disk::default());
            let worker = worker(Options { durable_deletes, ..Options::default() });
            let context = Arc::into_inner(worker.context).expect("nobody else has it");
            let worker =
                Worker::new(Arc::new(context.with_durability(Some(Arc::clone(&disk) as _))));
            let mut client = Client::new(&worker);
            client.send(b"set a 0 0 1\r\n1\r\n");
            let mut output = Output::new();
            let mut input = [request, "get b\r\n"].concat().into_bytes();
            let mut advance = |output: &mut Output| {
                let progress = client.conversation.advance(&worker, &input, output);
                input.drain(..progress.consumed);
                (matches!(progress.next, Next::Wait), output.parts().concat())
            };
            let all = [reply, "END\r\n"].concat();
            if waits && durable_deletes {
                assert_eq!(advance(&mut output), (true, Vec::new()), "{request}");
                assert_eq!(advance(&mut output), (true, Vec::new()), "{request}");
                disk.0.store(true, Ordering::Relaxed);
            }
            assert_eq!(advance(&mut output), (false, all.into_bytes()), "{request}");
        }
    }
}

#[test]
fn large_values_wait_for_what_is_asked_beside_them_unless_they_are_many_or_very_large() {
    let worker = worker(Options::default());
    let mut client = Client::new(&worker);
    let (medium, large) = ("m".repeat(40_000), "l".repeat(200_000));
    for (key, value) in [("m", &medium), ("n", &medium), ("l", &large)] {
        client.send(format!("set {key} 0 0 {}\r\n{value}\r\n", value.len()).as_bytes());
    }
    let hit = |key, value: &String| format!("VALUE {key} 0 {}\r\n{value}\r\nEND\r\n", value.len());
    let (m, n, l) = (hit("m", &medium), hit("n", &medium), hit("l", &large));
    for (question, left, held, answer) in [
        ("get m\r\nmn\r\n", "", vec![40_000], [&m, "MN\r\n"].concat()),
        ("mn\r\nget m\r\nget n\r\nmn\r\n", "mn\r\n", vec![40_000; 2], ["MN\r\n", &m, &n].concat()),
        ("get m\r\nget l\r\n", "", vec![40_000, 200_000], [&*m, &l].concat()),
        ("get l\r\nmn\r\n", "mn\r\n", vec![200_000], l.clone()),
    ] {
        let mut output = Output::new();
        let progress = client.conversation.advance(&worker, question.as_bytes(), &mut output);
        assert_eq!(&question[progress.consumed..], left, "{question}");
        let lens = output.parts().map(<[u8]>::len);
        assert_eq!(lens.into_iter().filter(|len| *len > 32_000).collect::<Vec<_>>(), held);
        assert!(output.parts().concat() == answer.as_bytes(), "{question}");
    }
    // Written in pieces.
    client.answered.clear();
    client.send(b"get m\r\nget m\r\nget n\r\nget l\r\nget m\r\nmn\r\n");
    assert!(client.answered == [&*m, &m, &n, &l, &m, "MN\r\n"].concat().as_bytes());
}

#[test]
fn noreply_hushes() {
    transcript(
        "set a 0 0 1 noreply\r\n1\r\nadd a 0 0 1 noreply\r\n2\r\nincr a 1 noreply\r\ntouch a 0 noreply\r\n\
         get a\r\ndelete a noreply\r\ndelete a noreply\r\nget a\r\nset a 0 0 1 noreply\r\n12\r\n\
         foo noreply\r\nmn\r\nversion\r\n",
        "VALUE a 0 1\r\n2\r\nEND\r\nEND\r\nCLIENT_ERROR bad command line format\r\nMN\r\nVERSION\r\n",
    );
}

#[test]
fn lines_may_end_with_a_newline_alone_but_data_may_not() {
    transcript(
        "set a 0 0 1\nx\r\nget a\nset a 0 0 1\r\ny\nget a\r\nget a\n",
        "STORED\r\nVALUE a 0 1\r\nx\r\nEND\r\nCLIENT_ERROR bad data chunk\r\nERROR\r\n\
         VALUE a 0 1\r\nx\r\nEND\r\n",
    );
}

#[test]
fn a_bad_data_chunk_ends_where_it_should_have_ended() {
    transcript(
        "set a 0 0 1\r\n12\r\nversion\r\nset a 0 0 3\r\n12\r\n\r\nversion\r\n",
        "CLIENT_ERROR bad data chunk\r\nCLIENT_ERROR bad command line format\r\nVERSION\r\n\
         CLIENT_ERROR bad data chunk\r\nCLIENT_ERROR bad command line format\r\nVERSION\r\n",
    );
}

#[test]
fn refused_values_are_swallowed() {
    transcript(
        "set a x 0 9\r\nversion\r\n\r\nversion\r\ncas a 0 0 1\r\n1\r\nset a 0 0 -1\r\nversion\r\n",
        "CLIENT_ERROR bad command line format\r\nVERSION\r\nCLIENT_ERROR bad command line format\r\n\
         CLIENT_ERROR bad command line format\r\nVERSION\r\n",
    );
}

#[test]
fn a_value_too_large_takes_the_old_one_away() {
    let worker = worker(Options::default());
    let large = vec![b'x'; 2 << 20];
    let packets: [&[u8]; 5] = [
        b"set a 0 0 1\r\n1\r\nset b 0 0 1\r\n1\r\nset a 0 0 2097152\r\n",
        &large,
        b"\r\nadd b 0 0 2097152 noreply\r\n",
        &large,
        b"\r\nget a b\r\n",
    ];
    assert_eq!(
        ask(&worker, &packets),
        "STORED\r\nSTORED\r\nSERVER_ERROR object too large for cache\r\nVALUE b 0 1\r\n1\r\nEND\r\n"
    );
    assert_eq!(totals(&worker).store_too_large, 2);
    assert_eq!(totals(&worker).cmd_set, 2, "a refused value is not counted");
    let mut client = Client::new(&worker);
    client.send(b"set k 0 0 2147483645\r\n");
    assert_eq!(client.answered, b"SERVER_ERROR object too large for cache\r\n", "at once");
}

#[test]
fn large_values_are_received_and_sent_whole() {
    let worker = worker(Options::default());
    let value: Vec<u8> = (0..200_000u32).map(|i| (i % 251) as u8).collect();
    let question =
        [b"set big 7 0 200000\r\n", &value[..], b"\r\nget big\r\nget big big\r\n"].concat();
    let one = [b"VALUE big 7 200000\r\n", &value[..], b"\r\n"].concat();
    let answer = [b"STORED\r\n", &one[..], b"END\r\n", &one, &one, b"END\r\n"].concat();
    for size in [1 << 20, 65_536, 17_000, 16_384, 1000] {
        let mut client = Client::new(&worker);
        question.chunks(size).for_each(|packet| client.send(packet));
        assert!(client.answered == answer, "in packets of {size}");
    }
    let mut client = Client::new(&worker);
    client.send(&question[..question.len() / 4]);
    assert!(client.conversation.upload().is_some());
    drop(client);
    let mut client = Client::new(&worker);
    client.send(b"get big\r\n");
    assert_eq!(client.answered, [&one[..], b"END\r\n"].concat(), "half an upload changes nothing");
}

#[test]
fn a_large_value_without_its_end_of_line() {
    let worker = worker(Options::default());
    let value = vec![b'x'; 40_000];
    let question = [b"set a 0 0 40000\r\n", &value[..], b"xx\r\nmn\r\nget a\r\n"].concat();
    let answer =
        "CLIENT_ERROR bad data chunk\r\nCLIENT_ERROR bad command line format\r\nMN\r\nEND\r\n";
    for size in [1 << 20, 20_000, 40_018, 40_017, 40_016] {
        let packets: Vec<&[u8]> = question.chunks(size).collect();
        assert_eq!(ask(&worker, &packets), answer, "in packets of {size}");
    }
}

#[test]
fn a_long_multi_get_fills_the_output_many_times() {
    let worker = worker(Options::default());
    let mut question = Vec::new();
    let mut answer = Vec::new();
    let value = "v".repeat(100);
    for i in 0..5000 {
        question.extend(format!("set key{i} 0 0 100 noreply\r\n{value}\r\n").bytes());
        answer.extend(format!("VALUE key{i} 0 100\r\n{value}\r\n").bytes());
    }
    question.extend(b"get");
    (0..5000).for_each(|i| question.extend(format!(" key{i} miss{i}").bytes()));
    question.extend(b"  \r\nmn\r\n");
    answer.extend(b"END\r\nMN\r\n");
    for size in [1 << 20, 50_000] {
        let mut client = Client::new(&worker);
        question.chunks(size).for_each(|packet| client.send(packet));
        assert!(client.answered == answer, "in packets of {size}");
    }
    assert_eq!(totals(&worker).get_hits, 10_000);
    assert_eq!(totals(&worker).get_misses, 10_000);
}

#[test]
fn gets_count_as_gets_and_gats_as_touches() {
    let worker = worker(Options::default());
    ask(&worker, &[b"set a 0 0 1\r\n1\r\nget a b\r\ngat 0 a b\r\ntouch a 0\r\ntouch b 0\r\n"]);
    let counted = totals(&worker);
    assert_eq!((counted.cmd_get, counted.get_hits, counted.get_misses), (2, 1, 1));
    assert_eq!((counted.cmd_touch, counted.touch_hits, counted.touch_misses), (4, 2, 2));

    ask(&worker, &[b"set a 0 10 1\r\n1\r\n"]);
    worker.context.clock.advance(11);
    assert_eq!(ask(&worker, &[b"get a\r\n"]), "END\r\n");
    ask(&worker, &[b"set a 0 0 1\r\n1\r\nflush_all\r\n"]);
    assert_eq!(ask(&worker, &[b"get a\r\n"]), "END\r\n");
    let counted = totals(&worker);
    assert_eq!((counted.get_expired, counted.get_flushed, counted.cmd_flush), (1, 1, 1));
}

#[test]
fn a_key_too_long_fails_the_whole_get() {
    let key = "k".repeat(251);
    // The empty line after it is memcached's.
    transcript(
        &format!("set a 0 0 1\r\n1\r\nget a {key} a\r\nget a\r\n"),
        "STORED\r\nCLIENT_ERROR bad command line format\r\n\r\nVALUE a 0 1\r\n1\r\nEND\r\n",
    );
}

#[test]
fn what_closes_the_connection() {
    let worker = worker(Options::default());
    let long = vec![b'a'; 2049];
    for packet in [&b"quit\r\n"[..], b"quit now\n", b"GET / HTTP/1.1\r\n", b"\x80\0\0", &long] {
        let mut client = Client::new(&worker);
        client.send(packet);
        assert!(client.closed, "{:?}", &packet[..packet.len().min(20)]);
        assert!(client.answered.is_empty());
    }
    let mut client = Client::new(&worker);
    client.send(b"mn\r\n\x80\r\nquit\r\nmn\r\n");
    assert_eq!(client.answered, b"MN\r\nCLIENT_ERROR bad command line format\r\n");
    assert!(client.closed);
}

#[test]
fn a_line_that_arrives_slowly_is_not_lost() {
    let worker = worker(Options::default());
    ask(&worker, &[b"set a 0 0 1\r\n1\r\n"]);
    let mut client = Client::new(&worker);
    client.send(b"get");
    client.send(&b" miss".repeat(30_000));
    client.send(b" a");
    client.send(b" b\r");
    assert!(client.answered.is_empty());
    client.send(b"\nmn\r\n");
    assert_eq!(client.answered, b"VALUE a 0 1\r\n1\r\nEND\r\nMN\r\n");
}

#[test]
fn others_get_their_turn_after_so_many_requests() {
    let worker = worker(Options { reqs_per_event: 3, ..Options::default() });
    let mut client = Client::new(&worker);
    client.send(&b"get a\r\n".repeat(10));
    assert_eq!(client.answered, b"END\r\n".repeat(10));
    assert_eq!(client.yields, 3, "after 3, 6 and 9");
    assert_eq!(totals(&worker).conn_yields, 3);
    let mut client = Client::new(&worker);
    for _ in 0..5 {
        client.send(&b"get a\r\n".repeat(2));
    }
    assert_eq!(client.yields, 0, "waiting for input lets others run");
}

#[test]
fn a_long_multi_get_lets_others_run_too() {
    let worker = worker(Options::default());
    let mut client = Client::new(&worker);
    client.send(&[b"get", &b" k".repeat(100_000)[..], b"\r\nmn\r\n"].concat());
    assert_eq!(client.answered, b"END\r\nMN\r\n");
    assert!(client.yields >= 20, "{} yields", client.yields);
    assert_eq!(totals(&worker).get_misses, 100_000);
    assert_eq!(totals(&worker).conn_yields, 0, "counts what -R is the reason for");
}

#[test]
fn logging_in() {
    let auth = Credentials::parse(b"foo:bar\nbaaaz:quux\n");
    let options = Options { auth, ..Options::default() };
    check(
        &options,
        "get foo\r\nset foo 0 0 2\r\nhi\r\nset foo 0 0 7\r\nfoo bab\r\nset foo 0 0 2147483646\r\n\
         set foo 0 0 7\r\nfoo barxxset foo 0 0 10 \r\nbaaaz quux\r\nget foo\r\n",
        "CLIENT_ERROR unauthenticated\r\nCLIENT_ERROR bad authentication token format\r\n\
         CLIENT_ERROR authentication failure\r\nCLIENT_ERROR auth token too long\r\n\
         CLIENT_ERROR bad command line termination\r\nSTORED\r\nEND\r\n",
    );
    let worker = worker(options);
    ask(&worker, &[b"set foo 0 0 7\r\nfoo bab\r\nset foo 0 0 7\r\nfoo bar\r\n"]);
    assert_eq!((totals(&worker).auth_cmds, totals(&worker).auth_errors), (2, 1));
    let mut client = Client::new(&worker);
    client.send(b"get\r\n");
    assert!(client.closed && client.answered.is_empty(), "too short to be a login");
}

#[test]
fn pipelined_requests_see_each_other() {
    // Longer than one look-ahead, and each request depends on the one before.
    let worker = worker(Options { reqs_per_event: 1000, ..Options::default() });
    let mut question = String::from("set n 0 0 1\r\n0\r\n");
    let mut answer = String::from("STORED\r\n");
    for i in 1..=100 {
        question += "incr n 1\r\nget n\r\nmg n v\r\n";
        answer += &format!(
            "{i}\r\nVALUE n 0 {0}\r\n{i}\r\nEND\r\nVA {0}\r\n{i}\r\n",
            i.to_string().len()
        );
    }
    assert_eq!(ask(&worker, &[question.as_bytes()]), answer);
}
