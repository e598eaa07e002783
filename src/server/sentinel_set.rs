//! SENTINEL SET: settings of one master.
//!
//! Options are applied one after the other, each with its event. A script has to be looked at
//! first; what stands behind it waits for that answer.
#![forbid(unsafe_code)]

use super::Server;
use super::call::{Call, text};
use super::waits::AfterSave;
use crate::sentinel::Sentinel;
use crate::sentinel::action::Cx;
use crate::sentinel::command::MasterSet;
use crate::sentinel::instance::MasterId;
use crate::sentinel::vote::Ticket;
use crate::util::ident::ConnId;
use crate::util::{num, words};

/// Makes a setting of a text, `None`: unset.
type MakeText = fn(Option<Vec<u8>>) -> MasterSet;

/// Longest time that is taken, about 30,000 years: sums of a few such times still fit.
pub const MAX_MS: u64 = 1_000_000_000_000_000;

/// What an option takes.
#[derive(Clone, Copy)]
enum Kind {
    /// Whole milliseconds above 0.
    Ms(fn(u64) -> MasterSet),
    /// Milliseconds, 0 = off.
    MsOrOff(fn(u64) -> MasterSet),
    /// A number above 0.
    Count(fn(u32) -> MasterSet),
    /// Empty unsets.
    Text(MakeText),
    /// Like `Text`, but any byte may occur, and events hide it.
    Secret(MakeText),
    /// An executable file, empty unsets; and how errors call it.
    Script(MakeText, &'static str),
    /// Two values: a command and its new name.
    Rename,
}

/// All options, by their lower-case name.
const OPTIONS: &[(&str, Kind)] = &[
    ("down-after-milliseconds", Kind::Ms(MasterSet::DownAfterMs)),
    ("failover-timeout", Kind::Ms(MasterSet::FailoverTimeoutMs)),
    ("parallel-syncs", Kind::Count(MasterSet::ParallelSyncs)),
    ("quorum", Kind::Count(MasterSet::Quorum)),
    ("notification-script", Kind::Script(MasterSet::NotificationScript, "Notification")),
    (
        "client-reconfig-script",
        Kind::Script(MasterSet::ClientReconfigScript, "Client reconfiguration"),
    ),
    ("auth-pass", Kind::Secret(MasterSet::AuthPass)),
    ("auth-user", Kind::Text(MasterSet::AuthUser)),
    ("rename-command", Kind::Rename),
    ("master-reboot-down-after-period", Kind::MsOrOff(MasterSet::MasterRebootDownAfterMs)),
    ("primary-reboot-down-after-period", Kind::MsOrOff(MasterSet::MasterRebootDownAfterMs)),
    ("refused-down-after-milliseconds", Kind::MsOrOff(MasterSet::RefusedDownAfterMs)),
];

/// The names of all options.
pub(super) fn option_names() -> impl Iterator<Item = &'static str> {
    OPTIONS.iter().map(|(name, _)| *name)
}

/// A SET on its way through its options.
#[derive(Clone, Debug)]
pub struct SetJob {
    pub conn: ConnId,
    master: MasterId,
    words: Vec<Vec<u8>>,
    /// The option to look at next.
    at: usize,
    /// The save that will hold all that was applied so far.
    ticket: Option<Ticket>,
}

/// One option, checked as far as its words tell.
enum Step {
    Apply(MasterSet),
    /// Apply it if this is an executable file.
    Check(Vec<u8>),
}

/// `SENTINEL SET name option value [option value …]`.
pub fn set(call: &mut Call<'_, '_>) {
    let Some(master) = call.master(2) else { return };
    let words = call.args.to_vec();
    let job = SetJob { conn: call.conn, master, words, at: 3, ticket: None };
    call.server.run_set(call.cx, call.sentinel, job);
}

impl SetJob {
    fn kind(&self) -> Option<Kind> {
        let name = self.words[self.at].to_ascii_lowercase();
        OPTIONS.iter().find(|(option, _)| option.as_bytes() == name).map(|(_, kind)| *kind)
    }

    /// Words of the present option, its name included.
    fn width(&self) -> usize {
        if matches!(self.kind(), Some(Kind::Rename)) { 3 } else { 2 }
    }

    /// Reads the present option; the error text otherwise.
    fn step(&self, deny_scripts: bool) -> Result<Step, Vec<u8>> {
        let option = &self.words[self.at];
        let (kind, values) = match (self.kind(), self.words.get(self.at + 1..)) {
            (Some(kind), Some(values)) if values.len() + 1 >= self.width() => (kind, values),
            _ => {
                let about = b"ERR Unknown option or number of arguments for SENTINEL SET '";
                return Err([&about[..], option, b"'"].concat());
            }
        };
        let value = &values[0];
        let unset_or_value = || (!value.is_empty()).then(|| value.clone());
        let bad = || {
            [b"ERR Invalid argument '", &value[..], b"' for SENTINEL SET '", option, b"'"].concat()
        };
        let number = num::parse_u64(value).filter(|n| *n <= MAX_MS);
        let above_0 = number.filter(|n| *n > 0);
        let apply = match kind {
            Kind::Ms(make) => make(above_0.ok_or_else(bad)?),
            Kind::MsOrOff(make) => make(number.ok_or_else(bad)?),
            Kind::Count(make) => make(above_0.and_then(|n| u32::try_from(n).ok()).ok_or_else(bad)?),
            Kind::Text(_) | Kind::Script(..) if words::has_control(value) => return Err(bad()),
            Kind::Text(make) | Kind::Secret(make) => make(unset_or_value()),
            Kind::Script(..) if deny_scripts => return Err(SCRIPTS_DENIED.to_vec()),
            Kind::Script(make, _) => match unset_or_value() {
                Some(path) => return Ok(Step::Check(path)),
                None => make(None),
            },
            Kind::Rename => {
                let new_name = &values[1];
                let unfit = |word: &[u8]| word.is_empty() || words::has_control(word);
                if let Some(word) = [value, new_name].into_iter().find(|word| unfit(word)) {
                    let about = [b"' for SENTINEL SET '", &option[..], b"'"].concat();
                    return Err([b"ERR Invalid argument '", &word[..], &about].concat());
                }
                MasterSet::Rename { command: value.clone(), new_name: new_name.clone() }
            }
        };
        Ok(Step::Apply(apply))
    }

    /// The text of the event: the words as typed, secrets hidden.
    fn event_text(&self) -> Vec<u8> {
        let words = &self.words[self.at..self.at + self.width()];
        match self.kind() {
            Some(Kind::Secret(_)) => [&words[0][..], b" ******"].concat(),
            _ => words.join(&b' '),
        }
    }

    fn script(&self) -> Option<(MakeText, &'static str)> {
        match self.kind() {
            Some(Kind::Script(make, called)) => Some((make, called)),
            _ => None,
        }
    }
}

impl Server {
    /// Applies options until one is bad, a script must be looked at, or all are done.
    fn run_set(&mut self, cx: &mut Cx, sentinel: &mut Sentinel, job: SetJob) {
        let mut job = job;
        while job.at < job.words.len() {
            match job.step(sentinel.global.deny_scripts_reconfig) {
                Err(text) => return self.answer_error(cx, job.conn, &text),
                Ok(Step::Apply(option)) => apply(cx, sentinel, &mut job, option),
                Ok(Step::Check(path)) => {
                    let conn = job.conn;
                    if !self.wait_for_check(cx, job, path) {
                        self.answer_error(cx, conn, b"ERR Too many scripts are being checked");
                    }
                    return;
                }
            }
        }
        let ticket = job.ticket.unwrap_or_default();
        self.wait_for_save(cx, sentinel, job.conn, ticket, AfterSave::Nothing);
    }

    /// Goes on with a SET whose script was looked at.
    pub(super) fn run_set_checked(
        &mut self,
        cx: &mut Cx,
        sentinel: &mut Sentinel,
        job: SetJob,
        executable: bool,
    ) {
        let mut job = job;
        if !sentinel.masters.contains(job.master) {
            return self.answer_error(cx, job.conn, text::NO_SUCH_MASTER);
        }
        let Some((make, called)) = job.script() else { return };
        if !executable {
            let text = format!("ERR {called} script seems non existing or non executable");
            return self.answer_error(cx, job.conn, text.as_bytes());
        }
        let path = job.words[job.at + 1].clone();
        apply(cx, sentinel, &mut job, make(Some(path)));
        self.run_set(cx, sentinel, job);
    }
}

const SCRIPTS_DENIED: &[u8] = b"ERR Reconfiguration of scripts path is denied for security \
    reasons. Check the deny-scripts-reconfig configuration directive in your Sentinel \
    configuration";

fn apply(cx: &mut Cx, sentinel: &mut Sentinel, job: &mut SetJob, option: MasterSet) {
    job.ticket = Some(sentinel.set_option(cx, job.master, option));
    sentinel.event_set(cx, job.master, &job.event_text());
    job.at += job.width();
}
