//! Reads a brief by rules: no model, no key, the same spec for the same words each time.
//!
//! The words are put into English (`text`), walked once for records, fields and ties (`scan`),
//! filled up from what is known of nouns (`lexicon`), and assembled into a spec that keeps every
//! promise of
//! `Spec::validate`. What the brief asks for and does not get is said in the notes.

mod assemble;
mod declared;
mod fields;
mod heading;
mod items;
mod lexicon;
mod names;
mod notes;
mod phrase;
mod scan;
mod telling;
mod text;
mod ties;
mod tools;
mod vocabulary;
#[cfg(test)]
mod briefs;
#[cfg(test)]
mod chance;

use models::language::Language;
use models::stack::{self, Choice, OutsideKind};
use models::words::{Kind, tokens};

use crate::generate::spec::{Spec, Stack, Tool};
use assemble::{Assembled, assemble};
use heading::listed;
use scan::{Scan, Strength};
use text::Text;

/// In a text longer than this every noun turns up somewhere; only what is plainly told counts.
const LONG_BRIEF_WORDS: usize = 110;

/// What a client asks for, in words.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    pub prompt: &'a str,
    /// `api`, `cli`, `fullstack` …: goes before the words of the prompt.
    pub project_type: Option<&'a str>,
    /// `fastapi`, `express` …: goes before all else.
    pub framework: Option<&'a str>,
    pub features: &'a [String],
    /// `simple`, `moderate` or `complex`: how far a vague brief is filled up.
    pub complexity: Option<&'a str>,
}

/// Why a brief cannot become a spec.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error(
        "the brief is empty: say in a sentence what the software is for and what it keeps, such as \
         \"a REST API for a library with books, members and loans\""
    )]
    Empty,
    #[error(
        "nothing in the brief says what to build: name the things it is about and what is done with \
         them, such as \"a REST API for a library with books, members and loans\" or \"a command-line \
         tool that converts CSV to JSON\""
    )]
    NothingToBuild,
}

/// Reads a brief into a spec.
pub fn read(ask: &Ask<'_>) -> Result<Spec, Refusal> {
    if ask.prompt.trim().is_empty() {
        return Err(Refusal::Empty);
    }
    let text = text::read(ask.prompt, ask.features);
    let mut scan = scan::scan(&text.words);
    let said = text.words.iter().filter(|word| word.kind == Kind::Word).count();
    if said > LONG_BRIEF_WORDS {
        scan.sober();
    }
    let asked_tools = tools::asked(&text.words);
    if !says_something(&text, &scan, &asked_tools) {
        return Err(Refusal::NothingToBuild);
    }
    let mut notes = Vec::new();
    let stack = choose_stack(ask, &text, &asked_tools, &mut notes);
    notes.extend(notes::language(text.language, text.confidence));
    let simple = ask.complexity.is_some_and(|word| word.eq_ignore_ascii_case("simple"));
    if trains(&text) {
        scan.sober();
        scan.found.retain(|found| {
            !found.fields.is_empty()
                || found.strength == Strength::Kept && found.noun.is_some_and(|noun| !noun.soft)
        });
        scan.domains.retain(|domain| domain.name == "machine learning");
        scan.mentions.clear();
        scan.ties.clear();
    }
    let (assembled, tools, domain) = match stack {
        Stack::PythonCli => command_line(&scan, &text, asked_tools, &mut notes),
        _ => service(&scan, &text, simple, &mut notes),
    };
    notes.extend(assembled.notes);
    if scan.password && !tools.contains(&Tool::PasswordGenerator) {
        notes.push("The brief asks for passwords; this project keeps none, since records are shown as they are kept.".to_owned());
    }
    notes.extend(unread_features(ask.features, &assembled.entities));
    let (title, slug) = heading::name(
        ask.prompt,
        scan.heading.as_deref(),
        &assembled.leads,
        &tools,
        domain.as_deref(),
    );
    let faithful = !notes.iter().any(|note| {
        note.starts_with("The brief asks for")
            || note.contains("instead")
            || note.contains("nearest")
    });
    let summary = heading::summary(&text, stack, &assembled.entities, &tools, faithful);
    let mut distinct: Vec<String> = Vec::new();
    for note in notes {
        if !distinct.contains(&note) {
            distinct.push(note);
        }
    }
    Ok(Spec {
        slug,
        title,
        summary,
        stack,
        brief: ask.prompt.to_owned(),
        entities: assembled.entities,
        tools,
        notes: distinct,
    })
}

/// Whether the brief is about training a model: its nouns are then parts of that, not records.
fn trains(text: &Text) -> bool {
    let outside = stack::read(&text.tokens).outside;
    let learning = outside.iter().filter(|one| one.kind == OutsideKind::MachineLearning);
    learning.count() > 0
        && text.words.iter().any(|word| {
            matches!(
                word.text.as_str(),
                "dataset" | "pytorch" | "tensorflow" | "train" | "training" | "classifier"
            )
        })
}

/// Whether there is a word to go by: a record, a domain, a tool, or a kind of software.
fn says_something(text: &Text, scan: &Scan, tools: &[Tool]) -> bool {
    let asking =
        text.words.iter().any(|word| word.kind == Kind::Word && vocabulary::ASKING.has(&word.text));
    let foreign = text.language != Language::English
        && text.words.iter().filter(|word| word.kind == Kind::Word).count() >= 3;
    let known =
        scan.found.iter().any(|found| found.noun.is_some() || found.strength > Strength::Hint);
    let outside = !stack::read(&text.tokens).outside.is_empty();
    asking
        || foreign
        || known
        || outside
        || scan.heading.is_some()
        || !scan.domains.is_empty()
        || !tools.is_empty()
}

/// The stack: what the request names, else what the words ask for.
fn choose_stack(ask: &Ask<'_>, text: &Text, tools: &[Tool], notes: &mut Vec<String>) -> Stack {
    let mut said = text.tokens.clone();
    for word in &text.words {
        // Words put into English count as well: `ligne de commande`.
        if word.kind == Kind::Word && !word.opaque && text.language != Language::English {
            said.extend(tokens(&word.text));
        }
    }
    let mut reading = stack::read(&said);
    if text.language != Language::English && text.words.iter().any(|word| word.text == "cli") {
        reading.choice = Choice::CommandLine;
    }
    let is_service = reading.service > 0 || reading.confidence >= 0.8;
    let mut stack = match reading.choice {
        Choice::CommandLine => Stack::PythonCli,
        Choice::ServicePython if !tools.is_empty() && !is_service => Stack::PythonCli,
        Choice::ServiceTypescript if !tools.is_empty() && !is_service => Stack::PythonCli,
        Choice::ServicePython => Stack::Fastapi,
        Choice::ServiceTypescript => Stack::Express,
    };
    if let Some(kind) = ask.project_type {
        stack = by_project_type(kind, stack, &reading, notes);
    }
    if let Some(framework) = ask.framework {
        stack = by_framework(framework, stack, notes);
    }
    if stack == Stack::PythonCli && reading.typescript > reading.python {
        notes.push(
            "The brief asks for JavaScript or TypeScript; command-line tools are built in Python."
                .to_owned(),
        );
    }
    let named = notes.len();
    notes.extend(notes::outside(&reading.outside, stack));
    notes[named..].sort_by_key(|note| !note.contains("instead"));
    stack
}

fn by_project_type(
    kind: &str,
    words: Stack,
    reading: &stack::Reading,
    notes: &mut Vec<String>,
) -> Stack {
    let kind = kind.replace(['_', '-'], " ").to_lowercase();
    let service = match words {
        Stack::PythonCli if reading.typescript > reading.python => Stack::Express,
        Stack::PythonCli => Stack::Fastapi,
        service => service,
    };
    let has = |list: &[&str]| list.iter().any(|word| kind.contains(word));
    if kind.trim().is_empty() {
        words
    } else if has(&["cli", "command", "script", "terminal", "console"]) && !has(&["client"]) {
        Stack::PythonCli
    } else if has(&["api", "backend", "service", "server", "rest", "crud"]) {
        service
    } else {
        let outside = stack::read(&tokens(&kind)).outside;
        let told = notes::outside(&outside, service);
        if told.is_empty() {
            notes.push(format!(
                "The project type {:?} was asked for; this project is {}, the nearest that can be built.",
                shown(&kind),
                notes::stack_name(service)
            ));
        }
        notes.extend(told);
        service
    }
}

fn by_framework(framework: &str, words: Stack, notes: &mut Vec<String>) -> Stack {
    let said = framework.replace(['_', '-'], " ").to_lowercase();
    let said = said.trim();
    let reading = stack::read(&tokens(said));
    let exact = match said {
        "" | "none" | "auto" | "any" => return words,
        "fastapi" | "fast api" => Some(Stack::Fastapi),
        "express" | "expressjs" | "express.js" | "express js" => Some(Stack::Express),
        "typer" | "click" | "argparse" | "cli" | "python cli" => Some(Stack::PythonCli),
        "python" if words != Stack::PythonCli => Some(Stack::Fastapi),
        "python" => Some(Stack::PythonCli),
        "node" | "nodejs" | "node.js" | "typescript" | "javascript" => Some(Stack::Express),
        _ => None,
    };
    if let Some(stack) = exact {
        return stack;
    }
    let near = match reading.choice {
        Choice::ServiceTypescript => Stack::Express,
        Choice::CommandLine => Stack::PythonCli,
        Choice::ServicePython if reading.confidence > 0.0 => Stack::Fastapi,
        Choice::ServicePython => words,
    };
    let told = notes::outside(&reading.outside, near);
    if told.is_empty() {
        notes.push(format!(
            "The framework {:?} was asked for; this project is {} instead.",
            shown(said),
            notes::stack_name(near)
        ));
    }
    notes.extend(told);
    near
}

/// A word of the request as a note may show it: short, and on one line.
fn shown(word: &str) -> String {
    word.chars().filter(|ch| ch.is_alphanumeric() || " .+#-".contains(*ch)).take(40).collect()
}

type Contents = (Assembled, Vec<Tool>, Option<String>);

fn service(scan: &Scan, text: &Text, simple: bool, notes: &mut Vec<String>) -> Contents {
    let words = &text.words;
    let told = assemble(scan, words, Strength::Said, true, &[], &[]);
    let domain = domain(scan);
    if let [only] = told.entities.as_slice() {
        // One record of a known domain, with nothing said of it: the domain is meant.
        let given = scan.found.iter().any(|found| !found.fields.is_empty());
        let wide = domain.filter(|domain| {
            !simple && !given && domain.nouns.len() > 1 && domain.nouns.contains(&only.name)
        });
        if let Some(domain) = wide {
            let grown = assemble(scan, words, Strength::Said, true, &domain.nouns, &[]);
            notes.push(assumed(domain, &grown));
            return (grown, Vec::new(), None);
        }
    }
    if !told.entities.is_empty() {
        return (told, Vec::new(), None);
    }
    if let Some(domain) = domain {
        let count = if simple { 2 } else { domain.nouns.len() };
        let nouns = &domain.nouns[..domain.nouns.len().min(count)];
        let grown = assemble(scan, words, Strength::Kept, false, nouns, &[]);
        notes.push(assumed(domain, &grown));
        return (grown, Vec::new(), Some(domain.name.clone()));
    }
    let hinted = assemble(scan, words, Strength::Hint, false, &[], &[]);
    if !hinted.entities.is_empty() {
        return (hinted, Vec::new(), None);
    }
    if let Some(noun) = named_anywhere(text) {
        let grown = assemble(scan, words, Strength::Kept, false, &[noun], &[]);
        return (grown, Vec::new(), None);
    }
    notes.push("The brief names nothing that is kept; this project keeps items with a name and a description, the nearest that can be built.".to_owned());
    (assemble(scan, words, Strength::Kept, false, &["item".to_owned()], &[]), Vec::new(), None)
}

/// A record that the words of a brief name in passing: the products of `product prices`, or else
/// the websites that an extension blocks.
fn named_anywhere(text: &Text) -> Option<String> {
    use vocabulary::{ADJECTIVES, ASIDES, SMALL, VERBS};
    let plain: Vec<&str> = text
        .words
        .iter()
        .filter(|word| word.kind == Kind::Word && !word.opaque)
        .map(|word| word.text.as_str())
        .filter(|word| !SMALL.has(word) && !VERBS.has(word) && !ADJECTIVES.has(word))
        .collect();
    let known = plain.iter().filter_map(|word| lexicon::lexicon().noun(&[*word]));
    let known = known.filter(|noun| noun.name != "user").map(|noun| noun.name.clone()).next();
    let sites = || plain.contains(&"websites").then(|| "website".to_owned());
    let many = || {
        plain.iter().rev().find(|word| {
            models::inflect::is_plural(word)
                && word.len() > 4
                && word.bytes().all(|ch| ch.is_ascii_lowercase())
                && !ASIDES.has(word)
                && !vocabulary::GENERIC.has(word)
                && !vocabulary::META.has(word)
        })
    };
    known.or_else(sites).or_else(|| many().map(|word| models::inflect::singular(word)))
}

/// The domain that a brief is about: the first it names.
fn domain(scan: &Scan) -> Option<&'static lexicon::Domain> {
    scan.domains.first().copied()
}

fn assumed(domain: &lexicon::Domain, grown: &Assembled) -> String {
    let names: Vec<String> =
        grown.entities.iter().map(|entity| entity.plural.replace('_', " ")).collect();
    format!(
        "The brief leaves open what is kept; for {} these are assumed: {}.",
        domain.name,
        listed(&names)
    )
}

fn command_line(scan: &Scan, text: &Text, asked: Vec<Tool>, notes: &mut Vec<String>) -> Contents {
    let words = &text.words;
    // A tool speaks of files, images and links without keeping any.
    let least = if asked.is_empty() { Strength::Made } else { Strength::Kept };
    let whoever = ["user", "file", "document"];
    let skip: &[&str] = if asked.is_empty() { &["user"] } else { &whoever };
    let told = assemble(scan, words, least, asked.is_empty(), &[], skip);
    if !told.entities.is_empty() || !asked.is_empty() {
        return (told, asked, None);
    }
    let said = assemble(scan, words, Strength::Said, false, &[], skip);
    let files = words.iter().any(|word| {
        [
            "file",
            "files",
            "image",
            "images",
            "directory",
            "directories",
            "folder",
            "convert",
            "calculate",
            "scrape",
            "scrapes",
        ]
        .contains(&word.text.as_str())
    });
    if !said.entities.is_empty() && !files {
        return (said, asked, None);
    }
    if let Some(domain) = domain(scan).filter(|_| !files) {
        let grown = assemble(scan, words, Strength::Kept, false, &domain.nouns, &[]);
        notes.push(assumed(domain, &grown));
        return (grown, asked, Some(domain.name.clone()));
    }
    let hinted = assemble(scan, words, Strength::Hint, false, &[], skip);
    if !files && !hinted.entities.is_empty() {
        return (hinted, asked, None);
    }
    let nearest = tools::nearest(words);
    notes.push(format!(
        "None of the ready-made tools does what the brief asks for; this project has the nearest: {}.",
        tools::title(nearest)
    ));
    (Assembled::default(), vec![nearest], None)
}

/// Features that neither a record, a stack nor the project as it is answers to.
fn unread_features(features: &[String], entities: &[crate::generate::spec::Entity]) -> Vec<String> {
    const GIVEN: &[&str] = &[
        "crud",
        "pagination",
        "filter",
        "search",
        "sort",
        "valid",
        "test",
        "docker",
        "openapi",
        "swagger",
        "doc",
        "readme",
        "ci",
        "error",
        "api",
        "rest",
        "database",
        "sqlite",
        "persist",
        "storage",
        "export",
        "json",
        "list",
        "lint",
        "type",
        "health",
    ];
    features
        .iter()
        .filter(|feature| {
            let words = tokens(feature);
            let outside = !stack::read(&words).outside.is_empty();
            let answered = words.iter().any(|word| {
                GIVEN.iter().any(|given| word.text.starts_with(given))
                    || entities.iter().any(|entity| {
                        let one = models::inflect::singular(&word.text);
                        entity.name.contains(&one)
                            || entity.fields.iter().any(|field| field.name.contains(&one))
                            || entity.actions.iter().any(|action| action.name == word.text)
                    })
            });
            !outside && !answered && words.iter().any(|word| word.kind == Kind::Word)
        })
        .take(12)
        .map(|feature| {
            format!(
                "The feature {:?} was asked for; no part of this project answers to it.",
                shown(feature)
            )
        })
        .collect()
}
