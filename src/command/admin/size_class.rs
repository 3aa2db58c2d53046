//! memcached's slab classes, for statistics only.
//!
//! Volt has no slabs: an item takes what the allocator gives it. Tools and tests know items by the class that
//! memcached would have put them in, so that class is computed from the item's size in memcached (its header, key,
//! client flags, cas unique and value) and the same table of chunk sizes that memcached derives from `-f`,
//! `-n`, `-I` and `slab_chunk_max`. Nothing is stored per item.

use crate::command::options::Options;
use crate::engine::ItemRef;

/// Most classes that there can be; class numbers are below it.
pub const CLASSES_MAX: usize = 64;

/// Bytes of memcached's item header.
const HEADER_BYTES: usize = 48;
/// Bytes of a cas unique behind the header.
const CAS_BYTES: usize = 8;
/// Bytes of client flags behind the key; flags of 0 take none.
const FLAGS_BYTES: usize = 4;
/// Chunks begin at multiples of this.
const ALIGN_BYTES: usize = 8;
/// Bytes of a slab page: 1 MiB whatever the item size.
const PAGE_BYTES: usize = 1024 * 1024;

/// The chunk sizes of all classes.
#[derive(Debug, Clone)]
pub struct SizeClasses {
    /// Chunk size in bytes by class; class 0 is not used.
    chunk_bytes: Vec<usize>,
    item_size_max: usize,
    cas_bytes: usize,
}

impl SizeClasses {
    /// The classes that memcached would have with these options.
    #[must_use]
    pub fn new(options: &Options, item_size_max: usize, use_cas: bool) -> Self {
        let chunk_max = usize::try_from(options.slab_chunk_max_bytes).unwrap_or(usize::MAX);
        let smallest = HEADER_BYTES + usize::try_from(options.chunk_size_bytes).unwrap_or(0);
        let mut chunk_bytes = vec![0];
        let mut size = smallest;
        while chunk_bytes.len() < CLASSES_MAX - 1 && size < shrunk(chunk_max, options.growth_factor)
        {
            size = size.next_multiple_of(ALIGN_BYTES);
            chunk_bytes.push(size);
            size = grown(size, options.growth_factor);
        }
        chunk_bytes.push(chunk_max);
        let cas_bytes = if use_cas { CAS_BYTES } else { 0 };
        Self { chunk_bytes, item_size_max, cas_bytes }
    }

    /// The largest class.
    #[must_use]
    pub fn largest(&self) -> usize {
        self.chunk_bytes.len() - 1
    }

    /// Bytes of a chunk of `class`.
    #[must_use]
    pub fn chunk_bytes(&self, class: usize) -> usize {
        self.chunk_bytes[class]
    }

    /// Chunks in a page of `class`.
    #[must_use]
    pub fn chunks_per_page(&self, class: usize) -> usize {
        (PAGE_BYTES / self.chunk_bytes[class].max(1)).max(1)
    }

    /// Bytes that memcached would take for an item.
    #[must_use]
    pub fn item_bytes(&self, key_len: usize, value_len: usize, flags: u32) -> usize {
        let flags_bytes = if flags == 0 { 0 } else { FLAGS_BYTES };
        // The key ends with a NUL, the value with CR LF.
        HEADER_BYTES + self.cas_bytes + key_len + 1 + flags_bytes + value_len + 2
    }

    /// The class of an item; 0 for what no class takes.
    #[must_use]
    pub fn class(&self, key_len: usize, value_len: usize, flags: u32) -> usize {
        self.class_of_bytes(self.item_bytes(key_len, value_len, flags))
    }

    /// The class of a linked item.
    #[must_use]
    pub fn class_of(&self, item: ItemRef<'_>) -> usize {
        self.class(item.key().len(), item.value().len(), item.flags())
    }

    /// The class for `bytes` bytes.
    fn class_of_bytes(&self, bytes: usize) -> usize {
        if bytes > self.item_size_max {
            return 0;
        }
        let class = self.chunk_bytes.partition_point(|&chunk| chunk < bytes);
        class.clamp(1, self.largest())
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "memcached multiplies in floating point and cuts off"
)]
fn grown(size: usize, factor: f64) -> usize {
    (size as f64 * factor) as usize
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "sizes are far below 2^52"
)]
fn shrunk(size: usize, factor: f64) -> usize {
    // A size below the quotient is a whole number below it rounded up.
    (size as f64 / factor).ceil() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes(options: &Options) -> SizeClasses {
        SizeClasses::new(options, 1024 * 1024, true)
    }

    #[test]
    fn the_table_is_memcacheds() {
        let classes = classes(&Options::default());
        // From `memcached -vv`: slab class 1, 2, 3, 25, 31 and the last.
        let sizes = [(1, 96), (2, 120), (3, 152), (39, 524_288)];
        for (class, bytes) in sizes {
            assert_eq!(classes.chunk_bytes(class), bytes, "class {class}");
        }
        assert_eq!(classes.largest(), 39);
        assert_eq!(classes.chunks_per_page(1), 10_922);
    }

    #[test]
    fn an_item_is_as_large_as_in_memcached() {
        let classes = classes(&Options::default());
        assert_eq!(classes.item_bytes(1, 1, 0), 61);
        assert_eq!(classes.class(1, 1, 0), 1);
        assert_eq!(classes.class(1, 66_560, 0), 31, "t/issue_163.t has 66560 bytes in class 31");
        assert_eq!(classes.class(1, 600_000, 0), 39, "larger than a chunk: cut into chunks");
        assert_eq!(classes.class(1, 2_000_000, 0), 0);
    }

    #[test]
    fn a_chunk_limit_of_sixteen_bytes_leaves_one_class() {
        let options = Options { slab_chunk_max_bytes: 16, ..Options::default() };
        let classes = classes(&options);
        assert_eq!(classes.largest(), 1);
        assert_eq!(classes.class(10, 5000, 0), 1);
    }
}
