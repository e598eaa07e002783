//! Latencies in a histogram whose classes are about 3 % wide.
#![forbid(unsafe_code)]

use std::time::Duration;

/// Classes per doubling: two to the power of this.
const BITS: u32 = 5;
const CLASSES: usize = 64 << BITS;

/// How many latencies were in each class.
#[derive(Clone, Debug)]
pub struct Latencies {
    counts: Vec<u64>,
    total: u64,
}

impl Default for Latencies {
    fn default() -> Latencies {
        Latencies { counts: vec![0; CLASSES], total: 0 }
    }
}

impl Latencies {
    pub fn add(&mut self, latency: Duration) {
        self.counts[class(latency.as_nanos() as u64)] += 1;
        self.total += 1;
    }

    /// The milliseconds that this share of all was within; `None` if there are none.
    pub fn within(&self, share: f64) -> Option<f64> {
        let wanted = (self.total as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        let class = self.counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        })?;
        Some(upper_end(class) as f64 / 1e6)
    }
}

/// The class of a number: its highest bit and the few below it.
fn class(nanos: u64) -> usize {
    let nanos = nanos.max(1 << BITS);
    let shift = nanos.ilog2() - BITS;
    (((shift as usize) + 1) << BITS) + ((nanos >> shift) as usize & ((1 << BITS) - 1))
}

/// The largest number of a class.
fn upper_end(class: usize) -> u64 {
    let shift = (class >> BITS) as u32 - 1;
    let head = (1 << BITS) + (class & ((1 << BITS) - 1)) as u64;
    ((head + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_narrow_and_without_gaps() {
        for nanos in [0, 1, 31, 32, 33, 1_000, 1_023, 1_024, 123_456_789, u64::MAX >> 1] {
            let end = upper_end(class(nanos));
            assert!(end >= nanos && end <= nanos + nanos / 31 + 32, "{nanos} {end}");
            assert_eq!(class(end + 1), class(nanos) + 1, "{nanos}");
        }
    }

    #[test]
    fn shares() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.within(0.5), None);
        (1..=100).for_each(|ms| latencies.add(Duration::from_millis(ms)));
        let near = |share, ms: f64| {
            let found = latencies.within(share).expect("there are some");
            assert!(found >= ms && found < ms * 1.04, "{share}: {found}");
        };
        near(0.5, 50.0);
        near(0.99, 99.0);
        near(1.0, 100.0);
    }
}
