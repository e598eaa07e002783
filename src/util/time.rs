//! Time as the core sees it: plain milliseconds, handed in from outside, never read here.
//!
//! [`Mono`] measures and schedules (CLOCK_BOOTTIME in the shell, virtual in tests); [`Wall`] is for
//! log lines and texts only. They are different types so that no deadline can follow a clock step.
#![forbid(unsafe_code)]

/// A moment on the monotonic clock, in milliseconds since an arbitrary origin.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Mono(pub u64);

impl Mono {
    /// Milliseconds from `earlier` to `self`; 0 if `earlier` lies in the future.
    pub fn since(self, earlier: Mono) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The moment `ms` milliseconds later.
    pub fn after(self, ms: u64) -> Mono {
        Mono(self.0.saturating_add(ms))
    }
}

/// Lets something through at most once in a while, like a log line that others can bring about.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seldom(Option<Mono>);

impl Seldom {
    /// Whether it may be done now; if so, not again within `period_ms`.
    pub fn may(&mut self, now: Mono, period_ms: u64) -> bool {
        let may = self.0.is_none_or(|last| now.since(last) >= period_ms);
        if may {
            self.0 = Some(now);
        }
        may
    }
}

/// Wall-clock time: milliseconds since 1970-01-01 UTC, and the local offset for texts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Wall {
    /// Milliseconds since the Unix epoch.
    pub unix_ms: u64,
    /// Seconds to add to UTC to get local time.
    pub utc_offset_s: i32,
}

/// What the shell reads once per turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Clock {
    pub mono: Mono,
    pub wall: Wall,
}

impl Wall {
    /// Local time like `Sun Nov 22 04:08:41 2026`; a day below 10 has a blank before it.
    pub fn ctime(self) -> String {
        let Local { year, month, day, hour, minute, second, .. } = self.local();
        let (weekday, month) = (self.weekday_name(), MONTHS[month]);
        format!("{weekday} {month} {day:>2} {hour:02}:{minute:02}:{second:02} {year}")
    }

    /// Local time like `22 Nov 2026 04:08:41.123`, as the log lines begin; a day below 10 has a
    /// zero before it.
    pub fn log_stamp(self) -> String {
        let Local { year, month, day, hour, minute, second, ms } = self.local();
        let month = MONTHS[month];
        format!("{day:02} {month} {year} {hour:02}:{minute:02}:{second:02}.{ms:03}")
    }

    /// Local seconds since 1970-01-01 00:00 local time; negative just west of Greenwich in 1970.
    fn local_s(self) -> i64 {
        // A u64 of milliseconds, divided by 1000, always fits.
        (self.unix_ms / 1000) as i64 + i64::from(self.utc_offset_s)
    }

    fn weekday_name(self) -> &'static str {
        // The epoch was a Thursday.
        WEEKDAYS[(self.local_s().div_euclid(DAY_S) + 4).rem_euclid(7) as usize]
    }

    fn local(self) -> Local {
        let days = self.local_s().div_euclid(DAY_S);
        let second = self.local_s().rem_euclid(DAY_S);
        let (year, month, day) = date_of_day(days);
        let (hour, minute) = (second / 3600, second / 60 % 60);
        let ms = self.unix_ms % 1000;
        Local { year, month, day, hour, minute, second: second % 60, ms }
    }
}

const DAY_S: i64 = 86_400;
const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A moment as people write it; `month` counts from 0.
struct Local {
    year: i64,
    month: usize,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
    ms: u64,
}

/// Year, month from 0, and day from 1 of a day that is counted from 1970-01-01.
fn date_of_day(days_since_1970: i64) -> (i64, usize, i64) {
    // The calendar repeats every 400 years; the rest is few enough to walk through.
    const DAYS_400_YEARS: i64 = 146_097;
    let days = days_since_1970 + days_from_1600_to_1970();
    let mut year = 1600 + 400 * days.div_euclid(DAYS_400_YEARS);
    let mut day = days.rem_euclid(DAYS_400_YEARS);
    while day >= days_of_year(year) {
        day -= days_of_year(year);
        year += 1;
    }
    let mut month = 0;
    while day >= days_of_month(year, month) {
        day -= days_of_month(year, month);
        month += 1;
    }
    (year, month, day + 1)
}

const fn days_from_1600_to_1970() -> i64 {
    // 370 years, their 92 years divisible by 4 (1600 to 1968), less 1700, 1800 and 1900.
    370 * 365 + 93 - 3
}

fn days_of_year(year: i64) -> i64 {
    if is_leap(year) { 366 } else { 365 }
}

fn days_of_month(year: i64, month: usize) -> i64 {
    match month {
        1 if is_leap(year) => 29,
        1 => 28,
        3 | 5 | 8 | 10 => 30,
        _ => 31,
    }
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

#[cfg(test)]
mod tests {
    use super::{Mono, Wall};

    #[test]
    fn moments_saturate() {
        assert_eq!(Mono(5).since(Mono(3)), 2);
        assert_eq!(Mono(3).since(Mono(5)), 0);
        assert_eq!(Mono(3).after(4), Mono(7));
        assert_eq!(Mono(3).after(u64::MAX), Mono(u64::MAX));
    }

    #[test]
    fn texts_of_known_moments() {
        let table = [
            (0, 0, "Thu Jan  1 00:00:00 1970", "01 Jan 1970 00:00:00.000"),
            (0, -3600, "Wed Dec 31 23:00:00 1969", "31 Dec 1969 23:00:00.000"),
            (951_782_399_999, 0, "Mon Feb 28 23:59:59 2000", "28 Feb 2000 23:59:59.999"),
            (951_782_400_001, 0, "Tue Feb 29 00:00:00 2000", "29 Feb 2000 00:00:00.001"),
            (1_795_320_521_123, 0, "Sun Nov 22 04:08:41 2026", "22 Nov 2026 04:08:41.123"),
            (1_795_320_521_123, 19_800, "Sun Nov 22 09:38:41 2026", "22 Nov 2026 09:38:41.123"),
            (1_798_761_599_050, 0, "Thu Dec 31 23:59:59 2026", "31 Dec 2026 23:59:59.050"),
            (1_798_761_599_050, 1, "Fri Jan  1 00:00:00 2027", "01 Jan 2027 00:00:00.050"),
            (4_107_542_400_000, 0, "Mon Mar  1 00:00:00 2100", "01 Mar 2100 00:00:00.000"),
        ];
        for (unix_ms, utc_offset_s, ctime, log_stamp) in table {
            let wall = Wall { unix_ms, utc_offset_s };
            assert_eq!(wall.ctime(), ctime);
            assert_eq!(wall.log_stamp(), log_stamp);
        }
    }

    #[test]
    fn every_day_of_four_centuries_follows_the_one_before() {
        let mut last = super::date_of_day(-1);
        for day in 0..146_097 {
            let date = super::date_of_day(day);
            let (year, month, of_month) = last;
            let next = (year, month, of_month + 1);
            let new_month = (year, month + 1, 1);
            let new_year = (year + 1, 0, 1);
            assert!([next, new_month, new_year].contains(&date), "{last:?} then {date:?}");
            last = date;
        }
        assert_eq!(last, (2369, 11, 31));
    }

    #[test]
    fn extreme_moments_do_not_panic() {
        for utc_offset_s in [i32::MIN, 0, i32::MAX] {
            for unix_ms in [0, u64::MAX] {
                let wall = Wall { unix_ms, utc_offset_s };
                assert!(!wall.ctime().is_empty() && !wall.log_stamp().is_empty());
            }
        }
    }
}
