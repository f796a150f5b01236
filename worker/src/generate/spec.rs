//! What a brief asks for, in a form that a generator can build from.
//!
//! A spec is written once, by the planner, and kept in the plan; every task of the build reads it.
//! It knows nothing of files or frameworks. How a brief becomes a spec: `plan/planner/rules`.

use serde::{Deserialize, Serialize};

/// Everything the generators know about the software to be built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Folder, package and image name: kebab case, ASCII, starts with a letter, at most 40 bytes.
    pub slug: String,
    /// The name people read: `Book Library`.
    pub title: String,
    /// One sentence without markup that says what the software is for.
    pub summary: String,
    pub stack: Stack,
    /// The brief as it came, for the documents of the project.
    pub brief: String,
    /// In dependency order: an entity comes after every other entity it belongs to.
    pub entities: Vec<Entity>,
    /// What a command-line tool does beside keeping records; empty for services.
    pub tools: Vec<Tool>,
    /// What the brief asked for that this stack does not give, and what it gets instead, in full
    /// sentences. Shown in the plan and in the README of the project.
    pub notes: Vec<String>,
}

/// What a project is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stack {
    /// A REST service: FastAPI, SQLAlchemy 2, SQLite by default.
    Fastapi,
    /// A REST service in TypeScript: Express 5, SQLite by default.
    Express,
    /// A command-line tool in Python.
    PythonCli,
}

/// A kind of record that the software keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entity {
    /// Snake case, singular: `order_item`. Never a reserved word of Python, TypeScript or SQL.
    pub name: String,
    /// Snake case, plural: `order_items`; the table, the route and the module are named so.
    pub plural: String,
    /// What one record is, for documents: `A copy of a book lent to a member.`
    pub about: String,
    /// The fields besides `id`, `created_at` and `updated_at`, which every entity has. At least
    /// one.
    pub fields: Vec<Field>,
    /// The records that one of these belongs to or is linked with.
    pub relations: Vec<Relation>,
    /// What can be done to a record besides creating, reading, changing and deleting it.
    pub actions: Vec<Action>,
}

/// One value of a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// Snake case, never a reserved word, never `id`, `created_at` or `updated_at`.
    pub name: String,
    pub kind: Kind,
    /// Whether a record cannot be created without it.
    pub required: bool,
    /// Whether two records may not share a value.
    pub unique: bool,
}

/// What a field can hold. Bounds are inclusive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Kind {
    /// One line, 1 to `max` characters (1 to 1000).
    Text {
        max: u32,
    },
    /// Many lines, at most 10,000 characters.
    LongText,
    Integer {
        min: Option<i64>,
        max: Option<i64>,
    },
    /// A decimal number with two places, such as an amount of money or a weight.
    Decimal {
        min: Option<i64>,
    },
    Boolean,
    /// A day: `2026-11-21`.
    Date,
    /// An instant: `2026-11-21T09:30:00Z`.
    Datetime,
    Email,
    Url,
    /// One of a few words in snake case; the first is the default. At least two.
    Choice {
        options: Vec<String>,
    },
}

/// A link from one entity to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Relation {
    /// Snake case, singular; the role of the other in this one: `author`, `borrower`, `parent`.
    pub name: String,
    /// The singular name of the other entity, which may be this one.
    pub target: String,
    pub cardinality: Cardinality,
    /// Whether a record cannot be created without it. Always false where an entity points at itself
    /// and where many are linked with many.
    pub required: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cardinality {
    /// Many of these belong to one of the other: a column `<name>_id` here.
    BelongsTo,
    /// Many with many: a link table.
    ManyToMany,
}

/// A verb on one record that changes one or more of its fields: returning a loan, finishing a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Action {
    /// Snake case, a verb: `return`. Route and command are named so; code must not use it bare,
    /// since it may be a reserved word.
    pub name: String,
    /// What it does, for documents: `Marks the loan as returned today.`
    pub about: String,
    /// The record must be so before. Where it is not: a conflict, and nothing changes.
    pub requires: Option<Condition>,
    /// What is written. At least one.
    pub sets: Vec<Set>,
}

/// What must hold of a record before an action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Condition {
    /// The field (a date, a datetime or optional) has no value yet.
    Empty { field: String },
    /// The field, a choice, is one of these.
    OneOf { field: String, options: Vec<String> },
    /// The field, a boolean, has this value.
    Equal { field: String, value: bool },
    /// The field, an integer or decimal, is greater than zero.
    Positive { field: String },
}

/// A value that an action writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "to", rename_all = "snake_case")]
pub enum Set {
    /// The current day or instant.
    Now {
        field: String,
    },
    Boolean {
        field: String,
        value: bool,
    },
    Choice {
        field: String,
        value: String,
    },
}

/// Something a command-line tool does that is not keeping records.
///
/// Each is a ready-made, tested ability of the Python generator; the brief decides which are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tool {
    /// Rows of a CSV file as a JSON array.
    CsvToJson,
    /// A JSON array of objects as CSV.
    JsonToCsv,
    /// Column counts, minima, maxima, means and most frequent values of a CSV file.
    CsvStats,
    /// Checks and pretty-prints JSON, optionally with sorted keys.
    JsonFormat,
    /// Lines, words, characters and the most frequent words of text files.
    WordCount,
    /// Passwords drawn from the system's randomness, with length and character classes.
    PasswordGenerator,
    /// SHA-256 and other checksums of files, and checking them against a list.
    FileHash,
    /// Files with equal content below a folder.
    DuplicateFinder,
    /// Renames many files by a pattern, with a preview.
    BulkRename,
    /// Sorts the files of a folder into folders by type.
    FileOrganizer,
    /// Folder sizes, largest first.
    DiskUsage,
    /// Lines that match a pattern below a folder, with context.
    TextSearch,
    /// Counts levels, hours and most frequent messages of log files.
    LogAnalyzer,
    /// Lengths, weights, temperatures, volumes, speeds and data sizes from one unit to another.
    UnitConverter,
    /// Markdown to a standalone HTML page.
    MarkdownToHtml,
    /// Base64, hex and URL encoding and decoding.
    TextEncode,
    /// An arithmetic expression, evaluated safely.
    Calculator,
    /// The days, weeks and working days between dates, and dates moved by days.
    DateCalculator,
}
