//! The one funnel of events (spec/events.md): log line, message to subscribers, script; in this
//! order.
#![forbid(unsafe_code)]

use super::Sentinel;
use super::action::{Action, Cx, LogLevel};
use super::instance::{InstId, MasterId};

/// The names of all events that subscribers hear of, sorted. Whoever subscribes to a pattern is
/// entered for those that match it, so that an event costs nothing to those whom it does not reach;
/// one that is missing here is looked for among all patterns when it first occurs.
pub const PUBLISHED: [&str; 44] = [
    "+config-update-from",
    "+convert-to-slave",
    "+elected-leader",
    "+failover-end",
    "+failover-end-for-timeout",
    "+failover-state-reconf-slaves",
    "+failover-state-select-slave",
    "+failover-state-send-slaveof-noone",
    "+failover-state-wait-promotion",
    "+fix-slave-config",
    "+monitor",
    "+new-epoch",
    "+odown",
    "+promoted-slave",
    "+reboot",
    "+reset-master",
    "+role-change",
    "+sdown",
    "+selected-slave",
    "+sentinel",
    "+sentinel-address-switch",
    "+sentinel-address-update",
    "+sentinel-invalid-addr",
    "+set",
    "+slave",
    "+slave-reconf-done",
    "+slave-reconf-inprog",
    "+slave-reconf-sent",
    "+slave-reconf-sent-be",
    "+switch-master",
    "+tilt",
    "+try-failover",
    "+vote-for-leader",
    "-failover-abort-no-good-slave",
    "-failover-abort-not-elected",
    "-failover-abort-slave-timeout",
    "-monitor",
    "-odown",
    "-role-change",
    "-script-error",
    "-script-timeout",
    "-sdown",
    "-slave-reconf-sent-timeout",
    "-tilt",
];

/// An event's name (= channel) and level.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    pub name: &'static str,
    pub level: LogLevel,
}

impl Event {
    pub const fn warning(name: &'static str) -> Event {
        Event { name, level: LogLevel::Warning }
    }

    pub const fn notice(name: &'static str) -> Event {
        Event { name, level: LogLevel::Notice }
    }

    pub const fn verbose(name: &'static str) -> Event {
        Event { name, level: LogLevel::Verbose }
    }

    pub const fn debug(name: &'static str) -> Event {
        Event { name, level: LogLevel::Debug }
    }
}

/// What an event is about.
#[derive(Clone, Copy, Debug)]
pub enum Subject {
    /// No instance: no script.
    None,
    /// The text begins with `<type> <name> <ip> <port>[ @ <master …>]`.
    Instance(InstId),
    /// A text of its own; the master's script still runs.
    Quiet(MasterId),
}

impl Sentinel {
    /// Emits an event; `text` follows the description of the instance, if the subject is one.
    pub(super) fn event(&mut self, cx: &mut Cx, event: Event, subject: Subject, text: &[u8]) {
        if self.crash_after.is_some() {
            return;
        }
        self.stirred = cx.now;
        let (mut full, master) = match subject {
            Subject::None => (Vec::new(), None),
            Subject::Quiet(master) => (Vec::new(), Some(master)),
            Subject::Instance(inst) => (self.describe(inst), Some(self.master_of(inst))),
        };
        if !full.is_empty() && !text.is_empty() {
            full.push(b' ');
        }
        full.extend_from_slice(text);
        let line = [event.name.as_bytes(), b" ", full.as_slice()].concat();
        cx.log(event.level, line);
        if event.level > LogLevel::Debug {
            cx.act(Action::Publish { channel: event.name, text: full.clone() });
        }
        if event.level == LogLevel::Warning
            && let Some(master) = master
            && let Some(script) = &self.masters[master].options.notification_script
        {
            let argv = vec![script.clone(), event.name.as_bytes().to_vec(), full];
            self.queue_script(cx, argv);
        }
    }

    /// The `@` of the event table: `<type> <name> <ip> <port>[ @ <master> <ip> <port>]`.
    pub(super) fn describe(&self, inst: InstId) -> Vec<u8> {
        let base = self.base(inst);
        let kind: &[u8] = match inst {
            InstId::Master(_) => b"master",
            InstId::Replica(_) => b"slave",
            InstId::Peer(_) => b"sentinel",
        };
        let mut text = [kind, b" ", &base.name, b" "].concat();
        text.extend_from_slice(&self.announced(&base.addr));
        text.extend_from_slice(format!(" {}", base.addr.port).as_bytes());
        if !matches!(inst, InstId::Master(_)) {
            let master = &self.masters[self.master_of(inst)].base;
            text.extend_from_slice(b" @ ");
            text.extend_from_slice(&master.name);
            text.push(b' ');
            text.extend_from_slice(&self.announced(&master.addr));
            text.extend_from_slice(format!(" {}", master.addr.port).as_bytes());
        }
        text
    }
}
