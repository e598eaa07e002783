//! Counters of INFO's sections Clients and Stats.
#![forbid(unsafe_code)]

use crate::util::time::Mono;

/// Samples that the `instantaneous_…` figures are averaged over.
const SAMPLES: usize = 16;
/// Shortest time between two samples.
const SAMPLE_MS: u64 = 100;
/// How long `client_recent_max_input_buffer` remembers a peak.
const RECENT_MS: u64 = 10_000;

/// What is counted since the start.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    pub connections: u64,
    pub rejected: u64,
    /// Clients closed because all together held too much.
    pub evicted: u64,
    pub commands: u64,
    pub errors: u64,
    pub input_bytes: u64,
    pub output_bytes: u64,
    pub reads: u64,
    pub writes: u64,
    ops: Rate,
    input: Rate,
    output: Rate,
    recent_input: (usize, Mono),
}

impl Stats {
    /// Takes samples when it is time to; call it about ten times a second.
    pub fn tick(&mut self, now: Mono) {
        self.ops.sample(now, self.commands);
        self.input.sample(now, self.input_bytes);
        self.output.sample(now, self.output_bytes);
        if now.since(self.recent_input.1) > RECENT_MS {
            self.recent_input = (0, now);
        }
    }

    /// A client's unread input was this long.
    pub fn saw_input(&mut self, bytes: usize, now: Mono) {
        if bytes > self.recent_input.0 {
            self.recent_input = (bytes, now);
        }
    }

    /// The longest input of the last seconds, in bytes.
    pub fn recent_input(&self) -> usize {
        self.recent_input.0
    }

    pub fn ops_per_s(&self) -> u64 {
        self.ops.per_s()
    }

    pub fn input_bytes_per_s(&self) -> u64 {
        self.input.per_s()
    }

    pub fn output_bytes_per_s(&self) -> u64 {
        self.output.per_s()
    }
}

/// The mean growth of a counter over the last samples.
#[derive(Clone, Debug, Default)]
struct Rate {
    per_s: [u64; SAMPLES],
    next: usize,
    last: Option<(Mono, u64)>,
}

impl Rate {
    fn sample(&mut self, now: Mono, count: u64) {
        let (at, before) = *self.last.get_or_insert((now, count));
        let ms = now.since(at);
        if ms < SAMPLE_MS {
            return;
        }
        self.per_s[self.next] = (count - before) * 1000 / ms;
        self.next = (self.next + 1) % SAMPLES;
        self.last = Some((now, count));
    }

    fn per_s(&self) -> u64 {
        self.per_s.iter().sum::<u64>() / SAMPLES as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_means_over_the_last_samples() {
        let mut stats = Stats::default();
        for step in 0..=16 {
            stats.commands = step * 50;
            stats.tick(Mono(step * 100));
        }
        assert_eq!(stats.ops_per_s(), 500);
        for step in 17..=32 {
            stats.tick(Mono(step * 100));
        }
        assert_eq!(stats.ops_per_s(), 0);
    }

    #[test]
    fn peaks_are_forgotten_after_a_while() {
        let mut stats = Stats::default();
        stats.saw_input(10, Mono(5));
        stats.saw_input(4, Mono(6));
        stats.tick(Mono(RECENT_MS));
        assert_eq!(stats.recent_input(), 10);
        stats.tick(Mono(RECENT_MS + 6));
        assert_eq!(stats.recent_input(), 0);
    }
}
