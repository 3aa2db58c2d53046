//! The text of `-l`: which interfaces to listen on.
//!
//! A list separated by `,` or `;` of `[proto[NAME]:][tag[NAME]:]host[:port]`, where the host is a name, an
//! IPv4 address, an IPv6 address (in brackets when a port follows) or `*` for all interfaces. Volt speaks the
//! text protocols only, so `proto[binary]` and `proto[proxy]` are refused, and so are the TLS prefixes. A tag is
//! checked and dropped: in memcached only the proxy looks at it. Names are looked up later, by the listener.

/// One interface to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// Name or address; `None` for all interfaces.
    pub host: Option<String>,
    /// Its own port; `None` for the port that `-p` or `-U` gives. 0 and -1 stand for any free port.
    pub port: Option<u16>,
}

/// Why a `-l` is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListenError {
    /// A port that is no number from -1 to 65535.
    #[error("Invalid port number: \"{0}\"")]
    Port(String),
    /// A `[` without its `]`.
    #[error("Invalid IPV6 address: \"{0}\"")]
    Bracket(String),
    /// A `proto[` without its `]`, or an unknown protocol.
    #[error("Invalid protocol spec: \"{0}\"")]
    Protocol(String),
    /// A protocol that memcached may speak and Volt does not.
    #[error("Protocol not supported: \"{0}\"")]
    Unsupported(String),
    /// A tag without an end.
    #[error("Invalid tag in socket config: \"{0}\"")]
    Tag(String),
    /// A tag of the wrong length.
    #[error("Listener tags must be between 1 and 8 characters: \"{0}\"")]
    TagLength(String),
    /// `notls`, `btls`, `mtls`.
    #[error("'{0}' option is valid only when SSL is enabled")]
    Tls(&'static str),
}

impl Listen {
    /// Reads the value of one `-l`.
    ///
    /// # Errors
    ///
    /// The first part that is not understood, in memcached's words.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, ListenError> {
        text.split([',', ';']).filter(|part| !part.is_empty()).map(Self::parse).collect()
    }

    fn parse(text: &str) -> Result<Self, ListenError> {
        if let Some(prefix) = ["notls", "btls", "mtls"].into_iter().find(|p| text.starts_with(p)) {
            return Err(ListenError::Tls(prefix));
        }
        let (host, port) = split_port(skip_tag(skip_protocol(text)?)?)?;
        let host = (host != "*").then(|| host.to_owned());
        Ok(Self { host, port })
    }
}

/// Takes `proto[NAME]:` off the front.
fn skip_protocol(text: &str) -> Result<&str, ListenError> {
    let Some(spec) = text.strip_prefix("proto[") else { return Ok(text) };
    let invalid = || ListenError::Protocol(spec.to_owned());
    let (name, rest) = spec.split_once(']').ok_or_else(invalid)?;
    match name {
        "ascii" | "negotiating" => Ok(rest.get(1..).unwrap_or_default()),
        "binary" | "proxy" => Err(ListenError::Unsupported(name.to_owned())),
        _ => Err(invalid()),
    }
}

/// Takes `tag[NAME]:` or `tag_NAME_:` off the front.
fn skip_tag(text: &str) -> Result<&str, ListenError> {
    let Some(spec) = text.strip_prefix("tag[").or_else(|| text.strip_prefix("tag_")) else {
        return Ok(text);
    };
    let end = spec.find(']').or_else(|| spec.find('_'));
    let (tag, rest) = match end {
        Some(at) => (&spec[..at], &spec[at + 1..]),
        None => return Err(ListenError::Tag(spec.to_owned())),
    };
    if !(1..=8).contains(&tag.len()) {
        return Err(ListenError::TagLength(tag.to_owned()));
    }
    Ok(rest.get(1..).unwrap_or_default())
}

/// Splits `host:port`. More than one colon outside brackets is an IPv6 address without a port.
fn split_port(text: &str) -> Result<(&str, Option<u16>), ListenError> {
    let (host, rest) = match text.strip_prefix('[') {
        Some(inner) => {
            inner.split_once(']').ok_or_else(|| ListenError::Bracket(text.to_owned()))?
        }
        None => match text.split_once(':') {
            Some((host, port)) if !port.contains(':') => (host, &text[host.len()..]),
            _ => (text, ""),
        },
    };
    match rest.split_once(':') {
        None => Ok((host, None)),
        Some((_, "-1")) => Ok((host, Some(0))),
        Some((_, port)) => match port.parse() {
            Ok(port) => Ok((host, Some(port))),
            Err(_) => Err(ListenError::Port(port.to_owned())),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(host: Option<&str>, port: Option<u16>) -> Listen {
        Listen { host: host.map(str::to_owned), port }
    }

    #[test]
    fn lists_of_hosts_and_ports() {
        let all = Listen::parse_list("127.0.0.1:11212,localhost;[::1]:5,::1,*,*:7,[::]").unwrap();
        let expected = [
            listen(Some("127.0.0.1"), Some(11212)),
            listen(Some("localhost"), None),
            listen(Some("::1"), Some(5)),
            listen(Some("::1"), None),
            listen(None, None),
            listen(None, Some(7)),
            listen(Some("::"), None),
        ];
        assert_eq!(all, expected);
        assert_eq!(Listen::parse_list("").unwrap(), []);
    }

    #[test]
    fn prefixes_of_protocol_and_tag() {
        let all =
            Listen::parse_list("proto[ascii]:127.0.0.1:1,tag[one]:[::1]:2,tag_two_:*:3").unwrap();
        let expected = [
            listen(Some("127.0.0.1"), Some(1)),
            listen(Some("::1"), Some(2)),
            listen(None, Some(3)),
        ];
        assert_eq!(all, expected);
        let both = Listen::parse_list("proto[negotiating]:tag[b]:h").unwrap();
        assert_eq!(both, [listen(Some("h"), None)]);
    }

    #[test]
    fn what_is_not_understood_is_said_in_memcacheds_words() {
        let error = |text| Listen::parse_list(text).unwrap_err().to_string();
        assert_eq!(error("127.0.0.1:http"), "Invalid port number: \"http\"");
        assert_eq!(error("127.0.0.1:65536"), "Invalid port number: \"65536\"");
        assert_eq!(error("[::1"), "Invalid IPV6 address: \"[::1\"");
        assert_eq!(error("proto[ascii"), "Invalid protocol spec: \"ascii\"");
        assert_eq!(error("proto[binary]:*"), "Protocol not supported: \"binary\"");
        assert_eq!(
            error("tag[123456789]:*"),
            "Listener tags must be between 1 and 8 characters: \"123456789\""
        );
        assert_eq!(error("notls:*"), "'notls' option is valid only when SSL is enabled");
    }
}
