//! What the system tells about a process: memory, descriptors, CPU time.

use std::fs;

/// Figures of one process, from /proc.
#[derive(Debug, Clone, Copy)]
pub struct Gauge(pub i32);

impl Gauge {
    /// Resident memory in KiB.
    pub fn rss_kib(self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0)).expect("it runs");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
        line.split_whitespace().nth(1).and_then(|word| word.parse().ok()).expect("a number")
    }

    /// Open descriptors.
    pub fn descriptors(self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.0)).expect("it runs").count()
    }

    /// CPU time used so far, user and system, in clock ticks (of 10 ms).
    pub fn ticks(self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0)).expect("it runs");
        // Behind the name in parentheses, which may hold blanks: state is field 3, utime 14.
        let behind = stat.rsplit(')').next().expect("a name");
        let fields: Vec<&str> = behind.split_whitespace().collect();
        fields[11..13].iter().map(|ticks| ticks.parse::<u64>().expect("ticks")).sum()
    }
}
