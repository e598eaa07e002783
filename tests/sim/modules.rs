// The modules of the simulator's command lines, `cli.rs` and `mutants.rs`; `main.rs` has them, too.

mod attack;
mod brain;
mod checks;
mod conns;
mod coverage;
mod cpeer;
mod dns;
mod election_table;
mod elections;
mod faults;
mod gathers;
mod hosts;
mod live;
mod named;
mod net;
#[path = "../support/no_files.rs"]
mod no_files;
mod operate;
mod outcome;
mod plan;
mod property;
mod queue;
mod redis;
mod scripts;
mod settle;
mod sweep;
mod taps;
mod trace;
mod trouble;
mod wire;
mod world;
