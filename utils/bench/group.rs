//! A group to be measured: a primary, replicas and sentinels of one of the programs.
#![forbid(unsafe_code)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use crate::bench::{Bench, Side};
use crate::client::ask_once;

/// The name under which the sentinels watch the group.
pub const MASTER: &str = "bench";
pub const REPLICAS: usize = 2;
/// How long a candidate waits before it tries again, at most; the default is longer.
pub const FAILOVER_TIMEOUT_MS: u64 = 10_000;

const START_LIMIT: Duration = Duration::from_secs(40);
const POLL: Duration = Duration::from_millis(20);

/// One process that was started.
pub struct Member {
    pub port: u16,
    pub child: Child,
}

/// A sentinel that has a configuration but does not run.
pub struct Prepared {
    pub port: u16,
    file: PathBuf,
}

/// What a group is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    pub sentinels: usize,
    pub down_after_ms: u64,
}

/// The processes; dropping it ends them.
pub struct Group<'a> {
    /// The primary first.
    pub nodes: Vec<Member>,
    pub sentinels: Vec<Member>,
    shape: Shape,
    bench: &'a Bench,
    /// Below the directory of the bench.
    dir: String,
}

impl<'a> Group<'a> {
    /// Starts the data nodes and waits until the replicas are in sync; no sentinel yet.
    pub fn start(bench: &'a Bench, shape: Shape) -> Result<Group<'a>, String> {
        let dir = bench.make_dir()?;
        let mut group = Group { nodes: vec![], sentinels: vec![], shape, bench, dir };
        for _ in 0..=REPLICAS {
            let node = group.spawn_node()?;
            group.nodes.push(node);
        }
        group.wait("the replicas to be in sync", Group::in_sync)?;
        Ok(group)
    }

    /// Starts all sentinels.
    pub fn start_sentinels(&mut self, side: Side) -> Result<(), String> {
        for _ in 0..self.shape.sentinels {
            let ready = self.prepare_sentinel()?;
            self.start_sentinel(side, &ready)?;
        }
        Ok(())
    }

    fn spawn_node(&self) -> Result<Member, String> {
        let port = self.bench.free_port()?;
        let (text, dir) = (port.to_string(), self.path().display().to_string());
        let mut args = vec!["--port", &text, "--bind", "127.0.0.1", "--save", "", "--dir", &dir];
        args.extend(["--dbfilename", &text]);
        args.extend(["--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0"]);
        let master = self.nodes.first().map(|m| m.port.to_string());
        if let Some(master) = &master {
            args.extend(["--replicaof", "127.0.0.1", master]);
        }
        let name = format!("{}/{port}", self.dir);
        let child = self.bench.guard().spawn(&name, &self.bench.server, &args)?;
        Ok(Member { port, child })
    }

    /// Writes the configuration of one more sentinel.
    pub fn prepare_sentinel(&self) -> Result<Prepared, String> {
        let port = self.bench.free_port()?;
        let file = self.path().join(format!("{port}.conf"));
        let quorum = self.shape.sentinels / 2 + 1;
        let text = format!(
            "port {port}\nbind 127.0.0.1\ndir \"{}\"\n\
             sentinel monitor {MASTER} 127.0.0.1 {} {quorum}\n\
             sentinel down-after-milliseconds {MASTER} {}\n\
             sentinel failover-timeout {MASTER} {FAILOVER_TIMEOUT_MS}\n",
            self.path().display(),
            self.nodes[0].port,
            self.shape.down_after_ms
        );
        fs::write(&file, text).map_err(|e| format!("cannot write {}: {e}", file.display()))?;
        Ok(Prepared { port, file })
    }

    /// Starts a sentinel that was prepared.
    pub fn start_sentinel(&mut self, side: Side, ready: &Prepared) -> Result<(), String> {
        let name = format!("{}/{}", self.dir, ready.port);
        let args = [&*ready.file.to_string_lossy()];
        let child = self.bench.guard().spawn(&name, &self.bench.program(side).path, &args)?;
        self.sentinels.push(Member { port: ready.port, child });
        Ok(())
    }

    /// Ends the sentinels and leaves the data nodes.
    pub fn end_sentinels(&mut self) {
        for mut member in self.sentinels.drain(..) {
            self.bench.guard().kill(&mut member.child);
        }
    }

    fn path(&self) -> PathBuf {
        self.bench.dir().join(&self.dir)
    }

    /// Waits until `done`, which is asked again and again.
    pub fn wait(&self, what: &str, done: impl Fn(&Self) -> bool) -> Result<(), String> {
        let until = Instant::now() + START_LIMIT;
        while !done(self) {
            if Instant::now() > until {
                return Err(format!("waited {} s for {what} in vain", START_LIMIT.as_secs()));
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    fn in_sync(&self) -> bool {
        self.nodes[1..].iter().all(|node| {
            let info = ask_once(node.port, &["INFO", "replication"]);
            info.is_some_and(|i| i.text().contains("master_link_status:up"))
        })
    }

    /// Whether every sentinel sees the first primary, all replicas and all other sentinels, and
    /// none of them is missed.
    pub fn discovered(&self) -> bool {
        let (replicas, others) = (REPLICAS.to_string(), (self.sentinels.len() - 1).to_string());
        let port = self.nodes[0].port.to_string();
        self.sentinels.iter().all(|s| {
            let master = ask_once(s.port, &["SENTINEL", "MASTER", MASTER]);
            let known = master.is_some_and(|m| {
                m.field("flags") == "master"
                    && m.field("port") == port
                    && m.field("num-slaves") == replicas
                    && m.field("num-other-sentinels") == others
            });
            known
                && all_flags(s.port, "REPLICAS", "slave")
                && all_flags(s.port, "SENTINELS", "sentinel")
        })
    }
}

/// Whether all instances of a list have exactly these flags.
fn all_flags(port: u16, list: &str, flags: &str) -> bool {
    let reply = ask_once(port, &["SENTINEL", list, MASTER]);
    reply.is_some_and(|r| r.list().iter().all(|i| i.field("flags") == flags))
}

impl Drop for Group<'_> {
    fn drop(&mut self) {
        for member in self.sentinels.iter_mut().chain(&mut self.nodes) {
            self.bench.guard().kill(&mut member.child);
        }
        let _ = fs::remove_dir_all(self.path());
    }
}

/// Sends signals without the delay of starting a program: a shell that is running already.
pub struct Signals {
    shell: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Signals {
    /// Starts the shell.
    pub fn start() -> Result<Signals, String> {
        let shell = Command::new("sh")
            .args(["-c", "while read -r pid; do kill -STOP \"$pid\"; echo; done"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut shell = shell.map_err(|e| format!("cannot run sh: {e}"))?;
        match (shell.stdin.take(), shell.stdout.take()) {
            (Some(orders), Some(answers)) => {
                Ok(Signals { shell, orders, answers: BufReader::new(answers) })
            }
            _ => Err("no pipes to sh".to_string()),
        }
    }

    /// Freezes a process.
    pub fn freeze(&mut self, pid: u32) -> Result<(), String> {
        let failed = |e| format!("cannot freeze {pid}: {e}");
        writeln!(self.orders, "{pid}").map_err(failed)?;
        self.answers.read_line(&mut String::new()).map_err(failed)?;
        Ok(())
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}
