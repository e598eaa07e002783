//! A user: how to log in as it, and what it may do.
#![forbid(unsafe_code)]

use sha2::{Digest, Sha256};

use super::in_order::InOrder;
use super::rules::{RuleError, Selector};
use crate::server::auth::same_secret;
use crate::util::words;

/// Length of a password's SHA-256 in hex digits.
const HASH_DIGITS: usize = 64;
/// Most passwords, patterns, commands and selectors of one user together.
const ITEMS_MAX: usize = 4096;

/// One user.
#[derive(Clone, Debug)]
pub struct User {
    pub name: Vec<u8>,
    pub on: bool,
    /// Any password will do.
    pub nopass: bool,
    /// `sanitize-payload` (true) or `skip-sanitize-payload`, once one was said. Kept only.
    sanitize: Option<bool>,
    /// SHA-256 in lower-case hex.
    hashes: InOrder<()>,
    pub root: Selector,
    selectors: Vec<Selector>,
    /// What they name together, each counting for one itself.
    selector_items: usize,
    /// Everything is allowed by `root` alone: no further check is needed.
    pub is_unrestricted: bool,
    /// What `reset` and new selectors begin with (`acl-pubsub-default`).
    channels_default: bool,
}

impl User {
    /// A new user, who may do nothing.
    pub fn new(name: &[u8], channels_default: bool) -> User {
        User {
            name: name.to_vec(),
            on: false,
            nopass: false,
            sanitize: None,
            hashes: InOrder::default(),
            root: Selector::new(channels_default),
            selectors: Vec::new(),
            selector_items: 0,
            is_unrestricted: false,
            channels_default,
        }
    }

    /// The default user as it is when nothing is said of it: everybody, with all rights.
    pub fn open(name: &[u8], channels_default: bool) -> User {
        let mut user = User::new(name, channels_default);
        let rules: [&[u8]; 5] = [b"on", b"nopass", b"allkeys", b"allchannels", b"allcommands"];
        for rule in rules {
            user.apply(rule).expect("these rules are right");
        }
        user
    }

    /// Applies a rule; selectors must be whole (see [`super::rules::merge_selectors`]).
    pub fn apply(&mut self, word: &[u8]) -> Result<(), RuleError> {
        match word.to_ascii_lowercase().as_slice() {
            b"" => {}
            b"on" => self.on = true,
            b"off" => self.on = false,
            b"nopass" => {
                self.nopass = true;
                self.hashes.clear();
            }
            b"resetpass" => {
                self.nopass = false;
                self.hashes.clear();
            }
            b"sanitize-payload" => self.sanitize = Some(true),
            b"skip-sanitize-payload" => self.sanitize = Some(false),
            b"clearselectors" => {
                self.selectors.clear();
                self.selector_items = 0;
            }
            b"reset" => {
                let fresh = User::new(&self.name, self.channels_default);
                *self = User { sanitize: Some(true), ..fresh };
            }
            _ => self.apply_long(word)?,
        }
        self.is_unrestricted = self.root.is_all();
        if self.hashes.count() + self.root.count() + self.selector_items > ITEMS_MAX {
            return Err(RuleError::TooMany);
        }
        Ok(())
    }

    fn apply_long(&mut self, word: &[u8]) -> Result<(), RuleError> {
        let (sign, rest) = (word[0], &word[1..]);
        match sign {
            b'>' => self.add_hash(hash(rest)),
            b'#' => self.add_hash(checked_hash(rest)?),
            b'<' => self.remove_hash(&hash(rest))?,
            b'!' => self.remove_hash(&checked_hash(rest)?)?,
            b'(' => {
                let inner = rest.strip_suffix(b")").ok_or(RuleError::Unmatched)?;
                let selector = Selector::parse(inner, self.channels_default)?;
                self.selector_items += selector.count() + 1;
                self.selectors.push(selector);
            }
            _ => self.root.apply(word)?,
        }
        Ok(())
    }

    fn add_hash(&mut self, hash: Vec<u8>) {
        self.nopass = false;
        self.hashes.add(hash, ());
    }

    fn remove_hash(&mut self, hash: &[u8]) -> Result<(), RuleError> {
        if self.hashes.remove(hash) { Ok(()) } else { Err(RuleError::NoSuchPassword) }
    }

    /// Whether `password` is one with which to log in.
    pub fn accepts(&self, password: &[u8]) -> bool {
        let given = hash(password);
        // All are looked at, so that the time does not tell which one it was.
        let known = self.hashes.items().fold(false, |hit, hash| hit | same_secret(hash, &given));
        self.on && (self.nopass || known)
    }

    /// Whether a subscriber to a channel may stay, whatever commands it may run.
    pub fn may_hear(&self, channel: &[u8]) -> bool {
        self.all_selectors().any(|selector| selector.allows_channel(channel))
    }

    /// Whether a subscriber to a pattern may stay.
    pub fn may_hear_pattern(&self, pattern: &[u8]) -> bool {
        self.all_selectors().any(|selector| selector.allows_pattern(pattern))
    }

    /// The root permissions, then the selectors.
    pub fn all_selectors(&self) -> impl Iterator<Item = &Selector> {
        std::iter::once(&self.root).chain(&self.selectors)
    }

    /// `on` or `off` and what else holds, as ACL GETUSER names it.
    pub fn flags(&self) -> Vec<&'static str> {
        let mut flags = vec![if self.on { "on" } else { "off" }];
        if self.nopass {
            flags.push("nopass");
        }
        match self.sanitize {
            Some(true) => flags.push("sanitize-payload"),
            Some(false) => flags.push("skip-sanitize-payload"),
            None => {}
        }
        flags
    }

    /// SHA-256 of the passwords in hex, in the order given.
    pub fn hashes(&self) -> Vec<Vec<u8>> {
        self.hashes.in_order().into_iter().map(|(hash, ())| hash.clone()).collect()
    }

    /// How many passwords there are.
    pub fn password_count(&self) -> usize {
        self.hashes.count()
    }

    /// The selectors beside the root permissions.
    pub fn selectors(&self) -> &[Selector] {
        &self.selectors
    }

    /// The words of its `user` line: the name first, then rules that make it out of a new user.
    pub fn words(&self) -> Vec<Vec<u8>> {
        let mut all = vec![self.name.clone()];
        all.extend(self.flags().iter().map(|flag| flag.as_bytes().to_vec()));
        all.extend(self.hashes().iter().map(|hash| [b"#", &hash[..]].concat()));
        all.extend(self.root.words());
        for selector in &self.selectors {
            let mut words = selector.words();
            words[0].insert(0, b'(');
            words.last_mut().expect("there is a first word").push(b')');
            all.extend(words);
        }
        all
    }
}

/// Whether a name can stand in a file's line and in that of CLIENT LIST.
pub fn is_valid_name(name: &[u8]) -> bool {
    let has_blank = name.iter().any(|byte| byte.is_ascii_whitespace());
    !name.is_empty() && !has_blank && !words::has_control(name)
}

/// SHA-256 in lower-case hex.
pub fn hash(password: &[u8]) -> Vec<u8> {
    to_hex(&Sha256::digest(password))
}

/// Bytes as lower-case hex digits.
pub fn to_hex(bytes: &[u8]) -> Vec<u8> {
    let digit = |n: u8| b"0123456789abcdef"[usize::from(n)];
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn checked_hash(digits: &[u8]) -> Result<Vec<u8>, RuleError> {
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if digits.len() == HASH_DIGITS && digits.iter().all(is_digit) {
        Ok(digits.to_vec())
    } else {
        Err(RuleError::BadHash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::acl::rules::merge_selectors;

    /// SHA-256 of `x`.
    const X: &str = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";

    fn user(rules: &str) -> Result<User, RuleError> {
        let mut user = User::new(b"u", false);
        let words: Vec<_> = rules.split(' ').map(|w| w.as_bytes().to_vec()).collect();
        for word in merge_selectors(&words).unwrap() {
            user.apply(&word)?;
        }
        Ok(user)
    }

    fn shown(user: &User) -> String {
        String::from_utf8(user.words().join(&b' ')).unwrap()
    }

    #[test]
    fn rules_and_the_line_they_make() {
        for (rules, wanted) in [
            ("", "u off resetchannels -@all"),
            ("ON nopass", "u on nopass resetchannels -@all"),
            ("nopass >x", &format!("u off #{X} resetchannels -@all")),
            (">x >x", &format!("u off #{X} resetchannels -@all")),
            (">x nopass", "u off nopass resetchannels -@all"),
            (">x resetpass", "u off resetchannels -@all"),
            (&format!("#{X} <x"), "u off resetchannels -@all"),
            (&format!(">x !{X}"), "u off resetchannels -@all"),
            ("skip-sanitize-payload", "u off skip-sanitize-payload resetchannels -@all"),
            ("on >x ~a (+ping) Reset", "u off sanitize-payload resetchannels -@all"),
            (
                "%R~k +ping (+info ~a)",
                "u off %R~k resetchannels -@all +ping (~a resetchannels -@all +info)",
            ),
            (
                "() (allcommands allkeys allchannels)",
                "u off resetchannels -@all (resetchannels -@all) (~* &* +@all)",
            ),
            ("(+ping) clearselectors", "u off resetchannels -@all"),
        ] {
            let made = user(rules).unwrap();
            assert_eq!(shown(&made), wanted, "{rules}");
            let again = user(wanted.strip_prefix("u ").unwrap()).unwrap();
            assert_eq!(shown(&again), wanted, "what is shown makes the same user");
        }
    }

    #[test]
    fn refusals() {
        for (rule, error) in [
            ("foo", RuleError::Syntax),
            ("#abc", RuleError::BadHash),
            (&format!("#{}", X.to_uppercase()), RuleError::BadHash),
            ("!", RuleError::BadHash),
            (&format!("!{X}"), RuleError::NoSuchPassword),
            ("<x", RuleError::NoSuchPassword),
            ("(on)", RuleError::Syntax),
            ("(+foo)", RuleError::UnknownCommand),
        ] {
            assert_eq!(user(rule).unwrap_err(), error, "{rule}");
        }
        assert_eq!(User::new(b"u", false).apply(b"(+ping"), Err(RuleError::Unmatched));
        let mut full = User::new(b"u", false);
        let refused = (0..=ITEMS_MAX).map(|n| full.apply(format!("&{n}").as_bytes()));
        assert_eq!(refused.filter(|result| *result == Err(RuleError::TooMany)).count(), 1);
    }

    #[test]
    fn passwords() {
        let user = |rules| user(rules).unwrap();
        assert!(user("on >x >y").accepts(b"x") && user("on >x >y").accepts(b"y"));
        assert!(!user("on >x").accepts(b"X") && !user("on").accepts(b""));
        assert!(!user("off >x").accepts(b"x") && !user("off nopass").accepts(b"x"));
        assert!(user("on nopass").accepts(b"anything") && user("on >").accepts(b""));
    }

    #[test]
    fn only_all_of_everything_needs_no_check() {
        let is_free = |rules| user(rules).unwrap().is_unrestricted;
        assert!(is_free("+@all &*") && User::open(b"default", false).is_unrestricted);
        for less in ["+@all", "&*", "+@all &* -ping", "+@all &* reset", "(+@all &*)"] {
            assert!(!is_free(less), "{less}");
        }
    }

    #[test]
    fn names() {
        assert!(is_valid_name(b"a-\xff") && !is_valid_name(b""));
        assert!(!is_valid_name(b"a b") && !is_valid_name(b"a\0") && !is_valid_name(b"a\n"));
    }
}
