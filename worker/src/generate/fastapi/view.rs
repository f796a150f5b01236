//! A spec as the templates want it: every name spelled out, every link seen from both ends.

use std::collections::HashSet;

use serde::Serialize;

use super::{kinds, periods};
use crate::generate::{
    naming,
    spec::{Action, Cardinality, Condition, Entity, Field, Kind, Relation, Set, Spec},
};

/// Names that the functions of a router use for other things.
const TAKEN: [&str; 18] = [
    "assign",
    "db",
    "dt",
    "find",
    "limit",
    "matches",
    "models",
    "offset",
    "paginate",
    "payload",
    "q",
    "remove",
    "router",
    "save",
    "select",
    "sort",
    "statement",
    "window",
];

/// The whole project.
#[derive(Debug, Serialize)]
pub struct Project {
    pub slug: String,
    /// `book_library`, for files and volumes.
    pub file_name: String,
    pub title: String,
    pub summary: String,
    pub brief: String,
    pub notes: Vec<String>,
    pub entities: Vec<EntityView>,
    pub has_decimals: bool,
    pub has_links: bool,
    pub has_owners: bool,
    pub has_cycles: bool,
    pub has_uniques: bool,
    pub has_long_texts: bool,
    pub has_lines: bool,
    pub has_urls: bool,
    pub has_datetimes: bool,
    /// Whether a number has no lower, or no upper bound of its own.
    pub has_integer_min: bool,
    pub has_integer_max: bool,
    pub has_required: bool,
    pub has_periods: bool,
    pub has_numbered: bool,
    pub has_search: bool,
}

#[derive(Debug, Serialize)]
pub struct EntityView {
    pub name: String,
    pub plural: String,
    pub class: String,
    /// `order item`
    pub words: String,
    /// `order items`
    pub plural_words: String,
    /// The name of one record in functions.
    pub var: String,
    /// The name of its id in paths and functions.
    pub id: String,
    pub about: String,
    pub fields: Vec<FieldView>,
    /// The relations to one other record.
    pub owners: Vec<OwnerView>,
    /// The relations to many other records.
    pub links: Vec<LinkView>,
    pub actions: Vec<ActionView>,
    /// The reads of these records below another record.
    pub nested: Vec<NestedView>,
    /// What has to go before a record of this can: plurals, in words.
    pub required_by: Vec<String>,
    /// Fields that cannot be null, and relations, in the order of the columns.
    pub not_null: Vec<String>,
    /// What must be in a request to create one.
    pub needed: Vec<String>,
    pub sortable: Vec<String>,
    /// A body to create one with, as JSON on one line, without single quotes.
    pub example: String,
    /// Fields that begin and end a period.
    pub periods: Vec<(String, String)>,
    /// Whether values are looked up in the database before they are written.
    pub looked_up: bool,
    /// Whether they are compared with the record as it is.
    pub compared: bool,
    /// Whether its factory needs a number.
    pub numbered: bool,
}

#[derive(Debug, Serialize)]
pub struct FieldView {
    pub name: String,
    pub words: String,
    /// As in the spec: `text`, `long_text`.
    pub kind: String,
    pub required: bool,
    pub unique: bool,
    pub nullable: bool,
    pub column: String,
    pub python: String,
    /// The type in requests.
    pub checked: String,
    pub alias: Option<Alias>,
    /// The alias of the options of a choice.
    pub choice: Option<String>,
    pub options: Vec<String>,
    /// What a field gets that is not given, as Python.
    pub default: Option<String>,
    /// The name of the query parameter, for fields that lists are filtered by.
    pub filter: Option<String>,
    pub is_text: bool,
    pub described: String,
    pub word: &'static str,
    pub made: String,
    pub one: String,
    pub another: String,
    pub refused: Vec<String>,
    pub findable: Option<&'static str>,
}

impl FieldView {
    /// Whether what the factory makes is made with `number`. The word may be in a fixed value too.
    fn is_numbered(&self) -> bool {
        self.made != self.one && self.made.contains("number")
    }

    /// Takes samples from later in the year, for what is after another field.
    fn move_back(&mut self) {
        for sample in [&mut self.one, &mut self.another, &mut self.made] {
            *sample =
                sample.replace("2026-03-14", "2026-09-30").replace("2026-04-15", "2026-10-31");
        }
    }
}

/// A type with bounds, named in the module of the schemas.
#[derive(Debug, Serialize)]
pub struct Alias {
    pub name: String,
    pub base: &'static str,
    pub bounds: String,
}

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

#[derive(Debug, Serialize)]
pub struct ActionView {
    pub name: String,
    pub words: String,
    pub function: String,
    pub about: String,
    pub requires: Option<Condition>,
    /// Whether the field of the condition may be null.
    pub nullable: bool,
    pub sets: Vec<SetView>,
    /// What a record is created with so that the action is allowed: name and Python value.
    pub allowed_by: Option<(String, String)>,
    /// What a record is created with so that it is refused.
    pub refused_by: Option<(String, String)>,
    /// False where no record can ever meet the condition.
    pub possible: bool,
}

#[derive(Debug, Serialize)]
pub struct SetView {
    pub field: String,
    /// The value as Python; for the present, how it is read.
    pub value: String,
    pub is_now: bool,
}

/// Looks at a spec as Python.
pub fn project(spec: &Spec) -> Project {
    let mut paths = HashSet::new();
    let mut entities: Vec<EntityView> =
        spec.entities.iter().map(|entity| entity_view(spec, entity)).collect();
    for (view, entity) in entities.iter_mut().zip(&spec.entities) {
        view.nested = nested(spec, entity, &mut paths);
    }
    let bounds: Vec<String> = entities
        .iter()
        .flat_map(|entity| &entity.fields)
        .filter_map(|field| field.alias.as_ref())
        .map(|alias| alias.bounds.clone())
        .collect();
    let kinds: Vec<&Kind> =
        spec.entities.iter().flat_map(|entity| &entity.fields).map(|field| &field.kind).collect();
    let some = |wanted: fn(&Kind) -> bool| kinds.iter().any(|kind| wanted(kind));
    Project {
        slug: spec.slug.clone(),
        file_name: spec.slug.replace('-', "_"),
        title: naming::one_line(&spec.title),
        summary: naming::one_line(&spec.summary),
        brief: spec.brief.clone(),
        notes: spec.notes.clone(),
        has_decimals: some(|kind| matches!(kind, Kind::Decimal { .. })),
        has_links: entities.iter().any(|entity| !entity.links.is_empty()),
        has_owners: entities.iter().any(|entity| !entity.owners.is_empty()),
        has_cycles: entities.iter().flat_map(|entity| &entity.owners).any(|owner| owner.is_self),
        has_uniques: entities.iter().flat_map(|entity| &entity.fields).any(|field| field.unique),
        has_long_texts: some(|kind| matches!(kind, Kind::LongText)),
        has_lines: some(|kind| matches!(kind, Kind::Text { .. })),
        has_urls: some(|kind| matches!(kind, Kind::Url)),
        has_datetimes: some(|kind| matches!(kind, Kind::Datetime)),
        has_integer_min: bounds.iter().any(|bounds| bounds.contains("INTEGER_MIN")),
        has_integer_max: bounds.iter().any(|bounds| bounds.contains("INTEGER_MAX")),
        has_required: entities.iter().any(|entity| !entity.required_by.is_empty()),
        has_periods: entities.iter().any(|entity| !entity.periods.is_empty()),
        has_numbered: entities.iter().any(|entity| entity.numbered),
        has_search: some(kinds::is_text),
        entities,
    }
}

fn entity_view(spec: &Spec, entity: &Entity) -> EntityView {
    let periods = periods::of(&entity.fields);
    let mut fields: Vec<FieldView> =
        entity.fields.iter().map(|field| field_view(entity, field)).collect();
    for field in &mut fields {
        if periods.iter().any(|(_, last)| *last == field.name) {
            field.move_back();
        }
    }
    let of = |wanted: Cardinality| {
        entity.relations.iter().filter(move |relation| relation.cardinality == wanted)
    };
    let owners: Vec<OwnerView> =
        of(Cardinality::BelongsTo).map(|relation| owner(spec, entity, relation)).collect();
    let links: Vec<LinkView> =
        of(Cardinality::ManyToMany).map(|relation| link(spec, entity, relation)).collect();
    let required: Vec<String> =
        owners.iter().filter(|owner| owner.required).map(|owner| owner.column.clone()).collect();
    let names = |wanted: fn(&FieldView) -> bool| {
        fields.iter().filter(move |field| wanted(field)).map(|field| field.name.clone())
    };
    let mut sortable = vec!["id".to_owned(), "created_at".to_owned(), "updated_at".to_owned()];
    sortable.extend(names(|field| field.kind != "long_text"));
    EntityView {
        name: entity.name.clone(),
        plural: entity.plural.clone(),
        class: naming::pascal(&entity.name),
        words: naming::words(&entity.name),
        plural_words: naming::words(&entity.plural),
        var: variable(&entity.name),
        id: format!("{}_id", entity.name),
        about: naming::one_line(&entity.about),
        actions: entity.actions.iter().map(|action| action_view(entity, &fields, action)).collect(),
        nested: Vec::new(),
        required_by: required_by(spec, entity),
        not_null: names(|field| !field.nullable).chain(required.clone()).collect(),
        needed: names(|field| !field.nullable && field.default.is_none()).chain(required).collect(),
        looked_up: !owners.is_empty()
            || !links.is_empty()
            || fields.iter().any(|field| field.unique),
        compared: !periods.is_empty()
            || fields.iter().any(|field| field.unique)
            || owners.iter().any(|owner| owner.is_self),
        numbered: fields.iter().any(|field| field.required && field.is_numbered()),
        periods,
        sortable,
        example: example(&fields, &owners),
        fields,
        owners,
        links,
    }
}

/// Only the words of field names and fixed samples go in, so no quote can end the shell's string.
fn example(fields: &[FieldView], owners: &[OwnerView]) -> String {
    let given = fields.iter().filter(|field| field.required).map(|field| {
        let value = match field.one.as_str() {
            "True" => "true",
            "False" => "false",
            other => other,
        };
        format!("\"{}\": {value}", field.name)
    });
    let linked = owners
        .iter()
        .filter(|owner| owner.required)
        .map(|owner| format!("\"{}\": 1", owner.column));
    format!("{{{}}}", given.chain(linked).collect::<Vec<_>>().join(", "))
}

fn field_view(entity: &Entity, field: &Field) -> FieldView {
    let class = naming::pascal(&entity.name);
    let start = naming::pascal(&field.name);
    let choice_name = format!("{class}{start}Choice");
    let options = match &field.kind {
        Kind::Choice { options } => options.clone(),
        _ => Vec::new(),
    };
    let is_choice = !options.is_empty();
    let is_boolean = field.kind == Kind::Boolean;
    let alias = kinds::bounded(&field.kind).map(|(end, base, bounds)| Alias {
        name: format!("{start}{end}"),
        base,
        bounds,
    });
    let checked = match (&alias, kinds::checked(&field.kind, &choice_name)) {
        (Some(alias), _) => alias.name.clone(),
        (None, Some(checked)) => checked,
        (None, None) => kinds::python(&field.kind, &choice_name),
    };
    FieldView {
        name: field.name.clone(),
        words: naming::words(&field.name),
        kind: kind_name(&field.kind).to_owned(),
        required: field.required,
        // Two or three records at most could be kept, so nobody can mean it of these.
        unique: field.unique && !is_choice && !is_boolean,
        // What is not said to be true is false; there is no third answer.
        nullable: !field.required && !is_boolean,
        column: kinds::column(field, &choice_name, &format!("{}_{}", entity.name, field.name)),
        python: kinds::python(&field.kind, &choice_name),
        checked,
        alias,
        choice: is_choice.then_some(choice_name),
        default: match &field.kind {
            Kind::Choice { options } if field.required => Some(naming::python_string(&options[0])),
            Kind::Boolean if !field.required => Some("False".into()),
            _ => None,
        },
        filter: (is_choice || is_boolean).then(|| match field.name.as_str() {
            name if TAKEN.contains(&name) => format!("{name}_is"),
            name => name.to_owned(),
        }),
        options,
        is_text: kinds::is_text(&field.kind),
        described: kinds::described(&field.kind),
        word: kinds::word(&field.kind),
        made: kinds::made(field),
        one: kinds::one(field),
        another: kinds::another(field),
        refused: kinds::refused(field),
        findable: kinds::findable(&field.kind),
    }
}

fn kind_name(kind: &Kind) -> &'static str {
    match kind {
        Kind::Text { .. } => "text",
        Kind::LongText => "long_text",
        Kind::Integer { .. } => "integer",
        Kind::Decimal { .. } => "decimal",
        Kind::Boolean => "boolean",
        Kind::Date => "date",
        Kind::Datetime => "datetime",
        Kind::Email => "email",
        Kind::Url => "url",
        Kind::Choice { .. } => "choice",
    }
}

fn owner(spec: &Spec, entity: &Entity, relation: &Relation) -> OwnerView {
    OwnerView {
        name: relation.name.clone(),
        words: naming::words(&relation.name),
        column: format!("{}_id", relation.name),
        required: relation.required && relation.target != entity.name,
        is_self: relation.target == entity.name,
        target: target(spec, &relation.target),
    }
}

fn link(spec: &Spec, entity: &Entity, relation: &Relation) -> LinkView {
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

fn variable(name: &str) -> String {
    if TAKEN.contains(&name) { format!("{name}_record") } else { name.to_owned() }
}

/// The plurals, in words, of what cannot be without a record of this entity.
fn required_by(spec: &Spec, entity: &Entity) -> Vec<String> {
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
fn nested(spec: &Spec, entity: &Entity, paths: &mut HashSet<String>) -> Vec<NestedView> {
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

fn action_view(entity: &Entity, fields: &[FieldView], action: &Action) -> ActionView {
    let condition_field = action.requires.as_ref().map(|condition| match condition {
        Condition::Empty { field }
        | Condition::OneOf { field, .. }
        | Condition::Equal { field, .. }
        | Condition::Positive { field } => field.as_str(),
    });
    let view = fields.iter().find(|field| Some(field.name.as_str()) == condition_field);
    let field = entity.fields.iter().find(|field| Some(field.name.as_str()) == condition_field);
    let (allowed_by, refused_by, possible) = match (&action.requires, view, field) {
        (Some(condition), Some(view), Some(field)) => examples(condition, view, field),
        _ => (None, None, true),
    };
    let verb = match action.name.as_str() {
        "create" | "list" | "get" | "update" | "delete" => format!("mark_{}", action.name),
        name => name.to_owned(),
    };
    ActionView {
        name: action.name.clone(),
        words: naming::words(&action.name),
        function: format!("{verb}_{}", entity.name),
        about: naming::one_line(&action.about),
        requires: action.requires.clone(),
        nullable: view.is_some_and(|field| field.nullable),
        sets: action.sets.iter().map(|set| set_view(fields, set)).collect(),
        allowed_by,
        refused_by,
        possible,
    }
}

type Example = Option<(String, String)>;

/// What makes a condition hold, what breaks it, and whether it can hold at all.
fn examples(condition: &Condition, view: &FieldView, field: &Field) -> (Example, Example, bool) {
    let with = |value: String| Some((field.name.clone(), value));
    match condition {
        Condition::Empty { .. } if view.kind == "boolean" => {
            (with("False".into()), with("True".into()), true)
        }
        Condition::Empty { .. } => (None, with(view.one.clone()), view.nullable),
        Condition::OneOf { options, .. } => {
            let other = view.options.iter().find(|option| !options.contains(option));
            let refused = other.and_then(|option| with(naming::python_string(option)));
            let allowed = options.first().and_then(|option| with(naming::python_string(option)));
            (allowed, refused, !options.is_empty())
        }
        Condition::Equal { value, .. } => {
            (with(python_bool(*value)), with(python_bool(!*value)), true)
        }
        Condition::Positive { .. } => match &field.kind {
            Kind::Decimal { min } => {
                let refused = match min {
                    Some(min) if *min > 0 => None,
                    _ => with("\"0.00\"".into()),
                };
                (with(kinds::one(field)), refused, true)
            }
            kind => {
                let (low, high) = kinds::bounds(kind);
                let zero = 0.clamp(low, high);
                let refused = if zero <= 0 { with(zero.to_string()) } else { None };
                (with(1.clamp(low, high).to_string()), refused, high > 0)
            }
        },
    }
}

fn set_view(fields: &[FieldView], set: &Set) -> SetView {
    match set {
        Set::Now { field } => {
            let is_date = fields.iter().any(|view| view.name == *field && view.kind == "date");
            let value = if is_date { "utc_now().date()" } else { "utc_now()" };
            SetView { field: field.clone(), value: value.into(), is_now: true }
        }
        Set::Boolean { field, value } => {
            SetView { field: field.clone(), value: python_bool(*value), is_now: false }
        }
        Set::Choice { field, value } => {
            SetView { field: field.clone(), value: naming::python_string(value), is_now: false }
        }
    }
}

fn python_bool(value: bool) -> String {
    if value { "True".into() } else { "False".into() }
}
