//! Requests that get longer: three times the bytes may cost about three times the steps.

use crate::rig::{Rig, request};

/// How far what is added by more input may grow beyond the input itself: sorting and growing
/// buffers take a little, comparing each with each takes several times as much.
pub const EXCESS_MAX: f64 = 1.4;
/// How much larger the larger input is.
pub const TIMES: usize = 3;
/// What the growth of a buffer or of a tree may add now and then.
pub const EXTRA_STEPS: u64 = 2_000;

/// A kind of request that can be made as long as one likes.
struct Case {
    name: &'static str,
    /// How many words or bytes the shorter one has; the longer one has [`TIMES`] as many.
    small: usize,
    /// Requests before it, which are not counted, given the same number.
    before: fn(usize) -> Vec<u8>,
    make: fn(usize) -> Vec<u8>,
}

const fn case(name: &'static str, small: usize, make: fn(usize) -> Vec<u8>) -> Case {
    Case { name, small, before: |_| Vec::new(), make }
}

const fn after(
    name: &'static str,
    small: usize,
    before: fn(usize) -> Vec<u8>,
    make: fn(usize) -> Vec<u8>,
) -> Case {
    Case { name, small, before, make }
}

/// The words of `front`, then `more`.
fn words(front: &str, more: impl IntoIterator<Item = String>) -> Vec<u8> {
    let front = front.split(' ').map(str::to_string);
    request(&front.chain(more).collect::<Vec<_>>())
}

/// The words of `front`, then `count` different ones that begin with `prefix`.
fn numbered(front: &str, prefix: &str, count: usize) -> Vec<u8> {
    words(front, (0..count).map(|n| format!("{prefix}{n:05}")))
}

/// The words of `front`, then those of `unit` so often.
fn repeated(front: &str, unit: &str, count: usize) -> Vec<u8> {
    let unit: Vec<String> = unit.split(' ').map(str::to_string).collect();
    words(front, (0..count).flat_map(|_| unit.clone()))
}

/// Many requests at once.
fn many(count: usize, make: impl Fn(usize) -> String) -> Vec<u8> {
    (0..count).flat_map(|n| words(&make(n), [])).collect()
}

/// What is wrong with the steps that input of size 1, `small_size` and [`TIMES`] that takes.
pub fn judge(name: &str, small_size: usize, [one, small, large]: [u64; 3]) -> String {
    let input = (TIMES * small_size - 1) as f64 / (small_size - 1) as f64;
    let added = small.saturating_sub(one) as f64;
    println!("{name:48} {one:7} {small:7} {large:8}");
    let most = one + EXTRA_STEPS + (added * input * EXCESS_MAX) as u64;
    match large > most {
        true => format!("{name}: {one} steps, then {small}, then {large}, at most {most}\n"),
        false => String::new(),
    }
}

fn check(cases: &[Case]) {
    let mut found = String::new();
    for case in cases {
        let cost = |n: usize| {
            let mut rig = Rig::new(4);
            let conn = rig.client();
            rig.give(conn, &request(&["PING"]));
            rig.give(conn, &(case.before)(n));
            let input = (case.make)(n);
            let steps = rig.steps(|rig| rig.give(conn, &input));
            assert!(!rig.is_closed(conn), "{}: the client was closed", case.name);
            steps
        };
        let (Some(one), Some(small)) = (cost(1), cost(case.small)) else { return };
        let large = cost(TIMES * case.small).expect("counted before");
        found += &judge(case.name, case.small, [one, small, large]);
    }
    assert!(found.is_empty(), "the work grows faster than the input:\n{found}");
}

#[test]
fn connection_commands() {
    check(&[
        case("PING of many bytes", 500, |n| words("PING", ["x".repeat(n)])),
        case("many PINGs", 4, |n| many(n, |_| "PING".into())),
        case("an inline PING of many words", 10, |n| {
            [&b"PING"[..], &b" x".repeat(n), b"\r\n"].concat()
        }),
        case("an unknown command of many words", 10, |n| numbered("foo", "w", n)),
        case("HELLO with many names", 4, |n| repeated("HELLO 3", "SETNAME x", n)),
        case("INFO of many sections", 5, |n| numbered("INFO", "s", n)),
        case("COMMAND DOCS of many names", 4, |n| repeated("COMMAND DOCS", "ping", n)),
        case("COMMAND GETKEYS of many words", 5, |n| numbered("COMMAND GETKEYS", "w", n)),
        case("PUBLISH of many bytes", 500, |n| {
            words("PUBLISH __sentinel__:hello", ["x".repeat(n)])
        }),
    ]);
}

#[test]
fn client_commands() {
    check(&[
        case("CLIENT SETNAME of many bytes", 40, |n| words("CLIENT SETNAME", ["x".repeat(n)])),
        case("CLIENT LIST of many ids", 5, |n| {
            words("CLIENT LIST ID", (0..n).map(|n| (1000 + n).to_string()))
        }),
        case("CLIENT KILL of many pairs", 5, |n| repeated("CLIENT KILL", "ID 1000", n)),
        case("CLIENT TRACKING of many prefixes", 8, |n| {
            let prefix = |n| ["PREFIX".to_string(), format!("{n:05}")];
            words("CLIENT TRACKING ON BCAST", (0..n).flat_map(prefix))
        }),
    ]);
}

#[test]
fn subscriptions() {
    check(&[
        case("SUBSCRIBE of many channels", 12, |n| numbered("SUBSCRIBE", "c", n)),
        case("SUBSCRIBE of one channel many times", 4, |n| repeated("SUBSCRIBE", "c", n)),
        case("PSUBSCRIBE of many patterns", 3, |n| numbered("PSUBSCRIBE", "p", n)),
        case("PSUBSCRIBE of many stars", 24, |n| words("PSUBSCRIBE", ["*a".repeat(n)])),
        case("PSUBSCRIBE of a long class", 40, |n| {
            words("PSUBSCRIBE", [format!("*[{}", "~".repeat(n))])
        }),
        after(
            "UNSUBSCRIBE of all",
            10,
            |n| numbered("SUBSCRIBE", "c", n),
            |_| words("UNSUBSCRIBE", []),
        ),
        after("RESET", 10, |n| numbered("PSUBSCRIBE", "p", n), |_| words("RESET", [])),
    ]);
}

#[test]
fn users() {
    check(&[
        case("ACL SETUSER of many commands", 3, |n| {
            repeated("ACL SETUSER u", "+ping -ping +@fast -client|id", n)
        }),
        case("ACL SETUSER of many first arguments", 8, |n| {
            numbered("ACL SETUSER u", "+publish|x", n)
        }),
        case("ACL SETUSER of commands among first arguments", 8, |n| {
            let first = (0..n).map(|n| format!("+publish|x{n:05}"));
            let after = (0..n).map(|n| ["+ping", "-ping"][n % 2].to_string());
            words("ACL SETUSER u", first.chain(after))
        }),
        case("ACL SETUSER of many channels", 10, |n| numbered("ACL SETUSER u", "&c", n)),
        case("ACL SETUSER of many keys", 10, |n| numbered("ACL SETUSER u", "~k", n)),
        case("ACL SETUSER of many hashes", 8, |n| {
            words("ACL SETUSER u", (0..n).map(|n| format!("#{n:064x}")))
        }),
        case("ACL SETUSER of many selectors", 4, |n| repeated("ACL SETUSER u", "(+ping)", n)),
        case("ACL SETUSER of a long selector", 8, |n| {
            words("ACL SETUSER u (+ping", (0..n).map(|n| format!("&c{n:05}")).chain([")".into()]))
        }),
        after(
            "many logins among many passwords",
            10,
            |n| words("ACL SETUSER u on", (0..n).map(|n| format!("#{n:064x}"))),
            |_| words("AUTH u x", []),
        ),
        after(
            "SUBSCRIBE of a user of many channels",
            6,
            |n| {
                let user = numbered("ACL SETUSER u on nopass +@all", "&c", n);
                [user, words("AUTH u x", [])].concat()
            },
            |n| numbered("PSUBSCRIBE", "c", n),
        ),
        case("ACL DRYRUN of many words", 8, |n| numbered("ACL DRYRUN default PSUBSCRIBE", "c", n)),
        case("ACL DELUSER of many names", 5, |n| numbered("ACL DELUSER", "u", n)),
        after(
            "ACL LIST",
            8,
            |n| many(n, |n| format!("ACL SETUSER u{n}")),
            |_| words("ACL LIST", []),
        ),
    ]);
}

#[test]
fn sentinel_commands() {
    check(&[
        case("SENTINEL SET of many options", 2, |n| repeated("SENTINEL SET m1", "quorum 1", n)),
        case("SENTINEL SET of many renames", 2, |n| {
            let rename = |n| ["rename-command".into(), format!("c{n:05}"), "x".to_string()];
            words("SENTINEL SET m1", (0..n).flat_map(rename))
        }),
        case("SENTINEL DEBUG of many values", 8, |n| {
            repeated("SENTINEL DEBUG", "tilt-period 1000", n)
        }),
        case("SENTINEL CONFIG GET of many patterns", 8, |n| {
            numbered("SENTINEL CONFIG GET", "p", n)
        }),
        case("SENTINEL INFO-CACHE of many names", 8, |n| numbered("SENTINEL INFO-CACHE", "x", n)),
        case("SENTINEL RESET of a long class", 40, |n| {
            words("SENTINEL RESET", [format!("*[{}", "~".repeat(n))])
        }),
        case("many SENTINEL IS-MASTER-DOWN-BY-ADDR", 2, |n| {
            many(n, |n| format!("SENTINEL IS-MASTER-DOWN-BY-ADDR 10.0.0.1 6379 {n} {n:040}"))
        }),
    ]);
}
