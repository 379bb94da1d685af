//! A report as one HTML file that opens anywhere: styles and plots are in it, nothing is fetched.

use std::fmt::Write as _;

use super::text::{digits, share};
use super::{Report, Segments};

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1b2a33; --dim: #5d6d76; --line: #d5dde1; --back: #fff; --bar: #2a7a9b; --bad: #b3402a; --good: #2d7d46 }
@media (prefers-color-scheme: dark) { :root { --ink: #e3eaee; --dim: #98a8b1; --line: #33434c; --back: #12191d; --bar: #5ab0d3; --bad: #ef7c64; --good: #6cc68a } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--back); max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem; margin-bottom: 0 } h2 { font-size: 1.1rem; margin-top: 2rem }
.verdict { font-size: 1.1rem; font-weight: 600 } .passed { color: var(--good) } .failed { color: var(--bad) }
table { border-collapse: collapse; margin: .5rem 0 } th, td { padding: .25rem .7rem; border-bottom: 1px solid var(--line); text-align: right; font-variant-numeric: tabular-nums }
th { color: var(--dim); font-weight: 600 } th:first-child, td:first-child { text-align: left }
.plots { display: flex; flex-wrap: wrap; gap: 1.5rem } figure { margin: 0 } figcaption { color: var(--dim) }
svg { max-width: 100%; height: auto } svg text { fill: var(--dim); font: 11px system-ui, sans-serif }
svg .axis { stroke: var(--line) } svg .bar { fill: var(--bar) } svg .dot { fill: var(--bar); fill-opacity: .45 } svg .same { stroke: var(--bad); stroke-dasharray: 4 3 }
code { font-size: .85em; overflow-wrap: anywhere } details code { display: block; white-space: pre-wrap } small { color: var(--dim) }
";

impl Report {
    /// The report as HTML.
    #[must_use]
    pub fn to_html(&self) -> String {
        let mut out = String::new();
        // Writing to a string cannot fail.
        let _infallible = self.write_html(&mut out);
        out
    }

    fn write_html(&self, out: &mut String) -> std::fmt::Result {
        let (old, new) = (escape(&self.old.model), escape(&self.new.model));
        writeln!(
            out,
            "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n<title>{old} against {new}</title>\n<style>{STYLE}</style>"
        )?;
        let class = if self.passed { "passed" } else { "failed" };
        writeln!(
            out,
            "<h1>{old} against {new}</h1>\n<p class=\"verdict {class}\">{}</p>",
            escape(&self.verdict())
        )?;
        writeln!(
            out,
            "<p><small>{} {}<br>{} {}</small></p>",
            old,
            escape(&self.old.artifact),
            new,
            escape(&self.new.artifact)
        )?;
        self.write_counts(out)?;
        if !self.points.is_empty() {
            writeln!(out, "<div class=\"plots\">")?;
            figure(
                out,
                &histogram(&self.points),
                "How far the new prediction is from the old one",
            )?;
            figure(
                out,
                &scatter(&self.points),
                "Old predictions against new ones; on the line they are equal",
            )?;
            writeln!(out, "</div>")?;
            if (self.points.len() as u64) < self.rows - self.neither - self.only_old - self.only_new
            {
                writeln!(
                    out,
                    "<p><small>The plots show a sample of {} rows.</small></p>",
                    self.points.len()
                )?;
            }
        }
        self.write_labels(out)?;
        for segments in &self.by {
            write_segments(out, segments)?;
        }
        if !self.worst.is_empty() {
            writeln!(
                out,
                "<h2>The rows that differ most</h2>\n<table><tr><th>row<th>old<th>new<th>difference</tr>"
            )?;
            for row in &self.worst {
                let by = row.difference.map(digits).unwrap_or_default();
                writeln!(
                    out,
                    "<tr><td>{}<details><summary>input</summary><code>{}</code></details><td>{}<td>{}<td>{by}</tr>",
                    escape(&row.row),
                    escape(&serde_json::to_string_pretty(&row.input).unwrap_or_default()),
                    escape(&row.old.to_string()),
                    escape(&row.new.to_string()),
                )?;
            }
            writeln!(out, "</table>")?;
        }
        if !self.changes.is_empty() {
            writeln!(out, "<h2>How the artifacts differ</h2>\n<table>")?;
            for word in &self.changes {
                writeln!(
                    out,
                    "<tr><td>{}<td style=\"text-align:left\">{}</tr>",
                    word.part,
                    escape(&word.text)
                )?;
            }
            writeln!(out, "</table>")?;
        }
        writeln!(out, "</html>")
    }

    fn write_counts(&self, out: &mut String) -> std::fmt::Result {
        let rows = self.rows;
        writeln!(
            out,
            "<table>\n<tr><td>rows<td>{rows}</tr>\n<tr><td>identical, to the bit<td>{}</tr>",
            share(self.identical, rows)
        )?;
        writeln!(
            out,
            "<tr><td>within the tolerance ({})<td>{}</tr>",
            escape(&self.tolerated()),
            share(self.within, rows)
        )?;
        writeln!(
            out,
            "<tr><td>over it (allowed: {})<td>{}</tr>",
            self.allowed_over,
            share(self.over, rows)
        )?;
        for (what, n) in [
            ("only the old one predicts", self.only_old),
            ("only the new one predicts", self.only_new),
            ("refused by both", self.neither),
        ] {
            if n > 0 {
                writeln!(out, "<tr><td>{what}<td>{}</tr>", share(n, rows))?;
            }
        }
        writeln!(out, "</table>")?;
        let summaries = [("absolute", &self.absolute), ("relative", &self.relative)];
        if summaries.iter().any(|(_, summary)| summary.is_some()) {
            writeln!(out, "<table><tr><th>difference<th>mean<th>p50<th>p99<th>max</tr>")?;
            for (name, summary) in summaries {
                if let Some(summary) = summary {
                    let [mean, p50, p99, max] =
                        [summary.mean, summary.p50, summary.p99, summary.max].map(digits);
                    writeln!(out, "<tr><td>{name}<td>{mean}<td>{p50}<td>{p99}<td>{max}</tr>")?;
                }
            }
            writeln!(out, "</table>")?;
        }
        Ok(())
    }

    fn write_labels(&self, out: &mut String) -> std::fmt::Result {
        if let Some(flips) = self.label_flips {
            writeln!(
                out,
                "<h2>Labels</h2>\n<p>{} rows have another label.</p>",
                share(flips, self.rows)
            )?;
            let mut labels: Vec<&str> = self
                .confusion
                .iter()
                .flat_map(|cell| [cell.old.as_str(), cell.new.as_str()])
                .collect();
            labels.sort_unstable();
            labels.dedup();
            const N_SHOWN: usize = 30;
            if labels.len() <= N_SHOWN {
                write!(out, "<table><tr><th>old \\ new")?;
                for label in &labels {
                    write!(out, "<th>{}", escape(label))?;
                }
                writeln!(out, "</tr>")?;
                for old in &labels {
                    write!(out, "<tr><td>{}", escape(old))?;
                    for new in &labels {
                        let cell =
                            self.confusion.iter().find(|cell| cell.old == *old && cell.new == *new);
                        write!(out, "<td>{}", cell.map_or(0, |cell| cell.rows))?;
                    }
                    writeln!(out, "</tr>")?;
                }
                writeln!(out, "</table>")?;
            }
        }
        if !self.probabilities.is_empty() {
            writeln!(
                out,
                "<h2>Probabilities</h2>\n<table><tr><th>label<th>mean, old<th>mean, new<th>mean shift<th>largest shift</tr>"
            )?;
            for shift in &self.probabilities {
                let [old, new, mean, max] =
                    [shift.mean_old, shift.mean_new, shift.mean_shift, shift.max_shift].map(digits);
                writeln!(
                    out,
                    "<tr><td>{}<td>{old}<td>{new}<td>{mean}<td>{max}</tr>",
                    escape(&shift.label)
                )?;
            }
            writeln!(out, "</table>")?;
        }
        Ok(())
    }
}

fn write_segments(out: &mut String, segments: &Segments) -> std::fmt::Result {
    writeln!(
        out,
        "<h2>By {}</h2>\n<table><tr><th>value<th>rows<th>over<th>mean absolute<th>mean relative<th>mean new − old<th>max absolute</tr>",
        escape(&segments.column)
    )?;
    const N_SHOWN: usize = 100;
    for segment in segments.segments.iter().take(N_SHOWN) {
        let [absolute, relative, signed, max] = [
            segment.mean_absolute,
            segment.mean_relative,
            segment.mean_signed,
            segment.max_absolute,
        ]
        .map(digits);
        writeln!(
            out,
            "<tr><td>{}<td>{}<td>{}<td>{absolute}<td>{relative}<td>{signed}<td>{max}</tr>",
            escape(&segment.value),
            segment.rows,
            segment.over
        )?;
    }
    writeln!(out, "</table>")
}

fn figure(out: &mut String, svg: &str, caption: &str) -> std::fmt::Result {
    writeln!(out, "<figure>{svg}<figcaption>{caption}</figcaption></figure>")
}

const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 320.0;
const MARGIN: f64 = 44.0;

/// From values to places on an axis.
struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    fn at(&self, value: f64) -> f64 {
        let span = self.high - self.low;
        let part = if span > 0.0 { (value - self.low) / span } else { 0.5 };
        self.from + part * (self.to - self.from)
    }
}

fn frame(svg: &mut String, x: &Axis, y: &Axis, names: (&str, &str)) -> std::fmt::Result {
    let (left, right, bottom, top) = (x.from, x.to, y.from, y.to);
    writeln!(svg, "<path class=\"axis\" fill=\"none\" d=\"M{left},{top}V{bottom}H{right}\"/>")?;
    for (value, anchor) in [(x.low, "start"), ((x.low + x.high) / 2.0, "middle"), (x.high, "end")] {
        writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>",
            x.at(value),
            bottom + 15.0,
            short(value)
        )?;
    }
    for value in [y.low, (y.low + y.high) / 2.0, y.high] {
        writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            left - 4.0,
            y.at(value) + 4.0,
            short(value)
        )?;
    }
    writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
        (left + right) / 2.0,
        bottom + 32.0,
        names.0
    )?;
    writeln!(
        svg,
        "<text x=\"{left:.1}\" y=\"{:.1}\" text-anchor=\"start\">{}</text>",
        top - 8.0,
        names.1
    )
}

/// About four digits, for an axis.
fn short(value: f64) -> String {
    let size = value.abs();
    if (1e4..1e9).contains(&size) {
        let (scaled, unit) = if size >= 1e6 { (value / 1e6, "M") } else { (value / 1e3, "k") };
        let text = format!("{scaled:.1}");
        format!("{}{unit}", text.strip_suffix(".0").unwrap_or(&text))
    } else if size == 0.0 || (1e-2..1e4).contains(&size) {
        let text = format!("{value:.2}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        format!("{value:.1e}")
    }
}

fn start() -> String {
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" role=\"img\">\n"
    )
}

/// How often the new number is how far from the old one: relative to it, or in its unit where it may be 0.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a plot: a few thousand points in 41 bars"
)]
fn histogram(points: &[(f64, f64)]) -> String {
    const N_BARS: usize = 41;
    let is_relative = points.iter().all(|(old, _)| old.abs() > f64::MIN_POSITIVE);
    let mut values: Vec<f64> = points
        .iter()
        .map(|(old, new)| if is_relative { 100.0 * (new - old) / old } else { new - old })
        .collect();
    values.sort_by(f64::total_cmp);
    // The furthest hundredth on either side goes into the outermost bars: one odd row must not flatten the rest.
    let at = |part: f64| values[((values.len() - 1) as f64 * part) as usize];
    let reach = at(0.01).abs().max(at(0.99).abs()).max(f64::MIN_POSITIVE);
    let mut bars = [0_usize; N_BARS];
    for value in &values {
        let place = (value / reach + 1.0) / 2.0 * N_BARS as f64;
        bars[(place.max(0.0) as usize).min(N_BARS - 1)] += 1;
    }
    let highest = bars.iter().copied().max().unwrap_or(1).max(1) as f64;
    let x = Axis { low: -reach, high: reach, from: MARGIN, to: WIDTH - 10.0 };
    let y = Axis { low: 0.0, high: highest, from: HEIGHT - MARGIN, to: 24.0 };
    let mut svg = start();
    let unit = if is_relative { "new − old, % of old" } else { "new − old" };
    let _infallible = frame(&mut svg, &x, &y, (unit, "rows"));
    let width = (x.to - x.from) / N_BARS as f64;
    for (bar, n) in bars.iter().enumerate().filter(|(_, n)| **n > 0) {
        let top = y.at(*n as f64);
        let left = x.from + bar as f64 * width;
        let _infallible = writeln!(
            svg,
            "<rect class=\"bar\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>",
            width - 1.0,
            y.from - top
        );
    }
    svg.push_str("</svg>");
    svg
}

/// Old numbers against new ones.
fn scatter(points: &[(f64, f64)]) -> String {
    let values = || points.iter().flat_map(|(old, new)| [*old, *new]);
    let (low, high) =
        (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
    let x = Axis { low, high, from: MARGIN, to: WIDTH - 10.0 };
    let y = Axis { low, high, from: HEIGHT - MARGIN, to: 24.0 };
    let mut svg = start();
    let _infallible = frame(&mut svg, &x, &y, ("old", "new"));
    for (old, new) in points {
        let _infallible = writeln!(
            svg,
            "<circle class=\"dot\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"2\"/>",
            x.at(*old),
            y.at(*new)
        );
    }
    let _infallible =
        writeln!(svg, "<path class=\"same\" d=\"M{},{}L{},{}\"/>", x.from, y.from, x.to, y.to);
    svg.push_str("</svg>");
    svg
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plots_take_any_points() {
        for points in
            [vec![(1.0, 1.0)], vec![(0.0, 0.0), (0.0, 1.0)], vec![(-1e300, 1e300), (5.0, 5.0)]]
        {
            for svg in [histogram(&points), scatter(&points)] {
                assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            }
        }
    }

    #[test]
    fn text_of_a_client_is_no_markup() {
        assert_eq!(escape("<b>\"&"), "&lt;b&gt;&quot;&amp;");
        assert_eq!(
            [short(12_000.0), short(1.5e6), short(0.0), short(0.25), short(1e-9)],
            ["12k", "1.5M", "0", "0.25", "1.0e-9"]
        );
    }
}
