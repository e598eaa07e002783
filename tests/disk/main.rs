//! Saving the configuration while the disk or the process fails, with real processes.
//!
//! Whatever happens in the middle of a save, the file is the old one or the new one whole, votes
//! that were told to others still hold, and the daemon goes on. The disk thread is stopped at its
//! system calls with ptrace; full and read-only file systems are mounted in a name space of the
//! test's own thread, which goes away with it. Where one of both is not permitted, a test says
//! `NOT RUN`.
#![forbid(unsafe_code)]

#[path = "../support/mod.rs"]
mod support;

mod crashes;
mod full;
mod mounts;
mod refused;
mod slow;
mod tracer;
mod voter;
