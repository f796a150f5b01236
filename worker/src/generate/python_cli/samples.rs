//! Values that the tests and documents of a generated project use: valid, varied and wrong ones.

use crate::generate::naming::{python_string, words};
use crate::generate::spec::{Field, Kind};

/// A value as the user types it, and as the program prints it in JSON, written in Python.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    pub typed: String,
    pub json: String,
}

/// Two values of a field that differ wherever the kind has two.
pub fn pair(field: &Field) -> [Sample; 2] {
    let text = |typed: &str| Sample { typed: typed.to_owned(), json: python_string(typed) };
    let texts = |one: &str, other: &str| [text(one), text(other)];
    match &field.kind {
        Kind::Text { max } => {
            // Longer examples would not fit a line of code beside a long option.
            let (name, max) = (words(&field.name), max.min(&30));
            texts(&cut(&format!("Example {name}"), *max), &cut(&format!("Other {name}"), *max))
        }
        Kind::LongText => texts("An example, with \"quotes\" and ünïcode", "Something else"),
        Kind::Integer { min, max } => whole_pair(*min, *max)
            .map(|value| Sample { typed: value.to_string(), json: value.to_string() }),
        Kind::Decimal { min } => {
            let low = min.unwrap_or(0).max(12);
            texts(&format!("{low}.50"), &format!("{}.25", low + 1))
        }
        Kind::Boolean => [
            Sample { typed: "yes".to_owned(), json: "True".to_owned() },
            Sample { typed: "no".to_owned(), json: "False".to_owned() },
        ],
        Kind::Date => texts("2026-01-15", "2026-02-20"),
        Kind::Datetime => texts("2026-01-15T09:30:00Z", "2026-02-20T18:00:00Z"),
        Kind::Email => texts("one@example.com", "other@example.org"),
        Kind::Url => texts("https://example.com/one", "https://example.org/other?page=2"),
        Kind::Choice { options } => {
            let option = |index: usize| text(options.get(index).map_or("", String::as_str));
            [option(0), option(1)]
        }
    }
}

/// A Python f-string body that differs for each `{number}` from 1, for fields whose values may not
/// repeat.
pub fn numbered(field: &Field) -> String {
    match &field.kind {
        Kind::Text { max } => match max.checked_sub(4) {
            Some(room) if room > 0 => format!("{}{{number}}", cut("example-", room)),
            _ => "{number}".to_owned(),
        },
        Kind::LongText => "Example {number}".to_owned(),
        Kind::Integer { min, max } => match whole_pair(*min, *max) {
            [1, 2] => "{number}".to_owned(),
            [one, other] if other < one => format!("{{{} - number}}", one.saturating_add(1)),
            [0, _] => "{number - 1}".to_owned(),
            [one, _] => format!("{{{} + number}}", one.saturating_sub(1)),
        },
        Kind::Decimal { min } => format!("{{{} + number}}.50", min.unwrap_or(0).max(0)),
        Kind::Boolean => "{'yes' if number % 2 else 'no'}".to_owned(),
        Kind::Date => "2026-01-{number:02}".to_owned(),
        Kind::Datetime => "2026-01-{number:02}T09:30:00Z".to_owned(),
        Kind::Email => "person{number}@example.com".to_owned(),
        Kind::Url => "https://example.com/{number}".to_owned(),
        Kind::Choice { options } => {
            let [one, other] = [0, 1].map(|at| options.get(at).map_or("", String::as_str));
            format!("{{'{one}' if number % 2 else '{other}'}}")
        }
    }
}

/// Values that must be refused, as Python expressions.
pub fn wrong(field: &Field) -> Vec<String> {
    let literals = |texts: &[&str]| texts.iter().map(|text| python_string(text)).collect();
    match &field.kind {
        Kind::Text { max } => {
            vec![python_string(""), python_string("a\\nb").replace("\\\\", "\\"), too_long(*max)]
        }
        Kind::LongText => vec![python_string(" "), too_long(10_000)],
        Kind::Integer { min, max } => {
            let mut wrong: Vec<String> = literals(&["many", "1.5", "9223372036854775808"]);
            wrong
                .extend(min.and_then(|min| min.checked_sub(1)).map(|value| format!("\"{value}\"")));
            wrong
                .extend(max.and_then(|max| max.checked_add(1)).map(|value| format!("\"{value}\"")));
            wrong
        }
        Kind::Decimal { min } => {
            let mut wrong: Vec<String> = literals(&["much", "1.234", "NaN"]);
            wrong.extend(min.map(|min| {
                format!("\"{}.99\"", min.saturating_sub(2)).replace(
                    // One below zero would read as above minus one otherwise.
                    "-2.99", "-0.01",
                )
            }));
            wrong
        }
        Kind::Boolean => literals(&["maybe"]),
        Kind::Date => literals(&["tomorrow", "2026-02-30", "20260101"]),
        Kind::Datetime => literals(&["noon", "2026-02-30T00:00:00Z", "2026-01-01"]),
        Kind::Email => literals(&["nobody", "two@@example.com", "a b@example.com"]),
        Kind::Url => literals(&["example.com", "ftp://example.com", "https://"]),
        Kind::Choice { .. } => literals(&["", "no such option"]),
    }
}

/// A value above zero, where the bounds allow one.
pub fn positive(field: &Field) -> Option<String> {
    match &field.kind {
        Kind::Integer { max: Some(max), .. } if *max < 1 => None,
        Kind::Integer { min, .. } => Some(min.unwrap_or(1).max(1).to_string()),
        Kind::Decimal { min } => Some(format!("{}.00", min.unwrap_or(1).max(1))),
        _ => None,
    }
}

/// A value that is not above zero, where the bounds allow one.
pub fn not_positive(field: &Field) -> Option<String> {
    match &field.kind {
        Kind::Integer { min, max } if min.is_none_or(|min| min <= 0) => {
            Some(max.unwrap_or(0).min(0).to_string())
        }
        Kind::Decimal { min } if min.is_none_or(|min| min <= 0) => Some("0".to_owned()),
        _ => None,
    }
}

/// Two numbers within the bounds, near 1 and rising where there is room.
fn whole_pair(min: Option<i64>, max: Option<i64>) -> [i64; 2] {
    let (low, high) = (min.unwrap_or(i64::MIN), max.unwrap_or(i64::MAX));
    let one = 1.clamp(low, high.max(low));
    if one < high {
        [one, one + 1]
    } else if one > low {
        [one, one - 1]
    } else {
        [one, one]
    }
}

fn cut(text: &str, longest: u32) -> String {
    let longest = usize::try_from(longest).unwrap_or(usize::MAX);
    text.chars().take(longest).collect::<String>().trim_end().to_owned()
}

fn too_long(longest: u32) -> String {
    format!("\"x\" * {}", longest.saturating_add(1))
}
