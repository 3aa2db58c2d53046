//! Counters: one block a worker, written by that worker alone, summed when somebody asks.
//!
//! A block's fields are atomics only so that another thread may read them; the owner adds with a plain load
//! and store, so counting costs no locked instruction and no shared cache line. Names are memcached's own
//! (`stats`), which is also their documentation: see protocol.txt, "General-purpose statistics".

pub mod latency;

use latency::{Kind, Latency};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// A counter that one thread writes and any thread reads.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`; only the owner of the block calls this.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// Adds one.
    #[inline]
    pub fn bump(&self) {
        self.add(1);
    }

    /// The current value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// One worker's counters.
        #[derive(Debug, Default)]
        #[repr(align(128))]
        pub struct Counters { $($(#[$doc])* pub $name: Counter,)* }

        /// The sum of all workers' counters at one time.
        #[derive(Debug, Default, Clone, PartialEq, Eq)]
        pub struct Totals { $($(#[$doc])* pub $name: u64,)* }

        impl Totals {
            fn add(&mut self, block: &Counters) {
                $(self.$name = self.$name.wrapping_add(block.$name.get());)*
            }

            /// What was counted since `base` was taken (`stats reset`).
            #[must_use]
            pub fn since(&self, base: &Self) -> Self {
                Self { $($name: self.$name.wrapping_sub(base.$name),)* }
            }
        }
    };
}

counters! {
    /// Keys asked for by get, gets, gat, gats, mg.
    cmd_get,
    /// Values stored or tried.
    cmd_set,
    /// flush_all commands.
    cmd_flush,
    /// Keys touched (touch, gat, mg with T).
    cmd_touch,
    /// me commands: the other meta commands count as what they do.
    cmd_meta,
    /// Keys found.
    get_hits,
    /// Keys not found.
    get_misses,
    /// Keys found, but past their exptime.
    get_expired,
    /// Keys found, but flushed.
    get_flushed,
    /// delete of a missing key.
    delete_misses,
    /// delete of a present key.
    delete_hits,
    /// incr of a missing key.
    incr_misses,
    /// incr of a present key.
    incr_hits,
    /// decr of a missing key.
    decr_misses,
    /// decr of a present key.
    decr_hits,
    /// cas of a missing key.
    cas_misses,
    /// cas with the right unique.
    cas_hits,
    /// cas with a wrong unique.
    cas_badval,
    /// touch of a present key.
    touch_hits,
    /// touch of a missing key.
    touch_misses,
    /// Values refused for their size.
    store_too_large,
    /// Values refused for lack of memory.
    store_no_memory,
    /// Logins tried.
    auth_cmds,
    /// Logins failed.
    auth_errors,
    /// Connections closed for idling.
    idle_kicks,
    /// Bytes read from the network.
    bytes_read,
    /// Bytes written to the network.
    bytes_written,
    /// Times a connection yielded after `-R` requests.
    conn_yields,
    /// Connections accepted, ever.
    total_connections,
    /// Connections turned away over `-c`.
    rejected_connections,
    /// Times that accepting paused, for want of connections or files.
    listen_disabled_num,
    /// Microseconds of those pauses.
    time_in_listen_disabled_us,
    /// Requests that were answered with ERROR or CLIENT_ERROR.
    protocol_errors,
    /// Items ever published in the table.
    items_linked,
    /// Items ever unlinked from the table.
    items_unlinked,
    /// Bytes of items ever published.
    bytes_linked,
    /// Bytes of items ever unlinked.
    bytes_unlinked,
    /// Items ever stored.
    total_items,
    /// Items evicted to make room.
    evictions,
    /// Evicted items that had an exptime.
    evicted_nonzero,
    /// Evicted items that were never fetched.
    evicted_unfetched,
    /// Items whose memory came back by expiry.
    reclaimed,
    /// Those among them that a flush had put an end to.
    reclaimed_flushed,
    /// Expired items that were never fetched.
    expired_unfetched,
    /// Items looked at by the background crawler.
    crawler_items_checked,
    /// Items reclaimed by the background crawler.
    crawler_reclaimed,
    /// Runs of the crawler that a client asked for.
    lru_crawler_starts,
    /// Items looked at in search of a victim.
    eviction_candidates,
    /// Items that were chosen to be evicted and given another chance.
    eviction_spared,
    /// Those among them that so ended their probation.
    eviction_admitted,
    /// Items that were evicted while on probation.
    eviction_rejected,
    /// Items stored whose keys had been evicted lately.
    eviction_ghost_hits,
    /// Items evicted within a second of their last use,
    evicted_age_1s,
    /// within ten,
    evicted_age_10s,
    /// within a hundred,
    evicted_age_100s,
    /// within a thousand (17 minutes),
    evicted_age_1000s,
    /// within ten thousand (2.8 hours),
    evicted_age_10000s,
    /// within a hundred thousand (28 hours).
    evicted_age_100000s,
    /// Seconds without use of all evicted items together.
    evicted_age_sum_s,
    /// Times a store had to evict before it had memory.
    direct_reclaims,
}

impl Counters {
    /// Counts the seconds for which an item had not been used when it was evicted.
    pub fn count_evicted_age(&self, seconds: u32) {
        self.evicted_age_sum_s.add(u64::from(seconds));
        let counter = match seconds {
            0..=1 => &self.evicted_age_1s,
            2..=10 => &self.evicted_age_10s,
            11..=100 => &self.evicted_age_100s,
            101..=1000 => &self.evicted_age_1000s,
            1001..=10_000 => &self.evicted_age_10000s,
            10_001..=100_000 => &self.evicted_age_100000s,
            _ => return,
        };
        counter.bump();
    }
}

impl Totals {
    /// How many items were evicted within so many seconds of their last use: bounds and the counts up to each.
    pub fn evicted_ages(&self) -> [(u32, u64); 6] {
        let mut count = 0;
        [
            (1, self.evicted_age_1s),
            (10, self.evicted_age_10s),
            (100, self.evicted_age_100s),
            (1000, self.evicted_age_1000s),
            (10_000, self.evicted_age_10000s),
            (100_000, self.evicted_age_100000s),
        ]
        .map(|(bound, items)| {
            count += items;
            (bound, count)
        })
    }
}

/// All workers' counter blocks, and the base that `stats reset` set.
#[derive(Debug, Default)]
pub struct Registry {
    blocks: Mutex<Blocks>,
    latencies: Mutex<Vec<Arc<Latency>>>,
    base: Mutex<Totals>,
}

#[derive(Debug, Default)]
struct Blocks {
    live: Vec<Arc<Counters>>,
    /// The sum of the blocks that nobody writes any more.
    retired: Totals,
}

impl Registry {
    /// A new block for one worker. It lives until it is [retired](Self::retire): what was counted stays counted.
    pub fn register(&self) -> Arc<Counters> {
        let block = Arc::new(Counters::default());
        lock(&self.blocks).live.push(Arc::clone(&block));
        block
    }

    /// Keeps what the block has counted, and nothing else of it; its owner counts no more.
    pub fn retire(&self, block: &Arc<Counters>) {
        let mut blocks = lock(&self.blocks);
        if let Some(at) = blocks.live.iter().position(|live| Arc::ptr_eq(live, block)) {
            let block = blocks.live.swap_remove(at);
            blocks.retired.add(&block);
        }
    }

    /// Blocks that somebody may still write.
    #[cfg(test)]
    pub(crate) fn blocks(&self) -> usize {
        lock(&self.blocks).live.len()
    }

    /// New histograms for one worker; they live as long, too.
    pub fn register_latency(&self) -> Arc<Latency> {
        let block = Arc::new(Latency::default());
        lock(&self.latencies).push(Arc::clone(&block));
        block
    }

    /// How long commands of each kind have taken since the start.
    pub fn latency(&self) -> impl Iterator<Item = (Kind, latency::Sum)> {
        let blocks = lock(&self.latencies).clone();
        Kind::ALL.into_iter().map(move |kind| (kind, latency::Sum::of(&blocks, kind)))
    }

    /// The sum over all blocks since the last reset.
    pub fn totals(&self) -> Totals {
        self.lifetime().since(&lock(&self.base))
    }

    /// The sum over all blocks since the start, whatever was reset.
    pub fn lifetime(&self) -> Totals {
        let blocks = lock(&self.blocks);
        let mut totals = blocks.retired.clone();
        for block in &blocks.live {
            totals.add(block);
        }
        totals
    }

    /// Starts counting from zero (`stats reset`). The counters themselves stay monotonic.
    pub fn reset(&self) {
        *lock(&self.base) = self.lifetime();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_at_eviction_add_up() {
        let registry = Registry::default();
        let block = registry.register();
        for seconds in [0, 1, 2, 100, 101, 100_000, 100_001] {
            block.count_evicted_age(seconds);
        }
        let totals = registry.totals();
        let counts = totals.evicted_ages().map(|(_, count)| count);
        assert_eq!((counts, totals.evicted_age_sum_s), ([2, 3, 4, 5, 5, 6], 200_205));
    }

    #[test]
    fn totals_sum_the_blocks_and_reset_starts_anew() {
        let registry = Registry::default();
        let (a, b) = (registry.register(), registry.register());
        a.get_hits.add(3);
        b.get_hits.bump();
        assert_eq!(registry.totals().get_hits, 4);
        registry.reset();
        assert_eq!(registry.totals().get_hits, 0);
        b.get_hits.bump();
        assert_eq!(registry.totals().get_hits, 1);
        assert_eq!(registry.lifetime().get_hits, 5);
        registry.retire(&b);
        registry.retire(&b);
        assert_eq!((registry.totals().get_hits, registry.lifetime().get_hits), (1, 5));
    }
}
