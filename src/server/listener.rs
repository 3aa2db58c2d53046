//! Opening the sockets to listen on, as memcached does, and telling where they are.
//!
//! Every address that a name stands for is tried. An address that is taken is passed over as long as another
//! one of the same `-l` entry works; any other failure ends the start. Without `-l` there is one socket for
//! IPv4 and one for IPv6. Options that accepted connections inherit (TCP_NODELAY, SO_KEEPALIVE) are set here, once.

use super::listen::Listen;
use super::options::{Options, Port};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Largest send buffer that is asked for on a UDP socket, in bytes (memcached's limit).
const UDP_SEND_BUFFER_MAX: usize = 256 * 1024 * 1024;

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No socket could be opened for a flag.
    #[error("failed to listen on {what}: {source}")]
    Listen {
        /// Which socket: `TCP port 11211`.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// No thread or runtime could be made.
    #[error("failed to start {what}: {source}")]
    Thread {
        /// Which thread.
        what: String,
        /// What the system said.
        source: io::Error,
    },
}

/// Where a node listens, with the ports that it got.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Addresses {
    /// TCP sockets, in the order of `-l`.
    pub tcp: Vec<SocketAddr>,
    /// UDP sockets.
    pub udp: Vec<SocketAddr>,
    /// The unix socket's path.
    pub unix: Option<PathBuf>,
}

/// All sockets of a server, bound and listening, non-blocking.
pub(super) struct Sockets {
    pub tcp: Vec<Socket>,
    pub udp: Vec<Socket>,
    pub unix: Option<Socket>,
    pub unix_file: Option<SocketFile>,
}

impl Sockets {
    /// Opens what the options ask for and writes the port file.
    pub fn open(options: &Options) -> Result<Self, StartError> {
        if let Some(path) = &options.unix_path {
            let what = || format!("UNIX socket: {}", path.display());
            let (socket, file) = open_unix(path, options.unix_mode, backlog(options))
                .map_err(|source| StartError::Listen { what: what(), source })?;
            return Ok(Self {
                tcp: Vec::new(),
                udp: Vec::new(),
                unix: Some(socket),
                unix_file: Some(file),
            });
        }
        let tcp =
            open_all(options, options.port, &|address| open_tcp(address, backlog(options)))
                .map_err(|source| StartError::Listen { what: describe("TCP", options), source })?;
        let udp = open_all(options, options.udp_port, &open_udp)
            .map_err(|source| StartError::Listen { what: describe("UDP", options), source })?;
        let sockets = Self { tcp, udp, unix: None, unix_file: None };
        if let Some(path) = &options.port_file
            && let Err(error) = sockets.addresses().write_port_file(path)
        {
            tracing::warn!("Failed to write \"{}\": {error}", path.display());
        }
        Ok(sockets)
    }

    /// Where the sockets listen.
    pub fn addresses(&self) -> Addresses {
        let all = |sockets: &[Socket]| {
            sockets.iter().filter_map(|socket| socket.local_addr().ok()?.as_socket()).collect()
        };
        Addresses {
            tcp: all(&self.tcp),
            udp: all(&self.udp),
            unix: self.unix_file.as_ref().map(|file| file.path.clone()),
        }
    }
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tcp = self.tcp.iter().map(|address| format!("tcp {address}"));
        let udp = self.udp.iter().map(|address| format!("udp {address}"));
        let unix = self.unix.iter().map(|path| format!("unix {}", path.display()));
        let all: Vec<_> = tcp.chain(udp).chain(unix).collect();
        f.write_str(if all.is_empty() { "nowhere" } else { "" })?;
        f.write_str(&all.join(", "))
    }
}

impl Addresses {
    /// Writes `TCP INET: 11211` lines beside `path` first, so that whoever waits for the file finds it whole.
    fn write_port_file(&self, path: &Path) -> io::Result<()> {
        let mut unfinished = path.as_os_str().to_owned();
        unfinished.push(".lck");
        let mut file = fs::File::create(&unfinished)?;
        for (transport, addresses) in [("TCP", &self.tcp), ("UDP", &self.udp)] {
            for address in addresses {
                let family = if address.is_ipv4() { "INET" } else { "INET6" };
                writeln!(file, "{transport} {family}: {}", address.port())?;
            }
        }
        drop(file);
        fs::rename(unfinished, path)
    }
}

/// The unix socket's file; removed when dropped, unless another server has put its own in its place.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|file| file.ino() == self.inode) {
            // Nothing depends on it: a later start removes a file that was left behind.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn backlog(options: &Options) -> i32 {
    i32::try_from(options.backlog).unwrap_or(i32::MAX)
}

fn describe(transport: &str, options: &Options) -> String {
    let port = if transport == "TCP" { options.port } else { options.udp_port };
    match (&options.listen[..], port) {
        ([], Port::Fixed(port)) => format!("{transport} port {port}"),
        ([], _) => format!("any {transport} port"),
        (listen, _) => {
            let hosts = listen.iter().map(|entry| entry.host.as_deref().unwrap_or("*"));
            format!("one of interface(s) {}", hosts.collect::<Vec<_>>().join(","))
        }
    }
}

/// Opens one socket for each address of each entry of `-l`.
fn open_all(
    options: &Options,
    port: Port,
    open: &dyn Fn(SocketAddr) -> io::Result<Socket>,
) -> io::Result<Vec<Socket>> {
    let Some(port) = port.to_bind() else { return Ok(Vec::new()) };
    let everywhere = [Listen { host: None, port: None }];
    let entries = if options.listen.is_empty() { &everywhere[..] } else { &options.listen };
    let mut sockets = Vec::new();
    for entry in entries {
        open_entry(&resolve(entry, port)?, open, &mut sockets)?;
    }
    Ok(sockets)
}

fn open_entry(
    addresses: &[SocketAddr],
    open: &dyn Fn(SocketAddr) -> io::Result<Socket>,
    sockets: &mut Vec<Socket>,
) -> io::Result<()> {
    let before = sockets.len();
    let mut failure = io::Error::new(io::ErrorKind::AddrNotAvailable, "no address");
    for &address in addresses {
        match open(address) {
            Ok(socket) => sockets.push(socket),
            Err(error) if is_passed_over(&error) => failure = error,
            Err(error) => return Err(error),
        }
    }
    if sockets.len() == before { Err(failure) } else { Ok(()) }
}

/// Taken by somebody else, or of a family that this machine does not have.
fn is_passed_over(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable)
        || error.raw_os_error() == Some(libc::EAFNOSUPPORT)
}

fn resolve(entry: &Listen, port: u16) -> io::Result<Vec<SocketAddr>> {
    let port = entry.port.unwrap_or(port);
    match &entry.host {
        Some(host) => Ok((host.as_str(), port).to_socket_addrs()?.collect()),
        None => {
            Ok(vec![(Ipv4Addr::UNSPECIFIED, port).into(), (Ipv6Addr::UNSPECIFIED, port).into()])
        }
    }
}

fn open_ip(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        // Or it would collide with the socket for IPv4 on the same port.
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    Ok(socket)
}

fn open_tcp(address: SocketAddr, backlog: i32) -> io::Result<Socket> {
    let socket = open_ip(address, Type::STREAM, Protocol::TCP)?;
    socket.set_keepalive(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    Ok(socket)
}

fn open_udp(address: SocketAddr) -> io::Result<Socket> {
    let socket = open_ip(address, Type::DGRAM, Protocol::UDP)?;
    // The system cuts it down to what it allows.
    socket.set_send_buffer_size(UDP_SEND_BUFFER_MAX)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn open_unix(path: &Path, mode: u32, backlog: i32) -> io::Result<(Socket, SocketFile)> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    // A socket that an earlier server left behind; a file of any other kind stays and makes bind fail.
    if fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket()) {
        fs::remove_file(path)?;
    }
    socket.bind(&SockAddr::unix(path)?)?;
    // Nobody can connect before listen, so no one gets in under the mode that bind gave the file.
    fs::set_permissions(path, fs::Permissions::from_mode(mode & 0o777))?;
    let inode = fs::symlink_metadata(path)?.ino();
    socket.listen(backlog)?;
    Ok((socket, SocketFile { path: path.to_owned(), inode }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(port: Port, udp_port: Port) -> Options {
        let listen = Listen::parse_list("127.0.0.1").unwrap();
        Options { listen, port, udp_port, ..Options::default() }
    }

    #[test]
    fn ports_are_found_and_written_to_the_port_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ports");
        let options = Options { port_file: Some(path.clone()), ..local(Port::Any, Port::Any) };
        let addresses = Sockets::open(&options).unwrap().addresses();
        let expected = format!(
            "TCP INET: {}\nUDP INET: {}\n",
            addresses.tcp[0].port(),
            addresses.udp[0].port()
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), expected);
        assert!(!folder.path().join("ports.lck").exists());
    }

    #[test]
    fn a_port_that_is_off_opens_nothing() {
        let addresses = Sockets::open(&local(Port::Off, Port::Off)).unwrap().addresses();
        assert_eq!(addresses, Addresses::default());
    }

    #[test]
    fn a_taken_address_is_an_error_unless_another_one_works() {
        let first = Sockets::open(&local(Port::Any, Port::Off)).unwrap();
        let taken = first.addresses().tcp[0];
        let error = Sockets::open(&local(Port::Fixed(taken.port()), Port::Off)).err().unwrap();
        assert!(
            error.to_string().starts_with("failed to listen on one of interface(s) 127.0.0.1:")
        );
        let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut sockets = Vec::new();
        open_entry(&[taken, free], &|address| open_tcp(address, 1), &mut sockets).unwrap();
        assert_eq!(sockets.len(), 1);
    }

    #[test]
    fn a_name_that_nobody_knows_is_an_error() {
        let listen = Listen::parse_list("name.invalid").unwrap();
        assert!(Sockets::open(&Options { listen, ..local(Port::Any, Port::Off) }).is_err());
    }

    #[test]
    fn the_unix_socket_has_its_mode_and_replaces_a_stale_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("volt.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let options =
            Options { unix_path: Some(path.clone()), unix_mode: 0o640, ..Options::default() };
        let sockets = Sockets::open(&options).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        drop(sockets);
        assert!(!path.exists(), "removed at the end");

        fs::write(&path, "not a socket").unwrap();
        assert!(Sockets::open(&options).is_err());
        assert!(path.exists(), "another kind of file is not touched");
    }
}
