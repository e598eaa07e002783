//! The event loop and everything that touches the system.

mod aclfile;
mod args;
mod clock;
mod connect;
mod daemon;
mod disk;
mod dns;
mod event_loop;
#[cfg(test)]
mod event_loop_tests;
mod files;
mod limits;
#[cfg(test)]
mod link_end_tests;
mod listen;
mod log_line;
mod logging;
mod machine;
mod memory;
mod notify;
pub mod pacer;
mod process;
mod reserve;
mod save;
#[cfg(test)]
mod save_tests;
mod signals;
mod sockets;
mod start;
mod syslog;
mod system;
#[cfg(test)]
mod testing;
mod title;
mod traffic;

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;

use args::Command;

/// The name that the program gives itself.
const NAME: &str = "sentineld";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Runs the daemon; gives the exit code.
pub fn run(mut args: Vec<OsString>) -> i32 {
    let program = if args.is_empty() { OsString::from(NAME) } else { args.remove(0) };
    match args::parse(args) {
        Command::Version => {
            // Nobody to tell if standard output is closed.
            let _ = writeln!(std::io::stdout(), "{NAME} v={VERSION} malloc=libc bits=64");
            0
        }
        Command::Help => {
            let _ = write!(std::io::stderr(), "{}", args::usage(&program.to_string_lossy()));
            1
        }
        Command::CheckConfigUsage => {
            let _ = writeln!(std::io::stderr(), "--check-config needs the name of a file");
            1
        }
        Command::CheckConfig { file } => start::check_config(&file),
        Command::Run(args) => start::run(Path::new(&program), args),
    }
}
