//! The processes of the demo: three data nodes and three sentinels on free ports.
#![forbid(unsafe_code)]

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::client::{Reply, ask_once};
use crate::guard::Guard;

pub const NODE_NAMES: [&str; 3] = ["A", "B", "C"];
pub const SENTINELS: usize = 3;
pub const DOWN_AFTER_MS: u64 = 1000;
/// The name under which the sentinels watch the group.
pub const MASTER: &str = "demo";

const START_LIMIT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(20);

/// One process that was started.
pub struct Member {
    pub port: u16,
    name: String,
    child: Child,
    /// Killed on purpose.
    killed: bool,
}

/// All processes; dropping it ends them.
pub struct Group {
    pub nodes: Vec<Member>,
    pub sentinels: Vec<Member>,
    pub node_version: String,
    pub sentinel_version: String,
    server: PathBuf,
    guard: Guard,
}

impl Group {
    /// Starts everything and waits until the replicas are in sync.
    pub fn start() -> Result<Group, String> {
        let server = find_server()?;
        let sentinel = find_sentinel()?;
        let mut group = Group {
            nodes: Vec::new(),
            sentinels: Vec::new(),
            node_version: version(&server)?,
            sentinel_version: version(&sentinel)?,
            server,
            guard: Guard::start()?,
        };
        let ports = free_ports(NODE_NAMES.len() + SENTINELS)?;
        let (node_ports, sentinel_ports) = ports.split_at(NODE_NAMES.len());
        for (name, port) in NODE_NAMES.iter().zip(node_ports) {
            let master = (*port != node_ports[0]).then_some(node_ports[0]);
            let child = group.spawn_node(name, *port, master)?;
            let name = name.to_string();
            group.nodes.push(Member { port: *port, name, child, killed: false });
        }
        group.wait("the replicas to be in sync", START_LIMIT, |group| group.follows(0))?;
        for (number, port) in sentinel_ports.iter().enumerate() {
            group.spawn_sentinel(&sentinel, &format!("S{}", number + 1), *port)?;
        }
        group.wait("the sentinels to answer", START_LIMIT, |group| {
            group.sentinels.iter().all(|s| ask_once(s.port, &["PING"]).is_some())
        })?;
        Ok(group)
    }

    fn spawn_node(&mut self, name: &str, port: u16, master: Option<u16>) -> Result<Child, String> {
        let port = port.to_string();
        let mut args = vec!["--port", &port, "--bind", "127.0.0.1", "--save", ""];
        args.extend(["--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0"]);
        let master = master.map(|m| m.to_string());
        if let Some(master) = &master {
            args.extend(["--replicaof", "127.0.0.1", master]);
        }
        self.guard.spawn(name, &self.server.clone(), &args)
    }

    fn spawn_sentinel(&mut self, program: &Path, name: &str, port: u16) -> Result<(), String> {
        let file = self.guard.dir.join(format!("{name}.conf"));
        let dir = self.guard.dir.display();
        let text = format!(
            "port {port}\nbind 127.0.0.1\ndir \"{dir}\"\n\
             sentinel monitor {MASTER} 127.0.0.1 {} 2\n\
             sentinel down-after-milliseconds {MASTER} {DOWN_AFTER_MS}\n\
             sentinel failover-timeout {MASTER} 10000\n\
             sentinel parallel-syncs {MASTER} 1\n",
            self.nodes[0].port
        );
        fs::write(&file, text).map_err(|e| format!("cannot write {}: {e}", file.display()))?;
        let child = self.guard.spawn(name, program, &[&file.to_string_lossy()])?;
        let name = name.to_string();
        self.sentinels.push(Member { port, name, child, killed: false });
        Ok(())
    }

    /// Kills the first primary without a warning.
    pub fn kill_primary(&mut self) {
        self.nodes[0].killed = true;
        self.guard.kill(&mut self.nodes[0].child);
    }

    /// Starts the first primary again as it was, so as one that holds itself for the master.
    pub fn restart_primary(&mut self) -> Result<(), String> {
        let port = self.nodes[0].port;
        self.nodes[0].child = self.spawn_node(NODE_NAMES[0], port, None)?;
        self.nodes[0].killed = false;
        Ok(())
    }

    /// Waits until `done`, which is asked again and again.
    pub fn wait(
        &mut self,
        what: &str,
        limit: Duration,
        mut done: impl FnMut(&mut Group) -> bool,
    ) -> Result<(), String> {
        let until = Instant::now() + limit;
        while !done(self) {
            self.check_alive()?;
            if Instant::now() > until {
                return Err(format!("waited {} s for {what} in vain", limit.as_secs()));
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// An error, with the end of its output, if a process ended that should run.
    pub fn check_alive(&mut self) -> Result<(), String> {
        for member in self.nodes.iter_mut().chain(&mut self.sentinels) {
            if member.killed {
                continue;
            }
            if let Ok(Some(status)) = member.child.try_wait() {
                let out = self.guard.dir.join(format!("{}.out", member.name));
                let text = fs::read(out).unwrap_or_default();
                let text = String::from_utf8_lossy(&text);
                let lines: Vec<&str> = text.lines().collect();
                let end = lines[lines.len().saturating_sub(12)..].join("\n");
                return Err(format!("{} ended ({status}); it said last:\n{end}", member.name));
            }
        }
        Ok(())
    }

    pub fn sentinel_ports(&self) -> Vec<u16> {
        self.sentinels.iter().map(|s| s.port).collect()
    }

    /// Whether every sentinel sees the master, both replicas and both other sentinels.
    pub fn discovered(&self) -> bool {
        self.sentinels.iter().all(|s| {
            ask_once(s.port, &["SENTINEL", "MASTER", MASTER]).is_some_and(|m| {
                m.field("flags") == "master"
                    && m.field("num-slaves") == "2"
                    && m.field("num-other-sentinels") == "2"
            })
        })
    }

    /// The node whose address each sentinel gives to clients.
    pub fn masters_given(&self) -> Vec<Option<usize>> {
        let ask = |port| ask_once(port, &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER]);
        let node = |reply: Reply| {
            let port = reply.list().get(1)?.text().parse().ok()?;
            self.nodes.iter().position(|n| n.port == port)
        };
        self.sentinels.iter().map(|s| ask(s.port).and_then(node)).collect()
    }

    /// The new master, if all sentinels give the same one and it is not the old one.
    pub fn agreed_master(&self) -> Option<usize> {
        let given = self.masters_given();
        let first = given[0].filter(|at| *at != 0)?;
        given.iter().all(|g| *g == Some(first)).then_some(first)
    }

    /// Whether the living nodes other than `master` replicate from it and are in sync.
    pub fn follows(&self, master: usize) -> bool {
        let others = (0..self.nodes.len()).filter(|at| *at != master && !self.nodes[*at].killed);
        others.into_iter().all(|at| self.replicates(at, master))
    }

    /// Whether the first primary replicates from `master` and is in sync.
    pub fn primary_follows(&self, master: usize) -> bool {
        self.replicates(0, master)
    }

    fn replicates(&self, at: usize, master: usize) -> bool {
        let info = self.replication(at);
        let port = self.nodes[master].port.to_string();
        value(&info, "master_port") == port && value(&info, "master_link_status") == "up"
    }

    /// What a node says of itself, in words.
    pub fn role(&self, at: usize) -> String {
        if self.nodes[at].killed {
            return "dead".to_string();
        }
        let info = self.replication(at);
        match value(&info, "role") {
            "master" => format!("master, replicas: {}", value(&info, "connected_slaves")),
            "slave" => {
                let port = value(&info, "master_port");
                let of = self.nodes.iter().position(|n| n.port.to_string() == port);
                let of = of.map_or("?", |of| NODE_NAMES[of]);
                format!("replica of {of}, link {}", value(&info, "master_link_status"))
            }
            _ => "does not answer".to_string(),
        }
    }

    fn replication(&self, at: usize) -> String {
        let reply = ask_once(self.nodes[at].port, &["INFO", "replication"]);
        reply.map(|r| r.text().to_string()).unwrap_or_default()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for member in self.sentinels.iter_mut().chain(&mut self.nodes) {
            self.guard.kill(&mut member.child);
        }
    }
}

/// The value of a line `name:value` of INFO.
fn value<'a>(info: &'a str, name: &str) -> &'a str {
    let line = info.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_default().trim()
}

/// Ports that were free a moment ago, below the range from which outgoing connections take theirs.
fn free_ports(count: usize) -> Result<Vec<u16>, String> {
    let start = 20_000 + (std::process::id() % 1000) as u16 * 10;
    let mut held = Vec::new();
    for port in (start..32_000).chain(20_000..start) {
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            held.push((port, listener));
        }
        if held.len() == count {
            return Ok(held.into_iter().map(|(port, _)| port).collect());
        }
    }
    Err("no free ports".to_string())
}

/// The data node's program.
fn find_server() -> Result<PathBuf, String> {
    if let Some(path) = std::env::var_os("REDIS_SERVER") {
        return Ok(path.into());
    }
    let known = ["redis-server", "valkey-server"].map(PathBuf::from);
    let found = known.into_iter().find(|p| version(p).is_ok());
    found.ok_or("neither redis-server nor valkey-server is installed".to_string())
}

/// The sentinel's program.
fn find_sentinel() -> Result<PathBuf, String> {
    if let Some(path) = std::env::var_os("SENTINEL_PROGRAM") {
        return Ok(path.into());
    }
    let own = std::env::current_exe().map_err(|e| e.to_string())?;
    let built = own.parent().and_then(Path::parent).map(|dir| dir.join("sentineld"));
    let built = built.filter(|path| path.is_file());
    built.ok_or("sentineld is not built yet: run make first".to_string())
}

/// The first words of `--version`.
fn version(program: &Path) -> Result<String, String> {
    let out = Command::new(program).arg("--version").output();
    let out = out.map_err(|e| format!("cannot run {}: {e}", program.display()))?;
    let text = String::from_utf8_lossy(&out.stdout);
    let words: Vec<&str> = text.split_whitespace().take(3).collect();
    Ok(words.join(" "))
}
