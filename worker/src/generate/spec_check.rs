//! Whether a spec keeps what its documentation promises.
//!
//! Generators build on these promises without looking; whoever makes a spec is held to them here.

use std::collections::HashSet;

use super::reserved::{is_reserved_entity, is_reserved_field, is_reserved_plural};
use super::spec::{Action, Cardinality, Condition, Entity, Field, Kind, Set, Spec, Stack};

/// Longer names make lines that no formatter can break.
pub const NAME_BYTES_MAX: usize = 40;

impl Spec {
    /// Names every broken promise, in sentences; `Ok` when there is none.
    pub fn validate(&self) -> Result<(), Vec<String>> {
        let mut faults = Vec::new();
        self.validate_heading(&mut faults);
        self.validate_names(&mut faults);
        let mut before: Vec<&str> = Vec::new();
        for entity in &self.entities {
            validate_fields(entity, &mut faults);
            validate_relations(entity, &before, &mut faults);
            for action in &entity.actions {
                validate_action(entity, action, &mut faults);
            }
            unique(&entity.name, "action", entity.actions.iter().map(|one| &one.name), &mut faults);
            before.push(&entity.name);
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    fn validate_heading(&self, faults: &mut Vec<String>) {
        if !is_kebab(&self.slug) || self.slug.len() > 40 {
            faults.push(format!("the slug {:?} is no kebab-case name", self.slug));
        }
        for (what, line) in [("title", &self.title), ("summary", &self.summary)] {
            if line.trim().is_empty() || line.chars().any(char::is_control) {
                faults.push(format!("the {what} {line:?} is not one line of text"));
            }
        }
        for note in &self.notes {
            if !note.ends_with('.') || note.chars().any(char::is_control) {
                faults.push(format!("the note {note:?} is no sentence"));
            }
        }
        if self.entities.is_empty() && self.tools.is_empty() {
            faults.push("nothing is built: neither records nor tools".to_owned());
        }
        if self.stack != Stack::PythonCli && (!self.tools.is_empty() || self.entities.is_empty()) {
            faults.push("a service keeps records and has no tools".to_owned());
        }
        let distinct: HashSet<_> = self.tools.iter().collect();
        if distinct.len() != self.tools.len() {
            faults.push("a tool is named twice".to_owned());
        }
    }

    fn validate_names(&self, faults: &mut Vec<String>) {
        let mut taken: HashSet<&str> = HashSet::new();
        for entity in &self.entities {
            for name in [&entity.name, &entity.plural] {
                if !is_snake(name) {
                    faults.push(format!("{name:?} is no snake-case name"));
                }
                if !taken.insert(name) {
                    faults.push(format!("the name {name} is used twice"));
                }
            }
            if is_reserved_entity(&entity.name) {
                faults.push(format!("{} is a reserved word", entity.name));
            }
            if is_reserved_plural(&entity.plural) {
                faults.push(format!("{} is a reserved plural", entity.plural));
            }
            if !is_sentence(&entity.about) {
                faults.push(format!("{}: {:?} is no sentence", entity.name, entity.about));
            }
        }
    }
}

fn validate_fields(entity: &Entity, faults: &mut Vec<String>) {
    let name = &entity.name;
    if entity.fields.is_empty() {
        faults.push(format!("{name} has no fields"));
    }
    unique(name, "field", entity.fields.iter().map(|field| &field.name), faults);
    for field in &entity.fields {
        if !is_snake(&field.name) || is_reserved_field(&field.name) {
            faults.push(format!("{name}: no field can be called {:?}", field.name));
        }
        let sound = match &field.kind {
            Kind::Text { max } => (1..=1000).contains(max),
            Kind::Integer { min: Some(min), max: Some(max) } => min <= max,
            Kind::Choice { options } => {
                let distinct: HashSet<_> = options.iter().collect();
                options.len() >= 2
                    && distinct.len() == options.len()
                    && options.iter().all(|one| is_snake(one))
            }
            _ => true,
        };
        if !sound {
            faults.push(format!("{name}.{}: the kind {:?} is not sound", field.name, field.kind));
        }
    }
}

fn validate_relations(entity: &Entity, before: &[&str], faults: &mut Vec<String>) {
    let name = &entity.name;
    unique(name, "relation", entity.relations.iter().map(|relation| &relation.name), faults);
    for relation in &entity.relations {
        let itself = relation.target == *name;
        if !is_snake(&relation.name) || is_reserved_field(&relation.name) && relation.name != "user"
        {
            faults.push(format!("{name}: no relation can be called {:?}", relation.name));
        }
        if !itself && !before.contains(&relation.target.as_str()) {
            faults.push(format!("{name} is listed before {}, which it needs", relation.target));
        }
        let many = relation.cardinality == Cardinality::ManyToMany;
        if relation.required && (itself || many) {
            faults.push(format!("{name}.{} cannot be required", relation.name));
        }
        let column = format!("{}_id", relation.name);
        if entity.fields.iter().any(|field| field.name == column || field.name == relation.name) {
            faults.push(format!("{name}.{} is a field and a relation", relation.name));
        }
    }
}

fn validate_action(entity: &Entity, action: &Action, faults: &mut Vec<String>) {
    let place = format!("{}.{}", entity.name, action.name);
    if !is_snake(&action.name) || !is_sentence(&action.about) {
        faults.push(format!("{place}: the name or its sentence is not sound"));
    }
    if action.sets.is_empty() {
        faults.push(format!("{place} writes nothing"));
    }
    if let Some(condition) = &action.requires
        && !condition_holds(entity, condition)
    {
        faults.push(format!("{place}: {condition:?} does not fit the fields"));
    }
    for set in &action.sets {
        if !set_fits(entity, set) {
            faults.push(format!("{place}: {set:?} does not fit the fields"));
        }
    }
}

/// Whether a condition speaks of a field that this entity has, of the right kind.
pub fn condition_holds(entity: &Entity, condition: &Condition) -> bool {
    match condition {
        Condition::Empty { field } => kind(entity, field).is_some_and(|field| {
            matches!(field.kind, Kind::Date | Kind::Datetime) || !field.required
        }),
        Condition::OneOf { field, options: wanted } => {
            matches!(kind(entity, field), Some(Field { kind: Kind::Choice { options }, .. })
                if !wanted.is_empty() && wanted.iter().all(|one| options.contains(one)))
        }
        Condition::Equal { field, .. } => {
            matches!(kind(entity, field), Some(Field { kind: Kind::Boolean, .. }))
        }
        Condition::Positive { field } => kind(entity, field)
            .is_some_and(|field| matches!(field.kind, Kind::Integer { .. } | Kind::Decimal { .. })),
    }
}

/// Whether a value can be written to a field that this entity has.
pub fn set_fits(entity: &Entity, set: &Set) -> bool {
    match set {
        Set::Now { field } => kind(entity, field)
            .is_some_and(|field| matches!(field.kind, Kind::Date | Kind::Datetime)),
        Set::Boolean { field, .. } => {
            matches!(kind(entity, field), Some(Field { kind: Kind::Boolean, .. }))
        }
        Set::Choice { field, value } => {
            matches!(kind(entity, field), Some(Field { kind: Kind::Choice { options }, .. })
                if options.contains(value))
        }
    }
}

fn kind<'a>(entity: &'a Entity, name: &str) -> Option<&'a Field> {
    entity.fields.iter().find(|field| field.name == name)
}

fn unique<'a>(
    entity: &str,
    what: &str,
    names: impl Iterator<Item = &'a String>,
    faults: &mut Vec<String>,
) {
    let mut taken = HashSet::new();
    for name in names {
        if !taken.insert(name) {
            faults.push(format!("{entity} has the {what} {name} twice"));
        }
    }
}

fn is_sentence(text: &str) -> bool {
    text.ends_with('.') && text.len() > 1 && !text.chars().any(char::is_control)
}

/// Words of small ASCII letters and digits with single underscores, beginning with a letter.
fn is_snake(name: &str) -> bool {
    is_joined(name, '_') && name.len() <= NAME_BYTES_MAX
}

fn is_kebab(name: &str) -> bool {
    is_joined(name, '-')
}

fn is_joined(name: &str, with: char) -> bool {
    name.starts_with(|ch: char| ch.is_ascii_lowercase())
        && name.split(with).all(|word| {
            !word.is_empty()
                && word.chars().all(|ch| ch.is_ascii_lowercase() || ch.is_ascii_digit())
        })
}
