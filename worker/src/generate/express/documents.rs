//! The tables of the documents: endpoints, parameters, fields, modules.

use serde::Serialize;

use super::{
    super::{naming::with_article, spec::Kind},
    columns::Column,
    project::{Entity, Uses},
};

/// Rows of a Markdown table; the first holds the headings.
pub type Rows = Vec<Vec<String>>;

/// What only documents need.
#[derive(Debug, Serialize)]
pub struct Documents {
    /// `authors, books and loans`.
    kept: String,
    example: Example,
    endpoint_rows: Rows,
    list_rows: Rows,
    error_rows: Rows,
    setting_rows: Rows,
    module_rows: Rows,
}

/// A first conversation with the service.
#[derive(Debug, Serialize)]
struct Example {
    lines: Vec<String>,
    /// A field to show in an error.
    field: String,
}

impl Documents {
    pub fn of(slug: &str, entities: &[Entity], uses: &Uses) -> Self {
        let kept: Vec<&str> =
            entities.iter().map(|entity| entity.names.plural_words.as_str()).collect();
        let kept = match kept.split_last() {
            Some((last, [])) => (*last).to_owned(),
            Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
            None => String::new(),
        };
        Self {
            kept,
            example: Example::of(entities),
            endpoint_rows: endpoint_rows(entities),
            list_rows: list_rows(entities, uses),
            error_rows: error_rows(uses),
            setting_rows: setting_rows(slug),
            module_rows: module_rows(entities, uses),
        }
    }
}

impl Example {
    fn of(entities: &[Entity]) -> Self {
        // The first entity comes before all that it could need.
        let Some(entity) = entities.first() else {
            return Self { lines: Vec::new(), field: "body".into() };
        };
        let path = &entity.names.path;
        let address = format!("http://127.0.0.1:3000{path}");
        let fields = entity.columns.iter().filter(|column| !column.is_relation);
        let given: Vec<String> = fields
            .clone()
            .filter(|column| column.in_minimum)
            .map(|column| format!("\"{}\": {}", column.json, column.samples.static_sample))
            .collect();
        let json = "-H 'content-type: application/json'";
        let body = given.join(", ");
        let mut lines =
            vec![format!("curl -X POST {address} {json} \\"), format!("  -d '{{{body}}}'")];
        lines.push(format!("curl '{address}?limit=10&sort=-createdAt'"));
        lines.push(format!("curl {address}/1"));
        if let Some(column) = &entity.change {
            let change = format!("{{\"{}\": {}}}", column.json, column.samples.other);
            lines.push(format!("curl -X PATCH {address}/1 {json} \\"));
            lines.push(format!("  -d '{change}'"));
        }
        if let Some(action) = entity.actions.first() {
            lines.push(format!("curl -X POST {address}/1/{}", action.name));
        }
        lines.push(format!("curl -X DELETE {address}/1"));
        let mut fields = fields;
        let field = fields.next().map_or("body", |column| column.json.as_str()).to_owned();
        Self { lines, field }
    }
}

fn row(cells: &[&str]) -> Vec<String> {
    cells.iter().map(|cell| (*cell).to_owned()).collect()
}

fn endpoint_rows(entities: &[Entity]) -> Rows {
    let mut rows = vec![row(&["Method", "Path", "What it does"])];
    for entity in entities {
        let path = &entity.names.path;
        let (one, many) = (&entity.names.words, &entity.names.plural_words);
        let a = with_article(one);
        let mut add = |method: &str, path: &str, does: &str| {
            rows.push(row(&[&format!("`{method}`"), &format!("`{path}`"), does]));
        };
        add("POST", path, &format!("Creates {a}: status 201"));
        add("GET", path, &format!("Lists {many}"));
        add("GET", &format!("{path}/:id"), &format!("Reads {a}"));
        add("PATCH", &format!("{path}/:id"), &format!("Changes the given fields of {a}"));
        add("DELETE", &format!("{path}/:id"), &format!("Deletes {a}: status 204"));
        for action in &entity.actions {
            let does = format!("Does the action {} to {a}", action.name.replace('_', " "));
            add("POST", &format!("{path}/:id/{}", action.name), &does);
        }
        for nested in &entity.nested {
            let below = with_article(&nested.owner.words);
            add(
                "GET",
                &nested.path,
                &format!("Lists the {} of {below}", nested.listed.plural_words),
            );
        }
    }
    rows.push(row(&["`GET`", "`/health`", "Tells whether the service and its database answer"]));
    rows
}

fn list_rows(entities: &[Entity], uses: &Uses) -> Rows {
    let mut rows = vec![row(&["List", "Parameter", "Value"])];
    rows.push(row(&["all", "`limit`", "entries on a page, 1 to 100; 20 unless given"]));
    rows.push(row(&["all", "`offset`", "entries to leave out at the start"]));
    rows.push(row(&["all", "`sort`", "a field, or one with `-` in front for descending order"]));
    if uses.search {
        let everywhere = entities.iter().all(|entity| !entity.search_columns.is_empty());
        let lists = if everywhere {
            "all".to_owned()
        } else {
            let searched = entities.iter().filter(|entity| !entity.search_columns.is_empty());
            let paths: Vec<String> =
                searched.map(|entity| format!("`{}`", entity.names.path)).collect();
            paths.join(", ")
        };
        rows.push(row(&[&lists, "`q`", "words to find in the texts, in any case"]));
    }
    for entity in entities {
        for filter in &entity.filters {
            let list = format!("`{}`", entity.names.path);
            rows.push(row(&[&list, &format!("`{}`", filter.key), &filter.rule]));
        }
    }
    rows
}

fn error_rows(uses: &Uses) -> Rows {
    let mut rows = vec![
        row(&["Status", "Code", "When"]),
        row(&["400", "`bad_request`", "the body is no JSON"]),
        row(&["404", "`not_found`", "there is no such record or route"]),
    ];
    let reasons: Vec<&str> = [
        (uses.unique, "a value is taken"),
        (uses.belongs_to, "other records refer to this one"),
        (uses.conditions, "an action does not fit the record"),
    ]
    .into_iter()
    .filter_map(|(used, reason)| used.then_some(reason))
    .collect();
    if !reasons.is_empty() {
        rows.push(row(&["409", "`conflict`", &reasons.join(", or ")]));
    }
    rows.push(row(&["413", "`body_too_large`", "the body is larger than 1 MB"]));
    rows.push(row(&["422", "`validation_failed`", "fields or parameters are missing or bad"]));
    rows.push(row(&["500", "`internal_error`", "the service is at fault; its log says how"]));
    rows
}

fn setting_rows(slug: &str) -> Rows {
    vec![
        row(&["Variable", "Default", "What it is"]),
        row(&["`HOST`", "`127.0.0.1`", "the address to listen on; `0.0.0.0` in the container"]),
        row(&["`PORT`", "`3000`", "the port to listen on"]),
        row(&[
            "`DATABASE_FILE`",
            &format!("`data/{slug}.sqlite`"),
            "the file of the database; its folder is created",
        ]),
    ]
}

fn module_rows(entities: &[Entity], uses: &Uses) -> Rows {
    let mut rows = vec![
        row(&["Path", "What it holds"]),
        row(&["`src/server.ts`", "starts and stops the service"]),
        row(&["`src/app.ts`", "puts the routes together"]),
        row(&["`src/config.ts`", "reads the environment"]),
        row(&["`src/schema.ts`", "the tables"]),
        row(&["`src/database.ts`", "opens the database"]),
        row(&["`src/errors.ts`", "errors and how they are answered"]),
        row(&["`src/validation.ts`", "the kinds of values that requests hold"]),
        row(&["`src/listing.ts`", "pages, filters and order of lists"]),
    ];
    if uses.references {
        rows.push(row(&["`src/references.ts`", "checks that other records exist"]));
    }
    for entity in entities {
        let path = format!("`src/{}/`", entity.names.folder);
        let holds = format!("schema, repository and routes of {}", entity.names.plural_words);
        rows.push(row(&[&path, &holds]));
    }
    rows.push(row(&["`tests/`", "the tests, and what they share in `tests/support/`"]));
    rows
}

/// The table of the fields of an entity.
pub fn field_rows(columns: &[Column], links: &[(String, String)]) -> Rows {
    let mut rows = vec![row(&["Field", "Value", "When it is left out"])];
    for column in columns {
        let mut value = column.rule.clone();
        if column.unique {
            value.push_str(", not shared by two records");
        }
        let left_out = match column.default.as_deref() {
            None => "refused".to_owned(),
            Some(default) => format!("`{}`", default.trim_matches('"')),
        };
        rows.push(row(&[&format!("`{}`", column.json), &value, &left_out]));
    }
    for (json, path) in links {
        let value = format!("the ids of records of `{path}`");
        rows.push(row(&[&format!("`{json}`"), &value, "none"]));
    }
    rows
}

/// What the diagram of the tables calls a kind.
pub fn diagram_type(kind: &Kind) -> &'static str {
    match kind {
        Kind::Integer { .. } => "int",
        Kind::Decimal { .. } => "decimal",
        Kind::Boolean => "boolean",
        Kind::Date => "date",
        Kind::Datetime => "datetime",
        _ => "string",
    }
}
