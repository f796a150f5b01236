//! What is said of a record right after it is named: its fields and its parts.
//!
//! `books (title, isbn)`, `Order: number, total`, `each task has a title and many comments`. The
//! items of such lists are fields or records of their own; lists of records after the name of the
//! software are left to the walk (`scan`).

use models::inflect::{is_plural, singular};
use models::words::Kind;

use super::fields;
use super::items::{self, Item, Until};
use super::lexicon::{Noun, lexicon};
use super::phrase::Phrase;
use super::scan::{Mention, Mode, Strength, Tie, Walk};
use super::vocabulary::*;
use crate::generate::spec::{self, Field};

impl Walk<'_> {
    /// Notes where a record is named, and reads what is said of it right after.
    pub(super) fn mention(&mut self, found: usize, phrase: &Phrase, end: usize) -> usize {
        self.scan.mentions.push(Mention { found, plural: phrase.plural, start: phrase.start, end });
        let next = self.told(self.holder(found, phrase.start, end), phrase.start, end);
        if next > end {
            self.container = false;
        }
        next
    }

    /// Whose fields `with` tells: in `reviews of movies with a rating` those of the reviews.
    fn holder(&self, found: usize, start: usize, end: usize) -> usize {
        let word = |at: usize| self.words.get(at).map_or("", |word| word.text.as_str());
        let belongs = word(end) == "and"
            && matches!(word(end + 1), "has" | "have")
            && (1..=3).any(|back| {
                start.checked_sub(back).is_some_and(|at| matches!(word(at), "belongs" | "belong"))
            });
        if let Some(before) = self.scan.mentions.iter().rev().nth(1).filter(|_| belongs) {
            return before.found;
        }
        let of = start.checked_sub(1).is_some_and(|before| {
            matches!(word(before), "of" | "for" | "on") && word(end) == "with"
        });
        match self.scan.mentions.iter().rev().nth(1) {
            Some(before) if of && before.end + 1 == start => before.found,
            _ => found,
        }
    }

    /// Reads the list after a record: its fields and its parts.
    fn told(&mut self, found: usize, start: usize, end: usize) -> usize {
        let word = |at: usize| self.words.get(at).map_or("", |word| word.text.as_str());
        let kind = |at: usize| self.words.get(at).map(|word| word.kind);
        let heads_line = start == 0
            || matches!(self.words[start - 1].kind, Kind::Line | Kind::Bullet | Kind::Stop)
            || is_one_of(word(start - 1), &["a", "an", "the", "each", "every"])
            || self.mode == Mode::Keep;
        match kind(end) {
            Some(Kind::Open) => {
                let (list, after) = items::items(self.words, end + 1, Until::Close);
                if looks_like_fields(&list) {
                    let known = &mut self.scan.found[found];
                    known.strength = known.strength.max(Strength::Said);
                    self.give(found, &list, true);
                    return after;
                }
                return end;
            }
            Some(Kind::Colon | Kind::Dash) if heads_line && !self.container => {
                return self.told_by_line(found, end);
            }
            _ => {}
        }
        // `belongs to an invoice and has a quantity`: still of what belongs.
        let goes_on =
            word(end) == "and" && self.scan.mentions.last().is_some_and(|last| last.found != found);
        let mut at = if goes_on { end + 1 } else { end };
        while is_one_of(
            word(at),
            &["should", "must", "will", "can", "may", "which", "that", "also", "each"],
        ) {
            at += 1;
        }
        let has = matches!(
            word(at),
            "has"
                | "have"
                | "having"
                | "contains"
                | "contain"
                | "includes"
                | "include"
                | "containing"
                | "including"
                | "stores"
                | "consists"
                | "consist"
                | "needs"
        ) || (at == end && word(at) == "with");
        if !has {
            return end;
        }
        at += 1;
        let article = start > 0
            && is_one_of(word(start - 1), &["a", "an", "the", "each", "every", "per", "one"]);
        let heading = word(at - 1) == "with"
            && (self.container || !(article || is_plural(word(end.saturating_sub(1)))));
        if heading {
            let (list, _) = items::items(self.words, at, Until::Sentence);
            let records = list.iter().any(|item| {
                let strs: Vec<&str> = item.words.iter().map(String::as_str).collect();
                item.plural && lexicon().noun(&strs).is_some()
            });
            if records || (self.container && !looks_like_fields(&list)) {
                // `hotel booking with rooms and guests` names the software and lists its records.
                self.container = true;
                return end;
            }
        }
        self.told_by_words(found, at, end)
    }

    fn told_by_line(&mut self, found: usize, end: usize) -> usize {
        let mut at = end + 1;
        let lined = self.words.get(at).is_some_and(|word| word.kind == Kind::Line);
        let until = if lined { Until::Bullets } else { Until::Line };
        if lined {
            while self.words.get(at + 1).is_some_and(|word| word.kind == Kind::Line) {
                at += 1;
            }
            if self.words.get(at + 1).is_none_or(|word| word.kind != Kind::Bullet) {
                return end;
            }
        }
        let (list, after) = items::items(self.words, at, until);
        if !looks_like_fields(&list) {
            return end;
        }
        let known = &mut self.scan.found[found];
        known.strength = known.strength.max(Strength::Kept);
        self.give(found, &list, false);
        after
    }

    fn told_by_words(&mut self, found: usize, from: usize, end: usize) -> usize {
        let word = |at: usize| self.words.get(at).map_or("", |word| word.text.as_str());
        let mut at = from;
        while is_one_of(word(at), &["of", "the", "following", "these", "some"]) {
            at += 1;
        }
        let explicit = FIELD_WORDS.has(word(at));
        if explicit {
            at += 1;
            while is_one_of(word(at), &["like", "such", "as", "including", "of", "are", "for"])
                || self.words.get(at).is_some_and(|word| word.kind == Kind::Colon)
            {
                at += 1;
            }
        } else if self.words.get(at).is_some_and(|word| word.kind == Kind::Colon) {
            at += 1;
        }
        let lined = self.words.get(at).is_some_and(|word| word.kind == Kind::Line)
            && self.words.get(at + 1).is_some_and(|word| word.kind == Kind::Bullet);
        let until = if lined { Until::Bullets } else { Until::Sentence };
        let (list, after) = items::items(self.words, at, until);
        if list.is_empty() {
            return end;
        }
        if !explicit && self.mode == Mode::None && !looks_like_parts(&list) {
            return end;
        }
        let known = &mut self.scan.found[found];
        known.strength = known.strength.max(Strength::Made);
        self.give(found, &list, explicit);
        after
    }

    /// Gives a record the fields of a list, and makes records of the items that are some.
    pub(super) fn give(&mut self, found: usize, list: &[Item], explicit: bool) {
        let told_fields =
            list.len() >= 3 && list.first().is_some_and(|item| fields::is_known_name(&item.said()));
        for item in list {
            let strs: Vec<&str> = item.words.iter().map(String::as_str).collect();
            if strs.iter().any(|word| word.starts_with("password")) {
                self.scan.password = true;
                continue;
            }
            let name = item.said();
            let one = singular(&name);
            let known_field = fields::is_known_name(&name) || fields::is_known_name(&one);
            if let Some(of) = name.strip_suffix("_id").filter(|of| !of.is_empty()) {
                self.key(found, item, of);
                continue;
            }
            let mut noun = (0..strs.len()).find_map(|from| lexicon().noun(&strs[from..]));
            let plural = item.plural || item.many;
            if name == "items" || name == "lines" {
                let items = self.scan.found[found].noun.and_then(|noun| noun.items.as_deref());
                noun = items.and_then(|items| lexicon().named(items)).or(noun);
            }
            let aside = !explicit && item.kind.is_none() && !known_field && noun.is_none();
            // Beside plain fields, only what speaks of the software is none.
            let among = told_fields && strs.len() <= 2 && !strs.iter().any(|word| ASIDES.has(word));
            let clause = is_clause(&strs);
            if aside && (clause || !among && is_aside(&strs)) {
                continue;
            }
            match noun {
                Some(noun)
                    if plural
                        && item.kind.is_none()
                        && !explicit
                        && (!noun.soft || !known_field) =>
                {
                    self.part(found, noun.name.clone(), Some(noun), item);
                }
                Some(noun) if !plural && item.kind.is_none() => {
                    let has_one = noun.name.clone();
                    self.scan.found[found].ones.push(has_one);
                    if !known_field && item.article && list.len() <= 2 && !noun.soft && !explicit {
                        let other = self.enter_noun(noun, Strength::Said);
                        self.scan.mentions.push(Mention {
                            found: other,
                            plural: item.plural,
                            start: item.start,
                            end: item.end,
                        });
                    }
                    self.field(found, item, &name);
                }
                None if plural
                    && !explicit
                    && !known_field
                    && item.kind.is_none()
                    && is_countable(&strs) =>
                {
                    self.part(found, one, None, item);
                }
                _ => self.field(
                    found,
                    item,
                    if item.plural && known_field && !fields::is_known_name(&name) {
                        &one
                    } else {
                        &name
                    },
                ),
            }
        }
    }

    /// Reads `author_id`: a record belongs to an author, where authors are known or told elsewhere.
    fn key(&mut self, found: usize, item: &Item, of: &str) {
        let words: Vec<&str> = of.split('_').collect();
        let noun = (0..words.len()).find_map(|from| lexicon().noun(&words[from..]));
        let other = match noun {
            Some(noun) => Some(self.enter_noun(noun, Strength::Said)),
            None => self.scan.found.iter().position(|other| other.name == of),
        };
        match other {
            Some(other) if other != found => {
                self.scan.mentions.push(Mention {
                    found: other,
                    plural: false,
                    start: item.start,
                    end: item.end,
                });
                self.scan.ties.push((found, other, Tie::Belongs));
            }
            Some(_) => {}
            None => self.scan.keys.push((found, of.to_owned())),
        }
    }

    fn part(&mut self, found: usize, name: String, noun: Option<&'static Noun>, item: &Item) {
        let part = self.enter(name, noun, Strength::Kept);
        self.scan.mentions.push(Mention {
            found: part,
            plural: item.plural,
            start: item.start,
            end: item.end,
        });
        if part == found {
            return;
        }
        let whole = self.scan.found[found].noun;
        let tie = match noun {
            Some(noun) if noun.shared => (found, part, Tie::ManyToMany),
            Some(noun) if noun.parent && whole.is_none_or(|whole| !whole.agent) => {
                (found, part, Tie::Belongs)
            }
            _ => (part, found, Tie::Belongs),
        };
        self.scan.ties.push(tie);
    }

    fn field(&mut self, found: usize, item: &Item, said: &str) {
        let entity = self.scan.found[found].name.clone();
        let Some(name) = fields::safe_name(said, &entity) else { return };
        let known = &mut self.scan.found[found];
        if known.fields.iter().any(|field| field.name == name) {
            return;
        }
        let said_value = said.ends_with("value");
        let kind = item.kind.clone().unwrap_or_else(|| {
            let said = fields::kind_of_name(said);
            let safe = fields::kind_of_name(&name);
            // A name that was only put out of the way tells no more than it did before.
            let renamed = name.ends_with("_value") && !said_value;
            if matches!(said, spec::Kind::Text { .. }) && !renamed { safe } else { said }
        });
        // The first field is what a record is known by.
        let required = item.required || (known.fields.is_empty() && !item.optional);
        known.fields.push(Field { name, kind, required, unique: item.unique });
    }
}

/// Whether words are a clause of their own: `users vote`.
fn is_clause(words: &[&str]) -> bool {
    matches!(words, [who, verb] if is_plural(who)
        && !is_plural(verb)
        && (VERBS.has(verb) || lexicon().verb(verb).is_some()))
}

/// Whether words are rather about the software: `with JWT authentication`, `with pagination`.
fn is_aside(words: &[&str]) -> bool {
    words.last().is_some_and(|last| GENERIC.has(last) || META.has(last))
        || words.iter().any(|word| VERBS.has(word))
        || words.iter().all(|word| ADJECTIVES.has(word))
}

fn is_countable(words: &[&str]) -> bool {
    words.len() <= 3
        && words.last().is_some_and(|last| !GENERIC.has(last) && !META.has(last))
        && words
            .iter()
            .all(|word| word.len() >= 3 && word.chars().all(|ch| ch.is_ascii_lowercase()))
}

/// Whether a list in brackets or after a colon is one of fields, and no aside.
pub(super) fn looks_like_fields(list: &[Item]) -> bool {
    let known = list
        .iter()
        .filter(|item| {
            item.kind.is_some()
                || fields::is_known_name(&item.said())
                || fields::is_known_name(&items::singular_name(item))
        })
        .count();
    let verbs = list.first().is_some_and(|item| {
        item.words.first().is_some_and(|word| VERBS.has(word) && !fields::is_known_name(word))
    });
    // `blood bank: donors (name, phone), donations (date)`: records with fields of their own.
    let records = list.iter().any(|item| {
        item.plural
            && matches!(&item.kind, Some(spec::Kind::Choice { options })
                if fields::is_known_name(&options[0]))
    });
    !verbs && !records && known > 0 && (known * 3 >= list.len())
}

/// Whether a list after `has` tells fields or parts rather than how something is.
fn looks_like_parts(list: &[Item]) -> bool {
    list.iter().any(|item| {
        let strs: Vec<&str> = item.words.iter().map(String::as_str).collect();
        item.kind.is_some()
            || fields::is_known_name(&item.said())
            || fields::is_known_name(&items::singular_name(item))
            || lexicon().noun(&strs).is_some()
            || item.many
    })
}
