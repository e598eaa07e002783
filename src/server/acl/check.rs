//! Whether a user may run a command with its words (spec/commands.md, ACL).
#![forbid(unsafe_code)]

use super::rules::Selector;
use super::user::User;
use crate::server::table::{Command, Flags};

/// Why a request is refused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Denial {
    Command,
    /// The channel that is this word of the request.
    Channel(usize),
}

/// The first reason why `user` may not run a request, its words with the name(s). It may if the
/// root permissions, or one selector, allow all of it.
pub fn check(user: &User, command: &Command, words: &[Vec<u8>]) -> Result<(), Denial> {
    if user.is_unrestricted || command.flags.has(Flags::NO_AUTH) {
        return Ok(());
    }
    let mut worst = Denial::Command;
    for selector in user.all_selectors() {
        match check_selector(selector, command, words) {
            Ok(()) => return Ok(()),
            // The selector that came furthest tells what is missing.
            Err(denial) => worst = worst.max(denial),
        }
    }
    Err(worst)
}

fn check_selector(selector: &Selector, command: &Command, words: &[Vec<u8>]) -> Result<(), Denial> {
    if !selector.commands.allow(command, words) {
        return Err(Denial::Command);
    }
    let (channels, literal) = match command.full_name {
        "subscribe" => (1..words.len(), false),
        "psubscribe" => (1..words.len(), true),
        "publish" => (1..2, false),
        _ => return Ok(()),
    };
    let is_allowed = |at: &usize| {
        let word = &words[*at];
        if literal { selector.allows_pattern(word) } else { selector.allows_channel(word) }
    };
    match channels.into_iter().find(|at| !is_allowed(at)) {
        Some(at) => Err(Denial::Channel(at)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::acl::rules::merge_selectors;
    use crate::server::table::Names;

    fn outcome(rules: &str, request: &str) -> Result<(), Denial> {
        let words = |line: &str| line.split(' ').map(|w| w.as_bytes().to_vec()).collect::<Vec<_>>();
        let mut user = User::new(b"u", false);
        for rule in merge_selectors(&words(rules)).unwrap() {
            user.apply(&rule).unwrap();
        }
        let request = words(request);
        check(&user, Names::default().find(&request).unwrap(), &request)
    }

    #[test]
    fn what_rules_allow() {
        let (no, channel) = (Err(Denial::Command), |at| Err(Denial::Channel(at)));
        for (rules, request, wanted) in [
            ("on", "ping", no),
            ("on", "auth x", Ok(())),
            ("on", "hello", Ok(())),
            ("on", "quit", Ok(())),
            ("+ping", "PING", Ok(())),
            ("+client|id", "client id", Ok(())),
            ("+client|id", "client list", no),
            ("+client", "client list", Ok(())),
            ("+client -client|list", "client list", no),
            ("+sentinel|masters", "SENTINEL Masters", Ok(())),
            ("+@all", "subscribe x", channel(1)),
            ("+@all &x", "subscribe x y", channel(2)),
            ("+@all &x*", "subscribe x xy", Ok(())),
            ("+@all &x*", "psubscribe xy", channel(1)),
            ("+@all &x*", "psubscribe x*", Ok(())),
            ("+@all allchannels", "psubscribe *", Ok(())),
            ("+@all &x", "publish x y", Ok(())),
            ("+@all &y", "publish x y", channel(1)),
            ("+@all", "unsubscribe x", Ok(())),
            ("&*", "subscribe x", no),
            ("+subscribe (&x)", "subscribe x", channel(1)),
            ("+ping (+subscribe &x)", "subscribe x", Ok(())),
            ("+subscribe &a (+subscribe &b)", "subscribe a b", channel(2)),
            ("+info (+subscribe &a) (+@all &*)", "subscribe a b", Ok(())),
        ] {
            assert_eq!(outcome(rules, request), wanted, "{rules}: {request}");
        }
    }
}
