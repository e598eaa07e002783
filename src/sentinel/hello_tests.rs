#![forbid(unsafe_code)]

use super::epochs::{FREE_EPOCH, LAST_EPOCH, LOADED_EPOCH_MAX};
use super::hello::Hello;
use super::instance::MasterId;
use super::testing::Bench;

const ID: &str = "1111111111111111111111111111111111111111";

#[test]
fn eight_fields() {
    let text = format!("10.0.0.1,26379,{ID},7,mymaster,10.0.0.2,6379,5");
    let expected = Hello {
        ip: b"10.0.0.1",
        port: 26379,
        runid: ID.as_bytes(),
        current_epoch: 7,
        master_name: b"mymaster",
        master_ip: b"10.0.0.2",
        master_port: 6379,
        master_config_epoch: 5,
    };
    assert_eq!(Hello::parse(text.as_bytes()), Some(expected));
}

#[test]
fn good_ones() {
    for text in [
        format!("::1,26379,{ID},0,m,::1,6379,0"),
        format!("host.example,1,{ID},4611686018427387904,m,host.example,65535,0"),
        // Whether an epoch can be accepted is another question.
        format!("10.0.0.1,26379,{ID},18446744073709551615,m,10.0.0.2,6379,5"),
        format!("10.0.0.1,26379,{ID},7,m,10.0.0.2,6379,99999999999999999999"),
        // Looked at where they are used: the sender without an address is not taken.
        format!(",26379,{ID},0,m,10.0.0.2,6379,0"),
        format!("10.0.0.1,0,{ID},0,m,10.0.0.2,6379,0"),
        format!("10.0.0.1,26379,{ID},0,m,,0,0"),
        format!("10.0.0.1,26379,{ID},0,,10.0.0.2,6379,0"),
        "10.0.0.1,26379,short,0,m,10.0.0.2,6379,0".to_string(),
    ] {
        assert!(Hello::parse(text.as_bytes()).is_some(), "{text}");
    }
}

#[test]
fn bad_ones() {
    let long_host = "h".repeat(256);
    for text in [
        String::new(),
        ",".to_string(),
        ",,,,,,,".to_string(),
        format!("10.0.0.1,26379,{ID},7,m,10.0.0.2,6379"),
        format!("10.0.0.1,26379,{ID},7,m,10.0.0.2,6379,5,"),
        format!("10.0.0.1,26379,{ID},7,m,n,10.0.0.2,6379,5"),
        format!("10.0.0.1,65536,{ID},7,m,10.0.0.2,6379,5"),
        format!("10.0.0.1,-1,{ID},7,m,10.0.0.2,6379,5"),
        format!("10.0.0.1,,{ID},7,m,10.0.0.2,6379,5"),
        format!("10.0.0.1,26379,{ID},-1,m,10.0.0.2,6379,5"),
        format!("10.0.0.1,26379,{ID},7,m,10.0.0.2,6379,07"),
        format!("10.0.0.1,26379,{ID},x,m,10.0.0.2,6379,5"),
        format!("10.0.0.1,26379,{ID},7,m,10.0.0.2,x,5"),
        format!("10.0.0.1,26379,{ID},7,m,10.0.0.2,6379,"),
        format!("10.0.0.1,26379,{ID},7,m,10.0.0.2,6379,5 "),
        format!("10.0.0.1,26379,{ID}0,7,m,10.0.0.2,6379,5"),
        "10.0.0.1,26379,,7,m,10.0.0.2,6379,5".to_string(),
        // Nothing that could break a config line, a log line or a script's argument.
        format!("10.0.0.1\n,26379,{ID},7,m,10.0.0.2,6379,5"),
        format!("10.0.0.1,26379,{ID},7,m,10.0.0.2\r\nx,6379,5"),
        format!("10 0,26379,{ID},7,m,10.0.0.2,6379,5"),
        "10.0.0.1,26379,1111 11,7,m,10.0.0.2,6379,5".to_string(),
        format!("{long_host},26379,{ID},7,m,10.0.0.2,6379,5"),
    ] {
        assert_eq!(Hello::parse(text.as_bytes()), None, "{text:?}");
    }
}

/// A hello of a sentinel that is not known yet, about `m` at that address.
fn hear(bench: &mut Bench, current: u64, config: u64, at: &str) {
    let text = format!("10.0.0.1,26379,{ID},{current},m,{at},6379,{config}");
    bench.call(|sentinel, cx| sentinel.hello_by_publish(cx, text.as_bytes()));
}

fn epochs(bench: &Bench, id: MasterId) -> (u64, u64) {
    (bench.sentinel.current_epoch, bench.sentinel.masters[id].config_epoch)
}

#[test]
fn a_hello_with_epochs_that_are_too_large_is_still_a_hello() {
    let top = u64::MAX;
    // Told current and config epoch; the same afterwards, and whether the address was taken.
    let table = [
        ((7, 5), (7, 5), true),
        ((5, 7), (7, 7), true),
        ((FREE_EPOCH, 1), (FREE_EPOCH, 1), true),
        ((1, FREE_EPOCH), (FREE_EPOCH, FREE_EPOCH), true),
        ((1, LOADED_EPOCH_MAX), (LOADED_EPOCH_MAX, LOADED_EPOCH_MAX), true),
        ((LAST_EPOCH, 1), (1, 1), true),
        ((top, 1), (1, 1), true),
        ((1, LAST_EPOCH), (1, 0), false),
        ((FREE_EPOCH, top), (FREE_EPOCH, 0), false),
        ((top, top), (0, 0), false),
    ];
    for ((current, config), after, taken) in table {
        let mut bench = Bench::new();
        let id = bench.monitor(b"m");
        hear(&mut bench, current, config, "10.0.0.2");
        assert_eq!(epochs(&bench, id), after, "{current} {config}");
        let ip = bench.sentinel.masters[id].base.addr.ip;
        assert_eq!(ip == "10.0.0.2".parse().ok(), taken, "{current} {config}");
        assert!(bench.sentinel.masters[id].peers.contains_key(ID.as_bytes()));
        bench.pass(1_000);
        hear(&mut bench, current, config, "10.0.0.2");
        let peer = bench.sentinel.masters[id].peers[ID.as_bytes()];
        assert_eq!(bench.sentinel.peers[peer].last_hello, bench.now);
    }
}

#[test]
fn refused_epochs_are_logged_once_a_minute() {
    let mut bench = Bench::new();
    bench.monitor(b"m");
    let lines = |bench: &mut Bench| {
        hear(bench, LAST_EPOCH, LAST_EPOCH, "10.0.0.2");
        bench.log().iter().filter(|line| line.contains("is not accepted")).count()
    };
    assert_eq!((lines(&mut bench), lines(&mut bench)), (1, 0));
    bench.pass(60_000);
    bench.call(|_, cx| cx.log_held_back());
    assert_eq!(
        bench.log(),
        ["Epochs that are not accepted: 3 similar lines were held back in the last 60 s"]
    );
    assert_eq!(lines(&mut bench), 1);
}
