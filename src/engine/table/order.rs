//! The order of the list: by the bits of the hash, lowest first.
//!
//! Shalev and Shavit, "Split-Ordered Lists: Lock-Free Extensible Hash Tables" (JACM 53(3), 2006): sort by the
//! reversed hash, and the items of bucket b, in a table of any size 2^i, are neighbours; doubling the table splits each
//! bucket at one point of the list. Heads are even, items odd, so a head comes before its bucket's items.

/// The place of an item in the list.
#[inline]
pub const fn of_item(hash: u64) -> u64 {
    hash.reverse_bits() | 1
}

/// The place of a bucket head in the list.
#[inline]
pub const fn of_head(index: usize) -> u64 {
    (index as u64).reverse_bits()
}

/// A hash whose bucket begins at or before a place in the list.
#[inline]
pub const fn hash_at(order: u64) -> u64 {
    order.reverse_bits()
}

/// The bucket that bucket `index` is split from.
#[inline]
pub const fn parent(index: usize) -> usize {
    index & !(1 << index.ilog2())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_lies_between_its_head_and_the_next() {
        for size in [2_usize, 4, 8, 1024] {
            for hash in [0_u64, 1, 5, 0xdead_beef, u64::MAX] {
                let index = (hash as usize) & (size - 1);
                assert!(of_head(index) < of_item(hash));
                for other in 0..size {
                    if of_head(other) > of_head(index) {
                        assert!(
                            of_item(hash) < of_head(other),
                            "hash {hash:x} beyond bucket {other}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn a_parent_is_the_bucket_at_half_the_size() {
        assert_eq!((parent(1), parent(2), parent(3), parent(6), parent(1025)), (0, 0, 1, 2, 1));
    }
}
