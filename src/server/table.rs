//! The command table: one static entry per command and subcommand, and how names find them
//! (spec/commands.md, first section).
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use super::call::Call;
use super::{
    cmd_acl, cmd_client, cmd_command, cmd_connection, cmd_info, cmd_pubsub, cmd_sentinel,
    cmd_shutdown,
};

/// What runs a command; every check of [`super::dispatch`] has passed.
pub type Handler = fn(&mut Call<'_, '_>);

/// A set of flags of a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flags(u32);

/// The flags that COMMAND shows, in its order; bit n of [`Flags`] is name n.
const SHOWN_FLAGS: [&str; 9] = [
    "admin",
    "pubsub",
    "noscript",
    "loading",
    "stale",
    "fast",
    "no_auth",
    "no_multi",
    "allow_busy",
];

impl Flags {
    pub const NONE: Flags = Flags(0);
    pub const ADMIN: Flags = Flags(1);
    pub const PUBSUB: Flags = Flags(1 << 1);
    pub const NOSCRIPT: Flags = Flags(1 << 2);
    pub const LOADING: Flags = Flags(1 << 3);
    pub const STALE: Flags = Flags(1 << 4);
    pub const FAST: Flags = Flags(1 << 5);
    /// Runs before authentication.
    pub const NO_AUTH: Flags = Flags(1 << 6);
    pub const NO_MULTI: Flags = Flags(1 << 7);
    pub const ALLOW_BUSY: Flags = Flags(1 << 8);
    /// Runs in a RESP2 subscription. Not shown.
    pub const IN_SUBSCRIPTION: Flags = Flags(1 << 16);
    /// May run while a vote asked for earlier on the connection is being saved: what peers send
    /// over their shared links. Not shown.
    pub const BEHIND_VOTE: Flags = Flags(1 << 17);
    /// Held back by CLIENT PAUSE … WRITE. Not shown.
    pub const WRITES: Flags = Flags(1 << 18);
    /// Answered, but no command of the field's sentinels: COMMAND does not list it.
    pub const UNLISTED: Flags = Flags(1 << 19);

    /// Both sets together.
    pub const fn and(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    /// Whether all of `other` are set.
    pub const fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// The names that COMMAND shows.
    pub fn names(self) -> impl Iterator<Item = &'static str> + Clone {
        named_bits(self.0, &SHOWN_FLAGS)
    }
}

/// A set of ACL categories.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Categories(u32);

/// All ACL categories; bit n of [`Categories`] is name n. Most are empty here, but valid.
pub const CATEGORY_NAMES: [&str; 21] = [
    "keyspace",
    "read",
    "write",
    "set",
    "sortedset",
    "list",
    "hash",
    "string",
    "bitmap",
    "hyperloglog",
    "geo",
    "stream",
    "pubsub",
    "admin",
    "fast",
    "slow",
    "blocking",
    "dangerous",
    "connection",
    "transaction",
    "scripting",
];

impl Categories {
    pub const PUBSUB: Categories = Categories(1 << 12);
    pub const ADMIN: Categories = Categories(1 << 13);
    pub const FAST: Categories = Categories(1 << 14);
    pub const SLOW: Categories = Categories(1 << 15);
    pub const DANGEROUS: Categories = Categories(1 << 17);
    pub const CONNECTION: Categories = Categories(1 << 18);

    /// Both sets together.
    pub const fn and(self, other: Categories) -> Categories {
        Categories(self.0 | other.0)
    }

    /// The category of that name, if there is one; case does not matter.
    pub fn named(name: &[u8]) -> Option<Categories> {
        let bit = CATEGORY_NAMES.iter().position(|n| n.as_bytes().eq_ignore_ascii_case(name))?;
        Some(Categories(1 << bit))
    }

    /// Whether all of `other` are in the set.
    pub const fn has(self, other: Categories) -> bool {
        self.0 & other.0 == other.0
    }

    /// The names, without `@`.
    pub fn names(self) -> impl Iterator<Item = &'static str> + Clone {
        named_bits(self.0, &CATEGORY_NAMES)
    }
}

fn named_bits(
    bits: u32,
    names: &'static [&'static str],
) -> impl Iterator<Item = &'static str> + Clone {
    names.iter().enumerate().filter(move |(bit, _)| bits & (1 << bit) != 0).map(|(_, name)| *name)
}

/// One command or subcommand.
#[derive(Debug)]
pub struct Command {
    /// Lower case; of a subcommand its own word alone.
    pub name: &'static str,
    /// `name`, or `container|name`.
    pub full_name: &'static str,
    /// Number of words with the name(s); negative: at least that many.
    pub arity: i32,
    pub flags: Flags,
    pub categories: Categories,
    pub run: Handler,
    /// Sorted by name; not empty: a container.
    pub subcommands: &'static [Command],
    /// The version of the field in which it appeared.
    pub since: &'static str,
    pub summary: &'static str,
    /// Hints for clients, as COMMAND gives them.
    pub tips: &'static [&'static str],
}

impl Command {
    /// Whether `words` words, the name(s) included, are a count that fits.
    pub fn takes(&self, words: usize) -> bool {
        let wanted = self.arity.unsigned_abs() as usize;
        if self.arity < 0 { words >= wanted } else { words == wanted }
    }

    /// The group of COMMAND DOCS.
    pub fn group(&self) -> &'static str {
        match self.full_name.split('|').next() {
            Some("sentinel") => "sentinel",
            Some("auth" | "client" | "hello" | "ping" | "quit" | "reset") => "connection",
            Some("psubscribe" | "publish" | "punsubscribe" | "subscribe" | "unsubscribe") => {
                "pubsub"
            }
            _ => "server",
        }
    }

    /// Whether COMMAND speaks of it.
    pub fn is_listed(&self) -> bool {
        !self.flags.has(Flags::UNLISTED)
    }
}

/// Builds an entry of a table: `command!("ping", -1, flags, categories, run, since, summary)`, and
/// with `"container|name"` in two words for a subcommand.
macro_rules! command {
    ($name:literal, $arity:literal, $flags:expr, $categories:expr, $run:path,
     $since:literal, $summary:literal $(, $field:ident : $value:expr)*) => {
        $crate::server::table::command!(@ $name, $name, $arity, $flags, $categories, $run, $since,
            $summary $(, $field: $value)*)
    };
    ($container:literal | $name:literal, $arity:literal, $flags:expr, $categories:expr, $run:path,
     $since:literal, $summary:literal $(, $field:ident : $value:expr)*) => {
        $crate::server::table::command!(@ $name, concat!($container, "|", $name), $arity, $flags,
            $categories, $run, $since, $summary $(, $field: $value)*)
    };
    (@ $name:expr, $full:expr, $arity:literal, $flags:expr, $categories:expr, $run:path,
     $since:literal, $summary:literal $(, $field:ident : $value:expr)*) => {
        #[allow(clippy::needless_update)]
        $crate::server::table::Command {
            $($field: $value,)*
            name: $name,
            full_name: $full,
            arity: $arity,
            flags: $flags,
            categories: $categories,
            run: $run,
            since: $since,
            summary: $summary,
            ..$crate::server::table::BLANK
        }
    };
}
pub(super) use command;

/// What a table entry is filled up from.
pub(super) const BLANK: Command = Command {
    name: "",
    full_name: "",
    arity: 0,
    flags: Flags::NONE,
    categories: Categories(0),
    run: |_| {},
    subcommands: &[],
    since: "",
    summary: "",
    tips: &[],
};

const QUIET: Flags = Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE);
const LOGIN: Flags = QUIET.and(Flags::FAST).and(Flags::NO_AUTH).and(Flags::ALLOW_BUSY);
const SUBSCRIBING: Flags = QUIET.and(Flags::PUBSUB).and(Flags::IN_SUBSCRIPTION);
const ADMIN_SLOW: Categories = Categories::ADMIN.and(Categories::SLOW).and(Categories::DANGEROUS);
const FAST_CONNECTION: Categories = Categories::FAST.and(Categories::CONNECTION);
const SLOW_CONNECTION: Categories = Categories::SLOW.and(Categories::CONNECTION);
const SLOW_PUBSUB: Categories = Categories::SLOW.and(Categories::PUBSUB);

/// A command that needs a subcommand: its arity lets nothing through to here.
fn container(_: &mut Call<'_, '_>) {}

/// All commands, sorted by name.
pub static COMMANDS: &[Command] = &[
    command!("acl", -2, Flags::NONE, Categories::SLOW, container, "6.0.0",
        "Users and their rights.", subcommands: cmd_acl::SUBCOMMANDS),
    command!(
        "auth",
        -2,
        LOGIN,
        FAST_CONNECTION,
        cmd_connection::auth,
        "1.0.0",
        "Authenticates the connection."
    ),
    command!("client", -2, Flags::NONE, Categories::SLOW, container, "2.4.0",
        "The connections of clients.", subcommands: cmd_client::SUBCOMMANDS),
    command!("command", -1, Flags::LOADING.and(Flags::STALE), SLOW_CONNECTION,
        cmd_command::command, "2.8.13", "Describes all commands.",
        subcommands: cmd_command::SUBCOMMANDS, tips: &["nondeterministic_output_order"]),
    command!(
        "hello",
        -1,
        LOGIN,
        FAST_CONNECTION,
        cmd_connection::hello,
        "6.0.0",
        "Chooses the protocol version, authenticates and names the connection."
    ),
    command!("info", -1, Flags::LOADING.and(Flags::STALE),
        Categories::SLOW.and(Categories::DANGEROUS), cmd_info::info, "1.0.0",
        "Facts and figures about this sentinel.",
        tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"]),
    command!("ping", -1, Flags::FAST.and(Flags::IN_SUBSCRIPTION).and(Flags::BEHIND_VOTE),
        FAST_CONNECTION, cmd_connection::ping, "1.0.0", "Answers, to show that it lives.",
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"]),
    command!(
        "psubscribe",
        -2,
        SUBSCRIBING,
        SLOW_PUBSUB,
        cmd_pubsub::psubscribe,
        "2.0.0",
        "Listens to the channels that match patterns."
    ),
    command!(
        "publish",
        3,
        Flags::PUBSUB
            .and(Flags::LOADING)
            .and(Flags::STALE)
            .and(Flags::FAST)
            .and(Flags::BEHIND_VOTE)
            .and(Flags::WRITES),
        Categories::PUBSUB.and(Categories::FAST),
        cmd_pubsub::publish,
        "2.0.0",
        "Takes the hello of another sentinel."
    ),
    command!(
        "punsubscribe",
        -1,
        SUBSCRIBING,
        SLOW_PUBSUB,
        cmd_pubsub::punsubscribe,
        "2.0.0",
        "Ends listening to patterns."
    ),
    command!(
        "quit",
        -1,
        LOGIN.and(Flags::IN_SUBSCRIPTION).and(Flags::UNLISTED),
        FAST_CONNECTION,
        cmd_connection::quit,
        "1.0.0",
        "Closes the connection."
    ),
    command!(
        "reset",
        1,
        LOGIN.and(Flags::IN_SUBSCRIPTION).and(Flags::UNLISTED),
        FAST_CONNECTION,
        cmd_connection::reset,
        "6.2.0",
        "Makes the connection as it was when new."
    ),
    command!(
        "role",
        1,
        QUIET.and(Flags::FAST),
        Categories::ADMIN.and(Categories::FAST).and(Categories::DANGEROUS),
        cmd_info::role,
        "2.8.12",
        "Says that this is a sentinel, and which masters it watches."
    ),
    command!("sentinel", -2, Flags::ADMIN, ADMIN_SLOW, container, "2.8.4",
        "Masters, their replicas and the other sentinels.",
        subcommands: cmd_sentinel::SUBCOMMANDS),
    command!(
        "shutdown",
        -1,
        QUIET.and(Flags::ADMIN).and(Flags::NO_MULTI).and(Flags::ALLOW_BUSY),
        ADMIN_SLOW,
        cmd_shutdown::shutdown,
        "1.0.0",
        "Ends the process."
    ),
    command!(
        "subscribe",
        -2,
        SUBSCRIBING,
        SLOW_PUBSUB,
        cmd_pubsub::subscribe,
        "2.0.0",
        "Listens to channels."
    ),
    command!(
        "unsubscribe",
        -1,
        SUBSCRIBING,
        SLOW_PUBSUB,
        cmd_pubsub::unsubscribe,
        "2.0.0",
        "Ends listening to channels."
    ),
];

/// Longest name in the tables; longer words are unknown without a search.
const LONGEST_NAME: usize = 32;
/// Longest name of a subcommand with that of its command.
pub const FULL_NAME_MAX_BYTES: usize = 64;

/// Why a request finds no command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotFound {
    Command,
    /// The container exists, its subcommand does not.
    Subcommand(&'static str),
}

/// The names under which commands are known: the table, changed by `rename-command`.
#[derive(Debug, Default)]
pub struct Names {
    /// New name in lower case to command.
    renamed: BTreeMap<Vec<u8>, &'static Command>,
    /// Commands whose own name is no longer known.
    gone: Vec<&'static str>,
}

impl Names {
    /// The table under the `rename-command` lines of the configuration: lower-case name, new name
    /// (empty: removed).
    pub fn new(renames: &[(Vec<u8>, Vec<u8>)]) -> Names {
        let mut names = Names::default();
        for (old, new) in renames {
            let Some(command) = names.top(&old.to_ascii_lowercase()) else { continue };
            let old_key = old.to_ascii_lowercase();
            names.renamed.remove(&old_key);
            names.gone.push(command.name);
            if !new.is_empty() {
                names.renamed.insert(new.to_ascii_lowercase(), command);
            }
        }
        names
    }

    /// The command of a request (at least one word); case does not matter.
    pub fn find(&self, words: &[Vec<u8>]) -> Result<&'static Command, NotFound> {
        let top = self.top(&words[0]).ok_or(NotFound::Command)?;
        if top.subcommands.is_empty() || words.len() < 2 {
            return Ok(top);
        }
        search(top.subcommands, &words[1]).ok_or(NotFound::Subcommand(top.name))
    }

    /// Whether a request is for the same command as the one before it; only ever true where
    /// [`Names::find`] gives that command too.
    pub fn is_again(&self, command: &Command, words: &[Vec<u8>]) -> bool {
        let is = |at: usize, name: &str| {
            words.get(at).is_some_and(|word| word.eq_ignore_ascii_case(name.as_bytes()))
        };
        let (name, full_name) = (command.name, command.full_name);
        let same = match full_name.len() - name.len() {
            0 => command.subcommands.is_empty() && is(0, name),
            // The container and a bar stand before the name.
            before => is(1, name) && is(0, &full_name[..before - 1]),
        };
        self.gone.is_empty() && same
    }

    /// The command of a name like `ping` or `client|id`.
    pub fn find_full(&self, full_name: &[u8]) -> Option<&'static Command> {
        match full_name.iter().position(|b| *b == b'|') {
            None => self.top(full_name),
            Some(bar) => search(self.top(&full_name[..bar])?.subcommands, &full_name[bar + 1..]),
        }
    }

    /// Every command that COMMAND lists.
    pub fn listed(&self) -> impl Iterator<Item = &'static Command> + Clone {
        let known = |c: &&'static Command| {
            !self.gone.contains(&c.name) || self.renamed.values().any(|r| r.name == c.name)
        };
        COMMANDS.iter().filter(|c| c.is_listed()).filter(known)
    }

    fn top(&self, name: &[u8]) -> Option<&'static Command> {
        if !self.gone.is_empty() {
            if let Some(command) = self.renamed.get(&name.to_ascii_lowercase()) {
                return Some(command);
            }
            if self.gone.iter().any(|gone| gone.as_bytes().eq_ignore_ascii_case(name)) {
                return None;
            }
        }
        search(COMMANDS, name)
    }
}

/// Finds a name in a sorted table; works on the stack.
fn search(table: &'static [Command], name: &[u8]) -> Option<&'static Command> {
    let mut folded = [0; LONGEST_NAME];
    let folded = folded.get_mut(..name.len())?;
    folded.copy_from_slice(name);
    folded.make_ascii_lowercase();
    let found = table.binary_search_by(|c| c.name.as_bytes().cmp(folded)).ok()?;
    Some(&table[found])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<Vec<u8>> {
        line.split(' ').map(|w| w.as_bytes().to_vec()).collect()
    }

    fn all() -> impl Iterator<Item = &'static Command> {
        COMMANDS.iter().flat_map(|c| std::iter::once(c).chain(c.subcommands))
    }

    #[test]
    fn tables_are_sorted_and_names_fit() {
        for table in std::iter::once(COMMANDS).chain(COMMANDS.iter().map(|c| c.subcommands)) {
            assert!(table.windows(2).all(|w| w[0].name < w[1].name));
        }
        for command in all() {
            assert!(command.name.len() <= LONGEST_NAME);
            assert!(command.full_name.len() <= FULL_NAME_MAX_BYTES);
            assert!(command.full_name.ends_with(command.name));
            assert_eq!(command.name, command.name.to_ascii_lowercase());
            assert_ne!(command.arity, 0, "{}", command.full_name);
            assert!(!command.summary.is_empty(), "{}", command.full_name);
        }
        for container in COMMANDS.iter().filter(|c| !c.subcommands.is_empty()) {
            for sub in container.subcommands {
                assert_eq!(sub.full_name, format!("{}|{}", container.name, sub.name));
            }
        }
    }

    #[test]
    fn every_command_is_either_fast_or_slow() {
        for command in all() {
            let fast = command.categories.has(Categories::FAST);
            assert_ne!(fast, command.categories.has(Categories::SLOW), "{}", command.full_name);
        }
    }

    #[test]
    fn names_are_found_without_regard_to_case() {
        let names = Names::default();
        let cases = [
            ("ping", Ok("ping")),
            ("PiNg x", Ok("ping")),
            ("client", Ok("client")),
            ("CLIENT List", Ok("client|list")),
            ("command", Ok("command")),
            ("client foo", Err(NotFound::Subcommand("client"))),
            ("get a", Err(NotFound::Command)),
            ("sentinel get-master-addr-by-name x", Ok("sentinel|get-master-addr-by-name")),
            ("a-name-that-is-longer-than-any-command-of-ours", Err(NotFound::Command)),
        ];
        for (line, wanted) in cases {
            let found = names.find(&words(line)).map(|c| c.full_name);
            assert_eq!(found, wanted, "{line}");
            for last in all() {
                let again = names.is_again(last, &words(line));
                assert!(!again || found == Ok(last.full_name), "{line} {}", last.full_name);
                let plain = last.subcommands.is_empty();
                assert!(again || !plain || found != Ok(last.full_name), "{line}");
            }
        }
        assert!(names.find(&[Vec::new()]).is_err());
    }

    #[test]
    fn renamed_commands_change_their_names_only() {
        let renames = [(b"role".to_vec(), b"Wer".to_vec()), (b"shutdown".to_vec(), Vec::new())];
        let names = Names::new(&renames);
        assert_eq!(names.find(&words("wER")).map(|c| c.name), Ok("role"));
        assert_eq!(names.find(&words("role")).map(|c| c.name), Err(NotFound::Command));
        assert_eq!(names.find(&words("shutdown")).map(|c| c.name), Err(NotFound::Command));
        assert_eq!(names.find(&words("ping")).map(|c| c.name), Ok("ping"));
        assert_eq!(names.listed().count(), Names::default().listed().count() - 1);
    }

    #[test]
    fn exactly_the_commands_of_the_field_are_listed() {
        let listed: Vec<_> = Names::default().listed().map(|c| (c.name, c.arity)).collect();
        let wanted = [
            ("acl", -2),
            ("auth", -2),
            ("client", -2),
            ("command", -1),
            ("hello", -1),
            ("info", -1),
            ("ping", -1),
            ("psubscribe", -2),
            ("publish", 3),
            ("punsubscribe", -1),
            ("role", 1),
            ("sentinel", -2),
            ("shutdown", -1),
            ("subscribe", -2),
            ("unsubscribe", -1),
        ];
        assert_eq!(listed, wanted);
    }
}
