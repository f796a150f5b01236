//! What an entity is called in the places of a generated project.
//!
//! Code meets names that the language, the standard library or our own templates use already
//! (`request`, `page`, `event`): those get a suffix, so that nothing is shadowed.

use serde::Serialize;

use super::super::{
    naming::{camel, kebab, pascal, words},
    spec,
};

/// The names of one entity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Names {
    /// `order_item`, as in the spec.
    pub name: String,
    /// `order_items`, as in the spec.
    pub plural: String,
    /// `OrderItem`: the interface, and the stem of other types.
    #[serde(rename = "type")]
    pub kind: String,
    /// `orderItem`: a variable that holds one.
    pub var: String,
    /// `orderItems`: a variable that holds the repository.
    pub plural_var: String,
    pub words: String,
    pub plural_words: String,
    /// `order-items`: the folder of its modules.
    pub folder: String,
    /// `order-item`: the stem of the files in the folder.
    pub file: String,
    /// `/order_items`.
    pub path: String,
    /// The table as SQL names it, quoted if it must be.
    pub table: String,
}

impl Names {
    /// The names of all entities of a project, in their order.
    pub fn of_all(entities: &[spec::Entity]) -> Vec<Self> {
        let shorten = |name: &str| {
            let short = short(name);
            let same = |other: &str| self::short(other) == short;
            let alike = entities.iter().flat_map(|entity| [&entity.name, &entity.plural]);
            if alike.filter(|other| same(other)).count() > 1 { name } else { short }.to_owned()
        };
        entities
            .iter()
            .map(|entity| Self::of(entity, &shorten(&entity.name), &shorten(&entity.plural)))
            .collect()
    }

    /// The names of an entity that code calls by the last words of its names.
    fn of(entity: &spec::Entity, short: &str, short_plural: &str) -> Self {
        let kind = pascal(short);
        Self {
            name: entity.name.clone(),
            plural: entity.plural.clone(),
            kind: if TYPES.contains(&kind.as_str()) { kind + "Record" } else { kind },
            var: variable(short, "Record"),
            plural_var: variable(short_plural, "Repository"),
            words: words(&entity.name),
            plural_words: words(&entity.plural),
            folder: folder(entity),
            file: kebab(&entity.name),
            path: format!("/{}", entity.plural),
            table: sql_name(&entity.plural),
        }
    }
}

/// `order-items`: the folder of an entity's modules.
pub fn folder(entity: &spec::Entity) -> String {
    kebab(&entity.plural)
}

/// The last words of a long name: with all of them, few lines of code would fit the page.
fn short(name: &str) -> &str {
    let mut rest = name;
    while let Some((_, shorter)) = rest.split_once('_').filter(|_| rest.len() > SHORT_BYTES_MAX) {
        rest = shorter;
    }
    // A name cannot begin with a digit.
    if rest.starts_with(|c: char| c.is_ascii_digit()) { name } else { rest }
}

/// The longest name that code uses as it is.
const SHORT_BYTES_MAX: usize = 24;

/// A variable of this name, with the suffix where the name alone is taken.
pub fn variable(name: &str, suffix: &str) -> String {
    let camel = camel(name);
    if VARIABLES.contains(&camel.as_str()) { camel + suffix } else { camel }
}

/// A name as SQL takes it: quoted if SQLite would read it as a keyword.
pub fn sql_name(name: &str) -> String {
    let upper = name.to_ascii_uppercase();
    if SQL_KEYWORDS.contains(&upper.as_str()) { format!("\"{name}\"") } else { name.to_owned() }
}

/// Types that the templates, the language or the standard library use.
const TYPES: &[&str] = &[
    "Answer",
    "ApiError",
    "Array",
    "Boolean",
    "Buffer",
    "Config",
    "Database",
    "Date",
    "Entry",
    "Error",
    "ErrorBody",
    "ErrorDetail",
    "Express",
    "Filter",
    "Function",
    "Infinity",
    "Intl",
    "JSON",
    "Json",
    "Listing",
    "Map",
    "Math",
    "NaN",
    "Number",
    "Object",
    "Order",
    "Page",
    "Partial",
    "Pick",
    "Promise",
    "Proxy",
    "Record",
    "ReferenceCheck",
    "Reflect",
    "RegExp",
    "Request",
    "Response",
    "Router",
    "Row",
    "Schema",
    "Server",
    "Set",
    "Sqlite",
    "String",
    "Symbol",
    "TestApi",
    "URL",
    "Url",
    "Iterator",
    "Awaited",
    "Readonly",
    "Required",
    "Omit",
    "Exclude",
    "Extract",
    "Event",
    "Symbols",
];

/// Variables that the templates use where variables of entities and relations stand as well, and
/// names that the language keeps for itself.
const VARIABLES: &[&str] = &[
    "abstract",
    "afterEach",
    "all",
    "allowed",
    "any",
    "api",
    "app",
    "arguments",
    "as",
    "assert",
    "assertNow",
    "assertRefused",
    "async",
    "await",
    "badValues",
    "beforeEach",
    "body",
    "boolean",
    "break",
    "case",
    "catch",
    "changed",
    "changes",
    "check",
    "class",
    "column",
    "const",
    "contains",
    "continue",
    "create",
    "created",
    "createdAt",
    "database",
    "debugger",
    "declare",
    "default",
    "delete",
    "describe",
    "do",
    "else",
    "enum",
    "equals",
    "error",
    "eval",
    "expected",
    "export",
    "extends",
    "false",
    "field",
    "file",
    "filtered",
    "finally",
    "first",
    "for",
    "found",
    "from",
    "function",
    "get",
    "global",
    "globalThis",
    "id",
    "if",
    "implements",
    "import",
    "in",
    "infinity",
    "input",
    "insert",
    "instanceof",
    "interface",
    "is",
    "items",
    "last",
    "lastInsertRowid",
    "let",
    "linked",
    "linkedPaths",
    "module",
    "namespace",
    "never",
    "new",
    "next",
    "none",
    "now",
    "null",
    "number",
    "object",
    "of",
    "package",
    "page",
    "parameters",
    "path",
    "paths",
    "pathId",
    "private",
    "process",
    "protected",
    "public",
    "query",
    "read",
    "req",
    "request",
    "require",
    "requiredFields",
    "res",
    "response",
    "rest",
    "return",
    "router",
    "row",
    "second",
    "secondPath",
    "selectPage",
    "sequence",
    "static",
    "status",
    "string",
    "super",
    "switch",
    "symbol",
    "taken",
    "target",
    "test",
    "third",
    "this",
    "throw",
    "toParameters",
    "true",
    "try",
    "type",
    "typeof",
    "undefined",
    "unknown",
    "update",
    "updatedAt",
    "url",
    "validate",
    "value",
    "values",
    "var",
    "void",
    "wanted",
    "while",
    "with",
    "yield",
    "z",
];

/// The keywords that SQLite takes for names nowhere.
const SQL_KEYWORDS: &[&str] = &[
    "ADD",
    "ALL",
    "ALTER",
    "AND",
    "AS",
    "AUTOINCREMENT",
    "BETWEEN",
    "CASE",
    "CHECK",
    "COLLATE",
    "COMMIT",
    "CONSTRAINT",
    "CREATE",
    "CROSS",
    "DEFAULT",
    "DEFERRABLE",
    "DELETE",
    "DISTINCT",
    "DROP",
    "ELSE",
    "ESCAPE",
    "EXCEPT",
    "EXISTS",
    "FOREIGN",
    "FROM",
    "FULL",
    "GROUP",
    "HAVING",
    "IN",
    "INDEX",
    "INNER",
    "INSERT",
    "INTERSECT",
    "INTO",
    "IS",
    "ISNULL",
    "JOIN",
    "LEFT",
    "LIMIT",
    "NATURAL",
    "NOT",
    "NOTHING",
    "NOTNULL",
    "NULL",
    "ON",
    "OR",
    "ORDER",
    "OUTER",
    "PRIMARY",
    "REFERENCES",
    "RETURNING",
    "RIGHT",
    "SELECT",
    "SET",
    "TABLE",
    "THEN",
    "TO",
    "TRANSACTION",
    "UNION",
    "UNIQUE",
    "UPDATE",
    "USING",
    "VALUES",
    "WHEN",
    "WHERE",
];
