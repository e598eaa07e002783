//! SENTINEL DEBUG and SENTINEL SIMULATE-FAILURE.
#![forbid(unsafe_code)]

use super::call::Call;
use super::sentinel_set::MAX_MS;
use crate::resp::write;
use crate::sentinel::Simulate;
use crate::sentinel::log_limit::LineKind;
use crate::sentinel::periods::Periods;
use crate::util::num;

/// A period: its name, and where it is kept.
type Period = (&'static str, fn(&mut Periods) -> &mut u64);

/// All periods, in the order in which they are listed.
const PERIODS: [Period; 13] = [
    ("INFO-PERIOD", |p| &mut p.info_ms),
    ("PING-PERIOD", |p| &mut p.ping_ms),
    ("ASK-PERIOD", |p| &mut p.ask_ms),
    ("PUBLISH-PERIOD", |p| &mut p.publish_ms),
    ("DEFAULT-DOWN-AFTER", |p| &mut p.default_down_after_ms),
    ("DEFAULT-FAILOVER-TIMEOUT", |p| &mut p.default_failover_timeout_ms),
    ("TILT-TRIGGER", |p| &mut p.tilt_trigger_ms),
    ("TILT-PERIOD", |p| &mut p.tilt_period_ms),
    ("SLAVE-RECONF-TIMEOUT", |p| &mut p.slave_reconf_timeout_ms),
    ("MIN-LINK-RECONNECT-PERIOD", |p| &mut p.min_link_reconnect_ms),
    ("ELECTION-TIMEOUT", |p| &mut p.election_timeout_ms),
    ("SCRIPT-MAX-RUNTIME", |p| &mut p.script_max_runtime_ms),
    ("SCRIPT-RETRY-DELAY", |p| &mut p.script_retry_delay_ms),
];

/// `SENTINEL DEBUG [param value …]`: those before a bad one stay changed.
pub fn debug(call: &mut Call<'_, '_>) {
    let pairs = &call.args[2..];
    if pairs.is_empty() {
        return list(call);
    }
    let mut changed = call.sentinel.periods;
    let outcome = pairs.chunks(2).try_for_each(|pair| change(&mut changed, pair));
    if changed != call.sentinel.periods {
        call.sentinel.periods = changed;
        call.sentinel.periods_changed(call.cx);
        call.charge_look_at_instances();
    }
    match outcome {
        Ok(()) => call.ok(),
        Err(text) => call.error(&text),
    }
}

fn list(call: &mut Call<'_, '_>) {
    let mut periods = call.sentinel.periods;
    let reply = call.reply();
    write::map(reply.out, PERIODS.len(), reply.dialect);
    for (name, field) in PERIODS {
        write::bulk(reply.out, name.as_bytes());
        write::bulk_int(reply.out, i64::try_from(*field(&mut periods)).unwrap_or(i64::MAX));
    }
}

fn change(periods: &mut Periods, pair: &[Vec<u8>]) -> Result<(), Vec<u8>> {
    let name = &pair[0];
    let known = PERIODS.iter().find(|(n, _)| n.as_bytes().eq_ignore_ascii_case(name));
    let (Some((_, field)), Some(value)) = (known, pair.get(1)) else {
        let about = b"ERR Unknown option or number of arguments for SENTINEL DEBUG '";
        return Err([&about[..], name, b"'"].concat());
    };
    match num::parse_u64(value) {
        Some(ms @ 1..=MAX_MS) => *field(periods) = ms,
        _ => {
            let text = [b"ERR Invalid argument '", &value[..], b"' for SENTINEL DEBUG '", name];
            return Err([&text.concat()[..], b"'"].concat());
        }
    }
    Ok(())
}

/// `SENTINEL SIMULATE-FAILURE [crash-after-election] [crash-after-promotion] [help]`.
pub fn simulate_failure(call: &mut Call<'_, '_>) {
    let mut simulate = Simulate::default();
    call.sentinel.set_simulation(simulate);
    for word in &call.args[2..] {
        match word.to_ascii_lowercase().as_slice() {
            b"crash-after-election" => simulate.crash_after_election = true,
            b"crash-after-promotion" => simulate.crash_after_promotion = true,
            b"help" => {
                let out = call.reply().out;
                write::array(out, 2);
                write::bulk(out, b"crash-after-election");
                return write::bulk(out, b"crash-after-promotion");
            }
            _ => return call.error(b"ERR Unknown failure simulation specified"),
        }
        // As in the field, what stands before a bad word stays switched on.
        call.sentinel.set_simulation(simulate);
        let text = || {
            let point = String::from_utf8_lossy(word).to_ascii_lowercase();
            format!("Failure simulation: this Sentinel will exit at {point}")
        };
        call.cx.log_limited(LineKind::FailureSimulation, text);
    }
    call.ok();
}
