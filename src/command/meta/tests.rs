//! Transcripts of meta commands. The expectations are memcached 1.6.45's, unless a comment says otherwise, and hold
//! however the bytes are cut into packets; `E` gives items cas uniques that a transcript can name.

use crate::command::options::Options;
use crate::command::tests::{Client, ask, totals, transcript, worker};

#[test]
fn mg_returns_flags_in_the_order_of_the_request() {
    transcript(
        "ms foo 3 E77 F5 T100\r\nabc\r\nmg foo\r\nmg foo s v t c f k Oop h l\r\nmg foo  h l c f s t k Oop \r\n\
         mg foo v C77 s\r\nmg foo C78 v\r\nmg foo\nmg none v k O1\r\nmg none q v k O1\r\nmg foo q\r\nmn\r\n",
        "HD\r\nHD\r\nVA 3 s3 t100 c77 f5 kfoo Oop h1 l0\r\nabc\r\nHD h1 l0 c77 f5 s3 t100 kfoo Oop\r\n\
         HD s3\r\nVA 3\r\nabc\r\nHD\r\nEN knone O1\r\nHD\r\nMN\r\n",
    );
}

#[test]
fn h_and_l_tell_of_the_time_before_and_u_leaves_no_trace() {
    let worker = worker(Options::default());
    ask(&worker, &[b"ms a 1\r\n1\r\n"]);
    worker.context.clock.advance(10);
    assert_eq!(
        ask(&worker, &[b"mg a u h l\r\nmg a u\r\nmg a h l t\r\nmg a l h\r\n"]),
        "HD h0 l10\r\nHD\r\nHD h0 l10 t-1\r\nHD l0 h1\r\n"
    );
}

// memcached loses the T of ma when it cannot change the number in place: while an earlier reply with the item waits.
#[test]
fn a_deadline_changes_where_its_flag_stands() {
    transcript(
        "ms a 1 T100\r\n1\r\nmg a t T30\r\nmg a T0 t\r\nmg a t\r\nmg a T50 t T\r\nmg a T50 s\r\n\
         ma a T20 t\r\nma a t T10\r\nma a t\r\nma n t N60 v\r\nma m N60 t T0\r\nmg m t\r\nmg v t N60 T5 t\r\n\
         mg w T5 N60\r\nmg w t\r\nmg a T-1\r\nmg a\r\n",
        "HD\r\nHD t100\r\nHD t-1\r\nHD t-1\r\nCLIENT_ERROR duplicate flag\r\nHD s1\r\n\
         HD t20\r\nHD t20\r\nHD t10\r\nVA 1 t-1\r\n0\r\nHD t60\r\nHD t-1\r\nCLIENT_ERROR duplicate flag\r\n\
         HD W\r\nHD t60 Z\r\nHD\r\nEN\r\n",
    );
}

#[test]
fn one_client_wins_the_right_to_recache() {
    transcript(
        "mg a N30 v t s E5\r\nmg a N30 v t c\r\nms a 2 C4\r\nxx\r\nms a 2 C5 E6 T300\r\nxx\r\nmg a N30 t v\r\n\
         mg a R400 c\r\nmg a R400\r\nmg a R200 t\r\nmg a t q s N30\r\nmg q N30 q\r\n",
        "VA 0 t30 s0 W\r\n\r\nVA 0 t30 c5 Z\r\n\r\nEX\r\nHD\r\nVA 2 t300\r\nxx\r\n\
         HD c6 W\r\nHD Z\r\nHD t300 Z\r\nHD t300 s2 Z\r\nHD W\r\n",
    );
}

#[test]
fn stale_items_are_served_until_somebody_recaches_them() {
    transcript(
        "ms a 3 E10 T90\r\nmoo\r\nmd a I T30 E20\r\nmg a v t c\r\nmg a v t\r\nms a 1 I T90 C21\r\nf\r\n\
         ms a 1 I T90 C19 E30\r\nf\r\nmg a s t c v\r\nms a 1 C30 T80\r\ng\r\nmg a t v\r\n\
         md a I q\r\nmg a X\r\nmg a\r\nmg a\r\nappend a 0 0 1\r\nh\r\nmg a v\r\n",
        "HD\r\nHD\r\nVA 3 t30 c20 X W\r\nmoo\r\nVA 3 t30 Z X\r\nmoo\r\nEX\r\n\
         HD\r\nVA 1 s1 t30 c30 Z X\r\nf\r\nHD\r\nVA 1 t80\r\ng\r\n\
         CLIENT_ERROR invalid flag\r\nHD X W\r\nHD Z X\r\nSTORED\r\nVA 2\r\ngh\r\n",
    );
}

#[test]
fn ms_has_modes() {
    transcript(
        "ms a 1 MR\r\n1\r\nms a 1 MA\r\n1\r\nms a 1 MP C5\r\n1\r\nms a 1 ME E7 k c s O1\r\n1\r\n\
         ms a 1 ME c s\r\n2\r\nms a 2 MA s\r\n22\r\nms a 1 MP s q\r\n0\r\nmg a v\r\nms a 1 MA C1 s c\r\n3\r\n\
         ms b 2 MA N40 s c E8\r\nbb\r\nms b 2 MA N90 s C8 T5\r\ncc\r\nmg b v t\r\nms b 1 MR\r\nr\r\nmg b v t\r\n\
         ms b 1 MS\r\ns\r\nms b 1 MZ\r\nt\r\nms b 1 M\r\nt\r\nmg b v\r\n",
        "NS\r\nNS\r\nNS\r\nHD ka c7 s1 O1\r\n\
         NS c0 s1\r\nHD s3\r\nVA 4\r\n0122\r\nEX s1 c0\r\n\
         HD s2 c8\r\nHD s4\r\nVA 4 t40\r\nbbcc\r\nHD\r\nVA 1 t-1\r\nr\r\n\
         HD\r\nCLIENT_ERROR invalid mode for ms M token\r\nCLIENT_ERROR invalid mode for ms M token\r\n\
         VA 1\r\ns\r\n",
    );
}

#[test]
fn a_cas_of_zero_fits_nothing_that_is_set_and_everything_that_is_appended_to() {
    transcript(
        "ms a 1 C0\r\n1\r\nms a 1 E5\r\n1\r\nms a 1 C0\r\n2\r\nms a 1 C0 MR\r\n2\r\nms a 1 C0 ME\r\n2\r\n\
         ms a 1 C0 MA\r\n2\r\nmg a v\r\nma a C0 v\r\nmd a C0\r\nms a 1 MR C99999 k\r\n1\r\nms b 1 MR C99999 k\r\n1\r\n",
        "NF\r\nHD\r\nEX\r\nEX\r\nNS\r\n\
         HD\r\nVA 2\r\n12\r\nVA 2\r\n13\r\nEX\r\nEX ka\r\nNF kb\r\n",
    );
}

#[test]
fn md_deletes_marks_and_empties() {
    transcript(
        "md a k O1\r\nmd a q\r\nms a 2 E5 F3 T50\r\nxy\r\nmd a C4 k\r\nmd a C5 x\r\nmg a v c f t\r\nmd a x F7 T60 E6\r\n\
         mg a v c f t\r\nmd a x I E9\r\nmg a v c f t\r\nmg a c\r\nmd a x\r\nmg a c\r\nmd a q\r\nmg a\r\n",
        "NF ka O1\r\nNF\r\nHD\r\nEX ka\r\nHD\r\nVA 0 c5 f0 t-1\r\n\r\nHD\r\n\
         VA 0 c6 f7 t60\r\n\r\nHD\r\nVA 0 c9 f0 t-1 X W\r\n\r\nHD c9 Z X\r\nHD\r\nHD c9\r\nEN\r\n",
    );
}

// memcached pads a shorter number only while no reply with the item waits to be written, which in one packet one does.
#[test]
fn ma_counts() {
    transcript(
        "ma n k O1\r\nma n q\r\nma n N0 J13 v c E5 k\r\nma n v\r\nma n D30 v\r\nma n MD D22 v C5\r\nma n MD D22 v O2\r\n\
         ma n M- D100 v\r\nma n MI q v\r\nma n M+\r\nma n v t c E9\r\nma n MX\r\nma n Dx\r\nma n k k\r\nma n !\r\n\
         ms n 1\r\nx\r\nma n q\r\nms n 0\r\n\r\nma n C5\r\nms n 2\r\n99\r\nma n v\r\nmg n v s\r\nma n D1 M- v\r\nmg n v\r\n",
        "NF kn O1\r\nNF\r\nVA 2 c5 kn\r\n13\r\nVA 2\r\n14\r\nVA 2\r\n44\r\nEX\r\nVA 2 O2\r\n22\r\n\
         VA 1\r\n0\r\nHD\r\nVA 1 t-1 c9\r\n3\r\nCLIENT_ERROR invalid mode for ma M token\r\n\
         CLIENT_ERROR invalid or duplicate flag\r\nCLIENT_ERROR invalid or duplicate flag\r\n\
         CLIENT_ERROR bad command line format\r\n\
         HD\r\nCLIENT_ERROR cannot increment or decrement non-numeric value\r\n\
         HD\r\nCLIENT_ERROR cannot increment or decrement non-numeric value\r\n\
         HD\r\nVA 3\r\n100\r\nVA 3 s3\r\n100\r\nVA 2\r\n99\r\nVA 3\r\n99 \r\n",
    );
}

// memcached returns the key of an item that mg has created as its raw bytes: here, with a line end in it.
#[test]
fn base64_keys_are_stored_decoded_and_shown_encoded() {
    transcript(
        "ms Zm9v 1 b k\r\n1\r\nmg foo v k\r\nmg Zm9v v\r\nmg Zm9v b v k\r\nmg Zm9v k b\r\nmg YmFy b k\r\n\
         ma Zm9v b k v\r\nmd Zm9v k b\r\nmd Zm9v b k\r\nset foo 0 0 1\r\n1\r\nmg Zm9v b k\r\n\
         mg DQog N0 b k\r\nmg DQog b k\r\nmg Zm b\r\nmg Zm9v b b\r\n",
        "HD kZm9v b\r\nVA 1 kZm9v b\r\n1\r\nEN\r\nVA 1 kZm9v b\r\n1\r\nHD kZm9v b\r\nEN kYmFy b\r\n\
         VA 1 kZm9v b\r\n2\r\nHD kZm9v b\r\nNF kZm9v b\r\nSTORED\r\nHD kfoo\r\n\
         HD kDQog b W\r\nHD kDQog b Z\r\nCLIENT_ERROR error decoding key\r\nCLIENT_ERROR duplicate flag\r\n",
    );
}

#[test]
fn q_hides_success_and_never_an_error() {
    transcript(
        "ms a 1 q\r\n1\r\nmg a q v\r\nmg b q\r\nma a q\r\nma b q N0\r\nms a 1 q ME\r\n1\r\nms a 1 q C5\r\n1\r\n\
         ms z 1 q C5\r\n1\r\nma a q C5\r\nmd a q C5\r\nms a 1 q\r\n12\r\nms a q\r\nmd a q\r\nmd a q x\r\nmd b q I\r\nmn\r\n",
        "VA 1\r\n1\r\nNS\r\nEX\r\n\
         NF\r\nEX\r\nEX\r\nCLIENT_ERROR bad data chunk\r\nCLIENT_ERROR bad command line format\r\n\
         CLIENT_ERROR bad command line format\r\nNF\r\nMN\r\n",
    );
}

#[test]
fn refused_data_is_skipped_if_its_length_is_known() {
    transcript(
        "ms a 2 v v\r\nmn\r\nms a 2 S5\r\nmn\r\nms a 2 Tx q\r\nmn\r\nms a 2 !\r\nmn\r\nms a x\r\nmn\r\nms a -1\r\nmn\r\n\
         ms a\r\nmn\r\nmg a\r\n",
        "CLIENT_ERROR duplicate flag\r\nCLIENT_ERROR invalid flag\r\n\
         CLIENT_ERROR bad token in command line format\r\nCLIENT_ERROR bad command line format\r\nMN\r\n\
         CLIENT_ERROR bad command line format\r\nMN\r\nCLIENT_ERROR bad command line format\r\nMN\r\n\
         CLIENT_ERROR bad command line format\r\nMN\r\nEN\r\n",
    );
}

#[test]
fn a_value_too_large_takes_the_old_one_away_in_every_mode() {
    let worker = worker(Options::default());
    let large = vec![b'x'; 2 << 20];
    let packets: [&[u8]; 3] =
        [b"ms a 1\r\n1\r\nms a 2097152 q MA Olong\r\n", &large, b"\r\nmg a v\r\n"];
    assert_eq!(ask(&worker, &packets), "HD\r\nSERVER_ERROR object too large for cache\r\nEN\r\n");
    assert_eq!(totals(&worker).store_too_large, 1);
}

#[test]
fn an_opaque_too_long_ends_the_command_where_it_stands() {
    let (fits, long) = ("y".repeat(31), "y".repeat(32));
    let error = "CLIENT_ERROR opaque token too long\r\n";
    transcript(
        &format!(
            "mg a O{fits}\r\nmg a q O{long}\r\nms a 1 q O{long}\r\n1\r\nmg a\r\nms a 1 T9\r\n1\r\n\
             md a O{long}\r\nmg a T20 O{long}\r\nmg a t\r\nmg a O{long} T30\r\nmg a t\r\nma a q O{long}\r\nmg a v\r\n"
        ),
        &format!(
            "EN O{fits}\r\n{error}{error}EN\r\nHD\r\n\
             {error}{error}HD t20\r\n{error}HD t20\r\n{error}VA 1\r\n2\r\n"
        ),
    );
}

#[test]
fn me_shows_everything_but_the_value() {
    let worker = worker(Options::default());
    let answer = ask(&worker, &[b"me a\r\nms a 1 E5 T90\r\n1\r\nme a\r\nmg a\r\nme a x\r\n"]);
    let lines: Vec<&str> = answer.split("\r\n").collect();
    assert_eq!(lines[0], "EN");
    assert!(lines[2].starts_with("ME a exp=90 la=0 cas=5 fetch=no cls=1 size="), "{}", lines[2]);
    assert!(lines[4].starts_with("ME a exp=90 la=0 cas=5 fetch=yes cls=1 size="), "{}", lines[4]);
    let answer = ask(&worker, &[b"ms Zm9v 1 b\r\n1\r\nme foo\r\nme Zm9v b\r\nme Zm9v b x\r\n"]);
    let lines: Vec<&str> = answer.split("\r\n").collect();
    assert!(lines[1].starts_with("ME Zm9v exp=-1 "), "{}", lines[1]);
    assert_eq!(lines[2], "EN", "a last b is not seen");
    assert_eq!(lines[3], lines[1]);
    assert_eq!(totals(&worker).cmd_meta, 6, "only me counts as a meta command");
}

#[test]
fn meta_commands_count_as_what_they_do() {
    let worker = worker(Options::default());
    ask(&worker, &[b"ms a 1\r\n1\r\nmg a\r\nmg b\r\nmg a T0\r\nmg b T0\r\nmg n N0\r\n"]);
    let counted = totals(&worker);
    assert_eq!((counted.cmd_get, counted.get_hits, counted.get_misses), (4, 2, 2));
    assert_eq!((counted.cmd_touch, counted.touch_hits, counted.touch_misses), (1, 1, 0));
    ask(&worker, &[b"ma a\r\nma b\r\nma a MD\r\nma b MD\r\nma a C1\r\nma c N0\r\n"]);
    let counted = totals(&worker);
    assert_eq!((counted.incr_hits, counted.incr_misses), (1, 1));
    assert_eq!((counted.decr_hits, counted.decr_misses), (1, 1));
    ask(&worker, &[b"md b\r\nmd a C1\r\nmd a I\r\nmd a x\r\nmd a\r\n"]);
    let counted = totals(&worker);
    assert_eq!((counted.delete_hits, counted.delete_misses), (2, 2), "a stale item is kept");
    ask(&worker, &[b"ms a 1 C5\r\n1\r\nms a 1 E5\r\n1\r\nms a 1 C6\r\n1\r\nms a 1 C5\r\n1\r\nms a 1 MA C5\r\n1\r\n"]);
    let counted = totals(&worker);
    assert_eq!((counted.cas_hits, counted.cas_badval, counted.cas_misses), (1, 1, 1));
    assert_eq!(counted.cmd_set, 6);
}

#[test]
fn every_command_that_meets_an_expired_item_counts_it() {
    let worker = worker(Options::default());
    for command in
        ["mg k", "mg k N9", "ma k", "ma k t T9", "md k", "md k I", "me k", "ms k 1 C5\r\n1"]
    {
        let before = totals(&worker).get_expired;
        ask(&worker, &[b"ms k 1 T5\r\n1\r\n"]);
        worker.context.clock.advance(6);
        ask(&worker, &[command.as_bytes(), b"\r\nmd k\r\n"]);
        assert_eq!(totals(&worker).get_expired, before + 1, "{command}");
    }
}

#[test]
fn large_values_are_held_not_copied() {
    let worker = worker(Options::default());
    let value = vec![b'v'; 300_000];
    let question =
        [b"ms big 300000 k\r\n", &value[..], b"\r\nmg big v s\r\nmg big s v\r\nmn\r\n"].concat();
    let one = [b"VA 300000 s300000\r\n", &value[..], b"\r\n"].concat();
    let answer = [b"HD kbig\r\n", &one[..], &one, b"MN\r\n"].concat();
    for size in [1 << 20, 65_536, 16_384] {
        let mut client = Client::new(&worker);
        question.chunks(size).for_each(|packet| client.send(packet));
        assert!(client.answered == answer, "in packets of {size}");
    }
}
