//! Schedules of cron jobs: the five fields of cron and its `@` words, as the parser that upstream uses reads them
//! (`github.com/robfig/cron/v3`, standard form).

use std::str::FromStr;

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};

/// Farther ahead no moment is looked for: the schedule never comes (30 February).
const YEARS_AHEAD: i16 = 5;

/// When something is to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule(Form);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    Fields(Fields),
    Every(SignedDuration),
}

/// One bit for each value that a field allows.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fields {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Whether either day field begins with a star: then both must hold, else one of them.
    both_days: bool,
}

/// A text that is no schedule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// Not five fields.
    #[error("expected exactly 5 fields, found {0}: [{1}]")]
    Count(usize, String),
    /// A word that begins with `@` and is none.
    #[error("unrecognized descriptor: {0}")]
    Word(String),
    /// A number that is none.
    #[error("failed to parse int from {0}")]
    Number(String),
    /// A number outside its field.
    #[error("{what} ({value}) {side} ({bound}): {text}")]
    Range {
        /// `beginning of range` or `end of range`.
        what: &'static str,
        /// The number.
        value: u32,
        /// `below minimum` or `above maximum`.
        side: &'static str,
        /// The field's bound.
        bound: u32,
        /// The part it stands in.
        text: String,
    },
    /// A range that runs backwards.
    #[error("beginning of range ({0}) beyond end of range ({1}): {2}")]
    Backwards(u32, u32, String),
    /// A step of nothing.
    #[error("step of range should be a positive number: {0}")]
    Step(String),
    /// Too many dashes or slashes.
    #[error("too many {0}: {1}")]
    TooMany(&'static str, String),
}

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// The words and what they stand for.
const WORDS: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

impl FromStr for Schedule {
    type Err = CronError;

    fn from_str(text: &str) -> Result<Self, CronError> {
        if let Some(every) = text.strip_prefix("@every ") {
            let duration = every.parse().map_err(|_| CronError::Word(text.to_owned()))?;
            return Ok(Self(Form::Every(SignedDuration::max(duration, SignedDuration::from_secs(1)))));
        }
        if text.starts_with('@') {
            let known = WORDS.iter().find(|(word, _)| *word == text);
            return known.ok_or_else(|| CronError::Word(text.to_owned()))?.1.parse();
        }
        let parts: Vec<&str> = text.split_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = parts.as_slice() else {
            return Err(CronError::Count(parts.len(), parts.join(" ")));
        };
        let star = |field: &str| field.starts_with('*') || field.starts_with('?');
        Ok(Self(Form::Fields(Fields {
            minutes: field(minutes, 0, 59, &[])?,
            hours: field(hours, 0, 23, &[])?,
            days: field(days, 1, 31, &[])?,
            months: field(months, 1, 12, &MONTHS)?,
            weekdays: field(weekdays, 0, 6, &WEEKDAYS)?,
            both_days: star(days) || star(weekdays),
        })))
    }
}

fn field(text: &str, least: u32, most: u32, names: &[&str]) -> Result<u64, CronError> {
    let parts = text.split(',').filter(|part| !part.is_empty());
    parts.map(|part| range(part, least, most, names)).try_fold(0, |bits, part| Ok(bits | part?))
}

/// `5`, `*`, `1-5`, `*/15`, `10/5`, `mon-fri`.
fn range(text: &str, least: u32, most: u32, names: &[&str]) -> Result<u64, CronError> {
    let mut by_step = text.split('/');
    let (span, step) = (by_step.next().unwrap_or_default(), by_step.next());
    if by_step.next().is_some() {
        return Err(CronError::TooMany("slashes", text.to_owned()));
    }
    let mut ends = span.split('-');
    let (first, last) = (ends.next().unwrap_or_default(), ends.next());
    if ends.next().is_some() {
        return Err(CronError::TooMany("hyphens", text.to_owned()));
    }
    let (start, end) = match (first, last) {
        ("*" | "?", _) => (least, most),
        (first, Some(last)) => (number(first, least, names)?, number(last, least, names)?),
        // "N/step" means from N on.
        (first, None) => {
            let start = number(first, least, names)?;
            (start, if step.is_some() { most } else { start })
        }
    };
    let step = match step {
        Some(step) => step.parse().map_err(|_| CronError::Number(step.to_owned()))?,
        None => 1,
    };
    let outside =
        |what, value, side, bound| CronError::Range { what, value, side, bound, text: text.to_owned() };
    if start < least {
        return Err(outside("beginning of range", start, "below minimum", least));
    }
    if end > most {
        return Err(outside("end of range", end, "above maximum", most));
    }
    if start > end {
        return Err(CronError::Backwards(start, end, text.to_owned()));
    }
    if step == 0 {
        return Err(CronError::Step(text.to_owned()));
    }
    Ok((start..=end).step_by(usize::try_from(step).unwrap_or(usize::MAX)).fold(0, |bits, n| bits | 1 << n))
}

/// A number, or a name that stands for one.
fn number(text: &str, least: u32, names: &[&str]) -> Result<u32, CronError> {
    let lower = text.to_ascii_lowercase();
    if let Some(place) = names.iter().position(|name| *name == lower) {
        return Ok(u32::try_from(place).unwrap_or(0) + least);
    }
    text.parse().map_err(|_| CronError::Number(text.to_owned()))
}

fn has(bits: u64, value: i8) -> bool {
    u32::try_from(value).is_ok_and(|value| bits & (1 << value) != 0)
}

impl Fields {
    fn allows(&self, date: Date) -> bool {
        let weekday = date.weekday().to_sunday_zero_offset();
        let (day, weekday) = (has(self.days, date.day()), has(self.weekdays, weekday));
        has(self.months, date.month()) && if self.both_days { day && weekday } else { day || weekday }
    }

    /// The first allowed minute of a day that is not before `from`.
    fn within(&self, date: Date, from: Time) -> impl Iterator<Item = DateTime> {
        let hours = (from.hour()..24).filter(|hour| has(self.hours, *hour));
        hours.flat_map(move |hour| {
            let minutes = (0..60).filter(|minute| has(self.minutes, *minute));
            minutes.map(move |minute| date.at(hour, minute, 0, 0))
        })
    }
}

impl Schedule {
    /// The first moment after `after`, by the clocks of `zone`; none if there is none in the next years.
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let fields = match &self.0 {
            Form::Fields(fields) => fields,
            Form::Every(pause) => {
                let whole = Timestamp::from_second(after.as_second()).ok()?;
                return whole.checked_add(*pause).ok();
            }
        };
        let local = after.to_zoned(zone.clone()).datetime();
        let last = local.date().checked_add(YEARS_AHEAD.years()).ok()?;
        let mut date = local.date();
        let mut from = local.time();
        while date <= last {
            if fields.allows(date) {
                let moments = fields.within(date, from);
                let mut later = moments.filter_map(|moment| zone.to_timestamp(moment).ok());
                if let Some(moment) = later.find(|moment| *moment > after) {
                    return Some(moment);
                }
            }
            date = date.tomorrow().ok()?;
            from = Time::midnight();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(schedule: &str, after: &str, zone: &str) -> String {
        let schedule: Schedule = schedule.parse().unwrap();
        let zone = TimeZone::get(zone).unwrap_or(TimeZone::UTC);
        schedule.next(after.parse().unwrap(), &zone).map_or_else(|| "never".to_owned(), |at| at.to_string())
    }

    #[test]
    fn schedules_come_when_they_say() {
        for (schedule, after, expected) in [
            ("*/5 * * * *", "2026-11-22T10:01:30Z", "2026-11-22T10:05:00Z"),
            ("* * * * *", "2026-11-22T10:05:00Z", "2026-11-22T10:06:00Z"),
            ("0 0 29 2 *", "2026-11-22T10:00:00Z", "2028-02-29T00:00:00Z"),
            ("30 8 * * mon-fri", "2026-11-20T09:00:00Z", "2026-11-23T08:30:00Z"),
            // Both day fields set: either will do.
            ("0 12 1 * fri", "2026-11-22T00:00:00Z", "2026-11-27T12:00:00Z"),
            ("10/20 3 * JAN,jun *", "2026-11-22T00:00:00Z", "2027-01-01T03:10:00Z"),
            ("@hourly", "2026-11-22T10:00:00Z", "2026-11-22T11:00:00Z"),
            ("@every 90s", "2026-11-22T10:00:00Z", "2026-11-22T10:01:30Z"),
            ("0 0 30 2 *", "2026-11-22T00:00:00Z", "never"),
        ] {
            assert_eq!(next(schedule, after, "UTC"), expected, "{schedule}");
        }
    }

    #[test]
    fn what_is_no_schedule_is_refused_with_the_reason() {
        for (schedule, why) in [
            ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
            ("60 * * * *", "end of range (60) above maximum (59): 60"),
            ("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"),
            ("x * * * *", "failed to parse int from x"),
            ("*/0 * * * *", "step of range should be a positive number: */0"),
            ("@never", "unrecognized descriptor: @never"),
        ] {
            assert_eq!(schedule.parse::<Schedule>().unwrap_err().to_string(), why);
        }
    }
}
