//! sentineld: a Redis and Valkey Sentinel.
//!
//! The map of the house. Each layer may use only what stands to its right:
//! `main → shell → node → { server → config } → sentinel → resp → util`
//!
//! Comments name sections of the specification that this program is written from: `spec/…` for how
//! Sentinel behaves, `design/…` for where sentineld is meant to be better.
//!
//! - [`util`]: time in ms, seeded dice, glob, words, numbers.
//! - [`resp`]: request parser, reply parser, writers.
//! - [`sentinel`]: the protocol as a state machine; it knows neither sockets nor files nor clocks.
//! - [`config`]: loading the file, and `rewrite(old text, state) → new text`.
//! - [`server`]: clients, rights, Pub/Sub, the command table, one file per command family.
//! - [`node`]: the sans-I/O machine as a whole; inputs in, actions out.
//! - [`shell`]: the event loop and everything that touches the system.
//!
//! What only an instance with many masters does begins at a size that a node is made with
//! ([`sentinel::thresholds`]), never at a constant or a global: the simulator, whose worlds have a
//! handful of links, would otherwise never meet it.

// Releases abort on panic; the simulator, which is to see what breaks, must not.
#[cfg(all(feature = "defects", panic = "abort"))]
compile_error!("the feature `defects` breaks the program on purpose: no release may have it");

pub mod config;
pub mod node;
pub mod resp;
pub mod sentinel;
pub mod server;
pub mod shell;
pub mod util;
