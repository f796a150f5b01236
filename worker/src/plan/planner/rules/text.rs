//! From the text of a brief to English words.
//!
//! Code, markup and addresses are taken out, and the words of seven languages are put into English
//! one by one where `tongues.txt` knows them. The grammar that reads the result sees one language.

use std::collections::HashMap;
use std::sync::LazyLock;

use models::language::{self, Language};
use models::words::{self, Kind, Token, is_invisible};

use super::declared;

/// A brief longer than this is read to here; the rest is for people.
pub const BRIEF_BYTES_MAX: usize = 40_000;

/// A word or mark, in English where it could be put so.
#[derive(Debug, Clone)]
pub struct Word {
    pub kind: Kind,
    pub text: String,
    /// A word of another language that the dictionary does not have.
    pub opaque: bool,
}

/// A brief as words.
#[derive(Debug)]
pub struct Text {
    /// Without code, markup and addresses; lines are kept.
    pub plain: String,
    pub words: Vec<Word>,
    pub tokens: Vec<Token>,
    pub language: Language,
    pub confidence: f32,
}

/// Reads a brief and the features asked for beside it.
pub fn read(prompt: &str, features: &[String]) -> Text {
    let mut plain = plain(prompt);
    for feature in features {
        plain.push('\n');
        plain.push_str("- ");
        plain.push_str(&self::plain(feature).replace('\n', " "));
    }
    let tokens = words::tokens(&plain);
    let reading = language::detect(&tokens);
    let words = match column(reading.language) {
        Some(column) => translate(&tokens, column),
        None => as_they_are(&tokens, reading.language != Language::English),
    };
    let words = joined(words);
    Text { plain, words, tokens, language: reading.language, confidence: reading.confidence }
}

/// Takes out fenced code, tags, addresses and control characters.
fn plain(text: &str) -> String {
    let mut end = text.len().min(BRIEF_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let mut kept = String::with_capacity(end);
    for line in declared::in_prose(&text[..end]).lines() {
        plain_line(line, &mut kept);
        kept.push('\n');
    }
    kept
}

fn plain_line(line: &str, kept: &mut String) {
    let mut word_start = kept.len();
    let mut in_tag = false;
    let mut chars = line.chars().peekable();
    while let Some(ch) = chars.next() {
        if in_tag {
            in_tag = ch != '>';
            continue;
        }
        let opens_tag = ch == '<'
            && chars
                .peek()
                .is_some_and(|next| next.is_ascii_alphabetic() || matches!(next, '/' | '!'));
        if opens_tag {
            in_tag = true;
            kept.push(' ');
        } else if ch.is_whitespace() || (ch.is_control() && !is_invisible(ch)) {
            drop_address(kept, word_start);
            kept.push(' ');
            word_start = kept.len();
        } else if matches!(ch, '`' | '"' | '“' | '”' | '„' | '«' | '»' | '~' | '\\') {
            // Quotes around words would hide them; titles are found in the raw text.
        } else {
            kept.push(ch);
        }
    }
    drop_address(kept, word_start);
}

/// Takes back what was just kept when it is an address or a path.
fn drop_address(kept: &mut String, start: usize) {
    let word = kept.get(start..).unwrap_or_default();
    let inner = word.trim_matches(|ch: char| !ch.is_alphanumeric() && ch != '/');
    let slashes = inner.matches('/').count();
    let dotted = inner.rsplit('/').next().is_some_and(|last| last.contains('.'));
    let method = inner.starts_with('/') && inner.len() > 1;
    if let Some(resource) = resource(inner) {
        let resource = resource.to_owned();
        kept.truncate(start);
        kept.push_str(&resource);
        return;
    }
    if word.contains("://") || (slashes >= 1 && dotted) || slashes >= 3 || method {
        kept.truncate(start);
        kept.push(' ');
    }
}

/// The records that a route names: the books of `/books` and of `/books/{id}`.
fn resource(path: &str) -> Option<&str> {
    const NONE: &[&str] = &["health", "docs", "login", "auth", "api", "tmp", "etc", "home", "usr"];
    let mut parts = path.strip_prefix('/')?.split('/');
    let first = parts.next()?;
    let id = parts.next().is_none_or(|id| id.starts_with([':', '{']));
    let plural = models::inflect::is_plural(first) && first.chars().all(char::is_alphabetic);
    (id && plural && parts.next().is_none() && !NONE.contains(&first)).then_some(first)
}

/// Pairs of words that are one thing to the grammar.
fn joined(words: Vec<Word>) -> Vec<Word> {
    let mut kept: Vec<Word> = Vec::with_capacity(words.len());
    for word in words {
        let pair = kept.last().map(|last| (last.text.as_str(), word.text.as_str()));
        match pair {
            Some(("command", "line")) => {
                kept.pop();
                kept.push(Word { text: "cli".to_owned(), ..word });
            }
            _ => kept.push(word),
        }
    }
    kept
}

fn as_they_are(tokens: &[Token], foreign: bool) -> Vec<Word> {
    tokens
        .iter()
        .map(|token| Word {
            kind: token.kind,
            text: token.text.clone(),
            opaque: foreign && !token.text.is_ascii(),
        })
        .collect()
}

/// The dictionary's column of a language.
fn column(language: Language) -> Option<usize> {
    match language {
        Language::German => Some(0),
        Language::French => Some(1),
        Language::Spanish => Some(2),
        Language::Italian => Some(3),
        Language::Portuguese => Some(4),
        Language::Dutch => Some(5),
        _ => None,
    }
}

/// For each language: its words, one to four of them joined by spaces, and the English for them.
static TONGUES: LazyLock<Vec<HashMap<String, String>>> = LazyLock::new(|| {
    let mut columns = vec![HashMap::new(); 6];
    for line in include_str!("tongues.txt").lines() {
        if line.starts_with('#') || line.trim().is_empty() {
            continue;
        }
        let mut cells = line.split('|').map(str::trim);
        let english = cells.next().unwrap_or_default();
        for (at, (cell, column)) in cells.zip(&mut columns).enumerate() {
            enter(column, english, cell, at);
        }
    }
    columns
});

/// Enters the forms of a cell: `livre` or `livre/livres,bouquins`, of which the second are many.
fn enter(column: &mut HashMap<String, String>, english: &str, cell: &str, language: usize) {
    let noun = english.strip_prefix('+');
    let english = noun.unwrap_or(english);
    let many = models::inflect::plural(english);
    let (ones, manies) = cell.split_once('/').unwrap_or((cell, ""));
    let forms = |list: &str| -> Vec<String> {
        list.split(',')
            .map(|form| words::fold(form.trim()))
            .filter(|form| !form.is_empty() && form != "-")
            .collect()
    };
    for form in forms(manies) {
        column.entry(form).or_insert_with(|| many.clone());
    }
    for form in forms(ones) {
        if noun.is_some() {
            for guess in plurals(&form, language) {
                column.entry(guess).or_insert_with(|| many.clone());
            }
        }
        column.entry(form).or_insert_with(|| english.to_owned());
    }
}

/// The regular plurals of a foreign noun, by the number of its language's column.
fn plurals(noun: &str, language: usize) -> Vec<String> {
    let stem = &noun[..noun.len() - noun.chars().next_back().map_or(0, char::len_utf8)];
    match language {
        0 => vec![format!("{noun}e"), format!("{noun}en"), format!("{noun}n"), format!("{noun}er")],
        3 => vec![format!("{stem}i"), format!("{stem}e")],
        5 => vec![format!("{noun}en"), format!("{noun}s"), format!("{noun}n")],
        _ => vec![format!("{noun}s"), format!("{noun}es"), format!("{noun}x")],
    }
}

fn translate(tokens: &[Token], column: usize) -> Vec<Word> {
    let dictionary = &TONGUES[column];
    let mut words = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while at < tokens.len() {
        let token = &tokens[at];
        if token.kind != Kind::Word {
            words.push(Word { kind: token.kind, text: token.text.clone(), opaque: false });
            at += 1;
            continue;
        }
        let run = tokens[at..].iter().take(4).take_while(|token| token.kind == Kind::Word).count();
        let known = (1..=run).rev().find_map(|length| {
            let phrase: Vec<&str> =
                tokens[at..at + length].iter().map(|token| token.text.as_str()).collect();
            dictionary.get(&phrase.join(" ")).map(|english| (english.clone(), length))
        });
        let (english, length) = match known {
            Some(known) => known,
            None => match (column == 0 || column == 5).then(|| compound(&token.text, dictionary)) {
                Some(Some(english)) => (english, 1),
                // Dutch: `auto's`.
                _ if dictionary.contains_key(token.text.trim_end_matches("'s")) => {
                    let one = &dictionary[token.text.trim_end_matches("'s")];
                    (models::inflect::plural(one), 1)
                }
                _ => {
                    push_unknown(&mut words, token);
                    at += 1;
                    continue;
                }
            },
        };
        for part in english.split(' ').filter(|part| *part != "-") {
            words.push(Word { kind: Kind::Word, text: part.to_owned(), opaque: false });
        }
        at += length;
    }
    words
}

fn push_unknown(words: &mut Vec<Word>, token: &Token) {
    let text = token.text.as_str();
    // French and Italian tie small words to the next with an apostrophe; `words` joins them.
    let english = super::lexicon::lexicon().noun(&[text]).is_some()
        || super::vocabulary::META.has(text)
        || super::vocabulary::GENERIC.has(text)
        || super::vocabulary::TRACKERS.has(text);
    words.push(Word { kind: Kind::Word, text: text.to_owned(), opaque: !english });
}

/// `aufgabenverwaltung` as `tasks management`: the known end and the known front of a German or
/// Dutch compound.
fn compound(word: &str, dictionary: &HashMap<String, String>) -> Option<String> {
    const ENDS: &[(&str, &str)] = &[
        ("verwaltung", "management"),
        ("verwaltungssystem", "management system"),
        ("verwaltungs", "management"),
        ("system", "system"),
        ("liste", "list"),
        ("listen", "list"),
        ("planer", "planner"),
        ("tracker", "tracker"),
        ("manager", "manager"),
        ("datenbank", "database"),
        ("app", "app"),
        ("tagebuch", "diary"),
        ("buchung", "booking"),
        ("shop", "shop"),
        ("laden", "shop"),
        ("beheer", "management"),
        ("lijst", "list"),
        ("systeem", "system"),
        ("winkel", "shop"),
    ];
    ENDS.iter().find_map(|(end, english)| {
        let front = word.strip_suffix(end)?;
        let known =
            [front, front.trim_end_matches('s')].iter().find_map(|front| dictionary.get(*front))?;
        Some(format!("{known} {english}"))
    })
}
