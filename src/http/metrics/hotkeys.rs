//! Hot keys, while they are looked for: how much of the load the hottest ones have.
//!
//! Names of keys are the clients' data, and change: they are on the page only if somebody wants that, and only a few.

use super::page::Page;
use crate::command::admin::hotkeys::{HotKeys, percent_encoded};

/// So many of the hottest keys are summed, and at most so many named.
const TOPS: [usize; 2] = [1, 10];

/// Writes the families; nothing while nobody looks for hot keys.
pub(super) fn write(hot_keys: &HotKeys, with_names: bool, page: &mut Page) {
    if !hot_keys.enabled() {
        return;
    }
    let top = hot_keys.top(10);
    for most in TOPS {
        let share: f64 = top.iter().take(most).map(|key| key.share).sum();
        let most = most.to_string();
        let help = "Share of the accesses that the hottest keys have, from a sample.";
        page.gauge("volt_hot_keys_share", help, &[("top", &most)], share);
    }
    for key in top.iter().filter(|_| with_names) {
        let name = percent_encoded(&key.key);
        let help = "Share of the accesses that the key has, from a sample.";
        page.gauge("volt_hot_key_share", help, &[("key", &name)], key.share);
    }
}
