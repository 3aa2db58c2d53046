//! me: shows everything about one item but its value, for people.

use super::reply;
use crate::command::admin::SIZE_CLASS;
use crate::command::{Output, Scope, watch};
use crate::engine::{Key, Lookup};

/// Runs me.
pub fn show(scope: Scope<'_>, key: Key<'_>, output: &mut Output) {
    scope.counters().cmd_meta.bump();
    let lookup = scope.session.peek(key);
    watch::fetch(scope.worker, scope.cfd, key.bytes, &lookup);
    scope.count_absence(&lookup);
    let Lookup::Hit(item) = lookup else {
        return output.line("EN");
    };
    let now = scope.session.now();
    output.push(b"ME ");
    if item.key_is_binary() {
        reply::base64(output, item.key());
    } else {
        output.push(item.key());
    }
    match item.exptime() {
        0 => output.push(b" exp=-1"),
        exptime => named(output, " exp=", exptime.saturating_sub(now).into()),
    }
    named(output, " la=", now.saturating_sub(item.last_access()).into());
    named(output, " cas=", item.cas());
    output.push(if item.fetched() { b" fetch=yes" } else { b" fetch=no" });
    named(output, " cls=", SIZE_CLASS.into());
    named(output, " size=", item.size() as u64);
    output.push(reply::END);
}

fn named(output: &mut Output, name: &str, number: u64) {
    output.push(name.as_bytes());
    output.number(number);
}
