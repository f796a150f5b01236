//! What an action is in code, and how it is tested.

use serde::Serialize;

use super::{
    super::{
        naming::{camel, pascal, ts_string, words},
        spec::{self, Condition, Kind},
    },
    layout::Code,
    names::Names,
    samples::Samples,
};

#[derive(Debug, Serialize)]
pub struct Action {
    pub name: String,
    pub about: String,
    /// The method of the repository: `returnLoan`.
    pub method: String,
    /// The statements up to the block that refuses, and the line in the block that throws.
    pub check: String,
    pub refusal: Option<String>,
    /// What must hold, for documents.
    pub condition: Option<String>,
    pub uses_now: bool,
    pub sets: Vec<Set>,
    pub title: String,
    pub refused_title: String,
    /// Whether any record can meet the condition.
    pub possible: bool,
    /// What a record is given for the action to be possible.
    pub before: Vec<Given>,
    /// Whether doing it makes doing it again impossible.
    pub spends_itself: bool,
    /// What a record is given for the action to be refused; none where no record is.
    pub refused_with: Option<Vec<Given>>,
}

#[derive(Debug, Serialize)]
pub struct Set {
    json: String,
    value: String,
    /// The test that it was written.
    assertion: String,
    is_now: bool,
}

/// A field of a body, with its value.
#[derive(Debug, Serialize)]
pub struct Given {
    json: String,
    value: String,
}

/// A condition as code and as what tests give.
struct Guard {
    check: String,
    reason: String,
    possible: bool,
    before: Vec<Given>,
    refused_with: Option<Vec<Given>>,
}

impl Action {
    pub fn of(action: &spec::Action, entity: &spec::Entity, own: &Names) -> Self {
        let guard = action.requires.as_ref().map(|condition| Guard::of(condition, entity, own));
        let said = words(&action.name);
        let refusal = guard.as_ref().map(|guard| {
            let message = format!("Cannot {said} this {}: {}.", own.words, guard.reason);
            let items = vec![Code::Text(ts_string(&message))];
            Code::list("throw new ConflictError(", items, ")").lay_out(6, ";")
        });
        let sets: Vec<Set> = action.sets.iter().map(|set| Set::of(set, entity)).collect();
        let spends_itself =
            action.requires.as_ref().is_some_and(|condition| spends(condition, &action.sets));
        let condition = guard.as_ref().map(|guard| guard.reason.clone());
        let guard = guard.unwrap_or_else(Guard::open);
        Self {
            name: action.name.clone(),
            about: action.about.clone(),
            method: format!("{}{}", camel(&action.name), pascal(&own.name)),
            check: guard.check,
            refusal,
            condition,
            uses_now: sets.iter().any(|set| set.is_now),
            sets,
            title: format!("take the action {said}"),
            refused_title: format!("refuse the action {said} when it does not fit"),
            possible: guard.possible,
            before: guard.before,
            spends_itself,
            refused_with: guard.refused_with,
        }
    }

    /// Whether the test of this action compares with the current time.
    pub fn asserts_now(&self) -> bool {
        self.possible && self.uses_now
    }
}

impl Set {
    fn of(set: &spec::Set, entity: &spec::Entity) -> Self {
        let (field, value, is_now) = match set {
            spec::Set::Now { field } => {
                let is_day = field_of(entity, field).is_some_and(|field| field.kind == Kind::Date);
                (field, if is_day { "now.slice(0, 10)" } else { "now" }.to_owned(), true)
            }
            spec::Set::Boolean { field, value } => (field, value.to_string(), false),
            spec::Set::Choice { field, value } => (field, ts_string(value), false),
        };
        let json = camel(field);
        let assertion = if is_now {
            format!("assertNow(body.{json});")
        } else {
            format!("assert.equal(body.{json}, {value});")
        };
        Self { json, value, assertion, is_now }
    }
}

impl Guard {
    /// No condition: whatever the record, the action is done.
    fn open() -> Self {
        Self {
            check: String::new(),
            reason: String::new(),
            possible: true,
            before: Vec::new(),
            refused_with: None,
        }
    }

    fn of(condition: &Condition, entity: &spec::Entity, own: &Names) -> Self {
        let name = match condition {
            Condition::Empty { field }
            | Condition::OneOf { field, .. }
            | Condition::Equal { field, .. }
            | Condition::Positive { field } => field,
        };
        let json = camel(name);
        let value = format!("{}.{json}", own.var);
        let field = field_of(entity, name);
        let nullable = field.is_none_or(|field| !field.required && field.kind != Kind::Boolean);
        let given = |value: String| vec![Given { json: json.clone(), value }];
        match condition {
            Condition::Empty { .. } => Self {
                check: format!("if ({value} !== null) {{"),
                reason: format!("{json} is set already"),
                possible: nullable,
                before: Vec::new(),
                refused_with: field
                    .filter(|_| nullable)
                    .map(|field| given(Samples::of_field(field, false).static_sample)),
            },
            Condition::OneOf { options, .. } => Self {
                check: one_of(&value, options, nullable),
                reason: format!("{json} must be {}", options.join(" or ")),
                possible: true,
                before: options.first().map(|word| given(ts_string(word))).unwrap_or_default(),
                refused_with: field
                    .and_then(|field| match &field.kind {
                        Kind::Choice { options: all } => {
                            all.iter().find(|word| !options.contains(word))
                        }
                        _ => None,
                    })
                    .map(|word| given(ts_string(word))),
            },
            Condition::Equal { value: wanted, .. } => Self {
                check: match wanted {
                    true => format!("if (!{value}) {{"),
                    false => format!("if ({value}) {{"),
                },
                reason: format!("{json} must be {wanted}"),
                possible: true,
                before: given(wanted.to_string()),
                refused_with: Some(given((!wanted).to_string())),
            },
            Condition::Positive { .. } => positive(&json, &value, field, nullable),
        }
    }
}

fn positive(json: &str, value: &str, field: Option<&spec::Field>, nullable: bool) -> Guard {
    let (min, max) = match field.map(|field| &field.kind) {
        Some(Kind::Integer { min, max }) => (*min, *max),
        Some(Kind::Decimal { min }) => (*min, None),
        _ => (None, None),
    };
    let given = |value: String| vec![Given { json: json.to_owned(), value }];
    let zero = min.is_none_or(|min| min <= 0) && max.is_none_or(|max| max >= 0);
    let low = min.unwrap_or(1).max(1);
    Guard {
        check: if nullable {
            format!("if (({value} ?? 0) <= 0) {{")
        } else {
            format!("if ({value} <= 0) {{")
        },
        reason: format!("{json} must be greater than zero"),
        possible: max.is_none_or(|max| max >= low),
        before: given(low.to_string()),
        refused_with: match (zero, nullable) {
            (true, _) => Some(given("0".into())),
            (false, true) => Some(given("null".into())),
            (false, false) => None,
        },
    }
}

/// The head of the block that refuses other words than these.
fn one_of(value: &str, options: &[String], nullable: bool) -> String {
    if let [only] = options {
        let line = format!("if ({value} !== {}) {{", ts_string(only));
        if line.len() + 4 <= 100 {
            return line;
        }
    }
    let kind = if nullable { "(string | null)[]" } else { "string[]" };
    let words = options.iter().map(|word| Code::Text(ts_string(word))).collect();
    let list = Code::list(&format!("const allowed: {kind} = ["), words, "]").lay_out(4, ";");
    format!("{list}\n    if (!allowed.includes({value})) {{")
}

/// Whether what is written breaks the condition.
fn spends(condition: &Condition, sets: &[spec::Set]) -> bool {
    sets.iter().any(|set| match (condition, set) {
        (Condition::Empty { field }, spec::Set::Now { field: set })
        | (Condition::Empty { field }, spec::Set::Boolean { field: set, .. })
        | (Condition::Empty { field }, spec::Set::Choice { field: set, .. }) => field == set,
        (Condition::OneOf { field, options }, spec::Set::Choice { field: set, value }) => {
            field == set && !options.contains(value)
        }
        (Condition::Equal { field, value }, spec::Set::Boolean { field: set, value: written }) => {
            field == set && value != written
        }
        _ => false,
    })
}

fn field_of<'a>(entity: &'a spec::Entity, name: &str) -> Option<&'a spec::Field> {
    entity.fields.iter().find(|field| field.name == name)
}
