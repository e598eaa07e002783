//! Gives memory back to the system that the allocator keeps after a peak.

#[cfg(target_env = "gnu")]
use std::fs;

/// Memory that is not worth the trouble.
#[cfg(target_env = "gnu")]
const WORTH_BYTES: usize = 1 << 20;

/// Looks after one that gave memory back. Measured: after 8000 clients have left, 3 MB stay instead
/// of 6.6.
#[cfg(target_env = "gnu")]
const LOOKS_AGAIN: u32 = 5;

/// Watches what the process takes.
#[derive(Debug, Default)]
pub struct Memory {
    /// The least that was seen since some was last given back.
    #[cfg(target_env = "gnu")]
    least: Seen,
    /// So many more looks give back what is free, however little: a crowd that leaves does so over
    /// some seconds, and the last small pieces of it free most pages.
    #[cfg(target_env = "gnu")]
    again: u32,
}

/// What the process has, in bytes.
#[cfg(target_env = "gnu")]
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// Physical memory; 0 where /proc is not there.
    resident: usize,
    /// What the allocator holds without need, its pages given back or not.
    free: usize,
}

impl Memory {
    /// Gives back what is free, if there is more of it than the last time. Call it every few
    /// seconds. What was in use between two calls only, shows as pages that are still there.
    #[cfg(target_env = "gnu")]
    pub fn look(&mut self) {
        let (now, least) = (Seen::now(), &mut self.least);
        let grown = now.resident > least.resident + WORTH_BYTES && now.free > WORTH_BYTES;
        let is_new = grown || now.free > least.free + WORTH_BYTES;
        if is_new || self.again > 0 {
            // SAFETY: the call takes no pointer and touches only pages that hold nothing.
            unsafe { libc::malloc_trim(0) };
            *least = Seen::now();
            self.again = if is_new { LOOKS_AGAIN } else { self.again - 1 };
        } else {
            least.resident = least.resident.min(now.resident);
            least.free = least.free.min(now.free);
        }
    }

    /// Other C libraries give memory back by themselves.
    #[cfg(not(target_env = "gnu"))]
    pub fn look(&mut self) {}
}

#[cfg(target_env = "gnu")]
impl Seen {
    fn now() -> Seen {
        // SAFETY: the call takes no pointer and gives plain numbers.
        let free = unsafe { libc::mallinfo2() }.fordblks;
        Seen { resident: resident_bytes().unwrap_or(0), free }
    }
}

#[cfg(target_env = "gnu")]
fn resident_bytes() -> Option<usize> {
    let text = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: usize = text.split_ascii_whitespace().nth(1)?.parse().ok()?;
    // A page size that is too small here only makes us look less closely.
    Some(pages.saturating_mul(4096))
}
