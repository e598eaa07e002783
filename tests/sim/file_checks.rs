//! The file says what the sentinel knows: its text when it is looked at, and the last save at the
//! end of every turn that leaves nothing to save. Both together make sure that a restart finds
//! everything that the process knew, whatever was changed by whatever command or event.
#![forbid(unsafe_code)]

use crate::brain::Brain;
use crate::file_state::FileState;
use crate::hosts::SentinelHost;
use crate::property::{Property, ensure, violation};
use crate::wire::show;
use crate::world::World;

impl SentinelHost {
    /// The text of the file, as the loader reads it, says what was to be saved.
    pub fn check_text(&self, saved: &FileState) {
        let (sentinel, text) = (self.host, show(&self.file));
        let read = match FileState::of_file(&self.file) {
            Ok(read) => read,
            Err(error) => {
                violation!(Property::OwnFileLoads, "sentinel {sentinel}: {error}\n{text}")
            }
        };
        let different = read.differences(saved);
        let property = Property::FileSaysWhatWasSaved;
        ensure!(different.is_empty(), property, "{sentinel}: {}\n{text}", different.join("\n"));
    }

    /// What the last save does not say, although nothing is to be saved.
    fn left_out(&self) -> Vec<String> {
        let (Some(Brain::Ours(node)), Some(said)) = (&self.node, &self.said) else {
            return Vec::new();
        };
        match node.sentinel().saves.is_idle() && self.disk.is_none() {
            true => said.differences(&FileState::of_node(node)),
            false => Vec::new(),
        }
    }
}

impl World {
    /// At the end of a turn.
    pub fn check_file(&mut self, sentinel: usize) {
        self.note_file(sentinel);
        let left_out = self.sentinels[sentinel].left_out();
        let property = Property::FileKeepsUp;
        ensure!(left_out.is_empty(), property, "{sentinel}: {}", left_out.join("\n"));
    }

    /// At rest: the texts of all files are made and looked at.
    pub fn check_all_files(&mut self) {
        for sentinel in 0..self.sentinels.len() {
            if self.sentinels[sentinel].runs() {
                self.sentinels[sentinel].make_text();
                self.check_file(sentinel);
            }
        }
    }
}
