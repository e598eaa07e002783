#![forbid(unsafe_code)]

use super::info::InfoView;
use super::instance::Role;

const RUN_ID: &str = "0123456789abcdef0123456789ABCDEF01234567";

fn parse(text: &str) -> InfoView<'_> {
    InfoView::parse(text.as_bytes())
}

#[test]
fn a_master_with_two_replicas() {
    let text = format!(
        "# Server\r\nredis_version:7.0.15\r\nrun_id:{RUN_ID}\r\n\r\n# Replication\r\n\
         role:master\r\nconnected_slaves:2\r\n\
         slave0:ip=10.0.0.1,port=6380,state=online,offset=14,lag=0\r\n\
         slave1:ip=10.0.0.2,port=6381,state=wait_bgsave,offset=0,lag=0\r\n\
         master_failover_state:no-failover\r\nmaster_repl_offset:14\r\n"
    );
    let view = parse(&text);
    let slaves: Vec<(&[u8], u16)> = vec![(b"10.0.0.1", 6380), (b"10.0.0.2", 6381)];
    let run_id = Some(RUN_ID.as_bytes());
    let role = Some(Role::Master);
    let stream_offset = Some(14);
    assert_eq!(view, InfoView { run_id, role, slaves, stream_offset, ..InfoView::default() });
}

#[test]
fn a_replica_with_all_its_lines() {
    let text = format!(
        "run_id:{RUN_ID}\r\nrole:slave\r\nmaster_host:10.0.0.9\r\nmaster_port:6379\r\n\
         master_link_status:down\r\nmaster_link_down_since_seconds:12\r\n\
         slave_repl_offset:4096\r\nslave_priority:10\r\nreplica_announced:0\r\n\
         loading:0\r\nasync_loading:1\r\nmaster_repl_offset:4100\r\n"
    );
    let expected = InfoView {
        run_id: Some(RUN_ID.as_bytes()),
        role: Some(Role::Slave),
        slaves: Vec::new(),
        master_link_down_ms: 12_000,
        master_host: Some(b"10.0.0.9"),
        master_port: Some(6379),
        master_link_up: Some(false),
        priority: Some(10),
        repl_offset: Some(4_096),
        stream_offset: Some(4_100),
        announced: Some(false),
        loading: Some(false),
        async_loading: Some(true),
    };
    assert_eq!(parse(&text), expected);
    assert_eq!(parse(&text.replace("\r\n", "\n")), expected, "without carriage returns");
}

#[test]
fn a_replica_that_never_synced() {
    assert_eq!(parse("master_link_down_since_seconds:-1\r\n").master_link_down_ms, -1_000);
}

#[test]
fn lines_about_the_master_count_only_behind_role_slave() {
    let lines = "master_host:a\r\nmaster_port:1\r\nmaster_link_status:up\r\nslave_priority:1\r\n\
                 slave_repl_offset:1\r\nreplica_announced:1\r\n";
    for text in [
        format!("{lines}role:slave\r\n"),
        format!("role:master\r\n{lines}"),
        format!("role:sentinel\r\n{lines}"),
        lines.to_string(),
    ] {
        let view = parse(&text);
        let seen = (view.master_host, view.master_port, view.master_link_up);
        assert_eq!(seen, (None, None, None), "{text}");
        assert_eq!((view.priority, view.repl_offset, view.announced), (None, None, None), "{text}");
    }
    let behind = format!("role:slave\r\n{lines}");
    let view = parse(&behind);
    assert_eq!(view.master_host, Some(&b"a"[..]));
    assert_eq!(view.priority, Some(1));
}

#[test]
fn a_replica_of_a_replica_is_not_taken_for_one_of_the_master() {
    let view = parse("role:slave\r\nslave0:ip=10.0.0.1,port=6380,state=online\r\n");
    assert!(view.slaves.is_empty());
}

#[test]
fn replica_lines_good_and_bad() {
    type Slave<'a> = Option<(&'a [u8], u16)>;
    let table: [(&str, Slave); 19] = [
        ("slave0:ip=10.0.0.1,port=6380,state=online", Some((b"10.0.0.1", 6380))),
        ("slave0:port=6380,ip=10.0.0.1", Some((b"10.0.0.1", 6380))),
        ("slave12:ip=::1,port=1", Some((b"::1", 1))),
        ("slave0:ip=db.example,port=65535,", Some((b"db.example", 65535))),
        ("slave0:10.0.0.1,6380,online", Some((b"10.0.0.1", 6380))),
        ("slave0:10.0.0.1,6380", Some((b"10.0.0.1", 6380))),
        ("slave0:ip=10.0.0.1,port=65536", None),
        ("slave0:ip=10.0.0.1,port=-1", None),
        ("slave0:ip=10.0.0.1,port=", None),
        ("slave0:ip=10.0.0.1", None),
        ("slave0:ip=,port=6380", None),
        ("slave0:ip=a b,port=6380", None),
        ("slave0:ip=a\x1b[0m,port=6380", None),
        ("slave0:", None),
        ("slave0:,", None),
        ("slave0:10.0.0.1", None),
        ("slave:ip=10.0.0.1,port=6380", None),
        ("slavex:ip=10.0.0.1,port=6380", None),
        ("slave_priority:ip=10.0.0.1,port=6380", None),
    ];
    for (line, slave) in table {
        let expected: Vec<(&[u8], u16)> = slave.into_iter().collect();
        assert_eq!(parse(&format!("role:master\r\n{line}\r\n")).slaves, expected, "{line}");
    }
    let long = format!("slave0:ip={},port=1\r\n", "x".repeat(256));
    assert!(parse(&long).slaves.is_empty());
}

#[test]
fn odd_values_are_passed_over() {
    let table = [
        "role:slave\r\nmaster_port:70000\r\n",
        "role:slave\r\nmaster_port:\r\n",
        "role:slave\r\nslave_priority:-1\r\n",
        "role:slave\r\nslave_priority:4294967296\r\n",
        "role:slave\r\nslave_repl_offset:x\r\n",
        "role:slave\r\nslave_repl_offset:-5\r\n",
        "role:slave\r\nmaster_link_down_since_seconds:soon\r\n",
    ];
    for text in table {
        let view = parse(text);
        assert_eq!(view, InfoView { role: Some(Role::Slave), ..InfoView::default() }, "{text}");
    }
    let huge = parse("master_link_down_since_seconds:9223372036854775807\r\n");
    assert_eq!(huge.master_link_down_ms, i64::MAX);
}

#[test]
fn run_ids_are_forty_hex_digits() {
    for id in ["", "abc", &RUN_ID[1..], &format!("{RUN_ID}0"), &RUN_ID.replace('0', "g")] {
        assert_eq!(parse(&format!("run_id:{id}\r\n")).run_id, None, "{id}");
    }
}

#[test]
fn texts_that_are_no_info() {
    let nul = "\0".repeat(100);
    for text in ["", ":", "\r\n", ":::\n:\n", "role", "role: master", "ROLE:master", &nul] {
        assert_eq!(parse(text), InfoView::default(), "{text:?}");
    }
    assert_eq!(InfoView::parse(b"\xff\xfe:\xff\nrole:\xffmaster"), InfoView::default());
}

#[test]
fn the_last_line_of_a_kind_counts() {
    assert_eq!(parse("role:master\nrole:slave\n").role, Some(Role::Slave));
    let twice = parse("role:slave\nslave_repl_offset:1\nslave_repl_offset:2");
    assert_eq!(twice.repl_offset, Some(2));
}

#[test]
fn a_master_host_is_a_host() {
    let host = |host: &str| {
        let text = format!("role:slave\r\nmaster_host:{host}\r\n");
        parse(&text).master_host.map(<[u8]>::to_vec)
    };
    for good in ["10.0.0.9", "::1", "db-1.example", "b\u{fc}cher.example", &"h".repeat(255)] {
        assert_eq!(host(good), Some(good.as_bytes().to_vec()), "{good:?}");
    }
    for bad in ["", "a b", "a\rb", "a\x1b[2J", "a\x7f", "a\u{9b}", &"h".repeat(256)] {
        assert_eq!(host(bad), None, "{bad:?}");
    }
}
