//! The Markdown file, in sections: a run replaces those that it measured and leaves the others.
#![forbid(unsafe_code)]

use crate::report::{Table, wrap};

const INTRO: &str = "Written by `make bench`: both programs on the same machine in the same run, \
                     in turn. A ratio says how many times better ours is. The numbers are for \
                     comparing the two columns; on another machine, or a busy one, both differ.";

/// A part of the file that is replaced as a whole.
pub struct Section {
    pub name: &'static str,
    /// What its numbers depend on, name and value.
    pub facts: Vec<(String, String)>,
    pub tables: Vec<Table>,
    /// File names of charts beside the file, each with what it shows.
    pub charts: Vec<(String, String)>,
}

impl Section {
    fn markdown(&self) -> String {
        let mut text = String::new();
        for (number, table) in self.tables.iter().enumerate() {
            text.push_str(&table.markdown());
            if number == 0 {
                let charts = self.charts.iter();
                charts.for_each(|(file, what)| text.push_str(&format!("\n![{what}]({file})\n")));
            }
            text.push('\n');
        }
        let facts: Vec<String> =
            self.facts.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        text.push_str(&wrap(&format!("*{}.*", facts.join("; "))));
        text.push('\n');
        text
    }
}

/// The file with these sections in place of those of the same name; `order` has all names.
pub fn assemble(old: &str, sections: &[Section], order: &[&str]) -> String {
    let mut text = format!("# Measured side by side\n\n{}\n", wrap(INTRO));
    for name in order {
        let fresh = sections.iter().find(|section| section.name == *name);
        let body = fresh.map(Section::markdown).or_else(|| kept(old, name));
        if let Some(body) = body {
            let body = body.trim();
            text.push_str(&format!("\n{}\n\n{body}\n\n{}\n", begin(name), end(name)));
        }
    }
    text
}

/// What the old file has in a section.
fn kept(old: &str, name: &str) -> Option<String> {
    let (_, rest) = old.split_once(&begin(name))?;
    rest.split_once(&end(name)).map(|(body, _)| body.to_string())
}

fn begin(name: &str) -> String {
    format!("<!-- {name} -->")
}

fn end(name: &str) -> String {
    format!("<!-- end of {name} -->")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(name: &'static str, title: &str) -> Section {
        let table = Table::new(title, "What it says.", &["a", "b"]);
        Section { name, facts: vec![], tables: vec![table], charts: vec![] }
    }

    #[test]
    fn a_run_replaces_its_own_sections_only() {
        let order = ["one", "two", "three"];
        let old = assemble("", &[section("two", "Second"), section("one", "First")], &order);
        assert!(old.find("First") < old.find("Second"));
        let new = assemble(&old, &[section("two", "Other"), section("three", "Last")], &order);
        for (title, is_there) in [("First", true), ("Second", false), ("Other", true)] {
            assert_eq!(new.contains(&format!("## {title}\n")), is_there, "{title}");
        }
        assert!(new.find("Other") < new.find("Last"));
        assert_eq!(assemble(&new, &[], &order), new);
    }
}
