//! What templates are told of the actions of an entity.

use serde::Serialize;

use super::{
    layout::{Expression, assertion, text},
    names,
    records::argument,
    samples,
};
use crate::generate::{
    naming::{python_string, words},
    spec::{Action, Condition, Entity, Field, Kind, Set},
};

#[derive(Debug, Serialize)]
pub struct ActionView {
    pub name: String,
    pub command: String,
    pub function: String,
    pub about: String,
    /// The Python condition under which it is refused.
    pub refused_when: Option<String>,
    /// For documents: `status is pending or paid`.
    pub requires: Option<String>,
    /// For documents: what is written.
    pub effects: Vec<String>,
    /// The dictionary of what is written, laid out.
    pub written: String,
    /// `raise refusal(...)`, laid out.
    pub raised: String,
    /// Options of a record that the action takes, and of one it refuses, where both are possible.
    pub ready: Option<Vec<String>>,
    pub unready: Option<Vec<String>>,
    /// Python checks on `after`, the record as JSON after the action.
    pub checks: Vec<String>,
}

pub(super) fn action_view(entity: &Entity, action: &Action) -> ActionView {
    let condition = action.requires.as_ref().map(|requires| condition(entity, requires));
    let written: Vec<Written> = action.sets.iter().map(|set| written(entity, set)).collect();
    let command = names::action_command(&action.name);
    let dictionary = Expression::Group {
        open: "{".to_owned(),
        items: written
            .iter()
            .map(|one| Expression::atom(format!("\"{}\": {}", one.field, one.value)))
            .collect(),
        close: "}",
    };
    let change = vec![Expression::atom("connection"), Expression::atom("record_id"), dictionary];
    let (ready, unready) = states(entity, action.requires.as_ref());
    ActionView {
        raised: condition.as_ref().map_or_else(String::new, |condition| {
            let items = vec![
                Expression::atom("TABLE"),
                Expression::atom("record_id"),
                text(&command),
                Expression::atom(condition.reason.clone()),
            ];
            Expression::call("raise refusal", items).lay_out(8, 8, 0)
        }),
        refused_when: condition.as_ref().map(|condition| condition.refused_when.clone()),
        requires: condition.map(|condition| condition.requires),
        written: Expression::call("return TABLE.change", change).lay_out(4, 4, 0),
        function: action_function(entity, action),
        effects: written
            .iter()
            .map(|one| format!("{} becomes {}", words(&one.field), one.effect))
            .collect(),
        checks: written.into_iter().map(|one| one.check).collect(),
        name: action.name.clone(),
        about: action.about.clone(),
        command,
        ready,
        unready,
    }
}

/// One value that an action writes.
struct Written {
    field: String,
    /// In Python.
    value: String,
    /// For documents: `yes`.
    effect: String,
    /// A test's assertion, laid out for depth 4.
    check: String,
}

fn written(entity: &Entity, set: &Set) -> Written {
    let (field, value, effect, op, right) = match set {
        Set::Now { field } => match now_function(entity, field) {
            "today" => {
                let today = "dt.date.today().isoformat()".to_owned();
                (field, "today()".to_owned(), "the current day", "==", today)
            }
            _ => {
                let created = "after[\"created_at\"]".to_owned();
                (field, "now()".to_owned(), "the current instant", ">=", created)
            }
        },
        Set::Boolean { field, value: true } => {
            (field, "True".to_owned(), "yes", "is", "True".to_owned())
        }
        Set::Boolean { field, value: false } => {
            (field, "False".to_owned(), "no", "is", "False".to_owned())
        }
        Set::Choice { field, value } => {
            (field, python_string(value), value.as_str(), "==", python_string(value))
        }
    };
    let check = assertion(4, &format!("after[\"{field}\"]"), op, &right);
    Written { field: field.clone(), value, effect: effect.to_owned(), check }
}

/// The options of a record that an action takes, and of one that it refuses, as Python literals,
/// where there can be such records.
type States = (Option<Vec<String>>, Option<Vec<String>>);

fn states(entity: &Entity, requires: Option<&Condition>) -> States {
    let field_of = |name: &str| entity.fields.iter().find(|field| field.name == name);
    let one = |field: &str, value: &str| Some(vec![argument(field, value)]);
    match requires {
        None => (Some(vec![]), None),
        Some(Condition::Empty { field }) => match field_of(field) {
            // A field that a new record must have is never empty.
            Some(found) => {
                let empty = (!found.required).then(Vec::new);
                (empty, one(field, &samples::pair(found)[0].typed))
            }
            None => (None, None),
        },
        Some(Condition::OneOf { field, options }) => {
            let other = match field_of(field).map(|found| &found.kind) {
                Some(Kind::Choice { options: all }) => all.iter().find(|o| !options.contains(o)),
                _ => None,
            };
            let ready = options.first().and_then(|option| one(field, option));
            (ready, other.and_then(|option| one(field, option)))
        }
        Some(Condition::Equal { field, value }) => {
            let (right, wrong) = if *value { ("yes", "no") } else { ("no", "yes") };
            (one(field, right), one(field, wrong))
        }
        Some(Condition::Positive { field }) => {
            let options = |sample: fn(&Field) -> Option<String>| {
                field_of(field).and_then(sample).and_then(|value| one(field, &value))
            };
            (options(samples::positive), options(samples::not_positive))
        }
    }
}

struct Check {
    refused_when: String,
    reason: String,
    requires: String,
}

fn condition(entity: &Entity, condition: &Condition) -> Check {
    let optional = |name: &str| entity.fields.iter().any(|f| f.name == name && !f.required);
    match condition {
        Condition::Empty { field } => Check {
            refused_when: format!("before.{field} is not None"),
            reason: python_string(&format!("{} is already set", words(field))),
            requires: format!("{} is empty", words(field)),
        },
        Condition::OneOf { field, options } => {
            let literals: Vec<Expression> = options.iter().map(|o| text(o)).collect();
            let refused_when = match literals.as_slice() {
                [Expression::Atom(only)] => format!("before.{field} != {only}"),
                _ => {
                    let head = format!("before.{field} not in ");
                    head.clone() + &Expression::tuple(literals).lay_out(4, 7 + head.len(), 1)
                }
            };
            Check {
                refused_when,
                reason: choice_reason(field),
                requires: format!("{} is {}", words(field), options.join(" or ")),
            }
        }
        Condition::Equal { field, value } => {
            let (value, other, said) =
                if *value { ("True", "not yes", "yes") } else { ("False", "not no", "no") };
            Check {
                refused_when: format!("before.{field} is not {value}"),
                reason: python_string(&format!("{} is {other}", words(field))),
                requires: format!("{} is {said}", words(field)),
            }
        }
        Condition::Positive { field } => Check {
            refused_when: if optional(field) {
                format!("(before.{field} or 0) <= 0")
            } else {
                format!("before.{field} <= 0")
            },
            reason: python_string(&format!("{} is not above zero", words(field))),
            requires: format!("{} is above zero", words(field)),
        },
    }
}

/// Why an action is refused for the value of a choice, as a Python literal short enough for a line.
fn choice_reason(field: &str) -> String {
    let reason = format!("f\"{} is {{before.{field}}}\"", words(field));
    if reason.len() < 80 { reason } else { format!("f\"it is {{before.{field}}}\"") }
}

pub(super) fn now_function(entity: &Entity, field: &str) -> &'static str {
    let kind = entity.fields.iter().find(|f| f.name == field).map(|f| &f.kind);
    if matches!(kind, Some(Kind::Date)) { "today" } else { "now" }
}

fn action_function(entity: &Entity, action: &Action) -> String {
    format!("{}_{}", action.name, entity.name)
}

pub(super) fn action_tuple(entity: &Entity) -> String {
    let head = format!("ACTIONS: tuple[Action[{}], ...] = ", names::class(entity));
    let actions = entity.actions.iter().map(|action| {
        let items = vec![
            text(&names::action_command(&action.name)),
            Expression::atom(action_function(entity, action)),
        ];
        Expression::call("Action", items)
    });
    let tuple = Expression::tuple(actions.collect()).lay_out(0, head.len(), 0);
    format!("{head}{tuple}")
}
