//! Loading: config text (and command-line options) to settings and Sentinel state.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::kept::{self, Kept, Source};
use super::lines::{self, Correction, Included, IncludedLine, Words};
pub use super::options::option_lines;
use super::sentinel_lines::{self, Applier};
use super::settings::Settings;
use super::values::{self, BAD_DIRECTIVE, Reason, WRONG_COUNT};
use super::{directives, ignored};
use crate::sentinel::setup::SentinelConfig;
use crate::util::words;

/// The file system and the working directory, as loading needs them; the shell implements it.
pub trait Files {
    /// Reads a whole file, relative to the working directory; the error is the system's text.
    fn read(&mut self, path: &[u8]) -> Result<Vec<u8>, String>;
    /// The files that match a shell pattern, sorted.
    fn glob(&mut self, pattern: &[u8]) -> Vec<Vec<u8>>;
    /// Changes the working directory; gives the new one as an absolute path.
    fn chdir(&mut self, dir: &[u8]) -> Result<Vec<u8>, String>;
    /// Whether `path` is a regular file that may be executed.
    fn is_executable(&mut self, path: &[u8]) -> bool;
    /// Whether a log file can be opened for appending (it is created if missing).
    fn can_append(&mut self, path: &[u8]) -> Result<(), String>;
}

/// Everything the configuration says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Loaded {
    pub settings: Settings,
    pub sentinel: SentinelConfig,
    /// Names of directives that are known but have no meaning here, each once, for one log line
    /// each.
    pub ignored: Vec<Vec<u8>>,
    /// `sentinel` lines that were not taken as they stand there, one log line each.
    pub warnings: Vec<String>,
    /// The line, trimmed, and its number of each of `settings.users`, for errors about it.
    pub user_lines: Vec<(usize, Vec<u8>)>,
    /// Lines of included files that rewriting must know of; handed on to
    /// [`StateLines`](super::rewrite::StateLines) as it is.
    pub included: Arc<Included>,
    /// Settings that saving must not lose; handed on likewise.
    pub kept: Arc<Kept>,
}

/// A line that cannot be taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoadError {
    /// 1-based, counted in the file that holds the line; standard input and the options of the
    /// command line count on from the end of the main file. 0 when no line is to blame.
    pub line_number: usize,
    /// The line, trimmed.
    pub line: Vec<u8>,
    /// The reason, as in spec/config.md. A missing include has no line, and a reason that begins
    /// with `Fatal error, can't open config file`.
    pub reason: String,
}

/// How deep includes may lie in each other.
const MAX_INCLUDE_DEPTH: usize = 16;

/// Loads the main file's text, then `stdin` text if given, then the options of the command line
/// (one config line each, already quoted; see [`option_lines`]).
pub fn load(
    text: &[u8],
    stdin: Option<&[u8]>,
    options: &[Vec<u8>],
    files: &mut dyn Files,
) -> Result<Loaded, LoadError> {
    let mut whole = text.to_vec();
    if let Some(stdin) = stdin {
        if !whole.is_empty() && !whole.ends_with(b"\n") {
            whole.push(b'\n');
        }
        whole.extend_from_slice(stdin);
    }
    for option in options {
        whole.push(b'\n');
        whole.extend_from_slice(option);
    }
    let mut loader = Loader::new(text, files);
    loader.read_text(&whole, 0)?;
    loader.finish()
}

/// A line on its way through.
#[derive(Clone)]
struct Line<'a> {
    number: usize,
    text: &'a [u8],
}

impl Line<'_> {
    fn error(&self, reason: impl Into<Reason>) -> LoadError {
        LoadError { line_number: self.number, line: self.text.to_vec(), reason: reason.into() }
    }
}

fn error_without_line(reason: Reason) -> LoadError {
    LoadError { line_number: 0, line: Vec::new(), reason }
}

/// A `sentinel` line that waits until all is read.
struct Queued {
    number: usize,
    text: Vec<u8>,
    /// `None`: the main file says that it does not hold any more.
    words: Option<Words>,
    /// For a line of an included file, the line as it stands there.
    included: Option<IncludedLine>,
}

struct Loader<'f> {
    files: &'f mut dyn Files,
    settings: Settings,
    ignored: Vec<Vec<u8>>,
    ignored_names: BTreeSet<Vec<u8>>,
    queue: Vec<Queued>,
    /// By what an included line says, what it says in truth.
    corrections: BTreeMap<Words, Option<Words>>,
    included: Included,
    kept: kept::Reading,
    /// The lines of the main file; what has a larger number there is no part of it.
    main_lines: usize,
    /// Where the line that is read now stands.
    source: Source,
    user_lines: Vec<(usize, Vec<u8>)>,
    /// The last `tls-…` line of each name, for an error about it.
    tls_lines: BTreeMap<Vec<u8>, (usize, Vec<u8>)>,
}

impl<'f> Loader<'f> {
    fn new(main_text: &[u8], files: &'f mut dyn Files) -> Loader<'f> {
        let corrections = main_text
            .split(|c| *c == b'\n')
            .filter_map(|line| Correction::parse(line.trim_ascii()))
            .map(|correction| (lines::canonical(&correction.from), correction.to))
            .collect();
        Loader {
            files,
            settings: Settings::default(),
            ignored: Vec::new(),
            ignored_names: BTreeSet::new(),
            queue: Vec::new(),
            corrections,
            included: Included::default(),
            kept: kept::Reading::default(),
            main_lines: main_text.split_inclusive(|c| *c == b'\n').count(),
            source: Source::File,
            user_lines: Vec::new(),
            tls_lines: BTreeMap::new(),
        }
    }

    /// Reads a text line by line; `depth` is 0 for the main file.
    fn read_text(&mut self, text: &[u8], depth: usize) -> Result<(), LoadError> {
        for (index, raw) in text.split(|c| *c == b'\n').enumerate() {
            let line = Line { number: index + 1, text: raw.trim_ascii() };
            if line.text.is_empty() || line.text.starts_with(b"#") {
                continue;
            }
            if depth == 0 && line.number > self.main_lines {
                self.source = Source::Options;
            }
            let words = words::split(line.text)
                .map_err(|_| line.error("Unbalanced quotes in configuration line"))?;
            self.take_line(&line, words, depth)?;
        }
        Ok(())
    }

    fn take_line(&mut self, line: &Line<'_>, typed: Words, depth: usize) -> Result<(), LoadError> {
        let included = (depth > 0).then(|| self.included_line(&typed));
        let words = match &included {
            Some(_) => self.corrected(typed),
            None => Some(typed),
        };
        let as_read = included.as_ref().map(|line| &line.words).or(words.as_ref());
        let first = as_read.and_then(|words| words.first());
        if first.is_some_and(|word| word.eq_ignore_ascii_case(b"sentinel")) {
            let text = line.text.to_vec();
            self.queue.push(Queued { number: line.number, text, words, included });
            return Ok(());
        }
        self.note_source(words.as_deref(), included);
        match words {
            Some(words) => self.take_directive(line, &words, depth),
            None => Ok(()),
        }
    }

    fn included_line(&self, words: &[Vec<u8>]) -> IncludedLine {
        let via = match &self.source {
            Source::Included(include) => Some(include.clone()),
            Source::File | Source::Options => None,
        };
        IncludedLine { words: words.to_vec(), via }
    }

    /// What a line of an included file says, with the main file's corrections.
    fn corrected(&self, typed: Words) -> Option<Words> {
        if self.corrections.is_empty() {
            return Some(typed);
        }
        match self.corrections.get(&lines::canonical(&typed)) {
            Some(correction) => correction.clone(),
            None => Some(typed),
        }
    }

    /// Keeps book of what rests on an included file: the last line about a thing counts.
    fn note_source(&mut self, words: Option<&[Vec<u8>]>, included: Option<IncludedLine>) {
        if included.is_none() && self.included.lines.is_empty() {
            return;
        }
        let as_read = included.as_ref().map(|line| line.words.as_slice()).or(words);
        let Some(identity) = as_read.and_then(lines::identity) else { return };
        if let Some(before) = self.included.lines.remove(&identity) {
            self.included.overridden.push((identity.clone(), before));
        }
        if let Some(original) = included {
            self.included.lines.insert(identity, original);
        }
    }

    fn take_directive(
        &mut self,
        line: &Line<'_>,
        words: &[Vec<u8>],
        depth: usize,
    ) -> Result<(), LoadError> {
        let Some((typed, args)) = words.split_first() else { return Ok(()) };
        let name = typed.to_ascii_lowercase();
        match name.as_slice() {
            b"include" => return self.include(line, words, depth),
            b"dir" => return self.change_dir(args).map_err(|reason| line.error(reason)),
            _ => {}
        }
        self.kept.note(&self.settings, words, &self.source);
        if let Some(applied) = directives::apply(&mut self.settings, &name, args) {
            if name == b"user" {
                self.user_lines.push((line.number, line.text.to_vec()));
            } else if name.starts_with(b"tls-") {
                self.tls_lines.insert(name, (line.number, line.text.to_vec()));
            }
            return applied.map_err(|reason| line.error(reason));
        }
        let known = ignored::is_ignored(&name, args.len()).map_err(|reason| line.error(reason))?;
        if !known {
            return Err(line.error(BAD_DIRECTIVE));
        }
        self.kept.note_ignored(words, &self.source);
        if self.ignored_names.insert(name.clone()) {
            self.ignored.push(name);
        }
        Ok(())
    }

    fn change_dir(&mut self, args: &[Vec<u8>]) -> Result<(), Reason> {
        let [dir] = args else { return Err(WRONG_COUNT.into()) };
        values::plain(dir)?;
        let dir = self.files.chdir(dir)?;
        self.kept.note_dir(dir, &self.source);
        Ok(())
    }

    fn include(
        &mut self,
        line: &Line<'_>,
        words: &[Vec<u8>],
        depth: usize,
    ) -> Result<(), LoadError> {
        let [_, path] = words else { return Err(line.error(BAD_DIRECTIVE)) };
        values::plain(path).map_err(|reason| line.error(reason))?;
        if depth == MAX_INCLUDE_DEPTH {
            return Err(line.error("Too many files that include each other"));
        }
        let is_pattern = path.iter().any(|c| b"*?[".contains(c));
        let paths = if is_pattern { self.files.glob(path) } else { vec![path.clone()] };
        let before = self.source.clone();
        if let (Source::File, Some(include)) = (&before, kept::include_of(words)) {
            self.source = Source::Included(include);
        }
        for path in paths {
            let text = self.files.read(&path).map_err(|reason| {
                error_without_line(format!(
                    "Fatal error, can't open config file '{}': {reason}",
                    String::from_utf8_lossy(&path)
                ))
            })?;
            self.read_text(&text, depth + 1)?;
        }
        self.source = before;
        Ok(())
    }

    /// Checks what needs the whole text, and applies the `sentinel` lines.
    fn finish(mut self) -> Result<Loaded, LoadError> {
        if let Some(name) = directives::asks_for_tls(&self.settings) {
            let (line_number, line) = self.tls_lines.remove(name).unwrap_or_default();
            let reason = "TLS is not supported by this build".into();
            return Err(LoadError { line_number, line, reason });
        }
        if !self.settings.logfile.is_empty() {
            self.files
                .can_append(&self.settings.logfile)
                .map_err(|why| error_without_line(format!("Can't open the log file: {why}")))?;
        }
        let Applier { config, warnings, .. } = self.apply_queue()?;
        let kept = self.kept.finish(&self.settings);
        Ok(Loaded {
            settings: self.settings,
            sentinel: config,
            warnings,
            ignored: self.ignored,
            user_lines: self.user_lines,
            included: Arc::new(self.included),
            kept: Arc::new(kept),
        })
    }

    fn apply_queue(&mut self) -> Result<Applier, LoadError> {
        let mut queue = std::mem::take(&mut self.queue);
        queue.sort_by_key(|line| line.words.as_deref().map_or(0, sentinel_lines::phase));
        let mut applier = Applier::default();
        for queued in queue {
            if let Some(words) = &queued.words {
                applier.apply(words, self.files).map_err(|reason| LoadError {
                    line_number: queued.number,
                    line: queued.text.clone(),
                    reason,
                })?;
            }
            self.note_source(queued.words.as_deref(), queued.included);
        }
        applier.finish();
        Ok(applier)
    }
}
