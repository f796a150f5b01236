//! Lists of fields and records: `a title, a price (decimal) and status: open|closed`.

use models::inflect::{is_plural, singular};
use models::words::Kind;

use super::fields;
use super::text::Word;
use super::vocabulary::{SMALL, is_one_of};
use crate::generate::spec;

/// One item of a list, with what is said beside it.
#[derive(Debug, Clone)]
pub struct Item {
    pub words: Vec<String>,
    pub start: usize,
    pub end: usize,
    pub plural: bool,
    /// `a title`, against `titles`.
    pub article: bool,
    /// `many tags`.
    pub many: bool,
    pub optional: bool,
    pub required: bool,
    pub unique: bool,
    pub kind: Option<spec::Kind>,
}

/// Where a list ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// The bracket that closes it.
    Close,
    /// The end of the line.
    Line,
    /// The end of the sentence, or a word that no list goes on with.
    Sentence,
    /// The end of lines that begin with bullets.
    Bullets,
}

/// Lists longer than this are not read to their end.
const ITEMS_MAX: usize = 40;

const ARTICLES: &[&str] = &[
    "a", "an", "the", "its", "their", "his", "her", "one", "own", "some", "my", "our", "each",
    "any",
];
const MANY: &[&str] = &["many", "multiple", "several", "various", "more", "different"];

impl Item {
    /// The item's name as it was said: `due_date`.
    pub fn said(&self) -> String {
        self.words.join("_")
    }
}

/// Reads the items from a word on; gives them and the place after the list.
pub fn items(words: &[Word], at: usize, until: Until) -> (Vec<Item>, usize) {
    let mut found = Vec::new();
    let mut here = at;
    while here < words.len() && found.len() < ITEMS_MAX {
        here = match skip_separators(words, here, until) {
            Some(next) => next,
            None => break,
        };
        let Some(item) = item(words, here) else {
            if until == Until::Bullets || until == Until::Line {
                here = next_line(words, here, until);
                continue;
            }
            break;
        };
        let mut end = item.end;
        let closes = ends_item(words, end);
        if !closes && until == Until::Sentence && begins_clause(words, end) && !found.is_empty() {
            break;
        }
        if !closes && until == Until::Line && begins_clause(words, end) {
            // `hotel system: rooms have a number`: what follows is a sentence, no list.
            return (Vec::new(), at);
        }
        if !closes && until == Until::Bullets {
            end = next_line(words, end, until);
        }
        found.push(item);
        here = end;
        if !closes && matches!(until, Until::Sentence) {
            break;
        }
        if !closes && matches!(until, Until::Close | Until::Line) {
            // `title of the book, isbn`: the rest up to the next separator says no more.
            while here < words.len() && !ends_item(words, here) {
                here += 1;
            }
        }
    }
    if until == Until::Close {
        while here < words.len() && !matches!(words[here].kind, Kind::Close | Kind::Line) {
            here += 1;
        }
        here = (here + 1).min(words.len());
    }
    (found, here)
}

fn skip_separators(words: &[Word], at: usize, until: Until) -> Option<usize> {
    let mut here = at;
    while let Some(word) = words.get(here) {
        match word.kind {
            Kind::Comma | Kind::Semicolon | Kind::Bullet | Kind::Bar => {}
            Kind::Word
                if matches!(
                    word.text.as_str(),
                    "and" | "or" | "plus" | "as" | "well" | "optionally"
                ) => {}
            Kind::Word if word.text == "with" && here > at => {}
            Kind::Close if until == Until::Close => return None,
            Kind::Line if until == Until::Bullets => {
                if words.get(here + 1).is_none_or(|next| next.kind != Kind::Bullet) {
                    return None;
                }
            }
            Kind::Word => return Some(here),
            _ => return None,
        }
        here += 1;
    }
    None
}

fn next_line(words: &[Word], at: usize, until: Until) -> usize {
    let mut here = at;
    while here < words.len() && words[here].kind != Kind::Line {
        here += 1;
    }
    // A list on one line ends with the line.
    if until == Until::Line { words.len().min(here) } else { here }
}

/// Whether an item can end before this word.
fn ends_item(words: &[Word], at: usize) -> bool {
    words.get(at).is_none_or(|word| {
        matches!(
            word.kind,
            Kind::Comma
                | Kind::Semicolon
                | Kind::Bar
                | Kind::Close
                | Kind::Line
                | Kind::Stop
                | Kind::Bullet
        ) || matches!(word.text.as_str(), "and" | "or" | "plus")
    })
}

/// Whether what was read as an item is rather the subject of a clause: `customers can …`.
fn begins_clause(words: &[Word], at: usize) -> bool {
    words.get(at).is_some_and(|word| {
        is_one_of(
            &word.text,
            &[
                "can", "should", "is", "are", "will", "must", "has", "have", "may", "belongs",
                "belong", "to",
            ],
        )
    })
}

fn item(words: &[Word], at: usize) -> Option<Item> {
    let mut item = Item {
        words: Vec::new(),
        start: at,
        end: at,
        plural: false,
        article: false,
        many: false,
        optional: false,
        required: false,
        unique: false,
        kind: None,
    };
    let mut here = at;
    while let Some(word) = words.get(here).filter(|word| word.kind == Kind::Word) {
        let text = word.text.as_str();
        match text {
            "optional" => item.optional = true,
            "required" | "mandatory" => item.required = true,
            "unique" => item.unique = true,
            _ if is_one_of(text, MANY) => item.many = true,
            _ if is_one_of(text, ARTICLES) => item.article = true,
            _ => break,
        }
        here += 1;
    }
    item.start = here;
    while let Some(word) = words.get(here).filter(|word| word.kind == Kind::Word) {
        let text = word.text.as_str();
        let opens_name = matches!(
            text,
            "first"
                | "last"
                | "next"
                | "start"
                | "end"
                | "is"
                | "has"
                | "id"
                | "kind"
                | "available"
        ) && (item.words.is_empty() || !matches!(text, "is" | "has"))
            && words.get(here + 1).is_some_and(|next| next.kind == Kind::Word && next.text != "a")
            || matches!(text, "id" | "kind" | "available");
        if (SMALL.has(text) && !opens_name) || word.opaque || item.words.len() >= 4 {
            break;
        }
        item.words.push(word.text.clone());
        here += 1;
    }
    // `price per night`.
    if words.get(here).is_some_and(|word| word.text == "per")
        && item.words.len() < 3
        && let Some(each) = words.get(here + 1).filter(|word| word.kind == Kind::Word)
    {
        item.words.extend(["per".to_owned(), each.text.clone()]);
        here += 2;
    }
    // `date of birth`.
    if item.words.last().is_some_and(|last| last == "date")
        && words.get(here).is_some_and(|word| word.text == "of")
        && let Some(of) = words.get(here + 1).filter(|word| word.kind == Kind::Word)
    {
        item.words.insert(0, of.text.clone());
        here += 2;
    }
    // `qty int`.
    const TYPES: &[&str] = &["int", "integer", "string", "bool", "boolean", "decimal", "float"];
    let typed =
        item.words.len() > 1 && item.words.last().is_some_and(|last| is_one_of(last, TYPES));
    let typed = if typed { item.words.pop() } else { None };
    // `watched flag`.
    let flag = item.words.len() > 1
        && item.words.last().is_some_and(|last| matches!(last.as_str(), "flag" | "checkbox"));
    if flag {
        item.words.pop();
    }
    let last = item.words.last()?;
    item.plural = is_plural(last);
    item.end = hints(words, here, &mut item);
    if flag {
        item.kind = Some(spec::Kind::Boolean);
    }
    if let Some(word) = typed
        && item.kind.is_none()
    {
        item.kind = fields::kind_of_hint(&[word], &[]);
    }
    Some(item)
}

/// What stands beside an item: its words in the parts that commas and bars make, and its numbers.
#[derive(Default)]
struct Hint {
    parts: Vec<Vec<String>>,
    numbers: Vec<i64>,
    options: bool,
}

impl Hint {
    fn take(&mut self, word: &Word) {
        match word.kind {
            Kind::Number => self.numbers.extend(word.text.parse::<i64>().ok()),
            Kind::Comma | Kind::Bar | Kind::Semicolon => {
                self.options = true;
                self.parts.push(Vec::new());
            }
            Kind::Word if word.text == "or" || word.text == "and" => self.parts.push(Vec::new()),
            Kind::Word => match self.parts.last_mut() {
                Some(part) => part.push(word.text.clone()),
                None => self.parts.push(vec![word.text.clone()]),
            },
            _ => {}
        }
    }
}

/// Reads what stands beside an item: brackets, a colon and a type, a range.
fn hints(words: &[Word], at: usize, item: &mut Item) -> usize {
    let mut here = at;
    let mut hint = Hint::default();
    while let Some(word) = words.get(here) {
        let next = words.get(here + 1);
        match word.kind {
            Kind::Open => {
                here += 1;
                while here < words.len() && !matches!(words[here].kind, Kind::Close | Kind::Line) {
                    hint.take(&words[here]);
                    here += 1;
                }
                here = (here + 1).min(words.len());
            }
            Kind::Colon | Kind::Dash if next.is_some_and(|next| next.kind == Kind::Word) => {
                here = typed(words, here + 1, &mut hint);
            }
            Kind::Number => {
                hint.take(word);
                here += 1;
            }
            Kind::Word
                if matches!(word.text.as_str(), "from" | "to" | "between" | "and")
                    && next.is_some_and(|next| next.kind == Kind::Number)
                    && (word.text != "and" || !hint.numbers.is_empty()) =>
            {
                here += 1;
            }
            _ => break,
        }
    }
    settle(item, &hint);
    here
}

/// Reads what stands after an item's colon, up to the next item.
fn typed(words: &[Word], at: usize, hint: &mut Hint) -> usize {
    let mut here = at;
    while let Some(word) = words.get(here) {
        let goes_on = word.kind == Kind::Bar || (hint.options && word.text == "or");
        if (!goes_on && ends_item(words, here)) || word.kind == Kind::Open {
            break;
        }
        hint.take(word);
        here += 1;
    }
    here
}

fn settle(item: &mut Item, hint: &Hint) {
    const ASIDE: &[&str] = &[
        "e.g",
        "eg",
        "like",
        "such",
        "as",
        "one",
        "of",
        "either",
        "enum",
        "choice",
        "default",
        "required",
        "optional",
        "unique",
        "mandatory",
        "nullable",
        "max",
        "min",
        "chars",
        "characters",
        "length",
        "maximum",
        "minimum",
        "not",
        "null",
    ];
    let said: Vec<String> = hint.parts.concat();
    let has = |wanted: &str| said.iter().any(|word| word == wanted);
    item.optional |= has("optional") || has("nullable");
    item.required |= has("required") || has("mandatory");
    item.unique |= has("unique");
    let told = fields::kind_of_hint(&said, &hint.numbers);
    let choices: Vec<String> = hint
        .parts
        .iter()
        .map(|part| {
            let kept: Vec<&str> =
                part.iter().map(String::as_str).filter(|word| !is_one_of(word, ASIDE)).collect();
            kept.join("_")
        })
        .filter(|choice| !choice.is_empty())
        .collect();
    item.kind = match told {
        Some(kind) if !(hint.options && choices.len() >= 3) => Some(kind),
        _ if choices.len() >= 2 => fields::choice_of(&choices),
        told => told,
    };
}

/// The name of one of what an item says.
pub fn singular_name(item: &Item) -> String {
    singular(&item.said())
}
