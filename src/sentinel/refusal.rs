//! What the other side of a link refuses, and why: plain data and pure rules.
//!
//! A link that is connected may still be of no use: the password is wrong, the user lacks a
//! command, a command has another name. Each command whose refusal matters is a state of the link
//! with a reason; it is logged when it begins and when it ends, and kept for operators.
//! [`super::link_health`] decides when.
#![forbid(unsafe_code)]

use crate::util::text::contains;
use crate::util::time::Mono;

/// At most so many bytes of an error are kept.
pub const MAX_ERROR_BYTES: usize = 128;

/// A command whose refusal matters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Command {
    /// The connection itself: protected mode, or no room for another client.
    Connect,
    /// Refused, or wanted and never sent as no password is known.
    Auth,
    Ping,
    Info,
    Publish,
    Subscribe,
    /// IS-MASTER-DOWN-BY-ADDR.
    Ask,
    /// The transaction around SLAVEOF, for what is beside it.
    Transaction,
    Slaveof,
}

impl Command {
    /// As it is named in the log.
    pub fn name(self) -> &'static str {
        match self {
            Command::Connect => "The connection",
            Command::Auth => "AUTH",
            Command::Ping => "PING",
            Command::Info => "INFO",
            Command::Publish => "PUBLISH",
            Command::Subscribe => "SUBSCRIBE",
            Command::Ask => "SENTINEL IS-MASTER-DOWN-BY-ADDR",
            Command::Transaction => "The transaction around SLAVEOF",
            Command::Slaveof => "SLAVEOF",
        }
    }
}

/// Why, by the first word of the error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// `-NOAUTH`: a password is wanted.
    NoAuth,
    /// `-WRONGPASS`, or how older servers say it.
    WrongPassword,
    /// `-NOPERM`: the user lacks the command or the channel.
    NoPermission,
    /// `-LOADING`.
    Loading,
    /// `-BUSY`: a script runs.
    Busy,
    /// The command has another name there, or is not known at all.
    UnknownCommand,
    Other,
}

impl Reason {
    /// The reason that an error gives.
    pub fn of(error: &[u8]) -> Reason {
        let code = error.split(|byte| *byte == b' ').next().unwrap_or_default();
        match code {
            b"NOAUTH" => Reason::NoAuth,
            b"WRONGPASS" => Reason::WrongPassword,
            b"NOPERM" => Reason::NoPermission,
            b"LOADING" => Reason::Loading,
            b"BUSY" => Reason::Busy,
            b"ERR" if error.starts_with(b"ERR invalid password") => Reason::WrongPassword,
            b"ERR" if error.starts_with(b"ERR operation not permitted") => Reason::NoAuth,
            b"ERR" if error.starts_with(b"ERR unknown ") => Reason::UnknownCommand,
            _ => Reason::Other,
        }
    }
}

/// Whether AUTH was refused only because no password is needed there.
pub fn needs_no_password(error: &[u8]) -> bool {
    error.starts_with(b"ERR ")
        && (contains(error, b"without any password configured")
            || contains(error, b"no password is set"))
}

/// Whether an error comes unasked, from a server that closes a new connection behind it.
pub fn turns_away(error: &[u8]) -> bool {
    error.starts_with(b"DENIED ") || error.starts_with(b"ERR max number of clients")
}

/// An error as it is kept and logged: cut, without control characters.
pub fn clean(error: &[u8]) -> Vec<u8> {
    let printable = error.iter().filter(|byte| !byte.is_ascii_control());
    printable.take(MAX_ERROR_BYTES).copied().collect()
}

/// One command that is refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    pub command: Command,
    pub reason: Reason,
    /// The last error, see [`clean`].
    pub error: Vec<u8>,
    /// When it began.
    pub since: Mono,
    /// The server or the password is another one since: the next refusal is news again.
    former: bool,
}

/// All that a link refuses at present, one entry for each command.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Refusals(Vec<Refusal>);

impl Refusals {
    /// A command was refused. True if that is news: it was not before, or for another reason.
    pub fn begin(&mut self, command: Command, error: &[u8], now: Mono) -> bool {
        let (reason, error) = (Reason::of(error), clean(error));
        match self.0.iter_mut().find(|known| known.command == command) {
            None => {
                self.0.push(Refusal { command, reason, error, since: now, former: false });
                true
            }
            Some(known) => {
                let news = known.reason != reason || known.former;
                (known.reason, known.error, known.former) = (reason, error, false);
                news
            }
        }
    }

    /// From here on it is another server, or another password.
    pub fn become_former(&mut self) {
        for refusal in &mut self.0 {
            refusal.former = true;
        }
    }

    /// A command was accepted: gives its refusal, if there was one.
    pub fn end(&mut self, command: Command) -> Option<Refusal> {
        let at = self.0.iter().position(|known| known.command == command)?;
        let ended = self.0.swap_remove(at);
        if self.0.is_empty() {
            self.0 = Vec::new();
        }
        Some(ended)
    }

    pub fn get(&self, command: Command) -> Option<&Refusal> {
        self.0.iter().find(|known| known.command == command)
    }

    /// Whether a command is refused for this reason.
    pub fn is(&self, command: Command, reason: Reason) -> bool {
        self.get(command).is_some_and(|known| known.reason == reason)
    }

    /// Whether a command was refused by the server, or for the password, that was there before.
    pub fn is_former(&self, command: Command) -> bool {
        self.get(command).is_some_and(|known| known.former)
    }

    /// What is refused, the longest standing first.
    pub fn iter(&self) -> impl Iterator<Item = &Refusal> {
        let mut sorted: Vec<&Refusal> = self.0.iter().collect();
        sorted.sort_by_key(|refusal| (refusal.since, refusal.command));
        sorted.into_iter()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_told_by_the_first_words() {
        let table: [(&str, Reason); 16] = [
            ("NOAUTH Authentication required.", Reason::NoAuth),
            ("NOAUTH", Reason::NoAuth),
            ("NOAUTHX", Reason::Other),
            ("ERR operation not permitted", Reason::NoAuth),
            (
                "WRONGPASS invalid username-password pair or user is disabled.",
                Reason::WrongPassword,
            ),
            ("ERR invalid password", Reason::WrongPassword),
            ("NOPERM this user has no permissions to run the 'ping' command", Reason::NoPermission),
            ("NOPERM User x has no permissions to run the 'ping' command", Reason::NoPermission),
            ("LOADING Redis is loading the dataset in memory", Reason::Loading),
            ("BUSY Redis is busy running a script.", Reason::Busy),
            ("ERR unknown command 'PING', with args beginning with: ", Reason::UnknownCommand),
            ("ERR unknown command `PING`, with args beginning with: ", Reason::UnknownCommand),
            ("ERR unknown subcommand 'REWRITE'. Try CONFIG HELP.", Reason::UnknownCommand),
            ("ERR wrong number of arguments for 'auth' command", Reason::Other),
            ("MASTERDOWN Link with MASTER is down", Reason::Other),
            ("", Reason::Other),
        ];
        for (error, reason) in table {
            assert_eq!(Reason::of(error.as_bytes()), reason, "{error}");
        }
    }

    #[test]
    fn a_password_too_much_is_no_refusal() {
        let table = [
            (
                "ERR AUTH <password> called without any password configured for the default user. \
              Are you sure your configuration is correct?",
                true,
            ),
            ("ERR Client sent AUTH, but no password is set", true),
            ("ERR invalid password", false),
            ("WRONGPASS no password is set", false),
            ("", false),
        ];
        for (error, holds) in table {
            assert_eq!(needs_no_password(error.as_bytes()), holds, "{error}");
        }
    }

    #[test]
    fn servers_turn_connections_away() {
        let table = [
            ("DENIED Redis is running in protected mode because protected mode is enabled", true),
            ("ERR max number of clients reached", true),
            ("ERR max number of clients + cluster connections reached", true),
            ("DENIEDX", false),
            ("ERR unknown command", false),
            ("NOAUTH Authentication required.", false),
            ("", false),
        ];
        for (error, holds) in table {
            assert_eq!(turns_away(error.as_bytes()), holds, "{error}");
        }
    }

    #[test]
    fn errors_are_cut_and_have_no_control_characters() {
        assert_eq!(clean(b"ERR a\r\nb\x1b[31m\x7f\xc3\xa4"), b"ERR ab[31m\xc3\xa4");
        assert_eq!(clean(&[b'x'; 1_000]), [b'x'; MAX_ERROR_BYTES]);
        assert_eq!(clean(&[b'\n'; 1_000]), b"");
    }

    #[test]
    fn each_command_begins_and_ends_once() {
        let mut refusals = Refusals::default();
        assert!(refusals.end(Command::Ping).is_none());
        assert!(refusals.begin(Command::Ping, b"NOPERM a", Mono(5)));
        assert!(!refusals.begin(Command::Ping, b"NOPERM b", Mono(6)));
        assert!(refusals.begin(Command::Info, b"NOPERM c", Mono(3)));
        let ping = refusals.get(Command::Ping).unwrap();
        assert_eq!((ping.error.as_slice(), ping.since), (&b"NOPERM b"[..], Mono(5)));
        let order: Vec<Command> = refusals.iter().map(|refusal| refusal.command).collect();
        assert_eq!(order, [Command::Info, Command::Ping]);
        assert!(refusals.begin(Command::Ping, b"ERR unknown command", Mono(7)), "another reason");
        assert!(refusals.is(Command::Ping, Reason::UnknownCommand));
        refusals.become_former();
        assert!(refusals.is_former(Command::Ping) && !refusals.is_former(Command::Auth));
        assert!(refusals.begin(Command::Ping, b"ERR unknown command", Mono(8)), "said anew");
        assert!(!refusals.is_former(Command::Ping));
        assert!(!refusals.begin(Command::Ping, b"ERR unknown command", Mono(9)));
        assert_eq!(refusals.end(Command::Ping).map(|refusal| refusal.since), Some(Mono(5)));
        assert!(refusals.end(Command::Ping).is_none() && refusals.get(Command::Ping).is_none());
        assert!(refusals.end(Command::Info).is_some() && refusals.is_empty());
    }
}
