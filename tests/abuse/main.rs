//! Hostile clients, data nodes and peers against the real process.
//!
//! In every test a well-behaved client asks all the time and a master is watched. Whatever the
//! hostile side does: that client is answered in time, the master is never held down, memory stays
//! bounded, and afterwards descriptors, memory and CPU use are as before (see [`house`]).
#![forbid(unsafe_code)]

#[path = "../support/mod.rs"]
mod support;

mod black_holes;
mod clients;
mod descriptors;
mod fairness;
mod floods;
mod gauge;
mod hoards;
mod house;
mod logs;
mod nodes;
mod peers;
mod raw;
mod witness;
mod zone;
