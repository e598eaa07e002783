//! Selectors: commands, key patterns and channels that go together, and the words that change them
//! (spec/commands.md, ACL, Rules).
#![forbid(unsafe_code)]

use super::in_order::InOrder;
use super::rights::Rights;
use crate::util::{glob, words};

/// Why a rule is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RuleError {
    Syntax,
    UnknownCommand,
    FirstArgOfSubcommand,
    AfterAllKeys,
    AfterAllChannels,
    BadHash,
    NoSuchPassword,
    Unmatched,
    TooMany,
}

impl RuleError {
    /// The reason, as clients and the log get it.
    pub fn text(self) -> &'static str {
        match self {
            RuleError::Syntax => "Syntax error",
            RuleError::UnknownCommand => "Unknown command or category name in ACL",
            RuleError::FirstArgOfSubcommand => {
                "Allowing first-arg of a subcommand is not supported"
            }
            RuleError::AfterAllKeys => {
                "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and \
                 does not have any effect. Try 'resetkeys' to start with an empty list of patterns"
            }
            RuleError::AfterAllChannels => {
                "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid \
                 and does not have any effect. Try 'resetchannels' to start with an empty list of \
                 channels"
            }
            RuleError::BadHash => {
                "The password hash must be exactly 64 characters and contain only lowercase \
                 hexadecimal characters"
            }
            RuleError::NoSuchPassword => {
                "The password you are trying to remove from the user does not exist"
            }
            RuleError::Unmatched => "Unmatched parenthesis in acl selector",
            RuleError::TooMany => "The user has too many rules",
        }
    }
}

/// What a pattern of keys is for. There are no keys here; it is kept for those who read the rules.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct KeyAccess {
    read: bool,
    write: bool,
}

/// What must be allowed together: a command with its channels.
#[derive(Clone, Debug, Default)]
pub struct Selector {
    pub commands: Rights,
    all_keys: bool,
    keys: InOrder<KeyAccess>,
    all_channels: bool,
    channels: InOrder<()>,
}

impl Selector {
    /// Nothing is allowed but, with `all_channels`, every channel (`acl-pubsub-default`).
    pub fn new(all_channels: bool) -> Selector {
        Selector { all_channels, ..Selector::default() }
    }

    /// Reads the words between the parentheses of a selector.
    pub fn parse(inner: &[u8], all_channels: bool) -> Result<Selector, RuleError> {
        let mut selector = Selector::new(all_channels);
        for word in inner.split(|b| *b == b' ').filter(|word| !word.is_empty()) {
            // A parenthesis at a word's edge could not be told from the selector's own when the
            // description is read back.
            if word.starts_with(b"(") || word.ends_with(b")") {
                return Err(RuleError::Syntax);
            }
            selector.apply(word)?;
        }
        Ok(selector)
    }

    /// Applies one rule about commands, keys or channels.
    pub fn apply(&mut self, word: &[u8]) -> Result<(), RuleError> {
        match word.to_ascii_lowercase().as_slice() {
            b"allcommands" => self.commands.set_all(true),
            b"nocommands" => self.commands.set_all(false),
            b"allkeys" => self.set_keys(true),
            b"resetkeys" => self.set_keys(false),
            b"allchannels" => self.set_channels(true),
            b"resetchannels" => self.set_channels(false),
            _ => match word.split_first() {
                Some((b'+', rest)) => self.commands.apply(true, rest)?,
                Some((b'-', rest)) => self.commands.apply(false, rest)?,
                Some((b'~', rest)) => self.add_keys(rest, true, true)?,
                Some((b'%', rest)) => self.add_limited_keys(rest)?,
                Some((b'&', rest)) => self.add_channels(rest)?,
                _ => return Err(RuleError::Syntax),
            },
        }
        Ok(())
    }

    fn set_keys(&mut self, all: bool) {
        self.all_keys = all;
        self.keys.clear();
    }

    fn set_channels(&mut self, all: bool) {
        self.all_channels = all;
        self.channels.clear();
    }

    /// `%R~pattern`, `%W~pattern`, `%RW~pattern`; a `%` with letters alone says nothing.
    fn add_limited_keys(&mut self, word: &[u8]) -> Result<(), RuleError> {
        let (mut read, mut write) = (false, false);
        for (at, byte) in word.iter().enumerate() {
            match byte {
                b'r' | b'R' if !read => read = true,
                b'w' | b'W' if !write => write = true,
                b'~' if read || write => return self.add_keys(&word[at + 1..], read, write),
                _ => return Err(RuleError::Syntax),
            }
        }
        Ok(())
    }

    fn add_keys(&mut self, pattern: &[u8], read: bool, write: bool) -> Result<(), RuleError> {
        let whole = read && write;
        if pattern == b"*" && whole {
            self.set_keys(true);
            return Ok(());
        }
        if self.all_keys {
            return if pattern == b"*" { Ok(()) } else { Err(RuleError::AfterAllKeys) };
        }
        check_pattern(pattern)?;
        match self.keys.get_mut(pattern) {
            Some(known) => {
                known.read |= read;
                known.write |= write;
            }
            None => self.keys.add(pattern.to_vec(), KeyAccess { read, write }),
        }
        Ok(())
    }

    fn add_channels(&mut self, pattern: &[u8]) -> Result<(), RuleError> {
        if pattern == b"*" {
            self.set_channels(true);
            return Ok(());
        }
        if self.all_channels {
            return Err(RuleError::AfterAllChannels);
        }
        check_pattern(pattern)?;
        self.channels.add(pattern.to_vec(), ());
        Ok(())
    }

    /// Whether everything is allowed that there is to allow.
    pub fn is_all(&self) -> bool {
        self.commands.is_all() && self.all_channels
    }

    /// Whether messages of a channel may be sent and heard.
    pub fn allows_channel(&self, channel: &[u8]) -> bool {
        self.all_channels
            || self.channels.contains(channel)
            || self.channels.items().any(|pattern| glob::matches(pattern, channel, false))
    }

    /// Whether a pattern may be listened to: only as it stands in a rule.
    pub fn allows_pattern(&self, pattern: &[u8]) -> bool {
        self.all_channels || self.channels.contains(pattern)
    }

    /// How many things the rules name.
    pub fn count(&self) -> usize {
        self.commands.count() + self.keys.count() + self.channels.count()
    }

    /// The key rules as words.
    pub fn key_words(&self) -> Vec<Vec<u8>> {
        if self.all_keys {
            return vec![b"~*".to_vec()];
        }
        let word = |(pattern, key): (&Vec<u8>, &KeyAccess)| {
            let sign: &[u8] = match (key.read, key.write) {
                (true, false) => b"%R~",
                (false, true) => b"%W~",
                _ => b"~",
            };
            [sign, pattern].concat()
        };
        self.keys.in_order().into_iter().map(word).collect()
    }

    /// The channel rules as words.
    pub fn channel_words(&self) -> Vec<Vec<u8>> {
        if self.all_channels {
            return vec![b"&*".to_vec()];
        }
        let channels = self.channels.in_order().into_iter();
        channels.map(|(pattern, ())| [b"&", &pattern[..]].concat()).collect()
    }

    /// The words that make this selector out of a new one.
    pub fn words(&self) -> Vec<Vec<u8>> {
        let mut words = self.key_words();
        if !self.all_channels {
            words.push(b"resetchannels".to_vec());
        }
        words.extend(self.channel_words());
        words.extend(self.commands.words());
        words
    }
}

/// A pattern must not break the line of the file it is written to.
fn check_pattern(pattern: &[u8]) -> Result<(), RuleError> {
    let unfit = pattern.contains(&b' ') || words::has_control(pattern);
    if unfit { Err(RuleError::Syntax) } else { Ok(()) }
}

/// Puts the words of a selector that was split at its blanks together again. The error is the
/// selector that never ends, as far as it goes.
pub fn merge_selectors(words: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, Vec<u8>> {
    let mut merged: Vec<Vec<u8>> = Vec::new();
    let mut open: Option<&[u8]> = None;
    for word in words {
        match (open, merged.last_mut()) {
            (Some(_), Some(selector)) => {
                selector.push(b' ');
                selector.extend_from_slice(word);
            }
            _ => {
                open = word.starts_with(b"(").then_some(word);
                merged.push(word.clone());
            }
        }
        if word.ends_with(b")") {
            open = None;
        }
    }
    open.map_or(Ok(merged), |start| Err(start.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(rules: &str) -> Result<String, RuleError> {
        let mut selector = Selector::new(false);
        for rule in rules.split(' ').filter(|r| !r.is_empty()) {
            selector.apply(rule.as_bytes())?;
        }
        Ok(String::from_utf8(selector.words().join(&b' ')).unwrap())
    }

    #[test]
    fn rules_and_how_they_are_shown() {
        for (rules, wanted) in [
            ("", "resetchannels -@all"),
            ("~a %R~b %W~c %RW~d %WR~e %r~f", "~a %R~b %W~c ~d ~e %R~f resetchannels -@all"),
            ("~a %R~a %R~b %W~b", "~a ~b resetchannels -@all"),
            ("~", "~ resetchannels -@all"),
            ("%R", "resetchannels -@all"),
            ("~x ~*", "~* resetchannels -@all"),
            ("%RW~* %R~*", "~* resetchannels -@all"),
            ("%R~* ~z", "%R~* ~z resetchannels -@all"),
            ("AllKeys ~*", "~* resetchannels -@all"),
            ("allkeys resetkeys ~z", "~z resetchannels -@all"),
            ("& &x &y &x", "resetchannels & &x &y -@all"),
            ("&x &* allchannels &*", "&* -@all"),
            ("ALLCHANNELS ResetChannels &a", "resetchannels &a -@all"),
            ("AllCommands", "resetchannels +@all"),
            ("allcommands NoCommands +ping", "resetchannels -@all +ping"),
        ] {
            assert_eq!(shown(rules).as_deref(), Ok(wanted), "{rules}");
            assert_eq!(shown(wanted).as_deref(), Ok(wanted));
        }
    }

    #[test]
    fn refusals() {
        for (rules, error) in [
            ("foo", RuleError::Syntax),
            ("%~b", RuleError::Syntax),
            ("%X~b", RuleError::Syntax),
            ("%RR~b", RuleError::Syntax),
            ("~a\u{1}", RuleError::Syntax),
            ("&a\tb", RuleError::Syntax),
            ("~* ~z", RuleError::AfterAllKeys),
            ("allkeys %R~z", RuleError::AfterAllKeys),
            ("&* &z", RuleError::AfterAllChannels),
            ("+foo", RuleError::UnknownCommand),
        ] {
            assert_eq!(shown(rules), Err(error), "{rules}");
        }
        let mut selector = Selector::new(false);
        assert_eq!(selector.apply(b"~a b"), Err(RuleError::Syntax));
        for inner in ["on", ">x", "(+ping)", "~a) +ping", "reset"] {
            let refused = Selector::parse(inner.as_bytes(), false).map(|s| s.words());
            assert_eq!(refused, Err(RuleError::Syntax), "{inner}");
        }
    }

    #[test]
    fn channels_match_and_patterns_are_literal() {
        let selector = Selector::parse(b"&foo* &bar", false).unwrap();
        assert!(selector.allows_channel(b"foo1") && selector.allows_channel(b"bar"));
        assert!(!selector.allows_channel(b"bar1") && !selector.allows_channel(b"Foo"));
        assert!(selector.allows_pattern(b"foo*") && !selector.allows_pattern(b"foo1*"));
        let all = Selector::new(true);
        assert!(all.allows_channel(b"x") && all.allows_pattern(b"*") && !all.is_all());
    }

    #[test]
    fn selectors_split_at_blanks_are_put_together() {
        let words = |line: &str| line.split(',').map(|w| w.as_bytes().to_vec()).collect::<Vec<_>>();
        for (given, wanted) in [
            ("on,(+ping,~x),off", Ok("on,(+ping ~x),off")),
            ("(+ping),()", Ok("(+ping),()")),
            ("+ping)", Ok("+ping)")),
            ("(+ping,~x", Err("(+ping")),
            ("on,(+ping ", Err("(+ping ")),
            ("(+ping) ", Err("(+ping) ")),
        ] {
            let merged = merge_selectors(&words(given));
            assert_eq!(merged, wanted.map(words).map_err(|e| e.as_bytes().to_vec()), "{given}");
        }
    }
}
