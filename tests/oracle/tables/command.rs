//! COMMAND, and the wrong number of words for everything that it lists.

use crate::resp::Reply;
use crate::twins::Twins;

pub fn run(t: &mut Twins) {
    t.run_both(COMMAND);
    let table = t.oracle.ask("COMMAND");
    let lines: Vec<String> = table.items().iter().flat_map(wrong_counts).collect();
    assert!(lines.len() > 60, "{lines:?}");
    t.run_both(&lines.join("\n"));
}

/// Requests with a word too few and a word too many for an entry of COMMAND and its subcommands.
fn wrong_counts(entry: &Reply) -> Vec<String> {
    let items = entry.items();
    let name = items[0].text().to_ascii_uppercase();
    let words: Vec<&str> = name.split('|').collect();
    let Reply::Int(arity) = items[1] else { panic!("the arity of {name} is no number") };
    let wanted = arity.unsigned_abs() as usize;
    let mut counts = vec![wanted - 1];
    if arity > 0 {
        counts.push(wanted + 1);
    }
    let fits = |count: &usize| *count >= words.len();
    let line = |count: usize| words.join(" ") + &" x".repeat(count - words.len());
    let mut lines: Vec<String> = counts.into_iter().filter(fits).map(line).collect();
    lines.extend(items[9].items().iter().flat_map(wrong_counts));
    lines
}

const COMMAND: &str = r#"
COMMAND
COMMAND COUNT
COMMAND COUNT x
COMMAND LIST
COMMAND LIST FILTERBY MODULE foo
COMMAND LIST FILTERBY ACLCAT admin
COMMAND LIST FILTERBY ACLCAT @admin
COMMAND LIST FILTERBY ACLCAT connection
COMMAND LIST FILTERBY ACLCAT pubsub
COMMAND LIST FILTERBY ACLCAT DANGEROUS
COMMAND LIST FILTERBY ACLCAT foo
COMMAND LIST FILTERBY PATTERN *
COMMAND LIST FILTERBY PATTERN sentinel|m*
COMMAND LIST FILTERBY PATTERN P*
COMMAND LIST FILTERBY PATTERN foo
COMMAND LIST FILTERBY FOO x
COMMAND LIST FILTERBY
COMMAND LIST FILTERBY PATTERN
COMMAND LIST FOO
command list filterby pattern ping
COMMAND INFO
COMMAND INFO ping
COMMAND INFO PING
COMMAND INFO sentinel
COMMAND INFO client|id
COMMAND INFO client|foo
COMMAND INFO foo|id
COMMAND INFO foo
COMMAND INFO ping foo role
COMMAND INFO ""
COMMAND DOCS
COMMAND DOCS ping
COMMAND DOCS foo
COMMAND DOCS PING role foo
COMMAND DOCS sentinel|masters
COMMAND DOCS sentinel
COMMAND GETKEYS
COMMAND GETKEYS get
COMMAND GETKEYS get a
COMMAND GETKEYS ping
COMMAND GETKEYS ping a
COMMAND GETKEYS ping a b c
COMMAND GETKEYS publish a b
COMMAND GETKEYS publish a
COMMAND GETKEYS sentinel masters
COMMAND GETKEYS sentinel foo
COMMAND GETKEYSANDFLAGS
COMMAND GETKEYSANDFLAGS get
COMMAND GETKEYSANDFLAGS get a
COMMAND GETKEYSANDFLAGS ping a
COMMAND GETKEYSANDFLAGS publish a b
COMMAND HELP
COMMAND HELP x
"#;
