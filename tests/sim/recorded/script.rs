//! The steps of a recording, and how they are played on a group of data nodes.
//!
//! ```text
//! node r1 of m; replica-priority 10   starts a node, a replica of m, with further config lines
//! conn a m                            a connection named a to node m
//! a: MULTI | SLAVEOF $m | EXEC        requests in one write; $m is the address of m, two words
//! until r1 slave0 state=online        waits for a line of INFO that contains all these words,
//!                                     or such an error instead of INFO
//! level m                             waits until all replicas have just told m that they have all
//! info m                              INFO on a connection that is closed again; right behind
//!                                     `until m` or `level m` the very one that was waited for
//! set m key-load-delay 0              CONFIG SET on such a connection; what the value before it
//!                                     delays goes on at once
//! wait 2                              lets that many seconds pass
//! close a
//! kill m, restart m, empty m, freeze m, thaw m, lose m, refuse-info m
//! ```
//!
//! What came is written as `a +OK`, `a :1`, `a "bulk"`, `a ["x" :1]`, `a closed`; of an INFO text
//! each line that is kept, as `a | role:master`. `empty` removes the data of a dead
//! node, `lose` the directory of a live one; after `refuse-info` the user may not ask INFO.
#![forbid(unsafe_code)]

use super::plain::Plain;
use crate::support::value::Value;

/// Where steps are played.
pub trait Group {
    /// Starts a node and waits until it answers.
    fn node(&mut self, name: &str, of: Option<&str>, lines: &[&str]);
    /// The node's IP and port.
    fn address(&self, node: &str) -> (String, u16);
    fn conn(&mut self, name: &str, node: &str);
    /// Requests in one write.
    fn send(&mut self, conn: &str, requests: &[Vec<String>]);
    fn close(&mut self, conn: &str);
    /// `kill`, `restart`, `empty`, `freeze`, `thaw`, `lose`, `refuse-info`.
    fn fault(&mut self, what: &str, node: &str);
    /// CONFIG SET; what the value before it delays goes on at once.
    fn set(&mut self, node: &str, setting: &str, value: &str);
    /// INFO of a node on a connection of its own; empty if it cannot answer.
    fn info(&mut self, node: &str) -> String;
    fn wait(&mut self, seconds: u64);
    /// A short time passes.
    fn breathe(&mut self);
    /// What came on the connections since the last look (`None`: closed): until that many things
    /// came, or, if it is not known how many will, until it is quiet.
    fn seen(&mut self, wanted: Option<usize>) -> Vec<(String, Option<Value>)>;
}

/// Looks at INFO before `until` gives up; each is followed by a short pause.
const MOST_LOOKS: u32 = 3_000;

pub struct Step {
    /// Where it stands in the file, from 1.
    pub line: usize,
    pub text: String,
    /// What came, a line each.
    pub said: Vec<String>,
}

enum Part {
    /// A comment or an empty line.
    Beside(String),
    Step(Step),
}

pub struct Script(Vec<Part>);

impl Script {
    pub fn parse(text: &str) -> Script {
        let mut parts = Vec::new();
        for (at, line) in text.lines().enumerate() {
            if line.is_empty() || line.starts_with('#') {
                parts.push(Part::Beside(line.to_owned()));
            } else if let Some(said) = line.strip_prefix("    ") {
                match parts.last_mut() {
                    Some(Part::Step(step)) => step.said.push(said.to_owned()),
                    _ => panic!("line {}: what came stands right behind its step", at + 1),
                }
            } else {
                let (line, text) = (at + 1, line.to_owned());
                parts.push(Part::Step(Step { line, text, said: Vec::new() }));
            }
        }
        Script(parts)
    }

    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.0.iter().filter_map(|part| match part {
            Part::Step(step) => Some(step),
            Part::Beside(_) => None,
        })
    }

    /// The file with what came now.
    pub fn with(&self, said: &[Vec<String>]) -> String {
        let mut out = String::new();
        let mut said = said.iter();
        for part in &self.0 {
            match part {
                Part::Beside(line) => out += &format!("{line}\n"),
                Part::Step(step) => {
                    out += &format!("{}\n", step.text);
                    for line in said.next().expect("one list for each step") {
                        out += &format!("    {line}\n");
                    }
                }
            }
        }
        out
    }

    /// Does all steps; what came of each. `known`: the file says how much comes.
    pub fn play(&self, group: &mut dyn Group, known: bool) -> Vec<Vec<String>> {
        let mut play = Play { group, plain: Plain::default(), waited_for: None };
        self.steps().map(|step| play.step(step, known)).collect()
    }
}

struct Play<'a> {
    group: &'a mut dyn Group,
    plain: Plain,
    /// The INFO that ended the last step, if that waited for one. Another look, later, could
    /// already show something else.
    waited_for: Option<(String, String)>,
}

impl Play<'_> {
    fn step(&mut self, step: &Step, known: bool) -> Vec<String> {
        let mut said = Vec::new();
        let waited_for = self.waited_for.take();
        match step.text.split_once(": ") {
            Some((conn, requests)) if !conn.contains(' ') => {
                let requests: Vec<_> =
                    requests.split(" | ").map(|request| self.words(request)).collect();
                self.group.send(conn, &requests);
            }
            _ => self.other_step(step, waited_for, &mut said),
        }
        let things = things(&step.said);
        let looked = usize::from(step.text.starts_with("info "));
        let mut seen = self.group.seen(known.then(|| things - things.min(looked)));
        seen.sort_by(|one, other| one.0.cmp(&other.0));
        for (conn, value) in seen {
            match value {
                Some(value) => self.plain.value(&conn, &value, &mut said),
                None => said.push(format!("{conn} closed")),
            }
        }
        said
    }

    fn other_step(
        &mut self,
        step: &Step,
        waited_for: Option<(String, String)>,
        said: &mut Vec<String>,
    ) {
        let text = &step.text;
        let words: Vec<&str> = text.split(' ').collect();
        match words[..] {
            ["node", ..] => {
                let mut parts = text["node ".len()..].split("; ");
                let head = parts.next().expect("split gives at least one");
                let (name, of) = match head.split_once(" of ") {
                    Some((name, of)) => (name, Some(of)),
                    None => (head, None),
                };
                self.group.node(name, of, &parts.collect::<Vec<_>>());
                let (ip, port) = self.group.address(name);
                self.plain.add_node(name, ip, port);
            }
            ["conn", name, node] => self.group.conn(name, node),
            ["close", conn] => self.group.close(conn),
            ["wait", seconds] => self.group.wait(seconds.parse().expect("seconds")),
            ["set", node, setting, value] => self.group.set(node, setting, value),
            ["info", node] => {
                let waited_for = waited_for.filter(|(of, _)| of == node);
                let text = waited_for.map_or_else(|| self.group.info(node), |(_, text)| text);
                self.plain.value(node, &Value::Bulk(text.into_bytes()), said);
            }
            ["until", node, ref wanted @ ..] => self.until(step, node, |plain, info| {
                let holds = |line: String| wanted.iter().all(|word| line.contains(word));
                match info.starts_with("# ") {
                    true => info.lines().filter_map(|line| plain.info_line(line)).any(holds),
                    false => holds(info.to_owned()),
                }
            }),
            ["level", node] => self.until(step, node, |_, info| is_level(info)),
            [what, node] => self.group.fault(what, node),
            _ => panic!("no such step: {text}"),
        }
    }

    fn until(&mut self, step: &Step, node: &str, holds: impl Fn(&mut Plain, &str) -> bool) {
        let mut info = String::new();
        for _ in 0..MOST_LOOKS {
            info = self.group.info(node);
            if holds(&mut self.plain.clone(), &info) {
                self.waited_for = Some((node.to_owned(), info));
                return;
            }
            self.group.breathe();
        }
        let plain: Vec<String> =
            info.lines().filter_map(|line| self.plain.info_line(line)).collect();
        let seen = if plain.is_empty() { info } else { plain.join("\n    ") };
        panic!("never, line {}: {}; last seen:\n    {seen}", step.line, step.text);
    }

    /// Words of a request; `"` holds words with blanks together.
    fn words(&self, request: &str) -> Vec<String> {
        let mut words = Vec::new();
        for (at, part) in request.split('"').enumerate() {
            if at % 2 == 1 {
                words.push(part.to_owned());
                continue;
            }
            for word in part.split_whitespace() {
                match word.strip_prefix('$') {
                    Some(node) => {
                        let (ip, port) = self.group.address(node);
                        words.extend([ip, port.to_string()]);
                    }
                    None => words.push(word.to_owned()),
                }
            }
        }
        words
    }
}

/// Whether all replicas that the node lists have told that they have all it has, and not long ago.
fn is_level(info: &str) -> bool {
    let mine = info.lines().find_map(|line| line.strip_prefix("master_repl_offset:"));
    let of_replica = |line: &'_ str| line.starts_with("slave") && line.contains(",offset=");
    let told = |line: &str, mine: &str| {
        ["0", "1"].iter().any(|lag| line.ends_with(&format!(",offset={mine},lag={lag}")))
    };
    mine.is_some_and(|mine| info.lines().filter(|l| of_replica(l)).all(|l| told(l, mine)))
}

/// How many replies and messages the lines stand for: an INFO text has many.
fn things(said: &[String]) -> usize {
    let of = |line: &'_ String| {
        line.split_once(" | ").map(|(conn, rest)| (conn.to_owned(), rest == "# Server"))
    };
    let mut before = None;
    let mut count = 0;
    for line in said {
        let conn = match of(line) {
            Some((conn, begins)) => {
                count += usize::from(begins || before.as_ref() != Some(&conn));
                Some(conn)
            }
            None => {
                count += 1;
                None
            }
        };
        before = conn;
    }
    count
}
