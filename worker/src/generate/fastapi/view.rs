//! A spec as the templates want it: every name spelled out, every link seen from both ends.

use std::collections::HashSet;

use serde::Serialize;

use super::{
    actions::{self, ActionView},
    kinds,
    links::{self, LinkView, NestedView, OwnerView},
    periods,
};
use crate::generate::{
    naming,
    spec::{Cardinality, Entity, Field, Kind, Spec},
};

/// Names that the functions of a router use for other things.
pub const TAKEN: [&str; 19] = [
    "client",
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

/// Looks at a spec as Python.
pub fn project(spec: &Spec) -> Project {
    let mut paths = HashSet::new();
    let mut entities: Vec<EntityView> =
        spec.entities.iter().map(|entity| entity_view(spec, entity)).collect();
    for (view, entity) in entities.iter_mut().zip(&spec.entities) {
        view.nested = links::nested(spec, entity, &mut paths);
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
        of(Cardinality::BelongsTo).map(|relation| links::owner(spec, entity, relation)).collect();
    let links: Vec<LinkView> =
        of(Cardinality::ManyToMany).map(|relation| links::link(spec, entity, relation)).collect();
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
        var: links::variable(&entity.name),
        id: format!("{}_id", entity.name),
        about: naming::one_line(&entity.about),
        actions: entity
            .actions
            .iter()
            .map(|action| actions::action_view(entity, &fields, action))
            .collect(),
        nested: Vec::new(),
        required_by: links::required_by(spec, entity),
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
