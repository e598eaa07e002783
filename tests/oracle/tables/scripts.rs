//! Scripts: running ones, and reconfiguration where it is allowed.

use crate::resp::Reply;
use crate::support::wait;
use crate::twins::{Proto, Twins};

/// The config lines of the twins; `script` must run for long.
pub fn lines(script: &str) -> Vec<String> {
    vec![
        "sentinel deny-scripts-reconfig no".into(),
        "sentinel monitor ghost 127.0.0.1 1 2".into(),
        "sentinel down-after-milliseconds ghost 200".into(),
        format!("sentinel notification-script ghost {script}"),
    ]
}

pub fn run(t: &mut Twins) {
    // For +monitor and for +sdown.
    t.wait("the script to run twice", |side| {
        let jobs = side.ask("SENTINEL PENDING-SCRIPTS");
        let is_running =
            |job: &&Reply| job.field("flags").is_some_and(|flags| flags.text() == "running");
        wait::expect_eq(jobs.items().iter().filter(is_running).count(), 2)
    });
    t.run_both("SENTINEL PENDING-SCRIPTS\nINFO sentinel\nSENTINEL MASTER ghost");
    // Each of these is an event, for which the script is run again.
    t.pass(Proto::Resp2);
    t.run(SCRIPTS);
}

const SCRIPTS: &str = r#"
SENTINEL SET ghost notification-script /nowhere
SENTINEL SET ghost client-reconfig-script /nowhere
SENTINEL SET ghost client-reconfig-script /etc/passwd
SENTINEL SET ghost client-reconfig-script /bin/true
SENTINEL MASTER ghost
SENTINEL SET ghost client-reconfig-script ""
SENTINEL MASTER ghost
"#;
