//! The life of a world of a sweep: troubles, then all is mended and the group has to come to rest;
//! again and again.
#![forbid(unsafe_code)]

use crate::net::Us;
use crate::outcome::cpu_ns;
use crate::plan::{Course, Operators};
use crate::property::Property;
use crate::trouble::Fault;
use crate::world::{Ev, MS, SECOND, World};

impl World {
    /// Lives through a course.
    pub fn live(&mut self, course: &Course) {
        self.checks.keeps_events = false;
        self.wall_jumps = course.wall_jumps;
        self.stats.troubled = course.is_troubled();
        if course.wall_jumps {
            self.stats.faults.insert("wall-jump", 1);
        }
        // A sentinel that does not know the others yet may take its word for a majority.
        self.checks.waived.majority_of_all = true;
        self.discover();
        let misleading = course.operators == Operators::Misleading;
        let forgetful = misleading || course.operators == Operators::Forgetful;
        self.checks.waived.strangers = misleading;
        self.checks.waived.majority_of_all = forgetful;
        self.checks.waived.config_epochs = forgetful;
        let began = cpu_ns();
        if course.quick {
            self.quicken();
        }
        for round in 0..course.rounds {
            let attacked = course.attack.filter(|(at, _)| *at == round);
            self.round(course, attacked.map(|(_, episode)| episode));
        }
        self.stats.cpu_ns = cpu_ns() - began;
    }

    /// Troubles, among them perhaps an attack after so many, and the way back.
    fn round(&mut self, course: &Course, attack: Option<u32>) {
        self.operators = course.operators;
        self.begin_name_troubles();
        self.operate_us = course.pause_us.max(200 * MS);
        if course.operators != Operators::None {
            self.schedule(self.now, Ev::Operate);
        }
        for episode in 0..course.episodes {
            if attack == Some(episode) {
                self.attack();
            }
            self.episode(course);
        }
        self.operators = Operators::None;
        self.mend_all();
        if course.operators != Operators::None {
            self.run_for(2 * SECOND);
            self.put_in_order();
            self.run_for(SECOND);
            // Who was told to fail may have failed meanwhile.
            self.mend_some(100);
        }
        if attack.is_some() {
            self.undo_attack();
            self.check_it_still_fails_over();
        }
        let mended = self.now;
        let limit = self.rest_us();
        self.settle(limit);
        self.check_answers(mended);
        if self.checks.waived.majority_of_all {
            let (property, what) = (Property::EverybodyIsFound, "everybody is found again");
            self.await_property(property, what, 60 * SECOND, World::discovered);
        }
        self.check_names();
    }

    /// In which time a group has to come to rest when all is well again.
    fn rest_us(&self) -> Us {
        let Self { options, .. } = self;
        (6 * options.failover_timeout_ms + 10 * options.down_after_ms) * MS + 80 * SECOND
    }

    fn episode(&mut self, course: &Course) {
        let fault = self.draw_fault(course);
        let began = self.checks.count("+promoted-slave");
        let struck = self.strike(fault);
        let patient = course.brisk && self.chance(90);
        let mut mended = 40;
        if struck.is_some() && patient {
            let options = &self.options;
            let limit = (options.down_after_ms + options.failover_timeout_ms) * MS + SECOND;
            let promoted = |world: &World| world.checks.count("+promoted-slave") > began;
            mended = if self.run_until(limit, promoted) { 80 } else { 100 };
            let pause = self.rng.below(50 * MS);
            self.run_for(pause);
        } else {
            let pause = self.rng.below(course.pause_us);
            self.run_for(pause);
        }
        self.mend_some(mended);
        let pause = self.rng.below(100 * MS);
        self.run_for(pause);
    }

    fn draw_fault(&mut self, course: &Course) -> Fault {
        let all: u32 = course.weights.iter().map(|(_, weight)| weight).sum();
        let mut at = self.rng.below(u64::from(all)) as u32;
        for (fault, weight) in &course.weights {
            match at.checked_sub(*weight) {
                Some(rest) => at = rest,
                None => return *fault,
            }
        }
        unreachable!("the weights were summed up")
    }
}
