//! The text of `--metrics-listen`: a host and a port.

use std::fmt;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, ToSocketAddrs};

/// Where the endpoint is when nobody says: the port of the exporter that it replaces.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:9150";

/// A host and a port to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// A name or an address; `None` for all interfaces.
    host: Option<String>,
    /// 0 for any that is free.
    port: u16,
}

/// The text is no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected host:port, [IPv6]:port, *:port or off")]
pub struct ListenError;

impl Listen {
    /// Reads `host:port`, `[IPv6]:port`, `:port` or `*:port` (all interfaces); `off` and the empty text are `None`.
    ///
    /// # Errors
    ///
    /// When the text is none of these.
    pub fn parse(text: &str) -> Result<Option<Self>, ListenError> {
        if text.is_empty() || text == "off" {
            return Ok(None);
        }
        let (host, port) = text.rsplit_once(':').ok_or(ListenError)?;
        let port = port.parse().map_err(|_| ListenError)?;
        let host = match host.strip_prefix('[') {
            Some(inner) => inner.strip_suffix(']').ok_or(ListenError)?,
            None if host.contains(':') => return Err(ListenError),
            None => host,
        };
        let host = Some(host).filter(|host| !host.is_empty() && *host != "*").map(str::to_owned);
        Ok(Some(Self { host, port }))
    }

    /// Opens the first of the addresses that can be had. All interfaces are one socket, for IPv6 and IPv4 at once.
    pub(super) fn bind(&self) -> io::Result<TcpListener> {
        let Some(host) = self.host.as_deref() else {
            return match TcpListener::bind((Ipv6Addr::UNSPECIFIED, self.port)) {
                Ok(listener) if takes_both() => Ok(listener),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(error),
                // No IPv6 here, or not together with IPv4.
                _ => TcpListener::bind((Ipv4Addr::UNSPECIFIED, self.port)),
            };
        };
        let addresses: Vec<_> = (host, self.port).to_socket_addrs()?.collect();
        TcpListener::bind(&addresses[..])
    }
}

/// Whether a socket for IPv6 takes IPv4 as well, as it does unless an administrator has it otherwise.
fn takes_both() -> bool {
    fs::read_to_string("/proc/sys/net/ipv6/bindv6only").is_ok_and(|only| only.trim() == "0")
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.as_deref() {
            Some(host) if host.contains(':') => write!(f, "[{host}]:{}", self.port),
            host => write!(f, "{}:{}", host.unwrap_or("*"), self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_shown() {
        for (text, shown) in [
            (DEFAULT_LISTEN, DEFAULT_LISTEN),
            ("[::1]:9150", "[::1]:9150"),
            ("localhost:0", "localhost:0"),
            (":9150", "*:9150"),
            ("*:9150", "*:9150"),
        ] {
            let listen = Listen::parse(text).unwrap().expect(text);
            assert_eq!(listen.to_string(), shown);
        }
        assert_eq!(Listen::parse("off"), Ok(None));
        assert_eq!(Listen::parse(""), Ok(None));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in ["9150", "localhost", "::1:9150", "[::1:9150", "localhost:http", "a:65536"] {
            assert_eq!(Listen::parse(text), Err(ListenError), "{text}");
        }
    }
}
