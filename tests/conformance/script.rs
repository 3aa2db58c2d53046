//! Reads transcripts: the text files beside this one, which say what a client sends and what it must get.
//!
//! ```text
//! == A hit returns flags, length and data             the transcript's name
//!    protocol.txt: Retrieval command                  the section that it proves
//!    options: -C                                      options that the server is started with
//!    alone                                            a server for this transcript alone
//!    since 1.6.45: an older one says ERROR            older memcacheds were seen to differ, and how
//! > set k 7 0 1                                       send this line and \r\n
//! > a
//! < STORED                                            get exactly this line and \r\n
//! 2> get k                                            the same on a second connection
//! >~ no line end follows                              send this, without \r\n, in a write that ends here
//! <~ no line end follows                              get exactly this
//! < ...                                               any lines, up to the next one that is expected
//! <closed                                             the server closes the connection
//! >close                                              the client does
//! wait 3 s                                            time passes
//! # a comment
//! ```
//!
//! In both directions `\r \n \t \0 \\ \x7f` are bytes, `{a*250}` is a repetition, `{now+9}` a Unix time, and
//! `{x}` a number: got and remembered where it is expected first, the same from there on; `{x-1}` is computed
//! from it, `{y>x}` is a new and greater one. Expected only: `{}` is any number, `{~100}` is 100 or up to
//! three less (seconds pass), `{...}` is any text up to the end of the line, and `{{` is a brace.

use crate::support::memcached::Version;
use std::path::Path;

/// One named exchange.
#[derive(Debug)]
pub struct Transcript {
    /// File name and line, for messages.
    pub place: String,
    /// What it shows.
    pub title: String,
    /// The section of protocol.txt that it proves.
    pub section: String,
    /// Options that the server is started with.
    pub options: Vec<String>,
    /// Whether it needs a server that nobody used before.
    pub alone: bool,
    /// The first memcached that behaves so, and what was different before.
    pub since: Option<(Version, String)>,
    /// What happens, in order.
    pub steps: Vec<Step>,
}

/// One line of a transcript.
#[derive(Debug)]
pub struct Step {
    /// Line in its file.
    pub line: usize,
    /// On which connection, from 1.
    pub connection: usize,
    /// What happens.
    pub action: Action,
}

/// What happens in one step.
#[derive(Debug)]
pub enum Action {
    /// The client sends this, together with what it sends next, or now.
    Send { pieces: Vec<Piece>, now: bool },
    /// The server sends exactly this.
    Expect(Vec<Piece>),
    /// The server may send whole lines until it sends what is expected next.
    Skip,
    /// The server closes the connection.
    Closed,
    /// The client closes the connection.
    Close,
    /// This many seconds pass.
    Wait(u64),
}

/// A part of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// These bytes.
    Literal(Vec<u8>),
    /// A number that has a name, plus a constant.
    Named { name: String, plus: i64 },
    /// A number with a new name, greater than another.
    Greater { name: String, than: String },
    /// Any number.
    Number,
    /// This number, or up to three less.
    Near(u64),
    /// Anything up to the end of the line.
    Anything,
    /// The current Unix time plus a constant.
    Now(i64),
}

/// All transcripts of all files in `directory`, in the order of their names.
pub fn load(directory: &Path) -> Vec<Transcript> {
    let mut paths: Vec<_> = std::fs::read_dir(directory)
        .expect("the folder of the transcripts")
        .map(|entry| entry.expect("an entry of the folder").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "no transcripts in {}", directory.display());
    paths
        .iter()
        .flat_map(|path| {
            let name = path.file_name().expect("a file name").to_string_lossy();
            parse(&name, &std::fs::read_to_string(path).expect("a readable file"))
        })
        .collect()
}

/// The transcripts of one file.
pub fn parse(file: &str, text: &str) -> Vec<Transcript> {
    let mut transcripts: Vec<Transcript> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        let place = format!("{file}:{number}");
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(title) = line.strip_prefix("== ") {
            transcripts.push(Transcript {
                place,
                title: title.to_owned(),
                section: String::new(),
                options: Vec::new(),
                alone: false,
                since: None,
                steps: Vec::new(),
            });
            continue;
        }
        let transcript =
            transcripts.last_mut().unwrap_or_else(|| panic!("{place}: a line before any title"));
        if line.starts_with("   ") {
            parse_header(transcript, line.trim(), &place);
        } else {
            let (connection, action) = parse_step(line, &place);
            transcript.steps.push(Step { line: number, connection, action });
        }
    }
    for transcript in &transcripts {
        let place = &transcript.place;
        assert!(!transcript.section.is_empty(), "{place}: cites no section of protocol.txt");
        assert!(!transcript.steps.is_empty(), "{place}: is empty");
    }
    transcripts
}

fn parse_header(transcript: &mut Transcript, line: &str, place: &str) {
    if let Some(section) = line.strip_prefix("protocol.txt: ") {
        section.clone_into(&mut transcript.section);
    } else if let Some(options) = line.strip_prefix("options: ") {
        transcript.options = options.split(' ').map(str::to_owned).collect();
    } else if line == "alone" {
        transcript.alone = true;
    } else if let Some((version, why)) =
        line.strip_prefix("since ").and_then(|rest| rest.split_once(": "))
    {
        let version =
            Version::parse(version).unwrap_or_else(|| panic!("{place}: no version: {version}"));
        transcript.since = Some((version, why.to_owned()));
    } else {
        panic!("{place}: not a header: {line}");
    }
}

fn parse_step(line: &str, place: &str) -> (usize, Action) {
    if let Some(seconds) = line.strip_prefix("wait ").and_then(|rest| rest.strip_suffix(" s")) {
        let seconds = seconds.parse().unwrap_or_else(|_| panic!("{place}: how long? {line}"));
        return (1, Action::Wait(seconds));
    }
    let (connection, rest) = match line.as_bytes()[0] {
        digit @ b'1'..=b'9' => (usize::from(digit - b'0'), &line[1..]),
        _ => (1, line),
    };
    let action = match rest {
        "<closed" => Action::Closed,
        ">close" => Action::Close,
        "< ..." => Action::Skip,
        ">" => Action::Send { pieces: pieces("", true, place), now: false },
        "<" => Action::Expect(pieces("", true, place)),
        _ => match rest.split_once(' ') {
            Some((">", text)) => Action::Send { pieces: pieces(text, true, place), now: false },
            Some((">~", text)) => Action::Send { pieces: pieces(text, false, place), now: true },
            Some(("<", text)) => Action::Expect(pieces(text, true, place)),
            Some(("<~", text)) => Action::Expect(pieces(text, false, place)),
            _ => panic!("{place}: neither sent nor expected: {line}"),
        },
    };
    (connection, action)
}

fn pieces(text: &str, line_end: bool, place: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut literal = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'\\' => literal.push(escape(&mut rest, place)),
            b'{' if rest.first() == Some(&b'{') => {
                literal.push(b'{');
                rest = &rest[1..];
            }
            b'{' => {
                let end = rest.iter().position(|&byte| byte == b'}');
                let end = end.unwrap_or_else(|| panic!("{place}: a brace is open"));
                let inner = std::str::from_utf8(&rest[..end]).expect("UTF-8");
                rest = &rest[end + 1..];
                match placeholder(inner, place) {
                    Piece::Literal(bytes) => literal.extend(bytes),
                    piece => {
                        pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                        pieces.push(piece);
                    }
                }
            }
            _ => literal.push(byte),
        }
    }
    if line_end {
        literal.extend(b"\r\n");
    }
    pieces.push(Piece::Literal(literal));
    pieces
}

fn escape(rest: &mut &[u8], place: &str) -> u8 {
    let (byte, length) = match rest {
        [b'r', ..] => (b'\r', 1),
        [b'n', ..] => (b'\n', 1),
        [b't', ..] => (b'\t', 1),
        [b'0', ..] => (0, 1),
        [b'\\', ..] => (b'\\', 1),
        [b'x', digits @ ..] if digits.len() >= 2 => {
            let digits = std::str::from_utf8(&digits[..2]).expect("UTF-8");
            (u8::from_str_radix(digits, 16).unwrap_or_else(|_| panic!("{place}: \\x{digits}")), 3)
        }
        _ => panic!("{place}: an unknown escape"),
    };
    *rest = &rest[length..];
    byte
}

fn placeholder(inner: &str, place: &str) -> Piece {
    let number = |text: &str| -> i64 {
        text.parse().unwrap_or_else(|_| panic!("{place}: not a number: {text}"))
    };
    if inner.is_empty() {
        return Piece::Number;
    }
    if inner == "..." {
        return Piece::Anything;
    }
    if let Some((text, times)) = inner.rsplit_once('*') {
        let times = usize::try_from(number(times)).expect("a count");
        let text = match pieces(text, false, place).as_slice() {
            [Piece::Literal(bytes)] => bytes.clone(),
            _ => panic!("{place}: only text can be repeated"),
        };
        return Piece::Literal(text.repeat(times));
    }
    if let Some(near) = inner.strip_prefix('~') {
        return Piece::Near(u64::try_from(number(near)).expect("a time to live"));
    }
    if let Some((name, than)) = inner.split_once('>') {
        return Piece::Greater { name: name.to_owned(), than: than.to_owned() };
    }
    let at = inner.find(['+', '-']).unwrap_or(inner.len());
    let plus = if at < inner.len() { number(&inner[at..]) } else { 0 };
    match &inner[..at] {
        "now" => Piece::Now(plus),
        name => Piece::Named { name: name.to_owned(), plus },
    }
}
