//! The process as a whole: limits, user, daemon, locked memory, pid file.
//!
//! [`prepare`] runs once, before any other thread is there: forking and changing the user concern the calling
//! thread alone otherwise. The order is memcached's: limits while still root, then the user, then the
//! background, then the memory lock (which a fork would lose). Signals are `node`'s; SIGPIPE is ignored by
//! Rust's own start-up code.
//!
//! These are system calls that the standard library leaves out, hence the only unsafe code of the server.
#![expect(unsafe_code, reason = "libc: limits, users, fork")]

use std::ffi::CString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Descriptors that are not client connections: listeners, epoll, wake-ups, log, files.
const RESERVED_FILES: u64 = 128;

/// Options of the process.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// Go to the background (`-d`).
    pub daemonize: bool,
    /// File to write the process id to (`-P`).
    pub pid_file: Option<PathBuf>,
    /// User to become when started as root (`-u`); without one, root stays root and is warned.
    pub user: Option<String>,
    /// Raise the limit on core files as far as it goes (`-r`).
    pub core_dumps: bool,
    /// Lock all memory (`-k`).
    pub lock_memory: bool,
    /// Words on standard error (`-v`); a daemon that has some keeps its standard error.
    pub verbosity: u32,
}

/// Why the process cannot become what the options ask for; in memcached's words.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// `-r`, but core files stay forbidden.
    #[error("failed to ensure corefile creation")]
    Core,
    /// `-c` asks for more open files than are allowed.
    #[error(
        "failed to set rlimit for open files. Try starting as root or requesting smaller maxconns value."
    )]
    Files,
    /// `-u` with an unknown name.
    #[error("can't find the user {0} to switch to")]
    NoUser(String),
    /// The user exists, but cannot be become.
    #[error("failed to assume identity of user {0}: {1}")]
    Identity(String, io::Error),
    /// `-d`, but no fork.
    #[error("failed to daemon() in order to daemonize: {0}")]
    Daemon(io::Error),
}

impl ProcessError {
    /// The exit status that memcached has for it (sysexits.h).
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Core | Self::Files | Self::Identity(..) => 71,
            Self::NoUser(_) => 67,
            Self::Daemon(_) => 1,
        }
    }
}

/// Makes the process what the options ask for, with room for `max_connections` open sockets. With `daemonize` the
/// caller returns in another process than it came from.
///
/// Call it while the process has one thread.
///
/// # Errors
///
/// What cannot be had and must not be missing. That memory cannot be locked is only logged, as in memcached.
pub fn prepare(options: &Options, max_connections: usize) -> Result<(), ProcessError> {
    if options.core_dumps {
        raise_core_limit()?;
    }
    raise_file_limit(max_connections as u64)?;
    become_user(options.user.as_deref())?;
    if options.daemonize {
        daemonize(options).map_err(ProcessError::Daemon)?;
    }
    if options.lock_memory {
        // SAFETY: a system call without pointers.
        let result = unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE) };
        if let Err(error) = check(result) {
            tracing::warn!("-k invalid, mlockall() failed: {error}");
        }
    }
    Ok(())
}

/// The type of the RLIMIT_ constants.
#[cfg(target_env = "gnu")]
type Resource = libc::__rlimit_resource_t;
/// The type of the RLIMIT_ constants.
#[cfg(not(target_env = "gnu"))]
type Resource = libc::c_int;

/// Turns the -1 of a system call into the error that it left in `errno`.
fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn limit(resource: Resource) -> io::Result<libc::rlimit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a live rlimit that the call fills in.
    check(unsafe { libc::getrlimit(resource, &raw mut limit) })?;
    Ok(limit)
}

fn set_limit(resource: Resource, soft: u64, hard: u64) -> io::Result<()> {
    let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
    // SAFETY: the pointer is to a live rlimit that the call only reads.
    check(unsafe { libc::setrlimit(resource, &raw const limit) })?;
    Ok(())
}

fn raise_core_limit() -> Result<(), ProcessError> {
    let hard = limit(libc::RLIMIT_CORE).map_err(|_| ProcessError::Core)?.rlim_max;
    if set_limit(libc::RLIMIT_CORE, libc::RLIM_INFINITY, libc::RLIM_INFINITY).is_err() {
        // Not root: as far as the hard limit goes. What counts is looked at below.
        let _ = set_limit(libc::RLIMIT_CORE, hard, hard);
    }
    match limit(libc::RLIMIT_CORE) {
        Ok(limit) if limit.rlim_cur > 0 => Ok(()),
        _ => Err(ProcessError::Core),
    }
}

/// Raises the limit on open files to what the connections and the server itself need; where only the
/// connections fit in, accepting stops early instead. An ample limit is left alone.
fn raise_file_limit(connections: u64) -> Result<(), ProcessError> {
    let now = limit(libc::RLIMIT_NOFILE).map_err(|_| ProcessError::Files)?;
    for need in [connections + RESERVED_FILES, connections] {
        if now.rlim_cur >= need
            || set_limit(libc::RLIMIT_NOFILE, need, now.rlim_max.max(need)).is_ok()
        {
            return Ok(());
        }
    }
    Err(ProcessError::Files)
}

/// Gives up root for the user; who is not root stays who he is.
fn become_user(user: Option<&str>) -> Result<(), ProcessError> {
    // SAFETY: a system call without arguments that cannot fail.
    let real = unsafe { libc::getuid() };
    // SAFETY: as above.
    let effective = unsafe { libc::geteuid() };
    if real != 0 && effective != 0 {
        return Ok(());
    }
    // memcached refuses to start here. A first `cargo run` in a container is root as well, and listens on the
    // loopback alone.
    let Some(name) = user.filter(|name| !name.is_empty()) else {
        tracing::warn!("running as root: -u USER gives up its rights");
        return Ok(());
    };
    let (uid, gid) = look_up(name).ok_or_else(|| ProcessError::NoUser(name.to_owned()))?;
    assume(uid, gid).map_err(|error| ProcessError::Identity(name.to_owned(), error))
}

fn look_up(name: &str) -> Option<(libc::uid_t, libc::gid_t)> {
    let name = CString::new(name).ok()?;
    // SAFETY: the name ends in a zero; the process has one thread, so nobody else calls getpwnam meanwhile.
    let entry = unsafe { libc::getpwnam(name.as_ptr()) };
    // SAFETY: getpwnam returns null or a pointer to an entry that stays until its next call.
    unsafe { entry.as_ref() }.map(|entry| (entry.pw_uid, entry.pw_gid))
}

fn assume(uid: libc::uid_t, gid: libc::gid_t) -> io::Result<()> {
    // SAFETY: an empty list, whose pointer is not looked at.
    match check(unsafe { libc::setgroups(0, std::ptr::null()) }) {
        // Already without privileges: there is nothing left to give up.
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => {}
        result => drop(result?),
    }
    // SAFETY: a system call without pointers.
    check(unsafe { libc::setgid(gid) })?;
    // SAFETY: a system call without pointers.
    check(unsafe { libc::setuid(uid) })?;
    Ok(())
}

/// Forks twice, so that the daemon leads no session and can never get a terminal back.
fn daemonize(options: &Options) -> io::Result<()> {
    leave_parent()?;
    // SAFETY: a system call without arguments.
    check(unsafe { libc::setsid() })?;
    leave_parent()?;
    if !options.core_dumps {
        std::env::set_current_dir("/")?;
    }
    if options.verbosity == 0 {
        let null = fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
        for standard in 0..=2 {
            let null = std::os::fd::AsRawFd::as_raw_fd(&null);
            // SAFETY: both are descriptors of this process; no owner of 0, 1 or 2 exists in Rust.
            check(unsafe { libc::dup2(null, standard) })?;
        }
    }
    Ok(())
}

/// Forks; only the child returns.
fn leave_parent() -> io::Result<()> {
    // SAFETY: the process has one thread (see `prepare`), so the child finds no lock held by a thread that is gone.
    let child = check(unsafe { libc::fork() })?;
    if child != 0 {
        // SAFETY: ends the process at once; the child alone runs destructors and flushes buffers.
        unsafe { libc::_exit(0) };
    }
    Ok(())
}

/// The file that tells this process's id; removed when dropped if the process is a daemon, as memcached does.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    temporary: bool,
}

impl PidFile {
    /// Writes the file, if there is to be one; that it cannot be written is logged, as in memcached. Call it when the
    /// sockets are open: whoever reads the file may connect.
    #[must_use]
    pub fn create(options: &Options) -> Option<Self> {
        let path = options.pid_file.clone()?;
        warn_if_running(&path);
        let mut unfinished = path.clone().into_os_string();
        unfinished.push(".tmp");
        let written = fs::write(&unfinished, format!("{}\n", std::process::id()))
            .and_then(|()| fs::rename(&unfinished, &path));
        match written {
            Ok(()) => Some(Self { path, temporary: options.daemonize }),
            Err(error) => {
                tracing::warn!("Could not write the pid file {}: {error}", path.display());
                None
            }
        }
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if self.temporary
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!("Could not remove the pid file {}: {error}", self.path.display());
        }
    }
}

fn warn_if_running(path: &Path) {
    let Ok(text) = fs::read_to_string(path) else { return };
    let Ok(pid @ 1..) = text.trim().parse::<libc::pid_t>() else { return };
    // SAFETY: signal 0 is not sent, only asked about.
    if unsafe { libc::kill(pid, 0) } == 0 {
        tracing::warn!("The pid file contained the following (running) pid: {pid}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pid_file_is_whole_and_goes_with_a_daemon() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pid");
        let mut options = Options { pid_file: Some(path.clone()), ..Options::default() };
        drop(PidFile::create(&options).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        options.daemonize = true;
        drop(PidFile::create(&options).unwrap());
        assert!(!path.exists());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_pid_file_that_cannot_be_written_is_no_reason_to_stop() {
        let path = Some(PathBuf::from("/nonexistent/folder/pid"));
        assert!(PidFile::create(&Options { pid_file: path, ..Options::default() }).is_none());
    }

    #[test]
    fn an_ample_file_limit_is_left_alone_and_an_absurd_one_refused() {
        let before = limit(libc::RLIMIT_NOFILE).unwrap();
        raise_file_limit(1).unwrap();
        assert_eq!(limit(libc::RLIMIT_NOFILE).unwrap().rlim_cur, before.rlim_cur);
        // Beyond fs.nr_open, which binds root as well.
        assert!(raise_file_limit(1 << 40).is_err());
    }

    #[test]
    fn users_are_found_by_name() {
        assert_eq!(look_up("root"), Some((0, 0)));
        assert_eq!(look_up("no such user"), None);
        assert_eq!(look_up("zero\0inside"), None);
    }
}
