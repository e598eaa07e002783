//! Charts as SVG, drawn by hand: one bar per side and row, its length the median, a thin line to
//! the worst. They bring their own background, so that they can be read on light and dark pages.
#![forbid(unsafe_code)]

use std::fmt::Write as _;

use crate::bench::Side;
use crate::report::{Chart, Pair, Unit};

const WIDTH: f64 = 760.0;
const MARGIN: f64 = 16.0;
const LABELS: f64 = 225.0;
/// Room at the right for the number behind the longest bar.
const NUMBERS: f64 = 140.0;
const TOP: f64 = 74.0;
const BAR: f64 = 15.0;
const GAP: f64 = 12.0;

const STYLE: &str = "\
.page{fill:#ffffff}.text{fill:#1f2328}.soft{fill:#59636e}.grid{stroke:#d1d9e0}\
.ours{fill:#0969da}.theirs{fill:#bc6c12}.worst{stroke:#1f2328}\
@media(prefers-color-scheme:dark){\
.page{fill:#0d1117}.text{fill:#f0f6fc}.soft{fill:#9198a1}.grid{stroke:#3d444d}\
.ours{fill:#4493f8}.theirs{fill:#d29922}.worst{stroke:#f0f6fc}}";

/// What a chart says beside its numbers.
pub struct Labels<'a> {
    /// File name.
    pub file: &'a str,
    pub title: &'a str,
    /// What is measured, and which way is better.
    pub axis: &'a str,
}

/// Draws rows of pairs.
pub fn bars(labels: &Labels, names: [&str; 2], rows: &[(String, Pair)], unit: Unit) -> Chart {
    let height = TOP + rows.len() as f64 * (2.0 * BAR + GAP) + 44.0;
    let most = rows.iter().flat_map(|(_, pair)| values(pair)).fold(0.0, f64::max);
    let ticks = ticks(most);
    let end = ticks.last().copied().unwrap_or(1.0).max(most).max(f64::MIN_POSITIVE);
    let room = WIDTH - 2.0 * MARGIN - LABELS - NUMBERS;
    let place = |value: f64| MARGIN + LABELS + value / end * room;
    let mut svg = head(labels, names, height);
    for tick in &ticks {
        let (x, bottom) = (place(*tick), height - 40.0);
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"/>\n\
             <text class=\"soft\" x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n",
            bottom + 16.0,
            unit.show_round(*tick)
        );
    }
    for (number, (label, pair)) in rows.iter().enumerate() {
        let top = TOP + GAP / 2.0 + number as f64 * (2.0 * BAR + GAP);
        let _ = writeln!(
            svg,
            "<text class=\"text\" x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
            MARGIN + LABELS - 8.0,
            top + BAR + 4.0,
            escape(label)
        );
        for (side, class) in [(Side::Ours, "ours"), (Side::Theirs, "theirs")] {
            let y = top + if side == Side::Ours { 0.0 } else { BAR };
            bar(&mut svg, pair, side, class, unit, y, &place);
        }
    }
    svg.push_str("</svg>\n");
    let what = format!("{}: {}", labels.title, labels.axis);
    Chart { file: labels.file.to_string(), what, svg }
}

fn values(pair: &Pair) -> impl Iterator<Item = f64> + '_ {
    let of = |side| [pair.median(side), pair.largest(side)];
    Side::BOTH.into_iter().flat_map(of).flatten()
}

fn head(labels: &Labels, names: [&str; 2], height: f64) -> String {
    let (title, axis) = (escape(labels.title), escape(labels.axis));
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{title}: {axis}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<style>{STYLE}</style>\n\
         <rect class=\"page\" width=\"{WIDTH}\" height=\"{height}\" rx=\"6\"/>\n\
         <text class=\"text\" x=\"{MARGIN}\" y=\"26\" font-size=\"16\" \
         font-weight=\"600\">{title}</text>\n\
         <text class=\"soft\" x=\"{MARGIN}\" y=\"{}\">{axis}</text>\n",
        height - 8.0
    );
    let mut x = MARGIN;
    for (name, class) in names.iter().zip(["ours", "theirs"]) {
        let _ = write!(
            svg,
            "<rect class=\"{class}\" x=\"{x}\" y=\"42\" width=\"12\" height=\"12\" rx=\"2\"/>\n\
             <text class=\"text\" x=\"{}\" y=\"52\">{}</text>\n",
            x + 18.0,
            escape(name)
        );
        x += 40.0 + name.chars().count() as f64 * 7.0;
    }
    let _ =
        writeln!(svg, "<text class=\"soft\" x=\"{x}\" y=\"52\">bar: median, line: worst</text>");
    svg
}

fn bar(
    svg: &mut String,
    pair: &Pair,
    side: Side,
    class: &str,
    unit: Unit,
    y: f64,
    place: &impl Fn(f64) -> f64,
) {
    let (start, middle) = (place(0.0), y + BAR / 2.0);
    let median = pair.median(side);
    let end = place(median.unwrap_or(0.0)).max(start + 1.5);
    let worst = pair.worst(side, unit);
    let behind = worst.map_or(end, |worst| place(worst).max(end)) + 6.0;
    if median.is_some() {
        let (width, height) = (end - start, BAR - 3.0);
        let _ = writeln!(
            svg,
            "<rect class=\"{class}\" x=\"{start:.1}\" y=\"{:.1}\" width=\"{width:.1}\" \
             height=\"{height}\" rx=\"1.5\"/>",
            y + 1.5
        );
        if let Some(worst) = worst {
            let (from, to) = (end.min(place(worst)), end.max(place(worst)));
            let _ = writeln!(
                svg,
                "<line class=\"worst\" x1=\"{from:.1}\" x2=\"{to:.1}\" y1=\"{middle:.1}\" \
                 y2=\"{middle:.1}\"/>"
            );
        }
    }
    let _ = writeln!(
        svg,
        "<text class=\"text\" x=\"{behind:.1}\" y=\"{:.1}\">{}</text>",
        middle + 4.0,
        escape(&pair.show_median(side, unit))
    );
}

/// Round numbers from 0 up to about the largest value.
fn ticks(most: f64) -> Vec<f64> {
    if most <= 0.0 {
        return vec![0.0];
    }
    let rough = most / 5.0;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|n| n * power);
    let step = step.into_iter().find(|step| *step >= rough).unwrap_or(10.0 * power);
    (0..=(most / step) as usize).map(|n| n as f64 * step).collect()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few() {
        assert_eq!(ticks(1277.0), [0.0, 500.0, 1000.0]);
        assert_eq!(ticks(5.0), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(ticks(0.0), [0.0]);
        for most in [0.003, 0.7, 9.9, 123.0, 450_000.0] {
            assert!((2..=6).contains(&ticks(most).len()), "{most}");
        }
    }

    #[test]
    fn a_side_without_a_result_says_so() {
        let mut pair = Pair::default();
        pair.of(Side::Ours).add(Some(7.0));
        pair.of(Side::Theirs).add_reached("34 of 1000".to_string());
        let labels = Labels { file: "a.svg", title: "A & B", axis: "s" };
        let rows = [("row".to_string(), pair)];
        let chart = bars(&labels, ["ours", "theirs"], &rows, Unit::Seconds);
        assert!(chart.svg.contains(">7.0 s<") && chart.svg.contains(">34 of 1000<"));
        assert!(chart.svg.contains("A &amp; B") && chart.svg.ends_with("</svg>\n"));
    }
}
