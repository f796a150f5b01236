//! What templates are told of an entity: its module, its class, its table and its tests, in Python.

use serde::Serialize;

use super::{
    actions::{ActionView, action_tuple, action_view},
    definitions::{table, table_import, values_import},
    layout::{Expression, text},
    names, samples,
};
use crate::generate::{
    naming::{kebab, python_string, words},
    spec::{Cardinality, Entity, Field, Kind, Relation, Spec},
};

/// An entity as templates see it. Names are as in Python unless said otherwise.
#[derive(Debug, Serialize)]
pub struct RecordView {
    pub name: String,
    pub plural: String,
    /// `order item` and `order items`, for people.
    pub noun: String,
    pub nouns: String,
    pub about: String,
    pub module: String,
    pub class: String,
    pub command: String,
    pub columns: Vec<Column>,
    pub links: Vec<LinkView>,
    pub actions: Vec<ActionView>,
    /// `TABLE = Table(...)`, laid out.
    pub table: String,
    /// The import of what the table is made of, laid out.
    pub table_import: String,
    pub values_import: String,
    pub uses_decimal: bool,
    pub uses_refusal: bool,
    /// `ACTIONS: ... = (...)`, laid out.
    pub action_tuple: String,
    /// The records elsewhere that point here.
    pub referrers: Vec<ReferrerView>,
    /// The text, e-mail and other options of a new record with only what it must have.
    pub needed: Vec<OptionView>,
    /// Every option of a new record, links last.
    pub all: Vec<OptionView>,
    /// What follows `edit 1` in examples.
    pub edit_example: String,
    /// Values for tests that change and find records: tuples in a list, laid out.
    pub changes: String,
    pub has_changes: bool,
    /// Wrong values: tuples in a list, laid out.
    pub wrong: String,
    /// Options that a new record cannot do without.
    pub missing: Vec<String>,
    /// `@pytest.mark.parametrize(...)` over them, laid out.
    pub missing_parameters: String,
    /// Fields whose values may not repeat: tuples of option, column and value, laid out.
    pub unique: Vec<String>,
    pub unique_list: String,
    /// What can be taken from a record: tuples of name, option and column, laid out.
    pub clearable: Vec<String>,
    pub clearable_list: String,
    /// The fixtures that tests need for what a new record points at: with only what it must have,
    /// and with all.
    pub parents: Vec<String>,
    pub all_parents: Vec<String>,
    /// Whether what a new record must have differs from one to the next.
    pub numbered: bool,
    /// `@pytest.mark.parametrize(...)` over the verbs that take an id and nothing more, laid out.
    pub verb_parameters: String,
    /// Whether a test compares with the current day.
    pub checks_dates: bool,
}

/// A column of the table: a field or the id of what the record belongs to.
#[derive(Debug, Serialize)]
pub struct Column {
    pub name: String,
    pub option: String,
    pub annotation: String,
    /// The type in the diagram of the data model.
    pub r#type: &'static str,
    /// The column's definition in SQL, without its name.
    pub sql: String,
    /// For documents: `a whole number of at least 0`.
    pub rule: String,
    pub required: bool,
    pub unique: bool,
    /// The table it points at, if it does.
    pub target: Option<TargetView>,
}

#[derive(Debug, Serialize)]
pub struct TargetView {
    pub name: String,
    pub noun: String,
    pub plural: String,
    pub is_self: bool,
}

#[derive(Debug, Serialize)]
pub struct LinkView {
    pub attribute: String,
    pub option: String,
    pub pairs: String,
    pub owner_column: String,
    pub target_column: String,
    pub target: TargetView,
}

#[derive(Debug, Serialize)]
pub struct ReferrerView {
    pub entity: String,
    pub nouns: String,
    pub option: String,
    /// Ends the name of a test: `books_as_author`.
    pub role: String,
    pub is_self: bool,
}

/// An option with its value, in the forms that tests and documents need.
#[derive(Debug, Serialize)]
pub struct OptionView {
    /// A Python expression for the whole argument.
    pub argument: String,
    /// As typed in a shell.
    pub shell: String,
    /// What the record shows as JSON, in Python, with its name there.
    pub name: String,
    pub json: String,
    /// The fixture that adds what it points at, where it does, and the variable for its id.
    pub fixture: Option<String>,
    pub variable: Option<String>,
    pub linked: bool,
}

impl RecordView {
    pub fn of(spec: &Spec, entity: &Entity) -> Self {
        let columns: Vec<Column> = entity
            .fields
            .iter()
            .map(field_column)
            .chain(owners(entity).map(|relation| reference_column(spec, entity, relation)))
            .collect();
        let links: Vec<LinkView> =
            linked(entity).map(|relation| link_view(spec, entity, relation)).collect();
        let actions: Vec<ActionView> =
            entity.actions.iter().map(|action| action_view(entity, action)).collect();
        let referrers = referrers(spec, entity);
        let missing: Vec<String> = entity
            .fields
            .iter()
            .filter(|field| is_needed(field))
            .map(|field| python_string(&names::option(&field.name)))
            .chain(
                owners(entity)
                    .filter(|relation| relation.required)
                    .map(|relation| python_string(&names::option(&column_of(relation)))),
            )
            .collect();
        let unique = unique(entity);
        let clearable = clearable(entity);
        let needed = options(entity, false);
        let all = options(entity, true);
        let verbs: Vec<String> = ["show", "delete"]
            .into_iter()
            .map(str::to_owned)
            .chain(entity.actions.iter().map(|action| names::action_command(&action.name)))
            .map(|verb| python_string(&verb))
            .collect();
        let changes: Vec<Expression> = entity.fields.iter().filter_map(change).collect();
        Self {
            noun: words(&entity.name),
            nouns: words(&entity.plural),
            about: entity.about.clone(),
            module: names::module(entity),
            class: names::class(entity),
            command: kebab(&entity.name),
            table: table(spec, entity).explode(0),
            table_import: table_import(entity, !referrers.is_empty()),
            values_import: values_import(entity),
            uses_decimal: entity.fields.iter().any(|f| matches!(f.kind, Kind::Decimal { .. })),
            uses_refusal: entity.actions.iter().any(|action| action.requires.is_some()),
            action_tuple: action_tuple(entity),
            parents: fixtures(&needed),
            all_parents: fixtures(&all),
            numbered: entity.fields.iter().any(|field| field.unique && is_needed(field)),
            verb_parameters: parametrize("verb", &verbs),
            checks_dates: actions.iter().flat_map(|a| &a.checks).any(|c| c.contains("dt.date")),
            edit_example: entity.fields.first().map_or_else(String::new, |field| {
                let [_, other] = samples::pair(field);
                format!("{} {}", names::option(&field.name), shell_word(&other.typed))
            }),
            needed,
            all,
            has_changes: !changes.is_empty(),
            changes: Expression::list(changes).explode(0),
            wrong: Expression::list(wrong(entity)).explode(0),
            missing_parameters: parametrize("missing", &missing),
            missing,
            unique_list: Expression::list(unique.iter().map(|(_, e)| e.clone()).collect())
                .explode(4),
            unique: unique.into_iter().map(|(name, _)| name).collect(),
            clearable_list: Expression::list(clearable.iter().map(|(_, e)| e.clone()).collect())
                .explode(4),
            clearable: clearable.into_iter().map(|(name, _)| name).collect(),
            name: entity.name.clone(),
            plural: entity.plural.clone(),
            columns,
            links,
            actions,
            referrers,
        }
    }
}

pub(super) fn owners(entity: &Entity) -> impl Iterator<Item = &Relation> {
    entity.relations.iter().filter(|r| r.cardinality == Cardinality::BelongsTo)
}

pub(super) fn linked(entity: &Entity) -> impl Iterator<Item = &Relation> {
    entity.relations.iter().filter(|r| r.cardinality == Cardinality::ManyToMany)
}

pub(super) fn column_of(relation: &Relation) -> String {
    format!("{}_id", relation.name)
}

fn attribute_of(relation: &Relation) -> String {
    format!("{}_ids", relation.name)
}

/// Whether the user must give a value: choices and booleans have a default.
fn is_needed(field: &Field) -> bool {
    field.required && !matches!(field.kind, Kind::Boolean | Kind::Choice { .. })
}

pub(super) fn target(spec: &Spec, entity: &Entity, relation: &Relation) -> TargetView {
    // A relation to what is not in the spec cannot come from the planner; the words then say so.
    let plural = spec
        .entities
        .iter()
        .find(|other| other.name == relation.target)
        .map_or_else(|| relation.target.clone(), |other| other.plural.clone());
    TargetView {
        name: relation.target.clone(),
        noun: words(&relation.target),
        plural,
        is_self: relation.target == entity.name,
    }
}

pub(super) fn pairs_of(entity: &Entity, relation: &Relation) -> String {
    format!("{}_{}_links", entity.plural, relation.name)
}

pub(super) fn pair_columns(entity: &Entity, relation: &Relation) -> (String, String) {
    let owner = format!("{}_id", entity.name);
    let target = column_of(relation);
    let target = if target == owner { format!("linked_{target}") } else { target };
    (owner, target)
}

pub(super) fn link_view(spec: &Spec, entity: &Entity, relation: &Relation) -> LinkView {
    let (owner_column, target_column) = pair_columns(entity, relation);
    LinkView {
        attribute: attribute_of(relation),
        option: names::option(&column_of(relation)),
        pairs: pairs_of(entity, relation),
        owner_column,
        target_column,
        target: target(spec, entity, relation),
    }
}

fn referrers(spec: &Spec, entity: &Entity) -> Vec<ReferrerView> {
    let mut found = Vec::new();
    for other in &spec.entities {
        for relation in other.relations.iter().filter(|r| r.target == entity.name) {
            found.push(ReferrerView {
                entity: other.name.clone(),
                nouns: words(&other.plural),
                option: names::option(&column_of(relation)),
                role: format!("{}_as_{}", other.plural, relation.name),
                is_self: other.name == entity.name,
            });
        }
    }
    found
}

fn field_column(field: &Field) -> Column {
    let (annotation, sql) = match &field.kind {
        Kind::Text { .. } | Kind::LongText | Kind::Email | Kind::Url | Kind::Choice { .. } => {
            ("str", "TEXT")
        }
        Kind::Integer { .. } => ("int", "INTEGER"),
        Kind::Decimal { .. } => ("decimal.Decimal", "TEXT"),
        Kind::Boolean => ("bool", "INTEGER"),
        Kind::Date => ("dt.date", "TEXT"),
        Kind::Datetime => ("dt.datetime", "TEXT"),
    };
    let r#type = match &field.kind {
        Kind::Decimal { .. } => "decimal",
        Kind::Date => "date",
        Kind::Datetime => "datetime",
        _ => annotation,
    };
    let mut sql = sql.to_owned();
    if field.required {
        sql.push_str(" NOT NULL");
    }
    if field.unique {
        sql.push_str(" UNIQUE");
    }
    match &field.kind {
        Kind::Boolean => sql.push_str(&format!(" CHECK (\"{}\" IN (0, 1))", field.name)),
        Kind::Choice { options } => {
            let options: Vec<String> = options.iter().map(|option| format!("'{option}'")).collect();
            sql.push_str(&format!(" CHECK (\"{}\" IN ({}))", field.name, options.join(", ")));
        }
        _ => {}
    }
    Column {
        name: field.name.clone(),
        option: names::option(&field.name),
        annotation: optional(annotation, field.required),
        r#type,
        sql,
        rule: rule(&field.kind),
        required: field.required,
        unique: field.unique,
        target: None,
    }
}

fn reference_column(spec: &Spec, entity: &Entity, relation: &Relation) -> Column {
    let target = target(spec, entity, relation);
    let null = if relation.required { " NOT NULL" } else { "" };
    Column {
        name: column_of(relation),
        option: names::option(&column_of(relation)),
        annotation: optional("int", relation.required),
        r#type: "int",
        sql: format!("INTEGER{null} REFERENCES \"{}\" (id)", target.plural),
        rule: format!("the id of the {}", target.noun),
        required: relation.required,
        unique: false,
        target: Some(target),
    }
}

fn optional(annotation: &str, required: bool) -> String {
    if required { annotation.to_owned() } else { format!("{annotation} | None") }
}

fn rule(kind: &Kind) -> String {
    match kind {
        Kind::Text { max } => format!("one line of at most {max} characters"),
        Kind::LongText => "text of many lines, at most 10,000 characters".to_owned(),
        Kind::Integer { min, max } => match (min, max) {
            (Some(min), Some(max)) => format!("a whole number from {min} to {max}"),
            (Some(min), None) => format!("a whole number of at least {min}"),
            (None, Some(max)) => format!("a whole number of at most {max}"),
            (None, None) => "a whole number".to_owned(),
        },
        Kind::Decimal { min: Some(min) } => {
            format!("a number with at most two decimal places, at least {min}")
        }
        Kind::Decimal { min: None } => "a number with at most two decimal places".to_owned(),
        Kind::Boolean => "yes or no".to_owned(),
        Kind::Date => "a date: YYYY-MM-DD".to_owned(),
        Kind::Datetime => "an instant: YYYY-MM-DDTHH:MM:SSZ".to_owned(),
        Kind::Email => "an e-mail address".to_owned(),
        Kind::Url => "an http or https address".to_owned(),
        Kind::Choice { options } => format!("one of {}", options.join(", ")),
    }
}

/// `"--option=value"`, as a Python literal.
pub(super) fn argument(column: &str, value: &str) -> String {
    python_string(&format!("{}={value}", names::option(column)))
}

fn options(entity: &Entity, all: bool) -> Vec<OptionView> {
    let mut options: Vec<OptionView> = Vec::new();
    for field in entity.fields.iter().filter(|field| all || is_needed(field)) {
        let [sample, _] = samples::pair(field);
        let argument = if field.unique && !all {
            format!("f\"{}={}\"", names::option(&field.name), samples::numbered(field))
        } else {
            argument(&field.name, &sample.typed)
        };
        options.push(OptionView {
            argument,
            shell: format!("{} {}", names::option(&field.name), shell_word(&sample.typed)),
            name: field.name.clone(),
            json: sample.json,
            fixture: None,
            variable: None,
            linked: false,
        });
    }
    for relation in &entity.relations {
        let linked = relation.cardinality == Cardinality::ManyToMany;
        if !all && (linked || !relation.required) {
            continue;
        }
        let fixture = format!("add_{}", relation.target);
        let option = names::option(&column_of(relation));
        let variable = if linked { attribute_of(relation) } else { column_of(relation) };
        options.push(OptionView {
            argument: if all {
                format!("f\"{option}={{{}}}\"", column_of(relation))
            } else {
                format!("f\"{option}={{{fixture}()}}\"")
            },
            shell: format!("{option} 1"),
            name: variable.clone(),
            json: if linked { format!("[{}]", column_of(relation)) } else { column_of(relation) },
            fixture: Some(fixture),
            variable: Some(column_of(relation)),
            linked,
        });
    }
    options
}

/// A decorator that runs a test for each of some Python expressions.
pub fn parametrize(name: &str, values: &[String]) -> String {
    let values = values.iter().map(|value| Expression::atom(value.clone())).collect();
    let items = vec![text(name), Expression::list(values)];
    Expression::call("@pytest.mark.parametrize", items).lay_out(0, 0, 0)
}

/// The fixtures that options need, each once, in order.
fn fixtures(options: &[OptionView]) -> Vec<String> {
    let mut fixtures: Vec<String> = Vec::new();
    for fixture in options.iter().filter_map(|option| option.fixture.as_ref()) {
        if !fixtures.contains(fixture) {
            fixtures.push(fixture.clone());
        }
    }
    fixtures
}

/// Option, column, one value, another value, and the other as JSON.
fn change(field: &Field) -> Option<Expression> {
    let [one, other] = samples::pair(field);
    (one != other).then(|| {
        Expression::tuple(vec![
            text(&names::option(&field.name)),
            text(&field.name),
            text(&one.typed),
            text(&other.typed),
            Expression::atom(other.json),
        ])
    })
}

fn wrong(entity: &Entity) -> Vec<Expression> {
    let mut found = Vec::new();
    for field in &entity.fields {
        for value in samples::wrong(field) {
            let option = text(&names::option(&field.name));
            found.push(Expression::tuple(vec![option, Expression::atom(value)]));
        }
    }
    for relation in &entity.relations {
        let option = text(&names::option(&column_of(relation)));
        found.push(Expression::tuple(vec![option, text("0")]));
    }
    found
}

fn unique(entity: &Entity) -> Vec<(String, Expression)> {
    let fields = entity.fields.iter().filter(|field| field.unique);
    fields
        .map(|field| {
            let [one, other] = samples::pair(field);
            let items = vec![
                text(&names::option(&field.name)),
                text(&field.name),
                text(&one.typed),
                text(&other.typed),
            ];
            (field.name.clone(), Expression::tuple(items))
        })
        .collect()
}

fn clearable(entity: &Entity) -> Vec<(String, Expression)> {
    let fields = entity.fields.iter().filter(|field| !field.required);
    fields
        .map(|field| {
            let items = vec![
                text(&kebab(&field.name)),
                text(&field.name),
                Expression::atom(argument(&field.name, &samples::pair(field)[0].typed)),
            ];
            (field.name.clone(), Expression::tuple(items))
        })
        .collect()
}

/// A word as a POSIX shell reads it back.
fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@=+,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}
