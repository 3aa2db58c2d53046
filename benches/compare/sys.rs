//! What the standard library leaves to the system: pinning a thread to processors, waiting for many sockets.
#![expect(unsafe_code, reason = "calls libc")]

use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;

/// Pins the calling thread, and the processes that it starts from now on, to these processors.
pub fn pin(cores: &[usize]) -> io::Result<()> {
    let mut set = MaybeUninit::<libc::cpu_set_t>::zeroed();
    // SAFETY: all zeroes is the empty set.
    let set = unsafe { set.assume_init_mut() };
    for &core in cores.iter().filter(|&&core| core < libc::CPU_SETSIZE as usize) {
        // SAFETY: the number is within the set.
        unsafe { libc::CPU_SET(core, set) };
    }
    // SAFETY: the set is as large as is said; 0 is the calling thread.
    let result = unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), set) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Whether this process is root's.
pub fn is_root() -> bool {
    // SAFETY: asks for a number.
    unsafe { libc::geteuid() == 0 }
}

/// CPU time that a process has used so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cpu {
    /// In its own code, in seconds.
    pub user: f64,
    /// In the kernel, in seconds.
    pub system: f64,
}

impl Cpu {
    /// As `/proc/PID/stat` has it (proc(5): fields 14 and 15, in ticks of mostly 10 ms), made finer by what the scheduler says
    /// of the threads, in nanoseconds, if it does.
    pub fn of(pid: u32) -> io::Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The name in brackets may hold anything; the fields behind it are numbers.
        let mut fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11);
        // SAFETY: asks for a number.
        let hertz = unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as f64;
        let mut seconds =
            || fields.next().and_then(|ticks| ticks.parse::<f64>().ok()).unwrap_or(0.0) / hertz;
        let coarse = Self { user: seconds(), system: seconds() };
        let fine = scheduled(pid).unwrap_or(0.0);
        let scale = if fine > 0.0 { fine / (coarse.user + coarse.system).max(1e-9) } else { 1.0 };
        Ok(Self { user: coarse.user * scale, system: coarse.system * scale })
    }

    /// What was used since `before`.
    pub fn since(self, before: Self) -> Self {
        Self { user: self.user - before.user, system: self.system - before.system }
    }
}

/// Seconds for which the threads of a process have run (the first field of `schedstat`).
fn scheduled(pid: u32) -> io::Result<f64> {
    let mut sum_ns = 0.0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(thread?.path().join("schedstat"))?;
        sum_ns += text.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).unwrap_or(0.0);
    }
    Ok(sum_ns / 1e9)
}

/// Waits for sockets that can be read (level-triggered epoll).
pub struct Readable(OwnedFd);

impl Readable {
    /// Waits for none yet.
    pub fn new() -> io::Result<Self> {
        // SAFETY: makes a descriptor.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just made, and nobody else's.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Waits for this socket, too, under a number.
    pub fn add(&self, socket: &impl AsRawFd, number: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: number };
        let (epoll, socket) = (self.0.as_raw_fd(), socket.as_raw_fd());
        // SAFETY: both descriptors are open, and the event is copied.
        let result = unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, socket, &raw mut event) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// The numbers of the sockets that can be read, into `ready`; waits for one for so many milliseconds (-1: for ever).
    pub fn wait(&self, ready: &mut Vec<u64>, timeout_ms: i32) -> io::Result<()> {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 64];
        let epoll = self.0.as_raw_fd();
        let at = ptr::from_mut(&mut events).cast();
        // SAFETY: there is room for so many events.
        let count = unsafe { libc::epoll_wait(epoll, at, events.len() as i32, timeout_ms) };
        ready.clear();
        match usize::try_from(count) {
            Ok(count) => ready.extend(events[..count].iter().map(|event| event.u64)),
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}
