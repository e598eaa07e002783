#![forbid(unsafe_code)]

use super::action::Action;
use super::connect;
use super::failover::{Attempt, Cause, Failover, State};
use super::instance::{InstId, Loading, MasterId, ReplicaId};
use super::link::{Channel, Conn, LinkId};
use super::orders::*;
use super::refusal::{Command, Reason};
use super::testing::{Bench, addr};
use crate::resp::reply::Reply;
use crate::util::ident::ConnId;

const OK: Reply = Reply::Simple(b"OK");
const QUEUED: Reply = Reply::Simple(b"QUEUED");
const NOPERM: Reply = Reply::Error(b"NOPERM no");
const UNKNOWN: Reply = Reply::Error(b"ERR unknown command");
const ABORTED: Reply = Reply::Error(b"EXECABORT Transaction discarded because of previous errors.");
const LOADING: Reply = Reply::Error(b"LOADING wait");
const NO_MULTI: Reply = Reply::Error(b"ERR EXEC without MULTI");
const NO_FILE: Reply = Reply::Error(b"ERR The server is running without a config file");
const ALL_QUEUED: [Reply; 5] = [OK, QUEUED, QUEUED, QUEUED, QUEUED];

/// What came of a transaction, in a word, with the steps that failed.
fn outcome(replies: [Reply; 5], exec: &Reply) -> (&'static str, Vec<Step>) {
    let steps = [Step::Multi, Step::Slaveof, Step::Rewrite, Step::KillNormal, Step::KillPubsub];
    let mut all = Replies::default();
    for (step, reply) in steps.into_iter().zip(&replies) {
        all.take(step, reply);
    }
    let names = |failed: Vec<(Step, Vec<u8>)>| failed.into_iter().map(|(step, _)| step).collect();
    match all.judge(exec) {
        Outcome::Done { failed } => ("done", names(failed)),
        Outcome::NotRun { refused, stuck: false } => ("not run", names(refused)),
        Outcome::NotRun { refused, stuck: true } => ("stuck", names(refused)),
        Outcome::Refused { .. } => ("refused", Vec::new()),
    }
}

#[test]
fn transactions_are_judged_by_all_their_answers() {
    use Step::{Exec, KillNormal, KillPubsub, Multi, Rewrite};
    let ran = |items: [Reply<'static>; 4]| Reply::Array(items.to_vec());
    let [m, s, c, k, p] = ALL_QUEUED;
    let one = Reply::Int(1);
    let table: [([Reply; 5], Reply, &str, &[Step]); 16] = [
        (ALL_QUEUED, ran([OK, OK, one.clone(), one.clone()]), "done", &[]),
        (ALL_QUEUED, ran([OK, NO_FILE, one.clone(), one.clone()]), "done", &[Rewrite]),
        (ALL_QUEUED, ran([OK, NOPERM, NOPERM, NOPERM]), "done", &[Rewrite, KillNormal, KillPubsub]),
        (ALL_QUEUED, ran([NOPERM, OK, one.clone(), one.clone()]), "refused", &[]),
        (ALL_QUEUED, Reply::Array(Vec::new()), "not run", &[]),
        (ALL_QUEUED, Reply::Null, "not run", &[]),
        (ALL_QUEUED, Reply::Simple(b"QUEUED"), "not run", &[]),
        // The user may not use EXEC; a script began to run in the midst of it.
        (ALL_QUEUED, ABORTED, "not run", &[Exec]),
        (ALL_QUEUED, UNKNOWN, "stuck", &[Exec]),
        ([m.clone(), LOADING, c.clone(), k.clone(), p.clone()], ABORTED, "refused", &[]),
        ([m.clone(), NOPERM, NOPERM, k.clone(), p.clone()], ABORTED, "refused", &[]),
        ([m.clone(), s.clone(), UNKNOWN, k.clone(), p.clone()], ABORTED, "not run", &[Rewrite]),
        ([m, s, c, NOPERM, NOPERM], ABORTED, "not run", &[KillNormal, KillPubsub]),
        // Without MULTI each command runs by itself.
        ([NOPERM, OK, OK, one.clone(), one.clone()], NO_MULTI, "done", &[Multi]),
        (
            [UNKNOWN, OK, NO_FILE, NOPERM, one.clone()],
            UNKNOWN,
            "done",
            &[Multi, Rewrite, KillNormal],
        ),
        ([NOPERM, NOPERM, OK, one.clone(), one], NO_MULTI, "refused", &[]),
    ];
    for (replies, exec, word, steps) in table {
        assert_eq!(outcome(replies.clone(), &exec), (word, steps.to_vec()), "{replies:?} {exec:?}");
    }
}

/// A master that is away, and two replicas that could take its place.
struct Stage {
    bench: Bench,
    master: MasterId,
    replicas: [ReplicaId; 2],
}

const EPOCH: u64 = 7;

impl Stage {
    /// A failover that has just told the first replica to become a master.
    fn promoting() -> Stage {
        let mut bench = Bench::new();
        let master = bench.monitor(b"m");
        let replicas = [6380, 6381].map(|port| {
            let at = addr("127.0.0.1", port);
            bench.call(|sentinel, cx| sentinel.add_replica(cx, master, at)).unwrap()
        });
        let mut stage = Stage { bench, master, replicas };
        let now = stage.bench.now;
        for replica in replicas {
            stage.connect(replica);
            let data = &mut stage.bench.sentinel.replicas[replica].data;
            (data.info_refresh, data.info_sent) = (Some(now), Some(now));
        }
        let state = State::SendSlaveofNoOne { replica: replicas[0] };
        let attempt = Attempt::default();
        let entry = &mut stage.bench.sentinel.masters[master];
        (entry.base.sdown.is, entry.base.sdown.since) = (true, Some(now));
        (entry.odown.is, entry.odown.since) = (true, Some(now));
        entry.failover_start = Some(now);
        entry.failover = Some(Failover {
            epoch: EPOCH,
            cause: Cause::Forced,
            started: now,
            state,
            state_since: now,
            promotion_since: None,
            attempt,
        });
        stage.progress();
        assert_eq!(stage.state(), "waits for 0");
        stage
    }

    fn link(&self, replica: ReplicaId) -> LinkId {
        self.bench.sentinel.replicas[replica].base.link
    }

    /// A new command connection, and a subscription if there was none.
    fn connect(&mut self, replica: ReplicaId) {
        let link = self.link(replica);
        self.bench.call(|sentinel, cx| {
            for channel in [Channel::Cmd, Channel::Pubsub] {
                let id = cx.out.open();
                sentinel.conns.insert(id, (link, channel));
                let conn = Some(Conn::new(id, cx.now));
                match channel {
                    Channel::Cmd => sentinel.links[link].cmd = conn,
                    Channel::Pubsub => sentinel.links[link].pubsub = conn,
                }
            }
            let entry = &mut sentinel.links[link];
            (entry.outstanding_since, entry.last_available) = (None, cx.now);
        });
    }

    fn conn(&self, replica: ReplicaId) -> ConnId {
        self.bench.sentinel.links[self.link(replica)].cmd.as_ref().unwrap().id
    }

    /// Answers on the command connection of a replica, in order.
    fn answer(&mut self, replica: ReplicaId, replies: &[Reply]) {
        let conn = self.conn(replica);
        for reply in replies {
            self.bench.call(|sentinel, cx| sentinel.link_reply(cx, conn, reply));
        }
    }

    fn info(&mut self, replica: ReplicaId, role: &str) {
        let text = format!("role:{role}\r\nmaster_host:127.0.0.1\r\nmaster_port:6379\r\n");
        self.answer(replica, &[Reply::Bulk(text.as_bytes())]);
    }

    fn progress(&mut self) {
        let master = self.master;
        self.bench.call(|sentinel, cx| sentinel.master_progress(cx, master));
    }

    /// The state of the failover, with the number of the replica.
    fn state(&self) -> String {
        let number = |id| self.replicas.iter().position(|replica| *replica == id).unwrap();
        match self.bench.sentinel.masters[self.master].failover.map(|failover| failover.state) {
            None => "none".to_string(),
            Some(State::SendSlaveofNoOne { replica }) => format!("sends to {}", number(replica)),
            Some(State::WaitPromotion { replica, .. }) => format!("waits for {}", number(replica)),
            Some(state) => format!("{state:?}"),
        }
    }
}

/// A hello tells of another leader's configuration while our own order waits for its connection: it
/// must not reach the replica any more. What has left cannot be taken back.
#[test]
fn an_order_that_waits_for_its_connection_does_not_outlive_a_switch() {
    for (connect, is_dropped) in [
        (connect::Stage::Waiting, true),
        (connect::Stage::Connecting, true),
        (connect::Stage::Established, false),
    ] {
        let mut stage = Stage::promoting();
        let [first, second] = stage.replicas;
        for replica in [first, second] {
            let link = stage.link(replica);
            stage.bench.sentinel.links[link].cmd.as_mut().unwrap().stage = connect;
        }
        let (ordered, other) = (stage.conn(first), stage.conn(second));
        stage.bench.actions();
        let master = stage.master;
        stage.bench.call(|sentinel, cx| {
            sentinel.switch_to(cx, master, addr("127.0.0.1", 6381));
        });
        let actions = stage.bench.actions();
        let is_closed = |conn| actions.contains(&Action::Close { conn });
        assert_eq!(is_closed(ordered), is_dropped, "{connect:?}");
        assert!(!is_closed(other), "nothing was ordered there");
    }
}

fn refused(error: Reply<'static>) -> Vec<Reply<'static>> {
    vec![OK, error, QUEUED, QUEUED, QUEUED, ABORTED]
}

#[test]
fn a_replica_that_refuses_is_given_up_for_another_one() {
    let mut stage = Stage::promoting();
    let [first, second] = stage.replicas;
    stage.answer(first, &refused(NOPERM));
    assert_eq!(stage.state(), "none");
    assert!(stage.bench.sentinel.replicas[first].refuses_promotion);
    let link = stage.link(first);
    assert!(stage.bench.sentinel.links[link].refusals.is(Command::Slaveof, Reason::NoPermission));
    // The next attempt takes the other one, whatever the order.
    let now = stage.bench.now;
    stage.bench.sentinel.replicas[first].priority = 1;
    let candidates = stage.bench.sentinel.candidates(now, stage.master, now);
    let limits = stage.bench.sentinel.select_limits(now, stage.master);
    let choice = super::select::choose(&candidates, &limits, 0);
    assert_eq!(choice, super::select::Choice::Take(second));
}

#[test]
fn the_only_replica_is_asked_again_after_pauses() {
    let mut stage = Stage::promoting();
    let [first, second] = stage.replicas;
    stage.bench.sentinel.replicas[second].priority = 0;
    for pause_ms in [100, 200, 400, 800] {
        stage.answer(first, &refused(NOPERM));
        assert_eq!(stage.state(), "sends to 0");
        stage.info(first, "slave");
        stage.bench.pass(pause_ms - 1);
        stage.progress();
        assert_eq!(stage.state(), "sends to 0");
        stage.bench.pass(1);
        stage.progress();
        assert_eq!(stage.state(), "waits for 0", "after {pause_ms} ms");
    }
}

#[test]
fn a_replica_that_loads_is_given_up_and_not_held_against_it_later() {
    let mut stage = Stage::promoting();
    let [first, second] = stage.replicas;
    stage.bench.sentinel.replicas[second].priority = 0;
    stage.answer(first, &refused(LOADING));
    assert_eq!(stage.state(), "none", "nobody else is there, but it cannot be promoted now");
    let replica = &stage.bench.sentinel.replicas[first];
    assert_eq!((replica.data.loading, replica.refuses_promotion), (Loading::Yes, false));
    let (now, master) = (stage.bench.now, stage.master);
    let wants = |stage: &Stage| stage.bench.sentinel.has_selectable_replica(now, master);
    assert!(!wants(&stage));
    let election = &stage.bench.sentinel.masters[master].election;
    assert!(election.needs_replica && election.retry_at.is_some());
    let inst = InstId::Replica(first);
    stage.bench.call(|sentinel, cx| sentinel.set_loading(cx, inst, Loading::No));
    assert!(wants(&stage));
}

/// Its first order was lost with the connection, or ran. A refusal of the second one does not tell.
#[test]
fn after_an_order_without_an_answer_a_refusal_is_no_proof() {
    for is_master in [false, true] {
        let mut stage = Stage::promoting();
        let [first, _] = stage.replicas;
        let conn = stage.conn(first);
        stage.bench.call(|sentinel, cx| sentinel.conn_closed(cx, conn, false));
        assert_eq!(stage.state(), "sends to 0");
        stage.bench.pass(10);
        stage.connect(first);
        stage.progress();
        assert_eq!(stage.state(), "waits for 0");
        stage.answer(first, &refused(NOPERM));
        assert_eq!(stage.state(), "sends to 0", "it may be a master: nobody else");
        // Asked for with the order.
        stage.info(first, if is_master { "master" } else { "slave" });
        assert_eq!(stage.state(), "none");
        let port = stage.bench.sentinel.masters[stage.master].base.addr.port;
        assert_eq!(port, if is_master { 6380 } else { 6379 }, "promoted, or given up");
    }
}

#[test]
fn answers_to_an_order_of_an_older_failover_change_nothing() {
    for replies in [refused(NOPERM), vec![OK, QUEUED, NOPERM, QUEUED, QUEUED, ABORTED]] {
        let mut stage = Stage::promoting();
        let [first, _] = stage.replicas;
        let failover = stage.bench.sentinel.masters[stage.master].failover.as_mut().unwrap();
        failover.epoch += 1;
        stage.answer(first, &replies);
        assert_eq!(stage.state(), "waits for 0");
        let attempt = stage.bench.sentinel.masters[stage.master].failover.unwrap().attempt;
        assert_eq!(attempt, Attempt::default());
    }
}

#[test]
fn what_was_refused_beside_slaveof_is_left_out_the_next_time() {
    let table = [
        ([QUEUED, NOPERM, QUEUED, QUEUED], true, &b"SLAVEOF|CLIENT|CLIENT|INFO"[..]),
        ([QUEUED, QUEUED, NOPERM, NOPERM], true, b"SLAVEOF|CONFIG|INFO"),
        ([QUEUED, UNKNOWN, UNKNOWN, UNKNOWN], true, b"SLAVEOF|INFO"),
        ([QUEUED, QUEUED, QUEUED, QUEUED], false, b"SLAVEOF|CONFIG|CLIENT|CLIENT|INFO"),
    ];
    for (replies, aborted, expected) in table {
        let mut stage = Stage::promoting();
        let [first, _] = stage.replicas;
        let conn = stage.conn(first);
        stage.bench.call(|_, cx| cx.out.buffer(conn).unwrap().clear());
        stage.answer(first, &[OK]);
        stage.answer(first, &replies);
        stage.answer(first, &[if aborted { ABORTED } else { Reply::Null }]);
        assert_eq!(stage.state(), "waits for 0");
        let sent = stage.bench.call(|_, cx| cx.out.buffer(conn).unwrap().clone());
        let verbs: Vec<&[u8]> = sent
            .split(|byte| *byte == b'*')
            .skip(1)
            .filter_map(|request| request.split(|byte| *byte == b'\n').nth(2))
            .map(|word| word.strip_suffix(b"\r").unwrap())
            .collect();
        assert_eq!(verbs.join(&b'|'), expected);
        // The SLAVEOF that is in no transaction is refused too: that is the end of it.
        stage.info(first, "slave");
        stage.answer(first, &[NOPERM]);
        assert_eq!(stage.state(), "none");
    }
}
