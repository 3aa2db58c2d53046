use super::*;

#[test]
fn words_may_be_cut_short_but_not_made_longer() {
    assert!(abbreviates(b"detail", "detail"));
    assert!(abbreviates(b"d", "detail"));
    assert!(!abbreviates(b"details", "detail"));
}

#[test]
fn kinds_to_watch_go_by_their_beginning() {
    assert_eq!(watched_kind(b"mutations"), Some(Mask::MUTATIONS));
    assert_eq!(watched_kind(b"e"), Some(Mask::EVICTIONS));
    assert_eq!(watched_kind(b"all"), None);
}
