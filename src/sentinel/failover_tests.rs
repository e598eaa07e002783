#![forbid(unsafe_code)]

use super::connect::Stage;
use super::failover::{Attempt, Cause, Failover, State};
use super::instance::{InstId, MasterId, ReplicaId};
use super::link::{Channel, Conn};
use super::testing::{Bench, addr};
use super::timers::NEVER;

/// A master with one replica that is connected and answers PING.
fn with_replica() -> (Bench, MasterId, ReplicaId) {
    let mut bench = Bench::new();
    let master = bench.monitor(b"m");
    let replica = bench.call(|sentinel, cx| {
        let replica = sentinel.add_replica(cx, master, addr("127.0.0.1", 6380)).unwrap();
        let link = sentinel.replicas[replica].base.link;
        let mut open = |channel| {
            let id = cx.out.open();
            sentinel.conns.insert(id, (link, channel));
            Some(Conn { stage: Stage::Established, ..Conn::new(id, cx.now) })
        };
        let (cmd, pubsub) = (open(Channel::Cmd), open(Channel::Pubsub));
        let link = &mut sentinel.links[link];
        (link.cmd, link.pubsub) = (cmd, pubsub);
        (link.outstanding_since, link.last_available) = (None, cx.now);
        replica
    });
    (bench, master, replica)
}

#[test]
fn a_promotion_that_is_asked_for_again_has_no_more_time() {
    let (mut bench, master, replica) = with_replica();
    let began = bench.now;
    bench.sentinel.masters[master].failover = Some(Failover {
        epoch: 1,
        cause: Cause::Forced,
        started: began,
        state: State::SendSlaveofNoOne { replica },
        state_since: began,
        promotion_since: None,
        attempt: Attempt::default(),
    });
    bench.call(|sentinel, cx| sentinel.master_progress(cx, master));
    let timeout_ms = bench.sentinel.masters[master].options.failover_timeout_ms;
    let state = |bench: &Bench| bench.sentinel.masters[master].failover.map(|f| f.state);
    for _ in 0..4 {
        assert!(matches!(state(&bench), Some(State::WaitPromotion { .. })));
        bench.pass(timeout_ms / 4);
        bench.call(|sentinel, cx| {
            sentinel.promotion_interrupted(cx.now, replica);
            sentinel.master_progress(cx, master);
        });
    }
    bench.pass(timeout_ms / 4);
    bench.call(|sentinel, cx| sentinel.master_progress(cx, master));
    assert_eq!(state(&bench), None, "a flapping link gave it more time");
}

/// A leader comes out of a long tilt, or its connection to the replica comes back late.
#[test]
fn what_would_be_given_up_at_once_is_not_sent() {
    let (mut bench, master, replica) = with_replica();
    bench.sentinel.masters[master].failover = Some(Failover {
        epoch: 1,
        cause: Cause::Forced,
        started: bench.now,
        state: State::SendSlaveofNoOne { replica },
        state_since: bench.now,
        promotion_since: None,
        attempt: Attempt::default(),
    });
    bench.pass(bench.sentinel.masters[master].options.failover_timeout_ms + 1);
    bench.call(|sentinel, cx| sentinel.master_progress(cx, master));
    assert!(bench.sentinel.masters[master].failover.is_none());
    let link = bench.sentinel.replicas[replica].base.link;
    let sent = bench.sentinel.links[link].cmd.as_ref().map(|conn| conn.sent.len());
    assert_eq!(sent, Some(0), "SLAVEOF NO ONE left, and nobody waits for what comes of it");
}

#[test]
fn a_replica_without_info_is_no_reason_to_try_again() {
    let (mut bench, id, replica) = with_replica();
    let now = bench.now;
    let master = &mut bench.sentinel.masters[id];
    (master.base.sdown.is, master.base.sdown.since) = (true, Some(now));
    (master.odown.is, master.odown.since) = (true, Some(now));
    master.failover_start = Some(now);
    master.election.retry_at = Some(now);
    master.election.needs_replica = true;
    let regular = now.after(2 * master.options.failover_timeout_ms);
    assert_eq!(bench.sentinel.start_due(now, id), regular);
    let data = &mut bench.sentinel.replicas[replica].data;
    (data.info_refresh, data.info_sent) = (Some(now), Some(now));
    assert_eq!(bench.sentinel.start_due(now, id), now);
    // A replica that is down is none either.
    bench.sentinel.base_mut(InstId::Replica(replica)).sdown.is = true;
    assert_eq!(bench.sentinel.start_due(now, id), regular);
    assert!(regular < NEVER);
}

#[test]
fn a_planned_attempt_outlives_a_gap_in_odown_but_not_the_return_of_the_master() {
    let (mut bench, id, replica) = with_replica();
    let now = bench.now;
    let data = &mut bench.sentinel.replicas[replica].data;
    (data.info_refresh, data.info_sent) = (Some(now), Some(now));
    let master = &mut bench.sentinel.masters[id];
    (master.base.sdown.is, master.base.sdown.since) = (true, Some(now));
    (master.odown.is, master.odown.since) = (true, Some(now));
    master.options.quorum = 2;
    master.failover_start = Some(now);
    master.election.retry_at = Some(now.after(50));
    // Nobody agrees any more, for a moment.
    bench.call(|sentinel, cx| sentinel.check_odown(cx, id));
    assert!(!bench.sentinel.masters[id].odown.is);
    assert_eq!(bench.sentinel.start_due(now, id), NEVER);
    bench.sentinel.masters[id].options.quorum = 1;
    bench.call(|sentinel, cx| sentinel.check_odown(cx, id));
    assert!(bench.sentinel.masters[id].odown.is);
    assert_eq!(bench.sentinel.start_due(now, id), now.after(50));
    let link = bench.sentinel.masters[id].base.link;
    let link = &mut bench.sentinel.links[link];
    (link.outstanding_since, link.last_available) = (None, now);
    bench.call(|sentinel, cx| sentinel.check_sdown(cx, InstId::Master(id)));
    assert!(!bench.sentinel.masters[id].base.sdown.is);
    assert_eq!(bench.sentinel.masters[id].election.retry_at, None);
}

/// What a replica says of itself, at the present moment.
fn says(bench: &mut Bench, replica: ReplicaId, text: &[u8]) {
    bench.call(|sentinel, cx| sentinel.apply_info(cx, InstId::Replica(replica), text));
}

#[test]
fn who_says_master_is_asked_again_when_it_may_be_told_to_follow() {
    let (mut bench, _, replica) = with_replica();
    let inst = InstId::Replica(replica);
    says(&mut bench, replica, b"role:slave\r\n");
    assert_eq!(bench.sentinel.doubt_ends(inst), NEVER);
    bench.pass(3_000);
    says(&mut bench, replica, b"role:master\r\n");
    let began = bench.now;
    let ends = bench.sentinel.doubt_ends(inst);
    // Four hello periods, and up to one that sets the sentinels apart.
    assert!(ends > began.after(8_000) && ends <= began.after(10_001), "{ends:?}");
    let due = |bench: &Bench| bench.sentinel.info_due(inst);
    assert_eq!(due(&bench), ends.min(began.after(10_001)));
    bench.pass(5_000);
    says(&mut bench, replica, b"role:master\r\n");
    assert_eq!(due(&bench), ends, "what it says before that is of no use");
    bench.now = ends;
    says(&mut bench, replica, b"role:master\r\n");
    assert_eq!(due(&bench), ends.after(10_001), "asked once, then as always");
}

/// The flag belongs to an sdown, and a switch ends that silently: in the next one a script that
/// still runs is to be ended again.
#[test]
fn a_switch_forgets_that_script_kill_was_sent() {
    let (mut bench, master, replica) = with_replica();
    let other = bench
        .call(|sentinel, cx| sentinel.add_replica(cx, master, addr("127.0.0.1", 6381)))
        .unwrap();
    for replica in [replica, other] {
        let data = &mut bench.sentinel.replicas[replica].data;
        data.script_kill_sent = true;
    }
    bench.call(|sentinel, cx| sentinel.switch_to(cx, master, addr("127.0.0.1", 6380)));
    assert!(!bench.sentinel.masters[master].data.script_kill_sent);
    assert!(!bench.sentinel.replicas[other].data.script_kill_sent);
}
