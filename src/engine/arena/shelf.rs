//! A shelf: a set of spans from which any thread puts and takes, the first ones first.
//!
//! One bit a span, and above it levels that tell where bits are. Taking always from the front keeps what is behind
//! sparse, so that whole spans come free there.

use super::span::latest;
use crate::sync::{AtomicU64, Ordering};

const LEVELS: usize = 3;
const WORD_POWER: u32 = u64::BITS.ilog2();

/// A set of numbers below its length.
pub struct Shelf([&'static [AtomicU64]; LEVELS]);

/// Words of each level for a set of `len` numbers.
const fn lens(len: usize) -> [usize; LEVELS] {
    let one = len.div_ceil(1 << WORD_POWER);
    let two = one.div_ceil(1 << WORD_POWER);
    [one, two, two.div_ceil(1 << WORD_POWER)]
}

impl Shelf {
    /// Words that a set of `len` numbers needs.
    pub const fn words(len: usize) -> usize {
        let [one, two, three] = lens(len);
        one + two + three
    }

    /// An empty set in words that are zero and used for nothing else; the rest of them.
    pub fn new(len: usize, words: &'static [AtomicU64]) -> (Self, &'static [AtomicU64]) {
        let [one, two, three] = lens(len);
        let (one, rest) = words.split_at(one);
        let (two, rest) = rest.split_at(two);
        let (three, rest) = rest.split_at(three);
        (Self([one, two, three]), rest)
    }

    /// Puts a number in.
    pub fn insert(&self, number: usize) {
        // SeqCst, all over this file: who empties a word looks at it once more after saying so one level up, and who fills it
        // looks there after that; one of them sees the other. A step here even if the number is in already: whoever takes
        // it out sees what was done before.
        self.0[0][number >> WORD_POWER].fetch_or(1 << (number % 64), Ordering::SeqCst);
        self.insert_above(1, number >> WORD_POWER);
    }

    /// Whether a number is in.
    #[inline]
    pub fn contains(&self, number: usize) -> bool {
        latest(&self.0[0][number >> WORD_POWER]) & 1 << (number % 64) != 0
    }

    /// Takes a number out; `false` if it is not in.
    pub fn remove(&self, number: usize) -> bool {
        let bit = 1 << (number % 64);
        let before = self.0[0][number >> WORD_POWER].fetch_and(!bit, Ordering::SeqCst);
        if before == bit {
            self.tidy(1, number >> WORD_POWER);
        }
        before & bit != 0
    }

    /// Says on the levels from `from` on that a word below has become empty, if it still is.
    fn tidy(&self, from: usize, word: usize) {
        let mut number = word;
        for level in from..LEVELS {
            let (at, bit) = (number >> WORD_POWER, 1 << (number % 64));
            let before = self.0[level][at].fetch_and(!bit, Ordering::SeqCst);
            if latest(&self.0[level - 1][number]) != 0 {
                // Somebody has filled it meanwhile.
                self.insert_above(level, number);
                return;
            }
            if before & !bit != 0 {
                return;
            }
            number = at;
        }
    }

    fn insert_above(&self, from: usize, word: usize) {
        let mut number = word;
        for level in &self.0[from..] {
            let (word, bit) = (&level[number >> WORD_POWER], 1 << (number % 64));
            if latest(word) & bit == 0 {
                word.fetch_or(bit, Ordering::SeqCst);
            }
            number >>= WORD_POWER;
        }
    }

    /// The first number, or the last, if there is any. One that is being put in just now may be missed.
    pub fn find(&self, last: bool) -> Option<usize> {
        let pick = |bits: u64| {
            if last { bits.ilog2() as usize } else { bits.trailing_zeros() as usize }
        };
        'again: loop {
            let top = self.0[LEVELS - 1];
            let mut number = match last {
                true => top.iter().rposition(|word| latest(word) != 0)?,
                false => top.iter().position(|word| latest(word) != 0)?,
            };
            for level in (0..LEVELS).rev() {
                match latest(&self.0[level][number]) {
                    // Somebody has emptied it and not said so above; he is not waited for.
                    0 if level + 1 < LEVELS => {
                        self.tidy(level + 1, number);
                        continue 'again;
                    }
                    0 => continue 'again,
                    bits => number = number << WORD_POWER | pick(bits),
                }
            }
            return Some(number);
        }
    }

    /// Takes the first number out, or the last.
    pub fn take(&self, last: bool) -> Option<usize> {
        loop {
            let number = self.find(last)?;
            if self.remove(number) {
                return Some(number);
            }
        }
    }
}

#[cfg(all(test, not(volt_loom)))]
mod tests {
    use super::super::system::table;
    use super::*;

    fn shelf(len: usize) -> Shelf {
        Shelf::new(len, table(Shelf::words(len)).expect("memory")).0
    }

    #[test]
    fn what_is_put_in_comes_out_from_either_end() {
        let shelf = shelf(300_000);
        let numbers = [0, 1, 63, 64, 4095, 4096, 262_143, 262_144, 299_999];
        assert_eq!(shelf.take(false), None);
        for number in numbers {
            shelf.insert(number);
            shelf.insert(number);
        }
        assert!(numbers.iter().all(|number| shelf.contains(*number)) && !shelf.contains(2));
        assert_eq!(shelf.take(true), Some(299_999));
        assert!(shelf.remove(4095) && !shelf.remove(4095));
        for number in [0, 1, 63, 64, 4096, 262_143, 262_144] {
            assert_eq!(shelf.take(false), Some(number));
        }
        assert_eq!((shelf.find(false), shelf.find(true)), (None, None));
        assert!(
            shelf.0.iter().all(|level| level.iter().all(|word| word.load(Ordering::Relaxed) == 0))
        );
    }
}
