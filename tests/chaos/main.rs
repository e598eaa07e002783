//! Real processes on hosts of their own, and everything that may befall them.
//!
//! Hosts are network namespaces on a switch of our own ([`net`], [`switch`]); faults are cuts in
//! one or both directions, flapping, latency, loss, kill -9 and SIGSTOP ([`faults`], [`storm`]).
//! Meanwhile clients write ([`writer`]) and config files are copied and tried out ([`archive`]).
//! After healing the group must come to rest within a bound ([`cluster`]), and all logs and files
//! must keep the rules of [`checks`].
//!
//! [`clocks`] and [`names`] are about clocks that jump and a name server that is silent.
//! [`short`] is part of `make test`. `make chaos` runs [`long`], for MINUTES (10) from SEED.
#![forbid(unsafe_code)]

#[path = "../support/mod.rs"]
mod support;

mod archive;
mod checks;
mod clocks;
mod cluster;
mod faults;
mod frame;
mod long;
mod names;
mod net;
mod short;
mod storm;
mod switch;
mod trial;
mod writer;
