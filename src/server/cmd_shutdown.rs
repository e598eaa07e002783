//! SHUTDOWN.
#![forbid(unsafe_code)]

use super::call::{Call, text};
use crate::sentinel::action::LogLevel;

/// `SHUTDOWN [NOSAVE|SAVE] [NOW] [FORCE] | ABORT`: leaves at once; nothing is saved either way,
/// since the file is never behind.
pub fn shutdown(call: &mut Call<'_, '_>) {
    let (mut save, mut nosave, mut abort, mut other) = (false, false, false, false);
    for word in &call.args[1..] {
        match word.to_ascii_lowercase().as_slice() {
            b"save" => save = true,
            b"nosave" => nosave = true,
            b"now" | b"force" => other = true,
            b"abort" => abort = true,
            _ => return call.error(text::SYNTAX),
        }
    }
    let only_abort = !(save || nosave || other);
    if (abort && !only_abort) || (save && nosave) {
        return call.error(text::SYNTAX);
    }
    if abort {
        return call.error(b"ERR No shutdown in progress.");
    }
    call.cx.log(LogLevel::Notice, "User requested shutdown...");
    call.cx.exit(0, true);
}
