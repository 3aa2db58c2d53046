//! Storing and deleting: set, add, replace, append, prepend, cas, delete.
//!
//! Each is a loop of three steps: find the key's spot, decide by what is there, and change that very spot with one
//! compare-and-swap; if the spot has changed meanwhile, begin again. The swap is where the operation takes
//! effect.

use super::draft::{Draft, Refusal};
use super::item::{Birth, Mark, Shape, View};
use super::session::{ItemRef, Key, Session};
use super::table::Spot;
use super::{Removal, Vitality, memory};
use crate::clock::RelTime;
use crate::engine::evict::Policy;

/// How a draft is to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreMode {
    /// Whatever is there.
    Set,
    /// Only if there is none.
    Add,
    /// Only if there is one.
    Replace,
    /// Behind the present value; `vivify`: as a new item if there is none.
    Append {
        /// Store as a new item if there is none.
        vivify: bool,
    },
    /// In front of the present value.
    Prepend {
        /// Store as a new item if there is none.
        vivify: bool,
    },
}

/// What a store asks for beyond its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreHow {
    /// The verb.
    pub mode: StoreMode,
    /// Only if the item's cas unique is this (classic cas, meta C).
    pub compare: Option<u64>,
    /// Meta I: with `compare` below the item's cas, store all the same, as stale, and keep deadline and token.
    pub invalidate: bool,
}

impl StoreHow {
    /// A plain store in this mode.
    pub const fn plain(mode: StoreMode) -> Self {
        Self { mode, compare: None, invalidate: false }
    }
}

/// The outcome of a store.
pub enum Stored<'s> {
    /// Here it is.
    Stored(ItemRef<'s>),
    /// The mode's condition does not hold.
    NotStored,
    /// The cas unique is another.
    Exists,
    /// A cas unique was asked for and there is no item.
    NotFound,
    /// The joined value would be larger than `-I` allows.
    TooLarge,
    /// No memory for the joined value.
    OutOfMemory,
}

/// The outcome of a delete.
pub enum Removed<'s> {
    /// It is gone; here is what it was.
    Removed(ItemRef<'s>),
    /// There was none.
    NotFound,
    /// The cas unique is another.
    Exists,
}

/// What the present item means for a store.
enum Verdict {
    Publish,
    /// Store, but as stale.
    PublishStale,
    Join,
    NotStored,
    Exists,
    NotFound,
}

impl<'h> Session<'h> {
    /// Memory for a new item of this shape, after making room for it.
    ///
    /// # Errors
    /// [`Refusal::TooLarge`] if key, value and header exceed `-I`; [`Refusal::OutOfMemory`] if nothing (more) can be evicted.
    pub fn draft(
        &self,
        key: Key<'_>,
        value_len: usize,
        flags: u32,
        exptime: RelTime,
    ) -> Result<Draft, Refusal> {
        self.draft_shaped(key, value_len, flags, None, exptime)
    }

    pub(super) fn draft_shaped(
        &self,
        key: Key<'_>,
        value_len: usize,
        flags: u32,
        cas: Option<u64>,
        exptime: RelTime,
    ) -> Result<Draft, Refusal> {
        let engine = self.engine();
        let key_len = u8::try_from(key.bytes.len()).expect("a key has at most 250 bytes");
        let value_len = u32::try_from(value_len).map_err(|_| Refusal::TooLarge)?;
        let shape = Shape { key_len, value_len, flags, cas };
        if shape.total() > engine.options.item_size_max || value_len as usize > super::VALUE_LEN_MAX
        {
            return Err(Refusal::TooLarge);
        }
        let size = memory::real_size(shape.total());
        if !self.make_room(size) {
            return Err(Refusal::OutOfMemory);
        }
        let birth = Birth {
            exptime,
            access: self.now(),
            policy: engine.policy.born(self.tick()),
            no_cas: !engine.options.use_cas,
        };
        let node = memory::allocate(&shape, birth, key.bytes).ok_or(Refusal::OutOfMemory)?;
        self.handle().purse.spend(size);
        // SAFETY: just allocated, and charged.
        #[expect(unsafe_code, reason = "takes ownership of a fresh item")]
        Ok(unsafe { Draft::new(node, key.hash, engine.account) })
    }

    /// Stores a draft. Takes effect at one instant, or not at all.
    pub fn store(&self, draft: Draft, how: StoreHow) -> Stored<'_> {
        let mut draft = match self.finish(draft) {
            Ok(draft) => draft,
            Err(Refusal::TooLarge) => return Stored::TooLarge,
            Err(Refusal::OutOfMemory) => return Stored::OutOfMemory,
        };
        loop {
            let spot = self.engine().table.search(draft.hash(), draft.key(), self);
            let old = self.live(&spot);
            let published = match self.verdict(how, old) {
                Verdict::Publish => self.publish(&spot, draft),
                Verdict::PublishStale => {
                    let Some(old) = old else { continue };
                    keep_marks(old, &mut draft);
                    self.publish(&spot, draft)
                }
                Verdict::Join => {
                    let Some(old) = old else { continue };
                    let joined = match self.join(old, &draft, how.mode) {
                        Ok(joined) => joined,
                        Err(Refusal::TooLarge) => return Stored::TooLarge,
                        Err(Refusal::OutOfMemory) => return Stored::OutOfMemory,
                    };
                    match self.publish(&spot, joined) {
                        Ok(item) => return Stored::Stored(item),
                        Err(_) => continue,
                    }
                }
                Verdict::NotStored => return Stored::NotStored,
                Verdict::Exists => return Stored::Exists,
                Verdict::NotFound => return Stored::NotFound,
            };
            match published {
                Ok(item) => return Stored::Stored(item),
                Err(back) => draft = back,
            }
        }
    }

    fn verdict(&self, how: StoreHow, old: Option<View<'_>>) -> Verdict {
        let Some(old) = old else {
            return match how.mode {
                StoreMode::Set if how.compare.is_some() => Verdict::NotFound,
                StoreMode::Set
                | StoreMode::Add
                | StoreMode::Append { vivify: true }
                | StoreMode::Prepend { vivify: true } => Verdict::Publish,
                StoreMode::Replace | StoreMode::Append { .. } | StoreMode::Prepend { .. } => {
                    Verdict::NotStored
                }
            };
        };
        let cas = self.item(old).cas();
        let matches = how.compare.is_none_or(|compare| compare == cas);
        match how.mode {
            StoreMode::Add => {
                // A failed add keeps what is there in use, as memcached does, though it fetches nothing.
                self.keep_in_use(old);
                Verdict::NotStored
            }
            StoreMode::Set
                if !matches && how.invalidate && how.compare.is_some_and(|c| c < cas) =>
            {
                Verdict::PublishStale
            }
            _ if !matches => Verdict::Exists,
            StoreMode::Set | StoreMode::Replace => Verdict::Publish,
            StoreMode::Append { .. } | StoreMode::Prepend { .. } => Verdict::Join,
        }
    }

    /// A draft whose value is complete and whose explicit cas, if it has one, has found its place.
    pub(super) fn finish(&self, mut draft: Draft) -> Result<Draft, Refusal> {
        draft.complete();
        let Some(cas) = draft.explicit_cas() else { return Ok(draft) };
        let view = draft.view();
        let key = Key { bytes: view.key(), hash: draft.hash() };
        let mut shaped =
            self.draft_shaped(key, view.value_len(), view.flags(), Some(cas), view.exptime())?;
        shaped.fill(view.value());
        for (set, mark) in [
            (view.stale(), Mark::Stale),
            (view.key_is_binary(), Mark::BinaryKey),
            (view.token_sent(), Mark::Token),
        ] {
            if set {
                shaped.view().mark(mark);
            }
        }
        Ok(shaped)
    }

    /// Publishes a complete draft at a spot as an item of its own: in place of the item there, dead or alive, or as the
    /// first. Gives the draft back if the spot has changed.
    pub(super) fn publish<'s>(
        &'s self,
        spot: &Spot<'s>,
        draft: Draft,
    ) -> Result<ItemRef<'s>, Draft> {
        let item = self.exchange(spot, draft)?;
        self.counters().total_items.bump();
        Ok(item)
    }

    /// Like [`publish`](Self::publish), for a copy that stands for a change of the item there and so is not counted as one
    /// more item.
    pub(super) fn exchange<'s>(
        &'s self,
        spot: &Spot<'s>,
        draft: Draft,
    ) -> Result<ItemRef<'s>, Draft> {
        let table = &self.engine().table;
        let node = draft.node();
        let won = match spot.item() {
            Some(old) => {
                // The number of what goes comes before the number of what comes.
                self.version(old);
                table.replace(spot, node, self)
            }
            None => table.insert(spot, node),
        };
        if !won {
            return Err(draft);
        }
        if let Some(old) = spot.item() {
            self.count_dead(old);
        }
        let node = draft.into_node();
        // SAFETY: published under this session's pin.
        #[expect(unsafe_code, reason = "looks at an item that this session has just published")]
        let view = unsafe { node.view() };
        self.version(view);
        let item = self.item(view);
        let counters = self.counters();
        counters.items_linked.bump();
        counters.bytes_linked.add(item.size() as u64);
        self.handle().count_items(1);
        self.engine().note_due(view.exptime());
        Ok(item)
    }

    /// Counts an item that was replaced although it was dead already.
    fn count_dead(&self, old: View<'_>) {
        match self.vitality(old) {
            Vitality::Alive => {}
            Vitality::Expired => self.count_removal(self.item(old), Removal::Expired),
            Vitality::Flushed => self.count_removal(self.item(old), Removal::Flushed),
        }
    }

    /// Deletes the key's item, with `compare` only if its cas unique is that.
    pub fn delete(&self, key: Key<'_>, compare: Option<u64>) -> Removed<'_> {
        let table = &self.engine().table;
        loop {
            let spot = table.search(key.hash, key.bytes, self);
            let Some(old) = self.live(&spot) else { return Removed::NotFound };
            if compare.is_some_and(|compare| compare != self.item(old).cas()) {
                return Removed::Exists;
            }
            self.version(old);
            if table.remove(&spot, self) {
                return Removed::Removed(self.item(old));
            }
        }
    }
}

/// A store that loses to a newer value keeps that one's deadline and token and is stale.
fn keep_marks(old: View<'_>, draft: &mut Draft) {
    let last = old.freeze();
    draft.set_stale();
    draft.set_exptime(last.exptime);
    if last.token_sent {
        draft.set_token_sent();
    }
}
