//! What a sentinel has read from a data node, as far as the checkers need it.
#![forbid(unsafe_code)]

use crate::net::Us;

/// The last INFO that a sentinel read from a data node.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Info {
    pub at: Us,
    pub is_replica: bool,
    pub priority: Option<u32>,
    /// Since this sentinel watches: another process answers than at first.
    pub rebooted: bool,
    pub run_id: Vec<u8>,
}

impl Info {
    /// Reads the fields that are needed; what `old` told of the run id is remembered.
    pub fn parse(at: Us, text: &[u8], old: Option<&Info>) -> Info {
        let mut info = Info { at, ..Info::default() };
        for line in text.split(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line == b"role:slave" {
                info.is_replica = true;
            } else if let Some(id) = line.strip_prefix(b"run_id:") {
                info.run_id = id.to_vec();
            } else if let Some(priority) = line.strip_prefix(b"slave_priority:") {
                info.priority = std::str::from_utf8(priority).ok().and_then(|n| n.parse().ok());
            }
        }
        info.rebooted = old.is_some_and(|old| old.rebooted || old.run_id != info.run_id);
        info
    }

    /// A master may be held down for what it says, not only for its silence.
    pub fn excuses_sdown(&self) -> bool {
        self.is_replica || self.rebooted
    }
}
