//! The sizes of slots: multiples of 8 up to 256 bytes, then about 3 % apart, each so that a span divides into it with
//! little left over.

/// Bytes of a span: a page more than 64 KiB. Many values are as long as a power of two, and with headers one less would fit 64
/// KiB than do without: seven of 8 KiB.
pub const SPAN_BYTES: usize = 17 * 4096;

/// The longest block that comes from a span, in bytes: a value of 16 KiB with all that belongs to it.
pub const LEN_MAX: usize = SPAN_BYTES / SLOTS_MIN;

/// Slots of a span of the largest class.
const SLOTS_MIN: usize = 4;

/// What sizes are multiples of: the alignment of items.
const GRAIN: usize = 8;

/// The smallest size: header, a key of one byte and a value of five.
const SIZE_MIN: usize = 32;

/// Up to here every multiple of [`GRAIN`] is a size.
const DENSE_MAX: usize = 256;

/// Above that a size is at least this share larger than the one before.
const STEP_SHARE: usize = 32;

/// Slots that a span has at most.
pub const SLOTS_MAX: usize = SPAN_BYTES / SIZE_MIN;

/// The size that follows `size`.
const fn next_size(size: usize) -> usize {
    if size < DENSE_MAX {
        return size + GRAIN;
    }
    // The largest size of which just as many fit a span.
    let slots = SPAN_BYTES / (size + size / STEP_SHARE);
    let next = SPAN_BYTES / slots / GRAIN * GRAIN;
    if next > size { next } else { SPAN_BYTES / (slots - 1) / GRAIN * GRAIN }
}

/// How many classes there are.
pub const COUNT: usize = {
    let (mut size, mut count) = (SIZE_MIN, 1);
    while size < LEN_MAX {
        size = next_size(size);
        count += 1;
    }
    count
};

/// The size of each class.
const SIZES: [u32; COUNT] = {
    let mut sizes = [SIZE_MIN as u32; COUNT];
    let mut class = 1;
    while class < COUNT {
        sizes[class] = next_size(sizes[class - 1] as usize) as u32;
        class += 1;
    }
    sizes
};

/// 2^32 divided by each size, rounded up: offsets within a span are divided by it exactly.
const RECIPROCALS: [u64; COUNT] = {
    let mut reciprocals = [0; COUNT];
    let mut class = 0;
    while class < COUNT {
        reciprocals[class] = (1_u64 << 32).div_ceil(SIZES[class] as u64);
        class += 1;
    }
    reciprocals
};

/// The class of each length, by grains.
static CLASSES: [u8; LEN_MAX / GRAIN + 1] = {
    let mut classes = [0; LEN_MAX / GRAIN + 1];
    let (mut grains, mut class) = (0, 0);
    while grains < classes.len() {
        if grains * GRAIN > SIZES[class] as usize {
            class += 1;
        }
        classes[grains] = class as u8;
        grains += 1;
    }
    classes
};

/// A class of sizes, below [`COUNT`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Class(u8);

impl Class {
    /// The class that blocks of `len` bytes come from; `None` for those that are too long.
    #[inline]
    pub fn of(len: usize) -> Option<Self> {
        CLASSES.get(len.div_ceil(GRAIN)).map(|class| Self(*class))
    }

    /// The class with this number.
    pub fn numbered(number: u32) -> Option<Self> {
        ((number as usize) < COUNT).then_some(Self(number as u8))
    }

    /// Its number.
    #[inline]
    pub fn number(self) -> usize {
        usize::from(self.0)
    }

    /// Bytes of a slot.
    #[inline]
    pub fn size(self) -> usize {
        SIZES[self.number()] as usize
    }

    /// Slots of a span.
    #[inline]
    pub fn slots(self) -> usize {
        SPAN_BYTES / self.size()
    }

    /// The slot that begins at this offset within a span.
    #[inline]
    pub fn slot_at(self, offset: usize) -> usize {
        ((offset as u64 * RECIPROCALS[self.number()]) >> 32) as usize
    }
}

const _: () = assert!(COUNT <= u8::MAX as usize && SIZES[COUNT - 1] as usize == LEN_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_has_the_tightest_class() {
        for len in 1..=LEN_MAX {
            let class = Class::of(len).expect("short enough");
            assert!(class.size() >= len, "{len}");
            let below = class.number().checked_sub(1).map_or(0, |below| SIZES[below] as usize);
            assert!(below < len, "{len}");
            let bound = if len <= 4352 { len / 15 + GRAIN } else { len / 4 + GRAIN };
            assert!(class.size() - len.max(SIZE_MIN) <= bound, "{len}: {}", class.size());
        }
        assert_eq!(Class::of(LEN_MAX + 1), None);
    }

    #[test]
    fn offsets_are_divided_exactly() {
        for number in 0..COUNT as u32 {
            let class = Class::numbered(number).expect("below the count");
            assert!(class.slots() >= SLOTS_MIN && class.slots() <= SLOTS_MAX);
            for slot in 0..class.slots() {
                assert_eq!(class.slot_at(slot * class.size()), slot, "{class:?}");
            }
        }
        assert_eq!(Class::numbered(COUNT as u32), None);
    }
}
