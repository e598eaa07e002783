//! Growing pauses between tries.
#![forbid(unsafe_code)]

use super::time::Mono;

/// The first pause in ms; each further one is twice as long.
pub const FIRST_MS: u64 = 100;
/// The longest pause in ms.
pub const LONGEST_MS: u64 = 5_000;

/// How long to wait after a try that failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Backoff {
    /// The last pause; 0: nothing has failed.
    pause_ms: u64,
    until: Mono,
}

impl Backoff {
    /// A try has failed: gives the moment of the next one.
    pub fn failed(&mut self, now: Mono) -> Mono {
        self.pause_ms = (2 * self.pause_ms).clamp(FIRST_MS, LONGEST_MS);
        self.until = now.after(self.pause_ms);
        self.until
    }

    /// Waits until `at`, whatever failed before, and leaves the next pause as it is.
    pub fn wait_until(&mut self, at: Mono) {
        self.until = at;
    }

    /// A try has worked, or there is a reason to expect it.
    pub fn reset(&mut self) {
        *self = Backoff::default();
    }

    /// No try before this moment.
    pub fn until(&self) -> Mono {
        self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.until(), Mono(0));
        let mut pauses = Vec::new();
        for n in 0..9 {
            let now = Mono(1_000_000 * (n + 1));
            pauses.push(backoff.failed(now).since(now));
            assert_eq!(backoff.until(), now.after(pauses[n as usize]));
        }
        assert_eq!(pauses, [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000, 5_000]);
        backoff.reset();
        assert_eq!(backoff.until(), Mono(0));
        assert_eq!(backoff.failed(Mono(7)), Mono(107));
    }

    #[test]
    fn a_moment_of_its_own_does_not_shorten_the_next_pause() {
        let mut backoff = Backoff::default();
        backoff.failed(Mono(0));
        backoff.failed(Mono(100));
        backoff.wait_until(Mono(150));
        assert_eq!(backoff.until(), Mono(150));
        assert_eq!(backoff.failed(Mono(150)), Mono(550));
    }
}
