//! Users that may log in over the text protocol (`-Y`), from memcached's auth file format.
//!
//! The file has one `user:password` a line. Reading the file is the caller's; here it is parsed and asked.
//! The set can be replaced while connections are served (SIGHUP). Comparison takes the same time whatever the
//! password, lengths apart.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// Most users that a file may name; memcached stops reading there.
pub const USERS_MAX: usize = 8;

/// A set of users with their passwords.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    users: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Credentials {
    /// Parses an auth file. `None` when a line has no colon.
    #[must_use]
    pub fn parse(file: &[u8]) -> Option<Self> {
        let mut users = Vec::new();
        for line in file.split(|&byte| byte == b'\n' || byte == b'\r') {
            if line.is_empty() {
                continue;
            }
            if users.len() == USERS_MAX {
                break;
            }
            let colon = memchr::memchr(b':', line)?;
            users.push((line[..colon].to_vec(), line[colon + 1..].to_vec()));
        }
        Some(Self { users })
    }

    /// Whether this user has this password.
    #[must_use]
    pub fn check(&self, user: &[u8], password: &[u8]) -> bool {
        self.users.iter().any(|(u, p)| same(u, user) & same(p, password))
    }
}

impl fmt::Debug for Credentials {
    /// Shows how many there are, not who: this may end up in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("users", &self.users.len()).finish()
    }
}

/// Compares without stopping at the first difference.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (x, y)| difference | (x ^ y)) == 0
}

/// The credentials in force; shared by all workers.
#[derive(Debug, Default)]
pub struct Auth {
    required: bool,
    credentials: Mutex<Option<Arc<Credentials>>>,
}

impl Auth {
    /// Asks every connection to log in if `credentials` are given.
    #[must_use]
    pub fn new(credentials: Option<Credentials>) -> Self {
        Self { required: credentials.is_some(), credentials: Mutex::new(credentials.map(Arc::new)) }
    }

    /// Whether connections have to log in before anything else.
    #[inline]
    #[must_use]
    pub fn required(&self) -> bool {
        self.required
    }

    /// Whether `user password`, as the login's value has them, may log in.
    #[must_use]
    pub fn check(&self, user_and_password: &[u8]) -> bool {
        let Some(space) = memchr::memchr(b' ', user_and_password) else { return false };
        let (user, password) = (&user_and_password[..space], &user_and_password[space + 1..]);
        let credentials = self.credentials.lock().unwrap_or_else(PoisonError::into_inner).clone();
        credentials.is_some_and(|credentials| credentials.check(user, password))
    }

    /// Puts a re-read file in force (SIGHUP). Who has logged in stays so.
    pub fn replace(&self, credentials: Credentials) {
        *self.credentials.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Arc::new(credentials));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_two_users_with_or_without_a_last_newline() {
        for file in [&b"foo:bar\nbar:baz\n"[..], b"foo:bar\r\nbar:baz"] {
            let auth = Auth::new(Credentials::parse(file));
            assert!(auth.required());
            assert!(auth.check(b"foo bar"));
            assert!(auth.check(b"bar baz"));
            assert!(!auth.check(b"foo baz"));
            assert!(!auth.check(b"foo ba"));
            assert!(!auth.check(b"foo"));
        }
        assert_eq!(Credentials::parse(b"foo"), None);
    }

    #[test]
    fn replaced_users_are_in_force_at_once() {
        let auth = Auth::new(Credentials::parse(b"foo:bar"));
        auth.replace(Credentials::parse(b"foo:new").expect("well formed"));
        assert!(!auth.check(b"foo bar"));
        assert!(auth.check(b"foo new"));
    }
}
