//! Storing and deleting: set, add, replace, append, prepend, cas, delete.
//!
//! Each is a loop of three steps: find the key's spot, decide by what is there, and change that very spot with one
//! compare-and-swap; if the spot has changed meanwhile, begin again. The swap is where the operation takes
//! effect.

use super::Vitality;
use super::draft::{Draft, Refusal};
use super::item::{Birth, Shape, View};
use super::marks::Change;
use super::session::{ItemRef, Key, Session};
use super::table::Spot;
use crate::clock::RelTime;
use crate::engine::evict::{Policy, Standing};
use crate::sync::Ordering;

/// Values on their way may take all but this share of the limit: an eighth.
const IN_TRANSIT_SHARE: usize = 8;

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

    /// Whether a store in place of an item depends on that item: all but a plain set do.
    fn depends_on_item(self) -> bool {
        self.mode != StoreMode::Set || self.compare.is_some()
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
        let mut draft = self.draft_shaped(key, value_len, flags, None, exptime != 0)?;
        draft.set_exptime(exptime);
        Ok(draft)
    }

    /// The same for a value that has yet to come from a client, however long that takes. Such drafts and the buffers of
    /// connections leave an eighth of the limit alone: nothing can be evicted for what others want to store.
    ///
    /// # Errors
    /// As [`draft`](Self::draft).
    pub fn draft_to_wait(
        &self,
        key: Key<'_>,
        value_len: usize,
        flags: u32,
        exptime: RelTime,
    ) -> Result<Draft, Refusal> {
        let account = self.engine().account;
        let mut draft = self.draft(key, value_len, flags, exptime)?;
        draft.wait();
        if account.in_transit() > account.limit() / IN_TRANSIT_SHARE * (IN_TRANSIT_SHARE - 1) {
            return Err(Refusal::OutOfMemory);
        }
        Ok(draft)
    }

    /// A draft of this shape without a deadline; with room for one if it is to be `timed`.
    pub(super) fn draft_shaped(
        &self,
        key: Key<'_>,
        value_len: usize,
        flags: u32,
        cas: Option<u64>,
        timed: bool,
    ) -> Result<Draft, Refusal> {
        let shape = shape_of(key, value_len, flags, cas, timed)?;
        if shape.nominal() > self.engine().options.item_size_max {
            return Err(Refusal::TooLarge);
        }
        if !self.make_room(self.engine().account.real_size(shape.total())) {
            return Err(Refusal::OutOfMemory);
        }
        self.allocate(key, &shape, 0)
    }

    /// A draft for a copy of an item, whatever the limits: the item goes when the copy comes.
    pub(super) fn draft_anyway(
        &self,
        key: Key<'_>,
        value_len: usize,
        flags: u32,
        cas: Option<u64>,
        timed: bool,
    ) -> Result<Draft, Refusal> {
        self.allocate(key, &shape_of(key, value_len, flags, cas, timed)?, 0)
    }

    pub(super) fn allocate(
        &self,
        key: Key<'_>,
        shape: &Shape,
        exptime: RelTime,
    ) -> Result<Draft, Refusal> {
        let engine = self.engine();
        let birth = Birth {
            exptime,
            access: self.now(),
            policy: engine.policy.born(key.hash, self.tick()),
            no_cas: !engine.options.use_cas,
        };
        let purse = &self.handle().purse;
        let node = purse.allocate(shape, birth, key.bytes).ok_or(Refusal::OutOfMemory)?;
        purse.spend(engine.account.real_size(shape.total()));
        // SAFETY: just allocated, and charged.
        #[expect(unsafe_code, reason = "takes ownership of a fresh item")]
        Ok(unsafe { Draft::new(node, key.hash, engine.account) })
    }

    /// Stores a draft that is complete and has chosen no cas unique, whatever is there.
    pub fn set(&self, mut draft: Draft) -> ItemRef<'_> {
        debug_assert!(draft.missing() == 0 && draft.explicit_cas().is_none());
        loop {
            let spot = self.engine().table.search(draft.hash(), draft.key(), self);
            // A dead one is counted, and out of the way.
            self.live(&spot);
            match self.exchange(&spot, draft) {
                Ok(item) => {
                    self.counters().total_items.bump();
                    return item;
                }
                Err(back) => draft = back,
            }
        }
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
                Verdict::Publish => match old.filter(|_| how.depends_on_item()) {
                    Some(old) => self.supersede(&spot, old, draft),
                    None => self.exchange(&spot, draft),
                },
                Verdict::PublishStale => {
                    let Some(old) = old else { continue };
                    let plain = draft.view().plain();
                    draft = match self.keep_marks(old, draft) {
                        Ok(draft) => draft,
                        Err(_) => return Stored::OutOfMemory,
                    };
                    self.supersede(&spot, old, draft).inspect_err(|back| back.view().restore(plain))
                }
                Verdict::Join => {
                    let Some(old) = old else { continue };
                    let joined = match self.join(old, &draft, how.mode) {
                        Ok(joined) => joined,
                        Err(Refusal::TooLarge) => return Stored::TooLarge,
                        Err(Refusal::OutOfMemory) => return Stored::OutOfMemory,
                    };
                    match self.supersede(&spot, old, joined) {
                        Ok(item) => Ok(item),
                        Err(_) => continue,
                    }
                }
                Verdict::NotStored => return Stored::NotStored,
                Verdict::Exists => return Stored::Exists,
                Verdict::NotFound => return Stored::NotFound,
            };
            match published {
                Ok(item) => {
                    self.counters().total_items.bump();
                    return Stored::Stored(item);
                }
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
            self.draft_shaped(key, view.value_len(), view.flags(), Some(cas), view.timed())?;
        shaped.set_exptime(view.exptime());
        shaped.resemble(view);
        Ok(shaped)
    }

    /// Publishes a complete draft in place of `old`, the live item at the spot, for an operation that depends on there being
    /// one. Gives the draft back if the spot has changed, or if `old` is no longer alive.
    ///
    /// Freezing settles that no touch ends `old` before the draft has taken its place. A flush is to take the draft
    /// if it would have taken `old`: the draft's version is given out before `old` is looked at, so either it is
    /// among those that the flush takes, or `old` is seen to be flushed, or the flush is between its two steps; then
    /// the draft takes the version of `old`, which the flush knows.
    pub(super) fn supersede<'s>(
        &'s self,
        spot: &Spot<'s>,
        old: View<'s>,
        mut draft: Draft,
    ) -> Result<ItemRef<'s>, Draft> {
        old.freeze();
        let before = self.version(old);
        let fresh = self.engine().next_version();
        // SeqCst: after the new number, before the look at what is flushed.
        let flushing = self.engine().flushing.load(Ordering::SeqCst) != 0;
        if self.vitality(old) != Vitality::Alive {
            return Err(draft);
        }
        if flushing && let Ok(mut twin) = self.with_cas(&draft, fresh) {
            twin.set_version(before);
            // The next try is to show a number of its own, so the twin is not for another one.
            return self.exchange(spot, twin).map_err(|_| draft);
        }
        draft.set_version(fresh);
        self.exchange(spot, draft).map_err(|mut back| {
            back.set_version(0);
            back
        })
    }

    /// The same draft, but showing the cas unique `cas` unless it has chosen one already.
    fn with_cas(&self, draft: &Draft, cas: u64) -> Result<Draft, Refusal> {
        let view = draft.view();
        self.twin(draft, Some(view.explicit_cas().unwrap_or(cas)), view.timed())
    }

    /// A store that loses to a newer value keeps that one's deadline and token and is stale.
    fn keep_marks(&self, old: View<'_>, mut draft: Draft) -> Result<Draft, Refusal> {
        if old.timed() && !draft.view().timed() {
            draft = self.twin(&draft, draft.view().explicit_cas(), true)?;
        }
        let last = old.freeze();
        draft.set_stale();
        draft.set_exptime(last.exptime);
        if last.token_sent {
            draft.set_token_sent();
        }
        Ok(draft)
    }

    /// The same draft in another shape.
    fn twin(&self, draft: &Draft, cas: Option<u64>, timed: bool) -> Result<Draft, Refusal> {
        let view = draft.view();
        let key = Key { bytes: view.key(), hash: draft.hash() };
        let mut twin = self.draft_anyway(key, view.value_len(), view.flags(), cas, timed)?;
        twin.set_exptime(view.exptime());
        twin.resemble(view);
        Ok(twin)
    }

    /// Publishes a complete draft at a spot: in place of the item there or as the first. Gives the draft back if the spot
    /// has changed.
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
                // The key has been in use; a new value is one use more, if the policy counts it.
                let bits = self.engine().policy.hit(old.policy_bits(), self.tick());
                draft.view().set_policy_bits(bits);
                table.replace(spot, node, self)
            }
            None => table.insert(spot, node),
        };
        if !won {
            return Err(draft);
        }
        match spot.item() {
            Some(old) => self.count_dead(old),
            None => self.count_ghost(draft.view()),
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
        self.handle().marker.note(view.key(), Change::Stored);
        Ok(item)
    }

    /// Counts a key that was evicted lately and comes back: the policy admits it at once.
    fn count_ghost(&self, new: View<'_>) {
        let standing = self.engine().policy.standing(new.policy_bits());
        let ghost = standing == Some(Standing::Admitted);
        self.counters().eviction_ghost_hits.add(u64::from(ghost));
    }

    /// Counts an item that was replaced although it was dead already.
    fn count_dead(&self, old: View<'_>) {
        if let Some(why) = self.vitality(old).end() {
            self.count_removal(self.item(old), why);
        }
    }

    /// Deletes the key's item, with `compare` only if its cas unique is that.
    pub fn delete(&self, key: Key<'_>, compare: Option<u64>) -> Removed<'_> {
        let removed = self.try_delete(key, compare);
        if !matches!(removed, Removed::Exists) {
            // What is not here may still be in a copy elsewhere: it was evicted.
            self.handle().marker.note(key.bytes, Change::Removed);
        }
        removed
    }

    fn try_delete(&self, key: Key<'_>, compare: Option<u64>) -> Removed<'_> {
        self.departs(key.hash);
        let table = &self.engine().table;
        loop {
            let spot = table.search(key.hash, key.bytes, self);
            let Some(old) = self.live(&spot) else { return Removed::NotFound };
            if compare.is_some_and(|compare| compare != self.item(old).cas()) {
                return Removed::Exists;
            }
            self.version(old);
            // A touch that ends the item is before or after this, not both.
            old.freeze();
            if self.vitality(old) != Vitality::Alive {
                continue;
            }
            if table.remove(&spot, self) {
                return Removed::Removed(self.item(old));
            }
        }
    }
}

/// # Errors
/// The value is longer than any item's.
pub(super) fn shape_of(
    key: Key<'_>,
    value_len: usize,
    flags: u32,
    cas: Option<u64>,
    timed: bool,
) -> Result<Shape, Refusal> {
    let key_len = u8::try_from(key.bytes.len()).expect("a key has at most 250 bytes");
    if value_len > super::VALUE_LEN_MAX {
        return Err(Refusal::TooLarge);
    }
    let value_len = u32::try_from(value_len).map_err(|_| Refusal::TooLarge)?;
    Ok(Shape { key_len, value_len, flags, cas, timed })
}
