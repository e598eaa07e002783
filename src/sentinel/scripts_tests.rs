#![forbid(unsafe_code)]

use super::action::{Action, LogLevel};
use super::scripts::*;
use super::testing::Bench;
use crate::util::ident::JobId;

fn queue(bench: &mut Bench, arg: &str) {
    let argv = vec![b"/s.sh".to_vec(), arg.as_bytes().to_vec()];
    bench.call(|sentinel, cx| sentinel.queue_script(cx, argv));
}

/// Runs the tick's part; gives what was started, by its argument.
fn started(bench: &mut Bench) -> Vec<(JobId, String)> {
    bench.actions();
    bench.call(|sentinel, cx| sentinel.run_scripts(cx));
    let spawn = |action| match action {
        Action::Spawn { job, argv } => Some((job, String::from_utf8(argv[1].clone()).unwrap())),
        _ => None,
    };
    bench.actions().into_iter().filter_map(spawn).collect()
}

fn forked(bench: &mut Bench, job: JobId, pid: i32) {
    bench.call(|sentinel, cx| sentinel.script_spawned(cx, job, Ok(pid)));
}

fn ended(bench: &mut Bench, pid: i32, exit_code: i32, signal: i32) -> Vec<String> {
    bench.actions();
    bench.call(|sentinel, cx| sentinel.child_exited(cx, pid, exit_code, signal));
    bench.log()
}

#[test]
fn the_queue_is_bounded_and_drops_the_oldest_that_waits() {
    let mut bench = Bench::new();
    queue(&mut bench, "running");
    assert_eq!(started(&mut bench).len(), 1);
    for n in 0..MAX_JOBS {
        queue(&mut bench, &n.to_string());
    }
    assert_eq!(bench.sentinel.scripts.len(), MAX_JOBS);
    let args: Vec<&[u8]> = bench.sentinel.scripts.jobs().map(|job| &job.argv[1][..]).collect();
    assert_eq!(args[..3], [&b"running"[..], b"1", b"2"], "the running one and all but the oldest");
    assert_eq!(args[MAX_JOBS - 1], b"255");
}

#[test]
fn sixteen_run_at_once_oldest_first() {
    let mut bench = Bench::new();
    for n in 0..20 {
        queue(&mut bench, &n.to_string());
    }
    let first = started(&mut bench);
    let args: Vec<&str> = first.iter().map(|(_, arg)| arg.as_str()).collect();
    assert_eq!(args, (0..16).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!(bench.sentinel.scripts.running(), MAX_RUNNING);
    assert!(started(&mut bench).is_empty());
    forked(&mut bench, first[3].0, 103);
    assert!(ended(&mut bench, 103, 0, 0).is_empty());
    let next = started(&mut bench);
    assert_eq!(next.len(), 1);
    assert_eq!(next[0].1, "16");
}

/// How the ends of a script are taken: tried again or not, and what is told.
#[test]
fn exit_codes_and_signals() {
    let table: [(i32, i32, bool, &[&str]); 6] = [
        (0, 0, false, &[]),
        (1, 0, true, &[]),
        (2, 0, false, &["-script-error /s.sh 0 2"]),
        (255, 0, false, &["-script-error /s.sh 0 255"]),
        (0, 9, true, &[]),
        (0, 15, true, &[]),
    ];
    for (exit_code, signal, again, log) in table {
        let mut bench = Bench::new();
        queue(&mut bench, "x");
        let job = started(&mut bench)[0].0;
        forked(&mut bench, job, 7);
        assert_eq!(ended(&mut bench, 7, exit_code, signal), log, "{exit_code} {signal}");
        assert_eq!(!bench.sentinel.scripts.is_empty(), again, "{exit_code} {signal}");
    }
}

#[test]
fn retries_double_their_delay_and_end_after_ten_starts() {
    let mut bench = Bench::new();
    queue(&mut bench, "x");
    let mut delay_ms = bench.sentinel.periods.script_retry_delay_ms;
    for start in 1..=MAX_STARTS {
        let job = started(&mut bench);
        assert_eq!(job.len(), 1, "start {start}");
        let pid = start as i32;
        forked(&mut bench, job[0].0, pid);
        let log = ended(&mut bench, pid, 1, 0);
        if start < MAX_STARTS {
            assert!(log.is_empty());
            bench.pass(delay_ms - 1);
            assert!(started(&mut bench).is_empty(), "not before {delay_ms} ms");
            bench.pass(1);
            delay_ms *= 2;
        } else {
            assert_eq!(log, ["-script-error /s.sh 0 1"]);
        }
    }
    assert!(bench.sentinel.scripts.is_empty());
    assert_eq!(delay_ms, 30_000 << 9);
}

#[test]
fn a_failed_fork_is_told_and_tried_again() {
    let mut bench = Bench::new();
    queue(&mut bench, "x");
    for start in 1..=MAX_STARTS {
        let job = started(&mut bench)[0].0;
        bench.call(|s, cx| s.script_spawned(cx, job, Err("no memory".to_string())));
        let log = bench.log();
        assert_eq!(log, ["Can't fork for a script: no memory", "-script-error /s.sh 99 0"]);
        assert_eq!(bench.sentinel.scripts.running(), 0);
        assert_eq!(bench.sentinel.scripts.is_empty(), start == MAX_STARTS, "start {start}");
        assert!(started(&mut bench).is_empty());
        bench.pass(bench.sentinel.periods.script_retry_delay_ms);
    }
}

#[test]
fn a_script_that_runs_too_long_is_killed_and_tried_again() {
    let mut bench = Bench::new();
    queue(&mut bench, "x");
    let job = started(&mut bench)[0].0;
    forked(&mut bench, job, 42);
    bench.pass(bench.sentinel.periods.script_max_runtime_ms);
    assert!(started(&mut bench).is_empty());
    bench.call(|sentinel, cx| sentinel.run_scripts(cx));
    assert!(bench.actions().is_empty(), "not before its time is over");
    bench.pass(1);
    for _ in 0..2 {
        bench.call(|sentinel, cx| sentinel.run_scripts(cx));
        let actions = bench.actions();
        assert!(actions.contains(&Action::Kill { pid: 42 }));
        let text = b"-script-timeout /s.sh 42".to_vec();
        let told = Action::Log { level: LogLevel::Warning, text };
        assert!(actions.contains(&told), "at each tick until it is gone");
    }
    assert!(ended(&mut bench, 42, 0, 9).is_empty());
    assert_eq!(bench.sentinel.scripts.len(), 1);
    assert_eq!(bench.sentinel.scripts.running(), 0);
}

#[test]
fn children_that_are_not_ours_are_told_and_ignored() {
    let mut bench = Bench::new();
    queue(&mut bench, "x");
    assert_eq!(ended(&mut bench, 77, 0, 0), ["A child with unknown pid 77 has ended"]);
    assert_eq!(bench.sentinel.scripts.len(), 1);
    forked(&mut bench, JobId(999), 5);
    assert!(bench.actions().is_empty(), "a job that was dropped");
}
