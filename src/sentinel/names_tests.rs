#![forbid(unsafe_code)]

use super::setup::GlobalConfig;
use super::testing::{Bench, addr};
use crate::util::ident::LookupId;
use std::net::IpAddr;

use super::action::Action;
use super::instance::{Addr, InstId, MasterId};
use super::names::*;
use super::saves::GATHER_MS;
use super::vote::Ask;

const IP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

fn with_names() -> Bench {
    Bench::with(GlobalConfig { resolve_hostnames: true, ..GlobalConfig::default() })
}

fn state(bench: &mut Bench, host: &str) -> HostState {
    bench.call(|sentinel, cx| sentinel.host_state(cx, host.as_bytes(), Origin::Own))
}

/// The lookups asked for since the last call.
fn lookups(bench: &mut Bench) -> Vec<(LookupId, String)> {
    let asked = |action| match action {
        Action::Resolve { lookup, host, .. } => Some((lookup, String::from_utf8(host).unwrap())),
        _ => None,
    };
    bench.actions().into_iter().filter_map(asked).collect()
}

fn answer(bench: &mut Bench, lookup: LookupId, ips: &[IpAddr]) -> Option<Vec<u8>> {
    bench.call(|sentinel, cx| sentinel.resolved(cx, lookup, ips))
}

#[test]
fn literals_need_no_lookup_and_names_are_bad_unless_wanted() {
    let mut bench = Bench::new();
    assert_eq!(state(&mut bench, "10.0.0.1"), HostState::Known(IP));
    assert!(matches!(state(&mut bench, "::1"), HostState::Known(IpAddr::V6(_))));
    for host in ["db.example", "", "10.0.0", "10.0.0.1 ", "[::1]", "\u{fc}"] {
        assert_eq!(state(&mut bench, host), HostState::Bad, "{host}");
    }
    assert!(lookups(&mut bench).is_empty());
    assert_eq!(
        bench.call(|sentinel, cx| sentinel.resolve(cx, b"db.example", Origin::Own)),
        Err(HostState::Bad)
    );
    assert_eq!(bench.log(), ["Failed to resolve hostname 'db.example'"]);
}

#[test]
fn one_lookup_at_a_time_whatever_the_case() {
    let mut bench = with_names();
    assert_eq!(state(&mut bench, "DB.example"), HostState::Pending);
    assert_eq!(state(&mut bench, "db.EXAMPLE"), HostState::Pending);
    let asked = lookups(&mut bench);
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].1, "db.example");
    assert_eq!(answer(&mut bench, asked[0].0, &[IP]), Some(b"db.example".to_vec()));
    assert_eq!(state(&mut bench, "Db.Example"), HostState::Known(IP));
    // An answer that comes twice, or that nobody asked for, tells nothing.
    assert_eq!(answer(&mut bench, asked[0].0, &[]), None);
    assert_eq!(answer(&mut bench, LookupId(999), &[]), None);
    assert_eq!(state(&mut bench, "db.example"), HostState::Known(IP));
}

#[test]
fn a_name_is_looked_up_again_after_a_second_and_the_last_good_answer_stays() {
    let mut bench = with_names();
    state(&mut bench, "db");
    let first = lookups(&mut bench)[0].0;
    answer(&mut bench, first, &[IP]);
    bench.pass(LOOKUP_PERIOD_MS - 1);
    state(&mut bench, "db");
    assert!(lookups(&mut bench).is_empty());
    bench.pass(1);
    assert_eq!(state(&mut bench, "db"), HostState::Known(IP));
    let second = lookups(&mut bench)[0].0;
    answer(&mut bench, second, &[]);
    assert_eq!(bench.log(), ["Failed to resolve hostname 'db'"]);
    assert_eq!(state(&mut bench, "db"), HostState::Known(IP));
}

#[test]
fn a_name_that_never_resolved_is_bad() {
    let mut bench = with_names();
    state(&mut bench, "nowhere");
    let lookup = lookups(&mut bench)[0].0;
    answer(&mut bench, lookup, &[]);
    assert_eq!(state(&mut bench, "nowhere"), HostState::Bad);
}

#[test]
fn a_lookup_without_answer_is_given_up() {
    let mut bench = with_names();
    assert_eq!(state(&mut bench, "slow"), HostState::Pending);
    let first = lookups(&mut bench)[0].0;
    bench.pass(LOOKUP_TIMEOUT_MS - 1);
    assert_eq!(state(&mut bench, "slow"), HostState::Pending);
    assert!(lookups(&mut bench).is_empty());
    bench.pass(1);
    assert_eq!(state(&mut bench, "slow"), HostState::Pending);
    let second = lookups(&mut bench)[0].0;
    assert_ne!(first, second);
    assert_eq!(answer(&mut bench, first, &[IP]), None, "the late answer is not taken");
    assert_eq!(answer(&mut bench, second, &[IP]), Some(b"slow".to_vec()));
    assert_eq!(state(&mut bench, "slow"), HostState::Known(IP));
}

#[test]
fn names_and_their_number_have_limits() {
    let mut bench = with_names();
    assert_eq!(state(&mut bench, &"n".repeat(MAX_NAME_BYTES)), HostState::Pending);
    assert_eq!(state(&mut bench, &"n".repeat(MAX_NAME_BYTES + 1)), HostState::Bad);
    assert_eq!(state(&mut bench, ""), HostState::Bad);
    for n in 1..MAX_NAMES {
        state(&mut bench, &format!("host{n}"));
    }
    assert_eq!(lookups(&mut bench).len(), MAX_NAMES);
    assert_eq!(state(&mut bench, "one-more"), HostState::Busy);
    assert_eq!(state(&mut bench, "host1"), HostState::Pending);
}

#[test]
fn what_cannot_be_a_name_is_not_looked_up() {
    let mut bench = with_names();
    for host in ["a\nb", "a b", "a\0", "\x7f", "\t", "a\u{85}", "\u{2028}", "10.0.0.1\n"] {
        assert_eq!(state(&mut bench, host), HostState::Bad, "{host:?}");
    }
    assert_eq!(lookups(&mut bench), []);
    assert_eq!(state(&mut bench, "b\u{fc}cher.example"), HostState::Pending);
}

#[test]
fn equal_addresses() {
    let named = |host: &str, ip: Option<&str>, port| Addr {
        host: host.as_bytes().to_vec(),
        ip: ip.map(|ip| ip.parse().unwrap()),
        port,
    };
    let table = [
        (addr("10.0.0.1", 1), addr("10.0.0.1", 1), true),
        (addr("10.0.0.1", 1), addr("10.0.0.1", 2), false),
        (addr("10.0.0.1", 1), addr("10.0.0.2", 1), false),
        (addr("10.0.0.1", 1), named("a", Some("10.0.0.1"), 1), true),
        (named("a", Some("10.0.0.2"), 1), named("A", Some("10.0.0.1"), 1), true),
        (named("a", None, 1), named("A", None, 1), true),
        // Two names without an answer are not the same place.
        (named("a", None, 1), named("b", None, 1), false),
        (named("a", None, 1), addr("10.0.0.1", 1), false),
        (addr("::1", 1), addr("0:0:0:0:0:0:0:1", 1), true),
    ];
    for (one, other, same) in table {
        assert_eq!(one.same(&other), same, "{one:?} {other:?}");
        assert_eq!(other.same(&one), same, "{other:?} {one:?}");
    }
}

#[test]
fn reported_addresses() {
    let named = Addr { host: b"Db".to_vec(), ip: Some(IP), port: 6379 };
    let unknown = Addr { host: b"db".to_vec(), ip: None, port: 6379 };
    let table = [
        (&named, "10.0.0.1", 6379, true),
        (&named, "10.0.0.1", 6380, false),
        (&named, "10.0.0.2", 6379, false),
        (&named, "dB", 6379, true),
        (&named, "other", 6379, false),
        (&named, "", 6379, false),
        (&unknown, "db", 6379, true),
        (&unknown, "other", 6379, false),
        (&unknown, "", 6379, false),
    ];
    for (addr, host, port, is_at) in table {
        assert_eq!(addr.is_at(host.as_bytes(), port), is_at, "{addr:?} {host} {port}");
    }
}

#[test]
fn a_host_that_moves_is_saved() {
    let mut bench = with_names();
    let master = bench.monitor(b"m");
    let named = Addr { host: b"db".to_vec(), ip: Some(IP), port: 6379 };
    bench.call(|sentinel, cx| sentinel.switch_to(cx, master, named));
    let saved = |bench: &mut Bench| {
        bench.pass(GATHER_MS);
        bench.sentinel.saves.take(bench.now).map(|(_, changes)| {
            bench.sentinel.saves.ended(bench.now, true, 1);
            changes.masters.contains(&master)
        })
    };
    assert_eq!(saved(&mut bench), Some(true));
    for (ip, saves) in [(IP, None), (std::net::Ipv4Addr::new(10, 0, 0, 2).into(), Some(true))] {
        state(&mut bench, "db");
        let lookup = lookups(&mut bench)[0].0;
        answer(&mut bench, lookup, &[ip]);
        assert_eq!(saved(&mut bench), saves, "{ip}");
        bench.pass(LOOKUP_PERIOD_MS);
    }
    assert_eq!(bench.sentinel.export_master(master).at.host, b"10.0.0.2");
}

#[test]
fn a_full_cache_forgets_the_name_that_was_not_wanted_for_longest() {
    let mut bench = with_names();
    let name = |n: usize| format!("db{n}.example");
    for n in 0..MAX_NAMES {
        state(&mut bench, &name(n));
    }
    // While all of them are on their way nobody can go.
    assert_eq!(state(&mut bench, "new.example"), HostState::Busy);
    for (lookup, _) in lookups(&mut bench) {
        answer(&mut bench, lookup, &[IP]);
    }
    assert_eq!(state(&mut bench, &name(0)), HostState::Known(IP));
    assert_eq!(state(&mut bench, "new.example"), HostState::Pending);
    assert_eq!(state(&mut bench, &name(0)), HostState::Known(IP), "just wanted");
    assert_eq!(state(&mut bench, &name(1)), HostState::Pending, "made room");
    assert_eq!(state(&mut bench, &name(MAX_NAMES - 1)), HostState::Known(IP));
}

/// Takes the INFO of a master that lists these replicas.
fn list_replicas(bench: &mut Bench, master: MasterId, hosts: &[String]) {
    let line =
        |(n, host): (usize, &String)| format!("slave{n}:ip={host},port=6379,state=online\r\n");
    let lines: String = hosts.iter().enumerate().map(line).collect();
    let text = format!("role:master\r\n{lines}");
    bench.call(|sentinel, cx| sentinel.apply_info(cx, InstId::Master(master), text.as_bytes()));
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("db{n}.example")).collect()
}

#[test]
fn replicas_that_wait_for_their_names_are_forgotten_with_their_master() {
    for forget in ["", "reset", "remove"] {
        let mut bench = with_names();
        let master = bench.monitor(b"m");
        list_replicas(&mut bench, master, &names(1));
        let lookup = lookups(&mut bench)[0].0;
        bench.call(|sentinel, cx| match forget {
            "reset" => sentinel.reset_master(cx, master),
            "remove" => sentinel.remove_master(cx, master),
            _ => {}
        });
        answer(&mut bench, lookup, &[IP]);
        let found = bench.sentinel.replicas.len();
        assert_eq!(found, usize::from(forget.is_empty()), "{forget}");
        assert_eq!(bench.sentinel.check_indexes(), Ok(()));
    }
}

/// A data node that lists names without end, or whoever asks about such, must not keep others from
/// having theirs looked up.
#[test]
fn names_that_others_tell_have_a_share_each() {
    let mut bench = with_names();
    let (one, two) = (bench.monitor(b"one"), bench.monitor(b"two"));
    list_replicas(&mut bench, one, &names(1_000));
    assert_eq!(lookups(&mut bench).len(), MAX_FOREIGN_LOOKUPS);
    for n in 0..1_000 {
        let host = format!("who{n}.example");
        bench.call(|sentinel, cx| {
            let (ip, runid) = (host.as_bytes(), &b"*"[..]);
            sentinel.asked(cx, &Ask { ip, port: 6379, epoch: 0, runid, asker: None });
        });
    }
    assert_eq!(lookups(&mut bench).len(), MAX_FOREIGN_LOOKUPS);
    list_replicas(&mut bench, two, &["other.example".to_string()]);
    let asked = lookups(&mut bench);
    assert_eq!(asked.len(), 1);
    answer(&mut bench, asked[0].0, &[IP]);
    assert_eq!(bench.sentinel.replicas_of(two).count(), 1);
    assert_eq!(state(&mut bench, "own.example"), HostState::Pending);
    assert_eq!(lookups(&mut bench).len(), 1);
}

#[test]
fn a_lookup_of_our_own_does_not_wait_for_one_that_others_wanted() {
    let mut bench = with_names();
    let master = bench.monitor(b"m");
    list_replicas(&mut bench, master, &names(1));
    let theirs = lookups(&mut bench)[0].0;
    assert_eq!(state(&mut bench, "db0.example"), HostState::Pending);
    let ours = lookups(&mut bench)[0].0;
    assert_eq!(state(&mut bench, "db0.example"), HostState::Pending);
    assert!(lookups(&mut bench).is_empty());
    assert_eq!(answer(&mut bench, theirs, &[]), None);
    answer(&mut bench, ours, &[IP]);
    assert_eq!(bench.sentinel.replicas_of(master).count(), 1, "whoever asked, it is found");
}

#[test]
fn the_rest_of_a_long_list_follows_when_the_first_names_are_there() {
    let mut bench = with_names();
    let master = bench.monitor(b"m");
    for _ in 0..4 {
        list_replicas(&mut bench, master, &names(200));
        for (n, (lookup, _)) in lookups(&mut bench).into_iter().enumerate() {
            let known = bench.sentinel.replicas_of(master).count();
            let ip = std::net::Ipv4Addr::new(10, 1, known as u8, n as u8).into();
            answer(&mut bench, lookup, &[ip]);
        }
    }
    assert_eq!(bench.sentinel.replicas_of(master).count(), 200);
    list_replicas(&mut bench, master, &names(200));
    assert_eq!(bench.sentinel.masters[master].incomplete_looks, 0);
    assert_eq!(bench.sentinel.check_indexes(), Ok(()));
}

#[test]
fn replicas_are_named_by_what_is_announced() {
    let mut bench = with_names();
    let master = bench.monitor(b"m");
    list_replicas(&mut bench, master, &names(2));
    for (n, (lookup, _)) in lookups(&mut bench).into_iter().enumerate() {
        answer(&mut bench, lookup, &[std::net::Ipv4Addr::new(10, 0, 0, n as u8).into()]);
    }
    let shown = |bench: &Bench| {
        let name = |name: &Vec<u8>| String::from_utf8(name.clone()).unwrap();
        bench.sentinel.masters[master].replicas.keys().map(name).collect::<Vec<_>>()
    };
    assert_eq!(shown(&bench), ["10.0.0.0:6379", "10.0.0.1:6379"]);
    let announce = |bench: &mut Bench, hosts| {
        bench.call(|sentinel, cx| sentinel.set_globals(cx, |g| g.announce_hostnames = hosts));
        assert_eq!(bench.sentinel.check_indexes(), Ok(()));
    };
    announce(&mut bench, true);
    assert_eq!(shown(&bench), ["db0.example:6379", "db1.example:6379"]);
    announce(&mut bench, false);
    assert_eq!(shown(&bench), ["10.0.0.0:6379", "10.0.0.1:6379"]);
    // Another replica by the name of the first, which has moved on: as long as IPs are announced
    // they are two.
    let twin = Addr {
        host: b"db0.example".to_vec(),
        ip: Some(std::net::Ipv4Addr::new(10, 0, 0, 9).into()),
        port: 6379,
    };
    bench.call(|sentinel, cx| sentinel.add_replica(cx, master, twin)).unwrap();
    announce(&mut bench, true);
    assert_eq!(shown(&bench), ["db0.example:6379", "db1.example:6379"]);
    announce(&mut bench, false);
    assert_eq!(shown(&bench), ["10.0.0.0:6379", "10.0.0.1:6379"]);
}

#[test]
fn a_listed_name_whose_answer_was_old_news_is_taken_up_when_the_next_one_comes() {
    let mut bench = with_names();
    let master = bench.monitor(b"m");
    let known = addr("10.0.0.5", 6379);
    bench.call(|sentinel, cx| sentinel.add_replica(cx, master, known));
    list_replicas(&mut bench, master, &names(1));
    let first = lookups(&mut bench)[0].0;
    answer(&mut bench, first, &["10.0.0.5".parse().unwrap()]);
    assert_eq!(bench.sentinel.replicas_of(master).count(), 1);
    bench.pass(LOOKUP_PERIOD_MS);
    list_replicas(&mut bench, master, &names(1));
    let second = lookups(&mut bench)[0].0;
    answer(&mut bench, second, &["10.0.0.6".parse().unwrap()]);
    assert_eq!(bench.sentinel.replicas_of(master).count(), 2);
    // An answer that is no news asks for no other one.
    bench.pass(LOOKUP_PERIOD_MS);
    list_replicas(&mut bench, master, &names(1));
    let third = lookups(&mut bench)[0].0;
    answer(&mut bench, third, &["10.0.0.6".parse().unwrap()]);
    assert!(lookups(&mut bench).is_empty());
}

#[test]
fn nobody_follows_a_name_that_leads_back_or_that_has_both_addresses() {
    let global = GlobalConfig { resolve_hostnames: true, ..GlobalConfig::default() };
    for announce_hostnames in [false, true] {
        let mut bench = Bench::with(GlobalConfig { announce_hostnames, ..global.clone() });
        let master = bench.monitor(b"m");
        let at = addr("10.0.0.5", 6379);
        let replica = bench.call(|sentinel, cx| sentinel.add_replica(cx, master, at)).unwrap();
        let named = |ip: &str| Addr { host: b"db".to_vec(), ip: ip.parse().ok(), port: 6379 };
        let may =
            |bench: &Bench, to: &Addr| bench.sentinel.may_follow(InstId::Replica(replica), to);
        state(&mut bench, "db");
        let lookup = lookups(&mut bench)[0].0;
        assert!(may(&bench, &named("10.0.0.6")));
        answer(&mut bench, lookup, &["10.0.0.5".parse().unwrap()]);
        assert_eq!(may(&bench, &named("10.0.0.6")), !announce_hostnames);
        // Several nodes live on one host.
        for ip in ["10.0.0.5", "10.0.0.6"] {
            assert!(may(&bench, &Addr { port: 6380, ..named(ip) }), "{ip}");
        }
        bench.pass(LOOKUP_PERIOD_MS);
        state(&mut bench, "db");
        let lookup = lookups(&mut bench)[0].0;
        answer(&mut bench, lookup, &["fd00::5".parse().unwrap(), "10.0.0.5".parse().unwrap()]);
        assert!(!may(&bench, &named("fd00::5")), "one host");
        assert!(may(&bench, &named("fd00::6")));
    }
}
