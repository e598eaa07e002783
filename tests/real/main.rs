//! Groups of real processes: `redis-server` data nodes watched by the program under test.
//!
//! The program is ours unless SENTINEL_UNDER_TEST names another, e.g. `/usr/bin/redis-sentinel`,
//! against which all tests hold but those marked `only_ours` (REAL_TESTS_ALL runs these as well,
//! to see that they can fail). Where `redis-server` or another
//! program is missing, a test says `NOT RUN`, adds a line to the file named by NOT_RUN_FILE, and
//! passes.
#![forbid(unsafe_code)]

#[path = "../support/mod.rs"]
mod support;

mod acl;
mod address;
mod auth;
mod beyond;
mod epochs;
mod events;
mod failover;
mod half_closed;
mod manual;
mod mixed;
mod names;
mod process;
mod quorum;
mod refusals;
mod repair;
mod scripts;
mod state;
mod tilt;
mod votes;
