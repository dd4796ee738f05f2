use super::*;

#[test]
fn what_the_system_tells_is_read_whatever_the_program_is_called() {
    let status = "Name:\tq\nVmPeak:\t  9 kB\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
    let stat = "7 (a) b (c) S 1 2 3 0 -1 4194560 10 0 0 0 150 50 0 0 20 0 9 0 100 1 1";
    assert_eq!(
        Process::read(status, stat, 100),
        Some(Process {
            memory: 1024 * 1024,
            memory_peak: 2048 * 1024,
            user: Duration::from_millis(1500),
            system: Duration::from_millis(500),
        })
    );
    assert_eq!(Process::read("", stat, 100), None);
    assert_eq!(Process::read(status, "7", 100), None);
}

#[cfg(target_os = "linux")]
#[test]
fn this_process_takes_something() {
    let process = Process::now().unwrap();
    assert!(process.memory > 0 && process.memory_peak >= process.memory);
}
