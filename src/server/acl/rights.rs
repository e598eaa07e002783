//! Which commands are allowed: `+c -c +c|sub -c|sub +@cat -@cat`, as rules in their order and as
//! the set that they make.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::LazyLock;

use super::rules::RuleError;
use crate::server::table::{CATEGORY_NAMES, COMMANDS, Categories, Command, Names};
use crate::util::words;

/// Commands and subcommands that rules can name, as bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct CommandSet([u64; 4]);

/// The full names of all commands, sorted; bit n of a set is name n.
static FULL_NAMES: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    let mut names: Vec<_> = all().map(|command| command.full_name).collect();
    names.sort_unstable();
    names
});

/// What each name in a rule stands for.
struct Sets {
    categories: Vec<(&'static str, CommandSet)>,
    commands: BTreeMap<&'static str, CommandSet>,
    everything: CommandSet,
}

static SETS: LazyLock<Sets> = LazyLock::new(|| {
    let in_category = |name: &&'static str| {
        let category = Categories::named(name.as_bytes())?;
        Some((*name, CommandSet::of(|command| command.categories.has(category))))
    };
    let with_subcommands = |command: &'static Command| {
        let is_meant = |other: &Command| {
            let is_sub = |sub: &Command| sub.full_name == other.full_name;
            command.full_name == other.full_name || command.subcommands.iter().any(is_sub)
        };
        (command.full_name, CommandSet::of(is_meant))
    };
    Sets {
        categories: CATEGORY_NAMES.iter().filter_map(in_category).collect(),
        commands: all().map(with_subcommands).collect(),
        everything: CommandSet::of(|_| true),
    }
});

impl CommandSet {
    const NONE: CommandSet = CommandSet([0; 4]);

    /// Those for which `holds` is true.
    fn of(holds: impl Fn(&Command) -> bool) -> CommandSet {
        let mut set = CommandSet::NONE;
        for command in all().filter(|command| holds(command)) {
            if let Some(bit) = bit_of(command.full_name) {
                set.0[bit / 64] |= 1 << (bit % 64);
            }
        }
        set
    }

    fn holds(&self, full_name: &str) -> bool {
        bit_of(full_name).is_some_and(|bit| self.0[bit / 64] & (1 << (bit % 64)) != 0)
    }

    fn with(self, other: CommandSet) -> CommandSet {
        CommandSet(std::array::from_fn(|n| self.0[n] | other.0[n]))
    }

    fn without(self, other: CommandSet) -> CommandSet {
        CommandSet(std::array::from_fn(|n| self.0[n] & !other.0[n]))
    }
}

fn bit_of(full_name: &str) -> Option<usize> {
    FULL_NAMES.binary_search(&full_name).ok()
}

/// What a rule speaks of.
enum What {
    Commands(Wide),
    /// A command, only with this first argument.
    FirstArg(&'static Command, Vec<u8>),
}

/// A rule about whole commands.
#[derive(Clone, Debug)]
struct Wide {
    allow: bool,
    /// Of a category, or the full name of a command.
    name: &'static str,
    is_category: bool,
    /// The category, the command with all its subcommands, or the one subcommand.
    commands: CommandSet,
}

impl Wide {
    fn apply(&self, allowed: CommandSet) -> CommandSet {
        if self.allow { allowed.with(self.commands) } else { allowed.without(self.commands) }
    }
}

/// A first argument that a command may have.
#[derive(Clone, Debug)]
struct FirstArg {
    /// Its place among all rules.
    at: u64,
    /// As it was given.
    arg: Vec<u8>,
}

/// The rights of a selector to run commands. One request may bring thousands of rules, so none of
/// them looks at all that came before: those about whole commands are few, as each takes the place
/// of those whose commands it holds, and first arguments are found by their command.
#[derive(Clone, Debug, Default)]
pub struct Rights {
    /// What holds before the rules: everything, or nothing.
    base: bool,
    /// Only those that still make a difference, in the order given, each with its place among all
    /// rules.
    wide: Vec<(u64, Wide)>,
    /// Commands that are allowed as a whole.
    allowed: CommandSet,
    /// Commands that are not, with their first arguments, which are found in lower case.
    first_args: BTreeMap<&'static str, BTreeMap<Vec<u8>, FirstArg>>,
    first_arg_count: usize,
    next: u64,
}

impl Rights {
    /// `+@all` or `-@all`.
    pub fn set_all(&mut self, allow: bool) {
        *self = Rights { base: allow, allowed: base_set(allow), ..Rights::default() };
    }

    /// Whether every command is allowed.
    pub fn is_all(&self) -> bool {
        self.base && self.count() == 0
    }

    /// Applies one rule; `word` is what stands behind its `+` (`allow`) or `-`.
    pub fn apply(&mut self, allow: bool, word: &[u8]) -> Result<(), RuleError> {
        if word.eq_ignore_ascii_case(b"@all") {
            self.set_all(allow);
            return Ok(());
        }
        match parse(allow, word)? {
            What::Commands(rule) => self.apply_wide(rule),
            What::FirstArg(command, arg) => self.add_first_arg(command, arg),
        }
        Ok(())
    }

    fn add_first_arg(&mut self, command: &'static Command, arg: Vec<u8>) {
        if self.allowed.holds(command.full_name) {
            return;
        }
        let args = self.first_args.entry(command.full_name).or_default();
        if let Entry::Vacant(free) = args.entry(arg.to_ascii_lowercase()) {
            free.insert(FirstArg { at: self.next, arg });
            self.next += 1;
            self.first_arg_count += 1;
        }
    }

    fn apply_wide(&mut self, rule: Wide) {
        let wanted = rule.apply(self.allowed);
        let had_args = self.drop_first_args(rule.commands);
        if wanted == self.allowed && !had_args {
            return;
        }
        let count = self.wide.len();
        // Nothing is left of a rule whose commands are all among those of a later one.
        let none = CommandSet::NONE;
        self.wide.retain(|(_, earlier)| earlier.commands.without(rule.commands) != none);
        if self.wide.len() < count {
            self.forget_idle_rules();
        }
        if self.allowed != wanted {
            self.wide.push((self.next, rule));
            self.next += 1;
            self.allowed = wanted;
        }
    }

    /// First arguments of these commands mean nothing any more; whether there were any.
    fn drop_first_args(&mut self, commands: CommandSet) -> bool {
        let before = self.first_arg_count;
        let dropped = &mut self.first_arg_count;
        self.first_args.retain(|name, args| {
            let drop = commands.holds(name);
            *dropped -= if drop { args.len() } else { 0 };
            !drop
        });
        self.first_arg_count < before
    }

    /// A rule before them is gone: others may have changed only what it had said. First arguments
    /// came after every rule about their command.
    fn forget_idle_rules(&mut self) {
        let mut allowed = base_set(self.base);
        self.wide.retain(|(_, rule)| {
            let after = rule.apply(allowed);
            std::mem::replace(&mut allowed, after) != after
        });
        self.allowed = allowed;
    }

    /// Whether a request, its words with the name(s), is allowed.
    pub fn allow(&self, command: &Command, words: &[Vec<u8>]) -> bool {
        if self.allowed.holds(command.full_name) {
            return true;
        }
        let Some(args) = self.first_args.get(command.full_name) else { return false };
        words.get(1).is_some_and(|arg| args.contains_key(&arg.to_ascii_lowercase()))
    }

    /// The rules as words: `+@all` or `-@all`, then what differs.
    pub fn words(&self) -> Vec<Vec<u8>> {
        let mut rules = Vec::with_capacity(self.count());
        for (at, rule) in &self.wide {
            let sign: &[u8] = if rule.allow { b"+" } else { b"-" };
            let at_sign: &[u8] = if rule.is_category { b"@" } else { b"" };
            rules.push((*at, [sign, at_sign, rule.name.as_bytes()].concat()));
        }
        for (name, args) in &self.first_args {
            let word = |arg: &FirstArg| [b"+", name.as_bytes(), b"|", &arg.arg].concat();
            rules.extend(args.values().map(|arg| (arg.at, word(arg))));
        }
        rules.sort_unstable_by_key(|(at, _)| *at);
        let base: &[u8] = if self.base { b"+@all" } else { b"-@all" };
        let base = std::iter::once(base.to_vec());
        base.chain(rules.into_iter().map(|(_, word)| word)).collect()
    }

    /// How many rules there are.
    pub fn count(&self) -> usize {
        self.wide.len() + self.first_arg_count
    }
}

/// Every command and subcommand that rules can name.
fn all() -> impl Iterator<Item = &'static Command> {
    let listed = COMMANDS.iter().filter(|command| command.is_listed());
    listed.flat_map(|command| std::iter::once(command).chain(command.subcommands))
}

fn parse(allow: bool, word: &[u8]) -> Result<What, RuleError> {
    if let Some(word) = word.strip_prefix(b"@") {
        let is_named = |(name, _): &&(&str, _)| name.as_bytes().eq_ignore_ascii_case(word);
        let known = SETS.categories.iter().find(is_named);
        let &(name, commands) = known.ok_or(RuleError::UnknownCommand)?;
        return Ok(What::Commands(Wide { allow, name, is_category: true, commands }));
    }
    // Renaming changes what clients say, not what rules say.
    let find = |name: &[u8]| Names::default().find_full(name).filter(|c| c.is_listed());
    if let Some(command) = find(word) {
        let name = command.full_name;
        let commands = SETS.commands.get(name).copied().unwrap_or_default();
        return Ok(What::Commands(Wide { allow, name, is_category: false, commands }));
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

/// Every command, or none.
fn base_set(everything: bool) -> CommandSet {
    if everything { SETS.everything } else { CommandSet::NONE }
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
        assert!(FULL_NAMES.len() <= 256, "a bit for each");
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
