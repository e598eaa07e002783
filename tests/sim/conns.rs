//! The table of connections: a slot each, found by a key that is never used again.
#![forbid(unsafe_code)]

use std::ops::Index;

use crate::net::{Conn, ConnKey};

/// The connections that there are. Slots are used again, keys are not.
#[derive(Debug, Default)]
pub struct Conns {
    slots: Vec<(u32, Option<Box<Conn>>)>,
    free: Vec<u32>,
}

fn key_of(slot: usize, round: u32) -> ConnKey {
    ConnKey(u64::from(round) << 32 | slot as u64)
}

fn parts_of(key: ConnKey) -> (usize, u32) {
    ((key.0 & 0xffff_ffff) as usize, (key.0 >> 32) as u32)
}

impl Conns {
    pub fn insert(&mut self, conn: Conn) -> ConnKey {
        let slot = match self.free.pop() {
            Some(slot) => slot as usize,
            None => {
                self.slots.push((0, None));
                self.slots.len() - 1
            }
        };
        let (round, place) = &mut self.slots[slot];
        *round += 1;
        *place = Some(Box::new(conn));
        key_of(slot, *round)
    }

    pub fn get(&self, key: &ConnKey) -> Option<&Conn> {
        let (slot, round) = parts_of(*key);
        self.slots.get(slot).filter(|entry| entry.0 == round)?.1.as_deref()
    }

    pub fn get_mut(&mut self, key: &ConnKey) -> Option<&mut Conn> {
        let (slot, round) = parts_of(*key);
        self.slots.get_mut(slot).filter(|entry| entry.0 == round)?.1.as_deref_mut()
    }

    pub fn remove(&mut self, key: &ConnKey) {
        let (slot, round) = parts_of(*key);
        if let Some(entry) = self.slots.get_mut(slot).filter(|entry| entry.0 == round)
            && entry.1.take().is_some()
        {
            self.free.push(slot as u32);
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (ConnKey, &Conn)> {
        self.slots
            .iter()
            .enumerate()
            .filter_map(|(slot, (round, conn))| Some((key_of(slot, *round), conn.as_deref()?)))
    }
}

impl Index<&ConnKey> for Conns {
    type Output = Conn;

    fn index(&self, key: &ConnKey) -> &Conn {
        self.get(key).expect("a connection that there is")
    }
}
