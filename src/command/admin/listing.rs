//! Answers that visit every item: `lru_crawler metadump`, `mgdump` and `crawl`, `stats cachedump` and `sizes`; and
//! `stats detail dump`, which visits every prefix.
//!
//! A listing keeps no more than a cursor between steps: items may come and go meanwhile, and the epoch is
//! pinned within a step only. A step ends when the output is full enough to be written or when it has visited
//! its share of items, so that other connections of the worker get their turn.

use super::SIZE_CLASS;
use crate::command::watch::UriEncoded;
use crate::command::{Output, Worker};
use crate::engine::{Cursor, ItemRef};
use crate::protocol::meta;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Items visited per call into the engine: their lines may exceed the output's high-water mark, so few.
const BATCH_ITEMS: usize = 32;

/// Items visited in a step.
const STEP_ITEMS: usize = 1024;

/// Longest `stats cachedump`, in bytes; memcached's bound.
const CACHEDUMP_MAX_BYTES: usize = 2 * 1024 * 1024;

/// Width of a bar of `stats sizes`, in bytes.
const SIZES_STEP_BYTES: usize = 32;

/// A long answer under way.
#[derive(Debug)]
pub struct Listing {
    /// `None` when everything has been visited.
    cursor: Option<Cursor>,
    started: bool,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Metadump,
    Mgdump,
    Crawl,
    Cachedump {
        items_left: usize,
        bytes_left: usize,
    },
    Sizes(BTreeMap<usize, u64>),
    /// The last prefix that was listed.
    Detail(Option<Box<[u8]>>),
}

impl Listing {
    fn new(kind: Kind, empty: bool) -> Self {
        let cursor = if empty { None } else { Some(Cursor::default()) };
        Self { cursor, started: false, kind }
    }

    pub(super) fn metadump(empty: bool) -> Self {
        Self::new(Kind::Metadump, empty)
    }

    pub(super) fn mgdump(empty: bool) -> Self {
        Self::new(Kind::Mgdump, empty)
    }

    pub(super) fn crawl() -> Self {
        Self::new(Kind::Crawl, false)
    }

    /// At most `limit` items, 0 for all.
    pub(super) fn cachedump(limit: u32, empty: bool) -> Self {
        let items_left = match limit {
            0 => usize::MAX,
            _ => usize::try_from(limit).unwrap_or(usize::MAX),
        };
        let kind = Kind::Cachedump { items_left, bytes_left: CACHEDUMP_MAX_BYTES };
        Self::new(kind, empty)
    }

    pub(super) fn sizes() -> Self {
        Self::new(Kind::Sizes(BTreeMap::new()), false)
    }

    pub(super) fn detail() -> Self {
        Self::new(Kind::Detail(None), true)
    }

    /// Appends the next piece; `true` when that was the last. A piece may be empty: let other connections run,
    /// then call again.
    pub fn step(&mut self, worker: &Worker, output: &mut Output) -> bool {
        if !self.started {
            self.started = true;
            if matches!(self.kind, Kind::Metadump | Kind::Mgdump) {
                output.line("OK");
            }
        }
        if let Kind::Detail(after) = &mut self.kind {
            return worker.context.detail.list(after, output);
        }
        let session = worker.handle.pin();
        let mut left = STEP_ITEMS;
        while let Some(cursor) = self.cursor {
            if output.is_full() || left == 0 {
                return false;
            }
            // Items that are not listed, and room without items, count as well.
            left -= BATCH_ITEMS;
            let kind = &mut self.kind;
            self.cursor = match kind {
                Kind::Crawl => session.crawl(cursor),
                _ => session.scan(cursor, BATCH_ITEMS, &mut |item| {
                    kind.visit(worker, item, output);
                }),
            };
            if self.kind.has_enough() {
                self.cursor = None;
            }
        }
        self.kind.finish(output);
        true
    }
}

impl Kind {
    fn visit(&mut self, worker: &Worker, item: ItemRef<'_>, output: &mut Output) {
        match self {
            Self::Metadump => metadump(worker, item, output),
            Self::Mgdump => mgdump(item, output),
            // The engine does not show what a crawl passes, and prefixes are no items.
            Self::Crawl | Self::Detail(_) => {}
            Self::Cachedump { items_left, bytes_left } => {
                if *items_left > 0 && !item.key_is_binary() {
                    let bytes = cachedump(worker, item, *bytes_left, output);
                    *items_left = if bytes == 0 { 0 } else { *items_left - 1 };
                    *bytes_left -= bytes;
                }
            }
            Self::Sizes(bars) => {
                let bar = item.size().next_multiple_of(SIZES_STEP_BYTES);
                *bars.entry(bar).or_default() += 1;
            }
        }
    }

    /// Whether the rest need not be visited.
    fn has_enough(&self) -> bool {
        matches!(self, Self::Cachedump { items_left: 0, .. })
    }

    fn finish(&self, output: &mut Output) {
        match self {
            Self::Metadump | Self::Cachedump { .. } => output.line("END"),
            Self::Mgdump => output.line("EN"),
            Self::Crawl => output.line("OK"),
            // Its last step has said so.
            Self::Detail(_) => {}
            Self::Sizes(bars) => {
                for (bar, items) in bars {
                    let _ = write!(output, "STAT {bar} {items}\r\n");
                }
                output.line("END");
            }
        }
    }
}

fn metadump(worker: &Worker, item: ItemRef<'_>, output: &mut Output) {
    let clock = &worker.context.clock;
    let exptime = match item.exptime() {
        0 => -1,
        exptime => clock.to_unix(exptime),
    };
    let fetched = if item.fetched() { "yes" } else { "no" };
    // Writing to the output cannot fail. The space before the end of line is memcached's.
    let _ = writeln!(
        output,
        "key={} exp={exptime} la={} cas={} fetch={fetched} cls={SIZE_CLASS} size={} flags={} ",
        UriEncoded(item.key()),
        clock.to_unix(item.last_access()),
        item.cas(),
        item.size(),
        item.flags(),
    );
}

fn mgdump(item: ItemRef<'_>, output: &mut Output) {
    output.push(b"mg ");
    if item.key_is_binary() {
        meta::encode(item.key()).for_each(|part| output.push(&part));
        output.push(b" b");
    } else {
        output.push(item.key());
    }
    output.push(b"\r\n");
}

/// Appends the item's line unless it is longer than `bytes_max`; its length, or 0.
fn cachedump(worker: &Worker, item: ItemRef<'_>, bytes_max: usize, output: &mut Output) -> usize {
    let exptime = match item.exptime() {
        0 => 0,
        exptime => worker.context.clock.to_unix(exptime),
    };
    let rest = format!(" [{} b; {exptime} s]\r\n", item.value().len());
    let bytes = b"ITEM ".len() + item.key().len() + rest.len();
    if bytes > bytes_max {
        return 0;
    }
    output.push(b"ITEM ");
    output.push(item.key());
    output.push(rest.as_bytes());
    bytes
}
