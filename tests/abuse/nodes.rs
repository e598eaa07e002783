//! Data nodes that are none: the master `evil` is hostile, [`MASTER`] beside it is not.

use crate::house::House;
use crate::support::value::Value;
use crate::support::wait::{self, SHORT};
use crate::world;
use std::io::{self, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How long an attack lasts.
const SPAN: Duration = Duration::from_millis(2000);

/// Answers the request of this name on a connection.
type Answer = dyn Fn(&str, &mut TcpStream) -> io::Result<()> + Send + Sync;

/// A listener whose answers the test chooses.
struct Hostile {
    port: u16,
    requests: Arc<AtomicUsize>,
    connects: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
}

impl Hostile {
    fn start(
        port: u16,
        answer: impl Fn(&str, &mut TcpStream) -> io::Result<()> + Send + Sync + 'static,
    ) -> Hostile {
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
        let node = Hostile {
            port,
            requests: Arc::default(),
            connects: Arc::default(),
            stop: Arc::default(),
        };
        let answer: Arc<Answer> = Arc::new(answer);
        let (requests, connects) = (node.requests.clone(), node.connects.clone());
        let stop = node.stop.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                connects.fetch_add(1, Ordering::Relaxed);
                let (answer, requests) = (answer.clone(), requests.clone());
                std::thread::spawn(move || serve(stream, &*answer, &requests));
            }
        });
        node
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn serve(stream: TcpStream, answer: &Answer, requests: &AtomicUsize) -> Option<()> {
    let mut output = stream.try_clone().ok()?;
    let mut input = BufReader::new(stream);
    answer("", &mut output).ok()?;
    loop {
        let words = Value::read(&mut input).ok()?.texts();
        requests.fetch_add(1, Ordering::Relaxed);
        let name = words.first().map(|word| word.to_ascii_uppercase()).unwrap_or_default();
        answer(&name, &mut output).ok()?;
    }
}

/// What a good node would say.
fn good(name: &str, to: &mut TcpStream) -> io::Result<()> {
    match name {
        "" => Ok(()),
        "PING" => to.write_all(b"+PONG\r\n"),
        "SUBSCRIBE" => {
            to.write_all(b"*3\r\n$9\r\nsubscribe\r\n$18\r\n__sentinel__:hello\r\n:1\r\n")
        }
        "PUBLISH" => to.write_all(b":1\r\n"),
        _ => to.write_all(b"+OK\r\n"),
    }
}

fn bulk(to: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    to.write_all(format!("${}\r\n", bytes.len()).as_bytes())?;
    to.write_all(bytes)?;
    to.write_all(b"\r\n")
}

/// Runs `attack` on the master `evil` and wants at most `mib` more of memory while it lasts.
fn against(
    house: House,
    mib: u64,
    attack: impl Fn(&str, &mut TcpStream) -> io::Result<()> + Send + Sync + 'static,
    look: impl FnOnce(&House),
) {
    let port = house.sentinel.world().port();
    let node = Hostile::start(port, attack);
    house.sentinel.ok(&["SENTINEL", "MONITOR", "evil", "127.0.0.1", &port.to_string(), "1"]);
    house.sentinel.ok(&["SENTINEL", "SET", "evil", "down-after-milliseconds", "1000"]);
    wait::wait("the hostile node to be connected", SHORT, || {
        wait::expect(node.connects.load(Ordering::Relaxed) > 0, 0)
    });
    let (start, mut most) = (Instant::now(), 0);
    while start.elapsed() < SPAN {
        most = most.max(house.grown_kib());
        std::thread::sleep(Duration::from_millis(10));
    }
    let (requests, connects) = (&node.requests, &node.connects);
    let (requests, connects) = (requests.load(Ordering::Relaxed), connects.load(Ordering::Relaxed));
    println!("at most {most} KiB more, {requests} requests, {connects} connects");
    assert!(most <= mib << 10, "{most} KiB more than at the start, over {mib} MiB");
    assert!(requests < 400, "{requests} requests in {SPAN:?}");
    assert!(connects < 100, "{connects} connects in {SPAN:?}");
    look(&house);
    house.sentinel.ok(&["SENTINEL", "REMOVE", "evil"]);
    drop(node);
    house.finish();
}

#[test]
fn sixteen_mib_of_info() {
    let world = world!();
    let garbage: Vec<u8> = (0..(16 << 20) - 1).map(|n| b"ab:c\n\x00\xffslave0"[n % 13]).collect();
    let answer = move |name: &str, to: &mut TcpStream| match name {
        "INFO" => bulk(to, &garbage),
        _ => good(name, to),
    };
    against(House::new(&world, &[]), 80, answer, |_| {});
}

#[test]
fn a_million_replicas() {
    let world = world!();
    let mut info = b"role:master\r\n".to_vec();
    let mut n = 0;
    while info.len() < (16 << 20) - 100 {
        let ip = format!("127.{}.{}.{}", 2 + n / 62_500, n / 250 % 250, n % 250 + 1);
        info.extend_from_slice(format!("slave{n}:ip={ip},port=1\r\n").as_bytes());
        n += 1;
    }
    let answer = move |name: &str, to: &mut TcpStream| match name {
        "INFO" => bulk(to, &info),
        _ => good(name, to),
    };
    against(House::new(&world, &[]), 100, answer, |house| {
        let count = house.sentinel.master_field("evil", "num-slaves");
        assert_eq!(count, "1024");
    });
}

/// Few long lines, then many short ones, which are looked for among the long ones.
#[test]
fn infos_that_are_hard_to_compare() {
    let world = world!();
    let long = format!("{}\r\n", "a".repeat(8 << 10)).repeat(15);
    let short = "bb\r\n".repeat(32_000);
    let prefixed = format!("{}\r\n", "a".repeat(4 << 10)).repeat(31);
    let turn = AtomicUsize::new(0);
    let answer = move |name: &str, to: &mut TcpStream| match name {
        "INFO" => {
            let texts = [&long, &short, &prefixed];
            let text = texts[turn.fetch_add(1, Ordering::Relaxed) % texts.len()];
            bulk(to, format!("role:master\r\n{text}").as_bytes())
        }
        _ => good(name, to),
    };
    against(House::new(&world, &[]), 8, answer, |house| {
        for (line, len) in [("aaa", 120 << 10), ("bb\r\n", 120 << 10), ("aaa", 124 << 10)] {
            wait::wait("a text of each kind to be read", SHORT, || {
                let reply = house.sentinel.ask(&["SENTINEL", "INFO-CACHE", "evil"]);
                let text = reply.items()[1].items()[0].items()[1].text();
                let seen = (text.len(), text.contains(line));
                wait::expect(text.contains(line) && text.len() >= len, seen)
            });
        }
    });
}

/// Sends `head` and then what never ends it.
fn endless(head: &'static [u8]) -> impl Fn(&str, &mut TcpStream) -> io::Result<()> {
    move |name, to| {
        if name.is_empty() {
            return Ok(());
        }
        to.write_all(head)?;
        let piece = if head[0] == b'*' { b":1\r\n".repeat(4096) } else { vec![b'a'; 16384] };
        loop {
            to.write_all(&piece)?;
        }
    }
}

#[test]
fn a_line_without_an_end() {
    let world = world!();
    against(House::new(&world, &[]), 8, endless(b"+"), |_| {});
}

#[test]
fn replies_without_an_end() {
    let world = world!();
    let heads: [&[u8]; 6] =
        [b"-", b":", b"$16777216\r\n", b"*1048576\r\n:1\r\n:1\r\n*3\r\n", b"$", b"x"];
    let house = House::new(&world, &[]);
    let mut nodes = Vec::new();
    for (n, head) in heads.into_iter().enumerate() {
        let port = world.port();
        nodes.push(Hostile::start(port, endless(head)));
        let name = format!("evil{n}");
        house.sentinel.ok(&["SENTINEL", "MONITOR", &name, "127.0.0.1", &port.to_string(), "1"]);
    }
    let start = Instant::now();
    while start.elapsed() < SPAN {
        house.assert_grown_at_most(200);
        std::thread::sleep(Duration::from_millis(10));
    }
    for n in 0..heads.len() {
        house.sentinel.ok(&["SENTINEL", "REMOVE", &format!("evil{n}")]);
    }
    drop(nodes);
    house.finish();
}

#[test]
fn messages_that_nobody_asked_for() {
    let world = world!();
    let hello = b"*3\r\n$7\r\nmessage\r\n$18\r\n__sentinel__:hello\r\n$7\r\na,b,c,d\r\n";
    let pieces: [Vec<u8>; 4] = [
        b"+PONG\r\n".repeat(2000),
        b">2\r\n+a\r\n%1\r\n+a\r\n_\r\n".repeat(1000),
        hello.repeat(300),
        b"+x\r\n".repeat(4000),
    ];
    let turn = AtomicUsize::new(0);
    let answer = move |name: &str, to: &mut TcpStream| {
        if name.is_empty() {
            return Ok(());
        }
        let piece = &pieces[turn.fetch_add(1, Ordering::Relaxed) % pieces.len()];
        loop {
            to.write_all(piece)?;
        }
    };
    against(House::new(&world, &[]), 8, answer, |_| {});
}

#[test]
fn errors_to_everything() {
    let world = world!();
    let answer = |name: &str, to: &mut TcpStream| match name {
        "" => Ok(()),
        _ => to.write_all(b"-ERR no\r\n"),
    };
    against(House::new(&world, &[]), 4, answer, |house| {
        let flags = house.sentinel.master_field("evil", "flags");
        assert!(flags.contains("s_down"), "{flags}");
    });
}

#[test]
fn a_node_that_closes_every_connection() {
    let world = world!();
    let answer = |_: &str, _: &mut TcpStream| Err(io::ErrorKind::Other.into());
    against(House::new(&world, &[]), 4, answer, |_| {});
}
