//! Waiting for conditions.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// Long enough for anything a healthy group does, on a busy machine.
pub const LONG: Duration = Duration::from_secs(60);
/// Long enough for a step that takes no timer of the protocol.
pub const SHORT: Duration = Duration::from_secs(15);
/// Pause between two looks.
const STEP: Duration = Duration::from_millis(20);

/// Looks until `probe` gives `Ok`, whose value is returned. Panics after `timeout` with what was
/// waited for and the last `Err`.
#[track_caller]
pub fn wait<T>(what: &str, timeout: Duration, mut probe: impl FnMut() -> Result<T, String>) -> T {
    let start = Instant::now();
    loop {
        match probe() {
            Ok(value) => return value,
            Err(seen) if start.elapsed() > timeout => {
                panic!("waited {timeout:?} for: {what}; last seen: {seen}")
            }
            Err(_) => std::thread::sleep(STEP),
        }
    }
}

/// Looks for the whole of `span` and panics as soon as `probe` gives an `Err`.
#[track_caller]
pub fn holds(what: &str, span: Duration, mut probe: impl FnMut() -> Result<(), String>) {
    let start = Instant::now();
    while start.elapsed() < span {
        if let Err(seen) = probe() {
            panic!("did not hold: {what}; seen after {:?}: {seen}", start.elapsed());
        }
        std::thread::sleep(STEP);
    }
}

/// `Ok` if both are equal, else an `Err` that shows the one that was seen.
pub fn expect_eq<T: PartialEq + Debug>(seen: T, wanted: T) -> Result<(), String> {
    if seen == wanted { Ok(()) } else { Err(format!("{seen:?}, wanted {wanted:?}")) }
}

/// `Ok` if `holds`, else an `Err` with what was seen.
pub fn expect(holds: bool, seen: impl Debug) -> Result<(), String> {
    if holds { Ok(()) } else { Err(format!("{seen:?}")) }
}
