//! INFO. Any text is read, always in the same way, whether its lines end in CR LF or in LF; lines
//! that mean nothing change nothing. A node whose hosts answer with it, cut in any way, keeps its
//! limits, and the same text again changes nothing more.

use super::house::House;
use super::signature;
use crate::engine::{Target, hash};
use sentineld::sentinel::info::InfoView;

pub const TARGET: Target = Target {
    name: "info",
    run,
    dictionary: &[
        "role:master\r\n",
        "role:slave\r\n",
        "run_id:",
        "slave0:ip=127.0.0.1,port=6380,state=online\r\n",
        "slave1:127.0.0.1,6381,online\r\n",
        "master_host:127.0.0.1\r\n",
        "master_port:6379\r\n",
        "master_link_status:up\r\n",
        "master_link_status:down\r\n",
        "slave_priority:100\r\n",
        "master_link_down_since_seconds:5\r\n",
        "slave_repl_offset:7\r\n",
        "replica_announced:0\r\n",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n",
        ":",
        "=",
        ",",
        "\r\n",
        "\n",
        "ip=",
        "port=",
    ],
};

const CONFIG: &str = "sentinel monitor mymaster 127.0.0.1 6379 2\n";
const INFO_MS: u64 = 100;

fn run(input: &[u8]) -> u64 {
    check_view(input);
    let mut house = House::new(CONFIG);
    let client = house.connect();
    house.send(client, &[b"SENTINEL DEBUG info-period 100 ping-period 100\r\n"]);
    house.info = Some(input.to_vec());
    house.advance(3 * INFO_MS);
    let (events, saves) = (house.log.len(), house.saves);
    // What was found before may still be written, and its connections be made.
    house.advance(3 * INFO_MS);
    let answered = house.infos_answered;
    // Names that cannot be resolved are tried again and again.
    let expected = ["Sentinel new configuration saved", "Failed to resolve"];
    let quiet = |line: &&String| !expected.iter().any(|start| line.starts_with(start));
    let seen = house.log.iter().filter(quiet).count();
    let saved = house.saves;
    house.advance(3 * INFO_MS);
    assert!(house.infos_answered > answered, "it asks no more");
    let more: Vec<&String> = house.log.iter().filter(quiet).skip(seen).collect();
    assert!(more.is_empty(), "the same text again gave {more:?}");
    assert_eq!(house.saves, saved, "the same text again was saved");
    let first: String = house.log[..events].iter().filter_map(|l| l.split(' ').next()).collect();
    signature(&[hash(first.as_bytes()), saves as u64, view_shape(input)])
}

fn check_view(text: &[u8]) {
    let view = InfoView::parse(text);
    assert_eq!(InfoView::parse(text), view, "read twice");
    let more = [text, b"\r\nunknown_field:1\r\n# Section\r\nnonsense\r\n"].concat();
    if !text.contains(&b'\n') || text.ends_with(b"\n") {
        assert_eq!(InfoView::parse(&more), view, "with lines that mean nothing");
    }
    let plain: Vec<u8> = text.iter().copied().filter(|byte| *byte != b'\r').collect();
    let mut crlf = Vec::new();
    for byte in &plain {
        if *byte == b'\n' {
            crlf.push(b'\r');
        }
        crlf.push(*byte);
    }
    assert_eq!(InfoView::parse(&plain), InfoView::parse(&crlf), "both kinds of line ends");
    if let Some(run_id) = view.run_id {
        assert!(run_id.len() == 40 && run_id.iter().all(u8::is_ascii_hexdigit));
    }
}

/// Which fields are there.
fn view_shape(text: &[u8]) -> u64 {
    let view = InfoView::parse(text);
    let bits = [
        view.run_id.is_some(),
        view.role.is_some(),
        view.master_link_down_ms != 0,
        view.master_host.is_some(),
        view.master_port.is_some(),
        view.master_link_up.is_some(),
        view.priority.is_some(),
        view.repl_offset.is_some(),
        view.announced.is_some(),
    ];
    let bits = bits.iter().fold(0, |all, bit| all << 1 | u64::from(*bit));
    bits << 4 | view.slaves.len().min(5) as u64
}
