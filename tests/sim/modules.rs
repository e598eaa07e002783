// The modules of the simulator's command lines, `cli.rs` and `mutants.rs`; `main.rs` has them, too.

mod attack;
mod brain;
mod checks;
mod conns;
mod coverage;
mod cpeer;
mod draws;
mod dns;
mod election_table;
mod elections;
mod faults;
mod file_checks;
#[path = "../support/file_state.rs"]
mod file_state;
mod gathers;
mod hosts;
mod ledger;
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
mod refusing;
mod scripts;
mod settle;
mod sweep;
mod taps;
mod trace;
mod trouble;
mod wire;
mod world;
