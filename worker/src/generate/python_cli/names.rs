//! What things are called in a generated Python project, where the words of a spec would clash
//! with Python, with its packages or with each other.

use crate::generate::naming::{kebab, pascal};
use crate::generate::spec::{Entity, Spec};

/// Programs that the project's own environment has; a script of this name would replace one.
const TAKEN_PROGRAMS: &[&str] = &[
    "activate",
    "flit-core",
    "markdown",
    "markdown-py",
    "packaging",
    "pip",
    "pip3",
    "pluggy",
    "py-test",
    "pygmentize",
    "pygments",
    "pytest",
    "python",
    "python3",
    "ruff",
];

/// Packages of Python's standard library, its keywords, and what the project installs: a package
/// of this name would hide one or be hidden.
const TAKEN_PACKAGES: &str = include_str!("taken_packages.txt");

/// Python's keywords, which no module may be called.
const KEYWORDS: &[&str] = &[
    "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del", "elif",
    "else", "except", "finally", "for", "from", "global", "if", "import", "in", "is", "lambda",
    "nonlocal", "not", "or", "pass", "raise", "return", "try", "while", "with", "yield",
];

/// Classes that a module of records uses; a class of the same name would hide one.
const TAKEN_CLASSES: &[&str] = &[
    "Action",
    "Boolean",
    "Choice",
    "Date",
    "Datetime",
    "Decimal",
    "Email",
    "Failure",
    "False",
    "Field",
    "Integer",
    "Links",
    "LongText",
    "None",
    "Reference",
    "Referrer",
    "Table",
    "Text",
    "True",
    "Url",
];

/// Verbs that every kind of record has.
const VERBS: &[&str] = &["add", "list", "show", "edit", "delete"];

/// Options that commands have beside those for values; `record_commands.py` has the same list.
const RESERVED_OPTIONS: &[&str] = &["help", "json", "limit", "clear"];

/// The command that users type.
pub fn program(spec: &Spec) -> String {
    if TAKEN_PROGRAMS.contains(&spec.slug.as_str()) {
        format!("{}-cli", spec.slug)
    } else {
        spec.slug.clone()
    }
}

/// The Python package.
pub fn package(spec: &Spec) -> String {
    let name = program(spec).replace('-', "_");
    if TAKEN_PACKAGES.lines().any(|taken| taken == name) { format!("{name}_cli") } else { name }
}

/// The environment variable that names the database file.
pub fn variable(spec: &Spec) -> String {
    format!("{}_DB", program(spec).replace('-', "_").to_uppercase())
}

/// The module of an entity's records.
pub fn module(entity: &Entity) -> String {
    if KEYWORDS.contains(&entity.plural.as_str()) {
        format!("{}_records", entity.plural)
    } else {
        entity.plural.clone()
    }
}

/// The class of an entity's records.
pub fn class(entity: &Entity) -> String {
    let name = pascal(&entity.name);
    let exception = ["Error", "Exception", "Warning"].iter().any(|end| name.ends_with(end));
    if exception || TAKEN_CLASSES.contains(&name.as_str()) { name + "Record" } else { name }
}

/// The sub-command of an action.
pub fn action_command(action: &str) -> String {
    if VERBS.contains(&action) { format!("do-{action}") } else { kebab(action) }
}

/// The option that carries a value.
pub fn option(column: &str) -> String {
    let suffix = if RESERVED_OPTIONS.contains(&column) { "-value" } else { "" };
    format!("--{}{suffix}", kebab(column))
}

/// A key that sorts module names as ruff's import sorting does: runs of digits by their value.
pub fn natural(name: &str) -> Vec<(String, u64)> {
    let mut key: Vec<(String, u64)> = vec![(String::new(), 0)];
    let mut in_digits = false;
    for c in name.chars() {
        let last = key.last_mut();
        match (c.to_digit(10), last) {
            (Some(digit), Some((_, value))) => {
                *value = value.saturating_mul(10).saturating_add(u64::from(digit));
                in_digits = true;
            }
            (None, Some((text, _))) if !in_digits => text.push(c),
            _ => {
                key.push((c.to_string(), 0));
                in_digits = false;
            }
        }
    }
    key
}
