//! A reply taken apart into leaves with paths, so that two replies can be compared leaf by leaf
//! and a finding can name the field.

use crate::resp::{Reply, printable};

/// How a reply is to be read; the rules say which one a command has.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// As it stands, elements by position.
    Plain,
    /// A map, or in RESP2 an array of names and values in turn; the order of the fields counts.
    /// The fields named have these shapes, the others are plain.
    Fields(&'static [(&'static str, Shape)]),
    /// Elements by position, all of this shape.
    List(&'static Shape),
    /// Elements whose order means nothing, told apart by the leaf of them at this path.
    Unordered(&'static str, &'static Shape),
    /// Names and what belongs to them, in any order.
    ByName(&'static Shape),
    /// Elements at positions, each of its own shape; those beyond are plain.
    Tuple(&'static [Shape]),
    /// The text of INFO: sections of lines `name:value`.
    Info,
    /// The text of CLIENT LIST: lines of `name=value`, told apart by their `name`.
    Clients,
    /// HELP: usage lines, which must be equal, each with its explanation.
    Help,
}

/// One comparable piece of a reply.
#[derive(Debug, Clone, PartialEq)]
pub struct Leaf {
    /// Where it stands, with the names of unordered elements in brackets.
    pub path: String,
    /// The same without those names: what masks and allowed differences speak of.
    pub field: String,
    /// The path of what it is part of; `None` for a whole reply.
    pub parent: Option<String>,
    /// RESP type.
    pub kind: &'static str,
    /// What it holds, in common names; empty for aggregates.
    pub text: String,
    /// The same as it came: a number may happen to be that of a port.
    pub raw: String,
}

/// Takes apart all replies to one request. `name` gives the common name of what each twin has its
/// own value for, in a text.
pub fn leaves(replies: &[Reply], shape: Shape, name: &dyn Fn(&str) -> String) -> Vec<Leaf> {
    let mut out = Out { leaves: Vec::new(), name };
    for (n, reply) in replies.iter().enumerate() {
        let step = if n == 0 { String::new() } else { format!("#{n}") };
        let at = At { path: step.clone(), field: step, parent: None };
        out.add(&at, reply, shape);
    }
    number_twins(&mut out.leaves);
    out.leaves
}

/// Makes paths unique.
fn number_twins(leaves: &mut [Leaf]) {
    let mut seen = std::collections::BTreeMap::<String, usize>::new();
    for leaf in leaves {
        let count = seen.entry(leaf.path.clone()).or_default();
        *count += 1;
        if *count > 1 {
            leaf.path = format!("{} ({count})", leaf.path);
        }
    }
}

/// A place in a reply.
#[derive(Debug, Clone, Default)]
struct At {
    path: String,
    field: String,
    parent: Option<String>,
}

fn join(front: &str, back: &str) -> String {
    if front.is_empty() { back.to_string() } else { format!("{front}.{back}") }
}

impl At {
    fn down(&self, step: &str) -> At {
        let (path, field) = (join(&self.path, step), join(&self.field, step));
        At { path, field, parent: Some(self.path.clone()) }
    }

    /// Into an element that is known by a name, which fields do not show.
    fn element(&self, name: &str) -> At {
        let (path, field) = (join(&self.path, &format!("[{name}]")), self.field.clone());
        At { path, field, parent: Some(self.path.clone()) }
    }
}

struct Out<'a> {
    leaves: Vec<Leaf>,
    name: &'a dyn Fn(&str) -> String,
}

impl Out<'_> {
    fn leaf(&mut self, at: &At, kind: &'static str, raw: &str) {
        let text = (self.name)(raw);
        let At { path, field, parent } = at.clone();
        self.leaves.push(Leaf { path, field, parent, kind, text, raw: raw.into() });
    }

    /// The place of an element, with a number if there is one of this name already.
    fn fresh(&self, at: &At, name: &str) -> At {
        let names = (1..).map(|n| if n == 1 { name.into() } else { format!("{name} #{n}") });
        let mut places = names.map(|name: String| at.element(&name));
        let is_free = |place: &At| self.leaves.iter().all(|leaf| leaf.path != place.path);
        places.find(is_free).expect("there are numbers enough")
    }

    fn add(&mut self, at: &At, reply: &Reply, shape: Shape) {
        let is_aggregate =
            matches!(reply, Reply::Map(_)) || !reply.items().is_empty() || is_text(reply, shape);
        // Errors and nulls stand for themselves, whatever the command.
        let shape = if is_aggregate { shape } else { Shape::Plain };
        self.leaf(at, reply.kind(), &if is_aggregate { String::new() } else { reply.text() });
        match shape {
            Shape::Plain => self.plain(at, reply),
            Shape::Fields(shapes) => {
                for (name, value) in pairs(reply) {
                    let inner = shapes.iter().find(|(of, _)| *of == name);
                    let inner = inner.map_or(Shape::Plain, |(_, shape)| *shape);
                    self.add(&at.down(&name), &value, inner);
                }
            }
            Shape::List(inner) => {
                for (n, item) in reply.items().iter().enumerate() {
                    self.add(&at.element(&n.to_string()), item, *inner);
                }
            }
            Shape::ByName(inner) => {
                let name = self.name;
                let mut pairs = pairs(reply);
                pairs.sort_by_cached_key(|(key, _)| name(key));
                for (key, value) in pairs {
                    self.add(&at.element(&name(&key)), &value, *inner);
                }
            }
            Shape::Unordered(key, inner) => self.unordered(at, reply, key, *inner),
            Shape::Tuple(shapes) => {
                for (n, item) in reply.items().iter().enumerate() {
                    let inner = shapes.get(n).copied().unwrap_or(Shape::Plain);
                    self.add(&at.down(&n.to_string()), item, inner);
                }
            }
            Shape::Info => self.info(at, &reply.bytes()),
            Shape::Clients => self.clients(at, &reply.bytes()),
            Shape::Help => self.help(at, reply),
        }
    }

    fn plain(&mut self, at: &At, reply: &Reply) {
        for (n, item) in reply.items().iter().enumerate() {
            self.add(&at.down(&n.to_string()), item, Shape::Plain);
        }
        if let Reply::Map(pairs) = reply {
            for (key, value) in pairs {
                self.add(&at.down(&key.text()), value, Shape::Plain);
            }
        }
    }

    fn unordered(&mut self, at: &At, reply: &Reply, key: &str, inner: Shape) {
        let mut elements: Vec<(String, &Reply)> = reply
            .items()
            .iter()
            .map(|item| {
                let own = leaves(std::slice::from_ref(item), inner, self.name);
                let name = own.into_iter().find(|leaf| leaf.path == key).map(|leaf| leaf.text);
                (name.unwrap_or_default(), item)
            })
            .collect();
        elements.sort_by(|a, b| a.0.cmp(&b.0));
        for (name, item) in elements {
            let place = self.fresh(at, &name);
            self.add(&place, item, inner);
        }
    }

    fn info(&mut self, at: &At, text: &[u8]) {
        let mut section = at.clone();
        let mut masters = Vec::new();
        for line in text.split_inclusive(|b| *b == b'\n') {
            let shown = printable(line);
            let Some(line) = shown.strip_suffix("\\r\\n") else {
                self.leaf(&section, "line", &shown);
                continue;
            };
            if let Some(title) = line.strip_prefix("# ") {
                section = at.down(title);
                self.leaf(&section, "section", title);
            } else if let Some((number, value)) = master_line(line) {
                masters.push((number, value.to_string()));
            } else if let Some((name, value)) = line.split_once(':') {
                self.leaf(&section.down(name), "line", value);
            } else {
                self.leaf(&section, "line", line);
            }
        }
        // They are numbered in their order, which means nothing.
        let numbers: Vec<&str> = masters.iter().map(|(number, _)| number.as_str()).collect();
        self.leaf(&section.down("masters"), "numbers", &numbers.join(" "));
        masters.sort_by(|a, b| a.1.cmp(&b.1));
        for (_, value) in &masters {
            self.leaf(&section.down("masters"), "line", value);
        }
    }

    fn clients(&mut self, at: &At, text: &[u8]) {
        let text = printable(text);
        let mut lines: Vec<&str> = text.split_inclusive("\\n").collect();
        let name_of = |line: &str| {
            let own = line.split(' ').find_map(|word| word.strip_prefix("name="));
            (self.name)(own.unwrap_or_default())
        };
        lines.sort_by_key(|line| name_of(line));
        for line in lines {
            let place = self.fresh(at, &name_of(line));
            let end = if line.ends_with("\\n") { "newline" } else { "none" };
            self.leaf(&place, end, "");
            for word in line.trim_end_matches("\\n").trim_start_matches("txt:").split(' ') {
                let (name, value) = word.split_once('=').unwrap_or((word, ""));
                self.leaf(&place.down(name), "word", value);
            }
        }
    }

    fn help(&mut self, at: &At, reply: &Reply) {
        let mut place = at.clone();
        for item in reply.items() {
            let text = item.text();
            if let Some(words) = text.strip_prefix("    ") {
                let last = self.leaves.last_mut().filter(|leaf| leaf.kind == "explanation");
                match last {
                    Some(leaf) => leaf.raw.push_str(words),
                    None => self.leaf(&place.down("text"), "explanation", words),
                }
            } else {
                place = at.element(&text);
                self.leaf(&place, item.kind(), &text);
            }
        }
    }
}

/// The number and the value of a line of INFO that is of a master.
fn master_line(line: &str) -> Option<(String, &str)> {
    let (number, value) = line.strip_prefix("master")?.split_once(':')?;
    number.bytes().all(|b| b.is_ascii_digit()).then(|| (number.to_string(), value))
}

/// Whether a leaf of RESP is a text with an inner structure.
fn is_text(reply: &Reply, shape: Shape) -> bool {
    matches!(reply, Reply::Bulk(_) | Reply::Verbatim(_))
        && matches!(shape, Shape::Info | Shape::Clients)
}

fn pairs(reply: &Reply) -> Vec<(String, Reply)> {
    match reply {
        Reply::Map(pairs) => pairs.iter().map(|(k, v)| (k.text(), v.clone())).collect(),
        _ => {
            let pair = |p: &[Reply]| (p[0].text(), p.get(1).cloned().unwrap_or(Reply::Closed));
            reply.items().chunks(2).map(pair).collect()
        }
    }
}
