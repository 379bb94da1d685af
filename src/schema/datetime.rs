//! Points in time as text: ISO 8601, in microseconds since 1970.

/// Microseconds of a second.
pub(crate) const SECOND: i64 = 1_000_000;
/// Microseconds of a day.
pub(crate) const DAY: i64 = 86_400 * SECOND;

/// Reads `YYYY-MM-DD`, then optionally `T` or a space and `HH:MM[:SS[.fraction]]`, then optionally `Z` or `±HH:MM`.
///
/// With an offset the result is in UTC, without one it is what the clock shows. Digits of the fraction beyond the sixth are
/// dropped. `None` for any other text, and for a day or an hour that does not exist.
#[must_use]
pub(crate) fn parse(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let number = |from: usize, n: usize| -> Option<i64> {
        bytes.get(from..from + n)?.iter().try_fold(0, |sum, byte| {
            byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0'))
        })
    };
    let is = |at: usize, byte: u8| bytes.get(at) == Some(&byte);
    if !(is(4, b'-') && is(7, b'-')) {
        return None;
    }
    let days = days_of(number(0, 4)?, number(5, 2)?, number(8, 2)?)?;
    let mut instant = days * DAY;
    if bytes.len() == 10 {
        return Some(instant);
    }
    if !(is(10, b'T') || is(10, b' ')) || !is(13, b':') {
        return None;
    }
    let below = |value: i64, limit: i64| (value < limit).then_some(value);
    instant += (below(number(11, 2)?, 24)? * 3600 + below(number(14, 2)?, 60)? * 60) * SECOND;
    let mut at = 16;
    if is(at, b':') {
        instant += below(number(17, 2)?, 60)? * SECOND;
        at = 19;
        if is(at, b'.') {
            at += 1;
            let digits = bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            if digits == 0 || digits > 9 {
                return None;
            }
            let kept = digits.min(6);
            instant += number(at, kept)? * 10_i64.pow(6 - u32::try_from(kept).ok()?);
            at += digits;
        }
    }
    match &bytes[at..] {
        [] | [b'Z'] => Some(instant),
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let offset =
                below(number(at + 1, 2)?, 24)? * 3600 + below(number(at + 4, 2)?, 60)? * 60;
            Some(instant - if *sign == b'+' { offset } else { -offset } * SECOND)
        }
        _ => None,
    }
}

/// Whether the year has a 29th of February.
#[must_use]
pub(crate) fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// The number of days of a month.
#[must_use]
pub(crate) fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 of a date in the Gregorian calendar, years 1 to 9999; `None` where there is no such date.
#[must_use]
pub(crate) fn days_of(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1..=9999).contains(&year)
        || !(1..=12).contains(&month)
        || !(1..=days_in_month(year, month)).contains(&day)
    {
        return None;
    }
    // Years that begin in March have their odd day at the end.
    let years = if month > 2 { year } else { year - 1 };
    let months = (month + 9) % 12;
    let day_of_year = (153 * months + 2) / 5 + day - 1;
    let (century, year_of_era) = (years.div_euclid(400), years.rem_euclid(400));
    Some(
        century * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year
            - 719_468,
    )
}

/// Year, month and day of so many days since 1970-01-01.
#[must_use]
pub(crate) fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days.saturating_add(719_468);
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let months = (5 * day_of_year + 2) / 153;
    let month = if months < 10 { months + 3 } else { months - 9 };
    let day = day_of_year - (153 * months + 2) / 5 + 1;
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

/// A point in time as ISO 8601, `YYYY-MM-DDTHH:MM:SS` with a fraction where there is one.
#[must_use]
pub(crate) fn format(micros: i64) -> String {
    let (year, month, day) = date_of(micros.div_euclid(DAY));
    let of_day = micros.rem_euclid(DAY);
    let (seconds, fraction) = (of_day / SECOND, of_day % SECOND);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let mut text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    if fraction != 0 {
        text.push_str(&format!(".{fraction:06}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_ten_thousand_years_goes_both_ways() {
        let mut expected = days_of(1, 1, 1).unwrap();
        assert_eq!(expected, -719_162);
        for year in 1..=9999 {
            for month in 1..=12 {
                for day in 1..=days_in_month(year, month) {
                    assert_eq!(days_of(year, month, day), Some(expected));
                    assert_eq!(date_of(expected), (year, month, day));
                    expected += 1;
                }
                assert_eq!(days_of(year, month, days_in_month(year, month) + 1), None);
            }
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        for text in ["1970-01-01T00:00:00", "2024-02-29T12:30:59.000001", "0001-01-01T23:00:00"] {
            assert_eq!(format(parse(text).unwrap()), text);
        }
    }

    #[test]
    fn text_is_read() {
        assert_eq!(parse("1970-01-02"), Some(DAY));
        assert_eq!(parse("1970-01-01T00:01"), Some(60 * SECOND));
        assert_eq!(parse("1970-01-01 00:00:01.5"), Some(1_500_000));
        assert_eq!(parse("1970-01-01T00:00:01.123456789Z"), Some(1_123_456));
        assert_eq!(parse("1970-01-01T01:00:00+01:00"), Some(0));
        assert_eq!(parse("1969-12-31T19:00:00-05:00"), Some(0));
        for text in [
            "",
            "1970",
            "1970-1-1",
            "1970-02-29",
            "1970-01-01T",
            "1970-01-01T24:00",
            "1970-01-01T00:00:60",
            "1970-01-01T00:00:00.",
            "1970-01-01T00:00:00+0100",
            "1970-01-01T00",
            "0000-01-01",
            "1970-01-01Z",
            "١٩٧٠-01-01",
            "1970-01-01T00:00:00.1234567890",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
