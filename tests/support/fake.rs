//! A master that exists only inside the test: it answers what a sentinel asks and keeps the time
//! of each command, so that a test can see when the sentinel was silent.

use super::value::Value;
use std::io::{BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// A listener with threads that answer, until it is dropped.
pub struct FakeMaster {
    port: u16,
    pings: Arc<Mutex<Vec<Instant>>>,
    stop: Arc<AtomicBool>,
}

impl FakeMaster {
    /// Listens on a port of 127.0.0.1.
    pub fn start(port: u16) -> FakeMaster {
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
        let pings: Arc<Mutex<Vec<Instant>>> = Arc::default();
        let stop: Arc<AtomicBool> = Arc::default();
        let shared = (pings.clone(), stop.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (pings, stop) = shared.clone();
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(stream) = stream else { return };
                std::thread::spawn(move || serve(stream, &pings, &stop));
            }
        });
        FakeMaster { port, pings, stop }
    }

    /// When PINGs arrived so far.
    pub fn pings(&self) -> Vec<Instant> {
        self.pings.lock().expect("the servers do not panic").clone()
    }
}

impl Drop for FakeMaster {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn serve(stream: TcpStream, pings: &Mutex<Vec<Instant>>, stop: &AtomicBool) {
    let _ = stream.set_nodelay(true);
    let Ok(mut output) = stream.try_clone() else { return };
    let mut input = BufReader::new(stream);
    while let Ok(request) = Value::read(&mut input) {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let words = request.texts();
        let name = words.first().map(|word| word.to_ascii_uppercase()).unwrap_or_default();
        if name == "PING" {
            pings.lock().expect("readers do not panic").push(Instant::now());
        }
        if output.write_all(answer(&name, &words).as_bytes()).is_err() {
            return;
        }
    }
}

fn answer(name: &str, words: &[String]) -> String {
    match name {
        "PING" => "+PONG\r\n".into(),
        "INFO" => {
            let text = format!("run_id:{}\r\nrole:master\r\n", "f".repeat(40));
            format!("${}\r\n{text}\r\n", text.len())
        }
        "SUBSCRIBE" => {
            let channel = words.get(1).cloned().unwrap_or_default();
            format!("*3\r\n$9\r\nsubscribe\r\n${}\r\n{channel}\r\n:1\r\n", channel.len())
        }
        "PUBLISH" => ":1\r\n".into(),
        _ => "+OK\r\n".into(),
    }
}
