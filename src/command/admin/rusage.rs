//! CPU time of the process, as `stats` tells it.
#![expect(unsafe_code, reason = "getrusage has no safe counterpart in the standard library")]

use std::fmt;

/// A time as memcached prints it: seconds, a point, six digits of microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CpuTime {
    seconds: i64,
    micros: i64,
}

impl fmt::Display for CpuTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.seconds, self.micros)
    }
}

/// User and system time that the process has used.
pub(super) fn cpu_times() -> (CpuTime, CpuTime) {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: `usage` is valid for writes of a `rusage`, and the call keeps no pointer to it.
    unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) };
    // SAFETY: a zeroed `rusage` is a valid one, and the call has at most overwritten it with another.
    let usage = unsafe { usage.assume_init() };
    let time = |time: libc::timeval| CpuTime { seconds: time.tv_sec, micros: time.tv_usec };
    (time(usage.ru_utime), time(usage.ru_stime))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_two_whole_numbers_with_a_point() {
        assert_eq!(CpuTime { seconds: 3, micros: 42 }.to_string(), "3.000042");
        let (user, system) = cpu_times();
        assert!(user.seconds + user.micros + system.seconds + system.micros > 0);
    }
}
