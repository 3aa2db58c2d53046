//! What the program can do besides serving: `volt healthcheck`, `top`, `inspect`, `export`, `import`.
//!
//! A tool works in a process of its own and shares nothing with a running Volt: it speaks to it as any client does, over std's
//! blocking sockets, or works on a data directory.

mod data;
mod healthcheck;
mod top;

use std::ffi::OsStr;
use std::io::{self, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::time::Duration;

/// Runs the tool that the command line's first word names; `None` if it names none, and the program is to serve.
/// memcached's command line has no words of this kind.
pub fn run(args: &[impl AsRef<OsStr>]) -> Option<ExitCode> {
    let mut words = args.iter().map(|word| word.as_ref().to_string_lossy().into_owned()).skip(1);
    let tool = match words.next()?.as_str() {
        "healthcheck" => healthcheck::run,
        "top" => top::run,
        "inspect" => data::inspect,
        "export" => data::export,
        "import" => data::import,
        _ => return None,
    };
    Some(match tool(&words.collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(wrong) => {
            // Nobody is told who has closed standard error.
            let _ = writeln!(io::stderr(), "{wrong}");
            ExitCode::FAILURE
        }
    })
}

/// Connects to the first of the address's hosts that answers. `limit` bounds this and each reading and writing after it.
fn connect(address: &str, limit: Duration) -> io::Result<TcpStream> {
    let mut failure = io::ErrorKind::AddrNotAvailable.into();
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, limit) {
            Ok(stream) => {
                stream.set_read_timeout(Some(limit))?;
                stream.set_write_timeout(Some(limit))?;
                return Ok(stream);
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}
