//! One walk over the words of a brief: which records it names, with which fields, linked how.
//!
//! The walk goes left to right and keeps a mode: what the words before say of the nouns to come.
//! `manage books, authors` makes records of both; `the screen shows books` hardly. Each record has a
//! strength, and the caller decides which strengths count.

use models::inflect::singular;
use models::words::Kind;

use super::items::{self, Until};
use super::lexicon::{Domain, Noun, lexicon};
use super::phrase::{Phrase, phrase_at};
use super::telling::looks_like_fields;
use super::text::Word;
use super::vocabulary::*;
use crate::generate::spec::Field;

/// A record that a brief may name.
#[derive(Debug)]
pub struct Found {
    /// Snake case and singular, as the brief says it or as the lexicon calls it.
    pub name: String,
    pub noun: Option<&'static Noun>,
    pub strength: Strength,
    pub fields: Vec<Field>,
    /// Nouns that each of these has one of, in words of the brief.
    pub ones: Vec<String>,
}

/// How plainly a brief makes a record of a noun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strength {
    /// Named beside an app, or in passing: counts where there is nothing else.
    Hint,
    /// A known noun in a sentence.
    Said,
    /// A known noun that someone does something with.
    Made,
    /// Kept, listed, or given fields.
    Kept,
}

/// A relation that the words tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tie {
    /// The first belongs to the second.
    Belongs,
    /// The first belongs to the second, by being assigned to it.
    Assigned,
    /// The first belongs to the second, who made it.
    MadeBy,
    ManyToMany,
}

/// Where a record is named.
#[derive(Debug, Clone, Copy)]
pub struct Mention {
    pub found: usize,
    pub plural: bool,
    pub start: usize,
    pub end: usize,
}

#[derive(Debug, Default)]
pub struct Scan {
    pub found: Vec<Found>,
    pub mentions: Vec<Mention>,
    pub ties: Vec<(usize, usize, Tie)>,
    pub domains: Vec<&'static Domain>,
    /// Records that a verb tells of: `borrow` of loans.
    pub verbs: Vec<&'static Noun>,
    /// The first phrase that names the software: `book library`, `expense tracker`.
    pub heading: Option<String>,
    pub password: bool,
    /// Keys such as `gizmo_id` of records that were not told of yet.
    pub keys: Vec<(usize, String)>,
}

impl Scan {
    /// Keeps of a long text what it plainly tells: unknown nouns only where they have fields or
    /// relations, known ones where they are named more than once.
    pub fn sober(&mut self) {
        for (at, found) in self.found.iter_mut().enumerate() {
            let named = self.mentions.iter().filter(|mention| mention.found == at).count();
            let tied = self.ties.iter().any(|(first, second, _)| *first == at || *second == at);
            let told = found.fields.len() >= 2 || (tied && named >= 2);
            let plain = match found.noun {
                Some(noun) if noun.soft => told && named >= 2,
                Some(_) => told || named >= 2,
                None => told,
            };
            if !plain {
                found.strength = Strength::Hint;
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    None,
    /// After `manage`: what follows is kept.
    Keep,
    /// After `for`: what follows is kept, or is where the software is used.
    For,
    /// After `can create`.
    Make,
    /// After `library with`: a list of records.
    List,
    /// After `a` or `each`.
    Bullet,
}

/// A brief says in its first words what the software is; later phrases name parts of it.
const HEADING_WORDS_MAX: usize = 40;

pub(super) struct Walk<'a> {
    pub(super) words: &'a [Word],
    pub(super) scan: Scan,
    pub(super) mode: Mode,
    /// Whether the last phrase names the software or where it is used.
    pub(super) container: bool,
    under_entities: bool,
    /// Whether a list of records began on this line; a semicolon goes on with it.
    listing: bool,
}

/// Reads the records, fields and ties that the words tell.
pub fn scan(words: &[Word]) -> Scan {
    let mut walk = Walk {
        words,
        scan: Scan::default(),
        mode: Mode::None,
        container: false,
        under_entities: false,
        listing: false,
    };
    let mut at = 0;
    while at < words.len() {
        let next = walk.step(at);
        at = next.max(at + 1);
    }
    super::ties::read(words, &mut walk.scan);
    super::ties::settle_keys(&mut walk.scan);
    walk.scan
}

impl Walk<'_> {
    fn step(&mut self, at: usize) -> usize {
        let word = &self.words[at];
        match word.kind {
            Kind::Comma if self.container && self.mode == Mode::None && at < HEADING_WORDS_MAX => {
                // `leaderboard api, players, matches`: the software, then its records.
                self.mode = Mode::List;
            }
            Kind::Semicolon if self.listing => self.mode = Mode::List,
            Kind::Comma | Kind::Bar | Kind::Semicolon | Kind::Number | Kind::Close => {}
            Kind::Open => {}
            Kind::Colon => {
                if let Some(after) = self.fields_below(at) {
                    return after;
                }
                self.colon(at);
            }
            Kind::Bullet => {
                self.mode = if self.under_entities { Mode::Keep } else { Mode::Bullet };
            }
            Kind::Line => {
                self.mode = Mode::None;
                self.container = false;
                self.listing = false;
                let goes_on = self
                    .words
                    .get(at + 1)
                    .is_some_and(|next| matches!(next.kind, Kind::Bullet | Kind::Line));
                self.under_entities &= goes_on;
            }
            Kind::Dash if self.container && at < HEADING_WORDS_MAX => self.mode = Mode::List,
            Kind::Stop | Kind::Dash => {
                self.mode = Mode::None;
                self.container = false;
            }
            Kind::Word => return self.word(at),
        }
        at + 1
    }

    /// `A todo list. Fields: title, done (bool)`: fields of the one record that was named.
    fn fields_below(&mut self, at: usize) -> Option<usize> {
        let before = at.checked_sub(1).map_or("", |before| self.words[before].text.as_str());
        let last = self.scan.mentions.last().map(|mention| mention.found)?;
        if !FIELD_WORDS.has(before) {
            return None;
        }
        let lined = self.words.get(at + 1).is_some_and(|word| word.kind == Kind::Line);
        let until = if lined { Until::Bullets } else { Until::Line };
        let (list, after) = items::items(self.words, at + 1 + usize::from(lined), until);
        if list.len() < 2 || !looks_like_fields(&list) {
            return None;
        }
        let known = &mut self.scan.found[last];
        known.strength = known.strength.max(Strength::Made);
        self.give(last, &list, true);
        Some(after)
    }

    fn colon(&mut self, at: usize) {
        let before = at.checked_sub(1).map_or("", |before| self.words[before].text.as_str());
        if ENTITY_WORDS.has(before) || before == "following" {
            self.mode = Mode::Keep;
            self.under_entities =
                self.words.get(at + 1).is_some_and(|next| next.kind == Kind::Line);
        } else if !self.container && !self.lists_records(at + 1) {
            self.mode = Mode::None;
        } else {
            self.mode = Mode::List;
            self.listing = true;
        }
    }

    /// Whether a list of records with their fields begins here: `donors (name, phone), …`.
    fn lists_records(&self, at: usize) -> bool {
        let open =
            (at..at + 4).find(|at| self.words.get(*at).is_some_and(|word| word.kind == Kind::Open));
        open.is_some_and(|open| {
            let plural = models::inflect::is_plural(&self.words[open - 1].text);
            plural && looks_like_fields(&items::items(self.words, open + 1, Until::Close).0)
        })
    }

    fn word(&mut self, at: usize) -> usize {
        let word = self.words[at].text.as_str();
        if word.starts_with("password") {
            self.scan.password = true;
        }
        self.domain_at(at);
        if let Some(noun) = lexicon().verb(word)
            && (self.after(at, &["can", "to", "and", "or", "could"])
                || word == "apply"
                || self.follows_people(at))
        {
            self.scan.verbs.push(noun);
        }
        if let Some(phrase) = phrase_at(self.words, at)
            && !self.is_cue(at, &phrase)
        {
            for inside in at + 1..phrase.end {
                self.domain_at(inside);
            }
            return self.phrase(phrase);
        }
        if word == "with"
            && let Some(after) = self.fields_of_last(at)
        {
            return after;
        }
        self.cue(at, word);
        at + 1
    }

    /// Whether a verb stands right after those who do it: `users vote`.
    fn follows_people(&self, at: usize) -> bool {
        let before = at.checked_sub(1).map(|before| &self.words[before]);
        before.is_some_and(|before| {
            before.kind == Kind::Word
                && models::inflect::is_plural(&before.text)
                && lexicon().noun(&[before.text.as_str()]).is_some_and(|noun| noun.agent)
        }) && !models::inflect::is_plural(&self.words[at].text)
    }

    /// `a movie watchlist in Express with title and year`: fields of what was named last.
    fn fields_of_last(&mut self, at: usize) -> Option<usize> {
        let last = self.scan.mentions.last().copied().filter(|_| self.container)?;
        let (list, after) = items::items(self.words, at + 1, Until::Sentence);
        let singular = !list.iter().any(|item| item.plural);
        if list.len() < 2 || !singular || !looks_like_fields(&list) {
            return None;
        }
        self.give(last.found, &list, false);
        Some(after)
    }

    /// Notes a domain whose words begin here.
    fn domain_at(&mut self, at: usize) {
        let run: Vec<&str> = self.words[at..]
            .iter()
            .take(3)
            .take_while(|word| word.kind == Kind::Word)
            .map(|word| word.text.as_str())
            .collect();
        let domain = (1..=run.len()).rev().find_map(|length| lexicon().domain(&run[..length]));
        // `prices on amazon`, `videos from youtube`: where things come from, not what is built.
        let source = self.after(at, &["on", "from", "via", "using"]);
        if let Some(domain) = domain.filter(|_| !source) {
            self.scan.domains.push(domain);
        }
    }

    /// Whether what reads as a phrase is a verb that tells of what follows: `manage`, `log`.
    fn is_cue(&self, at: usize, phrase: &Phrase) -> bool {
        let word = self.words[at].text.as_str();
        phrase.start == at
            && KEEPERS.has(word)
            && phrase.noun().is_none()
            && !self.follows_content(at)
    }

    fn follows_content(&self, at: usize) -> bool {
        at > 0 && {
            let before = &self.words[at - 1];
            before.kind == Kind::Word
                && !before.opaque
                && !SMALL.has(&before.text)
                && !VERBS.has(&before.text)
        }
    }

    fn after(&self, at: usize, list: &[&str]) -> bool {
        at > 0
            && (is_one_of(&self.words[at - 1].text, list)
                || (self.words[at - 1].kind == Kind::Comma && list.contains(&"and")))
    }

    /// Sets the mode by a word that is no noun.
    fn cue(&mut self, at: usize, word: &str) {
        let transparent = [
            "of",
            "the",
            "my",
            "our",
            "their",
            "your",
            "its",
            "all",
            "a",
            "an",
            "each",
            "every",
            "various",
            "multiple",
            "many",
            "some",
            "different",
            "several",
            "and",
            "or",
            "up",
            "own",
            "following",
            "as",
            "well",
            "also",
            "more",
            "both",
            "his",
            "her",
            "any",
            "these",
            "plus",
        ];
        if word == "of" && self.container {
            self.mode = Mode::List;
            return;
        }
        if is_one_of(word, &transparent) {
            return;
        }
        if word == "for" {
            self.mode = Mode::For;
        } else if KEEPERS.has(word) && !self.after(at, &["not"]) {
            self.mode = Mode::Keep;
        } else if MAKERS.has(word) {
            self.mode = if self.mode == Mode::Keep { Mode::Keep } else { Mode::Make };
        } else if is_one_of(
            word,
            &[
                "with",
                "including",
                "include",
                "includes",
                "containing",
                "contains",
                "has",
                "have",
                "of",
            ],
        ) {
            self.mode = if self.container { Mode::List } else { Mode::None };
        } else if !(self.mode == Mode::Keep && VERBS.has(word)) {
            self.mode = Mode::None;
        }
    }

    fn phrase(&mut self, phrase: Phrase) -> usize {
        let end = phrase.end;
        // `Product (name, sku)` is a record, though products are software elsewhere.
        let told = phrase.noun().is_some() && self.gives_fields(phrase.start, phrase.end);
        let (core, named) = if told { (phrase.clone(), 0) } else { phrase.without_end(&META) };
        let (stem, tracked) = if core.noun().is_some() && named == 0 || core.wide_domain() {
            (core.clone(), 0)
        } else {
            core.without_end(&TRACKERS)
        };
        let suffixed = named > 0 || tracked > 0;
        let place = self.is_place(&stem);
        let general = phrase.words.iter().all(|word| GENERIC.has(word));
        let software = phrase.words.iter().all(|word| META.has(word));
        self.container = suffixed || place || software && !told || (self.container && general);
        if self.container
            && self.scan.heading.is_none()
            && phrase.start < HEADING_WORDS_MAX
            && phrase.words.len() > named
        {
            self.scan.heading = heading_of(&phrase);
        }
        if stem.words.is_empty() {
            return end;
        }
        let seen = if place && !(self.mode == Mode::Keep && stem.plural) {
            stem.first_noun()
                .filter(|noun| !noun.soft && !noun.agent && !noun.place && !stem.wide_domain())
                .map(|noun| self.enter_noun(noun, Strength::Said))
        } else if suffixed {
            self.suffixed(&stem, tracked > 0)
        } else {
            self.plain(&stem)
        };
        match seen {
            Some(found) => self.mention(found, &stem, end),
            None => end,
        }
    }

    /// Whether a phrase names where the software is used: `book library`, `my bakery`.
    fn is_place(&self, phrase: &Phrase) -> bool {
        match phrase.noun() {
            _ if phrase.wide_domain() => true,
            Some(noun) => noun.place && !phrase.plural,
            None => phrase.domain().is_some() && !phrase.plural,
        }
    }

    /// A noun before `tracker` or `app`.
    fn suffixed(&mut self, phrase: &Phrase, tracked: bool) -> Option<usize> {
        if let Some(noun) = phrase.noun() {
            let person = noun.agent && !tracked;
            let strength = match (tracked, noun.soft) {
                _ if person => return None,
                (true, _) => Strength::Kept,
                (false, false) => Strength::Made,
                (false, true) => Strength::Hint,
            };
            return Some(self.enter_noun(noun, strength));
        }
        if let Some(noun) = phrase.first_noun().filter(|noun| !noun.soft) {
            return Some(self.enter_noun(noun, Strength::Said));
        }
        let name = phrase.unknown_name()?;
        let strength = if tracked { Strength::Made } else { Strength::Hint };
        Some(self.enter(name, None, strength))
    }

    fn plain(&mut self, phrase: &Phrase) -> Option<usize> {
        let article = phrase.start > 0
            && is_one_of(
                &self.words[phrase.start - 1].text,
                &["a", "an", "each", "every", "per", "one", "new"],
            );
        let given = self.gives_fields(phrase.start, phrase.end);
        if let Some(noun) = phrase.noun() {
            let strength = self.strength_of(noun, phrase, article, given)?;
            return Some(self.enter_noun(noun, strength));
        }
        if self.is_for_whom(phrase) {
            return None;
        }
        if let Some(noun) = phrase.first_noun().filter(|noun| !noun.soft)
            && !phrase.plural
            && matches!(self.mode, Mode::Keep | Mode::For)
        {
            return Some(self.enter_noun(noun, Strength::Said));
        }
        let listed = matches!(self.mode, Mode::Keep | Mode::List) && self.is_listed(phrase);
        let acts = self.acts(phrase);
        let name = if given || listed { phrase.plain_name() } else { phrase.unknown_name() }?;
        let known = self.scan.found.iter().position(|found| found.name == name);
        if known.is_some() && !given {
            return known;
        }
        let strength = match self.mode {
            _ if given || acts => Strength::Kept,
            Mode::Keep | Mode::List if phrase.plural => Strength::Kept,
            Mode::For if phrase.plural => Strength::Made,
            Mode::Make if phrase.plural && !phrase.words.is_empty() => Strength::Made,
            Mode::Keep | Mode::For | Mode::List if phrase.words.len() <= 2 => Strength::Hint,
            _ => return None,
        };
        Some(self.enter(name, None, strength))
    }

    fn strength_of(
        &self,
        noun: &'static Noun,
        phrase: &Phrase,
        article: bool,
        given: bool,
    ) -> Option<Strength> {
        if noun.name == "user" && !given && self.is_anyone(phrase) {
            return None;
        }
        let generic = noun.soft && GENERIC.has(phrase.head());
        let listed = matches!(self.mode, Mode::Keep | Mode::List) && !generic;
        if listed && self.is_beside(phrase) || self.acts(phrase) {
            return Some(Strength::Kept);
        }
        if self.is_for_whom(phrase) && !given {
            return Some(Strength::Hint);
        }
        Some(match self.mode {
            _ if given => Strength::Kept,
            Mode::Keep | Mode::List if phrase.plural || !noun.soft => Strength::Kept,
            Mode::For if phrase.plural && !noun.soft => Strength::Kept,
            Mode::Make if (phrase.plural || article) && !generic => Strength::Made,
            Mode::Bullet if !noun.soft && phrase.plural => Strength::Made,
            Mode::For | Mode::Keep if !generic => Strength::Said,
            _ if noun.soft => Strength::Hint,
            _ if phrase.plural || article => Strength::Said,
            _ => Strength::Hint,
        })
    }

    /// Whether a phrase names who the software is for: `an app for beekeepers to record hives`.
    fn is_for_whom(&self, phrase: &Phrase) -> bool {
        self.mode == Mode::For
            && self.words.get(phrase.end).is_some_and(|after| {
                is_one_of(&after.text, &["to", "who", "that", "can", "where", "which"])
                    // `time tracking for freelancers: clients, projects`
                    || after.kind == Kind::Colon && is_trade(phrase.head())
            })
    }

    /// Whether `users` are just whoever uses the software: `allow users to`, `help users`.
    fn is_anyone(&self, phrase: &Phrase) -> bool {
        let before = phrase.start.checked_sub(1).map_or("", |at| self.words[at].text.as_str());
        let before = match before {
            "the" | "a" => {
                phrase.start.checked_sub(2).map_or("", |at| self.words[at].text.as_str())
            }
            other => other,
        };
        let after = self.words.get(phrase.end).map_or("", |word| word.text.as_str());
        let invited = [
            "allow", "allows", "allowing", "let", "lets", "enable", "enables", "help", "helps",
            "enabling", "for", "that", "where", "by", "give", "gives",
        ];
        let listed = matches!(self.mode, Mode::Keep | Mode::List);
        let verb = phrase.start.checked_sub(2).map_or("", |at| self.words[at].text.as_str());
        if is_one_of(before, &["to", "by"])
            && is_one_of(verb, &["assigned", "belong", "belongs", "owned", "created", "written"])
        {
            return false;
        }
        let owns = is_one_of(
            after,
            &["can", "has", "have", "own", "owns", "create", "post", "belong", "belongs"],
        );
        if is_one_of(before, &invited[..invited.len() - 4]) && after == "to" {
            return true;
        }
        !listed && (!owns || is_one_of(before, &["allow", "allows", "let", "lets"]))
    }

    /// Whether a phrase stands in a list of records, where `scores` and `reports` are some, too.
    fn is_listed(&self, phrase: &Phrase) -> bool {
        phrase.plural && self.is_beside(phrase)
    }

    /// Whether people of a kind do something to records: `companies post jobs`.
    fn acts(&self, phrase: &Phrase) -> bool {
        let word = |at: usize| self.words.get(at).filter(|word| word.kind == Kind::Word);
        let Some(verb) = word(phrase.end).map(|word| word.text.as_str()) else { return false };
        let object = word(phrase.end + 1).is_some_and(|next| {
            lexicon().noun(&[next.text.as_str()]).is_some_and(|noun| !noun.agent)
                && models::inflect::is_plural(&next.text)
        });
        let does = OWNERS.has(verb) || is_one_of(verb, super::ties::DEEDS);
        phrase.plural && object && does && !models::inflect::is_plural(verb)
    }

    /// Whether a phrase follows another in a list of records.
    fn is_beside(&self, phrase: &Phrase) -> bool {
        let before = phrase.start.checked_sub(1).map(|at| &self.words[at]);
        let follows = before.is_some_and(|word| word.kind == Kind::Comma || word.text == "and");
        let beside = self
            .scan
            .mentions
            .last()
            .is_some_and(|last| last.plural && last.end + 2 >= phrase.start);
        follows && beside && !phrase.words.iter().any(|word| ASIDES.has(word))
    }

    /// Whether what follows gives the noun fields: brackets, or a colon at the start of a line.
    fn gives_fields(&self, start: usize, end: usize) -> bool {
        let word = |at: usize| self.words.get(at).map_or("", |word| word.text.as_str());
        let heads_line = start == 0
            || self.mode == Mode::Keep
            || matches!(self.words[start - 1].kind, Kind::Line | Kind::Bullet);
        match self.words.get(end).map(|word| word.kind) {
            Some(Kind::Open) => {
                let (list, _) = items::items(self.words, end + 1, Until::Close);
                looks_like_fields(&list)
            }
            Some(Kind::Colon | Kind::Dash) if heads_line && !self.container => {
                let (list, _) = items::items(self.words, end + 1, Until::Line);
                list.len() >= 2 && looks_like_fields(&list)
            }
            Some(Kind::Word) if word(end) == "with" => {
                (1..=4).any(|ahead| FIELD_WORDS.has(word(end + ahead)))
            }
            _ => false,
        }
    }

    pub(super) fn enter_noun(&mut self, noun: &'static Noun, strength: Strength) -> usize {
        self.enter(noun.name.clone(), Some(noun), strength)
    }

    pub(super) fn enter(
        &mut self,
        name: String,
        noun: Option<&'static Noun>,
        strength: Strength,
    ) -> usize {
        if let Some(at) = self.scan.found.iter().position(|found| found.name == name) {
            let known = &mut self.scan.found[at];
            known.strength = known.strength.max(strength);
            return at;
        }
        let found = Found { name, noun, strength, fields: Vec::new(), ones: Vec::new() };
        self.scan.found.push(found);
        self.scan.found.len() - 1
    }
}

/// Whether a word may name people by what they do.
fn is_trade(word: &str) -> bool {
    ["ers", "ors", "ists", "ians"].iter().any(|end| word.ends_with(end))
}

/// What a phrase calls the software, without the words for how it is built.
fn heading_of(phrase: &Phrase) -> Option<String> {
    const BUILT: &[&str] = &[
        "express",
        "express.js",
        "django",
        "flask",
        "fastapi",
        "rest",
        "restful",
        "crud",
        "python",
        "typescript",
        "javascript",
        "node",
        "node.js",
        "nodejs",
        "command",
        "line",
        "http",
        "sql",
        "web",
        "backend",
        "react",
        "vue",
        "json",
        "graphql",
        "rust",
        "go",
        "golang",
        "java",
        "spring",
        "boot",
        "rails",
        "ruby",
        "php",
        "laravel",
        "nestjs",
        "postgres",
        "postgresql",
        "sqlite",
        "docker",
        "html",
        "css",
        "full",
        "stack",
        "fullstack",
        "mobile",
        "desktop",
        "chrome",
        "small",
        "open",
        "source",
        "main",
        "user",
        "users",
        "task's",
        "line's",
        "code",
    ];
    let words: Vec<&str> =
        phrase.words.iter().map(String::as_str).filter(|word| !is_one_of(word, BUILT)).collect();
    let says = words.iter().any(|word| !META.has(word) && !ADJECTIVES.has(word));
    let names = words.iter().any(|word| !TRACKERS.has(word) && !META.has(word));
    let tracked = words.last().is_some_and(|last| TRACKERS.has(last));
    let last = words.len().saturating_sub(1);
    let said: Vec<String> = words
        .iter()
        .enumerate()
        .map(|(at, word)| if tracked && at < last { singular(word) } else { (*word).to_owned() })
        .collect();
    (says && names).then(|| said.join(" "))
}
