//! Commands that a node keeps from sentinels, as an ACL or a renamed command does.
#![forbid(unsafe_code)]

use super::Server;

/// Why a command is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Denial {
    /// The user may not run it.
    NoPermission,
    /// It has another name there.
    Renamed,
}

/// The commands that sentinels send, name and subcommand, and which of them are refused.
pub const DENIABLE: [(&str, &str); 9] = [
    ("ping", ""),
    ("info", ""),
    ("publish", ""),
    ("subscribe", ""),
    ("slaveof", ""),
    ("multi", ""),
    ("exec", ""),
    ("config", "rewrite"),
    ("client", "kill"),
];

/// What is refused, and why.
#[derive(Clone, Default, Debug)]
pub(super) struct Denials(Vec<(&'static str, &'static str, Denial)>);

impl Denials {
    fn get(&self, name: &str, sub: &str) -> Option<Denial> {
        let is = |known: &&(&str, &str, Denial)| (known.0, known.1) == (name, sub);
        self.0.iter().find(is).map(|known| known.2)
    }

    /// The error of a command that has another name here. A real node looks for it before anything
    /// else, so it does not even know that it is EXEC.
    pub(super) fn unknown(&self, name: &str, sub: &str) -> Option<String> {
        let renamed = |sub: &str| self.get(name, sub) == Some(Denial::Renamed);
        match sub {
            "" if renamed("") => {
                Some(format!("ERR unknown command '{name}', with args beginning with: "))
            }
            _ if !sub.is_empty() && renamed(sub) => {
                Some(format!("ERR unknown subcommand '{sub}'. Try {} HELP.", name.to_uppercase()))
            }
            _ => None,
        }
    }

    /// The error of a command that the user may not run.
    pub(super) fn not_permitted(&self, name: &str, sub: &str) -> Option<String> {
        (self.get(name, sub)? == Denial::NoPermission).then(|| {
            let full = if sub.is_empty() { name.to_owned() } else { format!("{name}|{sub}") };
            format!("NOPERM this user has no permissions to run the '{full}' command")
        })
    }
}

impl Server {
    /// Refuses one of [`DENIABLE`] from now on.
    pub fn deny(&mut self, (name, sub): (&'static str, &'static str), denial: Denial) {
        self.permit_again(name, sub);
        self.denials.0.push((name, sub, denial));
    }

    fn permit_again(&mut self, name: &str, sub: &str) {
        self.denials.0.retain(|known| (known.0, known.1) != (name, sub));
    }

    /// Takes all commands again.
    pub fn permit_all(&mut self) {
        self.denials.0.clear();
    }

    /// Whether it refuses a command.
    pub fn denies_any(&self) -> bool {
        !self.denials.0.is_empty()
    }
}
