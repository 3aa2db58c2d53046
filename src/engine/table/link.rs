//! A link: one word that names what comes next in the list, an item or a bucket head.
//!
//! ```text
//!   item      address of a header, low three bits free for tags
//!   head      bucket index << 3 | HEAD            (the next bucket begins here)
//!   end       all ones << 3 | HEAD                (the list ends here)
//!   0         only in the bucket array: nobody has used this bucket yet
//! ```
//!
//! Tags on top: `MARK` in an item's own link says that this item is removed (and the link says what took its
//! place, or what follows); `FRESH` in a bucket's link says that the bucket is claimed but perhaps not linked yet.

/// The item that holds this link is logically removed; the link never changes again.
pub const MARK: usize = 0b001;
/// The link names a bucket head (or the end) rather than an item.
pub const HEAD: usize = 0b010;
/// The bucket that holds this link has been claimed by a thread that is about to link it in.
pub const FRESH: usize = 0b100;

const TAGS: usize = 0b111;
const TAG_BITS: u32 = 3;

/// An untouched bucket.
pub const UNUSED: usize = 0;
/// The end of the list.
pub const END: usize = !TAGS | HEAD;

/// The link to the head of bucket `index`.
pub const fn head(index: usize) -> usize {
    index << TAG_BITS | HEAD
}

/// Where a link leads, tags aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// To the item with its header at this address.
    Item(usize),
    /// To the head of the bucket with this index.
    Head(usize),
    /// Nowhere.
    End,
}

/// Reads a link.
#[inline]
pub const fn target(link: usize) -> Target {
    if link & HEAD == 0 {
        Target::Item(link & !TAGS)
    } else if link | MARK | FRESH == END | MARK | FRESH {
        Target::End
    } else {
        Target::Head(link >> TAG_BITS)
    }
}

/// The address of the item that a link leads to, if it leads to one that may be followed. A bucket that is claimed and not
/// linked in yet may name an item that was freed since: only a linked bucket is kept up to date.
#[inline]
pub const fn item(link: usize) -> Option<usize> {
    match target(link) {
        Target::Item(address) if address != UNUSED && link & FRESH == 0 => Some(address),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_do_not_change_the_target() {
        for tags in [0, MARK, FRESH, MARK | FRESH] {
            assert_eq!(target(0x7fff_1230 | tags), Target::Item(0x7fff_1230));
            assert_eq!(target(head(0) | tags), Target::Head(0));
            assert_eq!(target(head(77) | tags), Target::Head(77));
            assert_eq!(target(END | tags), Target::End);
        }
    }

    #[test]
    fn items_alone_are_followed_and_not_from_a_bucket_that_is_only_claimed() {
        assert_eq!(item(0x7fff_1230), Some(0x7fff_1230));
        assert_eq!(item(0x7fff_1230 | MARK), Some(0x7fff_1230));
        for link in [0x7fff_1230 | FRESH, UNUSED, UNUSED | MARK, head(3), END] {
            assert_eq!(item(link), None, "{link:x}");
        }
    }
}
