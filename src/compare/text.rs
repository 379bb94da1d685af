//! A report for people.

use std::fmt::Write as _;

use super::{Report, Summary};

/// Rows of a table of segments that are shown.
const N_SEGMENTS: usize = 25;

impl Report {
    /// The report as text.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        // Writing to a string cannot fail.
        let _infallible = self.write_text(&mut out);
        out.truncate(out.trim_end().len());
        out
    }

    fn write_text(&self, out: &mut String) -> std::fmt::Result {
        let Self { old, new, rows, .. } = self;
        writeln!(out, "{} against {}: {}", old.model, new.model, self.verdict())?;
        writeln!(out, "  rows        {rows}")?;
        writeln!(out, "  identical   {}", share(self.identical, *rows))?;
        writeln!(out, "  within      {}  ({})", share(self.within, *rows), self.tolerated())?;
        writeln!(
            out,
            "  over        {}  (allowed: {})",
            share(self.over, *rows),
            self.allowed_over
        )?;
        if self.only_old + self.only_new > 0 {
            writeln!(
                out,
                "    of them   {} only {} predicts, {} only {} predicts",
                self.only_old, old.model, self.only_new, new.model
            )?;
        }
        if self.neither > 0 {
            writeln!(out, "  refused     {} by both", self.neither)?;
        }
        let sample = if self.quantiles_of_a_sample { "  (p50 and p99 of a sample)" } else { "" };
        for (name, summary) in [("absolute", &self.absolute), ("relative", &self.relative)] {
            if let Some(Summary { mean, p50, p99, max }) = summary {
                writeln!(
                    out,
                    "  {name}    mean {}, p50 {}, p99 {}, max {}{sample}",
                    digits(*mean),
                    digits(*p50),
                    digits(*p99),
                    digits(*max)
                )?;
            }
        }
        if let Some(flips) = self.label_flips {
            writeln!(out, "  label flips {}", share(flips, *rows))?;
            writeln!(out, "\nold label -> new label")?;
            for cell in &self.confusion {
                writeln!(out, "  {} -> {}: {}", cell.old, cell.new, cell.rows)?;
            }
        }
        if !self.probabilities.is_empty() {
            writeln!(out, "\nprobabilities: mean old, mean new, mean shift, max shift")?;
            for shift in &self.probabilities {
                writeln!(
                    out,
                    "  {}: {}, {}, {}, {}",
                    shift.label,
                    digits(shift.mean_old),
                    digits(shift.mean_new),
                    digits(shift.mean_shift),
                    digits(shift.max_shift)
                )?;
            }
        }
        for segments in &self.by {
            writeln!(
                out,
                "\nby {}: rows, over, mean absolute, mean relative, max absolute",
                segments.column
            )?;
            let width = segments
                .segments
                .iter()
                .take(N_SEGMENTS)
                .map(|segment| segment.value.chars().count())
                .max()
                .unwrap_or(0);
            for segment in segments.segments.iter().take(N_SEGMENTS) {
                writeln!(
                    out,
                    "  {:width$}  {:>6}  {:>6}  {:>10}  {:>10}  {:>10}",
                    segment.value,
                    segment.rows,
                    segment.over,
                    digits(segment.mean_absolute),
                    digits(segment.mean_relative),
                    digits(segment.max_absolute),
                )?;
            }
            if segments.segments.len() > N_SEGMENTS {
                writeln!(out, "  … ({} in all)", segments.segments.len())?;
            }
        }
        if !self.worst.is_empty() {
            writeln!(out, "\nworst rows")?;
            for row in &self.worst {
                let by = row
                    .difference
                    .map(|by| format!(" ({}{})", if by > 0.0 { "+" } else { "" }, digits(by)))
                    .unwrap_or_default();
                writeln!(out, "  {}: {} -> {}{by}", row.row, row.old, row.new)?;
                writeln!(out, "    {}", row.input)?;
            }
        }
        if !self.changes.is_empty() {
            writeln!(out, "\nthe artifacts")?;
            for word in &self.changes {
                writeln!(out, "  {}: {}", word.part, word.text)?;
            }
        }
        Ok(())
    }

    /// The outcome in a few words.
    pub(super) fn verdict(&self) -> String {
        if self.identical == self.rows {
            "all rows are identical".to_owned()
        } else if self.passed {
            "within the tolerance".to_owned()
        } else {
            format!("{} of {} rows are over the tolerance", self.over, self.rows)
        }
    }

    pub(super) fn tolerated(&self) -> String {
        format!(
            "absolute {} + relative {}",
            digits(self.tolerance.absolute),
            digits(self.tolerance.relative)
        )
    }
}

/// A count and its share.
pub(super) fn share(n: u64, of: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let share = if of == 0 { 0.0 } else { 100.0 * n as f64 / of as f64 };
    format!("{n} ({share:.2}%)")
}

/// About six digits of a number.
pub(super) fn digits(value: f64) -> String {
    let size = value.abs();
    if size == 0.0 {
        "0".to_owned()
    } else if (1e-3..1e7).contains(&size) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 8")]
        let decimals = (5.0 - size.log10().floor()).clamp(0.0, 8.0) as usize;
        let text = format!("{value:.decimals$}");
        if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            text
        }
    } else {
        format!("{value:.3e}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shown_with_about_six_digits() {
        let shown =
            [0.0, 1.0, 1234.5678, 0.001_234_567_8, 1e-9, 2.5e9, -17.0, 99_999.96].map(digits);
        assert_eq!(
            shown,
            ["0", "1", "1234.57", "0.00123457", "1.000e-9", "2.500e9", "-17", "100000"]
        );
    }
}
