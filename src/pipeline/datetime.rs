//! Parts of points in time: the calendar, and the clock.

use serde::Deserialize;

use super::column::{Dtype, Slots, View};
use super::{Operation, PipelineError, Plan, RowProblem, Run, Slot, quoted};
use crate::schema::datetime as iso;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DatetimeSpec {
    column: String,
    #[serde(default)]
    formats: Option<Vec<String>>,
    #[serde(default)]
    zone: Option<ZoneSpec>,
    outputs: Vec<OutputSpec>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OutputSpec {
    part: Part,
    output: String,
}

/// A time zone: its offset from UTC before the first change, and after each.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct ZoneSpec {
    /// Seconds since 1970, UTC, ascending.
    changes: Vec<i64>,
    /// Seconds; one more than changes.
    offsets: Vec<i64>,
}

/// What is taken of a point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Part {
    Year,
    Semester,
    Quarter,
    Month,
    Week,
    DayOfWeek,
    DayOfMonth,
    DayOfYear,
    Weekend,
    MonthStart,
    MonthEnd,
    QuarterStart,
    QuarterEnd,
    YearStart,
    YearEnd,
    LeapYear,
    DaysInMonth,
    Hour,
    Minute,
    Second,
    /// Days, 1 for 0001-01-01: `datetime.toordinal`.
    Ordinal,
    /// Microseconds since 1970.
    Microseconds,
}

/// New int64 columns with parts of the points in time in one column.
///
/// - Input: a column of dates, or of text that one of `formats` reads; a text that none reads is an error of the row.
/// - Output: int64, missing where the input is. With `zone` the parts are those of the clock there.
/// - Same as `Series.dt` of pandas 1.5 to 3 (`week` is that of ISO 8601, `day_of_week` 0 on Monday), hence as
///   `DatetimeFeatures` and `DatetimeOrdinal` of feature-engine 1.5 to 1.9.
#[derive(Debug)]
pub(super) struct DatetimeStep {
    step: usize,
    input: Slot,
    column: String,
    formats: Vec<Format>,
    zone: Option<ZoneSpec>,
    /// The first of as many slots as there are parts.
    output: Slot,
    parts: Vec<Part>,
}

/// How a text is read, by the directives of `strptime`.
#[derive(Debug)]
enum Format {
    /// ISO 8601, as in a field of dates.
    Iso,
    Directives(Vec<Directive>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Directive {
    Literal(char),
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
    Fraction,
}

pub(super) fn load(plan: &mut Plan, spec: DatetimeSpec) -> Result<(), PipelineError> {
    let input = plan.slot(&spec.column)?;
    let wrong = |problem: String| plan.error(Some(&spec.column), problem);
    let formats = match (&plan.slots[input].dtype, &spec.formats) {
        (Dtype::Datetime, None) => Vec::new(),
        (Dtype::Datetime, Some(_)) => {
            return Err(wrong("this column holds dates; `formats` are for text".to_owned()));
        }
        (Dtype::Text, Some(formats)) if !formats.is_empty() => formats
            .iter()
            .map(|format| Format::load(format).map_err(wrong))
            .collect::<Result<_, _>>()?,
        (Dtype::Text, _) => {
            return Err(wrong("this column holds text, so `formats` is needed".to_owned()));
        }
        _ => {
            return Err(wrong(format!(
                "`{}` needs a column of dates, but this one holds numbers or categories",
                plan.step
            )));
        }
    };
    if let Some(zone) = &spec.zone
        && (zone.offsets.len() != zone.changes.len() + 1 || !zone.changes.is_sorted())
    {
        return Err(wrong(
            "a zone has ascending changes, and one more offset than changes".to_owned(),
        ));
    }
    if spec.outputs.is_empty() {
        return Err(wrong("`outputs` is empty".to_owned()));
    }
    let mut first = None;
    for output in &spec.outputs {
        let slot = plan.derive(Dtype::Int, &[input]);
        first.get_or_insert(slot);
        plan.append(&output.output, slot)?;
    }
    plan.operations.push(Operation::Datetime(DatetimeStep {
        step: plan.index,
        input,
        column: spec.column,
        formats,
        zone: spec.zone,
        output: first.unwrap_or_default(),
        parts: spec.outputs.iter().map(|output| output.part).collect(),
    }));
    Ok(())
}

impl DatetimeStep {
    pub(super) fn run(&self, slots: &mut Slots<'_>, n_rows: usize, run: &mut Run<'_>) {
        let (before, outputs) = slots.split(self.output, self.parts.len());
        let column = before.read(self.input);
        for (at, (part, output)) in self.parts.iter().zip(outputs).enumerate() {
            let output = output.as_ints();
            for row in 0..n_rows {
                match self.read(column, row, at == 0, run) {
                    Some(instant) => output.push(part.of(self.local(instant))),
                    None => output.push_missing(),
                }
            }
        }
    }

    fn read(&self, column: View<'_>, row: usize, reports: bool, run: &mut Run<'_>) -> Option<i64> {
        let text = match column {
            View::Int(column) => return column.get(row),
            View::Text(column) => column.get(row)?,
            View::Float(_) | View::Category(_) | View::Tensor(_) | View::Image(_) => return None,
        };
        let instant = self.formats.iter().find_map(|format| format.read(text));
        if instant.is_none() && reports {
            let field = run.pipeline.slots[self.input].fields.first().copied();
            run.refuse(row, self.step, |run| {
                let step = run.pipeline.step_names[self.step].clone();
                let found = quoted(text);
                let (column, expected) = (self.column.clone(), "a date");
                (field, RowProblem::UnfitText { step, column, expected, found })
            });
        }
        instant
    }

    fn local(&self, instant: i64) -> i64 {
        let Some(zone) = &self.zone else { return instant };
        let seconds = instant.div_euclid(iso::SECOND);
        let at = zone.changes.partition_point(|change| *change <= seconds);
        instant.saturating_add(zone.offsets[at].saturating_mul(iso::SECOND))
    }
}

impl Format {
    fn load(format: &str) -> Result<Self, String> {
        if format == "ISO8601" {
            return Ok(Self::Iso);
        }
        let mut directives = Vec::new();
        let mut chars = format.chars();
        while let Some(c) = chars.next() {
            directives.push(match c {
                '%' => match chars.next() {
                    Some('Y') => Directive::Year,
                    Some('m') => Directive::Month,
                    Some('d') => Directive::Day,
                    Some('H') => Directive::Hour,
                    Some('M') => Directive::Minute,
                    Some('S') => Directive::Second,
                    Some('f') => Directive::Fraction,
                    Some('%') => Directive::Literal('%'),
                    other => {
                        return Err(format!(
                            "the format {format:?} has the directive `%{}`; known are %Y, %m, %d, %H, %M, %S, %f, %% and \
                             the format \"ISO8601\"",
                            other.map_or_else(String::new, String::from)
                        ));
                    }
                },
                c => Directive::Literal(c),
            });
        }
        if ![Directive::Year, Directive::Month, Directive::Day]
            .iter()
            .all(|needed| directives.contains(needed))
        {
            return Err(format!("the format {format:?} lacks one of %Y, %m and %d"));
        }
        Ok(Self::Directives(directives))
    }

    fn read(&self, text: &str) -> Option<i64> {
        let directives = match self {
            Self::Iso => return iso::parse(text),
            Self::Directives(directives) => directives,
        };
        let mut rest = text;
        let take = |most: usize, rest: &mut &str| -> Option<(i64, usize)> {
            let n = rest.bytes().take(most).take_while(u8::is_ascii_digit).count();
            let (digits, after) = rest.split_at_checked(n)?;
            *rest = after;
            Some((digits.parse().ok()?, n))
        };
        let (mut date, mut clock) = ((0, 0, 0), 0);
        for directive in directives {
            match directive {
                Directive::Literal(c) => rest = rest.strip_prefix(*c)?,
                Directive::Year => {
                    let (year, digits) = take(4, &mut rest)?;
                    if digits != 4 {
                        return None;
                    }
                    date.0 = year;
                }
                Directive::Month => date.1 = take(2, &mut rest)?.0,
                Directive::Day => date.2 = take(2, &mut rest)?.0,
                Directive::Hour => {
                    let hour = take(2, &mut rest)?.0;
                    clock += (hour < 24).then_some(hour * 3600)? * iso::SECOND;
                }
                Directive::Minute => {
                    let minute = take(2, &mut rest)?.0;
                    clock += (minute < 60).then_some(minute * 60)? * iso::SECOND;
                }
                Directive::Second => {
                    let second = take(2, &mut rest)?.0;
                    clock += (second < 60).then_some(second)? * iso::SECOND;
                }
                Directive::Fraction => {
                    let (fraction, digits) = take(6, &mut rest)?;
                    clock += fraction * 10_i64.pow(6 - u32::try_from(digits).ok()?);
                }
            }
        }
        if !rest.is_empty() {
            return None;
        }
        Some(iso::days_of(date.0, date.1, date.2)? * iso::DAY + clock)
    }
}

impl Part {
    /// Of microseconds since 1970 on a clock.
    fn of(self, instant: i64) -> i64 {
        let days = instant.div_euclid(iso::DAY);
        let seconds = instant.rem_euclid(iso::DAY) / iso::SECOND;
        let (year, month, day) = iso::date_of(days);
        let leap = iso::is_leap(year);
        let last = iso::days_in_month(year, month);
        // 1970-01-01 was a Thursday.
        let weekday = (days + 3).rem_euclid(7);
        let day_of_year = || days - iso::days_of(year, 1, 1).unwrap_or(days) + 1;
        match self {
            Self::Year => year,
            Self::Semester => 1 + i64::from(month > 6),
            Self::Quarter => (month + 2) / 3,
            Self::Month => month,
            Self::Week => {
                // The week belongs to the year of its Thursday.
                let thursday = days - weekday + 3;
                let (year, ..) = iso::date_of(thursday);
                (thursday - iso::days_of(year, 1, 1).unwrap_or(thursday)) / 7 + 1
            }
            Self::DayOfWeek => weekday,
            Self::DayOfMonth => day,
            Self::DayOfYear => day_of_year(),
            Self::Weekend => i64::from(weekday > 4),
            Self::MonthStart => i64::from(day == 1),
            Self::MonthEnd => i64::from(day == last),
            Self::QuarterStart => i64::from(day == 1 && month % 3 == 1),
            Self::QuarterEnd => i64::from(day == last && month % 3 == 0),
            Self::YearStart => i64::from(day == 1 && month == 1),
            Self::YearEnd => i64::from(day == 31 && month == 12),
            Self::LeapYear => i64::from(leap),
            Self::DaysInMonth => last,
            Self::Hour => seconds / 3600,
            Self::Minute => seconds / 60 % 60,
            Self::Second => seconds % 60,
            Self::Ordinal => days + 719_163,
            Self::Microseconds => instant,
        }
    }
}
