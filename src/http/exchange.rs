//! Requests and answers: as much of HTTP/1.1 as a scraper, a health check and a person with `curl` need.
//!
//! GET and HEAD without a body, one request after the other on a connection. Everything is bounded: connections, the
//! head of a request, the time it may take to arrive. What is beyond a bound, or no HTTP, is answered with a
//! status that says so, and the connection is closed.
//!
//! A new connection is always served: when there are as many as there may be, the one that has been silent for the
//! longest makes room. Nobody can keep a health check waiting by holding connections open.
//!
//! The page of metrics is made on a thread for that, since some of it is asked of the system, which asks the disk; a
//! disk that hangs holds up scrapes, not health checks.

use super::metrics;
use crate::command::Context;
use std::fmt::Write;
use std::io;
use std::net;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::{AbortHandle, spawn_blocking};
use tokio::time::timeout;

/// Most connections at one time. A handful of scrapers and health checks is what to expect.
const CONNECTIONS_MAX: usize = 32;

/// Pages of metrics that are made at one time; whoever wants another waits.
const PAGES_MAX: usize = 2;

/// Longest head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 8 * 1024;

/// How long a connection may take to send a request, or be silent between two: longer than a scrape interval of one
/// minute, so that a scraper keeps its connection.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(75);

/// How long a client may take to receive an answer.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);

/// Time after an accept that failed, for want of descriptors most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const TEXT: &str = "text/plain; charset=utf-8";

/// The text format of Prometheus; without the version Prometheus 3 refuses the page.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

const UNAVAILABLE: &str = "503 Service Unavailable";

/// What answers are made from.
pub(super) struct Service {
    context: Arc<Context>,
    ready: Arc<AtomicBool>,
    hot_key_names: bool,
    /// Turns to make a page, one each.
    pages: Arc<Semaphore>,
}

/// An answer to a request.
struct Answer {
    status: &'static str,
    content_type: &'static str,
    body: String,
}

impl Answer {
    fn text(status: &'static str, body: &str) -> Self {
        Self { status, content_type: TEXT, body: body.to_owned() }
    }
}

impl Service {
    pub fn new(context: Arc<Context>, ready: Arc<AtomicBool>, hot_key_names: bool) -> Self {
        Self { context, ready, hot_key_names, pages: Arc::new(Semaphore::new(PAGES_MAX)) }
    }

    /// Whether the copy on disk is still being loaded, before clients are served or beside them.
    fn is_loading(&self) -> bool {
        self.context.durability.as_ref().is_some_and(|durability| durability.is_loading())
    }

    async fn answer(self: &Arc<Self>, path: &str) -> Answer {
        match path {
            "/metrics" => self.page().await,
            "/healthz" => Answer::text("200 OK", "ok\n"),
            "/readyz" if self.is_loading() => Answer::text(UNAVAILABLE, "loading\n"),
            "/readyz" if self.ready.load(Ordering::Relaxed) => Answer::text("200 OK", "ready\n"),
            "/readyz" => Answer::text(UNAVAILABLE, "not ready\n"),
            "/" => Answer::text("200 OK", "Volt: /metrics /healthz /readyz\n"),
            _ => Answer::text("404 Not Found", "there are /metrics, /healthz and /readyz\n"),
        }
    }

    async fn page(self: &Arc<Self>) -> Answer {
        let service = Arc::clone(self);
        // The semaphore is never closed.
        let turn = Arc::clone(&self.pages).acquire_owned().await.ok();
        let made = spawn_blocking(move || {
            let _turn = turn;
            metrics::render(&service.context, service.hot_key_names)
        });
        match made.await {
            Ok(body) => Answer { status: "200 OK", content_type: METRICS, body },
            // The process ends by a panic; where it does not, as in tests, the next scrape is tried anew.
            Err(_) => Answer::text("500 Internal Server Error", "the page could not be made\n"),
        }
    }
}

/// A request, as far as it is looked at.
#[derive(Debug, PartialEq, Eq)]
struct Request<'h> {
    path: &'h str,
    /// HEAD: the answer goes without its body.
    head_only: bool,
    /// The connection ends with the answer.
    last: bool,
}

/// Accepts until `stopped` is told or dropped; connections end with the runtime.
pub(super) async fn run(
    listener: net::TcpListener,
    service: Arc<Service>,
    mut stopped: oneshot::Receiver<()>,
) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!("no metrics: {error}"),
    };
    let mut connections = Connections::default();
    loop {
        tokio::select! {
            _ = &mut stopped => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => connections.serve(stream, Arc::clone(&service)),
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
        }
    }
}

/// The connections that are open, [`CONNECTIONS_MAX`] at most.
#[derive(Default)]
struct Connections(Vec<(AbortHandle, Arc<Activity>)>);

impl Connections {
    /// Serves one more, in place of the one that has been silent for the longest if there is no other room.
    fn serve(&mut self, stream: TcpStream, service: Arc<Service>) {
        self.0.retain(|(task, _)| !task.is_finished());
        if self.0.len() >= CONNECTIONS_MAX {
            let silent = self.0.iter().enumerate().min_by_key(|(_, (_, activity))| activity.last());
            if let Some((at, _)) = silent {
                self.0.swap_remove(at).0.abort();
            }
        }
        let activity = Arc::new(Activity::now());
        let theirs = Arc::clone(&activity);
        let task = tokio::spawn(async move {
            // Whoever hangs up needs no answer.
            let _ = converse(stream, &service, &theirs).await;
        });
        self.0.push((task.abort_handle(), activity));
    }
}

/// When a connection was opened, or sent a whole request last: bytes that never become a request are silence.
struct Activity {
    opened: Instant,
    /// Milliseconds from then on.
    request_ms: AtomicU64,
}

impl Activity {
    fn now() -> Self {
        Self { opened: Instant::now(), request_ms: AtomicU64::new(0) }
    }

    fn note(&self) {
        let ms = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        // Relaxed: written and read on one thread.
        self.request_ms.store(ms, Ordering::Relaxed);
    }

    fn last(&self) -> Instant {
        self.opened + Duration::from_millis(self.request_ms.load(Ordering::Relaxed))
    }
}

async fn converse(
    mut stream: TcpStream,
    service: &Arc<Service>,
    activity: &Activity,
) -> io::Result<()> {
    let mut received = Vec::new();
    loop {
        let Some(end) = timeout(REQUEST_TIME_MAX, receive(&mut stream, &mut received)).await??
        else {
            return Ok(());
        };
        activity.note();
        let (answer, head_only, last) = match parse(&received[..end]) {
            Ok(request) => (service.answer(request.path).await, request.head_only, request.last),
            Err(refused) => (refused, false, true),
        };
        received.drain(..end);
        let message = compose(&answer, head_only, last);
        timeout(ANSWER_TIME_MAX, stream.write_all(message.as_bytes())).await??;
        if last {
            return stream.shutdown().await;
        }
    }
}

/// Receives until the head of a request is whole; its length, `None` at the end of the stream. A head that is too
/// long is given as far as it came, which `parse` refuses.
async fn receive(stream: &mut TcpStream, received: &mut Vec<u8>) -> io::Result<Option<usize>> {
    loop {
        if let Some(at) = memchr::memmem::find(received, b"\r\n\r\n") {
            return Ok(Some(at + 4));
        }
        if received.len() >= HEAD_BYTES_MAX {
            return Ok(Some(received.len()));
        }
        if stream.read_buf(received).await? == 0 {
            return Ok(None);
        }
    }
}

/// Reads the head of a request, or gives the answer to what is none that can be served.
fn parse(head: &[u8]) -> Result<Request<'_>, Answer> {
    let bad = || Answer::text("400 Bad Request", "this is no request that is understood here\n");
    if !head.ends_with(b"\r\n\r\n") {
        return Err(Answer::text("431 Request Header Fields Too Large", "too long\n"));
    }
    let head = str::from_utf8(head).map_err(|_| bad())?;
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(bad());
    };
    if !target.starts_with('/') || !version.starts_with("HTTP/1.") {
        return Err(bad());
    }
    if method != "GET" && method != "HEAD" {
        return Err(Answer::text("405 Method Not Allowed", "GET and HEAD are served\n"));
    }
    let mut last = version == "HTTP/1.0";
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let (name, value) = (name.to_ascii_lowercase(), value.trim());
        match name.as_str() {
            "connection" => last |= value.eq_ignore_ascii_case("close"),
            "content-length" if value != "0" => return Err(bad()),
            "transfer-encoding" => return Err(bad()),
            _ => {}
        }
    }
    let path = target.split('?').next().unwrap_or_default();
    Ok(Request { path, head_only: method == "HEAD", last })
}

fn compose(answer: &Answer, head_only: bool, last: bool) -> String {
    let Answer { status, content_type, body } = answer;
    let mut message = String::with_capacity(body.len() + 256);
    // Writing to a String cannot fail.
    let _ = write!(
        message,
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\
         Cache-Control: no-store\r\n",
        body.len()
    );
    if status.starts_with("405") {
        message.push_str("Allow: GET, HEAD\r\n");
    }
    message.push_str(if last { "Connection: close\r\n\r\n" } else { "\r\n" });
    if !head_only {
        message.push_str(body);
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::command::context::{Durability, Figures, NoControl};
    use crate::command::options::Options;
    use crate::command::watch::Hub;
    use crate::engine::Engine;
    use crate::stats::Registry;
    use tokio::runtime::Builder;

    struct Loading(AtomicBool);

    impl Durability for Loading {
        fn ticket(&self) -> u64 {
            0
        }

        fn is_durable(&self, _: u64) -> bool {
            true
        }

        fn is_loading(&self) -> bool {
            self.0.load(Ordering::Relaxed)
        }

        fn figures(&self, _: &mut Figures<'_>) {}
    }

    #[test]
    fn ready_is_who_serves_clients_and_has_everything_back() {
        let (clock, registry) = (Arc::new(Clock::manual()), Arc::new(Registry::default()));
        let engine = Engine::new(Default::default(), Arc::clone(&clock), Arc::clone(&registry));
        let options = Options::default();
        let (hub, _) = Hub::new(&options);
        let context = Context::new(engine, clock, registry, options, hub, Box::new(NoControl));
        let loading = Arc::new(Loading(AtomicBool::new(true)));
        let context = context.with_durability(Some(Arc::clone(&loading) as _));
        let ready = Arc::new(AtomicBool::new(false));
        let service = Arc::new(Service::new(Arc::new(context), Arc::clone(&ready), false));
        let runtime = Builder::new_current_thread().build().expect("a runtime");
        let ask = |path: &str| runtime.block_on(service.answer(path));
        let asked = || ask("/readyz");
        assert_eq!((asked().status, &*asked().body), (UNAVAILABLE, "loading\n"));
        ready.store(true, Ordering::Relaxed);
        assert_eq!((asked().status, &*asked().body), (UNAVAILABLE, "loading\n"));
        assert_eq!(ask("/healthz").status, "200 OK");
        loading.0.store(false, Ordering::Relaxed);
        assert_eq!((asked().status, &*asked().body), ("200 OK", "ready\n"));
        ready.store(false, Ordering::Relaxed);
        assert_eq!((asked().status, &*asked().body), (UNAVAILABLE, "not ready\n"));
    }

    fn status(head: &str) -> &'static str {
        parse(head.as_bytes()).map_or_else(|refused| &refused.status[..3], |_| "ok")
    }

    #[test]
    fn requests_are_read() {
        let Ok(request) = parse(b"GET /metrics?x=1 HTTP/1.1\r\nHost: a\r\n\r\n") else { panic!() };
        assert_eq!(request, Request { path: "/metrics", head_only: false, last: false });
        let Ok(request) = parse(b"HEAD / HTTP/1.1\r\nconnection: Close\r\n\r\n") else { panic!() };
        assert_eq!(request, Request { path: "/", head_only: true, last: true });
        assert!(parse(b"GET / HTTP/1.0\r\n\r\n").is_ok_and(|request| request.last));
    }

    #[test]
    fn what_cannot_be_served_is_answered_with_the_status_that_says_why() {
        assert_eq!(status("POST /metrics HTTP/1.1\r\n\r\n"), "405");
        assert_eq!(status("GET /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\n"), "400");
        assert_eq!(status("GET /metrics HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"), "400");
        assert_eq!(status("get a\r\n\r\n"), "400");
        assert_eq!(status("GET metrics HTTP/1.1\r\n\r\n"), "400");
        assert_eq!(status("GET / SPDY/3\r\n\r\n"), "400");
        assert_eq!(status("GET / HTTP/1.1\r\nlong: x"), "431");
    }
}
