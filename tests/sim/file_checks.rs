//! The file says what the sentinel knows: its text when it is looked at, and the last save at the
//! end of every turn that leaves nothing to save. Both together make sure that a restart finds
//! everything that the process knew, whatever was changed by whatever command or event.
#![forbid(unsafe_code)]

use crate::brain::Brain;
use crate::checks::FileView;
use crate::file_state::FileState;
use crate::hosts::SentinelHost;
use crate::property::{Property, ensure, violation};
use crate::wire::show;
use crate::world::World;

/// One turn of so many is looked at.
const TURNS: u32 = 8;

impl SentinelHost {
    fn is_time_to_check(&mut self) -> bool {
        self.unchecked_turns = (self.unchecked_turns + 1) % TURNS;
        self.unchecked_turns == 0
    }

    /// The write that was under way is in the file. Its text is only made when somebody looks at
    /// it, or now and then: a text that nobody looks at is the next one's beginning, no more.
    pub fn write(&mut self) {
        let disk = self.disk.take().expect("a save is under way");
        self.view = disk.save.view();
        self.said = Some(disk.save.said.clone());
        self.agreed = None;
        self.unwritten = Some(disk.save);
        self.writes += 1;
        if self.writes.is_multiple_of(16) {
            self.make_text();
        }
    }

    /// The text of the file catches up, and says what was to be saved.
    pub fn make_text(&mut self) {
        let Some(save) = self.unwritten.take() else { return };
        self.file = save.text(&self.file, &mut self.rewriter);
        self.has_new_text = true;
        let read = FileView::parse(&self.file);
        let property = Property::FileSaysWhatWasSaved;
        ensure!(read == self.view, property, "{read:?}, not {:?}", self.view);
        self.check_text(&save.said);
    }

    /// The text of the file, if it was made since this was asked last.
    pub fn take_new_text(&mut self) -> Option<Vec<u8>> {
        std::mem::take(&mut self.has_new_text).then(|| self.file.clone())
    }

    /// The write ends as it was drawn.
    pub fn disk_ends(&mut self) {
        match self.disk.as_ref().is_some_and(|disk| disk.fails) {
            true => self.disk = None,
            false => self.write(),
        }
    }

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
    fn left_out(&mut self) -> Vec<String> {
        let (Some(Brain::Ours(node)), Some(said)) = (&self.node, &self.said) else {
            return Vec::new();
        };
        if !node.sentinel().saves.is_idle() || self.disk.is_some() {
            return Vec::new();
        }
        if said.is_of(node) || self.agreed.as_ref().is_some_and(|state| state.is_of(node)) {
            return Vec::new();
        }
        let state = FileState::of_node(node);
        let left_out = said.differences(&state);
        self.agreed = left_out.is_empty().then_some(state);
        left_out
    }
}

impl World {
    /// At the end of a turn: what is left out once stays so until the next save, so it is enough to
    /// look now and then.
    pub fn check_file_of_turn(&mut self, sentinel: usize) {
        self.note_file(sentinel);
        if self.sentinels[sentinel].is_time_to_check() {
            self.check_file(sentinel);
        }
    }

    fn check_file(&mut self, sentinel: usize) {
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
