//! Support for tests that run real processes: data nodes (`redis-server`) and sentinels.
//!
//! Everything here is blocking and has a deadline. What is started is killed again, whole process
//! groups at a time, also when a test panics and also when the test program itself is killed
//! (see [`process`]). What a test sees when something goes wrong is the last value it looked at
//! and the tail of every log (see [`world`]).
// Each test binary that includes this module uses its own part of it.
#![allow(dead_code)]

pub mod client;
pub mod fake;
pub mod group;
pub mod node;
pub mod ports;
pub mod process;
pub mod pulse;
pub mod recorder;
pub mod sentinel;
pub mod value;
pub mod wait;
pub mod world;
