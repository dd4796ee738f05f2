//! What the process uses: time, memory and file descriptors, as the operating system counts them.

use std::fs;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

/// What this process uses. Several nodes in one process share it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ProcessFigures {
    /// Processor time.
    pub(crate) cpu: Duration,
    /// Processor time and memory, as the kernel sums them up.
    pub(crate) taken: Taken,
    /// File descriptors that are open.
    pub(crate) descriptors: u64,
    /// File descriptors that may be open.
    pub(crate) descriptors_max: u64,
    /// When the process was first asked, since 1970: the start of its first node.
    pub(crate) started: Duration,
}

/// What the kernel sums up: times to a hundredth of a second, memory to a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Bytes of memory that are resident.
    pub(crate) resident_bytes: u64,
    /// The most that ever were.
    pub(crate) peak_bytes: u64,
    /// Processor time in the program's own code.
    pub(crate) user: Duration,
    /// Processor time in the kernel.
    pub(crate) system: Duration,
}

impl ProcessFigures {
    /// The figures of this process; `None` without `/proc`.
    pub(crate) fn of_this() -> Option<Self> {
        static STARTED: OnceLock<Duration> = OnceLock::new();
        let since_1970 = || SystemTime::now().duration_since(UNIX_EPOCH);
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        Some(Self {
            cpu: Duration::try_from(cpu).unwrap_or_default(),
            taken: Taken::read(
                &fs::read_to_string("/proc/self/status").ok()?,
                &fs::read_to_string("/proc/self/stat").ok()?,
                rustix::param::clock_ticks_per_second(),
            )?,
            descriptors: fs::read_dir("/proc/self/fd").ok()?.count() as u64,
            descriptors_max: getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX),
            started: *STARTED.get_or_init(|| since_1970().unwrap_or_default()),
        })
    }
}

impl Taken {
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
            resident_bytes: kibibytes("VmRSS:")? * 1024,
            peak_bytes: kibibytes("VmHWM:")? * 1024,
            user: time()?,
            system: time()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_memory_files_and_a_past() {
        let figures = ProcessFigures::of_this().unwrap();
        let Taken {
            resident_bytes,
            peak_bytes,
            ..
        } = figures.taken;
        assert!(
            resident_bytes > 1 << 20 && peak_bytes >= resident_bytes,
            "{figures:?}"
        );
        assert!((1..figures.descriptors_max).contains(&figures.descriptors));
        let later = loop {
            let later = ProcessFigures::of_this().unwrap();
            if later.cpu > figures.cpu {
                break later;
            }
        };
        assert_eq!(later.started, figures.started);
    }

    #[test]
    fn what_the_system_tells_is_read_whatever_the_program_is_called() {
        let status = "Name:\tq\nVmPeak:\t  9 kB\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        let stat = "7 (a) b (c) S 1 2 3 0 -1 4194560 10 0 0 0 150 50 0 0 20 0 9 0 100 1 1";
        assert_eq!(
            Taken::read(status, stat, 100),
            Some(Taken {
                resident_bytes: 1024 * 1024,
                peak_bytes: 2048 * 1024,
                user: Duration::from_millis(1500),
                system: Duration::from_millis(500),
            })
        );
        assert_eq!(Taken::read("", stat, 100), None);
        assert_eq!(Taken::read(status, "7", 100), None);
    }
}
