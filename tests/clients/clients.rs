//! Which clients there are, how they are installed, and how each is started.

use super::target_dir;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Name of a user with few rights at the sentinels.
pub const CLIENT_USER: &str = "client";

/// A client library or program.
pub struct Client {
    /// Name in the output.
    pub name: &'static str,
    /// What tests/clients/install calls the things it needs.
    pub kit: &'static str,
    /// The command below the directories of [`Client::command`], with its arguments.
    words: &'static [&'static str],
    /// True if it speaks RESP3 when asked to.
    resp3: bool,
}

/// A way to run a group and its clients.
#[derive(Debug, Clone, Copy)]
pub struct Variant {
    /// Its name in paths.
    pub name: &'static str,
    /// Protocol version the client speaks.
    pub resp: u8,
    /// User of the client at the sentinels, empty for the default one.
    pub user: &'static str,
    /// Password of the client at the sentinels, empty for none.
    pub password: &'static str,
}

impl Variant {
    /// What it is, for the output.
    pub fn title(&self) -> String {
        format!("{}, RESP{}", self.name, self.resp)
    }

    /// Password of the data nodes, empty for none. It is never that of the sentinels, so that
    /// a client that confuses them is seen.
    pub fn data_password(&self) -> &'static str {
        if self.password.is_empty() { "" } else { "of-the-data" }
    }
}

const fn new(
    name: &'static str,
    kit: &'static str,
    words: &'static [&'static str],
    resp3: bool,
) -> Client {
    Client { name, kit, words, resp3 }
}

/// All of them.
pub const CLIENTS: [Client; 11] = [
    new("redis-py", "python", &["@python/venv/bin/python", "python/client.py", "redis"], true),
    new("redis-py-asyncio", "python", &["@python/venv/bin/python", "python/aio.py", "redis"], true),
    // It cannot read the RESP3 maps of any sentinel.
    new("valkey-py", "python", &["@python/venv/bin/python", "python/client.py", "valkey"], false),
    new("ioredis", "node", &["node", "@node/ioredis.mjs", "ioredis"], true),
    new("ioredis-5", "node", &["node", "@node/ioredis.mjs", "ioredis-5"], false),
    new("node-redis", "node", &["node", "@node/node-redis.mjs"], true),
    new("redis-rs", "rust", &["@rust/debug/redis-rs"], true),
    new("fred", "rust", &["@rust/debug/fred"], true),
    new("hiredis", "hiredis", &["@hiredis"], false),
    new("redis-cli", "cli", &["sh", "shell/redis-cli.sh"], true),
    new("redis_exporter", "exporter", &["@debian/usr/bin/prometheus-redis-exporter"], false),
];

impl Client {
    /// The variants it can be run in.
    pub fn variants(&self) -> impl Iterator<Item = Variant> {
        let resp = if self.resp3 { 3 } else { 2 };
        let plain = Variant { name: "open", resp: 2, user: "", password: "" };
        let password = Variant { name: "password", resp, user: "", password: "of-the-sentinels" };
        let user = Variant { name: "user", resp, user: CLIENT_USER, password: "of-the-client" };
        [plain, password, user].into_iter()
    }

    /// The command that starts it. A word `@path` is below target/clients, one with a slash below
    /// tests/clients, others are as they are.
    pub fn command(&self) -> Command {
        let here = source_dir();
        let there = target_dir().join("clients");
        let place = |word: &&str| match word.strip_prefix('@') {
            Some(path) => there.join(path),
            None if word.contains('/') => here.join(word),
            None => PathBuf::from(word),
        };
        let mut words = self.words.iter().map(place);
        let mut command = Command::new(words.next().expect("a command has words"));
        command.args(words);
        command
    }
}

fn source_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

/// Installs a kit; `Err` says why it cannot be had.
pub fn install(kit: &str) -> Result<(), String> {
    let output = Command::new(source_dir().join("install")).arg(kit).output();
    let output = output.map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    Err(text.lines().last().unwrap_or("its installation failed").to_string())
}
