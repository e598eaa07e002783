//! The comparison of two replies, and the book of what came out of it.

use crate::allowed::ALLOWED;
use crate::leaves::{self, Leaf};
use crate::resp::{Reply, printable};
use crate::rules::{self, Allowed, Check, Seen};
use crate::support::sentinel::Program;
use crate::twins::{Proto, Side};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// What came out for one command in one protocol.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    /// Requests whose replies were equal, masked fields aside.
    pub equal: usize,
    /// Requests with an allowed difference.
    pub allowed: usize,
    /// Requests with any other difference.
    pub different: usize,
}

/// All results.
#[derive(Default)]
pub struct Book {
    /// Full names of all commands that one of the twins has.
    names: BTreeSet<String>,
    /// Those among them that the oracle has.
    pub of_oracle: BTreeSet<String>,
    pub tallies: BTreeMap<(String, Proto), Tally>,
    findings: Vec<String>,
    /// The requests and fields in which each allowed difference occurred.
    used: BTreeSet<(usize, String)>,
}

impl Book {
    /// Takes over the names of the commands of one side from its COMMAND.
    pub fn learn_names(&mut self, table: &Reply, is_oracle: bool) {
        for entry in table.items() {
            self.learn_name(&entry.items()[0], is_oracle);
            for sub in entry.items()[9].items() {
                self.learn_name(&sub.items()[0], is_oracle);
            }
        }
    }

    fn learn_name(&mut self, name: &Reply, is_oracle: bool) {
        self.names.insert(name.text());
        if is_oracle {
            self.of_oracle.insert(name.text());
        }
    }

    /// The full name of the command of a request; `(unknown)` if neither twin has it.
    fn full_name(&self, words: &[Vec<u8>]) -> String {
        let word = |n: usize| words.get(n).map(|w| printable(&w.to_ascii_lowercase()));
        let first = word(0).unwrap_or_default();
        let full = format!("{first}|{}", word(1).unwrap_or_default());
        let is_known =
            |name: &String| self.names.contains(name) || rules::UNLISTED.contains(&name.as_str());
        let special = first.starts_with('(').then(|| first.clone());
        let found = special.or_else(|| [full, first].into_iter().find(is_known));
        found.unwrap_or("(unknown)".into())
    }

    /// Compares the replies to one request and writes down the result.
    pub fn compare(
        &mut self,
        proto: Proto,
        line: &str,
        words: &[Vec<u8>],
        (ours, our_replies): (&Side, &[Reply]),
        (oracle, oracle_replies): (&Side, &[Reply]),
    ) {
        let name = self.full_name(words);
        let shape = rules::shape(&name);
        let ours = leaves::leaves(our_replies, shape, &|text| ours.common(text));
        let oracle = leaves::leaves(oracle_replies, shape, &|text| oracle.common(text));
        if std::env::var_os("ORACLE_SHOW").is_some() {
            println!("{} {line}\n   ours {}\n oracle {}", proto.name(), show(&ours), show(&oracle));
        }
        let differences = differences(&name, &ours, &oracle);
        let mut unwanted = 0;
        let allowed = differences.len();
        for difference in differences {
            let allowed = ALLOWED.iter().position(|a| fits(a, &name, line, &difference));
            match allowed {
                Some(index) => {
                    self.used.insert((index, name.clone()));
                    self.used.insert((index, line.into()));
                    self.used.insert((index, difference.field));
                    self.used.insert((index, difference.path));
                }
                None => {
                    unwanted += 1;
                    self.findings.push(format!("{} {line}: {difference}", proto.name()));
                }
            }
        }
        let tally = self.tallies.entry((name, proto)).or_default();
        match (unwanted, allowed) {
            (0, 0) => tally.equal += 1,
            (0, _) => tally.allowed += 1,
            _ => tally.different += 1,
        }
    }

    /// Adds what another book holds.
    pub fn absorb(&mut self, other: Book) {
        self.names.extend(other.names);
        self.of_oracle.extend(other.of_oracle);
        self.findings.extend(other.findings);
        self.used.extend(other.used);
        for (key, more) in other.tallies {
            let tally = self.tallies.entry(key).or_default();
            tally.equal += more.equal;
            tally.allowed += more.allowed;
            tally.different += more.different;
        }
    }

    /// What is wrong: unwanted differences, commands that no request was for, allowed differences
    /// that did not occur (not asked for when the oracle is compared with itself).
    pub fn complaints(&self) -> String {
        let ours_is_oracle = Program::UnderTest.is_redis();
        let mut text = String::new();
        for finding in &self.findings {
            let _ = writeln!(text, "{finding}");
        }
        for name in &self.of_oracle {
            for proto in [Proto::Resp2, Proto::Resp3] {
                if !self.tallies.contains_key(&(name.clone(), proto)) {
                    let _ = writeln!(text, "{} {name}: the table has no request", proto.name());
                }
            }
        }
        for (index, allowed) in ALLOWED.iter().enumerate() {
            assert!(allowed.reason.len() > 20, "{:?}", allowed.commands);
            let Allowed { commands, requests, fields, .. } = allowed;
            let parts = commands.iter().chain(*requests).chain(*fields);
            let gone = parts.filter(|part| !self.used.contains(&(index, part.to_string())));
            for part in gone.filter(|_| !ours_is_oracle) {
                let reason = allowed.reason;
                let _ = writeln!(
                    text,
                    "allowed difference of {commands:?}: {part:?} occurs no more ({reason})"
                );
            }
        }
        text
    }

    /// Number of requests that were compared.
    pub fn requests(&self) -> usize {
        self.tallies.values().map(|t| t.equal + t.allowed + t.different).sum()
    }

    /// The results as lines: `result`, command, protocol, equal, allowed, different, and `yes` if
    /// the oracle has the command; then `difference`, command, reason.
    pub fn lines(&self) -> String {
        let mut text = String::new();
        for ((name, proto), tally) in &self.tallies {
            let Tally { equal, allowed, different } = tally;
            let known = self.of_oracle.contains(name) || name.starts_with('(');
            let known = if known { "yes" } else { "no" };
            let proto = proto.name();
            let _ = writeln!(text, "result {name} {proto} {equal} {allowed} {different} {known}");
        }
        let pairs: BTreeSet<(&str, &str)> = ALLOWED
            .iter()
            .flat_map(|allowed| allowed.commands.iter().map(|name| (*name, allowed.reason)))
            .collect();
        for (name, reason) in pairs {
            let _ = writeln!(text, "difference {name} {reason}");
        }
        text
    }
}

/// One difference between two replies.
#[derive(Debug)]
pub struct Difference {
    path: String,
    field: String,
    oracle: Option<(&'static str, String)>,
    ours: Option<(&'static str, String)>,
    /// What is wrong with a masked value, on which side.
    mask: Option<String>,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let side = |side: &Option<(&'static str, String)>| match side {
            Some((kind, text)) => format!("{kind} {text:?}"),
            None => "nothing".into(),
        };
        write!(f, "at {:?}: oracle {}, ours {}", self.path, side(&self.oracle), side(&self.ours))?;
        match &self.mask {
            Some(reason) => write!(f, " ({reason})"),
            None => Ok(()),
        }
    }
}

fn differences(command: &str, ours: &[Leaf], oracle: &[Leaf]) -> Vec<Difference> {
    let index = |leaves: &[Leaf]| -> BTreeMap<String, usize> {
        leaves.iter().enumerate().map(|(n, leaf)| (leaf.path.clone(), n)).collect()
    };
    let (our_index, oracle_index) = (index(ours), index(oracle));
    let mut found = Vec::new();
    // What is missing as a whole, or of another type, is one difference.
    let both_have = |leaf: &Leaf| {
        let Some(parent) = &leaf.parent else { return true };
        let kinds = (our_index.get(parent), oracle_index.get(parent));
        matches!(kinds, (Some(a), Some(b)) if ours[*a].kind == oracle[*b].kind)
    };
    for leaf in oracle {
        let other = our_index.get(&leaf.path).map(|n| &ours[*n]);
        if other.is_some() || both_have(leaf) {
            found.extend(difference(command, other, Some(leaf)));
        }
    }
    let only_ours = ours.iter().filter(|leaf| !oracle_index.contains_key(&leaf.path));
    for leaf in only_ours.filter(|leaf| both_have(leaf)) {
        found.extend(difference(command, Some(leaf), None));
    }
    // The common ones must come in the same order.
    let common = ours.iter().filter(|leaf| oracle_index.contains_key(&leaf.path));
    let mut last = 0;
    for leaf in common {
        let at = oracle_index[&leaf.path];
        if at < last {
            let mut moved = difference_of(Some(leaf), Some(leaf));
            moved.mask = Some("not at this place in the order".into());
            found.push(moved);
        }
        last = last.max(at);
    }
    found
}

fn difference_of(ours: Option<&Leaf>, oracle: Option<&Leaf>) -> Difference {
    let any = ours.or(oracle).expect("one of the two is there");
    let side = |leaf: Option<&Leaf>| leaf.map(|leaf| (leaf.kind, leaf.text.clone()));
    let (path, field) = (any.path.clone(), any.field.clone());
    Difference { path, field, oracle: side(oracle), ours: side(ours), mask: None }
}

fn difference(command: &str, ours: Option<&Leaf>, oracle: Option<&Leaf>) -> Option<Difference> {
    let mut difference = difference_of(ours, oracle);
    let (Some(ours), Some(oracle)) = (ours, oracle) else { return Some(difference) };
    if ours.kind == oracle.kind
        && !ours.kind.starts_with("null")
        && let Some(check) =
            rules::mask(command, &ours.field).or_else(|| rules::mask(command, &ours.path))
        && ours.kind != "error"
    {
        let wrong =
            |who: &str, text: &str| (!check.holds(text)).then(|| format!("{who} is not {check:?}"));
        let unequal = matches!(check, Check::Hex) && ours.raw.len() != oracle.raw.len();
        difference.mask = wrong("ours", &ours.raw)
            .or_else(|| wrong("oracle", &oracle.raw))
            .or_else(|| unequal.then(|| "lengths differ".into()));
        return difference.mask.is_some().then_some(difference);
    }
    let is_equal = ours.kind == oracle.kind && ours.text == oracle.text;
    (!is_equal).then_some(difference)
}

/// Whether an allowed difference is this one.
fn fits(allowed: &Allowed, command: &str, line: &str, difference: &Difference) -> bool {
    let side = |wanted: &Seen, side: &Option<(&'static str, String)>| match (wanted, side) {
        (Seen::Nothing, None) => true,
        (Seen::Is(kind, wanted), Some((of, text))) => kind == of && text == wanted,
        (Seen::Like(kind, check), Some((of, text))) => {
            (kind == of || *kind == "aggregate" && matches!(*of, "array" | "map" | "set"))
                && check.holds(text)
        }
        _ => false,
    };
    allowed.commands.contains(&command)
        && (allowed.requests.is_empty() || allowed.requests.contains(&line))
        && (allowed.fields.contains(&difference.field.as_str())
            || allowed.fields.contains(&difference.path.as_str()))
        && difference.mask.is_none()
        && side(&allowed.oracle, &difference.oracle)
        // The oracle is not like ours, but may differ from itself in the same place.
        && (side(&allowed.ours, &difference.ours) || Program::UnderTest.is_redis())
}

fn show(leaves: &[Leaf]) -> String {
    let mut text = String::new();
    for leaf in leaves {
        let _ = write!(text, " | {}={} {:?}", leaf.path, leaf.kind, leaf.text);
    }
    text
}
