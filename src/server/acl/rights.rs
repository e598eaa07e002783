//! Which commands are allowed: `+c -c +c|sub -c|sub +@cat -@cat`, as rules in their order and as
//! the set that they make.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};

use super::rules::RuleError;
use crate::server::table::{COMMANDS, Categories, Command, Names};
use crate::util::words;

/// What a rule about commands speaks of.
#[derive(Clone, Debug)]
enum What {
    /// With the name as the rule shows it, in lower case.
    Category(Categories, String),
    /// A command with all its subcommands, or one subcommand.
    Command(&'static Command),
    /// A command, only with this first argument.
    FirstArg(&'static Command, Vec<u8>),
}

#[derive(Clone, Debug)]
struct Rule {
    allow: bool,
    what: What,
}

/// The commands that rules allow.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Allowed {
    /// Full names.
    whole: BTreeSet<&'static str>,
    /// Commands that are not in `whole`, with the first arguments that they may have.
    first_args: BTreeMap<&'static str, Vec<Vec<u8>>>,
}

/// The rights of a selector to run commands.
#[derive(Clone, Debug, Default)]
pub struct Rights {
    /// What holds before the rules: everything, or nothing.
    base: bool,
    /// Only those that still make a difference, in the order given.
    rules: Vec<Rule>,
    allowed: Allowed,
}

impl Rights {
    /// `+@all` or `-@all`.
    pub fn set_all(&mut self, allow: bool) {
        *self = Rights { base: allow, rules: Vec::new(), allowed: Allowed::base(allow) };
    }

    /// Whether every command is allowed.
    pub fn is_all(&self) -> bool {
        self.base && self.rules.is_empty()
    }

    /// Applies one rule; `word` is what stands behind its `+` (`allow`) or `-`.
    pub fn apply(&mut self, allow: bool, word: &[u8]) -> Result<(), RuleError> {
        if word.eq_ignore_ascii_case(b"@all") {
            self.set_all(allow);
            return Ok(());
        }
        let rule = Rule { allow, what: parse(allow, word)? };
        let mut wanted = self.allowed.clone();
        wanted.apply(&rule);
        if wanted == self.allowed {
            return Ok(());
        }
        let count = self.rules.len();
        self.rules.retain(|earlier| !rule.what.covers(&earlier.what));
        if self.rules.len() < count {
            self.forget_idle_rules();
        }
        if self.allowed != wanted {
            self.rules.push(rule);
            self.allowed = wanted;
        }
        Ok(())
    }

    /// A rule before them is gone: others may have changed only what it had said.
    fn forget_idle_rules(&mut self) {
        let mut allowed = Allowed::base(self.base);
        self.rules.retain(|rule| {
            let before = allowed.clone();
            allowed.apply(rule);
            allowed != before
        });
        self.allowed = allowed;
    }

    /// Whether a request, its words with the name(s), is allowed.
    pub fn allow(&self, command: &Command, words: &[Vec<u8>]) -> bool {
        if self.allowed.whole.contains(command.full_name) {
            return true;
        }
        let Some(args) = self.allowed.first_args.get(command.full_name) else { return false };
        words.get(1).is_some_and(|arg| args.iter().any(|known| known.eq_ignore_ascii_case(arg)))
    }

    /// The rules as words: `+@all` or `-@all`, then what differs.
    pub fn words(&self) -> Vec<Vec<u8>> {
        let base: &[u8] = if self.base { b"+@all" } else { b"-@all" };
        let mut words = vec![base.to_vec()];
        words.extend(self.rules.iter().map(|rule| {
            let sign: &[u8] = if rule.allow { b"+" } else { b"-" };
            match &rule.what {
                What::Category(_, name) => [sign, b"@", name.as_bytes()].concat(),
                What::Command(command) => [sign, command.full_name.as_bytes()].concat(),
                What::FirstArg(c, arg) => [sign, c.full_name.as_bytes(), b"|", arg].concat(),
            }
        }));
        words
    }

    /// How many rules there are.
    pub fn count(&self) -> usize {
        self.rules.len()
    }
}

/// Every command and subcommand that rules can name.
fn all() -> impl Iterator<Item = &'static Command> {
    let listed = COMMANDS.iter().filter(|command| command.is_listed());
    listed.flat_map(|command| std::iter::once(command).chain(command.subcommands))
}

fn parse(allow: bool, word: &[u8]) -> Result<What, RuleError> {
    if let Some(name) = word.strip_prefix(b"@") {
        let category = Categories::named(name).ok_or(RuleError::UnknownCommand)?;
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        return Ok(What::Category(category, name));
    }
    // Renaming changes what clients say, not what rules say.
    let find = |name: &[u8]| Names::default().find_full(name).filter(|c| c.is_listed());
    if let Some(command) = find(word) {
        return Ok(What::Command(command));
    }
    let bar = word.iter().rposition(|b| *b == b'|').ok_or(RuleError::UnknownCommand)?;
    let (name, arg) = (&word[..bar], &word[bar + 1..]);
    let command = find(name).ok_or(RuleError::UnknownCommand)?;
    if !allow || !command.subcommands.is_empty() {
        return Err(RuleError::UnknownCommand);
    }
    if command.full_name.contains('|') {
        return Err(RuleError::FirstArgOfSubcommand);
    }
    if arg.is_empty() || arg.contains(&b' ') || words::has_control(arg) {
        return Err(RuleError::Syntax);
    }
    Ok(What::FirstArg(command, arg.to_vec()))
}

impl What {
    fn holds(&self, command: &'static Command) -> bool {
        match self {
            What::Category(category, _) => command.categories.has(*category),
            What::Command(named) => {
                let is_sub = |sub: &Command| sub.full_name == command.full_name;
                named.full_name == command.full_name || named.subcommands.iter().any(is_sub)
            }
            What::FirstArg(..) => false,
        }
    }

    /// Whether after a rule about this nothing is left of one about `other` that came before it.
    fn covers(&self, other: &What) -> bool {
        match other {
            What::FirstArg(command, _) => self.holds(command),
            _ => all().filter(|command| other.holds(command)).all(|command| self.holds(command)),
        }
    }
}

impl Allowed {
    fn base(everything: bool) -> Allowed {
        let whole = if everything { all().map(|c| c.full_name).collect() } else { BTreeSet::new() };
        Allowed { whole, first_args: BTreeMap::new() }
    }

    fn apply(&mut self, rule: &Rule) {
        if let What::FirstArg(command, arg) = &rule.what {
            if !self.whole.contains(command.full_name) {
                let known = self.first_args.entry(command.full_name).or_default();
                if !known.iter().any(|one| one.eq_ignore_ascii_case(arg)) {
                    known.push(arg.clone());
                }
            }
            return;
        }
        for command in all().filter(|command| rule.what.holds(command)) {
            self.first_args.remove(command.full_name);
            if rule.allow {
                self.whole.insert(command.full_name);
            } else {
                self.whole.remove(command.full_name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rights(rules: &str) -> Result<Rights, RuleError> {
        let mut rights = Rights::default();
        for rule in rules.split_whitespace() {
            rights.apply(rule.starts_with('+'), &rule.as_bytes()[1..])?;
        }
        Ok(rights)
    }

    fn shown(rules: &str) -> String {
        String::from_utf8(rights(rules).unwrap().words().join(&b' ')).unwrap()
    }

    #[test]
    fn rules_are_shown_without_those_that_make_no_difference() {
        for (rules, wanted) in [
            ("", "-@all"),
            ("+ping", "-@all +ping"),
            ("+sentinel -@dangerous +sentinel", "-@all +sentinel"),
            ("-ping", "-@all"),
            ("+PING +Client|ID -SUBSCRIBE", "-@all +ping +client|id"),
            ("+@all -@admin +acl|whoami", "+@all -@admin"),
            ("+client|id +client", "-@all +client"),
            ("+client -client|id", "-@all +client -client|id"),
            ("+client -client|id +client|id", "-@all +client"),
            ("+client|list +ping +@connection", "-@all +@connection"),
            ("+@connection -@connection", "-@all"),
            ("+@read", "-@all"),
            ("+@all -ping -client|id", "+@all -ping -client|id"),
            ("+@all -ping -client|id +ping", "+@all -client|id"),
            ("+@all -ping +@all", "+@all"),
            ("+@ALL -@All +@Slow", "-@all +@slow"),
            ("+ping|x +ping|Y +ping|X", "-@all +ping|x +ping|Y"),
            ("+ping|x +ping", "-@all +ping"),
            ("+ping|x -@fast", "-@all"),
            ("+ping +ping|x", "-@all +ping"),
            ("+ping|x +ping -ping", "-@all"),
        ] {
            assert_eq!(shown(rules), wanted, "{rules}");
            assert_eq!(shown(wanted), wanted, "what is shown says the same");
        }
    }

    #[test]
    fn what_is_shown_allows_the_same() {
        let rules = "+@all -@dangerous +@connection -client +client|kill -@pubsub +info -@fast";
        let (one, two) = (rights(rules).unwrap(), rights(&shown(rules)).unwrap());
        assert_eq!(one.allowed, two.allowed);
        assert!(!one.is_all() && rights("-ping +@all").unwrap().is_all());
    }

    #[test]
    fn first_arguments_are_compared_without_case() {
        let rights = rights("+ping|Hello").unwrap();
        let ping = Names::default().find_full(b"ping").unwrap();
        let words = |line: &str| line.split(' ').map(|w| w.as_bytes().to_vec()).collect::<Vec<_>>();
        assert!(rights.allow(ping, &words("ping hello")));
        assert!(rights.allow(ping, &words("PING HELLO")));
        assert!(!rights.allow(ping, &words("ping")) && !rights.allow(ping, &words("ping x")));
    }

    #[test]
    fn wrong_rules_are_refused() {
        use RuleError::{FirstArgOfSubcommand, Syntax, UnknownCommand};
        for (rule, error) in [
            ("+get", UnknownCommand),
            ("-foo", UnknownCommand),
            ("+", UnknownCommand),
            ("+@", UnknownCommand),
            ("-@foo", UnknownCommand),
            ("+foo|bar", UnknownCommand),
            ("+client|foo", UnknownCommand),
            ("+|x", UnknownCommand),
            ("-ping|x", UnknownCommand),
            ("+ping|x|y", UnknownCommand),
            ("+quit", UnknownCommand),
            ("+reset", UnknownCommand),
            ("+client|id|x", FirstArgOfSubcommand),
            ("+ping|", Syntax),
            ("+ping|\u{1}", Syntax),
        ] {
            assert_eq!(rights(rule).unwrap_err(), error, "{rule}");
        }
    }
}
