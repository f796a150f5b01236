//! Relations between records that stand near each other: `a task belongs to a project`.

use models::words::Kind;

use super::fields;
use super::scan::{Scan, Tie};
use super::text::Word;
use super::vocabulary::{OWNERS, is_one_of};
use crate::generate::spec::{Field, Kind as Value};

/// Farther apart, two nouns have nothing to do with each other.
const WORDS_BETWEEN_MAX: usize = 8;

/// Verbs of those who have the records that they act on: `carriers deliver shipments`.
pub const DEEDS: &[&str] =
    &["deliver", "teach", "run", "host", "organize", "supervise", "answer", "offer", "sell"];

/// Reads the ties between neighbours and adds them to the scan.
pub fn read(words: &[Word], scan: &mut Scan) {
    scan.mentions.sort_by_key(|mention| mention.start);
    let mut subject: Option<(usize, Tie, bool)> = None;
    for at in 1..scan.mentions.len() {
        let (first, second) = (scan.mentions[at - 1], scan.mentions[at]);
        let between = words.get(first.end..second.start).unwrap_or_default();
        let cut = between.len() > WORDS_BETWEEN_MAX
            || between.iter().any(|word| matches!(word.kind, Kind::Stop | Kind::Line));
        if cut || first.found == second.found {
            subject = None;
            continue;
        }
        let goes_on = between.first().is_some_and(|word| {
            word.kind == Kind::Comma || word.text == "and" || word.text == "or"
        });
        if let Some((holder, _, _)) = subject
            && goes_on
            && let Some((tie @ (Tie::ManyToMany | Tie::Assigned | Tie::Belongs), false)) =
                tie(between)
        {
            // `tasks are assigned to users and tagged with labels`: still of the tasks.
            add(scan, holder, second.found, tie, false);
            subject = Some((holder, tie, false));
        } else if let Some((tie, turned)) = tie(between) {
            let before = at >= 2
                && joined(words, scan.mentions[at - 2].end, first.start)
                && matches!(tie, Tie::ManyToMany);
            add(scan, first.found, second.found, tie, turned);
            if before {
                let other = scan.mentions[at - 2].found;
                add(scan, other, second.found, tie, turned);
            }
            subject = Some((first.found, tie, turned));
        } else if let Some((holder, tie, turned)) = subject
            && joined(words, first.end, second.start)
            && !(tie == Tie::MadeBy && is_agent(scan, second.found))
        {
            add(scan, holder, second.found, tie, turned);
        } else {
            subject = None;
        }
    }
    if let Some((first, second)) = many_to_many(words, scan) {
        add(scan, first, second, Tie::ManyToMany, false);
    }
}

/// Whether a record is a person: those do things of their own, `companies post jobs and candidates
/// apply`.
/// Ties the keys whose records were told of later; the others are plain values.
pub fn settle_keys(scan: &mut Scan) {
    for (found, of) in std::mem::take(&mut scan.keys) {
        match scan.found.iter().position(|other| other.name == of) {
            Some(other) if other != found => scan.ties.push((found, other, Tie::Belongs)),
            Some(_) => {}
            None => {
                let record = &mut scan.found[found];
                let Some(name) = fields::safe_name(&format!("{of}_id"), &record.name) else {
                    continue;
                };
                if record.fields.iter().all(|field| field.name != name) {
                    let kind = Value::Text { max: 80 };
                    record.fields.push(Field { name, kind, required: false, unique: false });
                }
            }
        }
    }
}

fn is_agent(scan: &Scan, found: usize) -> bool {
    scan.found[found].noun.is_some_and(|noun| noun.agent)
}

fn add(scan: &mut Scan, first: usize, second: usize, tie: Tie, turned: bool) {
    if first == second {
        return;
    }
    let told = if turned { (second, first, tie) } else { (first, second, tie) };
    if !scan.ties.contains(&told) {
        scan.ties.push(told);
    }
}

/// Whether two mentions are items of one list.
fn joined(words: &[Word], from: usize, to: usize) -> bool {
    let between = words.get(from..to).unwrap_or_default();
    !between.is_empty()
        && between.iter().all(|word| {
            matches!(word.kind, Kind::Comma)
                || matches!(word.text.as_str(), "and" | "a" | "an" | "the" | "or" | "many" | "one")
        })
}

/// What the words between two records tell, and whether it is the second that belongs.
fn tie(between: &[Word]) -> Option<(Tie, bool)> {
    let said: Vec<&str> = between.iter().map(|word| word.text.as_str()).collect();
    let has = |phrase: &[&str]| said.windows(phrase.len()).any(|window| window == phrase);
    let one = |list: &[&str]| said.iter().any(|word| is_one_of(word, list));
    if said.iter().all(|word| is_one_of(word, &["", "and", "their", "its"]))
        && one(&["their", "its"])
    {
        return Some((Tie::Belongs, true));
    }
    if one(&["tagged"]) || has(&["many", "to", "many"]) {
        return Some((Tie::ManyToMany, false));
    }
    if one(&["assigned"]) && one(&["to"]) {
        return Some((Tie::Assigned, false));
    }
    if (one(&["belongs", "belong", "belonging"]) && !one(&["not"]))
        || has(&["part", "of"])
        || has(&["for", "each"])
        || said == ["of", "a"]
        || said == ["of", "an"]
        || said == ["of", "the"]
        || said == ["per"]
        || said == ["in", "a"]
        || said == ["for", "a"]
        || has(&["linked", "to"])
        || has(&["related", "to"])
        || has(&["associated", "with"])
        || has(&["attached", "to"])
        || has(&["grouped", "by"])
        || has(&["sorted", "into"])
    {
        return Some((Tie::Belongs, false));
    }
    if has(&["owned", "by"])
        || has(&["written", "by"])
        || has(&["created", "by"])
        || has(&["made", "by"])
        || has(&["posted", "by"])
    {
        return Some((Tie::MadeBy, false));
    }
    if let [verb] = said.as_slice()
        && (OWNERS.has(verb) || DEEDS.contains(verb))
        && !models::inflect::is_plural(verb)
    {
        return Some((Tie::MadeBy, true));
    }
    if one(&["can", "may", "should"]) && said.iter().any(|word| OWNERS.has(word)) {
        return Some((Tie::MadeBy, true));
    }
    None
}

/// `many-to-many between books and authors`, `books and authors are many-to-many`: the pair that
/// is nearest to the words.
fn many_to_many(words: &[Word], scan: &Scan) -> Option<(usize, usize)> {
    let at = words.windows(3).position(|window| {
        window[0].text == "many" && window[1].text == "to" && window[2].text == "many"
    })?;
    let near = scan.mentions.iter().filter(|mention| mention.start.abs_diff(at) <= 10);
    let mut near: Vec<_> = near.collect();
    near.sort_by_key(
        |mention| {
            if mention.start > at { mention.start - at } else { at - mention.start + 3 }
        },
    );
    let first = near.first()?;
    let second = near.iter().find(|other| other.found != first.found)?;
    let (first, second) =
        if first.start < second.start { (first, second) } else { (second, first) };
    Some((first.found, second.found))
}
