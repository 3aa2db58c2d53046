//! The server over real sockets: a node in this process, on free ports, and clients that behave badly.
//!
//! What replies say is `tests/conformance`'s; here it is about bytes that come in pieces, clients that do not
//! read, limits, timeouts and endings. "The server has seen it" is waited for at the node's own counters, never
//! by sleeping; only failing tests run into a deadline.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::Address;
use support::connection::{Connection, Received};
use volt::clock::Clock;
use volt::node::{Node, Options};
use volt::server::{Listen, Port};
use volt::stats::Totals;

const DEADLINE: Duration = Duration::from_secs(10);

fn options() -> Options {
    let mut options = Options::default();
    options.server.threads = 2;
    options.server.listen = Listen::parse_list("127.0.0.1").unwrap();
    options.server.port = Port::Any;
    options
}

fn start() -> Node {
    Node::start(options()).unwrap()
}

fn connect(node: &Node) -> Connection {
    Connection::open(&Address::Tcp(node.addresses().tcp[0])).unwrap()
}

fn raw(node: &Node) -> TcpStream {
    let stream = TcpStream::connect(node.addresses().tcp[0]).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// What a `stats` command says of `name`, over the wire.
#[track_caller]
fn stat(connection: &mut Connection, command: &str, name: &str) -> u64 {
    let mut value = None;
    let mut line = connection.ask(command);
    while let Some(stat) = line.strip_prefix("STAT ") {
        let (its_name, its_value) = stat.split_once(' ').unwrap();
        if its_name == name {
            value = Some(its_value.parse().unwrap());
        }
        line = connection.line();
    }
    assert_eq!(line, "END");
    value.unwrap_or_else(|| panic!("{command} has no {name}"))
}

/// Waits until something is true of the node.
#[track_caller]
fn wait_until(what: &str, mut is_true: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_true() {
        assert!(start.elapsed() < DEADLINE, "not within the deadline: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn totals(node: &Node) -> Totals {
    node.context().registry.lifetime()
}

fn buffer_bytes(node: &Node) -> u64 {
    node.context().engine.stats().buffer_bytes
}

fn connections(node: &Node) -> usize {
    node.context().connections.count()
}

#[track_caller]
fn expect(connection: &mut Connection, reply: &[u8]) {
    while connection.input.len() < reply.len() {
        assert_eq!(connection.receive(), Received::Bytes);
    }
    assert_eq!(
        String::from_utf8_lossy(&connection.input[..reply.len()]),
        String::from_utf8_lossy(reply)
    );
    connection.input.drain(..reply.len());
}

#[track_caller]
fn expect_close(connection: &mut Connection) {
    while connection.receive() != Received::Closed {}
    assert!(connection.input.is_empty(), "{:?}", String::from_utf8_lossy(&connection.input));
}

#[test]
fn a_stream_may_be_cut_at_every_byte() {
    let node = start();
    let requests = b"set a 7 0 5\r\nhello\r\nget a b\r\nmg a f v\r\nms b 3 c\r\nabc\r\nincr a 1\r\nnonsense\r\n";
    let mut connection = connect(&node);
    connection.send(requests);
    let mut whole = connection;
    expect(&mut whole, b"STORED\r\nVALUE a 7 5\r\nhello\r\nEND\r\nVA 5 f7\r\nhello\r\n");
    for cut in 1..requests.len() {
        let mut connection = connect(&node);
        connection.send(b"delete b\r\n");
        assert!(matches!(connection.receive(), Received::Bytes));
        connection.input.clear();
        let before = totals(&node).bytes_read;
        connection.send(&requests[..cut]);
        wait_until("the first piece is read", || totals(&node).bytes_read == before + cut as u64);
        connection.send(&requests[cut..]);
        expect(
            &mut connection,
            b"STORED\r\nVALUE a 7 5\r\nhello\r\nEND\r\nVA 5 f7\r\nhello\r\nHD c",
        );
        let line = connection.input.iter().position(|&byte| byte == b'\n');
        let rest = match line {
            Some(end) => connection.input.split_off(end + 1),
            None => Vec::new(),
        };
        connection.input = rest;
        let after = b"CLIENT_ERROR cannot increment or decrement non-numeric value\r\nERROR\r\n";
        while connection.input.len() < after.len() {
            assert_eq!(connection.receive(), Received::Bytes);
        }
        assert!(connection.input.ends_with(after), "cut at {cut}");
    }
}

#[test]
fn ten_thousand_requests_at_once_are_answered_in_order() {
    let node = start();
    let mut stream = raw(&node);
    let mut requests = Vec::new();
    let mut replies = Vec::new();
    for number in 0..10_000 {
        write!(requests, "set key{number} 0 0 5\r\n{number:05}\r\nget key{number}\r\n").unwrap();
        write!(replies, "STORED\r\nVALUE key{number} 0 5\r\n{number:05}\r\nEND\r\n").unwrap();
    }
    let mut writer = stream.try_clone().unwrap();
    let sending = std::thread::spawn(move || writer.write_all(&requests).unwrap());
    let mut received = vec![0; replies.len()];
    stream.read_exact(&mut received).unwrap();
    sending.join().unwrap();
    assert!(received == replies);
    assert!(totals(&node).conn_yields > 0, "others had their turn meanwhile");
}

#[test]
fn nothing_is_left_unsent_when_the_input_is_used_up() {
    for reqs_per_event in [1, 2, 3, 20] {
        let mut options = options();
        options.command.reqs_per_event = reqs_per_event;
        let node = Node::start(options).unwrap();
        let mut connection = connect(&node);
        for count in 1..=50 {
            connection.send(&b"get nothing\r\n".repeat(count));
            expect(&mut connection, &b"END\r\n".repeat(count));
        }
    }
}

#[test]
fn a_slow_reader_costs_little_and_gets_everything() {
    let node = start();
    let mut stream = raw(&node);
    let value = vec![b'v'; 1_000_000];
    stream.write_all(b"set big 0 0 1000000\r\n").unwrap();
    stream.write_all(&value).unwrap();
    stream.write_all(b"\r\n").unwrap();
    let mut stored = [0; 8];
    stream.read_exact(&mut stored).unwrap();
    assert_eq!(&stored, b"STORED\r\n");
    let idle = buffer_bytes(&node);

    const GETS: usize = 100;
    stream.write_all(&b"get big\r\n".repeat(GETS)).unwrap();
    // Another client is served as if nothing were.
    let mut other = connect(&node);
    for _ in 0..100 {
        other.send(b"set small 0 0 1\r\n1\r\n");
        expect(&mut other, b"STORED\r\n");
    }
    wait_until("the server waits for the reader", || {
        let written = totals(&node).bytes_written;
        std::thread::sleep(Duration::from_millis(20));
        totals(&node).bytes_written == written
    });
    assert!(totals(&node).bytes_written < 50 * 1_000_000, "it does not wait for the reader");
    let owed = buffer_bytes(&node) - idle;
    assert!(owed < 1_400_000, "an unread reply costs {owed} bytes");
    // Replaced while it is being written: the old value comes whole.
    other.send(b"set big 0 0 3\r\nnew\r\n");
    expect(&mut other, b"STORED\r\n");

    let (old_head, old_tail) = (b"VALUE big 0 1000000\r\n", b"\r\nEND\r\n");
    let mut reply = vec![0; old_head.len() + value.len() + old_tail.len()];
    stream.read_exact(&mut reply).unwrap();
    assert!(reply.starts_with(old_head) && reply.ends_with(old_tail));
    assert!(reply[old_head.len()..][..value.len()] == value);
    // The last reply is of the new value, for it was made when there was room for it.
    let new = b"VALUE big 0 3\r\nnew\r\nEND\r\n";
    let mut tail = Vec::new();
    let mut chunk = vec![0; 1 << 16];
    while !tail.ends_with(new) {
        let received = stream.read(&mut chunk).unwrap();
        assert!(received > 0, "closed early");
        tail.extend_from_slice(&chunk[..received]);
        let excess = tail.len().saturating_sub(4096);
        tail.drain(..excess);
    }
    wait_until("all buffers are given back", || buffer_bytes(&node) <= idle);
}

#[test]
fn replies_that_the_socket_did_not_take_are_sent_later_and_their_buffer_given_back() {
    let node = start();
    let mut stream = raw(&node);
    let value = vec![b'v'; 30_000];
    stream.write_all(b"set v 0 0 30000\r\n").unwrap();
    stream.write_all(&value).unwrap();
    stream.write_all(b"\r\n").unwrap();
    stream.read_exact(&mut [0; 8]).unwrap();
    let idle = buffer_bytes(&node);
    let mut gets = 0;
    // Each reply fits the output, so that the server is waiting for input as well when the socket is full.
    wait_until("the socket is full", || {
        let before = totals(&node).get_hits;
        stream.write_all(b"get v\r\n").unwrap();
        gets += 1;
        // It is not, if the reply before it was left over; that may be charged a little after it was counted.
        let is_full = || buffer_bytes(&node) > idle;
        wait_until("the request is run", || totals(&node).get_hits > before || is_full());
        is_full()
    });
    let reply = [&b"VALUE v 0 30000\r\n"[..], &value, b"\r\nEND\r\n"].concat();
    let mut received = vec![0; reply.len()];
    for _ in 0..gets {
        stream.read_exact(&mut received).unwrap();
        assert!(received == reply);
    }
    wait_until("the buffer is given back", || buffer_bytes(&node) == idle);
}

#[test]
fn a_client_that_leaves_in_the_middle_leaves_nothing_behind() {
    let node = start();
    let mut warm = connect(&node);
    warm.send(b"get a\r\n");
    expect(&mut warm, b"END\r\n");
    let idle = buffer_bytes(&node);
    for part in [&b"ge"[..], b"set a 0 0 500000\r\nxxx", b"set a 0 0 10\r\nxxx", b"get a\r\nget"] {
        let before = totals(&node).bytes_read;
        let mut stream = raw(&node);
        stream.write_all(part).unwrap();
        wait_until("it is read", || totals(&node).bytes_read == before + part.len() as u64);
        drop(stream);
        wait_until("it is gone", || connections(&node) == 1);
    }
    wait_until("nothing is charged", || buffer_bytes(&node) == idle);
    warm.send(b"get a\r\n");
    expect(&mut warm, b"END\r\n");
}

#[test]
fn an_idle_connection_owns_no_buffer() {
    let node = start();
    let mut first = connect(&node);
    first.send(b"get a\r\n");
    expect(&mut first, b"END\r\n");
    let idle = buffer_bytes(&node);
    let mut others: Vec<_> = (0..100).map(|_| connect(&node)).collect();
    for connection in &mut others {
        connection.send(&b"get a\r\n".repeat(100));
        expect(connection, &b"END\r\n".repeat(100));
    }
    wait_until("all is given back", || buffer_bytes(&node) == idle);
    // What is owned is charged.
    others[0].send(&[b'g'; 1500]);
    wait_until("the beginning of a line is charged", || buffer_bytes(&node) >= idle + 1500);
}

#[test]
fn many_connections_are_served_by_all_workers() {
    let node = start();
    let mut all: Vec<_> = (0..500).map(|_| connect(&node)).collect();
    for (number, connection) in all.iter_mut().enumerate() {
        connection.send(format!("set k{number} 0 0 3\r\nabc\r\n").as_bytes());
    }
    for connection in &mut all {
        expect(connection, b"STORED\r\n");
    }
    assert_eq!(connections(&node), 500);
    assert_eq!(totals(&node).total_connections, 500);
    drop(all);
    wait_until("all are gone", || connections(&node) == 0);
}

#[test]
fn idle_connections_are_closed_and_busy_ones_are_not() {
    let clock = Arc::new(Clock::manual());
    let mut options = options();
    options.server.idle_timeout_s = 10;
    let node = Node::start_at(options, Arc::clone(&clock)).unwrap();
    let (mut idle, mut silent, mut busy) = (connect(&node), connect(&node), connect(&node));
    idle.send(b"get a\r\n");
    expect(&mut idle, b"END\r\n");
    wait_until("all are there", || connections(&node) == 3);
    let before = totals(&node).bytes_read;
    busy.send(b"set a 0 0 100000\r\nhalf a value");
    wait_until("the value has begun", || totals(&node).bytes_read == before + 30);
    clock.advance(10);
    idle.send(b"get a\r\n");
    expect(&mut idle, b"END\r\n");
    clock.advance(5);
    expect_close(&mut silent);
    assert_eq!(totals(&node).idle_kicks, 1);
    idle.send(b"get a\r\n");
    expect(&mut idle, b"END\r\n");
    clock.advance(11);
    expect_close(&mut idle);
    assert_eq!(totals(&node).idle_kicks, 2);
    assert_eq!(connections(&node), 1, "half a value is not idle");
}

#[test]
fn over_the_limit_a_client_is_told_and_closed() {
    let mut options = options();
    options.server.max_connections = 3;
    let node = Node::start(options).unwrap();
    let mut allowed: Vec<_> = (0..3).map(|_| connect(&node)).collect();
    for connection in &mut allowed {
        connection.send(b"get a\r\n");
        expect(connection, b"END\r\n");
    }
    let mut refused = connect(&node);
    expect(&mut refused, b"ERROR Too many open connections\r\n");
    expect_close(&mut refused);
    assert_eq!(totals(&node).rejected_connections, 1);
    drop(allowed.pop());
    wait_until("there is room", || connections(&node) == 2);
    wait_until("the next one gets in", || {
        let mut next = connect(&node);
        next.send(b"get a\r\n");
        next.receive() == Received::Bytes && next.input == b"END\r\n"
    });
}

#[test]
fn without_maxconns_fast_a_client_over_the_limit_waits() {
    let mut options = options();
    options.server.max_connections = 1;
    options.server.maxconns_fast = false;
    let node = Node::start(options).unwrap();
    let mut first = connect(&node);
    first.send(b"get a\r\n");
    expect(&mut first, b"END\r\n");
    let mut second = connect(&node);
    second.send(b"get a\r\n");
    wait_until("accepting has paused", || totals(&node).listen_disabled_num == 1);
    first.send(b"get a\r\n");
    expect(&mut first, b"END\r\n");
    wait_until("stats says so", || stat(&mut first, "stats", "accepting_conns") == 0);
    assert_eq!(stat(&mut first, "stats", "listen_disabled_num"), 1);
    drop(first);
    expect(&mut second, b"END\r\n");
    assert_eq!(totals(&node).rejected_connections, 0);
    assert_eq!(stat(&mut second, "stats", "accepting_conns"), 1);
    assert!(stat(&mut second, "stats", "time_in_listen_disabled_us") > 0);
}

#[test]
fn the_time_without_use_of_what_was_evicted_is_told() {
    let clock = Arc::new(Clock::manual());
    let mut options = options();
    options.engine.memory_limit = 4 << 20;
    let node = Node::start_at(options, Arc::clone(&clock)).unwrap();
    let mut connection = connect(&node);
    let value = "x".repeat(10_000);
    let fill = |connection: &mut Connection, round: u32, items: u32| {
        for key in 0..items {
            let reply = connection.ask(&format!("set {round}-{key} 0 0 10000\r\n{value}"));
            assert_eq!(reply, "STORED");
        }
    };
    fill(&mut connection, 1, 300);
    assert_eq!(stat(&mut connection, "stats items", "items:1:evicted_time"), 0);
    clock.advance(30);
    // So few that every sample has some of the first round.
    fill(&mut connection, 2, 150);
    assert!(stat(&mut connection, "stats items", "items:1:evicted") > 0);
    assert_eq!(stat(&mut connection, "stats items", "items:1:evicted_time"), 30);
    assert_eq!(connection.ask("stats reset"), "RESET");
    assert_eq!(stat(&mut connection, "stats items", "items:1:evicted_time"), 0);
}

#[test]
fn the_unix_socket_serves_and_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("volt.sock");
    let mut options = options();
    options.server.unix_path = Some(path.clone());
    let node = Node::start(options).unwrap();
    assert!(node.addresses().tcp.is_empty(), "a unix socket replaces TCP");
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(b"set a 0 0 1\r\n1\r\n").unwrap();
    let mut reply = [0; 8];
    stream.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"STORED\r\n");
    drop(node);
    assert_eq!(stream.read(&mut reply).unwrap(), 0, "closed");
    assert!(!path.exists());
}

#[test]
fn stopping_closes_connections_and_frees_the_port() {
    let node = start();
    let address = node.addresses().tcp[0];
    let mut connection = connect(&node);
    connection.send(b"get a\r\n");
    expect(&mut connection, b"END\r\n");
    drop(node);
    expect_close(&mut connection);
    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn the_binary_protocol_is_closed_at_its_first_byte() {
    let node = start();
    let mut connection = connect(&node);
    connection.send(b"\x80\x0a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    expect_close(&mut connection);
}

#[test]
fn values_of_all_sizes_arrive_whole_however_they_are_sent() {
    let node = start();
    let mut stream = raw(&node);
    for length in [0, 1, 2047, 2048, 16_384, 65_535, 65_536, 70_000, 500_000, 1_000_000] {
        let value: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
        let mut request = format!("set v 0 0 {length}\r\n").into_bytes();
        request.extend_from_slice(&value);
        request.extend_from_slice(b"\r\nget v\r\n");
        let mut reply = format!("STORED\r\nVALUE v 0 {length}\r\n").into_bytes();
        reply.extend_from_slice(&value);
        reply.extend_from_slice(b"\r\nEND\r\n");
        for piece in [1 << 20, 30_011, 1_000] {
            for part in request.chunks(piece) {
                stream.write_all(part).unwrap();
            }
            let mut received = vec![0; reply.len()];
            stream.read_exact(&mut received).unwrap();
            assert!(received == reply, "{length} bytes in pieces of {piece}");
        }
    }
}

#[test]
fn a_watcher_sees_connections_come_and_go() {
    let node = start();
    let mut watcher = connect(&node);
    watcher.send(b"watch connevents\r\n");
    expect(&mut watcher, b"OK\r\n");
    let mut client = connect(&node);
    client.send(b"quit\r\n");
    expect_close(&mut client);
    let mut client = connect(&node);
    client.send(b"\x80");
    expect_close(&mut client);
    let text = |watcher: &Connection| String::from_utf8_lossy(&watcher.input).into_owned();
    while text(&watcher).lines().count() < 4 || !watcher.input.ends_with(b"\n") {
        assert_eq!(watcher.receive(), Received::Bytes);
    }
    let lines = text(&watcher);
    assert_eq!(lines.matches("type=conn_new rip=127.0.0.1 rport=").count(), 2, "{lines}");
    assert_eq!(lines.matches("transport=tcp reason=normal cfd=").count(), 1, "{lines}");
    assert_eq!(lines.matches("transport=tcp reason=error cfd=").count(), 1, "{lines}");
    let watchers = || node.context().watch.stats().watchers;
    assert_eq!(watchers(), 1);
    drop(watcher);
    wait_until("the watcher's end is noticed", || watchers() == 0);
}

#[test]
fn a_line_longer_than_the_input_buffer_is_received_and_given_back() {
    let node = start();
    let mut connection = connect(&node);
    connection.send(b"set key15000 0 0 1\r\n1\r\n");
    expect(&mut connection, b"STORED\r\n");
    let idle = buffer_bytes(&node);
    let keys: Vec<String> = (0..18_000).map(|number| format!("key{number}")).collect();
    let line = format!("get {}\r\n", keys.join(" "));
    assert!(line.len() > 150_000);
    for piece in [line.len(), 10_000] {
        for part in line.as_bytes().chunks(piece) {
            connection.send(part);
        }
        expect(&mut connection, b"VALUE key15000 0 1\r\n1\r\nEND\r\n");
    }
    wait_until("the line is forgotten", || buffer_bytes(&node) == idle);
}

/// A request over UDP; the replies joined, and how many datagrams they were.
fn ask_udp(socket: &UdpSocket, id: u16, request: &[u8]) -> (Vec<u8>, usize) {
    let mut datagram = vec![(id >> 8) as u8, id as u8, 0, 0, 0, 1, 0, 0];
    datagram.extend_from_slice(request);
    socket.send(&datagram).unwrap();
    let mut reply = Vec::new();
    let mut buffer = [0; 2000];
    for number in 0.. {
        let length = socket.recv(&mut buffer).unwrap();
        assert!(length <= 1400);
        assert_eq!(buffer[..2], id.to_be_bytes(), "the request's id");
        assert_eq!(buffer[2..4], u16::to_be_bytes(number), "in order on the loopback");
        reply.extend_from_slice(&buffer[8..length]);
        let total = u16::from_be_bytes([buffer[4], buffer[5]]);
        if number + 1 == total {
            return (reply, usize::from(total));
        }
    }
    unreachable!("the loop ends at the last datagram")
}

#[test]
fn requests_over_udp_are_answered_in_numbered_datagrams() {
    let mut options = options();
    options.server.udp_port = Port::Any;
    let node = Node::start(options).unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket.connect(node.addresses().udp[0]).unwrap();
    let ask = |id, request: &[u8]| ask_udp(&socket, id, request);

    assert_eq!(ask(513, b"set a 0 0 1\r\n1\r\n"), (b"STORED\r\n".to_vec(), 1));
    assert_eq!(ask(2, b"get a\r\n"), (b"VALUE a 0 1\r\n1\r\nEND\r\n".to_vec(), 1));
    let both = b"VALUE a 0 1\r\n1\r\nEND\r\nSTORED\r\n".to_vec();
    assert_eq!(ask(3, b"get a\r\nset b 0 0 1\r\n2\r\n"), (both, 1));

    let value = vec![b'x'; 20_000];
    let mut request = b"set big 0 0 20000\r\n".to_vec();
    request.extend_from_slice(&value);
    request.extend_from_slice(b"\r\n");
    assert_eq!(ask(4, &request), (b"STORED\r\n".to_vec(), 1));
    let (reply, datagrams) = ask(5, b"get big\r\n");
    assert_eq!(reply.len(), "VALUE big 0 20000\r\n".len() + 20_000 + "\r\nEND\r\n".len());
    assert_eq!(datagrams, reply.len().div_ceil(1392));

    // Dropped: binary, not whole, of two datagrams, without a header. The next one is answered all the same.
    for dropped in [
        &b"\0\x01\0\0\0\x01\0\0\x80\x0a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"[..],
        b"\0\x01\0\0\0\x01\0\0set c 0 0 10\r\n123",
        b"\0\x01\0\0\0\x02\0\0get a\r\n",
        b"get",
    ] {
        socket.send(dropped).unwrap();
    }
    assert_eq!(ask(6, b"mn\r\n"), (b"MN\r\n".to_vec(), 1));
}

#[test]
fn an_answer_over_udp_is_bounded_and_its_memory_charged() {
    let mut options = options();
    options.server.threads = 1;
    options.engine.item_size_max = 16 << 10;
    let plain = buffer_bytes(&Node::start(options.clone()).unwrap());
    options.server.udp_port = Port::Any;
    let node = Node::start(options).unwrap();
    let datagram = 64 << 10;
    wait_until("the buffer for datagrams is charged", || buffer_bytes(&node) >= plain + datagram);
    let idle = buffer_bytes(&node);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket.connect(node.addresses().udp[0]).unwrap();
    let value = "x".repeat(10_000);
    let set = format!("set a 0 0 10000\r\n{value}\r\n");
    assert_eq!(ask_udp(&socket, 1, set.as_bytes()).0, b"STORED\r\n");

    let request = "get a\r\n".repeat(20) + "set b 0 0 1\r\n1\r\n";
    let reply = String::from_utf8(ask_udp(&socket, 2, request.as_bytes()).0).unwrap();
    assert!(reply.len() <= (16 + 64) << 10, "{} bytes", reply.len());
    let one = format!("VALUE a 0 10000\r\n{value}\r\nEND\r\n");
    let whole = reply.strip_suffix("SERVER_ERROR response too large for UDP\r\n").unwrap();
    assert_eq!(whole, one.repeat(whole.len() / one.len()), "replies are whole");
    assert!(whole.len() > 60_000, "{} bytes", whole.len());
    assert_eq!(ask_udp(&socket, 3, b"get b\r\n").0, b"END\r\n", "nothing was run after that");
    wait_until("the memory is given back", || buffer_bytes(&node) == idle);
}
