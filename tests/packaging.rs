//! The scripts that fetch programs and install ours, run with stand-ins for everything that would
//! change this machine.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The everyday tools that the scripts may use.
const TOOLS: [&str; 15] = [
    "sh", "cat", "chmod", "cp", "env", "install", "ln", "mkdir", "mv", "readlink", "rm", "sed",
    "sort", "tr", "true",
];

/// An empty machine: a directory for programs, which is the whole PATH, and one for the rest.
struct Machine {
    dir: PathBuf,
}

impl Machine {
    fn new(name: &str) -> Machine {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("packaging-{name}"));
        let _ = fs::remove_dir_all(&dir);
        let machine = Machine { dir };
        fs::create_dir_all(machine.dir.join("bin")).unwrap();
        let path = std::env::var_os("PATH").unwrap();
        for tool in TOOLS {
            let found = std::env::split_paths(&path).map(|d| d.join(tool)).find(|p| p.is_file());
            symlink(found.unwrap(), machine.program(tool)).unwrap();
        }
        machine
    }

    fn program(&self, name: &str) -> PathBuf {
        self.dir.join("bin").join(name)
    }

    /// A program that does what `script` says; `$DIR` is the directory of the machine.
    fn add(&self, name: &str, script: &str) {
        let text = format!("#!/bin/sh\nDIR='{}'\n{script}\n", self.dir.display());
        fs::write(self.program(name), text).unwrap();
        fs::set_permissions(self.program(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// An apt-get that notes its calls and, once updated, brings redis-server.
    fn add_apt_get(&self) {
        self.add(
            "apt-get",
            "echo \"$*\" >>\"$DIR/calls\"\n\
             [ \"$1\" = update ] && { : >\"$DIR/updated\"; exit 0; }\n\
             [ -e \"$DIR/updated\" ] || exit 100\n\
             ln -s /bin/true \"$DIR/bin/redis-server\"",
        );
    }

    fn run(&self, script: &str, args: &[&str], variables: &[(&str, &str)]) -> Output {
        let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join(script));
        command.args(args).env_clear().env("PATH", self.dir.join("bin"));
        command.envs(variables.iter().copied()).current_dir(env!("CARGO_MANIFEST_DIR"));
        command.output().unwrap()
    }

    fn calls(&self) -> String {
        fs::read_to_string(self.dir.join("calls")).unwrap_or_default()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

const APT: &str = "apt-get install -y --no-install-recommends redis-server";

#[test]
fn nothing_is_said_or_done_when_nothing_is_missing() {
    let machine = Machine::new("complete");
    machine.add_apt_get();
    for program in ["cargo", "gcc", "redis-server"] {
        machine.add(program, "");
    }
    let output = machine.run("utils/get-redis", &["cargo", "cc", "redis-server"], &[]);
    assert_eq!((output.status.code(), said(&output)), (Some(0), String::new()));
    assert_eq!(machine.calls(), "");
}

#[test]
fn a_missing_toolchain_is_said_plainly() {
    let machine = Machine::new("toolchain");
    machine.add_apt_get();
    machine.add("id", "echo 0");
    let output = machine.run("utils/get-redis", &["cargo", "redis-server"], &[]);
    assert_eq!(output.status.code(), Some(2));
    let text = said(&output);
    for part in ["- cargo, the Rust toolchain", "- redis-server, ", "Install the Rust toolchain"] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(machine.calls(), "");
}

#[test]
fn without_root_the_command_to_run_is_printed() {
    let machine = Machine::new("user");
    machine.add_apt_get();
    machine.add("id", "echo 1000");
    let output = machine.run("utils/get-redis", &["redis-server"], &[]);
    assert_eq!(output.status.code(), Some(2));
    let text = said(&output);
    assert!(text.contains(&format!("  sudo sh -c 'apt-get update && {APT}'\n")), "{text}");
    machine.add("sudo", "exit 1");
    assert_eq!(machine.run("utils/get-redis", &["redis-server"], &[]).status.code(), Some(2));
    assert_eq!(machine.calls(), "");
}

#[test]
fn packages_are_installed_as_root_or_with_sudo() {
    let words = APT.strip_prefix("apt-get ").unwrap();
    for (name, id, sudo) in [("root", "0", "exit 1"), ("sudo", "1000", "shift; exec \"$@\"")] {
        let machine = Machine::new(name);
        machine.add_apt_get();
        machine.add("id", &format!("echo {id}"));
        machine.add("sudo", sudo);
        let output = machine.run("utils/get-redis", &["redis-server"], &[]);
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        assert_eq!(machine.calls(), format!("{words}\nupdate\n{words}\n"));
    }
}

#[test]
fn an_installation_that_brings_nothing_is_an_error() {
    let machine = Machine::new("futile");
    machine.add("id", "echo 0");
    machine.add("dnf", "echo \"$*\" >>\"$DIR/calls\"");
    let output = machine.run("utils/get-redis", &["redis-server", "redis-cli"], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("Still lacking"), "{}", said(&output));
    assert_eq!(machine.calls(), "install -y redis\ninstall -y valkey valkey-compat-redis\n");
}

/// What the Makefile hands to utils/install.
fn variables(machine: &Machine) -> Vec<(&'static str, String)> {
    let at = machine.dir.display();
    vec![
        ("DESTDIR", format!("{at}/root")),
        ("BINDIR", "/bin".into()),
        ("MANDIR", "/man".into()),
        ("UNITDIR", "/unit".into()),
        ("SYSUSERSDIR", "/sysusers".into()),
        ("CONFDIR", "/etc/sentineld".into()),
        ("COMPAT", "1".into()),
        ("COMPAT_NAMES", "redis-sentinel valkey-sentinel".into()),
        ("INSTALL_PROGRAM", format!("{at}/bin/sentineld")),
    ]
}

#[test]
fn installing_again_keeps_the_configuration_and_removing_too() {
    let machine = Machine::new("install");
    machine.add("sentineld", "echo ours");
    let variables = variables(&machine);
    let variables: Vec<(&str, &str)> = variables.iter().map(|(n, v)| (*n, v.as_str())).collect();
    let root = machine.dir.join("root");
    let conf = root.join("etc/sentineld/sentinel.conf");

    let output = machine.run("utils/install", &[], &variables);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(fs::read_link(root.join("bin/valkey-sentinel")).unwrap(), Path::new("sentineld"));
    let unit = fs::read_to_string(root.join("unit/sentineld.service")).unwrap();
    assert!(unit.contains("ExecStart=/bin/sentineld /etc/sentineld/sentinel.conf "), "{unit}");
    assert!(unit.contains("\nMemoryMax="), "its growth must not be the end of others: {unit}");
    let adjust = unit.lines().find_map(|line| line.strip_prefix("OOMScoreAdjust="));
    assert!(adjust.is_none_or(|n| n.parse::<i32>().unwrap() >= -100), "{adjust:?}");
    assert!(!root.join("etc/sentineld/sentinel.conf.new").exists());

    fs::write(&conf, "state").unwrap();
    assert!(machine.run("utils/install", &[], &variables).status.success());
    assert_eq!(fs::read_to_string(&conf).unwrap(), "state");
    assert!(root.join("etc/sentineld/sentinel.conf.new").exists());

    assert!(machine.run("utils/install", &["--remove"], &variables).status.success());
    assert_eq!(fs::read_to_string(&conf).unwrap(), "state");
    for gone in ["bin/sentineld", "bin/redis-sentinel", "man/man8/sentineld.8"] {
        assert!(fs::symlink_metadata(root.join(gone)).is_err(), "{gone} is left");
    }
}

#[test]
fn a_redis_sentinel_of_someone_else_is_left_alone() {
    let machine = Machine::new("foreign");
    machine.add("sentineld", "echo ours");
    let variables = variables(&machine);
    let variables: Vec<(&str, &str)> = variables.iter().map(|(n, v)| (*n, v.as_str())).collect();
    let foreign = machine.dir.join("root/bin/redis-sentinel");
    fs::create_dir_all(foreign.parent().unwrap()).unwrap();
    fs::write(&foreign, "theirs").unwrap();

    let output = machine.run("utils/install", &[], &variables);
    assert!(!output.status.success() && said(&output).contains("redis-sentinel exists"));
    assert!(!machine.dir.join("root/bin/sentineld").exists(), "nothing half done");
    assert!(machine.run("utils/install", &["--remove"], &variables).status.success());
    assert_eq!(fs::read_to_string(&foreign).unwrap(), "theirs");
}

fn source(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

#[test]
fn every_target_of_make_is_explained() {
    let text = source("Makefile");
    let phony = text.lines().filter_map(|l| l.strip_prefix(".PHONY: "));
    for target in phony.flat_map(str::split_whitespace) {
        let explained =
            text.lines().any(|l| l.starts_with(&format!("{target}:")) && l.contains(" ## "));
        assert!(explained, "the target {target} has no line in make help");
    }
}

/// The words in capitals behind each `before`, which is followed by nothing else of them.
fn names_behind(before: &str, text: &str) -> BTreeSet<String> {
    let is_part = |c: &char| c.is_ascii_uppercase() || *c == '_';
    let name = |rest: &str| rest.chars().take_while(is_part).collect::<String>();
    text.split(before).skip(1).map(name).filter(|name| name.len() > 1).collect()
}

/// What `make help` tells of a target's variables is what there is.
#[test]
fn every_variable_of_make_is_explained_with_its_target() {
    let text = source("Makefile");
    let (head, targets) = text.split_once(".PHONY").unwrap();
    let is_set = |line: &&str| line.contains("?=") || line.contains(":=");
    let lines = head.lines().filter(is_set);
    let set: BTreeSet<String> =
        lines.map(|line| line.split(' ').next().unwrap().to_owned()).collect();
    let mut told_anywhere = BTreeSet::new();
    for target in targets.split("\n\n").filter(|part| part.contains(": ## ")) {
        let name = target.split(':').next().unwrap();
        let lines: Vec<&str> = target.lines().filter_map(|line| line.strip_prefix("#= ")).collect();
        let told: BTreeSet<String> = lines
            .iter()
            .flat_map(|line| line.split(|c: char| !c.is_ascii_uppercase() && c != '_'))
            .map(str::to_owned)
            .collect();
        let mut read = &names_behind("$(", target) - &set;
        if name == "chaos" {
            read.extend(names_behind("setting(\"", &source("tests/chaos/long.rs")));
        }
        let untold: Vec<_> = read.difference(&told).collect();
        assert!(untold.is_empty(), "make {name}: {untold:?} are not told by make help");
        for word in lines.iter().map(|line| line.split('=').next().unwrap()) {
            let known = read.contains(word) || (name == "install" && set.contains(word));
            assert!(known, "make {name}: there is no {word}");
        }
        told_anywhere.extend(told);
    }
    // What an operator may set before `make install`; what the others are made of is theirs.
    let may = head.lines().filter(|line| line.contains("?=") && !line.starts_with("CARGO"));
    for line in may {
        let name = line.split(' ').next().unwrap();
        assert!(told_anywhere.contains(name), "{name} is not told by make help");
    }
}

#[test]
fn make_help_lists_targets_and_variables() {
    let mut make = Command::new("make");
    make.args(["-s", "help"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = make.output().expect("make runs");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for line in
        ["  sim          Sweep", "      SEED=7               replay one", "      DESTDIR=DIR  "]
    {
        assert!(text.contains(&format!("\n{line}")), "{line:?} is missing in\n{text}");
    }
    assert!(text.lines().all(|line| line.len() <= 100), "{text}");
}
