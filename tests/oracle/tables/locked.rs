//! A sentinel with a password, before it was given.

use crate::twins::Twins;

/// The config lines of the twins.
pub const LINES: [&str; 1] = ["requirepass gate"];
/// Their password.
pub const PASSWORD: &str = "gate";

pub fn run(t: &mut Twins) {
    t.run_both(LOCKED);
    let long = "x".repeat(16_385);
    let ping = |text: &str| format!("*2\r\n$4\r\nPING\r\n${}\r\n{text}\r\n", text.len());
    t.raw("an argument of 16384 bytes", ping(&long[1..]).as_bytes());
    t.raw("an argument of 16385 bytes", ping(&long).as_bytes());
    t.run_both(OPENED);
}

const LOCKED: &str = r#"
bare> PING
bare> PING a b
bare> GET a
bare> SENTINEL FOO
bare> SENTINEL MASTERS
bare> SENTINEL MASTER
bare> SUBSCRIBE x
bare> CLIENT ID
bare> ACL WHOAMI
bare> COMMAND COUNT
bare> ROLE
bare> INFO
bare> SHUTDOWN
bare> PUBLISH a b
bare> HELLO
bare> HELLO 2
bare> HELLO 3
bare> HELLO 4
bare> HELLO x
bare> HELLO 2 SETNAME a
bare> HELLO 2 AUTH default wrong
bare> HELLO 2 AUTH default
bare> AUTH wrong
bare> AUTH default wrong
bare> AUTH nobody gate
bare> AUTH gate x y
bare> AUTH ""
bare> PING
bare-b> AUTH gate
bare-b> ACL WHOAMI
bare-b> AUTH wrong
bare-b> ACL WHOAMI
bare-b> SENTINEL MASTERS
bare-c> AUTH default gate
bare-c> PING
bare-d> HELLO 2 AUTH default gate SETNAME otto
bare-d> CLIENT GETNAME
bare-e> HELLO 3 AUTH default gate
bare-e> CLIENT GETNAME
bare-f> HELLO AUTH default gate
raw> *10\r\n$4\r\nPING\r\n
raw> *11\r\n$4\r\nPING\r\n
raw> *100\r\n
raw> *1\r\n$16385\r\n
raw> *1\r\n$16384\r\n$
raw> *x\r\n
raw> PING\r\n
"#;

const OPENED: &str = r#"
bare> AUTH gate
bare> AUTH default gate
bare> INFO sentinel
bare> CLIENT INFO
bare> SENTINEL CONFIG GET sentinel-pass
bare> SENTINEL MASTERS
bare> ROLE
"#;
