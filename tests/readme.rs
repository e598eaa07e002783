//! What README.md promises and names is there: targets of make, files, directives, commands,
//! events, limits. How the program behaves is tested elsewhere.
#![forbid(unsafe_code)]

#[path = "support/no_files.rs"]
mod no_files;

use no_files::NoFiles;
use sentineld::config::load::load;
use sentineld::config::options::option_lines;
use sentineld::sentinel::action::LogLevel;
use sentineld::sentinel::{event, hello, info};
use sentineld::server::pubsub;
use sentineld::server::table::{COMMANDS, Command};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The text of all files below a directory whose names end so.
fn read_all(dir: &str, suffix: &str) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(path(dir)).unwrap().map(Result::unwrap) {
        let name = format!("{dir}/{}", entry.file_name().to_string_lossy());
        if entry.file_type().unwrap().is_dir() {
            text += &read_all(&name, suffix);
        } else if name.ends_with(suffix) {
            text += &read(&name);
        }
    }
    text
}

/// What stands between backquotes, outside of indented blocks.
fn spans(text: &str) -> Vec<String> {
    let prose = text.lines().filter(|line| !line.starts_with("    ") || line.contains('`'));
    let spans = prose.flat_map(|line| line.split('`').skip(1).step_by(2));
    let spans: Vec<String> = spans.filter(|span| !span.is_empty()).map(str::to_owned).collect();
    assert!(spans.len() > 100, "README is read wrongly: {spans:?}");
    spans
}

/// The lines of the indented block that holds this text, without their indentation.
fn block_with(text: &str, part: &str) -> Vec<String> {
    let is_of = |line: &&str| line.is_empty() || line.starts_with("    ");
    let at = text.find(part).unwrap_or_else(|| panic!("{part:?} is missing"));
    let before: Vec<&str> = text[..at].lines().rev().skip(1).take_while(is_of).collect();
    let line_start = text[..at].rfind('\n').unwrap_or(0);
    let behind = text[line_start..].lines().skip(1).take_while(is_of);
    let lines = before.into_iter().rev().chain(behind).map(|line| line.trim().to_owned());
    lines.filter(|line| !line.is_empty()).collect()
}

#[test]
fn targets_of_make_and_their_variables_are_there() {
    let (readme, makefile) = (read("README.md"), read("Makefile"));
    let mut seen = 0;
    for span in spans(&readme) {
        let Some(words) = span.strip_prefix("make ") else { continue };
        let mut words = words.split(' ');
        let target = words.next().unwrap();
        let part = makefile.split("\n\n").find(|part| part.starts_with(&format!("{target}: ## ")));
        let part = part.unwrap_or_else(|| panic!("`{span}`: no target {target}"));
        for variable in words.filter_map(|word| word.split('=').next()) {
            assert!(part.contains(&format!("$({variable})")), "`{span}`: no variable {variable}");
        }
        seen += 1;
    }
    assert!(seen > 10, "{seen}");
}

#[test]
fn variables_of_the_installation_have_their_defaults() {
    let (readme, makefile) = (read("README.md"), read("Makefile"));
    let table = readme.split("| Variable | Default |").nth(1).expect("the table");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let rows: Vec<Vec<&str>> = rows.map(|row| row.split('|').map(str::trim).collect()).collect();
    assert!(rows.len() >= 4, "{rows:?}");
    for row in rows {
        let (name, default) = (row[1].trim_matches('`'), row[2].trim_matches('`'));
        let line = makefile.lines().find_map(|line| line.strip_prefix(&format!("{name} ?=")));
        let value = line.unwrap_or_else(|| panic!("no variable {name}")).trim();
        match default {
            "empty" => assert_eq!(value, "", "{name}"),
            _ => assert!(value.contains(default), "{name} is {value}, not {default}"),
        }
    }
}

#[test]
fn files_and_links_are_there() {
    let readme = read("README.md");
    let links = readme.split("](").skip(1).map(|rest| rest.split(')').next().unwrap().to_owned());
    let is_file = |span: &String| {
        ["tests/", "src/", "docs/", "conf/", "utils/", ".ci/"]
            .iter()
            .any(|dir| span.starts_with(dir))
    };
    let named: Vec<String> = links.chain(spans(&readme).into_iter().filter(is_file)).collect();
    assert!(named.len() > 15, "{named:?}");
    for name in named {
        assert!(path(&name).exists(), "{name} is named and missing");
    }
    // `ONLY=` of two targets.
    assert!(path("tests/fuzz/corpus/config").is_dir() && readme.contains("`ONLY=config`"));
    let bench = read("utils/bench/main.rs");
    assert!(bench.contains("(\"farm\", ") && readme.contains("`ONLY=farm MASTERS=1000`"));
}

/// A file with the lines of the quick start is good, and they stand in the one that is installed.
#[test]
fn the_quick_start_has_a_good_configuration() {
    let lines = block_with(&read("README.md"), "sentinel monitor mymaster 192.0.2.10 6379 2");
    assert_eq!(lines.len(), 5, "{lines:?}");
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("readme.conf");
    fs::write(&file, lines.join("\n")).unwrap();
    let program = env!("CARGO_BIN_EXE_sentineld");
    let output = std::process::Command::new(program).arg("--check-config").arg(&file).output();
    let output = output.unwrap();
    fs::remove_file(&file).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let shipped = read("conf/sentinel.conf");
    for line in lines {
        // The directive with the master's name, or alone.
        let words: Vec<&str> = line.split(' ').collect();
        let few = if words[0] == "sentinel" && words[1] != "monitor" { 3 } else { words.len() - 1 };
        let begin = words[..few.min(3)].join(" ");
        let stands = shipped.lines().any(|shipped| shipped.starts_with(&begin));
        assert!(stands, "{begin:?} is not in conf/sentinel.conf");
    }
}

/// What the example of a command line gives, it sets.
#[test]
fn options_of_the_command_line_are_taken() {
    let readme = read("README.md");
    let example = readme.split("`sentineld FILE --").nth(1).expect("the example");
    let words = format!("--{}", example.split('`').next().unwrap());
    assert_eq!(words, "--port 26380 --loglevel verbose");
    let words: Vec<Vec<u8>> = words.split(' ').map(|word| word.as_bytes().to_vec()).collect();
    let loaded = load(b"port 1\n", None, &option_lines(&words), &mut NoFiles).unwrap();
    assert_eq!((loaded.settings.port, loaded.settings.loglevel), (26380, Some(LogLevel::Verbose)));
}

/// Directives that are not ours to have; they are named as what others write or what we ignore.
const FOREIGN: [&str; 12] = [
    "appendonly",
    "client-query-buffer-limit",
    "copytruncate",
    "known-replica",
    "known-slave",
    "masterauth",
    "num-other-sentinels",
    "proto-max-bulk-len",
    "redis-cli",
    "replica-announce-ip",
    "replica-announce-port",
    "replicaof",
];

#[test]
fn directives_are_there() {
    let shipped = read("conf/sentinel.conf");
    let known = |name: &str| {
        shipped.lines().map(|line| line.trim_start_matches('#')).any(|line| {
            line == name || line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' '))
        })
    };
    let mut seen = 0;
    for span in spans(&read("README.md")) {
        let words: Vec<&str> = span.split(' ').collect();
        let is_name = |word: &str| word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
        let name = match words[..] {
            ["sentinel", name, ..] if is_name(name) => format!("sentinel {name}"),
            [name, ..] if is_name(name) && name.contains('-') && !name.starts_with('-') => {
                name.to_owned()
            }
            [
                "dir" | "logfile" | "pidfile" | "aclfile" | "requirepass" | "include" | "user",
                ..,
            ] => words[0].to_owned(),
            _ => continue,
        };
        let is_program = name.ends_with("-sentinel") || name.ends_with("-server");
        if is_program || name.starts_with("tls-") || FOREIGN.contains(&name.as_str()) {
            continue;
        }
        assert!(known(&name) || known(&format!("sentinel {name}")), "`{span}`: no {name}");
        seen += 1;
    }
    assert!(seen > 10, "{seen}");
}

/// Whether a request that begins with these words has a command; subcommands of SENTINEL are
/// named without it, too.
fn is_command(words: &[&str]) -> bool {
    let named = |list: &'static [Command], word: &str| {
        list.iter().find(|command| command.name.eq_ignore_ascii_case(word))
    };
    let sentinel = named(COMMANDS, "sentinel").expect("it is there").subcommands;
    match named(COMMANDS, words[0]) {
        Some(command) if !command.subcommands.is_empty() && words.len() > 1 => {
            named(command.subcommands, words[1]).is_some()
        }
        Some(_) => true,
        None => named(sentinel, words[0]).is_some(),
    }
}

#[test]
fn commands_are_there() {
    let mut seen = 0;
    for span in spans(&read("README.md")) {
        let request = span.strip_prefix("redis-cli -p 26379 ").unwrap_or(&span);
        let words: Vec<&str> = request.split(' ').collect();
        let is_name = |word: &str| word.bytes().all(|b| b.is_ascii_uppercase() || b == b'-');
        let other = ["OK", "NOT", "ERR", "PREFIX", "SYSCONFDIR", "DESTDIR", "COMPAT"];
        if !is_name(words[0]) || words[0].len() < 2 || other.contains(&words[0]) {
            continue;
        }
        assert!(is_command(&words), "`{span}` is no command");
        seen += 1;
    }
    assert!(seen > 30, "{seen}");
}

#[test]
fn events_are_there() {
    let (readme, source) = (read("README.md"), read_all("src", ".rs"));
    let is_part = |c: char| c.is_ascii_lowercase() || c == '-' || c == '*';
    let words = readme.split(|c: char| c.is_whitespace() || "`/()|,;:".contains(c));
    let mut seen = 0;
    for word in words.filter(|word| word.starts_with(['+', '-']) && word[1..].contains('-')) {
        // Rights of users and options begin so, too.
        if !word[1..].chars().all(is_part) || word.starts_with("--") {
            continue;
        }
        let event = word.trim_end_matches('*');
        assert!(source.contains(&format!("\"{event}")), "no event {word}");
        seen += 1;
    }
    assert!(seen > 30, "{seen}");
}

#[test]
fn limits_are_those_of_the_program() {
    let readme = read("README.md");
    let row = |what: &str| {
        let row = readme.lines().find(|line| line.starts_with(&format!("| {what} |")));
        row.unwrap_or_else(|| panic!("no row {what}")).to_owned()
    };
    let says = |what: &str, number: usize| {
        let row = row(what);
        let mut numbers = row.split(|c: char| !c.is_ascii_digit());
        assert!(numbers.any(|n| n == number.to_string()), "{number} is not in {row}");
    };
    says("Subscriptions of a client", pubsub::SUBSCRIPTIONS_MAX);
    says("Replicas and sentinels of one master", info::MAX_REPLICAS);
    says("Replicas and sentinels of one master", hello::MAX_PEERS);
    says("Replicas and sentinels of one master", 4 * info::MAX_REPLICAS);
    let cargo = read("Cargo.toml");
    let version = cargo.lines().find_map(|line| line.strip_prefix("rust-version = ")).unwrap();
    assert!(readme.contains(&format!("Rust toolchain ({} or newer)", version.trim_matches('"'))));
}

/// What the core emits, all but what is only logged (at debug).
#[test]
fn every_event_is_in_the_list_of_those_published() {
    let source = read_all("src/sentinel", ".rs");
    let only_logged = ["+script-child", "-script-child", "-cmd", "-pubsub"];
    let is_name = |word: &&str| {
        let rest = word.strip_prefix(['+', '-']).unwrap_or_default();
        rest.len() > 2 && rest.chars().all(|c| c.is_ascii_lowercase() || c == '-')
    };
    let named: BTreeSet<&str> = source.split('"').filter(is_name).collect();
    let published: BTreeSet<&str> = event::PUBLISHED.into_iter().collect();
    let missing = named
        .difference(&published)
        .filter(|name| !only_logged.contains(name) && !name.ends_with("-link-reconnection"));
    assert_eq!(missing.collect::<Vec<_>>(), Vec::<&&str>::new());
    assert!(event::PUBLISHED.is_sorted() && named.len() > event::PUBLISHED.len());
}

/// Defects are what stands alone on a line of the list.
#[test]
fn deliberate_defects_are_counted_right() {
    let source = read("src/util/defect.rs");
    let list = source.split("defects! {").last().unwrap().split("\n}\n").next().unwrap();
    let all = list.lines().filter(|line| line.ends_with(',') && !line.contains("//")).count();
    let mutants = read("tests/sim/mutants.rs");
    let left_out = |name: &str| {
        let rest = mutants.split(&format!("const {name}: &[Defect] = &[")).nth(1).expect(name);
        rest.split(']').next().unwrap().matches("Defect::").count()
    };
    let count = all - left_out("UNSEEN") - left_out("HARMLESS");
    let text = format!("it puts {count} deliberate defects");
    assert!(read("README.md").contains(&text), "{text:?} is not what it says");
}

/// The pieces of a line of the demo that are the same in every run.
fn constant_pieces(line: &str) -> Vec<String> {
    let varies = |word: &str| {
        let name = word.trim_end_matches([',', ':', '.']);
        let values = ["A", "B", "C", "primary", "replica", "master", "dead", "up"];
        name.chars().any(|c| c.is_ascii_digit()) || values.contains(&name)
    };
    let columns = line.split("  ").map(str::trim).filter(|column| !column.is_empty());
    let pieces = columns.flat_map(|column| {
        let words = column.split(' ').map(|word| if varies(word) { "\0" } else { word });
        let text = words.collect::<Vec<_>>().join(" ");
        let pieces = text.split('\0').map(|piece| piece.trim_matches([' ', '.', ',', ':']));
        pieces.map(str::to_owned).collect::<Vec<_>>()
    });
    pieces.filter(|piece| piece.len() > 3).collect()
}

/// Every line that README shows of `make demo` is one that it writes.
#[test]
fn the_demo_says_what_is_shown() {
    let source = read_all("utils/demo", ".rs").replace("\\n", " ").replace("\\\n", " ");
    let source = source.split_whitespace().collect::<Vec<_>>().join(" ");
    let shown = block_with(&read("README.md"), "A primary is killed; three sentinels put");
    assert!(shown.len() > 60, "{shown:?}");
    for line in shown.iter().filter(|line| !line.contains(" v=")) {
        for piece in constant_pieces(line) {
            assert!(source.contains(&piece), "{piece:?} of {line:?} is not in utils/demo");
        }
    }
}
