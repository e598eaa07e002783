//! What a save holds: rendered lines, kept per master, so that only what changed is rendered anew.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::kept::Kept;
use crate::config::lines::Included;
use crate::config::load::Loaded;
use crate::config::packed::MasterLines;
use crate::config::rewrite::{StateLines, render_global, render_master, render_server};
use crate::config::settings::Settings;
use crate::sentinel::Sentinel;
use crate::sentinel::instance::MasterId;
use crate::sentinel::saves::Changes;

/// One save: what an action `Persist` asks to be written.
#[derive(Clone, Debug)]
pub struct SaveJob {
    pub generation: u64,
    pub state: Arc<StateLines>,
}

/// The rendered lines, and the job that waits to be fetched.
#[derive(Debug)]
pub struct Saving {
    masters: BTreeMap<MasterId, Arc<MasterLines>>,
    included: Arc<Included>,
    kept: Arc<Kept>,
    job: Option<SaveJob>,
}

impl Saving {
    pub fn new(loaded: &Loaded) -> Saving {
        let (included, kept) = (Arc::clone(&loaded.included), Arc::clone(&loaded.kept));
        Saving { masters: BTreeMap::new(), included, kept, job: None }
    }

    /// Renders what has changed and makes the job of `generation`.
    pub fn prepare(
        &mut self,
        sentinel: &Sentinel,
        settings: &Settings,
        generation: u64,
        changes: &Changes,
    ) {
        for id in &changes.masters {
            match sentinel.masters.contains(*id) {
                true => self.render(sentinel, *id),
                false => _ = self.masters.remove(id),
            }
        }
        // Masters of the file are not touched by being loaded.
        if self.masters.len() != sentinel.masters.len() {
            self.masters.retain(|id, _| sentinel.masters.contains(*id));
            for id in sentinel.masters.ids() {
                if !self.masters.contains_key(&id) {
                    self.render(sentinel, id);
                }
            }
        }
        let state = StateLines {
            server: render_server(settings),
            global: render_global(&sentinel.export_global()),
            masters: self.masters.values().cloned().collect(),
            included: Arc::clone(&self.included),
            kept: Arc::clone(&self.kept),
        };
        self.job = Some(SaveJob { generation, state: Arc::new(state) });
    }

    fn render(&mut self, sentinel: &Sentinel, id: MasterId) {
        let lines = render_master(&sentinel.export_master(id));
        self.masters.insert(id, Arc::new(lines));
    }

    /// The job of `generation`, once.
    pub fn take(&mut self, generation: u64) -> Option<SaveJob> {
        self.job.take_if(|job| job.generation == generation)
    }
}
