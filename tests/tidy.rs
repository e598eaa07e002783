//! The style of the house as a test: which layer may use which, who may touch the system, and how
//! long lines, functions and files may get. The rules work on text with comments and literals
//! blanked, not on a full parse; each has a self-test below, so that none can pass by being blind.
#![forbid(unsafe_code)]

#[path = "tidy/reading.rs"]
mod reading;

use reading::{Found, blank, blank_literals, functions, line_of, paths, test_items};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The layers from right to left: each may use itself and what stands before it.
const LAYERS: [&str; 8] = ["util", "resp", "sentinel", "config", "server", "node", "shell", "main"];
/// The layers that may touch the system.
const SYSTEM_LAYERS: [&str; 2] = ["shell", "main"];
/// Layers whose collections are iterated and must give the same order each time.
const ORDERED_LAYERS: [&str; 3] = ["sentinel", "server", "node"];

const MAX_COLUMNS: usize = 100;
const MAX_FUNCTION_LINES: usize = 70;
const MAX_FILE_LINES: usize = 700;

/// Files that may break one rule: (rule, path, reason). Empty is how it should stay.
const EXCEPTIONS: &[(&str, &str, &str)] = &[];

/// Crates and paths that only [`SYSTEM_LAYERS`] may name.
const SYSTEM_PATHS: [&str; 8] = [
    "mio",
    "nix",
    "libc",
    "std::fs",
    "std::process",
    "std::env",
    "std::thread",
    "std::os::unix::net",
];
/// Types that only [`SYSTEM_LAYERS`] may name, wherever they come from.
const SYSTEM_TYPES: [&str; 8] = [
    "Instant",
    "SystemTime",
    "TcpListener",
    "TcpStream",
    "UdpSocket",
    "UnixDatagram",
    "UnixListener",
    "UnixStream",
];

#[test]
fn the_sources_are_tidy() {
    let mut files = Vec::new();
    for top in ["src", "tests", "utils"] {
        collect(&root().join(top), &mut files);
    }
    let sources = read_sources(&files);
    assert!(sources.iter().any(|s| s.path == "src/lib.rs"), "no sources found: {files:?}");
    let mut findings: Vec<Finding> = sources.iter().flat_map(check).collect();
    findings
        .retain(|f| !EXCEPTIONS.iter().any(|(rule, path, _)| f.rule == *rule && f.path == *path));
    let mut report = String::new();
    for f in &findings {
        let _ = writeln!(report, "{}:{}: {}: {}", f.path, f.line, f.rule, f.what);
    }
    assert!(findings.is_empty(), "{} findings\n{report}", findings.len());
}

#[test]
fn every_exception_is_still_needed() {
    for (rule, path, reason) in EXCEPTIONS {
        let text = std::fs::read_to_string(root().join(path)).unwrap_or_default();
        let broken = check(&Source::new(path, &text, false)).iter().any(|f| f.rule == *rule);
        assert!(broken, "{path} keeps the rule {rule} now: take the exception out");
        assert!(reason.len() > 20, "{path} breaks {rule} without a reason");
    }
}

// ---- sources -----------------------------------------------------------------------------------

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All Rust files below `dir`, sorted.
fn collect(dir: &Path, into: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            collect(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            into.push(path);
        }
    }
}

fn read_sources(files: &[PathBuf]) -> Vec<Source> {
    let mut loaded = Vec::new();
    for file in files {
        let path = file.strip_prefix(root()).expect("below the root").display().to_string();
        loaded.push((path, std::fs::read_to_string(file).expect("a readable source")));
    }
    let tests: BTreeSet<String> =
        loaded.iter().flat_map(|(path, text)| test_modules(path, text)).collect();
    let is_test =
        |path: &str| !path.starts_with("src/") || tests.iter().any(|stem| is_below(path, stem));
    loaded.iter().map(|(path, text)| Source::new(path, text, is_test(path))).collect()
}

/// Whether `path` is the file of module `stem` (path without `.rs`) or of one below it.
fn is_below(path: &str, stem: &str) -> bool {
    path.strip_prefix(stem).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

/// Paths without `.rs` of the modules that `path` declares with `#[cfg(test)] mod name;`.
fn test_modules(path: &str, text: &str) -> Vec<String> {
    let base = match path.rsplit_once('/') {
        Some((dir, "mod.rs" | "lib.rs" | "main.rs")) => dir.to_string(),
        _ => path.trim_end_matches(".rs").to_string(),
    };
    let code = blank_literals(text);
    let mut found = Vec::new();
    for (start, end) in test_items(&code) {
        let item = code[start..end].trim_end();
        if let Some((_, name)) = item.trim_end_matches(';').rsplit_once("mod ")
            && item.ends_with(';')
        {
            found.push(format!("{base}/{}", name.trim()));
        }
    }
    found
}

/// One file with the views of it that the rules need.
struct Source {
    path: String,
    /// The text as it stands.
    text: String,
    /// With comments and literals blanked.
    code: String,
    /// `code` with test modules blanked too.
    product: String,
    /// Not part of the product: everything outside `src` and test modules in it.
    is_test: bool,
}

impl Source {
    fn new(path: &str, text: &str, is_test: bool) -> Source {
        let code = blank_literals(text);
        let mut product = code.clone().into_bytes();
        for (start, end) in test_items(&code) {
            blank(&mut product[start..end]);
        }
        let product = String::from_utf8(product).expect("blanking keeps it valid");
        Source { path: path.to_string(), text: text.to_string(), code, product, is_test }
    }

    /// The layer of a file of the product; `lib.rs`, which is only the map, has none.
    fn layer(&self) -> Option<&str> {
        let inside = self.path.strip_prefix("src/")?;
        match inside.split_once('/') {
            Some((dir, _)) => Some(dir),
            None if inside == "lib.rs" => None,
            None => inside.strip_suffix(".rs"),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Finding {
    rule: &'static str,
    path: String,
    line: usize,
    what: String,
}

/// Collects the findings of one rule in one file.
struct Report<'a> {
    source: &'a Source,
    findings: Vec<Finding>,
}

impl Report<'_> {
    fn add(&mut self, rule: &'static str, line: usize, what: impl Into<String>) {
        self.findings.push(Finding {
            rule,
            path: self.source.path.clone(),
            line,
            what: what.into(),
        });
    }
}

/// All findings in one file.
fn check(source: &Source) -> Vec<Finding> {
    let mut report = Report { source, findings: Vec::new() };
    check_layers(&mut report);
    check_system_names(&mut report);
    check_collections(&mut report);
    check_lines(&mut report);
    check_lengths(&mut report);
    check_forbid(&mut report);
    check_leftovers(&mut report);
    check_log_lines(&mut report);
    report.findings
}

// ---- rules -------------------------------------------------------------------------------------

fn rank(layer: &str) -> Option<usize> {
    LAYERS.iter().position(|l| *l == layer)
}

/// `layers`: a path into another layer goes to the right only.
fn check_layers(report: &mut Report) {
    let source = report.source;
    let Some(layer) = source.layer() else { return };
    let Some(own) = rank(layer) else {
        return report.add("layers", 1, format!("unknown layer {layer}: give it a place"));
    };
    for Found { line, path, .. } in paths(&source.code) {
        let Some(target) = target_layer(&source.path, &path) else { continue };
        match rank(&target) {
            Some(other) if other > own => {
                report.add("layers", line, format!("{layer} uses {path}"));
            }
            _ => {}
        }
    }
}

/// The layer a path leads into: `crate::x::…`, `sentineld::x::…`, or enough `super::`.
fn target_layer(file: &str, path: &str) -> Option<String> {
    let mut segments = path.split("::").peekable();
    let first = segments.next()?;
    if first == "crate" || first == "sentineld" {
        return segments.next().map(str::to_string);
    }
    if first != "super" {
        return None;
    }
    // How many times `super` leads from this module to the crate root.
    let module = file.trim_end_matches(".rs").trim_end_matches("/mod");
    let depth = module.matches('/').count();
    let supers = 1 + std::iter::from_fn(|| segments.next_if_eq(&"super")).count();
    if supers < depth { None } else { segments.next().map(str::to_string) }
}

/// `system`: only the shell touches sockets, files, processes, threads and clocks.
fn check_system_names(report: &mut Report) {
    let source = report.source;
    let Some(layer) = source.layer() else { return };
    if source.is_test || SYSTEM_LAYERS.contains(&layer) {
        return;
    }
    for Found { line, path, .. } in paths(&source.product) {
        let named = |p: &str| path == p || path.starts_with(&format!("{p}::"));
        let typed = |t: &str| path.split("::").any(|segment| segment == t);
        if SYSTEM_PATHS.iter().any(|p| named(p)) || SYSTEM_TYPES.iter().any(|t| typed(t)) {
            report.add("system", line, format!("{layer} names {path}"));
        }
    }
}

/// `ordered`: no collection whose order depends on a random seed.
fn check_collections(report: &mut Report) {
    let source = report.source;
    if source.is_test || !source.layer().is_some_and(|l| ORDERED_LAYERS.contains(&l)) {
        return;
    }
    for Found { line, path, .. } in paths(&source.product) {
        if path.split("::").any(|s| s == "HashMap" || s == "HashSet") {
            report.add("ordered", line, format!("{path}: use an ordered collection"));
        }
    }
}

/// `columns`, `blanks`, `tabs`.
fn check_lines(report: &mut Report) {
    for (number, line) in report.source.text.lines().enumerate() {
        let columns = line.chars().count();
        if columns > MAX_COLUMNS {
            report.add("columns", number + 1, format!("{columns} columns"));
        }
        if line.ends_with([' ', '\t', '\r']) {
            report.add("blanks", number + 1, "blanks at the end");
        }
        if line.contains('\t') {
            report.add("tabs", number + 1, "a tab");
        }
    }
}

/// `file`, `function`: nothing too long.
fn check_lengths(report: &mut Report) {
    let lines = report.source.text.lines().count();
    if lines > MAX_FILE_LINES {
        report.add("file", lines, format!("{lines} lines"));
    }
    for (line, name, length) in functions(&report.source.code) {
        if length > MAX_FUNCTION_LINES {
            report.add("function", line, format!("{name} has {length} lines"));
        }
    }
}

/// `forbid`: every module outside the shell forbids unsafe code. The roots cannot, or the shell
/// below them could not have any.
fn check_forbid(report: &mut Report) {
    let source = report.source;
    let is_root = matches!(source.path.as_str(), "src/lib.rs" | "src/main.rs");
    if source.layer().is_none() || is_root || source.layer() == Some("shell") {
        return;
    }
    if !source.code.contains("#![forbid(unsafe_code)]") {
        report.add("forbid", 1, "#![forbid(unsafe_code)] is missing");
    }
}

/// `leftovers`: nothing unfinished, and no unwrap, in the product.
fn check_leftovers(report: &mut Report) {
    let source = report.source;
    if source.is_test {
        return;
    }
    for (number, line) in source.product.lines().enumerate() {
        for word in [".unwrap()", "todo!", "unimplemented!", "dbg!"] {
            if line.contains(word) {
                report.add("leftovers", number + 1, word);
            }
        }
    }
    for (number, line) in source.text.lines().enumerate() {
        let mut words = line.split(|c: char| !c.is_ascii_alphanumeric());
        if let Some(word) = words.find(|w| matches!(*w, "FIXME" | "XXX")) {
            report.add("leftovers", number + 1, word);
        }
    }
}

/// Who may write log lines that are never held back, because nobody else can cause many of them:
/// how often, and what they are.
const FREE_LOG_LINES: &[(&str, usize, &str)] = &[
    ("src/node/mod.rs", 3, "the own id and the warnings of the start, the end by a signal"),
    ("src/sentinel/event.rs", 1, "events: programs follow them in the log"),
    ("src/sentinel/failover.rs", 1, "the exit by SIMULATE-FAILURE"),
    ("src/sentinel/log_limit.rs", 3, "what passed the limit, and the counts"),
    ("src/sentinel/scripts.rs", 1, "the end of a child that is not ours"),
    ("src/sentinel/tilt.rs", 1, "a tick that was seconds late"),
    ("src/server/cmd_shutdown.rs", 1, "the end by a command"),
];

/// `log`: a line that others can cause has a limit.
fn check_log_lines(report: &mut Report) {
    let source = report.source;
    if source.is_test || source.layer().is_none_or(|layer| SYSTEM_LAYERS.contains(&layer)) {
        return;
    }
    let own = FREE_LOG_LINES.iter().find(|(path, ..)| source.path == *path);
    let allowed = own.map_or(0, |(_, count, _)| *count);
    let calls: Vec<_> = source.product.match_indices(".log(").collect();
    if let Some((at, _)) = calls.get(allowed) {
        let line = line_of(&source.product, *at);
        report.add("log", line, "use log_limited, or say in FREE_LOG_LINES why not");
    }
}

// ---- the checker checked -----------------------------------------------------------------------

/// The rules that a text breaks at a path, in order of finding.
fn broken(path: &str, text: &str) -> Vec<&'static str> {
    check(&Source::new(path, text, false)).iter().map(|f| f.rule).collect()
}

/// A module of the product with its first line.
fn broken_in(path: &str, text: &str) -> Vec<&'static str> {
    broken(path, &format!("#![forbid(unsafe_code)]\n{text}"))
}

#[test]
fn layers_are_told_apart() {
    let cases = [
        ("src/sentinel/vote.rs", "use crate::util::time::Mono;", true),
        ("src/sentinel/vote.rs", "use crate::config::load;", false),
        ("src/sentinel/vote.rs", "use crate::{util::time, server::table};", false),
        ("src/sentinel/vote.rs", "use crate::{\n    util,\n    resp::{reply, write},\n};", true),
        ("src/sentinel/vote.rs", "fn f() { crate::node::x() }", false),
        ("src/sentinel/vote.rs", "// crate::node is not for us\n", true),
        ("src/sentinel/vote.rs", "const S: &str = \"crate::node\";", true),
        ("src/sentinel/vote.rs", "use super::link; use super::super::util::x;", true),
        ("src/sentinel/vote.rs", "use super::super::node::x;", false),
        ("src/sentinel/mod.rs", "use super::server;", false),
        ("src/sentinel/a/b.rs", "use super::super::node;", true),
        ("src/server/table.rs", "use crate::config::load;", true),
        ("src/config/load.rs", "use crate::server::table;", false),
        ("src/config/load.rs", "use crate :: server;", false),
        ("src/main.rs", "use sentineld::shell;", true),
        ("src/util/time.rs", "use crate::resp;", false),
        ("src/gadgets/mod.rs", "", false),
    ];
    for (path, text, fine) in cases {
        assert_eq!(broken_in(path, text).is_empty(), fine, "{path}: {text}");
    }
}

#[test]
fn system_names_are_the_shells() {
    let cases = [
        ("use std::fs;", false),
        ("use std::{collections::BTreeMap, env, fmt};", false),
        ("use std::net::{IpAddr, SocketAddr};", true),
        ("use std::net::{IpAddr, TcpStream};", false),
        ("use mio::Poll;", false),
        ("fn f() { let t = std::time::Instant::now(); }", false),
        ("fn f() { libc::getpid(); }", false),
        ("fn f() -> SystemTime { todo() }", false),
        ("use std::os::unix::net::UnixStream;", false),
        ("fn f() { std::thread::spawn(g); }", false),
        ("use std::time::Duration; use std::io::Write;", true),
        ("const X: &str = env!(\"HOME\"); // std::fs", true),
        ("#[cfg(test)]\nmod tests {\n    use std::fs;\n}", true),
        ("#[cfg(test)]\nmod tests {}\nuse std::fs;", false),
    ];
    for (text, fine) in cases {
        assert_eq!(broken_in("src/node/mod.rs", text).is_empty(), fine, "{text}");
        assert_eq!(broken_in("src/shell/mod.rs", text), Vec::<&str>::new(), "{text}");
    }
}

#[test]
fn collections_have_an_order() {
    assert_eq!(broken_in("src/server/a.rs", "use std::collections::HashMap;"), ["ordered"]);
    assert_eq!(broken_in("src/node/a.rs", "type T = HashSet<u8>;"), ["ordered"]);
    assert!(broken_in("src/config/a.rs", "type T = HashSet<u8>;").is_empty());
    assert!(broken_in("src/node/a.rs", "type T = BTreeMap<u8, u8>;").is_empty());
}

#[test]
fn log_lines_have_limits() {
    let call = "fn f(cx: &mut Cx) { cx.log(LogLevel::Notice, \"x\"); }\n";
    assert_eq!(broken_in("src/server/a.rs", call), ["log"]);
    assert_eq!(broken_in("src/sentinel/event.rs", call), [""; 0]);
    assert_eq!(broken_in("src/sentinel/event.rs", &call.repeat(2)), ["log"]);
    assert_eq!(broken_in("src/shell/a.rs", call), [""; 0]);
    let limited = call.replace("log(LogLevel::Notice, ", "log_limited(LineKind::Saved, || ");
    assert_eq!(broken_in("src/server/a.rs", &limited), [""; 0]);
    for (path, count, _) in FREE_LOG_LINES {
        let text = std::fs::read_to_string(root().join(path)).unwrap_or_default();
        let found = Source::new(path, &text, false).product.matches(".log(").count();
        assert_eq!(found, *count, "{path}: FREE_LOG_LINES has another count");
    }
}

#[test]
fn lines_functions_and_files_have_limits() {
    let body = |n: usize| format!("fn f(a: [u8; 2]) -> [u8; 2] {{\n{}}}\n", "    g();\n".repeat(n));
    assert!(broken_in("src/util/a.rs", &body(MAX_FUNCTION_LINES - 2)).is_empty());
    assert_eq!(broken_in("src/util/a.rs", &body(MAX_FUNCTION_LINES - 1)), ["function"]);
    let braces =
        body(MAX_FUNCTION_LINES - 1).replace("g();", "g(\"}\", '}', b'}', r#\"}\"}\"#); // }");
    assert_eq!(broken_in("src/util/a.rs", &braces), ["function"]);
    assert!(broken("tests/a.rs", &"\n".repeat(MAX_FILE_LINES)).is_empty());
    assert_eq!(broken("tests/a.rs", &"\n".repeat(MAX_FILE_LINES + 1)), ["file"]);
    assert!(broken("tests/a.rs", &"é".repeat(MAX_COLUMNS)).is_empty());
    assert_eq!(broken("tests/a.rs", &"é".repeat(MAX_COLUMNS + 1)), ["columns"]);
    assert_eq!(broken("tests/a.rs", "fn f() {} \n"), ["blanks"]);
    assert_eq!(broken("tests/a.rs", "// a\tb\n"), ["tabs"]);
}

#[test]
fn modules_forbid_unsafe_code() {
    assert_eq!(broken("src/util/a.rs", "// #![forbid(unsafe_code)]\n"), ["forbid"]);
    assert!(broken("src/shell/a.rs", "").is_empty());
    assert!(broken("src/lib.rs", "").is_empty());
}

#[test]
fn leftovers_are_seen_outside_tests() {
    let cases = [
        ("fn f() { g().unwrap() }", false),
        ("fn f() { g().unwrap_or(1) }", true),
        ("fn f() { todo!() }", false),
        ("fn f() { dbg!(1); }", false),
        ("// FIXME later", false),
        ("// XXX", false),
        ("const T: &[u8] = b\".XXXXXX\"; // .unwrap()", true),
        ("fn f<'a>(x: &'a str) { g(x).unwrap() }", false),
        ("#[cfg(test)]\nmod tests {\n    fn f() { g().unwrap() }\n}", true),
        ("#[cfg(test)]\nmod tests {\n    fn f() {}\n}\nfn f() { g().unwrap() }", false),
        ("#[cfg(test)]\n#[path = \"x.rs\"]\nmod tests;\nfn f() { g().unwrap() }", false),
    ];
    for (text, fine) in cases {
        let rules = broken_in("src/util/a.rs", text);
        assert_eq!(rules.is_empty(), fine, "{text}: {rules:?}");
        assert!(rules.iter().all(|r| *r == "leftovers"), "{text}: {rules:?}");
    }
}

#[test]
fn test_modules_in_files_of_their_own_are_known() {
    let text = "mod a;\n#[cfg(test)]\nmod tests;\nmod b;\n";
    assert_eq!(test_modules("src/node/mod.rs", text), ["src/node/tests"]);
    assert_eq!(test_modules("src/node/turn.rs", text), ["src/node/turn/tests"]);
    assert!(is_below("src/node/tests/votes.rs", "src/node/tests"));
    assert!(!is_below("src/node/tests_not.rs", "src/node/tests"));
}

#[test]
fn literals_are_blanked_in_place() {
    let text = "a('x', '\\'', 'é', \"q\\\"}\", r\"\\\", br#\"\"}\"#) /* { /* */ { */ + 'b: &'c 'd'";
    let code = blank_literals(text);
    assert_eq!(code.len(), text.len());
    let words: Vec<&str> = code.split_whitespace().collect();
    assert_eq!(words.concat(), "a(,,,,,b)+'b:&'c", "{code}");
}
