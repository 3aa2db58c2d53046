//! Lines and what memcached makes of them; every expectation was taken from memcached 1.6.45.

use super::*;
use crate::protocol::KEY_MAX;

fn one(line: &str) -> Request<'_> {
    match parse(line.as_bytes()) {
        Parse::Request { request, consumed } => {
            assert_eq!(consumed, line.len(), "{line:?}");
            request
        }
        other => panic!("{line:?}: {other:?}"),
    }
}

fn rejection(line: &str) -> Rejection {
    match one(line) {
        Request::Rejected(rejection) => rejection,
        other => panic!("{line:?}: {other:?}"),
    }
}

fn told(message: &'static str) -> Rejection {
    Rejection::new(message)
}

fn silent(message: &'static str) -> Rejection {
    Rejection { noreply: true, ..told(message) }
}

#[test]
fn get_takes_any_number_of_keys() {
    let Request::Get(get) = one("gets  a   bb noreply  \r\n") else { panic!() };
    assert!(get.with_cas && get.touch.is_none());
    let keys: Vec<_> = get.keys.collect();
    assert_eq!(keys, [&b"a"[..], b"bb", b"noreply"]);

    let Request::Get(get) = one("gat -5 noreply\n") else { panic!() };
    assert!(!get.with_cas);
    assert_eq!(get.touch, Some(-5));
    assert_eq!(get.keys.collect::<Vec<_>>(), [&b"noreply"[..]]);
}

#[test]
fn a_get_without_keys_or_with_a_long_one() {
    for line in ["get\r\n", "get \r\n", "gets   \r\n", "gat\r\n", "gat 0\r\n", "gats x\r\n"] {
        assert_eq!(rejection(line), told(BAD_FORMAT), "{line:?}");
    }
    assert_eq!(rejection("gat x a\r\n"), told("CLIENT_ERROR invalid exptime argument"));
    let key = "k".repeat(KEY_MAX);
    assert!(matches!(one(&format!("get a {key}\r\n")), Request::Get(_)));
    assert_eq!(
        rejection(&format!("get a {key}k b\r\n")),
        told("CLIENT_ERROR bad command line format\r\n")
    );
}

#[test]
fn storing_commands() {
    let Request::Store(store) = one("set key 4294967295 -1 2147483645\r\n") else { panic!() };
    assert_eq!((store.verb, store.key), (StoreVerb::Set, &b"key"[..]));
    assert_eq!((store.flags, store.exptime, store.value_len), (u32::MAX, -1, 2_147_483_645));
    assert!(!store.noreply);

    let Request::Store(store) = one("cas k 0 0 1 18446744073709551615 noreply\r\n") else {
        panic!()
    };
    assert_eq!((store.verb, store.cas, store.noreply), (StoreVerb::Cas, u64::MAX, true));

    let verbs = [
        ("add", StoreVerb::Add),
        ("replace", StoreVerb::Replace),
        ("append", StoreVerb::Append),
        ("prepend", StoreVerb::Prepend),
    ];
    for (name, verb) in verbs {
        let line = format!("{name}  k  1 2 3  noreply \n");
        let Request::Store(store) = one(&line) else { panic!("{name}") };
        assert_eq!((store.verb, store.noreply), (verb, true));
    }
    let Request::Store(store) = one("set k 0 0 5 noreply x\r\n") else { panic!() };
    assert!(!store.noreply, "only the last word counts");
}

#[test]
fn a_store_without_a_length_swallows_nothing() {
    for arguments in ["", " k", " k 0 0", " k 0 0 ", " k 0 0 -1", " k 0 0 x", " k 0 0 +1"] {
        assert_eq!(rejection(&format!("set{arguments}\r\n")), told(BAD_FORMAT), "{arguments:?}");
    }
    assert_eq!(rejection("set k 0 0 2147483646 noreply\r\n"), told(BAD_FORMAT));
}

#[test]
fn a_refused_store_swallows_its_data() {
    let refused = Rejection { swallow: 7, ..told(BAD_FORMAT) };
    let hushed = Rejection { noreply: true, ..refused };
    let key = "k".repeat(KEY_MAX + 1);
    assert_eq!(rejection(&format!("set {key} 0 0 5\r\n")), refused);
    assert_eq!(rejection(&format!("set {key} 0 0 5 noreply\r\n")), hushed);
    assert_eq!(rejection("set k -1 0 5\r\n"), refused);
    assert_eq!(rejection("set k 0 x 5\r\n"), refused);
    assert_eq!(rejection("cas k 0 0 5\r\n"), refused);
    assert_eq!(rejection("cas k 0 0 5 noreply\r\n"), hushed);
}

#[test]
fn delete_arith_and_touch() {
    let Request::Delete(delete) = one("delete k 10 5\r\n") else { panic!() };
    assert_eq!((delete.key, delete.noreply), (&b"k"[..], false));
    let Request::Delete(delete) = one("delete noreply\r\n") else { panic!() };
    assert_eq!((delete.key, delete.noreply), (&b"noreply"[..], true));
    let Request::Arith(arith) = one("decr k 18446744073709551615 noreply\r\n") else { panic!() };
    assert_eq!((arith.incr, arith.delta, arith.noreply), (false, u64::MAX, true));
    let Request::Touch(touch) = one("touch k -1\r\n") else { panic!() };
    assert_eq!((touch.key, touch.exptime, touch.noreply), (&b"k"[..], -1, false));

    for line in ["delete\r\n", "incr k\r\n", "touch k\r\n", "touch noreply\r\n"] {
        assert_eq!(rejection(line), told(BAD_FORMAT), "{line:?}");
    }
    let delta = "CLIENT_ERROR invalid numeric delta argument";
    assert_eq!(rejection("incr k x\r\n"), told(delta));
    assert_eq!(rejection("incr k -1\r\n"), told(delta));
    assert_eq!(rejection("incr k noreply\r\n"), silent(delta));
    assert_eq!(rejection("touch k x\r\n"), told("CLIENT_ERROR invalid exptime argument"));
    let key = "k".repeat(KEY_MAX + 1);
    assert_eq!(rejection(&format!("delete {key} noreply\r\n")), silent(BAD_FORMAT));
    assert_eq!(rejection(&format!("touch {key} 1\r\n")), told(BAD_FORMAT));
}

#[test]
fn words_count_up_to_the_twenty_third() {
    let line = format!("delete a{} noreply\r\n", " b".repeat(20));
    assert!(matches!(one(&line), Request::Delete(Delete { noreply: true, .. })));
    let line = format!("delete a{} noreply\r\n", " b".repeat(21));
    assert!(matches!(one(&line), Request::Delete(Delete { noreply: false, .. })));
}

#[test]
fn operators_commands_are_told_apart() {
    assert!(matches!(one("quit now\r\n"), Request::Quit));
    assert!(matches!(one("version a\n"), Request::Version));
    assert!(matches!(one("mn\r\n"), Request::MetaNoop));
    assert!(matches!(one("stats settings\r\n"), Request::Admin(_)));
    assert!(matches!(one(" flush_all\r\n"), Request::FlushAll(_)), "spaces before it are allowed");
    assert!(matches!(one("verbosity\r\n"), Request::Admin(_)));
    assert!(matches!(one("foo HTTP/1.1\r\n"), Request::Hangup));
    assert!(matches!(one("get foo HTTP/1.1\r\n"), Request::Get(_)));
}

#[test]
fn what_is_no_command() {
    for line in
        [" get a\r\n", "  version\r\n", "GET a\r\n", "get\ta\r\n", "ab\r\n", "abc\n", "mx a\r\n"]
    {
        assert_eq!(rejection(line), told(ERROR), "{line:?}");
    }
    for line in ["\n", "\r\n", "x\r\n", "ab\n", "\r\r\n"] {
        assert_eq!(rejection(line), told(BAD_FORMAT), "{line:?}");
    }
    assert_eq!(rejection("HTTP/1.1\r\n"), told(ERROR), "one word alone is no HTTP request");
    assert_eq!(rejection("foo noreply\r\n"), silent(ERROR));
}

#[test]
fn only_a_multi_get_may_be_long() {
    let pad =
        |text: &str, len: usize| format!("{text}{}", "a".repeat(len - text.len())).into_bytes();
    assert!(matches!(parse(b""), Parse::Incomplete));
    assert!(matches!(parse(&pad("", 2048)), Parse::Incomplete));
    assert!(matches!(parse(&pad("", 2049)), Parse::TooLong));
    assert!(matches!(parse(&pad("gat 0 ", 2049)), Parse::TooLong));
    assert!(matches!(parse(&pad("get ", 2049)), Parse::Incomplete));
    assert!(matches!(parse(&pad("gets ", 100_000)), Parse::Incomplete));
    assert!(matches!(parse(&pad("gets ", LINE_MAX)), Parse::Incomplete));
    assert!(matches!(parse(&pad("gets ", LINE_MAX + 1)), Parse::TooLong));
    let spaces = " ".repeat(100);
    assert!(matches!(parse(&pad(&format!("{spaces}get "), 3000)), Parse::Incomplete));
    assert!(matches!(parse(&pad(&format!("{spaces} get "), 3000)), Parse::TooLong));
}
