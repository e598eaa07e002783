//! What anybody can bring into the log: no line of his own, no line without end, no flood.

use crate::house::{House, MASTER};
use crate::support::wait::{self, LONG, SHORT};
use crate::world;
use std::fmt::Write as _;
use std::time::Instant;

const ASK: &str = "IS-MASTER-DOWN-BY-ADDR";
/// Longest line: its text, and what stands before that.
const LINE_MAX_BYTES: usize = 1024 + 64;
/// What a flood of ten seconds may leave in the log, in lines and bytes.
const FLOOD_LINES: usize = 60;
const FLOOD_BYTES: usize = 32 << 10;

/// The lines of the log that hold this text.
pub fn lines_with(house: &House, text: &str) -> Vec<String> {
    let log = house.sentinel.log_text();
    log.lines().filter(|line| line.contains(text)).map(String::from).collect()
}

/// Whether each line begins as ours do.
#[track_caller]
fn assert_only_our_lines(house: &House) {
    let log = std::fs::read(&house.sentinel.log).expect("the log");
    let head = format!("{}:", house.sentinel.process().pid());
    for line in log.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let shown = line.escape_ascii();
        assert!(line.starts_with(head.as_bytes()), "not our line: {shown}");
        assert!(!line.iter().any(u8::is_ascii_control), "a control character: {shown}");
        assert!(line.len() <= LINE_MAX_BYTES, "{} bytes: {shown}", line.len());
        assert!(std::str::from_utf8(line).is_ok(), "no UTF-8: {shown}");
    }
}

/// How many of these lines there were, those that were held back included.
pub fn count(house: &House, text: &str) -> usize {
    let held = |line: &String| {
        let (before, _) = line.split_once(" similar line")?;
        before.rsplit(' ').next()?.parse::<usize>().ok()
    };
    lines_with(house, text).iter().map(|line| held(line).unwrap_or(1)).sum()
}

#[test]
fn a_host_name_cannot_forge_a_line() {
    let world = world!();
    let house = House::new(&world, &["loglevel verbose"]);
    let pid = house.sentinel.process().pid();
    let forged = format!(
        "{pid}:X 22 Nov 2026 04:08:41.123 # +switch-master {MASTER} 127.0.0.1 1 127.0.0.1 2"
    );
    let mut client = house.sentinel.connect().expect("it accepts");
    for end in ["\n", "\r\n", "\r", "\u{85}", "\u{2028}", "\x1b[1G", "\x0b", "\0"] {
        let host = format!("x{end}{forged}{end}");
        let reply = client.ask(&["SENTINEL", ASK, &host, "1", "0", "*"]).expect("a reply");
        assert_eq!(reply.items().len(), 3, "{reply:?}");
        let words = ["SENTINEL", "MONITOR", "other", &host, "1", "1"];
        assert!(client.ask(&words).expect("a reply").error().is_some());
    }
    let bytes: Vec<u8> = (0..=255).collect();
    let words: [&[u8]; 6] = [b"SENTINEL", ASK.as_bytes(), &bytes, b"1", b"0", b"*"];
    client.ask_bytes(&words).expect("a reply");
    house.raw().send(b"*1\r\n\x1b]0;x\x07\n\r\n");
    wait::wait("the last of it to be logged", SHORT, || {
        let log = lines_with(&house, "Protocol error");
        wait::expect(log.len() == 1, log)
    });
    assert_only_our_lines(&house);
    // The name is there to be read, on a line that says whose words these are.
    let shown = lines_with(&house, &forged);
    assert!(!shown.is_empty() && shown.iter().all(|line| line.contains("hostname 'x")));
    let begun = |line: &&String| line.starts_with(&forged);
    assert_eq!(shown.iter().find(begun), None);
    drop(client);
    house.finish();
}

#[test]
fn a_line_has_an_end() {
    let world = world!();
    let house = House::new(&world, &[]);
    for (piece, len) in [("x", 500 << 10), ("\n", 100 << 10), ("\u{e9}", 100 << 10)] {
        house.sentinel.ask(&["SENTINEL", ASK, &piece.repeat(len), "1", "0", "*"]);
        let mark = " more bytes]";
        wait::wait("the line", SHORT, || {
            let lines = lines_with(&house, mark);
            wait::expect(!lines.is_empty(), lines)
        });
    }
    assert_eq!(lines_with(&house, " more bytes]").len(), 3);
    assert_only_our_lines(&house);
    house.finish();
}

#[test]
fn floods_of_lines_are_held_back_and_counted() {
    let world = world!();
    let house = House::new(&world, &[]);
    let before = std::fs::metadata(&house.sentinel.log).expect("the log").len();
    let asks = 30_000;
    let mut raw = house.raw();
    raw.send(b"CLIENT REPLY OFF\r\n");
    let mut requests = String::new();
    for n in 0..asks {
        let _ = write!(requests, "SENTINEL {ASK} no.such.host.{n} 1 0 *\r\n");
    }
    raw.stream.set_write_timeout(None).expect("a timeout");
    raw.send(requests.as_bytes());
    // Nobody asks any more, and the count comes all the same.
    let what = "Failed to resolve hostname";
    wait::wait("the lines that were held back", LONG, || {
        let seen = count(&house, what);
        wait::expect(seen == asks, (seen, lines_with(&house, "held back")))
    });
    let lines = lines_with(&house, what);
    assert!(lines.len() <= FLOOD_LINES, "{} lines", lines.len());
    let grown = std::fs::metadata(&house.sentinel.log).expect("the log").len() - before;
    assert!(grown <= FLOOD_BYTES as u64, "{grown} bytes");
    assert_only_our_lines(&house);
    drop(raw);
    house.finish();
}

/// Who asks for the lines of single clients gets them, but not more than a disk can hold.
#[test]
fn verbose_lines_have_a_bound_too() {
    let world = world!();
    let house = House::new(&world, &["loglevel verbose"]);
    let clients = 8_000;
    let start = Instant::now();
    for _ in 0..clients {
        drop(house.raw());
    }
    wait::wait("the count of those held back", LONG, || {
        let (accepted, closed) = (count(&house, "Accepted"), count(&house, "Client closed"));
        wait::expect(accepted >= clients && closed >= clients, (accepted, closed))
    });
    let held = lines_with(&house, "held back");
    let lines = lines_with(&house, " - Accepted 127.0.0.1:").len();
    let windows = start.elapsed().as_secs() as usize / 10 + 1;
    let seen = format!("{lines} lines in {windows} windows, held back: {held:?}");
    assert!(lines >= 5_000, "{seen}");
    assert!(lines <= windows * 5_000 && held.len() >= 2, "{seen}");
    assert_only_our_lines(&house);
    house.finish();
}
