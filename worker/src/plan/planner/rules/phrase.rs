//! Noun phrases: where they begin and end, and what they name.

use models::inflect::{is_plural, singular};
use models::words::Kind;

use super::lexicon::{Domain, Noun, lexicon};
use super::text::Word;
use super::vocabulary::{
    ADJECTIVES, ENTITY_WORDS, FIELD_WORDS, GENERIC, META, SMALL, TRACKERS, VERBS, Words, is_one_of,
};

/// A run of words that may name something.
#[derive(Debug, Clone)]
pub struct Phrase {
    pub words: Vec<String>,
    pub start: usize,
    pub end: usize,
    pub plural: bool,
}

/// Longer runs are sentences without commas.
const PHRASE_WORDS_MAX: usize = 5;

/// The phrase that begins at a word, leading adjectives left out.
pub fn phrase_at(words: &[Word], at: usize) -> Option<Phrase> {
    let mut start = at;
    while is_plain(words, start) && ADJECTIVES.has(&words[start].text) {
        start += 1;
    }
    let mut end = start;
    while end < words.len() && end - start < PHRASE_WORDS_MAX && is_content(words, end) {
        end += 1;
    }
    (end > start).then(|| Phrase {
        words: words[start..end].iter().map(|word| word.text.clone()).collect(),
        start,
        end,
        plural: is_plural(&words[end - 1].text),
    })
}

fn is_plain(words: &[Word], at: usize) -> bool {
    words.get(at).is_some_and(|word| word.kind == Kind::Word && !word.opaque)
}

fn is_content(words: &[Word], at: usize) -> bool {
    let Some(word) = words.get(at) else { return false };
    if word.kind != Kind::Word || word.opaque || SMALL.has(&word.text) {
        return false;
    }
    if word.text == "track" || (word.text == "tracks" && starts_sentence(words, at)) {
        return false;
    }
    let object = words.get(at + 1).is_some_and(|next| {
        is_one_of(&next.text, &["a", "an", "the", "my", "our", "their", "his", "her", "all"])
    });
    if object && !is_plural(&word.text) && (VERBS.has(&word.text) || is_deed(words, at)) {
        // `volunteers walk the dogs`: a noun hardly stands right before an article.
        return false;
    }
    let before_many = words.get(at + 1).is_some_and(|next| {
        next.kind == Kind::Word && is_plural(&next.text) && lexicon().noun(&[&next.text]).is_some()
    });
    if before_many && !is_plural(&word.text) && VERBS.has(&word.text) && is_deed(words, at) {
        // `companies post jobs`.
        return false;
    }
    let heads = words.get(at + 1).is_some_and(|next| matches!(next.kind, Kind::Colon | Kind::Open));
    if heads && is_plural(&word.text) && at > 0 && !starts_sentence(words, at) {
        // `manage ssh hosts: name, port`.
        return true;
    }
    if VERBS.has(&word.text) {
        return !is_verb_here(words, at);
    }
    !is_participle(&word.text) || is_noun(words, at)
}

/// `transactions imported from my bank`: a word that tells of a noun, and is none.
fn is_participle(word: &str) -> bool {
    word.len() > 4 && word.ends_with("ed") && !word.ends_with("eed")
}

/// Whether a noun that is also a verb stands after those who may do it.
fn is_deed(words: &[Word], at: usize) -> bool {
    at > 0 && words[at - 1].kind == Kind::Word && is_plural(&words[at - 1].text)
}

fn starts_sentence(words: &[Word], at: usize) -> bool {
    at == 0 || matches!(words[at - 1].kind, Kind::Stop | Kind::Line | Kind::Bullet)
}

/// Whether a word that can be a noun and a verb is a verb where it stands.
fn is_verb_here(words: &[Word], at: usize) -> bool {
    let word = &words[at].text;
    let tracker = words.get(at + 1).is_some_and(|next| {
        next.kind == Kind::Word && (TRACKERS.has(&next.text) || META.has(&next.text))
    });
    let known = is_noun(words, at) || (TRACKERS.has(word) && at > 0 && follows_noun(words, at));
    let before = at.checked_sub(1).map(|before| &words[before]).filter(|w| w.kind == Kind::Word);
    let modal = before.is_some_and(|before| {
        is_one_of(
            &before.text,
            &[
                "can", "to", "will", "should", "may", "could", "would", "must", "i", "we", "they",
                "who", "please",
            ],
        )
    });
    if modal {
        return !is_plural(word) || !known;
    }
    !(known || tracker && lexicon().noun(&[word]).is_some())
}

fn follows_noun(words: &[Word], at: usize) -> bool {
    let before = &words[at - 1];
    before.kind == Kind::Word && !before.opaque && !SMALL.has(&before.text)
}

/// Whether known words begin or end here: `order items`, `blog post`.
fn is_noun(words: &[Word], at: usize) -> bool {
    let text = |at: usize| {
        words.get(at).filter(|word| word.kind == Kind::Word).map(|word| word.text.as_str())
    };
    let Some(word) = text(at) else { return false };
    if lexicon().noun(&[word]).is_some() {
        return true;
    }
    let after = text(at + 1).is_some_and(|next| lexicon().noun(&[word, next]).is_some());
    let before = at
        .checked_sub(1)
        .and_then(text)
        .is_some_and(|before| lexicon().noun(&[before, word]).is_some());
    after || before
}

impl Phrase {
    pub fn as_strs(&self) -> Vec<&str> {
        self.words.iter().map(String::as_str).collect()
    }

    pub fn head(&self) -> &str {
        self.words.last().map_or("", String::as_str)
    }

    /// The known noun that the phrase ends with; of several, the longest.
    pub fn noun(&self) -> Option<&'static Noun> {
        let words = self.as_strs();
        (0..words.len()).find_map(|from| lexicon().noun(&words[from..]))
    }

    /// The known noun that the phrase begins with: the wine of a `wine cellar`.
    pub fn first_noun(&self) -> Option<&'static Noun> {
        let words = self.as_strs();
        (1..words.len()).rev().find_map(|to| lexicon().noun(&words[..to]))
    }

    /// The domain of several words that the phrase ends with: `job board`.
    pub fn wide_domain(&self) -> bool {
        let words = self.as_strs();
        (0..words.len().saturating_sub(1)).any(|from| {
            lexicon().domain(&words[from..]).is_some() && lexicon().noun(&words[from..]).is_none()
        })
    }

    /// The domain that the phrase ends with.
    pub fn domain(&self) -> Option<&'static Domain> {
        let words = self.as_strs();
        (0..words.len()).find_map(|from| lexicon().domain(&words[from..]))
    }

    /// The phrase without the words at its end that are in a list; how many they were.
    pub fn without_end(&self, list: &Words) -> (Phrase, usize) {
        let mut shorter = self.clone();
        while shorter.words.last().is_some_and(|word| list.has(word)) {
            shorter.words.pop();
        }
        let cut = self.words.len() - shorter.words.len();
        shorter.end -= cut;
        shorter.plural = is_plural(shorter.head());
        (shorter, cut)
    }

    /// The words as they are, for what a brief plainly makes a record: it gives it fields, or lists
    /// it.
    pub fn plain_name(&self) -> Option<String> {
        let mut words = self.as_strs();
        while words.len() > 1 && ADJECTIVES.has(words[0]) {
            words.remove(0);
        }
        let sound = |word: &str| word.chars().all(|ch| ch.is_ascii_alphanumeric());
        let head = self.head();
        let fits = words.len() <= 3
            && head.len() >= 3
            && !META.has(head)
            && !FIELD_WORDS.has(head)
            && !ENTITY_WORDS.has(head)
            && words.iter().all(|word| sound(word));
        fits.then(|| singular(&words.join("_")))
    }

    /// A name for a thing that no list knows; `None` where the words name nothing that is kept.
    pub fn unknown_name(&self) -> Option<String> {
        let head = self.head();
        let mut words: Vec<&str> = self.as_strs();
        words.retain(|word| !ADJECTIVES.has(word));
        let sound = |word: &str| {
            word.len() >= 3
                && word.chars().all(|ch| ch.is_ascii_lowercase())
                && word.contains(['a', 'e', 'i', 'o', 'u', 'y'])
                && !has_consonant_run(word)
                && !word.ends_with("ly")
                && !(word.ends_with("ing") && word.len() > 5)
        };
        const OF_FILES: &[&str] = &["file", "data", "error", "code", "input", "output", "image"];
        let fits = !words.is_empty()
            && !is_one_of(words[0], OF_FILES)
            && words.len() <= 3
            && !GENERIC.has(head)
            && !META.has(head)
            && !ADJECTIVES.has(head)
            && !TRACKERS.has(head)
            && words.iter().all(|word| sound(word));
        fits.then(|| singular(&words.join("_")))
    }
}

/// Five consonants in a row stand in keys hit by chance, hardly in words.
fn has_consonant_run(word: &str) -> bool {
    let mut run = 0;
    for ch in word.chars() {
        run = if "aeiouy".contains(ch) { 0 } else { run + 1 };
        if run >= 5 {
            return true;
        }
    }
    false
}
