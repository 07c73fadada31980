//! When a provider may be asked again, in every spelling that upstreams use. What a body says about it is found by the
//! provider that knows the body; [`duration`] reads the text.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::StatusCode;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

/// Nobody is held back for longer than this at a time.
pub const MOST: Duration = Duration::from_hours(1);

/// Numbers from here on are no delays but seconds since 1970 …
const EPOCH_SECONDS: f64 = 1e9;
/// … and from here on milliseconds.
const EPOCH_MILLISECONDS: f64 = 1e12;

/// What the headers of a failure say: `retry-after-ms`, else `retry-after`, else, where the answer speaks of a limit,
/// the reset of the limit that was run into. Rounded up to milliseconds and at most [`MOST`].
pub fn of_answer(status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
    // A date is told by the upstream's clock, which need not be ours.
    let date = headers.get(DATE).and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
    let headers = Headers { headers, now: date.unwrap_or_else(SystemTime::now) };
    let speaks_of_limit = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    headers.retry_after().or_else(|| headers.reset().filter(|_| speaks_of_limit))
}

/// A delay as text with units: `3.5s`, `250ms`, `6m0s`, `1h30m`; `None` for anything else.
pub fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut total = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let (number, tail) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit() && c != '.')?);
        let (unit, tail) = tail.split_at(tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len()));
        let seconds = match unit {
            "d" => 86_400.0,
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" | "μs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * seconds;
        rest = tail;
    }
    delay(total)
}

/// So many seconds; `None` for what is none.
fn delay(seconds: f64) -> Option<Duration> {
    if !seconds.is_finite() || seconds < 0.0 {
        return None;
    }
    let exact = Duration::from_secs_f64(seconds.min(MOST.as_secs_f64()));
    Some(Duration::from_millis(u64::try_from(exact.as_nanos().div_ceil(1_000_000)).ok()?))
}

struct Headers<'a> {
    headers: &'a HeaderMap,
    now: SystemTime,
}

impl Headers<'_> {
    fn retry_after(&self) -> Option<Duration> {
        let milliseconds = |text: &str| self.number(text.parse::<f64>().ok()? / 1000.0);
        self.longest("retry-after-ms", milliseconds)
            .or_else(|| self.longest(RETRY_AFTER.as_str(), |text| self.delay_or_date(text)))
    }

    /// When the limits that are used up are renewed.
    fn reset(&self) -> Option<Duration> {
        const NAMED: [(&str, &str); 6] = [
            ("ratelimit-reset", "ratelimit-remaining"),
            ("x-ratelimit-reset", "x-ratelimit-remaining"),
            ("x-rate-limit-reset", "x-rate-limit-remaining"),
            ("x-ratelimit-reset-requests", "x-ratelimit-remaining-requests"),
            ("x-ratelimit-reset-tokens", "x-ratelimit-remaining-tokens"),
            ("x-ratelimit-reset-images", "x-ratelimit-remaining-images"),
        ];
        let named = NAMED.iter().filter_map(|(reset, remaining)| {
            self.is_used_up(remaining).then(|| self.longest(reset, |text| self.delay_or_date(text))).flatten()
        });
        named.chain(self.longest("ratelimit", |text| self.fields(text))).max()
    }

    /// Whether nothing remains, or nothing is said about it.
    fn is_used_up(&self, name: &str) -> bool {
        let remaining = self.headers.get(name).and_then(|value| value.to_str().ok()?.trim().parse::<f64>().ok());
        remaining.is_none_or(|remaining| remaining < 1.0)
    }

    /// `RateLimit` of the IETF's draft, in its older form (`limit=10, remaining=0, reset=7`) and its newer one
    /// (`"api";r=0;t=7`, several of them with commas between).
    fn fields(&self, text: &str) -> Option<Duration> {
        let of = |fields: &str| {
            let number = |names: [&str; 2]| {
                let field = fields.split([';', ',']).filter_map(|field| field.split_once('='));
                let named =
                    |(name, value): (&str, &str)| names.contains(&name.trim()).then(|| value.trim().parse().ok());
                field.map(named).find_map(Option::flatten)
            };
            let used_up = number(["r", "remaining"]).is_none_or(|remaining: f64| remaining < 1.0);
            number(["t", "reset"]).filter(|_| used_up).and_then(|reset| self.number(reset))
        };
        if text.contains(';') { text.split(',').filter_map(of).max() } else { of(text) }
    }

    /// The longest delay of all values of a header.
    fn longest(&self, name: &str, read: impl Fn(&str) -> Option<Duration>) -> Option<Duration> {
        self.headers.get_all(name).iter().filter_map(|value| read(value.to_str().ok()?.trim())).max()
    }

    /// A number of seconds, a text with units, or a date.
    fn delay_or_date(&self, text: &str) -> Option<Duration> {
        if let Ok(number) = text.parse::<f64>() {
            return self.number(number);
        }
        duration(text).or_else(|| {
            let date = httpdate::parse_http_date(text).ok().or_else(|| humantime::parse_rfc3339_weak(text).ok())?;
            delay(date.duration_since(self.now).unwrap_or_default().as_secs_f64())
        })
    }

    /// Seconds from now, or since 1970 where there are that many.
    fn number(&self, number: f64) -> Option<Duration> {
        if number.is_nan() || number < EPOCH_SECONDS {
            return delay(number);
        }
        let since_1970 = if number < EPOCH_MILLISECONDS { number } else { number / 1000.0 };
        let now = self.now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        delay((since_1970 - now).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Headers, and the milliseconds that they come to.
    type Case<'a> = (&'a [(&'static str, &'a str)], Option<u64>);

    fn read(status: u16, given: &[(&'static str, &str)]) -> Option<u64> {
        let mut headers = HeaderMap::new();
        for (name, value) in given {
            headers.append(*name, value.parse().unwrap());
        }
        let delay = of_answer(StatusCode::from_u16(status).unwrap(), &headers);
        delay.map(|delay| u64::try_from(delay.as_millis()).unwrap())
    }

    #[test]
    fn every_spelling_is_read() {
        const DATE: (&str, &str) = ("date", "Sun, 06 Nov 1994 08:49:30 GMT");
        let hour = Some(3_600_000);
        let cases: [Case<'_>; 50] = [
            (&[], None),
            // Seconds, whole or not.
            (&[("retry-after", "12")], Some(12_000)),
            (&[("retry-after", "0")], Some(0)),
            (&[("retry-after", " 1.5 ")], Some(1500)),
            (&[("retry-after", "16.1")], Some(16_100)),
            (&[("retry-after", "0.0001")], Some(1)),
            (&[("retry-after", "12s")], Some(12_000)),
            (&[("retry-after", "3"), ("retry-after", "7")], Some(7000)),
            // Nonsense is nothing, and too much is no more than an hour.
            (&[("retry-after", "-3")], None),
            (&[("retry-after", "soon")], None),
            (&[("retry-after", "")], None),
            (&[("retry-after", "NaN")], None),
            (&[("retry-after", "inf")], None),
            (&[("retry-after", "86400")], hour),
            (&[("retry-after", "1e300")], hour),
            (&[("retry-after", "99999999999999999999999999")], hour),
            // The three dates of RFC 9110, by the upstream's own clock.
            (&[DATE, ("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")], Some(7000)),
            (&[DATE, ("retry-after", "Sunday, 06-Nov-94 08:49:37 GMT")], Some(7000)),
            (&[DATE, ("retry-after", "Sun Nov  6 08:49:37 1994")], Some(7000)),
            (&[DATE, ("retry-after", "Sun, 06 Nov 1994 08:49:23 GMT")], Some(0)),
            (&[DATE, ("retry-after", "Mon, 07 Nov 1994 08:49:30 GMT")], hour),
            (&[("date", "yesterday"), ("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")], Some(0)),
            (&[("retry-after", "Fri, 31 Dec 9999 23:59:59 GMT")], hour),
            (&[DATE, ("retry-after", "1994-11-06T08:49:37Z")], Some(7000)),
            // Milliseconds come first, where they are any.
            (&[("retry-after-ms", "250")], Some(250)),
            (&[("retry-after", "5"), ("retry-after-ms", "250.2")], Some(251)),
            (&[("retry-after", "5"), ("retry-after-ms", "-1")], Some(5000)),
            (&[("retry-after", "5"), ("retry-after-ms", "x")], Some(5000)),
            // The limit that was run into.
            (&[("x-ratelimit-reset-requests", "1s")], Some(1000)),
            (&[("x-ratelimit-reset-requests", "6m0s")], Some(360_000)),
            (&[("x-ratelimit-reset-tokens", "250ms")], Some(250)),
            (&[("x-ratelimit-reset-requests", "1.2s"), ("x-ratelimit-reset-tokens", "20ms")], Some(1200)),
            (&[("x-ratelimit-reset-requests", "9s"), ("x-ratelimit-remaining-requests", "49")], None),
            (
                &[
                    ("x-ratelimit-reset-requests", "9s"),
                    ("x-ratelimit-remaining-requests", "49"),
                    ("x-ratelimit-reset-tokens", "3s"),
                    ("x-ratelimit-remaining-tokens", "0"),
                ],
                Some(3000),
            ),
            (&[("retry-after", "2"), ("x-ratelimit-reset-requests", "1h")], Some(2000)),
            // Seconds since 1970, by the upstream's own clock: 784111770 is too early to be told from a delay.
            (&[("date", "Tue, 14 Nov 2023 22:13:20 GMT"), ("x-ratelimit-reset", "1700000007")], Some(7000)),
            (&[("date", "Tue, 14 Nov 2023 22:13:20 GMT"), ("x-ratelimit-reset", "1700000007250")], Some(7250)),
            (&[("date", "Tue, 14 Nov 2023 22:13:20 GMT"), ("x-ratelimit-reset", "1600000000")], Some(0)),
            (&[("date", "Tue, 14 Nov 2023 22:13:20 GMT"), ("retry-after", "1700000007")], Some(7000)),
            (&[("x-ratelimit-reset", "30")], Some(30_000)),
            // The IETF's draft, in its generations.
            (&[("ratelimit-reset", "50"), ("ratelimit-remaining", "0")], Some(50_000)),
            (&[("ratelimit-reset", "50"), ("ratelimit-remaining", "3")], None),
            (&[("ratelimit", "limit=10, remaining=0, reset=7")], Some(7000)),
            (&[("ratelimit", "limit=10, remaining=1, reset=7")], None),
            (&[("ratelimit", "\"api\";r=0;t=55")], Some(55_000)),
            (&[("ratelimit", "\"api\";r=3;t=55")], None),
            (&[("ratelimit", "\"day\";r=90;t=3000, \"minute\"; r=0; t=41")], Some(41_000)),
            (&[("ratelimit", "\"api\";r=0;t=soon")], None),
            (&[("ratelimit", ";;==,,")], None),
            (&[("x-ratelimit-reset-requests", "1x")], None),
        ];
        for (given, expected) in cases {
            assert_eq!(read(429, given), expected, "{given:?}");
        }
    }

    #[test]
    fn a_reset_counts_only_where_the_answer_speaks_of_a_limit() {
        for (status, reset) in [(429, Some(5000)), (503, Some(5000)), (500, None), (401, None), (200, None)] {
            assert_eq!(read(status, &[("ratelimit-reset", "5")]), reset, "{status}");
            assert_eq!(read(status, &[("retry-after", "5")]), Some(5000), "{status}");
        }
    }

    #[test]
    fn texts_with_units_are_read() {
        let cases = [
            ("3.5s", Some(3500)),
            ("31s", Some(31_000)),
            ("31.25s", Some(31_250)),
            ("250ms", Some(250)),
            ("6m0s", Some(360_000)),
            ("1h0m0s", Some(3_600_000)),
            ("2d", Some(3_600_000)),
            ("1m2.5s", Some(62_500)),
            ("1us", Some(1)),
            ("0.000000001s", Some(1)),
            ("0s", Some(0)),
            (" 1s ", Some(1000)),
            ("", None),
            ("5", None),
            ("s", None),
            ("-1s", None),
            ("1.2.3s", None),
            ("1e3s", None),
            ("1 s", None),
            ("1s!", None),
            ("NaNs", None),
            ("\u{663}s", None),
        ];
        for (text, expected) in cases {
            assert_eq!(duration(text), expected.map(Duration::from_millis), "{text}");
        }
    }
}
