//! A client: one connection, a request at a time.

use crate::DEADLINE;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::ops::Range;

/// Keys in one request at most.
const KEYS_MAX: usize = 100;

/// A connection. What can end with the server's end says `None` then.
pub struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    /// Connects to a port of this machine.
    pub fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    fn send(&mut self, request: &[u8]) -> Option<()> {
        self.stream.get_mut().write_all(request).ok()
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line).ok().filter(|read| *read > 0)?;
        line.ends_with("\r\n").then(|| line.trim_end().to_owned())
    }

    /// Sends a request; the first line of its answer.
    pub fn ask(&mut self, request: &str) -> Option<String> {
        self.send(request.as_bytes())?;
        self.line()
    }

    /// What these keys have.
    pub fn try_get(&mut self, keys: &[String]) -> Option<HashMap<String, String>> {
        let mut found = HashMap::new();
        for keys in keys.chunks(KEYS_MAX) {
            self.send(format!("get {}\r\n", keys.join(" ")).as_bytes())?;
            loop {
                let header = self.line()?;
                if header == "END" {
                    break;
                }
                let words: Vec<_> = header.split(' ').collect();
                let &["VALUE", key, _, len] = &words[..] else { panic!("{header}") };
                let mut value = vec![0; len.parse::<usize>().unwrap() + 2];
                self.stream.read_exact(&mut value).ok()?;
                value.truncate(value.len() - 2);
                let before = found.insert(key.to_owned(), String::from_utf8(value).unwrap());
                assert_eq!(before, None, "{key} twice");
            }
        }
        Some(found)
    }

    /// What one key has.
    pub fn get(&mut self, key: &str) -> Option<String> {
        self.try_get(&[key.to_owned()]).unwrap().remove(key)
    }

    /// What the keys with these numbers have.
    pub fn values(&mut self, keys: Range<u64>) -> Vec<Option<String>> {
        let names: Vec<_> = keys.map(|key| format!("k{key}")).collect();
        let mut found = self.try_get(&names).unwrap();
        names.iter().map(|name| found.remove(name)).collect()
    }

    /// A figure of `stats`.
    pub fn stat(&mut self, name: &str) -> Option<String> {
        self.stats().remove(name)
    }

    /// A figure of `stats` that is a number.
    pub fn number(&mut self, name: &str) -> u64 {
        self.stat(name).unwrap().parse().unwrap()
    }

    /// All figures of `stats`.
    pub fn stats(&mut self) -> HashMap<String, String> {
        self.send(b"stats\r\n").unwrap();
        let mut found = HashMap::new();
        loop {
            let line = self.line().unwrap();
            if line == "END" {
                return found;
            }
            let mut words = line.splitn(3, ' ').skip(1).map(str::to_owned);
            found.insert(words.next().unwrap(), words.next().unwrap());
        }
    }
}
