//! The file that is shipped names every directive, and every option in it can be switched on.
#![forbid(unsafe_code)]

use super::test_files::{MemoryFiles, load_text};
use super::{directives, lines, load};

const SHIPPED: &str = include_str!("../../conf/sentinel.conf");

/// Lines that are options, switched on or off.
fn option_lines() -> Vec<&'static str> {
    let on = |line: &&str| !line.is_empty() && !line.starts_with("# ") && *line != "#";
    let lines = SHIPPED.lines().filter(on).filter(|line| !line.starts_with("##"));
    lines.map(|line| line.strip_prefix('#').unwrap_or(line)).collect()
}

#[test]
fn every_directive_is_explained() {
    let lines = option_lines();
    let shown = |name: &str| lines.iter().any(|line| line.starts_with(&format!("{name} ")));
    let sentinel = lines::FORMS.iter().map(|form| format!("sentinel {}", form.name));
    let special = ["include", "dir"].map(String::from);
    for name in sentinel.chain(directives::names().map(String::from)).chain(special) {
        assert!(shown(&name), "{name}");
    }
    assert!(SHIPPED.lines().all(|line| line.len() <= 100));
}

#[test]
fn every_option_can_be_switched_on() {
    for line in option_lines() {
        let text = format!("sentinel monitor other ::1 1 1\n{}", line.replace("mymaster", "other"));
        let text = if line.starts_with("sentinel monitor") { line } else { &text };
        let loaded = load_text(text).unwrap_or_else(|error| panic!("{error:?}"));
        assert!(loaded.ignored.is_empty(), "{line}");
    }
}

#[test]
fn options_that_are_off_show_the_default() {
    let default = load_text("dir /dir").unwrap().settings;
    for line in option_lines() {
        let example = [
            "unixsocket",
            "user ",
            "rename-command",
            "pidfile",
            "include",
            "sentinel",
            "maxmemory-clients",
        ];
        if example.iter().any(|name| line.starts_with(name)) {
            continue;
        }
        let mut loaded = load::load(line.as_bytes(), None, &[], &mut MemoryFiles::default())
            .unwrap_or_else(|error| panic!("{error:?}"));
        loaded.settings.recorded.clear();
        assert_eq!(loaded.settings, default, "{line}");
    }
}
