//! Persistence from outside: the program is killed while clients write, and started again.
//!
//! An [observer] in this process, which no kill touches, notes what was acknowledged and when. After a kill, what
//! is served is compared with the notes: whatever was acknowledged longer ago than the bound has to be there, or
//! something newer; what was deleted must not be; nothing else may appear.
//!
//! `VOLT_PERSIST_KILLS` sets the number of kills; a few without it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod checkpoints;
mod client;
mod disks;
mod kills;
mod observer;
mod program;
mod starts;
mod starvation;
mod stops;
mod tools;

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

/// Only failing tests wait this long.
const DEADLINE: Duration = Duration::from_secs(20);

/// The machine is for one test alone, or shared by several.
static MACHINE: RwLock<()> = RwLock::new(());

fn alone() -> RwLockWriteGuard<'static, ()> {
    MACHINE.write().unwrap_or_else(PoisonError::into_inner)
}

fn beside_others() -> RwLockReadGuard<'static, ()> {
    MACHINE.read().unwrap_or_else(PoisonError::into_inner)
}

/// How many kills: some, or as many as the environment says.
fn kills() -> u64 {
    std::env::var("VOLT_PERSIST_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(4)
}
