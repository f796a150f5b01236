//! The nouns that briefs name, with what is kept of each: `lexicon.toml`, read once.

use std::collections::HashMap;
use std::sync::LazyLock;

use models::inflect::{plural, singular};
use serde::Deserialize;

use super::fields::{self, Given};
use crate::generate::spec::{Action, Condition, Set};

/// A noun that is known.
#[derive(Debug)]
pub struct Noun {
    pub name: String,
    pub plural: String,
    pub about: String,
    pub fields: Vec<Given>,
    pub of: Vec<Link>,
    /// Nouns linked many to many, each with a noun whose presence makes the link needless.
    pub many: Vec<(String, Option<String>)>,
    pub actions: Vec<Action>,
    /// What the items of one of these are called.
    pub items: Option<String>,
    pub soft: bool,
    pub shared: bool,
    pub parent: bool,
    pub agent: bool,
    pub place: bool,
}

/// A natural relation to one of some other nouns.
#[derive(Debug)]
pub struct Link {
    /// The role, where it is not the other noun's own name.
    pub role: Option<String>,
    /// One of these is meant.
    pub targets: Vec<String>,
    pub required: bool,
}

/// A field of life, and the nouns that a vague brief from it means.
#[derive(Debug)]
pub struct Domain {
    pub name: String,
    pub nouns: Vec<String>,
}

#[derive(Debug)]
pub struct Lexicon {
    pub nouns: Vec<Noun>,
    pub domains: Vec<Domain>,
    by_name: HashMap<String, usize>,
    by_words: HashMap<String, usize>,
    by_verb: HashMap<String, usize>,
    domain_by_words: HashMap<String, usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sheet {
    noun: Vec<NounRow>,
    domain: Vec<DomainRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NounRow {
    name: String,
    plural: Option<String>,
    #[serde(default)]
    also: String,
    about: String,
    fields: String,
    #[serde(default)]
    of: String,
    #[serde(default)]
    many: String,
    #[serde(default)]
    actions: Vec<String>,
    #[serde(default)]
    verbs: String,
    items: Option<String>,
    #[serde(default)]
    soft: bool,
    #[serde(default)]
    shared: bool,
    #[serde(default)]
    parent: bool,
    #[serde(default)]
    agent: bool,
    #[serde(default)]
    place: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DomainRow {
    words: String,
    nouns: String,
}

static LEXICON: LazyLock<Lexicon> = LazyLock::new(|| {
    let sheet: Sheet = toml::from_str(include_str!("lexicon.toml"))
        .expect("lexicon.toml is part of this program and a test reads it");
    Lexicon::of(sheet)
});

/// The one lexicon.
pub fn lexicon() -> &'static Lexicon {
    &LEXICON
}

impl Lexicon {
    fn of(sheet: Sheet) -> Lexicon {
        let mut by_name = HashMap::new();
        let mut by_words = HashMap::new();
        let mut by_verb = HashMap::new();
        let mut nouns = Vec::new();
        for (at, row) in sheet.noun.into_iter().enumerate() {
            by_words.insert(row.name.replace('_', " "), at);
            for other in entries(&row.also) {
                by_words.insert(other.to_owned(), at);
            }
            for verb in row.verbs.split_whitespace() {
                by_verb.insert(verb.to_owned(), at);
            }
            by_name.insert(row.name.clone(), at);
            nouns.push(Noun {
                plural: row.plural.unwrap_or_else(|| plural(&row.name)),
                name: row.name,
                about: row.about,
                fields: entries(&row.fields).map(fields::given).collect(),
                of: entries(&row.of).map(link).collect(),
                many: entries(&row.many).map(many).collect(),
                actions: row.actions.iter().map(|line| action(line)).collect(),
                items: row.items,
                soft: row.soft,
                shared: row.shared,
                parent: row.parent,
                agent: row.agent,
                place: row.place,
            });
        }
        let mut domains = Vec::new();
        let mut domain_by_words = HashMap::new();
        for (at, row) in sheet.domain.into_iter().enumerate() {
            for words in entries(&row.words) {
                domain_by_words.entry(words.to_owned()).or_insert(at);
            }
            domains.push(Domain {
                name: entries(&row.words).next().unwrap_or_default().to_owned(),
                nouns: entries(&row.nouns).map(str::to_owned).collect(),
            });
        }
        Lexicon { nouns, domains, by_name, by_words, by_verb, domain_by_words }
    }

    /// A noun by its name in snake case.
    pub fn named(&self, name: &str) -> Option<&Noun> {
        self.by_name.get(name).map(|at| &self.nouns[*at])
    }

    /// A noun by its words, of which the last may be a plural.
    pub fn noun(&self, words: &[&str]) -> Option<&Noun> {
        self.look_up(&self.by_words, words).map(|at| &self.nouns[at])
    }

    /// The noun that a verb makes: `borrow` makes a loan.
    pub fn verb(&self, verb: &str) -> Option<&Noun> {
        let stem = |ending: &str| verb.strip_suffix(ending).and_then(|stem| self.by_verb.get(stem));
        self.by_verb
            .get(verb)
            .or_else(|| stem("s"))
            .or_else(|| stem("ing"))
            .map(|at| &self.nouns[*at])
    }

    /// A domain by its words.
    pub fn domain(&self, words: &[&str]) -> Option<&Domain> {
        self.look_up(&self.domain_by_words, words).map(|at| &self.domains[at])
    }

    fn look_up(&self, index: &HashMap<String, usize>, words: &[&str]) -> Option<usize> {
        let phrase = words.join(" ");
        index.get(&phrase).or_else(|| index.get(&singular(&phrase))).copied()
    }
}

fn entries(list: &str) -> impl Iterator<Item = &str> {
    list.split(';').map(str::trim).filter(|entry| !entry.is_empty())
}

fn link(entry: &str) -> Link {
    let (entry, required) = match entry.strip_suffix('!') {
        Some(entry) => (entry, true),
        None => (entry, false),
    };
    let (role, targets) = match entry.split_once('=') {
        Some((role, targets)) => (Some(role.to_owned()), targets),
        None => (None, entry),
    };
    Link { role, targets: targets.split('/').map(str::to_owned).collect(), required }
}

fn many(entry: &str) -> (String, Option<String>) {
    match entry.split_once(" -") {
        Some((target, unless)) => (target.to_owned(), Some(unless.to_owned())),
        None => (entry.to_owned(), None),
    }
}

/// `return: returned_on=now if returned_on empty; Marks the loan as returned today.`
fn action(line: &str) -> Action {
    let (rule, about) = line.split_once(';').unwrap_or((line, ""));
    let (name, rule) = rule.split_once(':').unwrap_or((rule, ""));
    let (sets, requires) = match rule.split_once(" if ") {
        Some((sets, condition)) => (sets, condition_of(condition)),
        None => (rule, None),
    };
    let sets = sets.split(',').filter_map(|set| set.trim().split_once('=')).map(set_of).collect();
    Action { name: name.trim().to_owned(), about: about.trim().to_owned(), requires, sets }
}

fn set_of((field, value): (&str, &str)) -> Set {
    let field = field.to_owned();
    match value {
        "now" => Set::Now { field },
        "true" => Set::Boolean { field, value: true },
        "false" => Set::Boolean { field, value: false },
        word => Set::Choice { field, value: word.to_owned() },
    }
}

fn condition_of(text: &str) -> Option<Condition> {
    let (field, rest) = text.trim().split_once(' ')?;
    let field = field.to_owned();
    match rest.trim() {
        "empty" => Some(Condition::Empty { field }),
        "positive" => Some(Condition::Positive { field }),
        "is true" => Some(Condition::Equal { field, value: true }),
        "is false" => Some(Condition::Equal { field, value: false }),
        rest => {
            let options = rest.strip_prefix("in ")?.split('|').map(str::to_owned).collect();
            Some(Condition::OneOf { field, options })
        }
    }
}
