//! Commands that wait for the world: ACL SAVE and LOAD for the aclfile, ACL GENPASS for random
//! bytes of the operating system. Every wait survives its client, and an answer that never comes.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use super::file;
use super::user::to_hex;
use super::users::Users;
use crate::resp::write;
use crate::sentinel::Sentinel;
use crate::sentinel::action::{Action, Cx, Question};
use crate::sentinel::log_limit::LineKind;
use crate::server::Server;
use crate::util::ident::{AskId, ConnId};
use crate::util::time::Mono;

/// Most questions at a time.
const ASKS_MAX: usize = 64;
/// After this time without an answer the client is told so. A disk may be slow.
const ANSWER_WAIT_MS: u64 = 60_000;

const TOO_MANY: &[u8] = b"ERR Too many ACL commands wait already";
const NO_ANSWER: &[u8] = b"ERR The ACL command was not carried out in time";
const SAVE_FAILED: &[u8] = b"ERR There was an error trying to save the ACLs. Please check the \
    server logs for more information";

/// What a client waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    Save,
    Load,
    /// A password of so many hex digits.
    Password {
        digits: usize,
    },
}

#[derive(Debug)]
struct Ask {
    conn: ConnId,
    purpose: Purpose,
    deadline: Mono,
}

/// The questions that are not answered yet.
#[derive(Debug, Default)]
pub struct Asks {
    waiting: BTreeMap<AskId, Ask>,
    last: u64,
}

impl Asks {
    /// When a wait ends by itself.
    pub fn next_deadline(&self) -> Option<Mono> {
        self.waiting.values().map(|ask| ask.deadline).min()
    }

    /// How many clients wait.
    pub fn count(&self) -> usize {
        self.waiting.len()
    }
}

impl Server {
    /// Asks the shell; the client gets its reply when the answer is there.
    pub(in crate::server) fn ask(
        &mut self,
        cx: &mut Cx,
        conn: ConnId,
        purpose: Purpose,
        question: Question,
    ) {
        if self.asks.count() >= ASKS_MAX {
            return self.answer_error(cx, conn, TOO_MANY);
        }
        self.hold_for_answer(cx, conn);
        self.asks.last += 1;
        let ask = AskId(self.asks.last);
        let deadline = cx.now.after(ANSWER_WAIT_MS);
        self.asks.waiting.insert(ask, Ask { conn, purpose, deadline });
        cx.act(Action::Ask { ask, question });
    }

    /// The shell answers a question: the bytes that were read (none for a file that was written),
    /// or the system's reason why not.
    pub fn answered(
        &mut self,
        cx: &mut Cx,
        sentinel: &mut Sentinel,
        ask: AskId,
        result: Result<Vec<u8>, String>,
    ) {
        self.begin();
        if let Some(ask) = self.asks.waiting.remove(&ask) {
            match ask.purpose {
                Purpose::Save => self.saved_aclfile(cx, ask.conn, result),
                Purpose::Load => self.read_aclfile(cx, ask.conn, result),
                Purpose::Password { digits } => self.got_random(cx, ask.conn, digits, result),
            }
        }
        self.run_resumed(cx, sentinel);
    }

    /// Ends the waits whose time is over.
    pub(in crate::server) fn run_due_asks(&mut self, cx: &mut Cx) {
        let due = self.asks.waiting.iter().filter(|(_, ask)| ask.deadline <= cx.now);
        for id in due.map(|(id, _)| *id).collect::<Vec<_>>() {
            if let Some(ask) = self.asks.waiting.remove(&id) {
                self.answer_error(cx, ask.conn, NO_ANSWER);
            }
        }
    }

    fn saved_aclfile(&mut self, cx: &mut Cx, conn: ConnId, result: Result<Vec<u8>, String>) {
        match result {
            Ok(_) => self.answer(cx, conn, |out| write::simple(out, b"OK")),
            Err(reason) => {
                let text = || format!("The ACL file could not be saved: {reason}");
                cx.log_limited(LineKind::AclFileNotSaved, text);
                self.answer_error(cx, conn, SAVE_FAILED);
            }
        }
    }

    fn read_aclfile(&mut self, cx: &mut Cx, conn: ConnId, result: Result<Vec<u8>, String>) {
        let path = self.settings.aclfile.clone().unwrap_or_default();
        let name = String::from_utf8_lossy(&path);
        let mut users = Users::with_default(&self.settings);
        let parsed = result
            .map_err(|reason| format!("Error loading ACLs, opening file '{name}': {reason}"))
            .and_then(|text| file::parse(&text, &name, &mut users));
        match parsed {
            Ok(()) => {
                self.answer(cx, conn, |out| write::simple(out, b"OK"));
                self.replace_users(cx, users, conn);
            }
            Err(errors) => {
                self.answer_error(cx, conn, format!("ERR {errors}").as_bytes());
            }
        }
    }

    fn got_random(
        &mut self,
        cx: &mut Cx,
        conn: ConnId,
        digits: usize,
        result: Result<Vec<u8>, String>,
    ) {
        let password = result.map(|bytes| to_hex(&bytes));
        match password.as_ref().map(|hex| hex.get(..digits)) {
            Ok(Some(hex)) => self.answer(cx, conn, |out| write::bulk(out, hex)),
            _ => self.answer_error(cx, conn, b"ERR The system gives no random numbers"),
        }
    }
}
