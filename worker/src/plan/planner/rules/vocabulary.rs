//! The words around nouns: what they do in a sentence of a brief. The lists are in
//! `vocabulary.toml`.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

/// A list of words.
#[derive(Debug)]
pub struct Words(HashSet<&'static str>);

impl Words {
    pub fn has(&self, word: &str) -> bool {
        self.0.contains(word)
    }
}

static LISTS: LazyLock<HashMap<String, String>> = LazyLock::new(|| {
    toml::from_str(include_str!("vocabulary.toml"))
        .expect("vocabulary.toml is part of this program and a test reads it")
});

fn list(name: &str) -> Words {
    let words = LISTS.get(name).map(String::as_str).unwrap_or_default();
    Words(words.split_whitespace().collect())
}

/// Words that can be no part of a noun phrase and end one.
pub static SMALL: LazyLock<Words> = LazyLock::new(|| list("small"));
/// Verbs of briefs that are hardly ever nouns there.
pub static VERBS: LazyLock<Words> = LazyLock::new(|| list("verbs"));
/// Verbs before what is to be kept: the nouns after them are records.
pub static KEEPERS: LazyLock<Words> = LazyLock::new(|| list("keepers"));
/// Verbs of what people do to records.
pub static MAKERS: LazyLock<Words> = LazyLock::new(|| list("makers"));
/// Verbs by which a person comes to own a record.
pub static OWNERS: LazyLock<Words> = LazyLock::new(|| list("owners"));
/// What software and its parts are called: never records, and `X with Ys` tells of its records.
pub static META: LazyLock<Words> = LazyLock::new(|| list("meta"));
/// What software is called by what it does with the noun before: `expense tracker`.
pub static TRACKERS: LazyLock<Words> = LazyLock::new(|| list("trackers"));
/// Nouns of briefs that are no records.
pub static GENERIC: LazyLock<Words> = LazyLock::new(|| list("generic"));
/// Words that tell how a thing is, not what it is.
pub static ADJECTIVES: LazyLock<Words> = LazyLock::new(|| list("adjectives"));
/// Words for what is listed: `the following fields`, `entities: books`.
pub static FIELD_WORDS: LazyLock<Words> = LazyLock::new(|| list("field_words"));
/// Words for lists of records.
pub static ENTITY_WORDS: LazyLock<Words> = LazyLock::new(|| list("entity_words"));
/// What lists of features name beside records and fields: words about the software itself.
pub static ASIDES: LazyLock<Words> = LazyLock::new(|| list("asides"));
/// Words that show that a brief asks for something, beside nouns that are known.
pub static ASKING: LazyLock<Words> = LazyLock::new(|| list("asking"));

/// Whether a word is one of a few that are named where they are asked for.
pub fn is_one_of(word: &str, list: &[&str]) -> bool {
    list.contains(&word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_list_has_words() {
        for list in [
            &SMALL,
            &VERBS,
            &KEEPERS,
            &MAKERS,
            &OWNERS,
            &META,
            &TRACKERS,
            &GENERIC,
            &ADJECTIVES,
            &FIELD_WORDS,
            &ENTITY_WORDS,
            &ASIDES,
            &ASKING,
        ] {
            assert!(list.0.len() > 5);
        }
        assert!(KEEPERS.has("manage") && !KEEPERS.has("book"));
    }
}
