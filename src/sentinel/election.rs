//! When to try: staggered candidacies and early new elections (design/beyond.md 2).
#![forbid(unsafe_code)]

/// What is remembered of elections for one master.
#[derive(Clone, Debug, Default)]
pub struct Election {}
