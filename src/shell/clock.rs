//! The clocks: monotonic time that counts suspends, wall time, and the local offset.

use nix::time::{ClockId, clock_gettime};

use crate::util::time::{Clock, Mono, Wall};

/// The offset from UTC changes at quarters of an hour at the earliest.
const OFFSET_VALID_S: i64 = 900;

/// Reads both clocks; keeps the local offset until the next quarter of an hour.
#[derive(Clone, Debug, Default)]
pub struct ClockSource {
    offset_quarter: Option<i64>,
    utc_offset_s: i32,
}

impl ClockSource {
    /// The moment now.
    pub fn read(&mut self) -> Clock {
        Clock { mono: mono(), wall: self.wall() }
    }

    /// The wall clock now, with the local offset.
    pub fn wall(&mut self) -> Wall {
        let unix_ms = read_ms(ClockId::CLOCK_REALTIME);
        let unix_s = (unix_ms / 1000) as i64;
        let quarter = unix_s / OFFSET_VALID_S;
        if self.offset_quarter != Some(quarter) {
            self.offset_quarter = Some(quarter);
            self.utc_offset_s = utc_offset_s(unix_s);
        }
        Wall { unix_ms, utc_offset_s: self.utc_offset_s }
    }
}

/// Monotonic time, in milliseconds since boot; unlike `CLOCK_MONOTONIC` it runs while the machine
/// is suspended, so that a suspended Sentinel notices that it was away.
pub fn mono() -> Mono {
    Mono(read_ms(ClockId::CLOCK_BOOTTIME))
}

/// 0 when the clock cannot be read, which Linux does not do for these two.
fn read_ms(clock: ClockId) -> u64 {
    let Ok(time) = clock_gettime(clock) else { return 0 };
    u64::try_from(time.tv_sec()).unwrap_or(0) * 1000 + time.tv_nsec() as u64 / 1_000_000
}

/// Seconds to add to UTC at that moment to get local time.
fn utc_offset_s(unix_s: i64) -> i32 {
    let time = unix_s as libc::time_t;
    // SAFETY: `tm` is plain data for which all zeros are valid, and `localtime_r` reads `time` and
    // writes `tm` only. nix has no call for it; std knows no time zones.
    unsafe {
        let mut tm: libc::tm = std::mem::zeroed();
        if libc::localtime_r(&time, &mut tm).is_null() { 0 } else { tm.tm_gmtoff as i32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_run() {
        let mut source = ClockSource::default();
        let first = source.read();
        assert!(first.mono.0 > 0);
        assert!(first.wall.unix_ms > 1_600_000_000_000);
        assert!(first.wall.utc_offset_s.abs() <= 14 * 3600);
        assert!(source.read().mono >= first.mono);
    }
}
