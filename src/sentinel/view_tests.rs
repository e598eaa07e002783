#![forbid(unsafe_code)]

use super::failover::{Attempt, Cause, Failover, State};
use super::instance::{InstId, ReconfState};
use super::testing::{Bench, addr};

#[test]
fn flags_stand_in_their_order() {
    let mut bench = Bench::new();
    let id = bench.monitor(b"m");
    let now = bench.now;
    let inst = InstId::Master(id);
    assert_eq!(bench.sentinel.flags(inst), "master,disconnected");
    let master = &mut bench.sentinel.masters[id];
    master.base.sdown.is = true;
    master.odown.is = true;
    master.data.script_kill_sent = true;
    master.reboot_since = Some(now);
    let state = State::WaitStart;
    let (started, state_since, promotion_since) = (now, now, None);
    let attempt = Attempt::default();
    let failover = Failover {
        epoch: 1,
        cause: Cause::Forced,
        started,
        state,
        state_since,
        promotion_since,
        attempt,
    };
    master.failover = Some(failover);
    assert_eq!(
        bench.sentinel.flags(inst),
        "s_down,o_down,master,disconnected,failover_in_progress,force_failover,script_kill_sent,\
         master_reboot"
    );
    assert_eq!(bench.sentinel.failover_state_word(id), Some("wait_start"));
}

#[test]
fn flags_of_a_replica() {
    let mut bench = Bench::new();
    let id = bench.monitor(b"m");
    let now = bench.now;
    let added = bench.call(|s, cx| s.add_replica(cx, id, addr("127.0.0.1", 6380)));
    let replica = added.unwrap();
    let inst = InstId::Replica(replica);
    bench.sentinel.replicas[replica].base.sdown.is = true;
    for (reconf, word) in [
        (ReconfState::None, ""),
        (ReconfState::Sent, ",reconf_sent"),
        (ReconfState::InProgress, ",reconf_inprog"),
        (ReconfState::Done, ",reconf_done"),
    ] {
        bench.sentinel.replicas[replica].reconf = reconf;
        let expected = format!("s_down,slave,disconnected{word}");
        assert_eq!(bench.sentinel.flags(inst), expected);
    }
    bench.sentinel.replicas[replica].reconf = ReconfState::None;
    bench.sentinel.replicas[replica].data.script_kill_sent = true;
    let state = State::SendSlaveofNoOne { replica };
    let (started, state_since, promotion_since) = (now, now, None);
    let attempt = Attempt::default();
    let failover = Failover {
        epoch: 1,
        cause: Cause::Forced,
        started,
        state,
        state_since,
        promotion_since,
        attempt,
    };
    bench.sentinel.masters[id].failover = Some(failover);
    let flags = bench.sentinel.flags(inst);
    assert_eq!(flags, "s_down,slave,disconnected,promoted,script_kill_sent");
    assert_eq!(bench.sentinel.failover_state_word(id), Some("send_slaveof_noone"));
}

#[test]
fn flags_of_a_sentinel() {
    let mut bench = Bench::new();
    let id = bench.monitor(b"m");
    let peer = bench.call(|s, cx| s.add_peer(cx, id, &[b'1'; 40], addr("127.0.0.1", 5001)));
    assert_eq!(bench.sentinel.flags(InstId::Peer(peer)), "sentinel,disconnected");
    bench.sentinel.peers[peer].master_down = true;
    assert_eq!(bench.sentinel.flags(InstId::Peer(peer)), "sentinel,disconnected,master_down");
}
