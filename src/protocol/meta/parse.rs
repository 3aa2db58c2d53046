//! Reads the line of a meta command.
//!
//! memcached looks at a line twice: it splits it into words first, then reads the flags. An error of the first kind
//! (a word missing, a flag that begins with no letter) comes before every other, and after it no data block is
//! skipped. The single pass here keeps that order: it goes on to the end of the line whatever it has found.

use super::base64::KeyBuffer;
use super::{KEY_MAX, MetaRequest, Mode, OPAQUE_MAX, Verb};
use crate::protocol::number::{parse_i32, parse_u32, parse_u64};
use crate::protocol::{BAD_FORMAT, ERROR, Rejection};

/// Most words of a line that are looked at, the command included.
const WORDS_MAX: usize = 23;
/// Most words that a line may have, the command included.
const OPTIONS_MAX: usize = 20;
/// Largest length of a data block, in bytes; with its end of line it fits a signed 32-bit number.
const VALUE_LEN_MAX: i32 = i32::MAX - 2;

const TOO_MANY: &str = "CLIENT_ERROR options flags are too long";
const DUPLICATE: &str = "CLIENT_ERROR duplicate flag";
const UNKNOWN: &str = "CLIENT_ERROR invalid flag";
const BAD_KEY: &str = "CLIENT_ERROR error decoding key";
const BAD_TOKEN: &str = "CLIENT_ERROR bad token in command line format";
const BAD_INITIAL: &str = "CLIENT_ERROR invalid numeric initial value";
const BAD_DELTA: &str = "CLIENT_ERROR invalid numeric delta value";
const BAD_ARITH_FLAG: &str = "CLIENT_ERROR invalid or duplicate flag";
const BAD_SET_MODE: &str = "CLIENT_ERROR invalid mode for ms M token";
const BAD_ARITH_MODE: &str = "CLIENT_ERROR invalid mode for ma M token";

/// Understands the meta command `m<verb>` from its whole line (without the end of line).
///
/// # Errors
/// memcached's reply, and for ms how much data follows that must be skipped.
#[inline]
pub fn parse(verb: u8, line: &[u8]) -> Result<MetaRequest<'_>, Rejection> {
    let verb = match verb {
        b'g' => Verb::Get,
        b's' => Verb::Set,
        b'd' => Verb::Delete,
        b'a' => Verb::Arith,
        b'e' => Verb::Debug,
        _ => return Err(Rejection::new(ERROR)),
    };
    let (word, text) = split(&line[2..]).ok_or(Rejection::new(BAD_FORMAT))?;
    let mut request = MetaRequest::new(verb, word, text);
    match verb {
        Verb::Set => read_set(&mut request)?,
        Verb::Debug => read_debug(&mut request)?,
        Verb::Arith => read_arith(&mut request)?,
        Verb::Get | Verb::Delete => {
            read_flags(&mut request, 2).map_err(|fault| Rejection::new(fault.message()))?;
        }
    }
    Ok(request)
}

/// The first word of `text`, and what follows it.
#[inline]
fn split(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let start = text.iter().position(|&byte| byte != b' ')?;
    let text = &text[start..];
    Some(text.split_at(memchr::memchr(b' ', text).unwrap_or(text.len())))
}

/// Reads the rest of `ms <key> <datalen> <flags>*`.
fn read_set(request: &mut MetaRequest<'_>) -> Result<(), Rejection> {
    let (len, text) = split(request.text).ok_or(Rejection::new(BAD_FORMAT))?;
    request.text = text;
    let flags = read_flags(request, 3);
    if flags == Err(Fault::Line) {
        return Err(Rejection::new(BAD_FORMAT));
    }
    let len = parse_i32(len).filter(|len| (0..=VALUE_LEN_MAX).contains(len));
    let len = len.and_then(|len| usize::try_from(len).ok());
    request.value_len = len.ok_or(Rejection::new(BAD_FORMAT))?;
    flags.and_then(|()| choose_set_mode(request)).map_err(|fault| Rejection {
        message: fault.message(),
        swallow: request.value_len + 2,
        noreply: false,
    })
}

/// Reads the flags of ma, which tells most errors apart from others no further.
fn read_arith(request: &mut MetaRequest<'_>) -> Result<(), Rejection> {
    match read_flags(request, 2) {
        Err(Fault::Line) => return Err(Rejection::new(BAD_FORMAT)),
        Err(Fault::Flags(_)) => return Err(Rejection::new(BAD_ARITH_FLAG)),
        Ok(()) => {}
    }
    request.decrement = match mode_letter(request) {
        None | Some(b'I' | b'+') => false,
        Some(b'D' | b'-') => true,
        Some(_) => return Err(Rejection::new(BAD_ARITH_MODE)),
    };
    Ok(())
}

/// Reads what follows `me <key>`. The only flag is `b`, as the first; memcached sees it only if more follows.
fn read_debug(request: &mut MetaRequest<'_>) -> Result<(), Rejection> {
    let mut words = request.flag_words().take(WORDS_MAX - 2);
    if words.any(|word| !begins_flag(word)) || request.word.len() > KEY_MAX {
        return Err(Rejection::new(BAD_FORMAT));
    }
    let mut words = request.flag_words();
    if words.next() == Some(b"b") && words.next().is_some() {
        request.flags.insert(b'b');
        if KeyBuffer::new().decode(request.word).is_none() {
            return Err(Rejection::new(BAD_FORMAT));
        }
    }
    Ok(())
}

/// Why flags cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The line as a whole is none.
    Line,
    /// A flag, or their number, is wrong; with the reply.
    Flags(&'static str),
}

impl Fault {
    const fn message(self) -> &'static str {
        match self {
            Self::Line => BAD_FORMAT,
            Self::Flags(message) => message,
        }
    }
}

/// Reads the flags in the request's text, which `words_before` words precede on the line.
#[inline]
fn read_flags(request: &mut MetaRequest<'_>, words_before: usize) -> Result<(), Fault> {
    let mut words = words_before;
    // A letter that is wrong ends the reading; a wrong argument does not, and the last of those is told.
    let (mut bad_letter, mut bad_argument) = (None, None);
    for word in request.flag_words() {
        if words < WORDS_MAX && !begins_flag(word) {
            return Err(Fault::Line);
        }
        words += 1;
        if bad_letter.is_some() {
            continue;
        }
        match read_flag(request, word) {
            Ok(()) => {}
            Err(BadFlag::Letter(message)) => bad_letter = Some(message),
            Err(BadFlag::Argument(message)) => bad_argument = Some(message),
            Err(BadFlag::ClientFlags) => bad_argument = bad_argument.or(Some(BAD_FORMAT)),
        }
    }
    if request.word.len() > KEY_MAX {
        return Err(Fault::Flags(BAD_FORMAT));
    }
    if words > OPTIONS_MAX {
        return Err(Fault::Flags(TOO_MANY));
    }
    bad_letter.or(bad_argument).map_or(Ok(()), |message| Err(Fault::Flags(message)))
}

/// Whether a word can be a flag at all: memcached takes the bytes from `A` to `z`, and digits.
#[inline]
fn begins_flag(word: &[u8]) -> bool {
    matches!(word[0], b'A'..=b'z' | b'0'..=b'9')
}

/// What can be wrong with one flag.
enum BadFlag {
    /// Nothing is known by this letter, or it is there twice.
    Letter(&'static str),
    /// The argument is no number, or the key no base64.
    Argument(&'static str),
    /// The argument of `F`, which has no message of its own.
    ClientFlags,
}

/// Reads one flag into the request.
#[inline]
fn read_flag(request: &mut MetaRequest<'_>, word: &[u8]) -> Result<(), BadFlag> {
    let (letter, argument) = (word[0], &word[1..]);
    // Words that are too many to be looked at beforehand may begin with anything.
    if !letter.is_ascii_alphabetic() {
        return Err(BadFlag::Letter(UNKNOWN));
    }
    if !request.flags.insert(letter) {
        return Err(BadFlag::Letter(DUPLICATE));
    }
    let token = BadFlag::Argument(BAD_TOKEN);
    match letter {
        b'P' | b'L' | b'k' | b's' | b't' | b'c' | b'f' | b'v' | b'h' | b'l' | b'u' | b'q'
        | b'x' | b'I' | b'M' => {}
        b'O' => request.opaque_too_long = word.len() > OPAQUE_MAX,
        b'b' => {
            // Too long a key is an error of its own, and told before this one.
            let text = &request.word[..request.word.len().min(KEY_MAX)];
            KeyBuffer::new().decode(text).ok_or(BadFlag::Argument(BAD_KEY))?;
        }
        b'T' => request.exptime = parse_i32(argument).ok_or(token)?,
        b'N' => request.vivify = parse_i32(argument).ok_or(token)?,
        b'R' => request.recache = parse_i32(argument).ok_or(token)?,
        b'F' => request.client_flags = parse_u32(argument).ok_or(BadFlag::ClientFlags)?,
        b'C' => request.compare = parse_u64(argument).ok_or(token)?,
        b'E' => request.new_cas = parse_u64(argument).ok_or(token)?,
        b'J' => request.initial = parse_u64(argument).ok_or(BadFlag::Argument(BAD_INITIAL))?,
        b'D' => request.delta = parse_u64(argument).ok_or(BadFlag::Argument(BAD_DELTA))?,
        _ => return Err(BadFlag::Letter(UNKNOWN)),
    }
    Ok(())
}

/// The letter after `M`, if there is an `M`. Only that one counts; without one the byte after the flag does.
fn mode_letter(request: &MetaRequest<'_>) -> Option<u8> {
    if !request.has(b'M') {
        return None;
    }
    let word = request.flag_words().find(|word| word[0] == b'M')?;
    // memcached keeps the mode in a byte that is 0 when there is none.
    Some(word.get(1).copied().unwrap_or(b' ')).filter(|&letter| letter != 0)
}

/// Sets the mode of ms.
#[inline]
fn choose_set_mode(request: &mut MetaRequest<'_>) -> Result<(), Fault> {
    request.mode = match mode_letter(request) {
        None | Some(b'S') => Mode::Set,
        Some(b'E') => Mode::Add,
        Some(b'A') => Mode::Append,
        Some(b'P') => Mode::Prepend,
        Some(b'R') => Mode::Replace,
        Some(_) => return Err(Fault::Flags(BAD_SET_MODE)),
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<MetaRequest<'_>, Rejection> {
        parse(line.as_bytes()[1], line.as_bytes())
    }

    fn refused(line: &str) -> (&'static str, usize) {
        let rejection = read(line).unwrap_err();
        assert!(!rejection.noreply, "errors of meta commands are always told");
        (rejection.message, rejection.swallow)
    }

    #[test]
    fn a_word_beyond_those_that_are_looked_at_may_be_anything() {
        let line = b"mg a P L k s t c f v h l u q x I M O b T N R F \xff";
        let rejection = parse(b'g', line).unwrap_err();
        assert_eq!(rejection.message, TOO_MANY);
    }

    #[test]
    fn flags_become_a_set_and_values() {
        let request = read("mg  key  v k T-1 N30 R60 C7 E8 Oab F9 J5 D6 q ").unwrap();
        request.with_key(|key| assert_eq!(key, b"key"));
        assert!(request.has(b'v') && request.has(b'k') && !request.has(b'b'));
        assert_eq!((request.exptime, request.vivify, request.recache), (-1, 30, 60));
        assert_eq!((request.compare(), request.new_cas()), (Some(7), Some(8)));
        assert_eq!((request.client_flags, request.initial, request.delta), (9, 5, 6));
        assert!(request.quiet());
        let order: Vec<u8> = request.flag_words().map(|word| word[0]).collect();
        assert_eq!(order, b"vkTNRCEOFJDq");
    }

    #[test]
    fn what_is_absent_has_its_default() {
        let request = read("ma k").unwrap();
        assert_eq!((request.compare(), request.new_cas(), request.value_len()), (None, None, None));
        assert_eq!((request.exptime, request.delta, request.initial), (0, 1, 0));
        assert_eq!(request.mode, Mode::Set);
        assert!(!request.decrement);
    }

    #[test]
    fn base64_keys_are_decoded_when_asked_for() {
        let request = read("mg 44OG44K544OI b k").unwrap();
        request.with_key(|key| assert_eq!(key, "テスト".as_bytes()));
        assert_eq!(refused("mg abc b").0, BAD_KEY);
        assert_eq!(refused("mg abc b !").0, BAD_FORMAT);
    }

    #[test]
    fn an_error_of_the_line_precedes_errors_of_flags() {
        for line in
            ["mg", "mg ", "ms k", "ms k x", "ms k -1", "ms k 2147483646", "mg k !", "mg k q q !"]
        {
            assert_eq!(refused(line), (BAD_FORMAT, 0), "{line}");
        }
        assert_eq!(refused("ms k 3 v ~"), (BAD_FORMAT, 0), "the data is not skipped");
        assert_eq!(refused("ms k 3 v v"), (DUPLICATE, 5), "the data is skipped");
        assert_eq!(refused("mg k 1"), (UNKNOWN, 0), "a digit passes for a flag at first");
        assert_eq!(refused("mg k ^"), (UNKNOWN, 0));
    }

    #[test]
    fn the_last_wrong_argument_is_told_unless_a_letter_is_wrong() {
        assert_eq!(refused("mg k Tx").0, BAD_TOKEN);
        assert_eq!(refused("mg k T").0, BAD_TOKEN);
        assert_eq!(refused("mg k Tx Jx").0, BAD_INITIAL);
        assert_eq!(refused("mg k Jx Cx").0, BAD_TOKEN);
        assert_eq!(refused("mg k Dx Fx").0, BAD_DELTA, "F has no message of its own");
        assert_eq!(refused("mg k Fx").0, BAD_FORMAT);
        assert_eq!(refused("mg k Tx S").0, UNKNOWN);
        assert_eq!(refused("mg k Tx k k").0, DUPLICATE);
        assert_eq!(refused("ma k Tx k k").0, BAD_ARITH_FLAG);
    }

    #[test]
    fn keys_and_flags_have_their_limits() {
        let key = "k".repeat(251);
        assert_eq!(refused(&format!("mg {key} S")).0, BAD_FORMAT);
        assert_eq!(refused(&format!("ms {key} 10 b")), (BAD_FORMAT, 12));
        assert_eq!(refused(&format!("ma {key}")).0, BAD_ARITH_FLAG);
        assert_eq!(refused(&format!("me {key}")).0, BAD_FORMAT);
        assert!(read(&format!("mg {} v", &key[1..])).is_ok());
        let many = "kstcfvhluqxIOPLTNR".chars().map(|c| format!(" {c}1")).collect::<String>();
        assert!(read(&format!("mg k{many}")).is_ok(), "20 words");
        assert_eq!(refused(&format!("mg k{many} C1")).0, TOO_MANY);
        assert_eq!(refused(&format!("mg k{many} C1 E1 !")).0, BAD_FORMAT);
        assert_eq!(refused(&format!("mg k{many} C1 E1 J1 !")).0, TOO_MANY, "beyond the 23rd word");
    }

    #[test]
    fn modes_are_one_letter() {
        assert_eq!(read("ms k 1 MA").unwrap().mode, Mode::Append);
        assert_eq!(read("ms k 1 MSx").unwrap().mode, Mode::Set);
        assert_eq!(refused("ms k 1 MZ"), (BAD_SET_MODE, 3));
        assert_eq!(refused("ms k 1 M"), (BAD_SET_MODE, 3));
        assert!(read("ma k M-").unwrap().decrement && !read("ma k M+").unwrap().decrement);
        assert_eq!(refused("ma k MA").0, BAD_ARITH_MODE);
        assert!(read("mg k MZ").is_ok(), "of no concern to mg");
    }

    #[test]
    fn me_knows_b_only_if_more_follows() {
        assert!(!read("me Zm9v b").unwrap().has(b'b'));
        assert!(read("me Zm9v b x").unwrap().has(b'b'));
        assert!(!read("me Zm9v x b").unwrap().has(b'b'));
        assert_eq!(refused("me abc b x").0, BAD_FORMAT);
        assert_eq!(refused("me abc !").0, BAD_FORMAT);
        assert!(read("me k S S T").is_ok());
    }
}
