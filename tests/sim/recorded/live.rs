//! Steps on real `redis-server` processes.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufReader, Write};
use std::net::{Shutdown, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use super::script::Group;
use crate::support::process::Process;
use crate::support::value::Value;
use crate::support::wait::{self, LONG, SHORT};
use crate::support::world::World;

/// Nothing for so long: that was all.
const QUIET: Duration = Duration::from_millis(150);
/// The same while another look follows.
const SOON: Duration = Duration::from_millis(20);

struct Node {
    dir: PathBuf,
    port: u16,
    args: Vec<String>,
    process: Option<Process>,
}

pub struct Live {
    world: Rc<World>,
    nodes: BTreeMap<String, Node>,
    conns: BTreeMap<String, TcpStream>,
    from_readers: Receiver<(String, Option<Value>)>,
    to_here: Sender<(String, Option<Value>)>,
}

fn request(words: &[impl AsRef<str>]) -> Vec<u8> {
    let refs: Vec<&[u8]> = words.iter().map(|word| word.as_ref().as_bytes()).collect();
    crate::wire::request(&refs)
}

impl Live {
    /// `None` if there is no redis-server, which is said.
    pub fn open(name: &str) -> Option<Live> {
        let world = World::open(&format!("recorded_{name}"))?;
        let (to_here, from_readers) = channel();
        let (nodes, conns) = (BTreeMap::new(), BTreeMap::new());
        Some(Live { world, nodes, conns, from_readers, to_here })
    }

    fn launch(&mut self, name: &str) {
        let node = self.nodes.get_mut(name).expect("a node of the script");
        let mut command = Command::new("redis-server");
        command.args(&node.args).current_dir(&node.dir);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        node.process = Some(Process::spawn(&mut command).expect("redis-server starts"));
        wait::wait("redis-server to answer", LONG, || match self.look(name) {
            Some(text) => Ok(text),
            None => Err("no answer".to_owned()),
        });
    }

    /// Any answer to INFO.
    fn look(&self, name: &str) -> Option<String> {
        self.ask(name, &["INFO"]).ok().map(|answer| answer.text())
    }

    /// Asks on a connection of its own, which is gone on the other side when this returns.
    fn ask(&self, name: &str, words: &[&str]) -> io::Result<Value> {
        let stream = TcpStream::connect(("127.0.0.1", self.nodes[name].port))?;
        stream.set_read_timeout(Some(SHORT))?;
        (&stream).write_all(&[request(words), request(&["QUIT"])].concat())?;
        let mut reader = BufReader::new(stream);
        let answer = Value::read(&mut reader)?;
        while Value::read(&mut reader).is_ok() {}
        Ok(answer)
    }
}

impl Group for Live {
    fn node(&mut self, name: &str, of: Option<&str>, lines: &[&str]) {
        let (dir, port) = (self.world.new_dir(name), self.world.port());
        let mut text = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\nlogfile {}\nsave \"\"\n\
             repl-ping-replica-period 3600\nrepl-timeout 3600\nrepl-diskless-sync-delay 0\n\
             enable-debug-command local\nrdbcompression no\nbusy-reply-threshold 50\n",
            dir.display(),
            dir.join("log").display(),
        );
        self.world.watch_log(&dir.join("log"));
        let no_file = lines.contains(&"no-file");
        for line in lines.iter().filter(|line| **line != "no-file") {
            text += &format!("{line}\n");
        }
        if let Some(of) = of {
            text += &format!("replicaof 127.0.0.1 {}\n", self.nodes[of].port);
        }
        let args = if no_file {
            text.lines()
                .flat_map(|line| {
                    format!("--{line}").split(' ').map(str::to_owned).collect::<Vec<_>>()
                })
                .collect()
        } else {
            let file = dir.join("redis.conf");
            fs::write(&file, text).expect("redis.conf is written");
            vec![file.display().to_string()]
        };
        let node = Node { dir, port, args, process: None };
        self.nodes.insert(name.to_owned(), node);
        self.launch(name);
    }

    fn address(&self, node: &str) -> (String, u16) {
        ("127.0.0.1".to_owned(), self.nodes[node].port)
    }

    fn conn(&mut self, name: &str, node: &str) {
        let stream = TcpStream::connect(("127.0.0.1", self.nodes[node].port)).expect("it listens");
        stream.set_nodelay(true).expect("a socket option");
        let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
        // A connection that is made waits to be accepted; one that was answered counts.
        (&stream).write_all(&request(&["PING"])).expect("the connection is open");
        Value::read(&mut reader).expect("any answer");
        let (to_here, of) = (self.to_here.clone(), name.to_owned());
        std::thread::spawn(move || {
            loop {
                let value = Value::read(&mut reader).ok();
                let ends = value.is_none();
                if to_here.send((of.clone(), value)).is_err() || ends {
                    return;
                }
            }
        });
        self.conns.insert(name.to_owned(), stream);
    }

    fn send(&mut self, conn: &str, requests: &[Vec<String>]) {
        let bytes: Vec<u8> = requests.iter().flat_map(|words| request(words)).collect();
        (&self.conns[conn]).write_all(&bytes).expect("the connection is open");
    }

    fn close(&mut self, conn: &str) {
        let stream = self.conns.remove(conn).expect("a connection of the script");
        // The reader sees the end when the other side has closed, too.
        let _ = stream.shutdown(Shutdown::Write);
    }

    fn fault(&mut self, what: &str, name: &str) {
        let node = self.nodes.get_mut(name).expect("a node of the script");
        let process = || node.process.as_ref().expect("it runs");
        match what {
            "kill" => node.process = None,
            "freeze" => process().freeze(),
            "thaw" => process().thaw(),
            "empty" => fs::remove_file(node.dir.join("dump.rdb")).expect("it has saved"),
            "lose" => fs::remove_dir_all(&node.dir).expect("it has a directory"),
            "refuse-info" => {
                let said = self.ask(name, &["ACL", "SETUSER", "default", "-info"]);
                assert!(said.expect("a reply").is_ok());
            }
            "restart" => self.launch(name),
            _ => panic!("no such step: {what}"),
        }
    }

    fn set(&mut self, node: &str, setting: &str, value: &str) {
        let said = self.ask(node, &["CONFIG", "SET", setting, value]).expect("a reply");
        assert!(said.is_ok(), "{setting}: {}", said.text());
    }

    fn info(&mut self, node: &str) -> String {
        wait::wait("an answer to INFO", LONG, || self.look(node).ok_or("none".to_owned()))
    }

    fn wait(&mut self, seconds: u64) {
        std::thread::sleep(Duration::from_secs(seconds));
    }

    fn breathe(&mut self) {
        std::thread::sleep(SOON);
    }

    fn seen(&mut self, wanted: Option<usize>) -> Vec<(String, Option<Value>)> {
        let mut seen = Vec::new();
        loop {
            let time = match wanted {
                None => QUIET,
                Some(wanted) if seen.len() < wanted => SHORT,
                Some(_) => Duration::ZERO,
            };
            let Ok(thing) = self.from_readers.recv_timeout(time) else { return seen };
            seen.push(thing);
        }
    }
}
