//! Values for the tests of a generated project, as TypeScript.

use serde::Serialize;

use super::{
    super::{
        naming::{human, ts_string},
        spec::{Field, Kind},
    },
    names::Names,
};

/// The values that tests give to one column.
#[derive(Debug, Clone, Serialize)]
pub struct Samples {
    /// A good value; where the column is unique it counts on with `sequence`.
    pub sample: String,
    pub uses_sequence: bool,
    /// A good value that is the same each time.
    pub static_sample: String,
    /// Another good value; the same as `static_sample` where there is no other.
    pub other: String,
    /// Values that must be refused.
    pub bad: Vec<String>,
}

/// Numbers that samples stay within, far from where JavaScript is inexact.
const LARGE: i64 = 1_000_000_000;

/// The largest number that is a literal without loss.
const LITERAL: i64 = (1 << 53) - 1;

impl Samples {
    pub fn of_field(field: &Field, unique: bool) -> Self {
        let [static_sample, other] = pair(field);
        let mut bad = bad(&field.kind);
        if field.required || field.kind == Kind::Boolean {
            bad.push("null".into());
        }
        let sample = if unique { counting(field) } else { static_sample.clone() };
        Self { uses_sequence: unique, sample, static_sample, other, bad }
    }

    pub fn of_relation(target: &Names, nullable: bool) -> Self {
        let sample = format!("(await create{}(api)).id", target.kind);
        let mut bad = vec!["0".to_owned(), "1.5".into(), "\"first\"".into()];
        if !nullable {
            bad.push("null".into());
        }
        Self {
            uses_sequence: false,
            static_sample: sample.clone(),
            other: sample.clone(),
            sample,
            bad,
        }
    }
}

/// Two different good values, if the kind has two.
fn pair(field: &Field) -> [String; 2] {
    let word = human(&field.name);
    let literals = |first: &str, second: &str| [ts_string(first), ts_string(second)];
    match &field.kind {
        Kind::Text { max } => {
            let max = *max as usize;
            let first = cut(&word, max);
            let second = cut(&format!("Another {}", field.name.replace('_', " ")), max);
            let second = if first == second { cut("Zz", max) } else { second };
            literals(&first, &second)
        }
        Kind::LongText => literals(&format!("{word},\non two lines"), &format!("Another {word}")),
        Kind::Integer { min, max } => {
            let first = first_integer(*min, *max);
            let second = if max.is_none_or(|max| first < max) {
                first + 1
            } else if min.is_none_or(|min| first > min) {
                first - 1
            } else {
                first
            };
            [first.to_string(), second.to_string()]
        }
        Kind::Decimal { min } => {
            let whole = first_integer(*min, None);
            [format!("{whole}.25"), format!("{}.5", whole + 1)]
        }
        Kind::Boolean => ["true".into(), "false".into()],
        Kind::Date => literals("2026-01-15", "2026-02-20"),
        Kind::Datetime => literals("2026-01-15T09:30:00.000Z", "2026-02-20T18:00:00.000Z"),
        Kind::Email => literals("somebody@example.com", "another@example.com"),
        Kind::Url => literals("https://example.com/page", "https://example.com/another"),
        Kind::Choice { options } => {
            let first = options.first().map_or("", String::as_str);
            literals(first, options.get(1).map_or(first, String::as_str))
        }
    }
}

/// A good value that is another one each time `sequence` has grown.
fn counting(field: &Field) -> String {
    let word = human(&field.name);
    match &field.kind {
        // Thirty-six records are more than one test makes.
        Kind::Text { max: 1 } => "(sequence % 36).toString(36)".into(),
        Kind::Text { max } if (*max as usize) < word.len() + 5 => "sequence.toString(36)".into(),
        Kind::Integer { min, max } => match (min, max) {
            (Some(min), Some(max)) if max.saturating_sub(*min) < 1000 => {
                let range = max.saturating_sub(*min).saturating_add(1);
                plus(*min, &format!("(sequence % {range})"))
            }
            (Some(min), _) => plus((*min).clamp(-LARGE, LARGE), "sequence"),
            (None, Some(max)) => plus((*max).clamp(-LARGE, LARGE), "sequence").replace('+', "-"),
            (None, None) => "sequence".into(),
        },
        Kind::Decimal { min } => {
            format!("{} + 0.25", plus(min.unwrap_or_default().clamp(-LARGE, LARGE), "sequence"))
        }
        Kind::Date => "new Date(sequence * 86_400_000).toISOString().slice(0, 10)".into(),
        Kind::Datetime => "new Date(sequence * 1000).toISOString()".into(),
        Kind::Email => "`somebody${sequence}@example.com`".into(),
        Kind::Url => "`https://example.com/${sequence}`".into(),
        _ => format!("`{word} ${{sequence}}`"),
    }
}

fn plus(number: i64, rest: &str) -> String {
    if number == 0 {
        rest.trim_matches(['(', ')']).to_owned()
    } else {
        format!("{number} + {rest}")
    }
}

fn first_integer(min: Option<i64>, max: Option<i64>) -> i64 {
    let low = min.unwrap_or(-LARGE).clamp(-LARGE, LARGE);
    let high = max.unwrap_or(LARGE).clamp(low, LARGE.max(low));
    1.clamp(low, high)
}

fn bad(kind: &Kind) -> Vec<String> {
    let texts = |texts: &[&str]| -> Vec<String> { texts.iter().map(|t| ts_string(t)).collect() };
    match kind {
        Kind::Text { max } => {
            let mut bad = vec!["\"\"".into(), format!("\"x\".repeat({})", max + 1), "7".into()];
            if *max >= 3 {
                bad.push(ts_string("a\nb"));
            }
            bad
        }
        Kind::LongText => vec!["\"\"".into(), "\"x\".repeat(10_001)".into(), "7".into()],
        Kind::Integer { min, max } => {
            let mut bad = vec!["1.5".to_owned(), "\"one\"".into()];
            bad.extend(within(min.and_then(|min| min.checked_sub(1))));
            bad.extend(within(max.and_then(|max| max.checked_add(1))));
            bad
        }
        Kind::Decimal { min } => {
            let inexact = format!("{}.125", first_integer(*min, None));
            let mut bad = vec![inexact, "\"one\"".into()];
            bad.extend(within(min.and_then(|min| min.checked_sub(1))));
            bad
        }
        Kind::Boolean => vec!["\"yes\"".into(), "1".into()],
        Kind::Date => texts(&["2026-02-30", "tomorrow", "2026-01-15T09:30:00Z"]),
        Kind::Datetime => texts(&["2026-02-30T09:30:00Z", "soon", "2026-01-15"]),
        Kind::Email => texts(&["nobody", "somebody@", "@example.com"]),
        Kind::Url => texts(&["nowhere", "ftp://example.com"]),
        Kind::Choice { .. } => texts(&["no_such_option", ""]),
    }
}

/// A number as a literal, if JavaScript has it exactly.
fn within(number: Option<i64>) -> Option<String> {
    number.filter(|number| (-LITERAL..=LITERAL).contains(number)).map(|number| number.to_string())
}

fn cut(text: &str, max: usize) -> String {
    text.chars().take(max).collect::<String>().trim_end().to_owned()
}
