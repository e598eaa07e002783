//! What every measurement shares: samples with median and worst, their ratio, and tables that are
//! written for the terminal and for Markdown.
#![forbid(unsafe_code)]

use std::fmt::Write as _;

use crate::bench::Side;

/// How many digits and which word a kind of number gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Milliseconds,
    Seconds,
    Mebibytes,
    /// Of one core.
    Percent,
    PerSecond,
}

impl Unit {
    /// Whether more is better.
    fn more_is_better(self) -> bool {
        self == Unit::PerSecond
    }

    /// The number with its unit: one decimal below 10, or always for sizes.
    pub fn show(self, value: f64) -> String {
        let (digits, word) = match self {
            Unit::Milliseconds if value.abs() < 0.095 => (3, "ms"),
            Unit::Milliseconds if value.abs() < 0.95 => (2, "ms"),
            Unit::Milliseconds if value.abs() < 9.95 => (1, "ms"),
            Unit::Milliseconds => (0, "ms"),
            Unit::Seconds if value.abs() < 0.995 => (2, "s"),
            Unit::Seconds => (1, "s"),
            Unit::Mebibytes => (1, "MiB"),
            Unit::Percent => (1, "%"),
            Unit::PerSecond => (0, "/s"),
        };
        format!("{value:.digits$} {word}")
    }

    /// A round number with its unit, as short as can be.
    pub fn show_round(self, value: f64) -> String {
        let word = match self {
            Unit::Milliseconds => "ms",
            Unit::Seconds => "s",
            Unit::Mebibytes => "MiB",
            Unit::Percent => "%",
            Unit::PerSecond => "/s",
        };
        let rounded = (value * 1e6).round() / 1e6;
        if rounded >= 1e6 {
            format!("{} M{word}", rounded / 1e6)
        } else {
            format!("{rounded} {word}")
        }
    }
}

/// The results of the runs of one measurement.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    /// In rising order.
    values: Vec<f64>,
    /// Runs that gave no value within the limit; they count as worse than every value.
    missing: usize,
    /// How far such a run came.
    reached: Option<String>,
}

impl Samples {
    /// Adds one run, `None` if it gave no value.
    pub fn add(&mut self, value: Option<f64>) {
        match value {
            Some(value) => self.values.push(value),
            None => self.missing += 1,
        }
        self.values.sort_by(f64::total_cmp);
    }

    /// Adds one run that did not get there, and says how far it came.
    pub fn add_reached(&mut self, reached: String) {
        self.missing += 1;
        self.reached.get_or_insert(reached);
    }

    fn runs(&self) -> usize {
        self.values.len() + self.missing
    }

    /// The middle one, of two middle ones the mean; `None` if it belongs to a missing run.
    pub fn median(&self) -> Option<f64> {
        let middle = self.runs() / 2;
        let upper = *self.values.get(middle)?;
        if self.runs() % 2 == 1 {
            Some(upper)
        } else {
            Some((self.values[middle - 1] + upper) / 2.0)
        }
    }

    /// The worst; `None` if a run is missing or there was none.
    pub fn worst(&self) -> Option<f64> {
        if self.missing > 0 { None } else { self.values.last().copied() }
    }

    /// The worst of a unit of which more may be better.
    fn worst_of(&self, unit: Unit) -> Option<f64> {
        let lowest = self.values.first().copied().filter(|_| self.missing == 0);
        if unit.more_is_better() { lowest } else { self.worst() }
    }

    fn show_median(&self, unit: Unit) -> String {
        match self.median() {
            Some(value) => unit.show(value),
            None if self.runs() == 0 => "-".to_string(),
            None => self.reached.clone().unwrap_or("none".to_string()),
        }
    }

    fn show_worst(&self, unit: Unit) -> String {
        match (self.worst_of(unit), &self.reached) {
            (Some(value), _) => unit.show(value),
            (None, _) if self.runs() == 0 => "-".to_string(),
            (None, Some(reached)) => reached.clone(),
            (None, None) => format!("{} of {} never", self.missing, self.runs()),
        }
    }
}

/// How many times better ours is than theirs.
fn ratio(ours: Option<f64>, theirs: Option<f64>, unit: Unit) -> String {
    let (Some(ours), Some(theirs)) = (ours, theirs) else { return "-".to_string() };
    let (better, worse) = if unit.more_is_better() { (theirs, ours) } else { (ours, theirs) };
    match worse / better {
        _ if better <= 0.0 => "-".to_string(),
        times if times >= 9.95 => format!("{times:.0}x"),
        times if times < 0.95 => format!("{times:.2}x"),
        times => format!("{times:.1}x"),
    }
}

/// The same measurement of both programs.
#[derive(Clone, Debug, Default)]
pub struct Pair {
    ours: Samples,
    theirs: Samples,
}

impl Pair {
    /// The samples of one side.
    pub fn of(&mut self, side: Side) -> &mut Samples {
        if side == Side::Ours { &mut self.ours } else { &mut self.theirs }
    }

    /// The median of one side.
    pub fn median(&self, side: Side) -> Option<f64> {
        self.at(side).median()
    }

    /// The worst of one side.
    pub fn worst(&self, side: Side, unit: Unit) -> Option<f64> {
        self.at(side).worst_of(unit)
    }

    /// The largest value of one side.
    pub fn largest(&self, side: Side) -> Option<f64> {
        self.at(side).values.last().copied()
    }

    /// The median of one side in words.
    pub fn show_median(&self, side: Side, unit: Unit) -> String {
        self.at(side).show_median(unit)
    }

    fn at(&self, side: Side) -> &Samples {
        if side == Side::Ours { &self.ours } else { &self.theirs }
    }

    /// The worst of both, ours first.
    pub fn show_worst(&self, unit: Unit) -> [String; 2] {
        [self.ours.show_worst(unit), self.theirs.show_worst(unit)]
    }

    /// The cells that [`PAIR_HEADER`] names.
    pub fn cells(&self, unit: Unit) -> Vec<String> {
        let (ours, theirs) = (&self.ours, &self.theirs);
        vec![
            ours.show_median(unit),
            ours.show_worst(unit),
            theirs.show_median(unit),
            theirs.show_worst(unit),
            ratio(ours.median(), theirs.median(), unit),
            ratio(ours.worst_of(unit), theirs.worst_of(unit), unit),
        ]
    }
}

/// What a measurement brings.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub tables: Vec<Table>,
    pub charts: Vec<Chart>,
}

/// A picture.
#[derive(Clone, Debug)]
pub struct Chart {
    /// File name.
    pub file: String,
    /// For those who cannot see it.
    pub what: String,
    pub svg: String,
}

/// The heads of the columns that [`Pair::cells`] fills.
pub const PAIR_HEADER: [&str; 6] =
    ["ours, median", "worst", "theirs, median", "worst", "ratio of medians", "of worst"];

/// A table with a title and a few lines that say what was measured.
#[derive(Clone, Debug, Default)]
pub struct Table {
    pub title: String,
    /// One paragraph, Markdown.
    pub text: String,
    pub header: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// A table whose rows begin with `names` and end with the cells of a [`Pair`].
    pub fn of_pairs(title: &str, text: &str, names: &[&str]) -> Table {
        Table::new(title, text, &[names, &PAIR_HEADER].concat())
    }

    /// An empty table.
    pub fn new(title: &str, text: &str, names: &[&str]) -> Table {
        let header = names.iter().map(|h| h.to_string()).collect();
        Table { title: title.to_string(), text: text.to_string(), header, rows: Vec::new() }
    }

    /// Adds the row of a pair.
    pub fn add_pair(&mut self, names: &[&str], pair: &Pair, unit: Unit) {
        let mut row: Vec<String> = names.iter().map(|n| n.to_string()).collect();
        row.extend(pair.cells(unit));
        self.rows.push(row);
    }

    /// For the terminal: columns padded, no ruling.
    pub fn plain(&self) -> String {
        let widths = self.widths();
        let mut out = format!("{}\n", self.title);
        for row in std::iter::once(&self.header).chain(&self.rows) {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            let line = cells.collect::<Vec<_>>().join("  ");
            let _ = writeln!(out, "  {}", line.trim_end());
        }
        out
    }

    /// As Markdown, with the title as a heading of the second level.
    pub fn markdown(&self) -> String {
        let widths = self.widths();
        let line = |row: &[String]| {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
        };
        let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
        let mut out = format!("## {}\n\n{}\n\n", self.title, wrap(&self.text));
        out.push_str(&line(&self.header));
        out.push_str(&line(&rule));
        self.rows.iter().for_each(|row| out.push_str(&line(row)));
        out
    }

    fn widths(&self) -> Vec<usize> {
        let rows = || std::iter::once(&self.header).chain(&self.rows);
        let width = |column: usize| rows().map(|r| r[column].chars().count()).max().unwrap_or(0);
        (0..self.header.len()).map(width).collect()
    }
}

/// The text in lines of at most 100 columns.
pub fn wrap(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.len() - 1;
        if !lines[last].is_empty() && lines[last].len() + 1 + word.len() > 100 {
            lines.push(word.to_string());
        } else {
            let line = &mut lines[last];
            line.push_str(if line.is_empty() { "" } else { " " });
            line.push_str(word);
        }
    }
    lines.join("\n")
}
