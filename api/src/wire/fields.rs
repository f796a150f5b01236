//! Reading an object of JSON leniently: every field is looked at by itself, so that all faults can
//! be told at once and each in words that say what would be right.

use std::str::FromStr;

use buildfleet::domain::brief::Fault;
use secrecy::SecretString;
use serde_json::{Map, Value};

/// Longer than any list that is wanted; each entry of a longer one is not looked at.
const LIST_MAX: usize = 500;
/// How many unknown names are looked at, each for the one that was meant.
pub const UNKNOWN_MAX: usize = 50;

/// The fields of one object, as far as they were read.
pub struct Fields<'a> {
    /// The path to the object, with a dot at its end unless it is empty.
    at: &'static str,
    map: &'a Map<String, Value>,
    known: Vec<&'static str>,
    pub faults: Vec<Fault>,
}

impl<'a> Fields<'a> {
    pub fn new(at: &'static str, map: &'a Map<String, Value>) -> Self {
        Self { at, map, known: Vec::new(), faults: Vec::new() }
    }

    pub fn fault(&mut self, name: &str, message: impl Into<String>) {
        self.faults.push(Fault::new(format!("{}{name}", self.at), message));
    }

    /// A field that is there; null is not.
    pub fn raw(&mut self, name: &'static str) -> Option<&'a Value> {
        self.known.push(name);
        self.map.get(name).filter(|value| !value.is_null())
    }

    fn read<T>(
        &mut self,
        name: &'static str,
        wanted: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Option<T> {
        let value = self.raw(name)?;
        let result = read(value);
        if result.is_none() {
            self.fault(name, format!("must be {wanted}, not {}", shown(value)));
        }
        result
    }

    pub fn text(&mut self, name: &'static str) -> Option<String> {
        self.read(name, "a string", |value| value.as_str().map(str::to_owned))
    }

    /// A string whose value no message repeats.
    pub fn secret(&mut self, name: &'static str) -> Option<SecretString> {
        let value = self.raw(name)?;
        if let Some(text) = value.as_str() {
            return Some(SecretString::from(text));
        }
        self.fault(name, "must be a string");
        None
    }

    pub fn flag(&mut self, name: &'static str) -> Option<bool> {
        self.read(name, "true or false", Value::as_bool)
    }

    pub fn whole(&mut self, name: &'static str, wanted: &str) -> Option<u64> {
        self.read(name, wanted, whole)
    }

    pub fn number(&mut self, name: &'static str, wanted: &str) -> Option<f64> {
        self.read(name, wanted, |value| value.as_f64().filter(|number| 0.0 <= *number))
    }

    pub fn object(&mut self, name: &'static str) -> Option<&'a Map<String, Value>> {
        self.read(name, "an object", Value::as_object)
    }

    pub fn list(&mut self, name: &'static str) -> Option<&'a Vec<Value>> {
        let list = self.read(name, "a list of strings", Value::as_array)?;
        if LIST_MAX < list.len() {
            self.fault(name, format!("must list at most {LIST_MAX} entries"));
            return None;
        }
        Some(list)
    }

    pub fn texts(&mut self, name: &'static str) -> Option<Vec<String>> {
        let mut texts = Vec::new();
        for (index, value) in self.list(name)?.iter().enumerate() {
            match value.as_str() {
                Some(text) => texts.push(text.to_owned()),
                None => self.fault(
                    &format!("{name}[{index}]"),
                    format!("must be a string, not {}", shown(value)),
                ),
            }
        }
        Some(texts)
    }

    /// One of the words of an enum.
    pub fn word<T: FromStr>(&mut self, name: &'static str, words: &[&str]) -> Option<T> {
        let value = self.raw(name)?;
        let word = value.as_str().and_then(|word| word.parse().ok());
        if word.is_none() {
            self.fault(name, not_a_word(value, words));
        }
        word
    }

    /// Some words of an enum.
    pub fn words<T: FromStr>(&mut self, name: &'static str, words: &[&str]) -> Option<Vec<T>> {
        let mut read = Vec::new();
        for (index, value) in self.list(name)?.iter().enumerate() {
            match value.as_str().and_then(|word| word.parse().ok()) {
                Some(word) => read.push(word),
                None => self.fault(&format!("{name}[{index}]"), not_a_word(value, words)),
            }
        }
        Some(read)
    }

    /// A string that means something, such as an id.
    pub fn parsed<T: FromStr>(&mut self, name: &'static str, wanted: &str) -> Option<T> {
        self.read(name, wanted, |value| value.as_str()?.parse().ok())
    }

    /// Whether something was wrong with a field, or with something in it.
    pub fn has_fault(&self, name: &str) -> bool {
        let path = format!("{}{name}", self.at);
        self.faults.iter().any(|fault| fault.field == path)
    }

    /// Ends the reading: whatever was not asked for is a fault.
    pub fn finish(mut self) -> Vec<Fault> {
        let unknown = self.map.keys().filter(|key| !self.known.contains(&key.as_str()));
        let unknown: Vec<&String> = unknown.take(UNKNOWN_MAX).collect();
        for key in unknown {
            let message = match nearest(key, &self.known) {
                Some(near) => format!("is not a field here; did you mean {near}?"),
                None => format!("is not a field here; there are {}", self.known.join(", ")),
            };
            self.fault(key, message);
        }
        self.faults
    }
}

/// Says which words there are, and which one was probably meant.
pub fn not_a_word(value: &Value, words: &[&str]) -> String {
    let near = value.as_str().and_then(|word| nearest(word, words));
    let hint = near.map_or_else(String::new, |near| format!(" (did you mean {near}?)"));
    format!("must be one of {}, not {}{hint}", words.join(", "), shown(value))
}

/// A whole number, also where it is written as 3.0.
fn whole(value: &Value) -> Option<u64> {
    // Up to 2^53, what a float says is what was meant.
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    value.as_u64().or_else(|| {
        value
            .as_f64()
            .filter(|number| number.fract() == 0.0 && (0.0..=EXACT_MAX).contains(number))
            .map(|number| number as u64)
    })
}

/// A value as a message repeats it: what it is, and itself if it is short.
fn shown(value: &Value) -> String {
    const CHARS_MAX: usize = 40;
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) if text.chars().count() <= CHARS_MAX => format!("{text:?}"),
        Value::String(_) => "a longer string".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

/// Names every place at which a string has U+0000, which no store can keep.
pub fn nuls(value: &Value, at: &str, faults: &mut Vec<Fault>) {
    let message = "must not contain the character U+0000";
    match value {
        Value::String(text) if text.contains('\0') => faults.push(Fault::new(at, message)),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                nuls(item, &format!("{at}[{index}]"), faults);
            }
        }
        Value::Object(map) => {
            for (key, item) in map {
                let dot = if at.is_empty() { "" } else { "." };
                if key.contains('\0') {
                    let shown = key.replace('\0', "\u{fffd}");
                    faults.push(Fault::new(format!("{at}{dot}{shown}"), message));
                } else {
                    nuls(item, &format!("{at}{dot}{key}"), faults);
                }
            }
        }
        _ => {}
    }
}

/// The word that was probably meant, if any is near.
pub fn nearest<'w>(word: &str, words: &[&'w str]) -> Option<&'w str> {
    const WORD_CHARS_MAX: usize = 40;
    let word = word.to_lowercase().replace('-', "_");
    if WORD_CHARS_MAX < word.chars().count() {
        return None;
    }
    // A third of the letters may be wrong; more is another word.
    let near_enough = (word.chars().count() / 3).max(1);
    words
        .iter()
        .map(|known| (steps(&word, known), *known))
        .filter(|(steps, _)| *steps <= near_enough)
        .min()
        .map(|(_, known)| known)
}

/// How many letters have to be put in, taken out or changed to come from one word to the other.
fn steps(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (index, letter) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (column, other) in to.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *other);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_nearest_word_is_the_one_that_was_probably_meant() {
        let words = ["prompt", "priority", "project_id", "project_type"];

        assert_eq!(nearest("promt", &words), Some("prompt"));
        assert_eq!(nearest("projectId", &words), Some("project_id"));
        assert_eq!(nearest("project-type", &words), Some("project_type"));
        assert_eq!(nearest("colour", &words), None);
    }

    #[test]
    fn a_nul_is_found_wherever_it_stands() {
        let mut faults = Vec::new();

        nuls(&json!({"a": ["x", "\0"], "b": {"c\0": 1, "d": "\0"}}), "", &mut faults);

        let fields: Vec<_> = faults.into_iter().map(|fault| fault.field).collect();
        assert_eq!(fields, ["a[1]", "b.c\u{fffd}", "b.d"]);
    }

    #[test]
    fn a_whole_number_may_be_written_as_a_float() {
        assert_eq!(whole(&json!(3.0)), Some(3));
        assert_eq!(whole(&json!(3.5)), None);
        assert_eq!(whole(&json!(-1)), None);
        assert_eq!(whole(&json!("3")), None);
    }
}
