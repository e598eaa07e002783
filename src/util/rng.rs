//! The seeded random numbers of the core: reproducible from a seed, never used for secrets.
#![forbid(unsafe_code)]

/// SplitMix64: small, fast, and good enough to spread phases and break ties.
#[derive(Clone, Debug)]
pub struct Rng {
    state: u64,
}

impl Rng {
    /// Starts a sequence that is a function of `seed` alone.
    pub fn new(seed: u64) -> Rng {
        Rng { state: seed }
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }

    /// A number in `0..bound`; 0 if `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { ((self.next_u64() as u128 * bound as u128) >> 64) as u64 }
    }
}

/// Scrambles 64 bits; equal inputs give equal outputs, near inputs give far outputs.
pub fn mix(bits: u64) -> u64 {
    let mut z = bits;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::{Rng, mix};

    #[test]
    fn follows_the_published_sequence() {
        let mut rng = Rng::new(1_234_567);
        let first = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973];
        assert_eq!([rng.next_u64(), rng.next_u64()], first);
    }

    #[test]
    fn equal_seeds_give_equal_sequences() {
        let mut rng = Rng::new(9);
        let mut twin = rng.clone();
        let mut other = Rng::new(10);
        let drawn: Vec<u64> = (0..8).map(|_| rng.next_u64()).collect();
        assert_eq!(drawn, (0..8).map(|_| twin.next_u64()).collect::<Vec<_>>());
        assert_ne!(drawn, (0..8).map(|_| other.next_u64()).collect::<Vec<_>>());
    }

    #[test]
    fn stays_below_the_bound_and_reaches_every_number() {
        let mut rng = Rng::new(3);
        assert_eq!(rng.below(0), 0);
        assert_eq!(rng.below(1), 0);
        let mut seen = [false; 10];
        for _ in 0..1000 {
            seen[rng.below(10) as usize] = true;
        }
        assert_eq!(seen, [true; 10]);
        assert!((0..1000).any(|_| rng.below(u64::MAX) > u64::MAX / 2));
    }

    #[test]
    fn near_inputs_are_scrambled_far_apart() {
        assert_eq!(mix(42), mix(42));
        for n in 0..64u64 {
            assert!((mix(n) ^ mix(n + 1)).count_ones() > 8, "{n}");
        }
    }
}
