//! Actions as Python: what is checked, what is written, and records to test them with.

use serde::Serialize;

use super::{kinds, view::FieldView};
use crate::generate::{
    naming,
    spec::{Action, Condition, Entity, Field, Kind, Set},
};

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

/// Looks at an action of an entity.
pub fn action_view(entity: &Entity, fields: &[FieldView], action: &Action) -> ActionView {
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
