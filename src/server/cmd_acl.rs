//! ACL: users and their rights.
#![forbid(unsafe_code)]

use super::auth::DEFAULT_USER;
use super::call::Call;
use super::table::{Categories, Command, Flags, command};
use crate::resp::write;

const QUIET: Flags = Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE);

/// The subcommands, sorted by name.
pub const SUBCOMMANDS: &[Command] = &[
    command!(
        "acl" | "help",
        2,
        Flags::LOADING.and(Flags::STALE),
        Categories::SLOW,
        help,
        "6.0.0",
        "Lists the subcommands."
    ),
    command!(
        "acl" | "whoami",
        2,
        QUIET,
        Categories::SLOW,
        whoami,
        "6.0.0",
        "The user of this connection."
    ),
];

fn help(call: &mut Call<'_, '_>) {
    call.help("ACL", &["WHOAMI", "    Return the user of this connection."]);
}

fn whoami(call: &mut Call<'_, '_>) {
    write::bulk(call.reply().out, DEFAULT_USER);
}
