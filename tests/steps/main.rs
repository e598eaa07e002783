//! How much work one input causes, counted in instructions: at most in proportion to its bytes, and
//! about to the logarithm of what is watched and of who is connected. Counts, unlike times, are the
//! same on every machine, so a test fails when the code got worse and for no other reason. Where
//! they cannot be counted, the tests say `NOT RUN`.
//!
//! To add a case: a row in [`requests`] (one request that gets longer), in [`crowd`] (the same
//! request among more clients or masters), or in [`links`] (bytes that data nodes and other
//! sentinels send).

mod counter;
mod crowd;
mod links;
#[path = "../support/no_files.rs"]
mod no_files;
mod requests;
mod rig;
