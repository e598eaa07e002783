//! Settings that no command changes. Their lines are the operator's: they stay as they stand in
//! the file, and only what is missing there is written, so that a file that was lost or emptied
//! is whole again after the next save.
//!
//! A setting of an included file needs no line as long as the `include` stands there. One of the
//! command line gets a line like any other, and takes the place of what the file says instead.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};

use super::directives;
use super::ignored;
use super::lines::{self, Words};
use super::settings::Settings;
use crate::util::words;

/// Where a line was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// In the main file.
    File,
    /// In a file that this line of the main file includes, directly or not; see [`include_of`].
    Included(Words),
    /// On the command line or standard input, or in what they include.
    Options,
}

/// What the settings come to, in lines.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Kept(Vec<KeptLine>);

#[derive(Clone, PartialEq, Eq, Debug)]
struct KeptLine {
    /// What it sets: several lines of a name may stand beside each other.
    subject: Words,
    words: Words,
    is_default: bool,
    source: Source,
}

/// What was read so far.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// By what was set, where that was done last.
    sources: BTreeMap<Words, Source>,
    dir: Option<Vec<u8>>,
    /// Lines without meaning here.
    ignored: Vec<(Words, Source)>,
}

impl Reading {
    /// Takes note of a line of the directive table; `settings` are those before it.
    pub(super) fn note(&mut self, settings: &Settings, line: &[Vec<u8>], source: &Source) {
        for subject in subjects(settings, line) {
            self.sources.insert(subject, source.clone());
        }
    }

    /// The working directory is another one now.
    pub(super) fn note_dir(&mut self, dir: Vec<u8>, source: &Source) {
        self.dir = Some(dir);
        self.sources.insert(vec![b"dir".to_vec()], source.clone());
    }

    /// Takes note of a line without meaning here. Those of the command line have none for anybody
    /// else: the file is what other programs may read one day.
    pub(super) fn note_ignored(&mut self, line: &[Vec<u8>], source: &Source) {
        if *source != Source::Options {
            self.ignored.push((with_lower_name(line), source.clone()));
        }
    }

    /// All lines, now that the settings are what they will be.
    pub(super) fn finish(self, settings: &Settings) -> Kept {
        let defaults: BTreeSet<Words> = rendered(&Settings::default()).into_values().collect();
        let mut words = rendered(settings);
        if let Some(dir) = self.dir {
            words.insert(vec![b"dir".to_vec()], vec![b"dir".to_vec(), dir]);
        }
        let mut kept = Vec::new();
        for (subject, source) in self.sources {
            // A name that was given back has none.
            let Some(words) = words.remove(&subject) else { continue };
            let is_default = defaults.contains(&words);
            kept.push(KeptLine { subject, words, is_default, source });
        }
        // Relative paths of other lines are read from there.
        kept.sort_by_key(|line| line.subject[0] != b"dir");
        let ignored = self.ignored.into_iter().map(|(words, source)| KeptLine {
            subject: vec![words[0].clone()],
            words,
            is_default: false,
            source,
        });
        kept.extend(ignored);
        Kept(kept)
    }
}

/// The words by which an `include` line is known again; `None` for any other line.
pub(super) fn include_of(line: &[Vec<u8>]) -> Option<Words> {
    let line = with_lower_name(line);
    (line.first()? == b"include").then_some(line)
}

fn with_lower_name(line: &[Vec<u8>]) -> Words {
    let mut line = line.to_vec();
    if let Some(name) = line.first_mut() {
        name.make_ascii_lowercase();
    }
    line
}

fn rendered(settings: &Settings) -> BTreeMap<Words, Words> {
    directives::lines(settings).into_iter().collect()
}

/// What a line sets that is kept here.
fn subjects(settings: &Settings, line: &[Vec<u8>]) -> Vec<Words> {
    let Some((name, args)) = line.split_first() else { return Vec::new() };
    directives::subjects(settings, &name.to_ascii_lowercase(), args)
}

/// What is to be done with a file's text.
#[derive(Debug, Default)]
pub(super) struct Repair {
    /// New texts of lines, which count from 0.
    pub replaced: BTreeMap<usize, Vec<u8>>,
    pub missing: Vec<Vec<u8>>,
}

/// What the lines of a file say by themselves.
#[derive(Default)]
struct Said {
    settings: Settings,
    dir: Option<Vec<u8>>,
    /// For each thing that is set, the last line that does, and whether it sets nothing else.
    by: BTreeMap<Words, (usize, bool)>,
    includes: BTreeSet<Words>,
}

impl Said {
    fn read<'t>(lines: impl Iterator<Item = &'t [u8]>) -> Said {
        let mut said = Said::default();
        for (number, line) in lines.enumerate() {
            let line = line.trim_ascii();
            // The state of thousands of masters, which says nothing here.
            if line.is_empty() || line.starts_with(b"#") || line.starts_with(b"sentinel ") {
                continue;
            }
            if let Ok(words) = words::split(line) {
                said.take(number, &with_lower_name(&words));
            }
        }
        said
    }

    fn take(&mut self, number: usize, line: &[Vec<u8>]) {
        let Some((name, args)) = line.split_first() else { return };
        if let Some(include) = include_of(line) {
            self.includes.insert(include);
            return;
        }
        let mut subjects = subjects(&self.settings, line);
        if name == b"dir" {
            self.dir = args.first().cloned();
        } else if directives::apply(&mut self.settings, name, args).is_none()
            && !ignored::is_ignored(name, args.len()).unwrap_or(true)
        {
            subjects.clear();
        }
        let alone = subjects.len() == 1;
        self.by.extend(subjects.into_iter().map(|subject| (subject, (number, alone))));
    }

    /// The words by which the file sets this.
    fn words_for(&self, rendered: &BTreeMap<Words, Words>, subject: &Words) -> Option<Words> {
        match (&self.dir, subject[0].as_slice()) {
            (Some(dir), b"dir") => Some(vec![subject[0].clone(), dir.clone()]),
            _ => rendered.get(subject).cloned(),
        }
    }
}

impl Kept {
    /// Compares with the lines of the main file as it stands now.
    pub(super) fn repair<'t>(&self, lines: impl Iterator<Item = &'t [u8]>) -> Repair {
        if self.0.is_empty() {
            return Repair::default();
        }
        let mut said = Said::read(lines);
        let has_options = self.0.iter().any(|line| line.source == Source::Options);
        let there = if has_options { rendered(&said.settings) } else { BTreeMap::new() };
        let (mut repair, mut renames) = (Repair::default(), Vec::new());
        for line in &self.0 {
            let is_rename = line.subject[0] == b"rename-command";
            match (said.by.get(&line.subject), &line.source) {
                (Some((number, alone)), Source::Options) if !is_rename => {
                    if said.words_for(&there, &line.subject).as_ref() == Some(&line.words) {
                        continue;
                    }
                    let text = lines::join(&line.words);
                    match alone {
                        true => drop(repair.replaced.insert(*number, text)),
                        false => repair.missing.push(text),
                    }
                }
                (Some(_), _) => {}
                (None, Source::Included(include)) if said.includes.contains(include) => {}
                (None, _) if line.is_default => {}
                (None, _) if is_rename => renames.push(&line.words),
                (None, _) => repair.missing.push(lines::join(&line.words)),
            }
        }
        let renames = in_good_order(&mut said.settings, renames);
        repair.missing.extend(renames.iter().map(|words| lines::join(words)));
        repair
    }
}

/// Renamings in an order in which each finds its command, and no other one of the new name. Where
/// they go round in a circle, one takes a detour.
fn in_good_order(settings: &mut Settings, renames: Vec<&Words>) -> Vec<Words> {
    let (mut open, mut ordered) = (renames, Vec::new());
    while !open.is_empty() {
        let before = open.len();
        open.retain(|line| {
            let taken = matches!(directives::apply(settings, &line[0], &line[1..]), Some(Ok(())));
            if taken {
                ordered.push((*line).clone());
            }
            !taken
        });
        if open.len() == before {
            let stuck = open.remove(0);
            let mut detour = vec![stuck[0].clone(), stuck[1].clone(), stuck[1].clone()];
            while directives::command_called(settings, &detour[2]).is_some() {
                detour[2].push(b'_');
            }
            let rest = vec![stuck[0].clone(), detour[2].clone(), stuck[2].clone()];
            if !matches!(directives::apply(settings, &detour[0], &detour[1..]), Some(Ok(()))) {
                // The file has another idea of this command: its line stays the last word.
                continue;
            }
            ordered.push(detour);
            let after = in_good_order(settings, open);
            ordered.extend(after);
            if matches!(directives::apply(settings, &rest[0], &rest[1..]), Some(Ok(()))) {
                ordered.push(rest);
            }
            return ordered;
        }
    }
    ordered
}
