//! The event loop and everything that touches the system.

use std::ffi::OsString;

/// Runs the daemon; gives the exit code.
pub fn run(_args: Vec<OsString>) -> i32 {
    todo!()
}
