//! What a field or a relation is in SQL, in TypeScript and in tests.

use serde::Serialize;

use super::{
    super::{
        naming::{camel, pascal, ts_string, words},
        spec::{Field, Kind, Relation},
    },
    documents::diagram_type,
    layout::{self, Code},
    names::{Names, sql_name},
    samples::Samples,
};

/// Numbers beyond these are not exact in JavaScript.
const SAFE: i64 = (1 << 53) - 1;

/// A column of an entity's table: a field, or the id of the record it belongs to.
#[derive(Debug, Clone, Serialize)]
pub struct Column {
    pub name: String,
    /// The key in JSON: `publishedYear`.
    pub json: String,
    pub words: String,
    /// The name as SQL takes it.
    pub sql: String,
    pub is_relation: bool,
    pub nullable: bool,
    pub unique: bool,
    pub sortable: bool,
    /// For documents: `text, 1 to 200 characters`.
    pub rule: String,
    pub diagram_type: &'static str,
    /// The line of `CREATE TABLE`.
    pub definition: String,
    /// The type of the value in the entity, and of the value that SQLite gives.
    pub ts_type: String,
    pub row_type: String,
    /// The words of a choice, as literals, and the constant and the type that are made of them.
    pub options: Vec<String>,
    pub options_name: String,
    pub options_type: String,
    /// The names of `validation.ts` that the schema uses.
    pub validators: Vec<&'static str>,
    /// The line of the schema of fields.
    pub schema_entry: String,
    /// From the body of a request to a parameter, and from a row to the entity.
    pub to_parameter: String,
    pub from_row: String,
    /// What the field is when nothing is given, as a literal; none where it must be given.
    pub default: Option<String>,
    pub in_minimum: bool,
    #[serde(flatten)]
    pub samples: Samples,
}

impl Column {
    pub fn of_field(field: &Field, owner: &Names) -> Self {
        let json = camel(&field.name);
        // What is not said of a boolean is false, as in the other stacks.
        let nullable = !field.required && field.kind != Kind::Boolean;
        // A unique boolean or choice would allow a handful of records; it is taken for a slip.
        let unique = field.unique && !matches!(field.kind, Kind::Boolean | Kind::Choice { .. });
        let options_type = format!("{}{}Option", owner.kind, pascal(&field.name));
        let options_name = format!("{json}Options");
        let options = match &field.kind {
            Kind::Choice { options } => options.iter().map(|word| ts_string(word)).collect(),
            _ => Vec::new(),
        };
        let plain = plain_type(&field.kind, &options_type);
        let default = match &field.kind {
            _ if nullable => Some("null".to_owned()),
            Kind::Choice { .. } => options.first().cloned(),
            Kind::Boolean if !field.required => Some("false".to_owned()),
            _ => None,
        };
        let validator = validator(&field.kind, &options_name);
        Self {
            sql: sql_name(&field.name),
            words: words(&field.name),
            is_relation: false,
            nullable,
            unique,
            sortable: field.kind != Kind::LongText,
            rule: rule(&field.kind),
            diagram_type: diagram_type(&field.kind),
            definition: definition(field, nullable, unique),
            ts_type: or_null(plain.clone(), nullable),
            row_type: match field.kind {
                Kind::Boolean => "number".into(),
                Kind::Choice { .. } => format!("{}[\"{json}\"]", owner.kind),
                _ => or_null(plain, nullable),
            },
            options,
            options_name,
            options_type,
            validators: validator.import.into_iter().collect(),
            schema_entry: validator.entry(&json, nullable),
            to_parameter: to_parameter(field, &json, default.as_deref()),
            from_row: match field.kind {
                Kind::Boolean => format!("row.{} === 1", field.name),
                _ => format!("row.{}", field.name),
            },
            in_minimum: default.is_none(),
            default,
            samples: Samples::of_field(field, unique),
            name: field.name.clone(),
            json,
        }
    }

    pub fn of_relation(relation: &Relation, target: &Names) -> Self {
        let name = format!("{}_id", relation.name);
        let json = camel(&name);
        let nullable = !relation.required;
        let validator = Validator::named("reference");
        Self {
            sql: name.clone(),
            words: words(&relation.name),
            is_relation: true,
            nullable,
            unique: false,
            sortable: true,
            rule: format!("the id of a record of `{}`", target.path),
            diagram_type: "int",
            definition: format!(
                "{name} INTEGER{} REFERENCES {} (id)",
                if nullable { "" } else { " NOT NULL" },
                target.table,
            ),
            ts_type: or_null("number".into(), nullable),
            row_type: or_null("number".into(), nullable),
            options: Vec::new(),
            options_name: String::new(),
            options_type: String::new(),
            validators: vec!["reference"],
            schema_entry: validator.entry(&json, nullable),
            to_parameter: format!("input.{json}{}", if nullable { " ?? null" } else { "" }),
            from_row: format!("row.{name}"),
            default: nullable.then(|| "null".to_owned()),
            in_minimum: !nullable,
            samples: Samples::of_relation(target, nullable),
            name,
            json,
        }
    }
}

/// A schema of zod, as `validation.ts` offers it.
struct Validator {
    import: Option<&'static str>,
    /// `text(200)`, or for bounds `integer(` and `)` around an object.
    code: String,
    bounds: Vec<String>,
}

impl Validator {
    fn named(name: &'static str) -> Self {
        Self { import: Some(name), code: name.into(), bounds: Vec::new() }
    }

    fn bounded(name: &'static str, min: Option<i64>, max: Option<i64>) -> Self {
        let bound = |key: &str, value: Option<i64>| {
            value
                .filter(|value| (-SAFE..=SAFE).contains(value))
                .map(|value| format!("{key}: {value}"))
        };
        let bounds = [bound("min", min), bound("max", max)].into_iter().flatten().collect();
        Self { import: Some(name), code: name.into(), bounds }
    }

    /// The line `key: schema,`, broken as prettier would.
    fn entry(&self, key: &str, nullable: bool) -> String {
        let after = if nullable { ".nullable()," } else { "," };
        if self.bounds.is_empty() {
            let call = match self.import {
                Some("integer" | "decimal") => "()",
                _ => "",
            };
            return layout::assign(&format!("{key}:"), &format!("{}{call}{after}", self.code), 2);
        }
        let bounds = self.bounds.iter().cloned().map(Code::Text).collect();
        let open = format!("{key}: {}({{ ", self.code);
        Code::list(&open, bounds, " })").lay_out(2, after)
    }
}

fn validator(kind: &Kind, options_name: &str) -> Validator {
    match kind {
        Kind::Text { max } => {
            Validator { code: format!("text({max})"), ..Validator::named("text") }
        }
        Kind::LongText => Validator::named("longText"),
        Kind::Integer { min, max } => Validator::bounded("integer", *min, *max),
        Kind::Decimal { min } => Validator::bounded("decimal", *min, None),
        Kind::Boolean => Validator { import: None, code: "z.boolean()".into(), bounds: Vec::new() },
        Kind::Date => Validator::named("date"),
        Kind::Datetime => Validator::named("datetime"),
        Kind::Email => Validator::named("email"),
        Kind::Url => Validator::named("url"),
        Kind::Choice { .. } => {
            Validator { import: None, code: format!("z.enum({options_name})"), bounds: Vec::new() }
        }
    }
}

fn plain_type(kind: &Kind, options_type: &str) -> String {
    match kind {
        Kind::Integer { .. } | Kind::Decimal { .. } => "number".into(),
        Kind::Boolean => "boolean".into(),
        Kind::Choice { .. } => options_type.into(),
        _ => "string".into(),
    }
}

fn or_null(plain: String, nullable: bool) -> String {
    if nullable { plain + " | null" } else { plain }
}

fn definition(field: &Field, nullable: bool, unique: bool) -> String {
    let name = sql_name(&field.name);
    let sql_type = match field.kind {
        Kind::Integer { .. } | Kind::Boolean => "INTEGER",
        Kind::Decimal { .. } => "REAL",
        _ => "TEXT",
    };
    let mut out = format!("{name} {sql_type}");
    if !nullable {
        out.push_str(" NOT NULL");
    }
    if unique {
        out.push_str(" UNIQUE");
    }
    match &field.kind {
        Kind::Boolean => out.push_str(&format!(" CHECK ({name} IN (0, 1))")),
        Kind::Choice { options } => {
            let words: Vec<String> =
                options.iter().map(|word| format!("'{}'", word.replace('\'', "''"))).collect();
            out.push_str(&format!(" CHECK ({name} IN ({}))", words.join(", ")));
        }
        _ => {}
    }
    out
}

fn to_parameter(field: &Field, json: &str, default: Option<&str>) -> String {
    match (&field.kind, default) {
        (Kind::Boolean, Some(default)) => format!("Number(input.{json} ?? {default})"),
        (Kind::Boolean, None) => format!("Number(input.{json})"),
        (_, Some(default)) => format!("input.{json} ?? {default}"),
        (_, None) => format!("input.{json}"),
    }
}

/// What a value must be, for documents.
fn rule(kind: &Kind) -> String {
    match kind {
        Kind::Text { max } => format!("one line of 1 to {max} characters"),
        Kind::LongText => "text of 1 to 10,000 characters".into(),
        Kind::Integer { min, max } => format!("whole number{}", bounds(*min, *max)),
        Kind::Decimal { min } => {
            format!("number with at most two decimal places{}", bounds(*min, None))
        }
        Kind::Boolean => "`true` or `false`".into(),
        Kind::Date => "day, such as `2026-11-21`".into(),
        Kind::Datetime => "instant, such as `2026-11-21T09:30:00Z`".into(),
        Kind::Email => "email address".into(),
        Kind::Url => "http or https URL".into(),
        Kind::Choice { options } => {
            let words: Vec<String> = options.iter().map(|word| format!("`{word}`")).collect();
            format!("one of {}", words.join(", "))
        }
    }
}

fn bounds(min: Option<i64>, max: Option<i64>) -> String {
    match (min, max) {
        (Some(min), Some(max)) => format!(", {min} to {max}"),
        (Some(min), None) => format!(", at least {min}"),
        (None, Some(max)) => format!(", at most {max}"),
        (None, None) => String::new(),
    }
}
