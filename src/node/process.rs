//! What the process uses: time, memory and file descriptors, as the operating system counts them.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

/// What this process uses. Several nodes in one process share it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ProcessFigures {
    /// Processor time.
    pub(crate) cpu: Duration,
    /// Bytes of memory that are resident.
    pub(crate) resident_bytes: u64,
    /// File descriptors that are open.
    pub(crate) descriptors: u64,
    /// File descriptors that may be open.
    pub(crate) descriptors_max: u64,
    /// When the process was first asked, since 1970: the start of its first node.
    pub(crate) started: Duration,
}

impl ProcessFigures {
    /// The figures of this process; `None` without `/proc`.
    pub(crate) fn of_this() -> Option<Self> {
        static STARTED: OnceLock<Duration> = OnceLock::new();
        let since_1970 = || SystemTime::now().duration_since(UNIX_EPOCH);
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
        let resident: u64 = pages.split(' ').nth(1)?.parse().ok()?;
        Some(Self {
            cpu: Duration::try_from(cpu).unwrap_or_default(),
            resident_bytes: resident * rustix::param::page_size() as u64,
            descriptors: std::fs::read_dir("/proc/self/fd").ok()?.count() as u64,
            descriptors_max: getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX),
            started: *STARTED.get_or_init(|| since_1970().unwrap_or_default()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_memory_files_and_a_past() {
        let figures = ProcessFigures::of_this().unwrap();
        assert!(figures.resident_bytes > 1 << 20, "{figures:?}");
        assert!((1..figures.descriptors_max).contains(&figures.descriptors));
        let later = loop {
            let later = ProcessFigures::of_this().unwrap();
            if later.cpu > figures.cpu {
                break later;
            }
        };
        assert_eq!(later.started, figures.started);
    }
}
