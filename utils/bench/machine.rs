//! What the results depend on beside the programs: the machine, the kernel, the disk.
#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use crate::report::{Samples, Unit};

const FSYNC_BYTES: usize = 2048;
const FSYNC_RUNS: usize = 40;

/// Lines `name: value` about what does not change while the measurements run.
pub fn describe() -> Vec<(String, String)> {
    let lines = [
        ("kernel", format!("Linux {}", first_line("/proc/sys/kernel/osrelease"))),
        ("CPU", format!("{} x {}", cores(), after("/proc/cpuinfo", "model name"))),
        ("open files, hard limit", hard_descriptors()),
    ];
    lines.map(|(name, value)| (name.to_string(), value)).into()
}

/// Lines `name: value` about what else the machine does at this `moment`; `dir` is where the
/// programs keep their files.
pub fn describe_load(moment: &str, dir: &Path) -> Result<Vec<(String, String)>, String> {
    let load = first_line("/proc/loadavg");
    let load: Vec<&str> = load.split(' ').take(3).collect();
    let fsync = fsync_time(dir).map_err(|e| format!("cannot sync a file: {e}"))?;
    let shown = |value: Option<f64>| value.map_or("?".to_string(), |v| Unit::Milliseconds.show(v));
    let fsync = format!("median {}, worst {}", shown(fsync.median()), shown(fsync.worst()));
    Ok(vec![
        (format!("fsync of 2 KB, {moment}"), fsync),
        (format!("load, {moment}"), load.join(" ")),
    ])
}

/// Milliseconds to write a small file and have it on disk, as each saving of the state does.
fn fsync_time(dir: &Path) -> std::io::Result<Samples> {
    let path = dir.join("fsync");
    let mut samples = Samples::default();
    for _ in 0..FSYNC_RUNS {
        let begun = Instant::now();
        let mut file = File::create(&path)?;
        file.write_all(&[b'x'; FSYNC_BYTES])?;
        file.sync_all()?;
        samples.add(Some(begun.elapsed().as_secs_f64() * 1000.0));
    }
    fs::remove_file(&path)?;
    Ok(samples)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn first_line(path: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().next().unwrap_or("?").trim().to_string()
}

/// The value of the first line `name : value`.
fn after(path: &str, name: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let value = text.lines().find_map(|l| l.strip_prefix(name)?.trim().strip_prefix(':'));
    value.unwrap_or("?").trim().to_string()
}

fn hard_descriptors() -> String {
    let text = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix("Max open files")).unwrap_or_default();
    line.split_whitespace().nth(1).unwrap_or("?").to_string()
}

/// The resident memory of a process, in MiB.
pub fn resident_mib(pid: u32) -> Option<f64> {
    let value = after(&format!("/proc/{pid}/status"), "VmRSS");
    let kib: f64 = value.strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024.0)
}

/// The CPU time that a process has used, in seconds.
pub fn cpu_seconds(pid: u32) -> Option<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything.
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let (user, system): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((user + system) / ticks_per_second())
}

/// The CPU time in which the machine did something, all cores together, in seconds.
pub fn busy_seconds() -> f64 {
    let line = first_line("/proc/stat");
    let ticks: Vec<f64> = line.split_whitespace().skip(1).flat_map(str::parse).collect();
    // user, nice, system, idle, iowait, irq, softirq, steal
    let busy: f64 = ticks.iter().take(8).sum::<f64>() - ticks.iter().skip(3).take(2).sum::<f64>();
    busy / ticks_per_second()
}

fn ticks_per_second() -> f64 {
    let ticks = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK);
    ticks.ok().flatten().map_or(100.0, |ticks| ticks as f64)
}

/// Raises the limit of open files to what is allowed, for this process and those it starts.
pub fn raise_descriptors() -> Result<u64, String> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let failed = |e| format!("cannot raise the limit of open files: {e}");
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(failed)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map_err(failed)?;
    Ok(hard)
}
