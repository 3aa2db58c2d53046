//! `volt healthcheck [ADDRESS]`: does a Volt answer there? For container images, which have no shell to ask with.
//!
//! It asks for the version and takes the reply for health; where clients have to log in, being told so is health
//! enough. The exit code says the rest: 0, or 1 with the reason on standard error.

use std::env;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// How long each step may take: less than what health checks are usually given.
const STEP_TIME_MAX: Duration = Duration::from_secs(2);

/// What the replies of a server that is well begin with.
const HEALTHY: [&str; 2] = ["VERSION ", "CLIENT_ERROR unauthenticated"];

/// Checks the address that is given, or else the one that the environment's settings name, or memcached's.
pub(super) fn run(words: &[String]) -> Result<(), String> {
    let address = match words {
        [] => default_address(|name| env::var(name).ok()),
        [address] => address.clone(),
        _ => return Err("usage: volt healthcheck [host:port or path of a unix socket]".to_owned()),
    };
    let reply = ask(&address).map_err(|error| format!("{address}: {error}"))?;
    match HEALTHY.iter().any(|healthy| reply.starts_with(healthy)) {
        true => Ok(()),
        false => Err(format!("{address}: unexpected reply: {}", reply.trim_end())),
    }
}

fn default_address(setting: impl Fn(&str) -> Option<String>) -> String {
    let path = setting("VOLT__SERVER__UNIX_SOCKET").filter(|path| !path.is_empty());
    path.unwrap_or_else(|| {
        let port = setting("VOLT__SERVER__PORT").unwrap_or_else(|| "11211".to_owned());
        format!("127.0.0.1:{port}")
    })
}

fn ask(address: &str) -> std::io::Result<String> {
    if address.starts_with('/') {
        let stream = UnixStream::connect(address)?;
        stream.set_read_timeout(Some(STEP_TIME_MAX))?;
        stream.set_write_timeout(Some(STEP_TIME_MAX))?;
        return converse(stream);
    }
    converse(super::connect(address, STEP_TIME_MAX)?)
}

/// Asks for the version, and reads one line.
fn converse(mut stream: impl Read + Write) -> std::io::Result<String> {
    stream.write_all(b"version\r\n")?;
    let (mut line, mut byte) = (Vec::new(), [0]);
    while !line.ends_with(b"\n") && line.len() < 200 {
        stream.read_exact(&mut byte)?;
        line.extend_from_slice(&byte);
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_of_the_environment_say_where() {
        assert_eq!(default_address(|_| None), "127.0.0.1:11211");
        let port = |name: &str| (name == "VOLT__SERVER__PORT").then(|| "7".to_owned());
        assert_eq!(default_address(port), "127.0.0.1:7");
        let path = |name: &str| (name == "VOLT__SERVER__UNIX_SOCKET").then(|| "/s".to_owned());
        assert_eq!(default_address(path), "/s");
    }
}
