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
mod draws;
#[allow(dead_code, reason = "the whole table is printed by `make sim` alone")]
mod election_table;
mod elections;
mod extremes;
mod faults;
mod file_checks;
#[path = "../support/file_state.rs"]
mod file_state;
mod gathers;
mod hosts;
mod ledger;
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
mod refused;
mod refusing;
mod scenarios;
mod scripts;
mod settle;
mod stale;
mod storm;
#[path = "../support/mod.rs"]
mod support;
mod sweep;
mod taps;
mod trace;
mod trouble;
mod wire;
mod world;
