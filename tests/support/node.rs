//! Data nodes: `redis-server` processes without persistence.

use super::client::{Client, Endpoint};
use super::process::Process;
use super::value::Value;
use super::wait::{self, LONG, SHORT};
use super::world::World;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::rc::Rc;

/// How a data node is started.
#[derive(Debug, Clone)]
pub struct NodeOptions {
    /// Address it binds and is asked at.
    pub host: String,
    /// The port of another node, on another address; `None`: one of its own.
    pub port: Option<u16>,
    /// Master it replicates from at the start.
    pub replica_of: Option<(String, u16)>,
    /// Further config lines.
    pub lines: Vec<String>,
    /// User and password of the test's own connections (`default` for the default user).
    pub login: Option<(String, String)>,
}

impl Default for NodeOptions {
    fn default() -> NodeOptions {
        NodeOptions {
            host: "127.0.0.1".into(),
            port: None,
            replica_of: None,
            lines: Vec::new(),
            login: None,
        }
    }
}

/// A data node, running or not.
pub struct Node {
    /// Address it binds.
    pub host: String,
    /// Its port, the same over restarts.
    pub port: u16,
    login: Option<(String, String)>,
    config: PathBuf,
    log: PathBuf,
    process: Option<Process>,
    _world: Rc<World>,
}

/// The replication part of a node's INFO.
#[derive(Debug, Clone, PartialEq)]
pub enum Role {
    /// It is a master.
    Master,
    /// It replicates from this port, and whether that link is up.
    Replica { of_port: u16, link_up: bool },
}

impl Node {
    /// Starts a node and waits until it answers.
    pub fn start(world: &Rc<World>, options: &NodeOptions) -> Node {
        let mut reason = String::new();
        // Somebody else may have taken the port meanwhile.
        for _ in 0..3 {
            let mut node = Node::prepare(world, options);
            match node.launch() {
                Ok(()) => return node,
                Err(error) => reason = error,
            }
        }
        panic!("redis-server does not start: {reason}");
    }

    fn prepare(world: &Rc<World>, options: &NodeOptions) -> Node {
        let dir = world.new_dir("node");
        let port = options.port.unwrap_or_else(|| world.port());
        let config = dir.join("redis.conf");
        let log = dir.join("redis.log");
        let mut text = format!(
            "port {port}\nbind {}\ndir {}\nlogfile {}\nsave \"\"\nappendonly no\n\
             repl-diskless-sync yes\nrepl-diskless-sync-delay 0\n\
             repl-diskless-load on-empty-db\nrepl-ping-replica-period 1\n",
            options.host,
            dir.display(),
            log.display(),
        );
        for line in &options.lines {
            text.push_str(&format!("{line}\n"));
        }
        if let Some((host, port)) = &options.replica_of {
            text.push_str(&format!("replicaof {host} {port}\n"));
        }
        fs::write(&config, text).expect("redis.conf is written");
        world.watch_log(&log);
        Node {
            host: options.host.clone(),
            port,
            login: options.login.clone(),
            config,
            log,
            process: None,
            _world: world.clone(),
        }
    }

    /// `Err` if the process ended instead of answering.
    fn launch(&mut self) -> Result<(), String> {
        let process = Process::spawn(Command::new("redis-server").arg(&self.config))
            .expect("redis-server is executable");
        let outcome = wait::wait("redis-server to answer", LONG, || {
            if let Some(code) = process.exit_code() {
                return Ok(Err(format!("exit code {code}")));
            }
            let pong = self.try_ask(&["PING"]).map_err(|error| error.to_string())?;
            wait::expect(pong.text().contains("PONG"), pong)?;
            Ok(Ok(()))
        });
        self.process = Some(process);
        outcome
    }

    /// Starts a killed node again with its own config file.
    pub fn restart(&mut self) {
        self.kill();
        self.launch().unwrap_or_else(|error| panic!("redis-server does not restart: {error}"));
    }

    /// Starts a killed node without waiting for its first answer, as where it loads for long.
    pub fn launch_without_waiting(&mut self) {
        let process = Process::spawn(Command::new("redis-server").arg(&self.config));
        self.process = Some(process.expect("redis-server is executable"));
    }

    /// Adds a line to the config file, for the next start.
    pub fn add_config_line(&self, line: &str) {
        let text = self.config_text() + line + "\n";
        fs::write(&self.config, text).expect("redis.conf is written");
    }

    /// Who the test's own connections log in as from now on.
    pub fn set_login(&mut self, user: &str, password: &str) {
        self.login = Some((user.into(), password.into()));
    }

    /// Kills the node at once.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Stops the process without ending it.
    pub fn freeze(&self) {
        self.process().freeze();
    }

    /// Lets a frozen process go on.
    pub fn thaw(&self) {
        self.process().thaw();
    }

    /// True while it was started and not killed.
    pub fn is_running(&self) -> bool {
        self.process.is_some()
    }

    fn process(&self) -> &Process {
        self.process.as_ref().expect("the node runs")
    }

    /// `host:port`, the name a replica has at the sentinels.
    pub fn name(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// A new connection, logged in.
    pub fn connect(&self) -> io::Result<Client> {
        let mut client = Client::connect(&Endpoint::Tcp(self.host.clone(), self.port))?;
        if let Some((user, password)) = &self.login {
            client.ask(&["AUTH", user, password])?;
        }
        Ok(client)
    }

    /// Asks on a new connection.
    pub fn try_ask(&self, words: &[&str]) -> io::Result<Value> {
        self.connect()?.ask(words)
    }

    /// Asks a node that must be there.
    pub fn ask(&self, words: &[&str]) -> Value {
        self.try_ask(words).unwrap_or_else(|error| panic!("{} {words:?}: {error}", self.name()))
    }

    /// The fields of `INFO replication`.
    pub fn replication(&self) -> io::Result<BTreeMap<String, String>> {
        Ok(info_fields(&self.try_ask(&["INFO", "replication"])?.text()))
    }

    /// What the node says it is.
    pub fn role(&self) -> Result<Role, String> {
        let info = self.replication().map_err(|error| error.to_string())?;
        match info.get("role").map(String::as_str) {
            Some("master") => Ok(Role::Master),
            Some("slave") => Ok(Role::Replica {
                of_port: info["master_port"].parse().map_err(|_| "no port".to_string())?,
                link_up: info["master_link_status"] == "up",
            }),
            _ => Err(format!("{info:?}")),
        }
    }

    /// Waits until the node replicates from `port` with its link up.
    #[track_caller]
    pub fn wait_replica_of(&self, port: u16) {
        wait::wait(&format!("{} to replicate from port {port}", self.name()), LONG, || {
            wait::expect_eq(self.role()?, Role::Replica { of_port: port, link_up: true })
        });
    }

    /// Waits until the node says it is a master.
    #[track_caller]
    pub fn wait_master(&self) {
        wait::wait(&format!("{} to be a master", self.name()), LONG, || {
            wait::expect_eq(self.role()?, Role::Master)
        });
    }

    /// Waits until a key written at the master can be read here.
    #[track_caller]
    pub fn wait_key(&self, key: &str, value: &str) {
        wait::wait(&format!("{key} at {}", self.name()), SHORT, || {
            let got = self.try_ask(&["GET", key]).map_err(|error| error.to_string())?;
            wait::expect_eq(got.text(), value.to_string())
        });
    }

    /// Everything in the node's log so far.
    pub fn log_text(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The node's config file as it is now.
    pub fn config_text(&self) -> String {
        fs::read_to_string(&self.config).expect("redis.conf is readable")
    }
}

/// The `name:value` lines of an INFO text.
pub fn info_fields(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter_map(|line| line.trim_end().split_once(':'))
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect()
}
