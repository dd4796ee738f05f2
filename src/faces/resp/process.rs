//! What the operating system says about this process, as far as `INFO` shows it.

use std::fs;
use std::time::Duration;

/// Where it tells what a process takes.
const STATUS: &str = "/proc/self/status";
const STAT: &str = "/proc/self/stat";

/// What a process takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    /// Resident memory in bytes.
    pub memory: u64,
    /// The most that it ever was.
    pub memory_peak: u64,
    /// Time of a processor in its own code.
    pub user: Duration,
    /// Time of a processor in the kernel.
    pub system: Duration,
}

impl Process {
    /// What this process takes now; `None` where the system does not tell.
    pub(crate) fn now() -> Option<Self> {
        let status = fs::read_to_string(STATUS).ok()?;
        let stat = fs::read_to_string(STAT).ok()?;
        Self::read(&status, &stat, rustix::param::clock_ticks_per_second())
    }

    fn read(status: &str, stat: &str, ticks: u64) -> Option<Self> {
        let kibibytes = |name: &str| -> Option<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().strip_suffix(" kB")?.trim().parse().ok()
        };
        // The name of the program comes second, in parentheses, and may contain anything.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
        let mut time = || -> Option<Duration> {
            let spent: u64 = fields.next()?.parse().ok()?;
            Some(Duration::from_millis(spent * 1000 / ticks.max(1)))
        };
        Some(Self {
            memory: kibibytes("VmRSS:")? * 1024,
            memory_peak: kibibytes("VmHWM:")? * 1024,
            user: time()?,
            system: time()?,
        })
    }
}

#[cfg(test)]
mod tests;
