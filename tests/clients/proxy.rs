//! A TCP proxy in front of a sentinel that notes which commands clients send, and which errors
//! they get. Sentinels reach each other through it as well, since clients are told its port; what
//! those send is not noted.

use super::requests;
use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// How many bytes are taken at a time.
const CHUNK: usize = 16 * 1024;

/// What went over one connection.
#[derive(Debug, Default)]
struct Record {
    commands: BTreeSet<String>,
    errors: BTreeSet<String>,
    peer: bool,
}

/// What went over all connections of a group.
#[derive(Debug, Default)]
pub struct Journal(Mutex<Vec<Arc<Mutex<Record>>>>);

impl Journal {
    fn open(&self) -> Arc<Mutex<Record>> {
        let record = Arc::new(Mutex::new(Record::default()));
        lock(&self.0).push(record.clone());
        record
    }

    /// The commands of all connections but those of sentinels.
    pub fn commands(&self) -> BTreeSet<String> {
        self.collect(|record| record.commands.clone())
    }

    /// The error replies that clients got.
    pub fn errors(&self) -> BTreeSet<String> {
        self.collect(|record| record.errors.clone())
    }

    fn collect(&self, of: impl Fn(&Record) -> BTreeSet<String>) -> BTreeSet<String> {
        let records = lock(&self.0);
        records.iter().map(|r| lock(r)).filter(|r| !r.peer).flat_map(|r| of(&r)).collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A listening proxy; it ends when dropped.
pub struct Proxy {
    /// Where it listens.
    pub port: u16,
    target: Arc<AtomicU16>,
    ended: Arc<AtomicBool>,
}

impl Proxy {
    /// Listens on `port` of the loopback address. Nobody is served until [`Proxy::aim`].
    pub fn start(port: u16, journal: Arc<Journal>) -> io::Result<Proxy> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        let target = Arc::new(AtomicU16::new(0));
        let ended = Arc::new(AtomicBool::new(false));
        let proxy = Proxy { port, target: target.clone(), ended: ended.clone() };
        thread::spawn(move || {
            for client in listener.incoming() {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let port = target.load(Ordering::Relaxed);
                if let (Ok(client), true) = (client, port != 0) {
                    // An end that is refused is closed, as the sentinel would do.
                    let _ = serve(client, port, &journal);
                }
            }
        });
        Ok(proxy)
    }

    /// Names the port of the sentinel.
    pub fn aim(&self, port: u16) {
        self.target.store(port, Ordering::Relaxed);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

fn serve(client: TcpStream, port: u16, journal: &Journal) -> io::Result<()> {
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let record = journal.open();
    let (from_server, to_client) = (server.try_clone()?, client.try_clone()?);
    let asked = record.clone();
    let mut requests = requests::Requests::default();
    thread::spawn(move || {
        forward(client, server, |bytes| {
            requests.feed(bytes, |words| note_request(&mut lock(&asked), words));
        });
    });
    thread::spawn(move || {
        forward(from_server, to_client, |bytes| note_errors(&mut lock(&record), bytes));
    });
    Ok(())
}

/// Passes on all bytes after showing them to `note`, then closes both ends.
fn forward(mut from: TcpStream, mut to: TcpStream, mut note: impl FnMut(&[u8])) {
    let mut chunk = vec![0; CHUNK];
    while let Ok(count) = from.read(&mut chunk) {
        if count == 0 {
            break;
        }
        note(&chunk[..count]);
        if to.write_all(&chunk[..count]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

fn note_request(record: &mut Record, words: &[Vec<u8>]) {
    let text = |at: usize| words.get(at).map(|word| String::from_utf8_lossy(word).to_lowercase());
    let Some(command) = text(0) else { return };
    let first = text(1).unwrap_or_default();
    record.peer |= match command.as_str() {
        "client" => text(2).is_some_and(|name| first == "setname" && name.starts_with("sentinel-")),
        "publish" => true,
        "sentinel" => first == "is-master-down-by-addr",
        _ => false,
    };
    let container = ["acl", "client", "command", "config", "sentinel"].contains(&command.as_str());
    let name = if container && !first.is_empty() { format!("{command}|{first}") } else { command };
    record.commands.insert(name);
}

/// Error replies, known by their first word: no line of a longer reply looks like one. A line that
/// is cut by the end of a chunk is missed.
fn note_errors(record: &mut Record, bytes: &[u8]) {
    for line in bytes.split(|byte| *byte == b'\n') {
        let word = line.strip_prefix(b"-").unwrap_or_default();
        let word = word.split(|byte| *byte == b' ').next().unwrap_or_default();
        if word.len() > 1 && word.iter().all(u8::is_ascii_uppercase) {
            record.errors.insert(String::from_utf8_lossy(line).trim().to_string());
        }
    }
}
