//! Relations as Python, seen from both ends: columns, link tables, and the reads below a record.

use std::collections::HashSet;

use serde::Serialize;

use super::view::TAKEN;
use crate::generate::{
    naming,
    spec::{Cardinality, Entity, Relation, Spec},
};

#[derive(Debug, Clone, Serialize)]
pub struct Target {
    pub name: String,
    pub plural: String,
    pub class: String,
    pub words: String,
    pub plural_words: String,
    pub var: String,
}

#[derive(Debug, Serialize)]
pub struct OwnerView {
    pub name: String,
    pub words: String,
    /// `author_id`
    pub column: String,
    pub required: bool,
    pub is_self: bool,
    pub target: Target,
}

#[derive(Debug, Serialize)]
pub struct LinkView {
    pub name: String,
    pub words: String,
    /// The list of records on the model: `tags`.
    pub attribute: String,
    /// The list of ids in requests: `tag_ids`.
    pub ids: String,
    /// The query parameter: `tag_id`.
    pub filter: String,
    /// The link table, and the variable that holds it.
    pub table: String,
    pub left: String,
    pub right: String,
    pub is_self: bool,
    pub target: Target,
}

/// `GET /<owner>/{id}/<segment>`, answered with these records.
#[derive(Debug, Clone, Serialize)]
pub struct NestedView {
    pub owner: Target,
    pub owner_id: String,
    pub segment: String,
    pub path: String,
    pub function: String,
    pub about: String,
    pub how: How,
    /// The column or list that the link is made by.
    pub by: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// A column of these records names the owner.
    Column,
    /// These records list the owner.
    Listing,
    /// The owner lists these records.
    Listed,
}

/// Looks at a relation to one record.
pub fn owner(spec: &Spec, entity: &Entity, relation: &Relation) -> OwnerView {
    OwnerView {
        name: relation.name.clone(),
        words: naming::words(&relation.name),
        column: format!("{}_id", relation.name),
        required: relation.required && relation.target != entity.name,
        is_self: relation.target == entity.name,
        target: target(spec, &relation.target),
    }
}

/// Looks at a relation to many records.
pub fn link(spec: &Spec, entity: &Entity, relation: &Relation) -> LinkView {
    let left = format!("{}_id", entity.name);
    let right = match format!("{}_id", relation.name) {
        same if same == left => format!("linked_{same}"),
        other => other,
    };
    LinkView {
        name: relation.name.clone(),
        words: naming::words(&relation.name),
        attribute: link_attribute(spec, relation),
        ids: format!("{}_ids", relation.name),
        filter: format!("{}_id", relation.name),
        table: format!("{}_{}_links", entity.name, relation.name),
        left,
        right,
        is_self: relation.target == entity.name,
        target: target(spec, &relation.target),
    }
}

/// The list of a many-to-many relation: the plural of its name.
fn link_attribute(spec: &Spec, relation: &Relation) -> String {
    if relation.name == relation.target {
        return target(spec, &relation.target).plural;
    }
    let name = &relation.name;
    let consonant_y = name.ends_with('y') && !name.ends_with(['a', 'e', 'o', 'u']);
    match name.as_str() {
        _ if consonant_y && !["ay", "ey", "oy", "uy"].iter().any(|end| name.ends_with(end)) => {
            format!("{}ies", &name[..name.len() - 1])
        }
        _ if ["s", "x", "ch", "sh"].iter().any(|end| name.ends_with(end)) => format!("{name}es"),
        _ => format!("{name}s"),
    }
}

fn target(spec: &Spec, name: &str) -> Target {
    // A spec whose relations lead nowhere is refused before it comes here; a name of the usual
    // shape keeps this total all the same.
    let plural = spec
        .entities
        .iter()
        .find(|entity| entity.name == name)
        .map_or_else(|| format!("{name}s"), |entity| entity.plural.clone());
    Target {
        name: name.to_owned(),
        class: naming::pascal(name),
        words: naming::words(name),
        plural_words: naming::words(&plural),
        var: variable(name),
        plural,
    }
}

/// The name of one record in functions, which is not one that they use otherwise.
pub fn variable(name: &str) -> String {
    if TAKEN.contains(&name) { format!("{name}_record") } else { name.to_owned() }
}

/// The plurals, in words, of what cannot be without a record of this entity.
pub fn required_by(spec: &Spec, entity: &Entity) -> Vec<String> {
    spec.entities
        .iter()
        .filter(|other| {
            other.relations.iter().any(|relation| {
                relation.required
                    && relation.target == entity.name
                    && relation.cardinality == Cardinality::BelongsTo
                    && other.name != entity.name
            })
        })
        .map(|other| naming::words(&other.plural))
        .collect()
}

/// The reads below other records that are answered with this entity, each path once.
pub fn nested(spec: &Spec, entity: &Entity, paths: &mut HashSet<String>) -> Vec<NestedView> {
    let mut reads = Vec::new();
    for relation in &entity.relations {
        let owner = target(spec, &relation.target);
        let role = format!("{}_as_{}", entity.plural, relation.name);
        let to_same = entity.relations.iter().filter(|other| other.target == relation.target);
        let segment = match relation.cardinality {
            _ if relation.target == entity.name && relation.name == "parent" => "children".into(),
            _ if relation.target == entity.name => role.clone(),
            _ if to_same.count() == 1 || relation.name == relation.target => entity.plural.clone(),
            _ => role.clone(),
        };
        let (how, by) = match relation.cardinality {
            Cardinality::BelongsTo => (How::Column, format!("{}_id", relation.name)),
            Cardinality::ManyToMany => (How::Listing, link_attribute(spec, relation)),
        };
        let about = match segment == entity.plural {
            true => format!("Lists the {} of this {}.", naming::words(&segment), owner.words),
            false => format!(
                "Lists the {} that have this {} as {}.",
                naming::words(&entity.plural),
                owner.words,
                naming::words(&relation.name),
            ),
        };
        reads.extend(read(owner, [segment, role], about, how, by, paths));
    }
    for other in &spec.entities {
        for relation in &other.relations {
            if relation.target != entity.name || relation.cardinality != Cardinality::ManyToMany {
                continue;
            }
            let attribute = link_attribute(spec, relation);
            let about = format!(
                "Lists the {} of this {}.",
                naming::words(&attribute),
                naming::words(&other.name)
            );
            let owner = target(spec, &other.name);
            let names = [attribute.clone(), format!("linked_{attribute}")];
            reads.extend(read(owner, names, about, How::Listed, attribute, paths));
        }
    }
    reads
}

/// One nested read below the first of the names that is free, if one is.
fn read(
    owner: Target,
    names: [String; 2],
    about: String,
    how: How,
    by: String,
    paths: &mut HashSet<String>,
) -> Option<NestedView> {
    let owner_id = format!("{}_id", owner.name);
    let (segment, path) = names
        .into_iter()
        .map(|name| (name.clone(), format!("/{}/{{{owner_id}}}/{name}", owner.plural)))
        .find(|(_, path)| paths.insert(path.clone()))?;
    let function = format!("list_{segment}_of_{}", owner.name);
    Some(NestedView { owner, owner_id, segment, path, function, about, how, by })
}
