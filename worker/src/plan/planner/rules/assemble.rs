//! From what was found in a brief to entities that keep the promises of `Spec`.

use std::collections::HashMap;

use models::inflect::{is_plural, plural, singular};

use super::fields;
use super::lexicon::{Link, Noun, lexicon};
use super::names::Names;
use super::scan::{Found, Scan, Strength, Tie};
use super::text::Word;
use crate::generate::reserved::{is_reserved_entity, is_reserved_field};
use crate::generate::spec::{Action, Cardinality, Condition, Entity, Field, Kind, Relation, Set};
use crate::generate::spec_check::{condition_holds, set_fits};

/// More records than this are more than one project should begin with.
pub const ENTITIES_MAX: usize = 12;
/// More fields than this make no form that people fill in.
pub const FIELDS_MAX: usize = 20;

/// The entities, in dependency order, and sentences on what was left out.
#[derive(Debug, Default)]
pub struct Assembled {
    pub entities: Vec<Entity>,
    pub notes: Vec<String>,
    /// Plurals in the order of the brief, people who merely use the software last.
    pub leads: Vec<String>,
}

/// What becomes one entity.
struct Chosen<'a> {
    name: String,
    noun: Option<&'static Noun>,
    fields: &'a [Field],
    ones: &'a [String],
    /// Its place in the scan, where it comes from there.
    found: Option<usize>,
}

/// Builds entities of the found records at least this strong, of what verbs tell, and of others.
pub fn assemble(
    scan: &Scan,
    words: &[Word],
    least: Strength,
    verbs: bool,
    others: &[String],
    skip: &[&str],
) -> Assembled {
    let mut notes = Vec::new();
    let mut chosen = choose(scan, least, skip, &mut notes);
    add_others(&mut chosen, others);
    if verbs {
        add_verbs(&mut chosen, scan);
    }
    let mut names = Names::default();
    let mut entities: Vec<Entity> = Vec::new();
    let mut index: HashMap<String, usize> = HashMap::new();
    let mut by_found: HashMap<usize, usize> = HashMap::new();
    let mut keys: HashMap<String, String> = HashMap::new();
    for (at, one) in chosen.iter().enumerate() {
        let wanted = one.noun.map(|noun| noun.plural.as_str());
        let (name, plural) = match said(one, scan, words).filter(|said| !names.has(said)) {
            Some(said) => names.claim(&said, None),
            None => names.claim(&one.name, wanted),
        };
        keys.insert(name.clone(), one.name.clone());
        index.insert(one.name.clone(), at);
        if let Some(found) = one.found {
            by_found.insert(found, at);
        }
        let about = match one.noun {
            Some(noun) => noun.about.clone(),
            None => about(&name),
        };
        entities.push(Entity {
            name,
            plural,
            about,
            fields: Vec::new(),
            relations: Vec::new(),
            actions: Vec::new(),
        });
    }
    relate(&chosen, scan, &index, &by_found, &mut entities);
    for (one, entity) in chosen.iter().zip(&mut entities) {
        fill(one, entity, &keys, words, &mut notes);
    }
    let mut leads: Vec<(bool, String)> = chosen
        .iter()
        .zip(&entities)
        .map(|(one, entity)| (one.name == "user" || one.name == "tag", entity.plural.clone()))
        .collect();
    leads.sort_by_key(|(last, _)| *last);
    let leads = leads.into_iter().map(|(_, plural)| plural).collect();
    Assembled { entities: ordered(entities), notes, leads }
}

fn choose<'a>(
    scan: &'a Scan,
    least: Strength,
    skip: &[&str],
    notes: &mut Vec<String>,
) -> Vec<Chosen<'a>> {
    let mut strong: Vec<(usize, &Found)> = scan
        .found
        .iter()
        .enumerate()
        .filter(|(at, found)| {
            !skip.contains(&found.name.as_str())
                && (found.strength >= least || is_part(scan, *at, found, least))
        })
        .collect();
    if strong.len() > ENTITIES_MAX {
        strong.sort_by_key(|(at, found)| (std::cmp::Reverse(found.strength), *at));
        let cut: Vec<String> = strong[ENTITIES_MAX..]
            .iter()
            .take(12)
            .map(|(_, found)| plural(&found.name).replace('_', " "))
            .collect();
        let more = if strong.len() > ENTITIES_MAX + 12 { " and others" } else { "" };
        notes.push(format!(
            "The brief names more kinds of records than one project begins with; left out: {}{more}.",
            cut.join(", ")
        ));
        strong.truncate(ENTITIES_MAX);
        strong.sort_by_key(|(at, _)| *at);
    }
    strong.retain(|(at, found)| !is_echo(scan, *at, found));
    strong
        .into_iter()
        .map(|(at, found)| (at, found, meant(scan, found)))
        .map(|(at, found, noun)| Chosen {
            name: noun.map_or(&found.name, |noun| &noun.name).clone(),
            noun,
            fields: &found.fields,
            ones: &found.ones,
            found: Some(at),
        })
        .collect()
}

/// Whether a noun is only in the name of the software, which keeps the same thing under another
/// word: a booking system with reservations.
fn is_echo(scan: &Scan, at: usize, found: &Found) -> bool {
    const SAME: &[(&str, &str)] = &[
        ("booking", "reservation"),
        ("booking", "appointment"),
        ("reservation", "booking"),
        ("listing", "property_unit"),
        ("event", "booking"),
    ];
    let plain = scan.mentions.iter().any(|mention| mention.found == at && mention.plural);
    !plain
        && found.fields.is_empty()
        && SAME.iter().any(|(name, other)| {
            found.name == *name
                && scan.found.iter().any(|one| one.name == *other && one.strength >= Strength::Made)
        })
}

/// What a noun means where the software is used: the classes of a gym are no school classes.
fn meant(scan: &Scan, found: &Found) -> Option<&'static Noun> {
    const MEANT: &[(&str, &str, &str)] =
        &[("gym", "school_class", "gym_class"), ("chat", "room", "chat_room")];
    let other = MEANT.iter().find(|(domain, noun, _)| {
        found.name == *noun && scan.domains.iter().any(|known| known.name == *domain)
    });
    match other {
        Some((_, _, meant)) => lexicon().named(meant),
        None => found.noun,
    }
}

/// Whether a noun that alone says little is plainly a part of a record that counts: the options of
/// polls, the messages of conversations.
fn is_part(scan: &Scan, at: usize, found: &Found, least: Strength) -> bool {
    let many = scan.mentions.iter().any(|mention| mention.found == at && mention.plural);
    let whole = |target: &String| {
        scan.found.iter().any(|other| other.name == *target && other.strength >= least)
    };
    many && least >= Strength::Said
        && found.noun.is_some_and(|noun| {
            noun.soft && noun.of.iter().any(|link| link.required && link.targets.iter().any(whole))
        })
}

fn add_others(chosen: &mut Vec<Chosen<'_>>, others: &[String]) {
    for other in others {
        if !chosen.iter().any(|one| one.name == *other) && chosen.len() < ENTITIES_MAX {
            chosen.push(Chosen {
                name: other.clone(),
                noun: lexicon().named(other),
                fields: &[],
                ones: &[],
                found: None,
            });
        }
    }
}

/// `members can borrow books` tells of loans, where there is something to borrow.
fn add_verbs(chosen: &mut Vec<Chosen<'_>>, scan: &Scan) {
    for noun in &scan.verbs {
        let has_object = noun.of.iter().any(|link| {
            link.targets.iter().any(|target| {
                chosen
                    .iter()
                    .any(|one| one.name == *target && !one.noun.is_some_and(|noun| noun.agent))
            })
        });
        let known = chosen.iter().any(|one| one.name == noun.name);
        if has_object && !known && chosen.len() < ENTITIES_MAX {
            chosen.push(Chosen {
                name: noun.name.clone(),
                noun: Some(noun),
                fields: &[],
                ones: &[],
                found: None,
            });
        }
    }
}

/// What the brief itself calls a known noun: `clients`, where the lexicon has customers. `None`
/// where it says no more than the lexicon does, or something that code cannot use.
fn said(one: &Chosen<'_>, scan: &Scan, words: &[Word]) -> Option<String> {
    let (at, noun) = (one.found?, one.noun?);
    if scan.found[at].noun.is_none_or(|other| other.name != noun.name) {
        return None;
    }
    let mut counts: Vec<(String, usize)> = Vec::new();
    // `each line item has`: one of what is told with fields counts as many do.
    let told = !one.fields.is_empty();
    let mentions = scan.mentions.iter().filter(|mention| mention.found == at);
    for mention in mentions.filter(|mention| mention.plural || told) {
        let slice: Vec<&str> =
            words.get(mention.start..mention.end)?.iter().map(|word| word.text.as_str()).collect();
        let ends = (1..=slice.len()).rev();
        let phrase = ends.flat_map(|to| (0..to).map(move |from| (from, to))).find(|(from, to)| {
            (is_plural(slice[to - 1]) || told)
                && lexicon().noun(&slice[*from..*to]).is_some_and(|known| known.name == noun.name)
        });
        let Some((from, to)) = phrase else { continue };
        let name = singular(&slice[from..to].join("_"));
        match counts.iter_mut().find(|(known, _)| *known == name) {
            Some((_, count)) => *count += 1,
            None => counts.push((name, 1)),
        }
    }
    let most = counts.iter().map(|(_, count)| *count).max()?;
    let (name, _) = counts.iter().find(|(_, count)| *count == most)?;
    let longer = name.ends_with(&format!("_{}", noun.name));
    let same = *name == noun.name || longer || plural(name) == noun.plural;
    let sound = name.len() <= 24 && name.bytes().all(|ch| ch.is_ascii_lowercase() || ch == b'_');
    (!same && sound && !is_reserved_entity(name) && !is_reserved_field(name)).then(|| name.clone())
}

fn about(name: &str) -> String {
    let words = name.replace('_', " ");
    let article = if words.starts_with(['a', 'e', 'i', 'o', 'u']) { "An" } else { "A" };
    format!("{article} {words}.")
}

/// Relations that the words tell, then those that lie in the nature of the nouns.
fn relate(
    chosen: &[Chosen<'_>],
    scan: &Scan,
    index: &HashMap<String, usize>,
    by_found: &HashMap<usize, usize>,
    entities: &mut [Entity],
) {
    for (first, second, tie) in &scan.ties {
        let (Some(&first), Some(&second)) = (by_found.get(first), by_found.get(second)) else {
            continue;
        };
        tell(chosen, first, second, *tie, scan, by_found, entities);
    }
    for (at, one) in chosen.iter().enumerate() {
        for other in one.ones {
            if let Some(&other) = index.get(other)
                && other != at
                && !related(entities, at, other)
                && !related(entities, other, at)
            {
                let link = natural(chosen, at, other);
                belong(entities, at, other, link.0, link.1);
            }
        }
    }
    for (at, one) in chosen.iter().enumerate() {
        let Some(noun) = one.noun else { continue };
        for link in &noun.of {
            natural_link(at, link, index, entities);
        }
        for (target, unless) in &noun.many {
            if let Some(&other) = index.get(target)
                && unless.as_ref().is_none_or(|unless| !index.contains_key(unless))
                && other != at
                && !related(entities, at, other)
                && !related(entities, other, at)
            {
                link_many(entities, at, other);
            }
        }
    }
}

fn tell(
    chosen: &[Chosen<'_>],
    first: usize,
    second: usize,
    tie: Tie,
    scan: &Scan,
    by_found: &HashMap<usize, usize>,
    entities: &mut [Entity],
) {
    if related(entities, first, second) || related(entities, second, first) {
        return;
    }
    let turned_too = tie == Tie::Belongs
        && scan.ties.iter().any(|(a, b, other)| {
            *other == Tie::Belongs
                && by_found.get(a) == Some(&second)
                && by_found.get(b) == Some(&first)
        });
    // Each has many of the other.
    if tie == Tie::ManyToMany || turned_too {
        link_many(entities, first, second);
        return;
    }
    let (role, required) = natural(chosen, first, second);
    let person = chosen[second].noun.is_some_and(|noun| noun.agent);
    match tie {
        Tie::Assigned if person => {
            belong(entities, first, second, Some("assignee".to_owned()), false);
        }
        Tie::Assigned => belong(entities, first, second, role, false),
        _ => {
            let named = role.is_some();
            belong(entities, first, second, role, required || !named);
        }
    }
}

/// The role and the need that the lexicon gives a relation; needed where it knows none.
fn natural(chosen: &[Chosen<'_>], first: usize, second: usize) -> (Option<String>, bool) {
    let target = &chosen[second].name;
    let link = chosen[first]
        .noun
        .and_then(|noun| noun.of.iter().find(|link| link.targets.contains(target)));
    match link {
        Some(link) => (link.role.clone(), link.required),
        None => (None, true),
    }
}

fn natural_link(at: usize, link: &Link, index: &HashMap<String, usize>, entities: &mut [Entity]) {
    let present: Vec<usize> =
        link.targets.iter().filter_map(|target| index.get(target)).copied().collect();
    // One of several is meant: a role is one's, and a comment is on a post or on a photo.
    let people = link.role.is_some()
        || link.targets.iter().any(|target| lexicon().named(target).is_some_and(|noun| noun.agent));
    let taken = if people { &present[..present.len().min(1)] } else { &present[..] };
    if people && present.iter().any(|other| related(entities, at, *other)) && link.role.is_none() {
        return;
    }
    for &other in taken {
        let loops = other != at && related(entities, other, at);
        let told = other != at && related(entities, at, other) && link.role.is_none();
        if loops || told {
            continue;
        }
        let required = link.required && taken.len() == 1;
        belong(entities, at, other, link.role.clone(), required);
    }
}

fn related(entities: &[Entity], from: usize, to: usize) -> bool {
    entities[from].relations.iter().any(|relation| relation.target == entities[to].name)
}

fn belong(entities: &mut [Entity], from: usize, to: usize, role: Option<String>, required: bool) {
    let target = entities[to].name.clone();
    let name = match role {
        Some(role) => role,
        None if from == to => "parent".to_owned(),
        None => target.clone(),
    };
    let relation = Relation {
        name,
        target,
        cardinality: Cardinality::BelongsTo,
        required: required && from != to,
    };
    push(&mut entities[from], relation);
}

fn link_many(entities: &mut [Entity], from: usize, to: usize) {
    if from == to {
        return;
    }
    let target = entities[to].name.clone();
    let relation = Relation {
        name: target.clone(),
        target,
        cardinality: Cardinality::ManyToMany,
        required: false,
    };
    push(&mut entities[from], relation);
}

fn push(entity: &mut Entity, relation: Relation) {
    let free = is_reserved_field(&relation.name) && relation.name != "user";
    if !free && !entity.relations.iter().any(|known| known.name == relation.name) {
        entity.relations.push(relation);
    }
}

/// Gives an entity its fields and the actions that they allow.
fn fill(
    one: &Chosen<'_>,
    entity: &mut Entity,
    keys: &HashMap<String, String>,
    words: &[Word],
    notes: &mut Vec<String>,
) {
    let natural: Vec<Field> = match one.noun {
        Some(noun) => noun
            .fields
            .iter()
            .filter(|given| {
                !entity.relations.iter().any(|relation| {
                    let target = keys.get(&relation.target).unwrap_or(&relation.target);
                    given.unless.contains(target)
                })
            })
            .map(|given| given.field.clone())
            .collect(),
        None => fields::generic(&one.name),
    };
    let mut kept: Vec<Field> = Vec::new();
    // One field that a brief tells is an addition, and so are fields that no record could be known
    // by; a name or title with others is the whole list.
    let whole = one.fields.len() >= 4
        || one.fields.len() >= 2
            && (one.noun.is_none() || one.fields.iter().any(|field| identifies(&field.name)));
    if !whole {
        kept.extend(natural.iter().cloned());
        for field in one.fields {
            match kept.iter_mut().find(|known| known.name == field.name) {
                Some(known) => {
                    let required = known.required;
                    *known = Field { required, ..known_better(field, &natural) };
                }
                // `events with a date` are known to start at some time.
                None if is_day_of(field, &one.name) && natural.iter().any(is_needed_day) => {}
                None => kept.push(Field { required: false, ..field.clone() }),
            }
        }
    } else {
        kept.extend(one.fields.iter().map(|field| known_better(field, &natural)));
    }
    kept.retain(|field| {
        !entity.relations.iter().any(|relation| {
            field.name == relation.name
                || field.name == relation.target
                || field.name == format!("{}_id", relation.name)
                || field.name == format!("{}_name", relation.name)
        })
    });
    if kept.is_empty() {
        kept = fields::generic("").into_iter().take(2).collect();
        kept.retain(|field| !entity.relations.iter().any(|relation| relation.name == field.name));
    }
    if kept.len() > FIELDS_MAX {
        let cut: Vec<&str> = kept[FIELDS_MAX..].iter().map(|field| field.name.as_str()).collect();
        notes.push(format!(
            "The brief gives {} more fields than a record begins with; left out: {}.",
            entity.plural.replace('_', " "),
            cut.join(", ")
        ));
        kept.truncate(FIELDS_MAX);
    }
    entity.fields = kept;
    let actions = one.noun.map(|noun| noun.actions.as_slice()).unwrap_or_default();
    for (at, action) in actions.iter().enumerate() {
        act(action, at == 0 && one.fields.len() < 4, entity, &natural, words);
    }
}

fn is_day_of(field: &Field, entity: &str) -> bool {
    let last = entity.rsplit('_').next().unwrap_or(entity);
    ["_date", "_time"].iter().any(|end| field.name == format!("{last}{end}"))
}

fn is_needed_day(field: &Field) -> bool {
    field.required && matches!(field.kind, Kind::Date | Kind::Datetime)
}

/// Whether people tell records apart by such a field.
fn identifies(name: &str) -> bool {
    const NAMES: &[&str] = &[
        "name",
        "title",
        "code",
        "number",
        "label",
        "email",
        "subject",
        "username",
        "question",
        "content",
        "symbol",
        "sku",
        "plate",
        "slug",
        "front",
        "term",
        "word",
        "prompt",
        "message",
        "description",
        "url",
        "text",
        "body",
        "isbn",
        "summary",
        "serial",
    ];
    let last = name.rsplit('_').next().unwrap_or(name);
    NAMES.contains(&name) || NAMES.contains(&last)
}

/// A field as the brief tells it, with what the lexicon knows of it where the brief is silent.
fn known_better(field: &Field, natural: &[Field]) -> Field {
    match natural.iter().find(|known| known.name == field.name) {
        Some(known) => {
            let told =
                matches!(field.kind, Kind::Choice { .. } | Kind::Integer { .. } | Kind::Boolean)
                    && field.kind != fields::kind_of_name(&field.name);
            let kind = if told { field.kind.clone() } else { known.kind.clone() };
            Field {
                name: field.name.clone(),
                kind,
                required: field.required || known.required,
                unique: field.unique || known.unique,
            }
        }
        None => field.clone(),
    }
}

/// Adds an action where the fields allow it; a verb that the brief says brings its fields along,
/// and so does the first where nothing else tells how a record stands.
fn act(action: &Action, first: bool, entity: &mut Entity, natural: &[Field], words: &[Word]) {
    let verb = action.name.split('_').next().unwrap_or_default();
    let stem = verb.strip_suffix('e').unwrap_or(verb);
    let said = words.iter().any(|word| word.text.starts_with(stem));
    let stateless = !entity.fields.iter().any(|field| match field.kind {
        Kind::Boolean => true,
        Kind::Choice { .. } => matches!(field.name.as_str(), "status" | "state" | "stage"),
        _ => false,
    });
    if said || (first && stateless) {
        for name in touched(action) {
            let missing = !entity.fields.iter().any(|field| field.name == name)
                && !entity.relations.iter().any(|relation| relation.name == name);
            if missing
                && entity.fields.len() < FIELDS_MAX
                && let Some(field) = natural.iter().find(|field| field.name == name)
            {
                entity.fields.push(field.clone());
            }
        }
    }
    let sets: Vec<Set> = action.sets.iter().filter(|set| set_fits(entity, set)).cloned().collect();
    // Without the value that names the outcome, a date alone says nothing.
    let outcome_lost = action.sets.iter().any(|set| matches!(set, Set::Choice { .. }))
        && !sets.iter().any(|set| matches!(set, Set::Choice { .. }));
    let requires = action.requires.as_ref().map(|condition| fitted(condition, action, entity));
    let holds = requires.as_ref().is_none_or(|condition| condition_holds(entity, condition));
    if !sets.is_empty() && !outcome_lost && holds {
        entity.actions.push(Action { sets, requires, ..action.clone() });
    }
}

/// A condition on a choice whose words the brief gives: of the usual ones those that are there,
/// else all but the outcomes of actions.
fn fitted(condition: &Condition, action: &Action, entity: &Entity) -> Condition {
    let Condition::OneOf { field, options: usual } = condition else { return condition.clone() };
    let Some(Field { kind: Kind::Choice { options }, .. }) =
        entity.fields.iter().find(|known| known.name == *field)
    else {
        return condition.clone();
    };
    let mut kept: Vec<String> =
        usual.iter().filter(|option| options.contains(option)).cloned().collect();
    if kept.is_empty() {
        const ENDS: &[&str] = &["lost", "won", "closed", "cancelled", "rejected", "done", "sold"];
        kept = options.clone();
        kept.retain(|option| {
            !ENDS.contains(&option.as_str())
                && !action
                    .sets
                    .iter()
                    .any(|set| matches!(set, Set::Choice { value, .. } if value == option))
        });
    }
    Condition::OneOf { field: field.clone(), options: kept }
}

/// The fields that an action reads or writes.
fn touched(action: &Action) -> Vec<&str> {
    let mut names: Vec<&str> = action
        .sets
        .iter()
        .map(|set| match set {
            Set::Now { field } | Set::Boolean { field, .. } | Set::Choice { field, .. } => field,
        })
        .map(String::as_str)
        .collect();
    names.extend(action.requires.as_ref().map(|condition| match condition {
        Condition::Empty { field }
        | Condition::OneOf { field, .. }
        | Condition::Equal { field, .. }
        | Condition::Positive { field } => field.as_str(),
    }));
    names
}

/// Puts each entity after those it needs; where they need each other in a circle, an optional
/// relation gives way before a required one.
fn ordered(mut waiting: Vec<Entity>) -> Vec<Entity> {
    let mut placed: Vec<Entity> = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        let free = waiting.iter().position(|entity| {
            entity.relations.iter().all(|relation| {
                relation.target == entity.name
                    || placed.iter().any(|other| other.name == relation.target)
            })
        });
        match free {
            Some(at) => placed.push(waiting.remove(at)),
            None => break_circle(&mut waiting),
        }
    }
    placed
}

fn break_circle(waiting: &mut [Entity]) {
    let names: Vec<String> = waiting.iter().map(|entity| entity.name.clone()).collect();
    let blocks = |entity: &Entity, relation: &Relation| {
        relation.target != entity.name && names.contains(&relation.target)
    };
    for wanted in [false, true] {
        // The last named gives way: what is named first is what the brief is about.
        for entity in waiting.iter_mut().rev() {
            let at = entity
                .relations
                .iter()
                .position(|relation| relation.required == wanted && blocks(entity, relation));
            if let Some(at) = at {
                entity.relations.remove(at);
                return;
            }
        }
    }
}
