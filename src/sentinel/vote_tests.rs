#![forbid(unsafe_code)]

use super::epochs::{FREE_EPOCH, LAST_EPOCH, LOADED_EPOCH_MAX};
use super::failover::Cause;
use super::testing::{Bench, addr};
use super::vote::*;

const A: &[u8] = b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const B: &[u8] = b"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

fn vote(leader: &[u8], epoch: u64) -> Vote {
    Vote { leader: Some(leader.to_vec()), epoch }
}

fn ask(bench: &mut Bench, epoch: u64, runid: &[u8]) -> AskOutcome {
    let ask = Ask { ip: b"127.0.0.1", port: 6379, epoch, runid, asker: None };
    bench.call(|sentinel, cx| sentinel.asked(cx, &ask))
}

/// Writes what wants to be written; false if nothing does.
fn save(bench: &mut Bench, ok: bool) -> bool {
    let now = bench.now;
    let Some((generation, _)) = bench.sentinel.saves.take(now) else { return false };
    bench.sentinel.saves.ended(now, ok, 1);
    bench.call(|sentinel, cx| sentinel.votes_saved(cx, generation, ok));
    true
}

#[test]
fn the_book_knows_what_is_durable_and_what_is_promised() {
    let mut book = VoteBook { durable: vote(A, 3), ..VoteBook::default() };
    assert_eq!((book.last_epoch(), book.latest()), (3, &vote(A, 3)));
    book.pending.push((Ticket(1), vote(B, 4)));
    book.pending.push((Ticket(2), vote(A, 6)));
    assert_eq!((book.last_epoch(), book.latest()), (6, &vote(A, 6)));
    assert_eq!(book.durable, vote(A, 3));
    assert_eq!(VoteBook::default().last_epoch(), 0);
}

#[test]
fn a_vote_is_told_when_it_is_on_disk_and_not_before() {
    let mut bench = Bench::new();
    let id = bench.monitor(b"m");
    let outcome = ask(&mut bench, 1, A);
    assert_eq!(outcome, AskOutcome::Wait { down: false, master: id, ticket: Ticket(1) });
    assert_eq!(bench.sentinel.vote_answer(id), Vote::default());
    assert_eq!(bench.sentinel.export_master(id).leader_epoch, 1, "but it is what is written");
    assert!(save(&mut bench, true));
    assert_eq!(bench.sentinel.vote_answer(id), vote(A, 1));
    // The second to ask in this epoch is told of the first.
    let told = AskOutcome::Answer { down: false, vote: vote(A, 1) };
    assert_eq!(ask(&mut bench, 1, B), told);
}

#[test]
fn two_in_one_epoch_before_the_save_get_one_vote() {
    let mut bench = Bench::new();
    let id = bench.monitor(b"m");
    ask(&mut bench, 5, A);
    let wait = AskOutcome::Wait { down: false, master: id, ticket: Ticket(1) };
    assert_eq!(ask(&mut bench, 5, B), wait, "waits for the same save");
    assert_eq!(bench.sentinel.masters[id].vote.pending.len(), 1);
    save(&mut bench, true);
    assert_eq!(bench.sentinel.vote_answer(id), vote(A, 5));
}

#[test]
fn a_vote_that_cannot_be_saved_is_not_given() {
    let mut bench = Bench::new();
    let id = bench.monitor(b"m");
    ask(&mut bench, 1, A);
    save(&mut bench, true);
    ask(&mut bench, 2, B);
    save(&mut bench, false);
    assert_eq!(bench.sentinel.vote_answer(id), vote(A, 1));
    // It was told to nobody, so the epoch is still free.
    let wait = ask(&mut bench, 2, A);
    assert!(matches!(wait, AskOutcome::Wait { .. }));
    assert!(save(&mut bench, true));
    assert_eq!(bench.sentinel.vote_answer(id), vote(A, 2));
}

#[test]
fn a_vote_taken_while_another_is_written_waits_for_its_own_save() {
    let mut bench = Bench::new();
    let id = bench.monitor(b"m");
    ask(&mut bench, 1, A);
    let now = bench.now;
    let (first, _) = bench.sentinel.saves.take(now).unwrap();
    let wait = AskOutcome::Wait { down: false, master: id, ticket: Ticket(2) };
    assert_eq!(ask(&mut bench, 2, B), wait);
    bench.sentinel.saves.ended(now, true, 1);
    bench.call(|sentinel, cx| sentinel.votes_saved(cx, first, true));
    assert_eq!(bench.sentinel.vote_answer(id), vote(A, 1));
    assert!(save(&mut bench, true));
    assert_eq!(bench.sentinel.vote_answer(id), vote(B, 2));
}

#[test]
fn what_is_no_vote_request() {
    let mut bench = Bench::new();
    let id = bench.monitor(b"m");
    let nothing = AskOutcome::Answer { down: false, vote: Vote::default() };
    assert_eq!(ask(&mut bench, 9, b"*"), nothing);
    let elsewhere = Ask { ip: b"127.0.0.2", port: 6379, epoch: 9, runid: A, asker: None };
    assert_eq!(bench.call(|s, cx| s.asked(cx, &elsewhere)), nothing);
    for port in [6380, 0, -1, 65_536 + 6379, i64::MAX] {
        let elsewhere = Ask { ip: b"127.0.0.1", port, epoch: 9, runid: A, asker: None };
        assert_eq!(bench.call(|s, cx| s.asked(cx, &elsewhere)), nothing, "{port}");
    }
    assert_eq!(bench.sentinel.current_epoch, 0, "nothing was adopted");
    assert_eq!(bench.sentinel.masters[id].vote.last_epoch(), 0);
}

#[test]
fn run_ids_that_could_break_a_line_get_no_vote() {
    for runid in [&b"a b"[..], b"a\nb", b"a\0", &[b'a'; 41], b"\xff"] {
        let mut bench = Bench::new();
        let id = bench.monitor(b"m");
        assert_eq!(
            ask(&mut bench, 1, runid),
            AskOutcome::Answer { down: false, vote: Vote::default() }
        );
        assert_eq!(bench.sentinel.masters[id].vote.last_epoch(), 0);
    }
}

#[test]
fn the_save_of_a_removed_master_is_harmless() {
    let mut bench = Bench::new();
    let id = bench.monitor(b"m");
    ask(&mut bench, 1, A);
    let now = bench.now;
    let (generation, _) = bench.sentinel.saves.take(now).unwrap();
    bench.call(|sentinel, cx| sentinel.remove_asked(cx, id));
    bench.sentinel.saves.ended(now, true, 1);
    bench.call(|sentinel, cx| sentinel.votes_saved(cx, generation, true));
    assert_eq!(bench.sentinel.vote_answer(id), Vote::default());
}

#[test]
fn an_epoch_that_leaves_no_room_for_elections_is_not_adopted() {
    let mut bench = Bench::new();
    let id = bench.monitor(b"m");
    let none = AskOutcome::Answer { down: false, vote: Vote::default() };
    for beyond in [FREE_EPOCH + (1 << 32), LAST_EPOCH - 1, LAST_EPOCH, u64::MAX] {
        assert_eq!(ask(&mut bench, beyond, A), none, "{beyond}");
    }
    assert_eq!((bench.sentinel.current_epoch, save(&mut bench, true)), (0, false));
    assert_eq!(bench.sentinel.vote_answer(id), Vote::default());
}

#[test]
fn votes_are_given_and_failovers_start_above_any_epoch_that_is_adopted() {
    for told in [1 << 62, FREE_EPOCH, FREE_EPOCH + 1, LOADED_EPOCH_MAX] {
        let mut bench = Bench::new();
        let id = bench.monitor(b"m");
        ask(&mut bench, told, A);
        assert!(save(&mut bench, true), "{told}");
        assert_eq!(bench.sentinel.vote_answer(id), vote(A, told));
        // The group goes on from there.
        ask(&mut bench, told + 1, B);
        assert!(save(&mut bench, true), "{told}");
        assert_eq!(bench.sentinel.vote_answer(id), vote(B, told + 1));
        bench.call(|sentinel, cx| sentinel.start_failover(cx, id, Cause::Forced));
        assert_eq!(bench.sentinel.current_epoch, told + 2);
        assert!(bench.sentinel.masters[id].failover.is_some());
    }
}

#[test]
fn what_a_peer_says_of_its_votes_cannot_use_up_the_epochs() {
    let mut bench = Bench::new();
    let id = bench.monitor(b"m");
    let at = super::testing::addr("127.0.0.1", 26_380);
    let peer = bench.call(|sentinel, cx| sentinel.add_peer(cx, id, A, at));
    for (told, next) in [(7, 8), (FREE_EPOCH, FREE_EPOCH + 1), (LAST_EPOCH, 1), (u64::MAX, 1)] {
        bench.sentinel.peers[peer].leader_epoch = told;
        assert_eq!(bench.sentinel.next_epoch(bench.now, id), Some(next), "{told}");
    }
}

#[test]
fn no_failover_starts_without_an_epoch() {
    let mut bench = Bench::new();
    let id = bench.monitor(b"m");
    bench.sentinel.current_epoch = LAST_EPOCH;
    let now = bench.now;
    let master = &mut bench.sentinel.masters[id];
    (master.base.sdown.is, master.base.sdown.since) = (true, Some(now));
    (master.odown.is, master.odown.since) = (true, Some(now));
    assert_eq!(bench.sentinel.start_due(now, id), super::timers::NEVER);
    bench.call(|sentinel, cx| sentinel.start_failover(cx, id, Cause::Forced));
    assert!(bench.sentinel.masters[id].failover.is_none());
    bench.sentinel.current_epoch = LAST_EPOCH - 1;
    assert_eq!(bench.sentinel.start_due(now, id), now);
}

#[test]
fn a_forced_failover_gives_way_to_a_vote_for_a_newer_epoch() {
    let mut bench = Bench::new();
    let id = bench.monitor(b"m");
    // Both votes are in the same save: ours is history before it could count.
    bench.call(|sentinel, cx| sentinel.start_failover(cx, id, Cause::Forced));
    let epoch = bench.sentinel.current_epoch;
    ask(&mut bench, epoch + 1, A);
    assert!(save(&mut bench, true));
    assert_eq!(bench.sentinel.vote_answer(id), vote(A, epoch + 1));
    assert_eq!(bench.sentinel.failover_state_word(id), None);
}

#[test]
fn a_forced_failover_whose_save_never_ends_times_out() {
    let mut bench = Bench::new();
    let id = bench.monitor(b"m");
    bench.call(|sentinel, cx| sentinel.start_failover(cx, id, Cause::Forced));
    assert_eq!(bench.sentinel.failover_state_word(id), Some("wait_start"));
    // The election timeout, and what is drawn on top of it.
    bench.pass(bench.sentinel.periods.election_timeout_ms + 1_001);
    bench.call(|sentinel, cx| while sentinel.run_due(cx, 64, &mut false) {});
    assert_eq!(bench.sentinel.failover_state_word(id), None);
}

#[test]
fn a_vote_that_a_configuration_has_overtaken_holds_nobody_back() {
    let mut bench = Bench::new();
    let id = bench.monitor(b"m");
    ask(&mut bench, 4, A);
    bench.sentinel.masters[id].config_epoch = 4;
    assert!(save(&mut bench, true));
    assert_eq!(bench.sentinel.vote_answer(id), vote(A, 4), "it was given all the same");
    assert_eq!(bench.sentinel.masters[id].failover_start, None);
    // A later one does.
    ask(&mut bench, 5, A);
    assert!(save(&mut bench, true));
    assert!(bench.sentinel.masters[id].failover_start.is_some());
}

#[test]
fn votes_that_wait_for_a_slow_disk_are_bounded() {
    let mut bench = Bench::new();
    let id = bench.monitor(b"m");
    for epoch in 1..=200 {
        ask(&mut bench, epoch, A);
    }
    let waiting = bench.sentinel.masters[id].vote.pending.len();
    assert!((2..=16).contains(&waiting), "{waiting}");
    save(&mut bench, true);
    assert!(bench.sentinel.masters[id].vote.pending.is_empty());
    assert_eq!(bench.sentinel.vote_answer(id), vote(A, waiting as u64));
    ask(&mut bench, 201, B);
    save(&mut bench, true);
    assert_eq!(bench.sentinel.vote_answer(id), vote(B, 201), "there is room again");
}

/// Who is told what, and which epochs are used up, where one node has two names.
#[test]
fn a_vote_counts_for_all_names_of_a_node() {
    let mut bench = Bench::new();
    let (one, two) = (bench.monitor(b"one"), bench.monitor(b"two"));
    let last = |bench: &Bench| [one, two].map(|id| bench.sentinel.masters[id].vote.last_epoch());
    ask(&mut bench, 5, A);
    assert_eq!(last(&bench), [5, 5]);
    assert!(save(&mut bench, true));
    let told = AskOutcome::Answer { down: false, vote: vote(A, 5) };
    assert_eq!(ask(&mut bench, 5, B), told);
    // One of the names moves on; who asks about the old address may still mean it.
    let elsewhere = addr("127.0.0.1", 7000);
    bench.call(|sentinel, cx| sentinel.switch_to(cx, one, elsewhere));
    assert_eq!(ask(&mut bench, 5, B), told);
    ask(&mut bench, 6, B);
    assert_eq!(last(&bench), [6, 6]);
    assert!(save(&mut bench, true));
    let about_one = Ask { ip: b"127.0.0.1", port: 7000, epoch: 6, runid: A, asker: None };
    let outcome = bench.call(|sentinel, cx| sentinel.asked(cx, &about_one));
    assert_eq!(outcome, AskOutcome::Answer { down: false, vote: vote(B, 6) });
    // Nobody leads a failover of the name that moved on.
    assert_eq!(bench.sentinel.masters[one].failover_start, None);
}

/// An own vote is for one name: only that one is a candidate. The other gives none in that epoch
/// either, and none while the leader of the first acts.
#[test]
fn an_own_vote_uses_up_the_epoch_of_the_other_name() {
    let mut bench = Bench::new();
    let (one, two) = (bench.monitor(b"one"), bench.monitor(b"two"));
    bench.call(|sentinel, cx| sentinel.start_failover(cx, two, Cause::Down));
    assert!(save(&mut bench, true));
    let own = vote(super::testing::OWN_ID, 1);
    let told = AskOutcome::Answer { down: false, vote: own };
    assert_eq!(ask(&mut bench, 1, A), told);
    assert_eq!(bench.sentinel.masters[one].vote.last_epoch(), 0);
    // A later epoch is given under both, and the candidate needs a new one.
    assert_eq!(bench.sentinel.masters[two].failover.map(|failover| failover.epoch), None);
    ask(&mut bench, 2, A);
    assert_eq!(bench.sentinel.masters[one].vote.last_epoch(), 2);
    assert_eq!(bench.sentinel.masters[two].vote.last_epoch(), 2);
}
