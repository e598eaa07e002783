//! What only a large instance does, and from which size on.
//!
//! These are no settings: nothing but a test chooses others than the defaults. A sentinel is made
//! with them so that a group of a few masters can do all that thousands of them do.
#![forbid(unsafe_code)]

/// Sizes from which on the sentinel works in another way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Thresholds {
    /// With this many links what is due to an instance is bundled ([`super::periodic`]) and
    /// hellos may be left to gather ([`super::gather`]).
    pub bundle_links: usize,
}

impl Default for Thresholds {
    fn default() -> Self {
        Thresholds { bundle_links: 128 }
    }
}
