//! What lines speak of and what they say: the common ground of loading, rendering and rewriting.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use super::values;
use crate::util::words;

/// A line, split and unquoted.
pub type Words = Vec<Vec<u8>>;

/// What stands in one position of a `sentinel` line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Part {
    /// The name of a master.
    Master,
    Number,
    Flag,
    Text,
    /// A text that may hold control characters, and is never shown.
    Secret,
    /// The name of a command, in any case.
    Command,
}

/// One kind of `sentinel` line.
pub(super) struct Form {
    pub name: &'static str,
    /// What follows the name.
    pub parts: &'static [Part],
    /// Positions in `parts` that tell lines of this kind apart; all others are its value.
    pub identity: &'static [usize],
}

use Part::{Command, Flag, Master, Number, Secret, Text};

/// Every `sentinel` line that is understood (spec/config.md), in lower case and newest spelling.
pub(super) const FORMS: &[Form] = &[
    Form { name: "known-replica", parts: &[Master, Text, Number], identity: &[0, 1, 2] },
    Form { name: "known-sentinel", parts: &[Master, Text, Number, Text], identity: &[0, 3] },
    Form { name: "monitor", parts: &[Master, Text, Number, Number], identity: &[0] },
    Form { name: "config-epoch", parts: &[Master, Number], identity: &[0] },
    Form { name: "leader-epoch", parts: &[Master, Number], identity: &[0] },
    Form { name: "down-after-milliseconds", parts: &[Master, Number], identity: &[0] },
    Form { name: "failover-timeout", parts: &[Master, Number], identity: &[0] },
    Form { name: "parallel-syncs", parts: &[Master, Number], identity: &[0] },
    Form { name: "master-reboot-down-after-period", parts: &[Master, Number], identity: &[0] },
    Form { name: "refused-down-after-milliseconds", parts: &[Master, Number], identity: &[0] },
    Form { name: "notification-script", parts: &[Master, Text], identity: &[0] },
    Form { name: "client-reconfig-script", parts: &[Master, Text], identity: &[0] },
    Form { name: "auth-pass", parts: &[Master, Secret], identity: &[0] },
    Form { name: "auth-user", parts: &[Master, Text], identity: &[0] },
    Form { name: "rename-command", parts: &[Master, Command, Text], identity: &[0, 1] },
    Form { name: "myid", parts: &[Text], identity: &[] },
    Form { name: "current-epoch", parts: &[Number], identity: &[] },
    Form { name: "announce-ip", parts: &[Text], identity: &[] },
    Form { name: "announce-port", parts: &[Number], identity: &[] },
    Form { name: "resolve-hostnames", parts: &[Flag], identity: &[] },
    Form { name: "announce-hostnames", parts: &[Flag], identity: &[] },
    Form { name: "deny-scripts-reconfig", parts: &[Flag], identity: &[] },
    Form { name: "sentinel-user", parts: &[Text], identity: &[] },
    Form { name: "sentinel-pass", parts: &[Secret], identity: &[] },
];

/// Other spellings of names in [`FORMS`].
const SPELLINGS: &[(&str, &str)] = &[
    ("known-slave", "known-replica"),
    ("primary-reboot-down-after-period", "master-reboot-down-after-period"),
];

/// The kinds of `sentinel` lines.
pub(super) fn form_names() -> impl Iterator<Item = &'static str> {
    FORMS.iter().map(|form| form.name)
}

impl Form {
    /// The form of a `sentinel` line; `None` if the word is unknown or the count of words wrong.
    pub(super) fn of(words: &[Vec<u8>]) -> Option<&'static Form> {
        if !words.first()?.eq_ignore_ascii_case(b"sentinel") {
            return None;
        }
        let typed = words.get(1)?;
        let is = |name: &str| typed.eq_ignore_ascii_case(name.as_bytes());
        let newest = SPELLINGS.iter().find(|(old, _)| is(old)).map(|(_, new)| *new);
        FORMS
            .iter()
            .find(|form| newest.map_or_else(|| is(form.name), |name| form.name == name))
            .filter(|form| words.len() == form.parts.len() + 2)
    }

    /// Whether a word, as we write it, names a kind of line that belongs to one master.
    pub(super) fn is_of_master(kind: &[u8]) -> bool {
        FORMS.iter().any(|form| form.name.as_bytes() == kind && !form.is_global())
    }

    /// Whether it belongs to no single master.
    pub(super) fn is_global(&self) -> bool {
        self.parts.first() != Some(&Part::Master)
    }

    /// Whether one master may have several lines of this kind.
    pub(super) fn is_list(&self) -> bool {
        self.identity.len() > 1
    }
}

/// What a line speaks of. Rewriting lets only one line of an identity stand; it leaves lines
/// without one (most directives, and what is malformed) as they are.
pub fn identity(words: &[Vec<u8>]) -> Option<Words> {
    if let Some(form) = Form::of(words) {
        let said = canonical(words);
        let keys = form.identity.iter().map(|at| said[at + 2].clone());
        return Some(said[..2].iter().cloned().chain(keys).collect());
    }
    let name = words.first()?.to_ascii_lowercase();
    match name.as_slice() {
        b"loglevel" | b"requirepass" if words.len() == 2 => Some(vec![name]),
        b"user" if words.len() >= 2 => Some(vec![name, words[1].clone()]),
        _ => None,
    }
}

/// Which lines may take each other's place in the file: the known replicas of a master, and the
/// like. `None`: this kind stands alone.
pub(super) fn place(words: &[Vec<u8>]) -> Option<Words> {
    let form = Form::of(words)?;
    let master = words[2].clone();
    form.is_list().then(|| vec![form.name.as_bytes().to_vec(), master])
}

/// The words in one agreed spelling: two lines that mean the same have the same.
pub fn canonical(words: &[Vec<u8>]) -> Words {
    let Some(form) = Form::of(words) else {
        return canonical_directive(words);
    };
    let parts = form.parts.iter().zip(&words[2..]).map(|(part, word)| match part {
        Part::Number => {
            values::lenient_u64(word).map_or_else(|| word.clone(), |n| n.to_string().into_bytes())
        }
        Part::Flag | Part::Command => word.to_ascii_lowercase(),
        Part::Master | Part::Text | Part::Secret => word.clone(),
    });
    [b"sentinel".to_vec(), form.name.as_bytes().to_vec()].into_iter().chain(parts).collect()
}

/// Users keep their rules as typed, but for a word without effect that some versions add.
fn canonical_directive(words: &[Vec<u8>]) -> Words {
    let mut said = words.to_vec();
    if let Some(name) = said.first_mut() {
        name.make_ascii_lowercase();
    }
    match said.first().map(Vec::as_slice) {
        Some(b"user") => said.retain(|word| !word.eq_ignore_ascii_case(b"sanitize-payload")),
        Some(b"loglevel") => said.iter_mut().for_each(|word| word.make_ascii_lowercase()),
        _ => {}
    }
    said
}

/// One line of text, without its end; [`words::split`] gives the words back.
pub fn join(words: &[Vec<u8>]) -> Vec<u8> {
    let mut line = Vec::new();
    for word in words {
        if !line.is_empty() {
            line.push(b' ');
        }
        line.extend(words::quote_if_needed(word));
    }
    line
}

/// A line of an included file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IncludedLine {
    /// As they stand there.
    pub words: Words,
    /// The `include` line of the main file behind which it is read, see
    /// [`include_of`](super::kept::include_of); `None`: one of the command line.
    pub via: Option<Words>,
}

/// Lines of included files about what rewriting keeps up to date. Those files are never written,
/// so what does not hold any more is corrected by comments in the main file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Included {
    /// By identity.
    pub lines: BTreeMap<Words, IncludedLine>,
    /// Those behind which another line about the same thing came, with their identity: they count
    /// again when that one goes.
    pub overridden: Vec<(Words, IncludedLine)>,
}

impl Included {
    /// No line of an included file is about what rewriting keeps up to date.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.overridden.is_empty()
    }
}

/// A comment of the main file that corrects a line of an included file:
/// `# sentineld: included line "…" now reads "…"` or `# sentineld: included line "…" is gone`.
///
/// A comment, since a second line for the same thing is an error everywhere. It holds only as long
/// as that line stands as it did, so an operator who edits the included file is obeyed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Correction {
    pub from: Words,
    /// `None`: the line does not hold any more.
    pub to: Option<Words>,
}

const CORRECTION: &[u8] = b"# sentineld: included line ";

impl Correction {
    /// Reads such a comment; `None` if the line is anything else.
    pub fn parse(line: &[u8]) -> Option<Correction> {
        let mut parts = words::split(line.strip_prefix(CORRECTION)?).ok()?.into_iter();
        let from = words::split(&parts.next()?).ok()?;
        let rest: Words = parts.collect();
        let to = match &rest.iter().map(Vec::as_slice).collect::<Vec<_>>()[..] {
            [b"is", b"gone"] => None,
            [b"now", b"reads", to] => Some(words::split(to).ok()?),
            _ => return None,
        };
        Some(Correction { from, to })
    }

    /// The comment, without an end of line.
    pub fn to_line(&self) -> Vec<u8> {
        let mut line = CORRECTION.to_vec();
        line.extend(words::quote(&join(&self.from)));
        match &self.to {
            None => line.extend_from_slice(b" is gone"),
            Some(to) => {
                line.extend_from_slice(b" now reads ");
                line.extend(words::quote(&join(to)));
            }
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Words {
        words::split(line.as_bytes()).unwrap()
    }

    #[test]
    fn spellings_of_one_thing_are_equal() {
        for (left, right) in [
            ("SENTINEL Known-Slave m 1.2.3.4 6379", "sentinel known-replica m 1.2.3.4 06379"),
            (
                "sentinel primary-reboot-down-after-period m 5",
                "sentinel master-reboot-down-after-period m +5",
            ),
            ("sentinel resolve-hostnames YES", "sentinel resolve-hostnames \"yes\""),
            ("LogLevel Debug", "loglevel debug"),
            ("user bob on sanitize-payload ~*", "user bob on ~*"),
        ] {
            assert_eq!(canonical(&words(left)), canonical(&words(right)));
            assert_eq!(identity(&words(left)), identity(&words(right)));
        }
        assert_ne!(
            canonical(&words("sentinel auth-pass m Yes")),
            canonical(&words("sentinel auth-pass m yes"))
        );
    }

    #[test]
    fn identity_is_what_a_line_speaks_of() {
        let same = |left: &str, right: &str| identity(&words(left)) == identity(&words(right));
        assert!(same("sentinel monitor m a 1 2", "sentinel monitor m b 2 3"));
        assert!(!same("sentinel monitor m a 1 2", "sentinel monitor M a 1 2"));
        assert!(same("sentinel known-sentinel m a 1 id", "sentinel known-sentinel m b 2 id"));
        assert!(!same("sentinel known-replica m a 1", "sentinel known-replica m a 2"));
        assert!(same("sentinel rename-command m CONFIG x", "sentinel rename-command m config y"));
        for alone in ["port 5", "sentinel", "sentinel foo m 1", "sentinel known-sentinel m a 1"] {
            assert_eq!(identity(&words(alone)), None, "{alone}");
        }
    }

    #[test]
    fn corrections_read_what_they_write() {
        let from = words(r#"sentinel auth-pass "a b" "x\"\n""#);
        for to in [None, Some(words(r#"sentinel auth-pass "a b" "#))] {
            let correction = Correction { from: from.clone(), to };
            assert_eq!(Correction::parse(&correction.to_line()), Some(correction));
        }
        assert_eq!(Correction::parse(b"# sentineld: included line \"x\" is here"), None);
        assert_eq!(Correction::parse(b"# any comment"), None);
    }
}
