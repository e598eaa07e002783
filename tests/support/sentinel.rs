//! Sentinel processes: the program under test, or `redis-sentinel` beside it.

use super::client::{Client, Endpoint};
use super::node::info_fields;
use super::process::Process;
use super::recorder::Recorder;
use super::value::Value;
use super::wait::{self, LONG};
use super::world::{World, find_program};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;

/// Periods set at each start by `SENTINEL DEBUG`, so that tests take seconds and not minutes.
const FAST_PERIODS: [&str; 8] =
    ["SENTINEL", "DEBUG", "info-period", "1000", "publish-period", "500", "ask-period", "500"];

/// Which program runs as a sentinel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// What the environment names in SENTINEL_UNDER_TEST, else ours.
    UnderTest,
    /// `redis-sentinel`, the program to be compatible with.
    Redis,
}

impl Program {
    /// Its path.
    pub fn path(self) -> PathBuf {
        match self {
            Program::UnderTest => match std::env::var_os("SENTINEL_UNDER_TEST") {
                Some(path) => PathBuf::from(path),
                None => PathBuf::from(env!("CARGO_BIN_EXE_sentineld")),
            },
            Program::Redis => find_program("redis-sentinel").unwrap_or("redis-sentinel".into()),
        }
    }

    /// True if this is not our program but the one to be compatible with.
    pub fn is_redis(self) -> bool {
        let path = self.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.starts_with("redis-") || name.starts_with("valkey-")
    }
}

/// How a sentinel is started.
#[derive(Debug, Clone)]
pub struct SentinelOptions {
    /// What runs.
    pub program: Program,
    /// Lines of its config file beside port, bind, dir and logfile.
    pub lines: Vec<String>,
    /// Its `bind` line's value.
    pub bind: String,
    /// Environment variables added for it.
    pub environment: Vec<(String, String)>,
    /// A command that it is started by, given the program and its arguments.
    pub wrapper: Vec<String>,
    /// User and password of the test's own connections.
    pub login: Option<(String, String)>,
    /// Sets short periods after each start.
    pub fast: bool,
}

impl Default for SentinelOptions {
    fn default() -> SentinelOptions {
        SentinelOptions {
            program: Program::UnderTest,
            lines: Vec::new(),
            bind: "127.0.0.1".into(),
            environment: Vec::new(),
            wrapper: Vec::new(),
            login: None,
            fast: true,
        }
    }
}

impl SentinelOptions {
    /// Options with these config lines.
    pub fn with_lines<S: Into<String>>(lines: impl IntoIterator<Item = S>) -> SentinelOptions {
        let lines = lines.into_iter().map(Into::into).collect();
        SentinelOptions { lines, ..SentinelOptions::default() }
    }
}

/// A sentinel, running or not.
pub struct Sentinel {
    /// What runs.
    pub program: Program,
    /// The port it is asked at.
    pub port: u16,
    /// Its config file.
    pub config: PathBuf,
    /// Its log file.
    pub log: PathBuf,
    options: SentinelOptions,
    output: PathBuf,
    process: Option<Process>,
    world: Rc<World>,
}

impl Sentinel {
    /// Starts a sentinel and waits until it answers.
    pub fn start(world: &Rc<World>, options: &SentinelOptions) -> Sentinel {
        let mut reason = String::new();
        // Somebody else may have taken the port meanwhile.
        for _ in 0..3 {
            let mut sentinel = Sentinel::prepare(world, options);
            match sentinel.launch() {
                Ok(()) => return sentinel,
                Err(error) => reason = error,
            }
        }
        panic!("the sentinel does not start: {reason}");
    }

    /// Writes the config file without starting anything.
    pub fn prepare(world: &Rc<World>, options: &SentinelOptions) -> Sentinel {
        let dir = world.new_dir("sentinel");
        let port = world.port();
        let log = dir.join("sentinel.log");
        let mut text = format!(
            "port {port}\nbind {}\ndir {}\nlogfile {}\n",
            options.bind,
            dir.display(),
            log.display()
        );
        for line in &options.lines {
            text.push_str(line);
            text.push('\n');
        }
        let config = dir.join("sentinel.conf");
        fs::write(&config, text).expect("sentinel.conf is written");
        let output = dir.join("output");
        for path in [&config, &log, &output] {
            world.watch_log(path);
        }
        Sentinel {
            program: options.program,
            port,
            config,
            log,
            options: options.clone(),
            output,
            process: None,
            world: world.clone(),
        }
    }

    /// The command that starts it, with its output going to a file.
    pub fn command(&self) -> Command {
        let program = self.program.path();
        let mut command = match self.options.wrapper.split_first() {
            None => Command::new(program),
            Some((wrapper, arguments)) => {
                let mut command = Command::new(wrapper);
                command.args(arguments).arg(program);
                command
            }
        };
        command.arg(&self.config).envs(self.options.environment.iter().cloned());
        let output = fs::OpenOptions::new().create(true).append(true).open(&self.output);
        let output = output.expect("the output file opens");
        command.stderr(output.try_clone().expect("one more descriptor")).stdout(output);
        command
    }

    /// Starts it; `Err` if the process ended instead of answering.
    pub fn launch(&mut self) -> Result<(), String> {
        let process = Process::spawn(&mut self.command()).expect("the sentinel is executable");
        let outcome = wait::wait("the sentinel to answer", LONG, || {
            if let Some(code) = process.exit_code() {
                return Ok(Err(format!("exit code {code}: {}", self.output_text())));
            }
            let pong = self.try_ask(&["PING"]).map_err(|error| error.to_string())?;
            wait::expect(pong.text() == "PONG", pong)?;
            Ok(Ok(()))
        });
        self.process = Some(process);
        if outcome.is_ok() && self.options.fast {
            assert!(self.ask(&FAST_PERIODS).is_ok(), "SENTINEL DEBUG");
        }
        outcome
    }

    /// Kills it (SIGKILL) and starts it again on its own file.
    pub fn restart(&mut self) {
        self.kill();
        self.launch().unwrap_or_else(|error| panic!("the sentinel does not restart: {error}"));
    }

    /// Starts it by this command from now on, given the program and its arguments.
    pub fn wrap_in(&mut self, wrapper: &[&str]) {
        self.options.wrapper = wrapper.iter().map(ToString::to_string).collect();
    }

    /// Ends it with SIGTERM, then starts `program` on the same file.
    pub fn replace_by(&mut self, program: Program) {
        assert_eq!(self.terminate(), 0, "SIGTERM ends it with code 0");
        self.program = program;
        self.launch().unwrap_or_else(|error| panic!("{program:?} refuses the file: {error}"));
    }

    /// SIGTERM; gives the exit code.
    pub fn terminate(&mut self) -> i32 {
        let process = self.process.take().expect("the sentinel runs");
        process.signal(nix::sys::signal::Signal::SIGTERM);
        process.wait("the sentinel to end")
    }

    /// Kills it at once.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Waits until it ends by itself; gives the exit code.
    pub fn wait_exit(&mut self) -> i32 {
        let code = self.process().wait("the sentinel to end");
        self.process = None;
        code
    }

    /// The running process.
    pub fn process(&self) -> &Process {
        self.process.as_ref().expect("the sentinel runs")
    }

    /// True while it was started and not killed.
    pub fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// Stops the process without ending it.
    pub fn freeze(&self) {
        self.process().freeze();
    }

    /// Lets a frozen process go on.
    pub fn thaw(&self) {
        self.process().thaw();
    }

    /// Where it listens.
    pub fn endpoint(&self) -> Endpoint {
        let host = self.options.bind.split_whitespace().next().unwrap_or("127.0.0.1");
        let host = if host == "*" { "127.0.0.1" } else { host };
        Endpoint::Tcp(host.into(), self.port)
    }

    /// Who the test's own connections log in as from now on.
    pub fn set_login(&mut self, user: &str, password: &str) {
        self.options.login = Some((user.into(), password.into()));
    }

    /// A new connection, logged in.
    pub fn connect(&self) -> io::Result<Client> {
        let mut client = Client::connect(&self.endpoint())?;
        if let Some((user, password)) = &self.options.login {
            client.ask(&["AUTH", user, password])?;
        }
        Ok(client)
    }

    /// Asks on a new connection.
    pub fn try_ask(&self, words: &[&str]) -> io::Result<Value> {
        self.connect()?.ask(words)
    }

    /// Asks a sentinel that must be there.
    #[track_caller]
    pub fn ask(&self, words: &[&str]) -> Value {
        self.try_ask(words).unwrap_or_else(|error| panic!("port {} {words:?}: {error}", self.port))
    }

    /// Asks, and wants `+OK`.
    #[track_caller]
    pub fn ok(&self, words: &[&str]) {
        let reply = self.ask(words);
        assert!(reply.is_ok(), "{words:?} is answered by {reply:?}");
    }

    /// Records its events from now on.
    pub fn record(&self) -> Recorder {
        Recorder::new(self.connect().expect("the sentinel accepts"))
    }

    /// Its own id.
    pub fn id(&self) -> String {
        self.ask(&["SENTINEL", "MYID"]).text()
    }

    /// The fields of a master; empty for an unknown one.
    pub fn master(&self, name: &str) -> BTreeMap<String, String> {
        self.ask(&["SENTINEL", "MASTER", name]).table()
    }

    /// One field of a master, empty if it is not there.
    pub fn master_field(&self, name: &str, field: &str) -> String {
        self.master(name).remove(field).unwrap_or_default()
    }

    /// The replicas of a master.
    pub fn replicas(&self, name: &str) -> Vec<BTreeMap<String, String>> {
        self.ask(&["SENTINEL", "REPLICAS", name]).items().iter().map(Value::table).collect()
    }

    /// The fields of one replica by its port; empty if it is not known.
    pub fn replica(&self, name: &str, port: u16) -> BTreeMap<String, String> {
        let port = port.to_string();
        self.replicas(name).into_iter().find(|r| r["port"] == port).unwrap_or_default()
    }

    /// The other sentinels of a master.
    pub fn peers(&self, name: &str) -> Vec<BTreeMap<String, String>> {
        self.ask(&["SENTINEL", "SENTINELS", name]).items().iter().map(Value::table).collect()
    }

    /// Port of the address it gives to clients, `None` if it knows no such master.
    pub fn address_port(&self, name: &str) -> io::Result<Option<u16>> {
        let reply = self.try_ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", name])?;
        Ok(reply.texts().get(1).and_then(|port| port.parse().ok()))
    }

    /// The fields of its INFO.
    pub fn info(&self) -> BTreeMap<String, String> {
        info_fields(&self.ask(&["INFO"]).text())
    }

    /// Everything in its log file so far.
    pub fn log_text(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Everything it wrote to standard output and error so far.
    pub fn output_text(&self) -> String {
        let bytes = fs::read(&self.output).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Its config file as it is now.
    pub fn config_text(&self) -> String {
        fs::read_to_string(&self.config).expect("sentinel.conf is readable")
    }

    /// The lines of its config file that begin with `sentinel <what> `, without that.
    pub fn state_lines(&self, what: &str) -> Vec<String> {
        state_lines(&self.config, what)
    }

    /// Waits until the config file has this line.
    #[track_caller]
    pub fn wait_config_line(&self, line: &str) {
        wait::wait(&format!("{line:?} in the config file"), wait::SHORT, || {
            let text = self.config_text();
            wait::expect(text.lines().any(|seen| seen == line), text)
        });
    }

    /// The test this belongs to.
    pub fn world(&self) -> &Rc<World> {
        &self.world
    }
}

/// The lines of a config file that begin with `sentinel <what> `, without that.
pub fn state_lines(config: &Path, what: &str) -> Vec<String> {
    let text = fs::read_to_string(config).expect("the config file is readable");
    let prefix = format!("sentinel {what} ");
    text.lines().filter_map(|line| line.strip_prefix(&prefix)).map(str::to_string).collect()
}
