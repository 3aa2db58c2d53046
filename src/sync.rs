//! The one door to atomics: the standard library's, or loom's when the models run.
//!
//! Everything in `engine` that takes part in a lock-free protocol imports its atomics from here, so that
//! `RUSTFLAGS="--cfg volt_loom"` can explore its interleavings.

#[cfg(volt_loom)]
pub use loom::sync::atomic::{
    AtomicBool, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};
#[cfg(not(volt_loom))]
pub use std::sync::atomic::{
    AtomicBool, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};
