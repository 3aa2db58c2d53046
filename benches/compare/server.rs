//! The servers: started with equal options, pinned, stopped when dropped.

use crate::sys::{self, Cpu};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

/// Which program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Memcached,
    Volt,
    /// The server of `toy`, which stores nothing.
    Toy,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Memcached => "memcached",
            Self::Volt => "Volt",
            Self::Toy => "toy",
        }
    }
}

/// Where the programs are, and which processors they get.
pub struct Programs {
    pub memcached: PathBuf,
    pub volt: PathBuf,
    pub server_cores: Vec<usize>,
    pub client_cores: Vec<usize>,
}

/// Options of a server, the same for all.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    pub threads: usize,
    /// `-m`, in MiB.
    pub memory_mib: usize,
}

impl Default for Setup {
    /// Memory for two million items of 100 bytes without an eviction.
    fn default() -> Self {
        Self { threads: 1, memory_mib: 1024 }
    }
}

/// A running server.
pub struct Server {
    pub kind: Kind,
    pub address: SocketAddr,
    child: Child,
}

impl Server {
    /// Starts it and waits until it accepts. It is pinned to the server's processors, unless `roaming`.
    pub fn start(programs: &Programs, kind: Kind, setup: Setup, roaming: bool) -> io::Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut command = match kind {
            Kind::Memcached => memcached_like(&programs.memcached, setup, port),
            Kind::Volt => memcached_like(&programs.volt, setup, port),
            Kind::Toy => {
                let mut command = Command::new(std::env::current_exe()?);
                command.arg("toy").arg(port.to_string()).arg(setup.threads.to_string());
                command
            }
        };
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let (mine, its) = (&programs.client_cores, &programs.server_cores);
        // A child has the pinning of the thread that starts it.
        if roaming {
            sys::pin(&[mine.as_slice(), its.as_slice()].concat())?;
        } else {
            sys::pin(its)?;
        }
        let child = command.spawn();
        sys::pin(mine)?;
        let mut server =
            Self { kind, address: SocketAddr::from(([127, 0, 0, 1], port)), child: child? };
        server.wait_until_it_accepts()?;
        Ok(server)
    }

    fn wait_until_it_accepts(&mut self) -> io::Result<()> {
        for _ in 0..500 {
            if TcpStream::connect(self.address).is_ok() {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                let name = self.kind.name();
                return Err(io::Error::other(format!("{name} ended at its start: {status}")));
            }
            thread::sleep(Duration::from_millis(10));
        }
        Err(io::Error::other(format!("{} does not accept", self.kind.name())))
    }

    /// CPU time that it has used so far.
    pub fn cpu(&self) -> io::Result<Cpu> {
        Cpu::of(self.child.id())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // If it has ended by itself, so much the better.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn memcached_like(program: &Path, setup: Setup, port: u16) -> Command {
    let mut command = Command::new(program);
    command.args(["-l", "127.0.0.1", "-U", "0", "-c", "1024"]);
    command.args(["-p", &port.to_string(), "-t", &setup.threads.to_string()]);
    command.args(["-m", &setup.memory_mib.to_string()]);
    if sys::is_root() {
        command.args(["-u", "root"]);
    }
    command
}

/// The first line that the program says with this option.
pub fn version(program: &Path, option: &str) -> String {
    let said = Command::new(program).arg(option).stdin(Stdio::null()).output();
    let said = said.map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&said).lines().next().unwrap_or("unknown").trim().to_owned()
}
