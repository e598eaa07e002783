//! Configuration files that others wrote or will read: redis-sentinel's own, Debian's, ours.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use sentineld::config::load::{Files, Loaded, load};
use sentineld::config::rewrite::{
    StateLines, render_global, render_master, render_server, rewrite,
};

use sentineld::sentinel::setup::{HostPort, MasterConfig, PeerConfig, SentinelConfig};
use sentineld::server::acl::users::Users;

const DEADLINE: Duration = Duration::from_secs(10);
const ID: &str = "0123456789abcdef0123456789abcdef01234567";
const PEER: &str = "89abcdef0123456789abcdef0123456789abcdef";

/// Reads real files, and changes nothing.
struct RealFiles;

impl Files for RealFiles {
    fn read(&mut self, path: &[u8]) -> Result<Vec<u8>, String> {
        std::fs::read(String::from_utf8_lossy(path).as_ref()).map_err(|error| error.to_string())
    }
    fn glob(&mut self, _pattern: &[u8]) -> Vec<Vec<u8>> {
        Vec::new()
    }
    fn chdir(&mut self, dir: &[u8]) -> Result<Vec<u8>, String> {
        Ok(dir.to_vec())
    }
    fn is_executable(&mut self, path: &[u8]) -> bool {
        path == b"/bin/true"
    }
    fn can_append(&mut self, _path: &[u8]) -> Result<(), String> {
        Ok(())
    }
}

fn load_bytes(text: &[u8]) -> Loaded {
    load(text, None, &[], &mut RealFiles)
        .unwrap_or_else(|error| panic!("{error:?} in\n{}", String::from_utf8_lossy(text)))
}

fn state_lines(loaded: &Loaded) -> StateLines {
    StateLines {
        server: render_server(&loaded.settings),
        global: render_global(&loaded.sentinel.global),
        masters: loaded.sentinel.masters.iter().map(|m| Arc::new(render_master(m))).collect(),
        included: loaded.included.clone(),
        kept: loaded.kept.clone(),
    }
}

/// Says, and notes where the caller collects it, that a test could not be run.
fn not_run(test: &str, why: &str) {
    println!("NOT RUN: config_files: {test}: {why}");
    if let Some(path) = std::env::var_os("NOT_RUN_FILE") {
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
        writeln!(file, "config_files: {test}: {why}").unwrap();
    }
}

fn redis_sentinel() -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|dir| dir.join("redis-sentinel"))
        .find(|path| path.is_file())
}

/// A directory that goes with the test.
struct TempDir(PathBuf);

impl TempDir {
    fn new() -> TempDir {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "sentineld-config-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::SeqCst)
        );
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        TempDir(path)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A running redis-sentinel and a client of it.
struct Oracle {
    child: Child,
    client: BufReader<TcpStream>,
    file: PathBuf,
    _dir: TempDir,
}

impl Oracle {
    /// Starts it with `text` behind a port line of its own.
    fn start(program: &Path, text: &[u8]) -> Oracle {
        let dir = TempDir::new();
        let file = dir.0.join("sentinel.conf");
        let began = Instant::now();
        loop {
            let port = free_port();
            let head = format!("port {port}\nbind 127.0.0.1\ndir {}\n", dir.0.display());
            std::fs::write(&file, [head.as_bytes(), text].concat()).unwrap();
            let log = std::fs::File::create(dir.0.join("log")).unwrap();
            let mut child = Command::new(program)
                .arg(&file)
                .stdin(Stdio::null())
                .stdout(log.try_clone().unwrap())
                .stderr(log)
                .spawn()
                .unwrap();
            if let Some(stream) = connect(&mut child, port) {
                stream.set_read_timeout(Some(DEADLINE)).unwrap();
                return Oracle { child, client: BufReader::new(stream), file, _dir: dir };
            }
            let _ = child.kill();
            let _ = child.wait();
            let log = std::fs::read_to_string(dir.0.join("log")).unwrap();
            // Somebody else may have taken the port meanwhile.
            let again = log.contains("Address already in use") && began.elapsed() < DEADLINE;
            assert!(again, "redis-sentinel did not start: {log}");
        }
    }

    /// Sends a command; gives all strings and numbers of the reply, in order.
    fn ask(&mut self, words: &[&str]) -> Vec<String> {
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            request += &format!("${}\r\n{word}\r\n", word.len());
        }
        self.client.get_mut().write_all(request.as_bytes()).unwrap();
        let mut values = Vec::new();
        let mut open = 1;
        while open > 0 {
            open -= 1;
            let mut line = String::new();
            self.client.read_line(&mut line).unwrap();
            let rest = line[1..].trim_end().to_owned();
            match line.as_bytes()[0] {
                b'*' => open += rest.parse::<usize>().unwrap(),
                b'$' => {
                    let mut bulk = vec![0; rest.parse::<usize>().unwrap() + 2];
                    self.client.read_exact(&mut bulk).unwrap();
                    bulk.truncate(bulk.len() - 2);
                    values.push(String::from_utf8(bulk).unwrap());
                }
                b'-' => panic!("{words:?}: {rest}"),
                _ => values.push(rest),
            }
        }
        values
    }

    fn expect_ok(&mut self, words: &[&str]) {
        assert_eq!(self.ask(words), ["OK"], "{words:?}");
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn connect(child: &mut Child, port: u16) -> Option<TcpStream> {
    let began = Instant::now();
    while began.elapsed() < DEADLINE {
        if child.try_wait().unwrap().is_some() {
            return None;
        }
        if let Ok(stream) = TcpStream::connect(("127.0.0.1", port)) {
            return Some(stream);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    None
}

fn at(host: &str, port: u16) -> HostPort {
    HostPort { host: host.into(), port }
}

fn master<'a>(sentinel: &'a SentinelConfig, name: &str) -> &'a MasterConfig {
    sentinel.masters.iter().find(|m| m.name == name.as_bytes()).unwrap()
}

#[test]
fn a_file_of_redis_sentinel_loads() {
    let Some(program) = redis_sentinel() else {
        return not_run("a_file_of_redis_sentinel_loads", "redis-sentinel is missing");
    };
    let text = format!(
        "# kept\nrequirepass \"pa ss\"\nsentinel monitor first 127.0.0.1 1 2\n\
         sentinel known-slave first 127.0.0.1 2\nsentinel known-replica first ::1 3\n\
         sentinel known-sentinel first 127.0.0.1 4 {PEER}\nsentinel config-epoch first 6\n\
         sentinel leader-epoch first 5\nuser bob on >x ~* &* +@all\n"
    );
    let mut oracle = Oracle::start(&program, text.as_bytes());
    oracle.expect_ok(&["auth", "pa ss"]);
    let id = oracle.ask(&["sentinel", "myid"]).remove(0);
    oracle.expect_ok(&["sentinel", "monitor", "second", "127.0.0.1", "5", "1"]);
    for set in [
        &["down-after-milliseconds", "1234", "failover-timeout", "5678"][..],
        &["parallel-syncs", "3", "quorum", "4", "auth-pass", "secret", "auth-user", "me"],
        &["rename-command", "CONFIG", "guess", "master-reboot-down-after-period", "9"],
    ] {
        oracle.expect_ok(&[&["sentinel", "set", "second"], set].concat());
    }
    oracle.expect_ok(&["sentinel", "config", "set", "announce-port", "777"]);
    oracle.expect_ok(&["sentinel", "config", "set", "sentinel-pass", "peers"]);
    oracle.expect_ok(&["sentinel", "flushconfig"]);
    let written = std::fs::read(&oracle.file).unwrap();
    drop(oracle);

    let loaded = load_bytes(&written);
    let sentinel = &loaded.sentinel;
    assert_eq!(sentinel.global.myid.as_deref(), Some(id.as_bytes()));
    assert_eq!((sentinel.global.current_epoch, sentinel.global.announce_port), (6, 777));
    assert_eq!(sentinel.global.sentinel_pass.as_deref(), Some(&b"peers"[..]));
    let first = master(sentinel, "first");
    assert_eq!((&first.at, first.options.quorum), (&at("127.0.0.1", 1), 2));
    assert_eq!((first.config_epoch, first.leader_epoch), (6, 5));
    let mut replicas = first.replicas.clone();
    replicas.sort();
    assert_eq!(replicas, [at("127.0.0.1", 2), at("::1", 3)]);
    assert_eq!(first.peers, [PeerConfig { at: at("127.0.0.1", 4), runid: PEER.into() }]);
    let second = &master(sentinel, "second").options;
    assert_eq!((second.down_after_ms, second.failover_timeout_ms), (1234, 5678));
    assert_eq!((second.parallel_syncs, second.quorum), (3, 4));
    assert_eq!(second.auth_pass.as_deref(), Some(&b"secret"[..]));
    assert_eq!(second.auth_user.as_deref(), Some(&b"me"[..]));
    assert_eq!(second.master_reboot_down_after_ms, 9);
    assert_eq!(second.renamed.lookup(b"CONFIG"), b"guess");
    assert_eq!(loaded.settings.requirepass.as_deref(), Some(&b"pa ss"[..]));
    let users = Users::new(&loaded.settings);
    assert!(!users.default_is_open() && users.login(b"default", b"pa ss").is_some());

    // A save of ours finds nothing to change in it, but for the second line about one replica,
    // which redis-sentinel itself refuses at its next start.
    let same = rewrite(&written, &state_lines(&loaded));
    let twice = "sentinel known-replica first 127.0.0.1 2\n";
    let written = String::from_utf8(written).unwrap();
    assert!(written.contains(twice));
    assert_eq!(String::from_utf8_lossy(&same), written.replace(twice, ""));
}

#[test]
fn a_file_of_ours_starts_in_redis_sentinel() {
    let Some(program) = redis_sentinel() else {
        return not_run("a_file_of_ours_starts_in_redis_sentinel", "redis-sentinel is missing");
    };
    let old = "# ours\r\nSENTINEL monitor 'ma ster' 127.0.0.1 01 2\r\nsentinel announce-port 0\r\n\
               sentinel auth-pass \"ma ster\" \"\"\r\nsentinel down-after-milliseconds 'ma ster' 5";
    let mut loaded = load_bytes(old.as_bytes());
    loaded.sentinel.global.myid = Some(ID.into());
    loaded.sentinel.global.current_epoch = 3;
    let first = &mut loaded.sentinel.masters[0];
    first.at.port = 3;
    first.config_epoch = 3;
    first.options.failover_timeout_ms = u64::MAX;
    first.options.auth_pass = Some(b"a \"b\" \n\x00\xff".to_vec());
    first.options.notification_script = Some(b"/bin/true".to_vec());
    first.options.renamed.set(b"CONFIG", b"#x y");
    first.replicas = vec![at("127.0.0.1", 1), at("::1", 7)];
    first.peers = vec![PeerConfig { at: at("127.0.0.1", 4), runid: PEER.into() }];
    let mut second = first.clone();
    second.name = b"second".to_vec();
    loaded.sentinel.masters.push(second);
    let text = rewrite(old.as_bytes(), &state_lines(&loaded));

    let mut oracle = Oracle::start(&program, &text);
    assert_eq!(oracle.ask(&["sentinel", "myid"]), [ID]);
    let shown = oracle.ask(&["sentinel", "masters"]);
    let of = |field: &str| -> Vec<&str> {
        let pairs = shown.chunks_exact(2).filter(|pair| pair[0] == field);
        pairs.map(|pair| pair[1].as_str()).collect()
    };
    let mut names = of("name");
    names.sort_unstable();
    assert_eq!(names, ["ma ster", "second"]);
    assert_eq!(of("port"), ["3", "3"]);
    assert_eq!(of("quorum"), ["2", "2"]);
    assert_eq!(of("config-epoch"), ["3", "3"]);
    assert_eq!(of("num-slaves"), ["2", "2"]);
    assert_eq!(of("num-other-sentinels"), ["1", "1"]);
    assert_eq!(of("failover-timeout"), ["2147483647", "2147483647"]);
    let mut periods = of("down-after-milliseconds");
    periods.sort_unstable();
    assert_eq!(periods, ["5", "5"]);
}

#[test]
fn the_file_that_debian_ships_loads() {
    let test = "the_file_that_debian_ships_loads";
    let Ok(text) = std::fs::read("/etc/redis/sentinel.conf") else {
        return not_run(test, "/etc/redis/sentinel.conf is missing");
    };
    let loaded = load_bytes(&text);
    let mymaster = master(&loaded.sentinel, "mymaster");
    assert_eq!((&mymaster.at, mymaster.options.quorum), (&at("127.0.0.1", 6379), 2));
    assert!(loaded.settings.daemonize && !loaded.settings.protected_mode);
    assert_eq!(loaded.settings.port, 26379);
    assert_eq!(loaded.settings.logfile, b"/var/log/redis/redis-sentinel.log");
    assert!(loaded.ignored.is_empty());
}

#[test]
fn the_file_that_we_ship_is_the_defaults() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/sentinel.conf");
    let loaded = load_bytes(&std::fs::read(path).unwrap());
    let settings = &loaded.settings;
    assert_eq!((settings.port, settings.daemonize), (26379, false));
    assert!(settings.logfile.is_empty() && settings.pidfile.is_none());
    assert!(loaded.ignored.is_empty());
    let default = load_bytes(b"sentinel monitor mymaster 127.0.0.1 6379 2");
    assert_eq!(loaded.sentinel, default.sentinel);
    assert_eq!(*settings, default.settings);
}
