//! Rewriting the same file again and again: what nothing has changed about is not looked at.
//!
//! With thousands of masters the file has megabytes and is saved several times a second while they
//! fail over. As long as it reads as it was last written, the lines of a master whose rendered
//! lines are the very same still hold, and of the others those that are rendered as before. Only
//! the rest of them (and those of no master) go through [`rewrite`], which gives the same text as
//! for all.
#![forbid(unsafe_code)]

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::lines::Form;
use super::packed::{MasterLines, PackedLine};
use super::rewrite::{StateLines, rewrite, rewrite_where};
use crate::util::words;

/// Remembers what was written last.
#[derive(Debug, Default)]
pub struct Rewriter {
    last: Option<Last>,
}

#[derive(Debug)]
struct Last {
    text: Vec<u8>,
    state: Arc<StateLines>,
}

impl Rewriter {
    /// As [`rewrite`]: the new text of the file that reads `old` now.
    pub fn rewrite(&mut self, old: &[u8], state: &Arc<StateLines>) -> Vec<u8> {
        let known = self.last.take().filter(|last| last.text == old);
        let text = match known.as_ref().and_then(|last| Changed::between(&last.state, state)) {
            Some(changed) => changed.rewrite(old),
            None => rewrite(old, state),
        };
        self.last = Some(Last { text: text.clone(), state: Arc::clone(state) });
        text
    }
}

/// What differs from the state that was written last.
struct Changed<'s> {
    state: &'s StateLines,
    /// Names of masters that changed, came or went.
    names: HashSet<&'s [u8]>,
    /// The lines of those that changed or came.
    masters: Vec<&'s MasterLines>,
    /// Those of them that are to be written as they were before, by how they read.
    same: HashMap<Vec<u8>, PackedLine<'s>>,
}

/// What a line of the file means to a change.
enum Concern<'s> {
    /// It belongs to a master that stayed as it is.
    None,
    /// It reads as a line of the state is to be written.
    Stays(PackedLine<'s>),
    /// It may have to change.
    Open,
}

impl<'s> Changed<'s> {
    /// `None` where everything has to be looked at: the correction of an included file depends on
    /// all lines, and so much may have changed that nothing is saved.
    fn between(last: &'s StateLines, state: &'s StateLines) -> Option<Changed<'s>> {
        if !state.included.is_empty() || !last.included.is_empty() {
            return None;
        }
        let written = last.masters.iter().map(Arc::as_ptr).collect();
        let wanted = state.masters.iter().map(Arc::as_ptr).collect();
        let not_in =
            |set: &HashSet<_>, lines: &&Arc<MasterLines>| !set.contains(&Arc::as_ptr(lines));
        let gone: Vec<_> = last.masters.iter().filter(|lines| not_in(&wanted, lines)).collect();
        let new: Vec<_> = state.masters.iter().filter(|lines| not_in(&written, lines)).collect();
        if 2 * new.len() > state.masters.len() {
            return None;
        }
        let names = gone.iter().chain(&new).map(|lines| lines.name());
        let names = names.collect::<Option<HashSet<_>>>()?;
        let before: HashSet<_> = gone.iter().flat_map(|lines| lines.packed()).collect();
        let still = new.iter().flat_map(|lines| lines.packed()).filter(|l| before.contains(l));
        let same = still.filter_map(|line| Some((line.plain_text()?, line))).collect();
        let masters = new.into_iter().map(|lines| &**lines).collect();
        Some(Changed { state, names, masters, same })
    }

    /// The text of the file that reads `old` now.
    fn rewrite(&self, old: &[u8]) -> Vec<u8> {
        let mut stay = HashSet::new();
        let lines = old.split_inclusive(|byte| *byte == b'\n').map(|line| match self.look(line) {
            Concern::None => false,
            // A second one of the same would go.
            Concern::Stays(line) => !stay.insert(line),
            Concern::Open => true,
        });
        let open: Vec<bool> = lines.collect();
        let left = self.masters.iter().map(|lines| lines.filter(|line| !stay.contains(&line)));
        let state = StateLines {
            server: self.state.server.clone(),
            global: self.state.global.clone(),
            masters: left.map(Arc::new).collect(),
            included: Arc::clone(&self.state.included),
            kept: Arc::clone(&self.state.kept),
        };
        rewrite_where(old, &state, |number| open[number])
    }

    /// A line may have to change if it belongs to no master, to one of ours, or is written so that
    /// only a closer look would tell.
    fn look(&self, line: &[u8]) -> Concern<'s> {
        let odd = |byte: &u8| *byte < b' ' || matches!(byte, b'"' | b'\'' | b'\\');
        let text = line.trim_ascii_end();
        let plain = text.strip_prefix(b"sentinel ");
        let Some(rest) = plain.filter(|rest| !rest.iter().any(odd)) else {
            return self.look_closely(line);
        };
        let mut words = rest.split(|byte| *byte == b' ');
        match (words.next(), words.next()) {
            (Some(kind), Some(name)) if Form::is_of_master(kind) && !name.is_empty() => {
                match self.names.contains(name) {
                    true => self.same.get(text).map_or(Concern::Open, |same| Concern::Stays(*same)),
                    false => Concern::None,
                }
            }
            // Of no master, or in another spelling than ours.
            _ => self.look_closely(line),
        }
    }

    fn look_closely(&self, line: &[u8]) -> Concern<'s> {
        let Ok(words) = words::split(line.trim_ascii()) else { return Concern::Open };
        match Form::of(&words) {
            Some(form) if !form.is_global() && !self.names.contains(words[2].as_slice()) => {
                Concern::None
            }
            _ => Concern::Open,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::render::{render_global, render_master};
    use crate::sentinel::setup::{GlobalConfig, HostPort, MasterConfig, MasterOptions, PeerConfig};
    use crate::util::rng::Rng;

    fn at(rng: &mut Rng) -> HostPort {
        HostPort { host: b"10.0.0.1".to_vec(), port: 1 + rng.below(4) as u16 }
    }

    fn any_master(rng: &mut Rng, n: u64) -> MasterConfig {
        let mut options = MasterOptions::new(2);
        options.down_after_ms = [5_000, 30_000][rng.below(2) as usize];
        options.auth_pass = (rng.below(3) == 0).then(|| b"a \"b".to_vec());
        let names: [&[u8]; 3] = [b"m", b"M'", b"a-longer-name"];
        let name = [names[n as usize % 3], n.to_string().as_bytes()].concat();
        let runid = [b'a' + rng.below(3) as u8; 40].to_vec();
        let mut replicas: Vec<_> = (0..rng.below(3)).map(|_| at(rng)).collect();
        replicas.dedup();
        MasterConfig {
            name,
            at: at(rng),
            options,
            config_epoch: rng.below(3),
            leader_epoch: rng.below(3),
            replicas,
            peers: vec![PeerConfig { at: at(rng), runid }],
        }
    }

    /// What an operator may do to a file while we run.
    fn meddle(rng: &mut Rng, text: &mut Vec<u8>) {
        let mut lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
        let odd: [&[u8]; 8] = [
            b"# a comment\n",
            b"Sentinel config-epoch m3 7\n",
            b"sentinel Monitor m6 10.0.0.1 1 2\n",
            b"sentinel CONFIG-EPOCH m0 1\n",
            b"sentinel known-slave m3 10.0.0.1 1\n",
            b"sentinel \"monitor\" m6\x0c1.2.3.4 1 1\r\n",
            b"sentinel known-replica m0 1.2.3.4 1\n",
            b"port 1\n",
        ];
        let place = rng.below(lines.len() as u64 + 1) as usize;
        lines.insert(place, odd[rng.below(8) as usize]);
        *text = lines.concat();
    }

    #[test]
    fn the_text_is_the_one_that_all_lines_give() {
        let mut rng = Rng::new(17);
        let mut rewriter = Rewriter::default();
        let mut masters: Vec<_> =
            (0..9).map(|n| Arc::new(render_master(&any_master(&mut rng, n)))).collect();
        let (mut text, mut shortcuts, mut same) = (b"port 26379\n".to_vec(), 0, 0);
        for round in 0..3_000 {
            for _ in 0..rng.below(3) {
                let n = rng.below(9);
                let lines = Arc::new(render_master(&any_master(&mut rng, n)));
                let found = masters.iter().position(|old| old.name() == lines.name());
                match (found, rng.below(4)) {
                    (Some(found), 0) => _ = masters.remove(found),
                    (Some(found), _) => masters[found] = lines,
                    (None, _) => masters.push(lines),
                }
            }
            let global = GlobalConfig { current_epoch: rng.below(5), ..GlobalConfig::default() };
            let state = StateLines {
                global: render_global(&global),
                masters: masters.clone(),
                ..StateLines::default()
            };
            if rng.below(10) == 0 {
                meddle(&mut rng, &mut text);
            }
            let state = Arc::new(state);
            let last = rewriter.last.as_ref().filter(|last| last.text == text);
            if let Some(short) = last.and_then(|last| Changed::between(&last.state, &state)) {
                shortcuts += 1;
                same += short.same.len();
            }
            let all = rewrite(&text, &state);
            text = rewriter.rewrite(&text, &state);
            assert_eq!(text.escape_ascii().to_string(), all.escape_ascii().to_string(), "{round}");
        }
        assert!(shortcuts > 1_000, "only {shortcuts} rounds were short");
        assert!(same > 1_000, "only {same} lines of changed masters stayed");
    }
}
