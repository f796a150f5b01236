//! What each kind of field is in Python: its column, its checks, and values to test it with.
//!
//! Every value here is a Python expression; those for factories may use the name `number`, which
//! is another integer from 1 upward each time.

use crate::generate::{
    naming,
    spec::{Field, Kind},
};

/// Columns of this type hold whole numbers up to this size.
const INTEGER_MAX: i128 = i32::MAX as i128;

/// The type of the column, as SQLAlchemy names it.
pub fn column(field: &Field, choice: &str, constraint: &str) -> String {
    match &field.kind {
        Kind::Text { max } => format!("sa.String({max})"),
        Kind::LongText => "sa.Text".into(),
        Kind::Integer { .. } => match bounds(&field.kind) {
            (low, high) if low >= -INTEGER_MAX - 1 && high <= INTEGER_MAX => "sa.Integer".into(),
            _ => "sa.BigInteger".into(),
        },
        Kind::Decimal { .. } => "TwoPlaces".into(),
        Kind::Boolean => "sa.Boolean".into(),
        Kind::Date => "sa.Date".into(),
        Kind::Datetime => "UtcDateTime".into(),
        Kind::Email => "sa.String(254)".into(),
        Kind::Url => "sa.String(2083)".into(),
        Kind::Choice { .. } => format!(
            "sa.Enum(*get_args({choice}), name=\"{constraint}\", native_enum=False, \
             create_constraint=True)"
        ),
    }
}

/// The type of the value in Python.
pub fn python(kind: &Kind, choice: &str) -> String {
    match kind {
        Kind::Text { .. } | Kind::LongText | Kind::Email | Kind::Url => "str".into(),
        Kind::Integer { .. } => "int".into(),
        Kind::Decimal { .. } => "Decimal".into(),
        Kind::Boolean => "bool".into(),
        Kind::Date => "dt.date".into(),
        Kind::Datetime => "dt.datetime".into(),
        Kind::Choice { .. } => choice.into(),
    }
}

/// The checked type in a request, where it needs no bounds of its own.
pub fn checked(kind: &Kind, choice: &str) -> Option<String> {
    match kind {
        Kind::Text { .. } | Kind::Integer { .. } | Kind::Decimal { min: Some(_) } => None,
        Kind::LongText => Some("Paragraphs".into()),
        Kind::Decimal { min: None } => Some("Amount".into()),
        Kind::Email => Some("EmailStr".into()),
        Kind::Url => Some("WebAddress".into()),
        Kind::Datetime => Some("UtcDatetime".into()),
        Kind::Boolean | Kind::Date | Kind::Choice { .. } => Some(python(kind, choice)),
    }
}

/// The end of the alias, the base and the bounds of a type that needs bounds of its own.
pub fn bounded(kind: &Kind) -> Option<(&'static str, &'static str, String)> {
    match kind {
        Kind::Text { max } => Some(("Text", "OneLine", format!("Field(max_length={max})"))),
        Kind::Integer { .. } => {
            let (low, high) = bounds(kind);
            let low = if low == -INTEGER_MAX - 1 { "INTEGER_MIN".into() } else { low.to_string() };
            let high = if high == INTEGER_MAX { "INTEGER_MAX".into() } else { high.to_string() };
            Some(("Number", "int", format!("Field(ge={low}, le={high})")))
        }
        Kind::Decimal { min: Some(min) } => Some(("Amount", "Amount", format!("Field(ge={min})"))),
        _ => None,
    }
}

/// For people: `whole number from 0 to 2100`.
pub fn described(kind: &Kind) -> String {
    match kind {
        Kind::Text { max } => format!("text of one line, at most {max} characters"),
        Kind::LongText => "text, at most 10000 characters".into(),
        Kind::Integer { min: Some(min), max: Some(max) } => {
            format!("whole number from {min} to {max}")
        }
        Kind::Integer { min: Some(min), max: None } => format!("whole number, at least {min}"),
        Kind::Integer { min: None, max: Some(max) } => format!("whole number, at most {max}"),
        Kind::Integer { min: None, max: None } => "whole number".into(),
        Kind::Decimal { min: Some(min) } => {
            format!("decimal number with two places, at least {min}")
        }
        Kind::Decimal { min: None } => "decimal number with two places".into(),
        Kind::Boolean => "true or false".into(),
        Kind::Date => "day, such as 2026-03-14".into(),
        Kind::Datetime => "instant, such as 2026-03-14T09:30:00Z".into(),
        Kind::Email => "e-mail address".into(),
        Kind::Url => "web address".into(),
        Kind::Choice { options } => format!("one of {}", options.join(", ")),
    }
}

/// For diagrams: a word without blanks.
pub fn word(kind: &Kind) -> &'static str {
    match kind {
        Kind::Text { .. } | Kind::LongText | Kind::Choice { .. } => "string",
        Kind::Email => "email",
        Kind::Url => "url",
        Kind::Integer { .. } => "integer",
        Kind::Decimal { .. } => "decimal",
        Kind::Boolean => "boolean",
        Kind::Date => "date",
        Kind::Datetime => "datetime",
    }
}

/// A value for the records of a factory: another each time where values may not be shared.
pub fn made(field: &Field) -> String {
    let words = naming::human(&field.name);
    match &field.kind {
        Kind::Text { max } if *max as usize >= words.len() + 8 => {
            format!("f\"{words} {{number}}\"")
        }
        Kind::Text { max } if *max >= 6 => "f\"{number}\"".into(),
        Kind::Text { max } => format!("f\"{{number % {}}}\"", 10_u32.pow(*max)),
        Kind::LongText => format!("f\"{words} {{number}}\""),
        Kind::Email => "f\"person{number}@example.com\"".into(),
        Kind::Url => "f\"https://example.com/{number}\"".into(),
        _ if !field.unique => one(field),
        Kind::Integer { .. } => {
            let (low, high) = bounds(&field.kind);
            // From the side that is near nought, so that sums stay in bounds.
            let low = if low < 0 && high > 1000 { 0 } else { low };
            match (low, high - low) {
                (0, span) if span > 9_999 => "number".into(),
                (0, span) => format!("number % {}", span + 1),
                (low, span) if span > 9_999 => format!("{low} + number"),
                (low, span) => format!("{low} + number % {}", span + 1),
            }
        }
        Kind::Decimal { min } => match min.unwrap_or(0) {
            0 => "f\"{number}.50\"".into(),
            min => format!("f\"{{{} + number}}.50\"", min.max(0)),
        },
        Kind::Date => "f\"{2000 + number % 7000}-01-15\"".into(),
        Kind::Datetime => "f\"{2000 + number % 7000}-01-15T09:30:00Z\"".into(),
        Kind::Boolean | Kind::Choice { .. } => one(field),
    }
}

/// A valid value.
pub fn one(field: &Field) -> String {
    match &field.kind {
        Kind::Text { max } => line(&field.name, *max).0,
        Kind::LongText => "\"First line.\\nSecond line.\"".into(),
        Kind::Integer { .. } => integers(field).0.to_string(),
        Kind::Decimal { min } => format!("\"{}.50\"", min.unwrap_or(0).max(12)),
        Kind::Boolean => "True".into(),
        Kind::Date => "\"2026-03-14\"".into(),
        Kind::Datetime => "\"2026-03-14T09:30:00Z\"".into(),
        Kind::Email => "\"somebody@example.com\"".into(),
        Kind::Url => "\"https://example.com/one\"".into(),
        Kind::Choice { options } => string(&options[0]),
    }
}

/// Another valid value, wherever there are two.
pub fn another(field: &Field) -> String {
    match &field.kind {
        Kind::Text { max } => line(&field.name, *max).1,
        Kind::LongText => "\"Changed.\"".into(),
        Kind::Integer { .. } => integers(field).1.to_string(),
        Kind::Decimal { min } => format!("\"{}.05\"", min.unwrap_or(0).max(12) + 1),
        Kind::Boolean => "False".into(),
        Kind::Date => "\"2026-04-15\"".into(),
        Kind::Datetime => "\"2026-04-15T18:00:00Z\"".into(),
        Kind::Email => "\"other@example.com\"".into(),
        Kind::Url => "\"https://example.com/other\"".into(),
        Kind::Choice { options } => string(options.last().unwrap_or(&options[0])),
    }
}

/// Values that must be refused.
pub fn refused(field: &Field) -> Vec<String> {
    match &field.kind {
        Kind::Text { max } => {
            let mut values = vec!["\"\"".into(), "\"   \"".into(), format!("\"x\" * {}", max + 1)];
            if *max >= 3 {
                values.push("\"a\\nb\"".into());
            }
            values
        }
        Kind::LongText => vec!["\"\"".into(), "\"   \"".into(), "\"x\" * 10_001".into()],
        Kind::Integer { .. } => {
            let (low, high) = bounds(&field.kind);
            vec!["\"many\"".into(), "1.5".into(), (low - 1).to_string(), (high + 1).to_string()]
        }
        Kind::Decimal { min } => {
            let mut values = vec!["\"much\"".into(), "\"20.125\"".into(), "\"NaN\"".into()];
            values.extend(min.map(|min| format!("\"{}.00\"", i128::from(min) - 1)));
            values
        }
        Kind::Boolean => vec!["\"maybe\"".into(), "2".into()],
        Kind::Date => vec!["\"2026-02-30\"".into(), "\"tomorrow\"".into()],
        Kind::Datetime => vec!["\"2026-03-14T25:00:00Z\"".into(), "\"later\"".into()],
        Kind::Email => vec!["\"nobody\"".into(), "\"nobody@\"".into()],
        Kind::Url => vec!["\"example\"".into(), "\"ftp://example.com/file\"".into()],
        Kind::Choice { .. } => vec!["\"no such option\"".into(), "\"\"".into()],
    }
}

/// A value with a word to find it by, where there is room for one.
pub fn findable(kind: &Kind) -> Option<&'static str> {
    match kind {
        Kind::Text { max } if *max >= 9 => Some("\"Xylophone\""),
        Kind::LongText => Some("\"A word, xylophone, in a line.\""),
        Kind::Email => Some("\"xylophone@example.com\""),
        Kind::Url => Some("\"https://example.com/xylophone\""),
        _ => None,
    }
}

/// Whether `q` looks into it.
pub fn is_text(kind: &Kind) -> bool {
    matches!(kind, Kind::Text { .. } | Kind::LongText | Kind::Email | Kind::Url)
}

/// The least and the greatest value that the column takes, where the field has no bound.
pub fn bounds(kind: &Kind) -> (i128, i128) {
    let Kind::Integer { min, max } = kind else { return (0, 0) };
    let low = match max {
        _ if min.is_some() => min.map_or(0, i128::from),
        Some(max) if i128::from(*max) < -INTEGER_MAX => i64::MIN.into(),
        _ => -INTEGER_MAX - 1,
    };
    let high = match max {
        Some(max) => i128::from(*max),
        None if low >= INTEGER_MAX => i64::MAX.into(),
        None => INTEGER_MAX,
    };
    (low, high)
}

/// Two values in bounds, which differ where two do.
fn integers(field: &Field) -> (i128, i128) {
    let (low, high) = bounds(&field.kind);
    let wanted = if field.name.contains("year") { 2001 } else { 3 };
    let one = wanted.clamp(low, high);
    (one, if one < high { one + 1 } else { (one - 1).max(low) })
}

/// Two lines of text such as a field of this name would hold.
fn line(name: &str, max: u32) -> (String, String) {
    let (one, other) = match name.rsplit('_').next().unwrap_or_default() {
        "title" | "subject" | "headline" => ("A Winter Journey", "The Garden Wall"),
        "isbn" => ("978-0-306-40615-7", "978-3-16-148410-0"),
        "phone" | "mobile" => ("+44 20 7946 0018", "+44 20 7946 0123"),
        "address" | "street" => ("1 Harbour Street", "22 Mill Lane"),
        "city" | "town" | "location" | "place" => ("Lisbon", "Tromso"),
        "country" => ("Portugal", "Norway"),
        "code" | "sku" | "number" | "reference" => ("A-1001", "B-2002"),
        "label" | "tag" | "keyword" => ("urgent", "later"),
        "color" | "colour" => ("green", "blue"),
        "author" | "borrower" | "owner" | "instructor" | "teacher" => ("Ada Byron", "Emmy Weber"),
        "name" if name != "name" => ("Ada Byron", "Emmy Weber"),
        _ => ("", ""),
    };
    if !one.is_empty() && one.len().max(other.len()) <= max as usize {
        return (string(one), string(other));
    }
    // A long name would make a line that no formatter can break.
    let words = if name.len() > 24 { "text".to_owned() } else { naming::words(name) };
    (string(cut(&format!("Some {words}"), max)), string(cut(&format!("Other {words}"), max)))
}

fn cut(text: &str, max: u32) -> &str {
    // The names of fields are ASCII, so any cut is between characters.
    text[..text.len().min(max as usize)].trim_end()
}

fn string(text: impl AsRef<str>) -> String {
    naming::python_string(text.as_ref())
}
