//! Whole groups in one process: real sentinels on the bytes they read and write, model data nodes,
//! a faulty network, faulty disks, virtual time. Everything follows from one seed; see
//! `scenarios`. `SIM_SEED=n` replays one seed with a line per event (give the test's name too),
//! `SIM_TIMES=k` runs k times as many seeds.
#![forbid(unsafe_code)]

mod attack;
mod brain;
mod checks;
mod connects;
mod conns;
mod coverage;
mod cpeer;
mod dns;
#[allow(dead_code, reason = "the whole table is printed by `make sim` alone")]
mod election_table;
mod elections;
mod faults;
mod gathers;
mod hosts;
mod live;
mod mixed;
mod name_worlds;
mod named;
mod net;
#[path = "../support/no_files.rs"]
mod no_files;
mod nodes;
mod operate;
mod operators;
mod outcome;
mod plan;
mod property;
mod queue;
mod recorded;
mod redis;
mod scenarios;
mod scripts;
mod settle;
mod storm;
#[path = "../support/mod.rs"]
mod support;
mod sweep;
mod taps;
mod trace;
mod trouble;
mod wire;
mod world;
