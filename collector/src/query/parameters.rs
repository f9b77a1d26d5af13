//! Query strings -> checked parameters. What is wrong is said in the words of the API's error object.

use super::answer::ApiError;
use crate::span::{Text, TraceId};
use crate::store::rollup::Subject;
use std::collections::HashMap;
use std::ops::Range;

/// The longest range that is answered.
const MAX_RANGE_NS: u64 = 92 * 86_400_000_000_000;
const DEFAULT_RANGE_NS: u64 = 300_000_000_000;
const MAX_TEXT_BYTES: usize = 4_096;

/// The parameters of a request, as given.
#[derive(Debug, Default)]
pub struct Parameters(pub HashMap<String, String>);

impl Parameters {
    /// `from_ms..to_ms` in Unix nanoseconds; the last five minutes where not given.
    ///
    /// # Errors
    /// `bad_range` when it is no number, empty or longer than 92 days.
    pub fn range_ns(&self, now_unix_ns: u64) -> Result<Range<u64>, ApiError> {
        let bad = |message: &str| ApiError::bad("bad_range", message);
        let time = |name| -> Result<Option<u64>, ApiError> {
            self.get(name)?
                .map(|text| {
                    milliseconds(text).ok_or_else(|| bad(&format!("{name} must be Unix milliseconds")))
                })
                .transpose()
        };
        let to = time("to_ms")?.unwrap_or(now_unix_ns.saturating_add(1));
        let from = time("from_ms")?.unwrap_or(to.saturating_sub(DEFAULT_RANGE_NS));
        if from >= to {
            return Err(bad("from_ms must be less than to_ms"));
        }
        if to - from > MAX_RANGE_NS {
            return Err(bad("the range must not exceed 92 days"));
        }
        Ok(from..to)
    }

    /// `node` or `edge`.
    ///
    /// # Errors
    /// `bad_parameter` when both are given or an edge is not `SOURCE->TARGET`.
    pub fn subject(&self) -> Result<Option<Subject>, ApiError> {
        match (self.get("node")?, self.get("edge")?) {
            (Some(_), Some(_)) => Err(ApiError::bad("bad_parameter", "give node or edge, not both")),
            (Some(node), None) => Ok(Some(Subject::Node(Text::from(node)))),
            (None, Some(edge)) => match edge.split_once("->") {
                Some((source, target)) => Ok(Some(Subject::Edge {
                    source: Text::from(source),
                    target: Text::from(target),
                })),
                None => Err(ApiError::bad("bad_parameter", "an edge is SOURCE->TARGET")),
            },
            (None, None) => Ok(None),
        }
    }

    /// As [`Parameters::subject`], but one must be given.
    ///
    /// # Errors
    /// `bad_parameter`.
    pub fn required_subject(&self) -> Result<Subject, ApiError> {
        self.subject()?
            .ok_or_else(|| ApiError::bad("bad_parameter", "node or edge is required"))
    }

    /// A whole number within bounds.
    ///
    /// # Errors
    /// `bad_parameter`.
    pub fn number(&self, name: &str, default: usize, allowed: Range<usize>) -> Result<usize, ApiError> {
        let Some(text) = self.get(name)? else {
            return Ok(default);
        };
        text.parse()
            .ok()
            .filter(|number| allowed.contains(number))
            .ok_or_else(|| {
                let message = format!(
                    "{name} must be a number from {} to {}",
                    allowed.start,
                    allowed.end - 1
                );
                ApiError::bad("bad_parameter", &message)
            })
    }

    /// A duration in milliseconds, as nanoseconds.
    ///
    /// # Errors
    /// `bad_parameter`.
    pub fn duration_ns(&self, name: &str) -> Result<Option<u64>, ApiError> {
        let bad = || ApiError::bad("bad_parameter", &format!("{name} must be milliseconds"));
        self.get(name)?
            .map(|text| milliseconds(text).ok_or_else(bad))
            .transpose()
    }

    /// One of the given words.
    ///
    /// # Errors
    /// `bad_parameter`.
    pub fn word<T: Copy>(&self, name: &str, default: T, words: &[(&str, T)]) -> Result<T, ApiError> {
        let Some(text) = self.get(name)? else {
            return Ok(default);
        };
        words
            .iter()
            .find(|(word, _)| *word == text)
            .map(|(_, meaning)| *meaning)
            .ok_or_else(|| {
                let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
                ApiError::bad(
                    "bad_parameter",
                    &format!("{name} must be one of {}", known.join(", ")),
                )
            })
    }

    /// The text as given; an empty one counts as not given.
    ///
    /// # Errors
    /// `bad_parameter` when it is too long.
    pub fn get(&self, name: &str) -> Result<Option<&str>, ApiError> {
        match self
            .0
            .get(name)
            .map(String::as_str)
            .filter(|text| !text.is_empty())
        {
            Some(text) if text.len() > MAX_TEXT_BYTES => {
                Err(ApiError::bad("bad_parameter", &format!("{name} is too long")))
            }
            text => Ok(text),
        }
    }
}

/// # Errors
/// `bad_trace_id` when it is not 32 hexadecimal digits.
pub fn trace_id(text: &str) -> Result<TraceId, ApiError> {
    let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let id = if digits {
        TraceId::from_str_radix(text, 16).ok()
    } else {
        None
    };
    id.ok_or_else(|| ApiError::bad("bad_trace_id", "a trace id is 32 hexadecimal digits"))
}

/// Milliseconds, possibly with a fraction, as nanoseconds.
fn milliseconds(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut nanoseconds = whole.parse::<u64>().ok()?.checked_mul(1_000_000)?;
    if fraction.bytes().any(|byte| !byte.is_ascii_digit()) {
        return None;
    }
    for (digit, unit) in fraction.bytes().zip([100_000, 10_000, 1_000, 100, 10, 1]) {
        nanoseconds = nanoseconds.checked_add(u64::from(digit - b'0') * unit)?;
    }
    Some(nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> Parameters {
        Parameters(
            pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        )
    }

    #[test]
    fn milliseconds_are_exact() {
        assert_eq!(
            milliseconds("1700000000123.000001"),
            Some(1_700_000_000_123_000_001)
        );
        assert_eq!(milliseconds("1.5"), Some(1_500_000));
        for bad in ["", "-1", "1e3", "1.x", "99999999999999999999", ".5"] {
            assert_eq!(milliseconds(bad), None, "{bad}");
        }
    }

    #[test]
    fn ranges_default_to_the_last_five_minutes_and_are_checked() {
        let now = 1_000_000_000_000;
        assert_eq!(
            of(&[]).range_ns(now).unwrap(),
            now + 1 - DEFAULT_RANGE_NS..now + 1
        );
        assert_eq!(
            of(&[("from_ms", "5"), ("to_ms", "6.5")]).range_ns(now).unwrap(),
            5_000_000..6_500_000
        );
        for bad in [
            &[("from_ms", "7"), ("to_ms", "7")],
            &[("from_ms", "x"), ("to_ms", "7")],
        ] {
            assert_eq!(of(bad).range_ns(now).unwrap_err().code, "bad_range");
        }
        assert!(
            of(&[("from_ms", "0"), ("to_ms", "99999999999")])
                .range_ns(now)
                .is_err()
        );
    }

    #[test]
    fn subjects_and_ids() {
        let edge = of(&[("edge", "user:outside->service:a")])
            .required_subject()
            .unwrap();
        assert_eq!(
            edge,
            Subject::Edge {
                source: Text::from("user:outside"),
                target: Text::from("service:a")
            }
        );
        assert!(of(&[("edge", "x")]).subject().is_err() && of(&[]).required_subject().is_err());
        assert!(of(&[("node", "a"), ("edge", "a->b")]).subject().is_err());
        assert_eq!(trace_id("000000000000000000000000000000ff").unwrap(), 255);
        assert!(trace_id("+00000000000000000000000000000ff").is_err() && trace_id("ff").is_err());
    }
}
