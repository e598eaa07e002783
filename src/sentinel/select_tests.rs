#![forbid(unsafe_code)]

use super::instance::ReplicaId;
use super::select::*;

const LIMITS: Limits =
    Limits { available_age_ms: 5_000, info_age_ms: 5_000, link_down_ms: 300_000 };

/// A replica without fault; its run id begins with its number.
fn candidate(n: u64) -> Candidate {
    Candidate {
        id: ReplicaId(n),
        sdown: false,
        connected: true,
        loading: false,
        refused: false,
        available_age_ms: 100,
        info_age_ms: Some(100),
        info_fresh: true,
        priority: 100,
        link_down_ms: 0,
        repl_offset: 1_000,
        runid: format!("{n}{}", "a".repeat(39)).into_bytes(),
    }
}

fn with(n: u64, change: impl FnOnce(&mut Candidate)) -> Candidate {
    let mut candidate = candidate(n);
    change(&mut candidate);
    candidate
}

fn chosen(candidates: &[Candidate]) -> Choice {
    choose(candidates, &LIMITS, 0)
}

#[test]
fn nobody_of_nobody() {
    assert_eq!(chosen(&[]), Choice::Nobody);
    assert_eq!(choose(&[], &LIMITS, u64::MAX), Choice::Nobody);
}

#[test]
fn each_criterion_by_itself_at_its_border() {
    type Change = fn(&mut Candidate);
    let table: [(&str, bool, Change); 15] = [
        ("as it is", true, |_| {}),
        ("sdown", false, |c| c.sdown = true),
        ("disconnected", false, |c| c.connected = false),
        ("answered just in time", true, |c| c.available_age_ms = 5_000),
        ("silent for too long", false, |c| c.available_age_ms = 5_001),
        ("priority 0", false, |c| c.priority = 0),
        ("priority 1", true, |c| c.priority = 1),
        ("link down, but not too long", true, |c| c.link_down_ms = 300_000),
        ("link down for too long", false, |c| c.link_down_ms = 300_001),
        ("never synced", true, |c| c.link_down_ms = -1_000),
        ("INFO at the limit", true, |c| c.info_age_ms = Some(5_000)),
        ("INFO too old", false, |c| c.info_age_ms = Some(5_001)),
        ("no INFO at all", false, |c| c.info_age_ms = None),
        ("loading", false, |c| c.loading = true),
        ("refused before, and nobody else is there", true, |c| c.refused = true),
    ];
    for (what, suitable, change) in table {
        let expected = if suitable { Choice::Take(ReplicaId(1)) } else { Choice::Nobody };
        assert_eq!(chosen(&[with(1, change)]), expected, "{what}");
    }
}

#[test]
fn each_tie_break_in_its_order() {
    type Change = fn(&mut Candidate);
    let table: [(&str, u64, Change, Change); 10] = [
        ("smaller run id", 1, |_| {}, |_| {}),
        ("lower priority beats offset", 2, |c| c.repl_offset = 9_999, |c| c.priority = 99),
        ("larger offset beats run id", 2, |_| {}, |c| c.repl_offset = 1_001),
        ("run id without case", 2, |c| c.runid = b"bb".to_vec(), |c| c.runid = b"AZ".to_vec()),
        ("unknown run id last", 2, |c| c.runid.clear(), |c| c.runid = b"ff".to_vec()),
        (
            "offset beats a known run id",
            1,
            |c| {
                c.runid.clear();
                c.repl_offset = 2_000;
            },
            |_| {},
        ),
        ("a prefix is smaller", 1, |c| c.runid = b"aa".to_vec(), |c| c.runid = b"aaa".to_vec()),
        ("a willing one beats all of that", 2, |c| c.refused = true, |c| c.priority = 200),
        ("of two that refused as ever", 1, |c| c.refused = true, |c| c.refused = true),
        (
            "an unsuitable one does not count",
            2,
            |c| {
                c.priority = 1;
                c.sdown = true;
            },
            |_| {},
        ),
    ];
    for (what, winner, first, second) in table {
        let (one, two) = (with(1, first), with(2, second));
        let expected = Choice::Take(ReplicaId(winner));
        assert_eq!(chosen(&[one.clone(), two.clone()]), expected, "{what}");
        assert_eq!(chosen(&[two, one]), expected, "{what}, the other way round");
    }
}

#[test]
fn a_replica_that_may_still_answer_is_waited_for_but_not_for_ever() {
    let stale = || {
        with(1, |c| {
            c.info_fresh = false;
            c.repl_offset = 9_999;
        })
    };
    let both = [stale(), candidate(2)];
    assert_eq!(chosen(&both), Choice::Wait);
    assert_eq!(choose(&both, &LIMITS, FRESH_INFO_WAIT_MS - 1), Choice::Wait);
    // Then what was said after the fault wins over what was said before.
    assert_eq!(choose(&both, &LIMITS, FRESH_INFO_WAIT_MS), Choice::Take(ReplicaId(2)));
    // And where nobody has answered since the fault, the old word has to do.
    let alone = [stale()];
    assert_eq!(chosen(&alone), Choice::Wait);
    assert_eq!(choose(&alone, &LIMITS, FRESH_INFO_WAIT_MS), Choice::Take(ReplicaId(1)));
}

#[test]
fn nobody_waits_for_a_replica_that_would_not_be_taken_anyway() {
    type Change = fn(&mut Candidate);
    let table: [(&str, Change); 5] = [
        ("sdown", |c| c.sdown = true),
        ("disconnected", |c| c.connected = false),
        ("priority 0", |c| c.priority = 0),
        ("silent", |c| c.available_age_ms = 5_001),
        ("loading", |c| c.loading = true),
    ];
    for (what, change) in table {
        let mut hopeless = with(1, change);
        hopeless.info_fresh = false;
        let pair = [hopeless.clone(), candidate(2)];
        assert_eq!(chosen(&pair), Choice::Take(ReplicaId(2)), "{what}");
        assert_eq!(chosen(&[hopeless]), Choice::Nobody, "{what}");
    }
}

#[test]
fn a_replica_without_any_info_is_waited_for_and_then_given_up() {
    let silent = [with(1, |c| {
        c.info_fresh = false;
        c.info_age_ms = None;
    })];
    assert_eq!(chosen(&silent), Choice::Wait);
    assert_eq!(choose(&silent, &LIMITS, FRESH_INFO_WAIT_MS), Choice::Nobody);
}
