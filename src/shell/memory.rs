//! Gives memory back to the system that the allocator keeps after a peak.

/// Free memory that is not worth the trouble.
#[cfg(target_env = "gnu")]
const WORTH_BYTES: usize = 1 << 20;

/// Watches the allocator's free memory.
#[derive(Debug, Default)]
pub struct Memory {
    /// The least that was free since it was last given back; pages that went back count as free.
    #[cfg(target_env = "gnu")]
    free_bytes: usize,
}

impl Memory {
    /// Gives back what has become free since the last time, if it is much. Call it about once a
    /// second.
    #[cfg(target_env = "gnu")]
    pub fn look(&mut self) {
        let free_bytes = free_bytes();
        if free_bytes > self.free_bytes + WORTH_BYTES {
            // SAFETY: the call takes no pointer and touches only pages that hold nothing.
            unsafe { libc::malloc_trim(0) };
            self.free_bytes = self::free_bytes();
        } else {
            self.free_bytes = self.free_bytes.min(free_bytes);
        }
    }

    /// Other C libraries give memory back by themselves.
    #[cfg(not(target_env = "gnu"))]
    pub fn look(&mut self) {}
}

/// What the allocator holds without need.
#[cfg(target_env = "gnu")]
fn free_bytes() -> usize {
    // SAFETY: the call takes no pointer and gives plain numbers.
    unsafe { libc::mallinfo2() }.fordblks
}
