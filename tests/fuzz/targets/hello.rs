//! Hellos. One that is taken is read back as it was when written again, and keeps its limits. A
//! node that gets any of them, from a subscription or by PUBLISH, never goes back in an epoch,
//! remembers a bounded number of peers, and saves files that load (see `house.rs`).

use super::house::{House, OWN_ID};
use super::signature;
use crate::engine::{Target, hash};
use sentineld::resp::write;
use sentineld::sentinel::hello::Hello;

pub const TARGET: Target = Target {
    name: "hello",
    run,
    dictionary: &[
        ",",
        "\n",
        "127.0.0.1",
        "127.0.0.2",
        "::1",
        "26379",
        "26380",
        "6379",
        "6380",
        "mymaster",
        "other",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
        OWN_ID,
        "4611686018427387904",
        "9223372028264841216",
        "9223372036854775807",
        "18446744073709551616",
        "name.example",
        " ",
        "127.0.0.1,26380,aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa,1,mymaster,127.0.0.1,6379,0",
    ],
};

const CONFIG: &str = "sentinel monitor mymaster 127.0.0.1 6379 2\n\
    sentinel monitor other 127.0.0.3 6379 1\nsentinel resolve-hostnames yes\n";
/// Time between two hellos.
const PAUSE_MS: u64 = 150;

fn run(input: &[u8]) -> u64 {
    let lines: Vec<&[u8]> = input.split(|byte| *byte == b'\n').take(24).collect();
    let taken = lines.iter().filter(|line| check_hello(line)).count();
    let mut house = House::new(CONFIG);
    let client = house.connect();
    for line in &lines {
        let mut request = Vec::new();
        write::command(&mut request, &[b"PUBLISH", b"__sentinel__:hello", line]);
        house.send(client, &[&request]);
        assert_eq!(house.take_output(client), b":1\r\n");
        house.advance(PAUSE_MS);
    }
    house.advance(1000);
    let events = house.log.iter().filter_map(|line| line.split(' ').next());
    let events: String = events.filter(|word| word.starts_with(['+', '-'])).take(12).collect();
    signature(&[hash(events.as_bytes()), taken as u64, house.saves.min(4) as u64])
}

/// Whether it is a hello; if so, it keeps what its reader promises.
fn check_hello(text: &[u8]) -> bool {
    let Some(hello) = Hello::parse(text) else { return false };
    assert_eq!(text.iter().filter(|byte| **byte == b',').count(), 7, "eight fields");
    assert!(!hello.runid.is_empty() && hello.runid.len() <= 40);
    let fields: [&[u8]; 8] = [
        hello.ip,
        &hello.port.to_string().into_bytes(),
        hello.runid,
        &hello.current_epoch.to_string().into_bytes(),
        hello.master_name,
        hello.master_ip,
        &hello.master_port.to_string().into_bytes(),
        &hello.master_config_epoch.to_string().into_bytes(),
    ];
    let written = fields.join(&b","[..]);
    // What is too large for a number is read as the largest one.
    let largest = [hello.current_epoch, hello.master_config_epoch].contains(&u64::MAX);
    if largest {
        return true;
    }
    assert_eq!(written.escape_ascii().to_string(), text.escape_ascii().to_string());
    let harmless = |field: &[u8]| !field.iter().any(u8::is_ascii_control);
    assert!(harmless(hello.ip) && harmless(hello.runid) && harmless(hello.master_ip));
    true
}
