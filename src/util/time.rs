//! Time as the core sees it: plain milliseconds, handed in from outside, never read here.
//!
//! [`Mono`] measures and schedules (CLOCK_BOOTTIME in the shell, virtual in tests); [`Wall`] is for
//! log lines and texts only. They are different types so that no deadline can follow a clock step.
#![forbid(unsafe_code)]

/// A moment on the monotonic clock, in milliseconds since an arbitrary origin.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Mono(pub u64);

impl Mono {
    /// Milliseconds from `earlier` to `self`; 0 if `earlier` lies in the future.
    pub fn since(self, earlier: Mono) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The moment `ms` milliseconds later.
    pub fn after(self, ms: u64) -> Mono {
        Mono(self.0.saturating_add(ms))
    }
}

/// Wall-clock time: milliseconds since 1970-01-01 UTC, and the local offset for texts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Wall {
    /// Milliseconds since the Unix epoch.
    pub unix_ms: u64,
    /// Seconds to add to UTC to get local time.
    pub utc_offset_s: i32,
}

/// What the shell reads once per turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Clock {
    pub mono: Mono,
    pub wall: Wall,
}

impl Wall {
    /// Local time like `Sun Nov 22 04:08:41 2026`.
    pub fn ctime(self) -> String {
        todo!()
    }

    /// Local time like `22 Nov 2026 04:08:41.123`, as the log lines begin.
    pub fn log_stamp(self) -> String {
        todo!()
    }
}
