//! The life of a world of a sweep: troubles, then all is mended and the group has to come to rest;
//! again and again.
#![forbid(unsafe_code)]

use crate::net::Us;
use crate::outcome::cpu_ns;
use crate::plan::Course;
use crate::trouble::Fault;
use crate::world::{MS, SECOND, World};

impl World {
    /// Lives through a course.
    pub fn live(&mut self, course: &Course) {
        self.checks.keeps_events = false;
        // A sentinel that does not know the others yet may take its word for a majority.
        self.checks.waived.majority_of_all = true;
        self.discover();
        self.checks.waived.majority_of_all = false;
        let began = cpu_ns();
        for _ in 0..course.rounds {
            for _ in 0..course.episodes {
                self.episode(course);
            }
            self.mend_all();
            let limit = self.rest_us();
            self.settle(limit);
        }
        self.stats.cpu_ns = cpu_ns() - began;
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
