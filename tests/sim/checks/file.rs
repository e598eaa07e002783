//! What a sentinel's file says, as the checkers read it, and that it never goes back.
#![forbid(unsafe_code)]

use super::{Checks, group_of};
use crate::property::{Property, ensure, violation};

/// What a sentinel's file says.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct FileView {
    pub current_epoch: u64,
    /// By the number of the master; one that is not monitored is `Default`.
    pub masters: Vec<FileMaster>,
}

#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct FileMaster {
    /// Empty: not monitored.
    pub ip: String,
    pub config_epoch: u64,
    pub leader_epoch: u64,
}

impl FileView {
    pub fn parse(file: &[u8]) -> FileView {
        let mut view = FileView::default();
        for line in file.split(|byte| *byte == b'\n') {
            if let Some(rest) = line.strip_prefix(b"sentinel ") {
                view.take(&mut rest.split(|byte| *byte == b' '));
            }
        }
        view
    }

    /// One line's words after `sentinel`.
    pub fn take(&mut self, words: &mut dyn Iterator<Item = &[u8]>) {
        let verb = words.next().unwrap_or_default();
        if !matches!(verb, b"monitor" | b"config-epoch" | b"leader-epoch" | b"current-epoch") {
            return;
        }
        let mut text = || std::str::from_utf8(words.next().unwrap_or_default()).unwrap_or("");
        if verb == b"current-epoch" {
            self.current_epoch = number(text());
            return;
        }
        let Some(group) = group_of(text()) else { return };
        if self.masters.len() <= group {
            self.masters.resize_with(group + 1, FileMaster::default);
        }
        let master = &mut self.masters[group];
        match verb {
            b"monitor" => text().clone_into(&mut master.ip),
            b"config-epoch" => master.config_epoch = number(text()),
            _ => master.leader_epoch = number(text()),
        }
    }

    /// The entry of a master, if it is monitored.
    pub fn master(&self, group: usize) -> Option<&FileMaster> {
        self.masters.get(group).filter(|master| !master.ip.is_empty())
    }
}

fn number(text: &str) -> u64 {
    match text.parse() {
        Ok(number) => number,
        Err(_) => violation!(Property::OutputIsWellFormed, "no epoch in the file: {text:?}"),
    }
}

impl Checks {
    /// A save has ended well.
    pub fn saved(&self, sentinel: usize, old: &FileView, new: &FileView) {
        let forward = new.current_epoch >= old.current_epoch;
        let property = Property::EpochsNeverGoBack;
        ensure!(forward, property, "current-epoch in the file of {sentinel}: {old:?} to {new:?}");
        for (group, old) in old.masters.iter().enumerate() {
            let Some(new) = new.master(group).filter(|_| !old.ip.is_empty()) else { continue };
            let back = new.leader_epoch < old.leader_epoch
                || (new.config_epoch < old.config_epoch && !self.waived.config_epochs);
            ensure!(!back, property, "in the file of {sentinel}: {old:?} to {new:?}");
        }
    }
}
