//! The house, held by tests: what reads well in a day reads well in a year.
//!
//! Looks at the files of the repository as text, and asks no compiler. Every message says what to
//! do.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use buildfleet::{
    config::KNOBS,
    domain::{attempt, brief, build, delivery, dependency, endpoint, limit, plan, task},
    job::Lane,
    store::ReplayState,
};

/// Files longer than this want to be split by their nouns.
const LINES_MAX: usize = 500;
/// Those that are longer all the same, and how long they may be: never longer than they are.
const LONGER: &[(&str, usize)] = &[
    ("tests/src/fleet.rs", 529),
    ("worker/src/generate/express/project.rs", 657),
    ("worker/src/generate/python_cli/records.rs", 514),
    ("worker/src/plan/planner/rules/assemble.rs", 668),
    ("worker/src/plan/planner/rules/briefs.rs", 628),
    ("worker/src/plan/planner/rules/fields.rs", 554),
    ("worker/src/plan/planner/rules/scan.rs", 722),
];

const COLUMNS_MAX: usize = 100;
/// How many lines may be wider all the same: comments and texts that the formatter leaves alone. To
/// be brought down, never up.
const WIDER_MAX: usize = 91;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every text file of the repository by its path in it, with its text; what git passes over is not
/// looked at.
fn files() -> BTreeMap<String, String> {
    let root = root();
    let ignored = fs::read_to_string(root.join(".gitignore")).unwrap();
    let mut ignored: Vec<_> =
        ignored.lines().map(|line| line.trim_matches('/').to_owned()).collect();
    ignored.push(".git".to_owned());
    let (mut found, mut folders) = (BTreeMap::new(), vec![root.clone()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if ignored.iter().any(|other| other == name) || path.is_symlink() {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(text) = fs::read_to_string(&path) {
                let path = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                found.insert(path, text);
            }
        }
    }
    assert!(found.contains_key("tests/it/tidy.rs"), "this file was not found");
    found
}

fn rust_files() -> impl Iterator<Item = (String, String)> {
    files().into_iter().filter(|(path, _)| path.ends_with(".rs"))
}

/// All lines that are as they must not be; none is wanted.
fn lines(
    files: impl IntoIterator<Item = (String, String)>,
    is_bad: impl Fn(&str) -> bool,
) -> Vec<String> {
    let mut bad = Vec::new();
    for (path, text) in files {
        for (index, line) in text.lines().enumerate().filter(|(_, line)| is_bad(line)) {
            bad.push(format!("{path}:{}: {}", index + 1, line.trim()));
        }
    }
    bad
}

fn none(bad: &[String], what_to_do: &str) {
    assert!(bad.is_empty(), "{what_to_do}\n{}", bad.join("\n"));
}

#[test]
fn the_domain_knows_nothing_outside_itself() {
    let may = [
        "std",
        "serde",
        "serde_json",
        "ulid",
        "petgraph",
        "thiserror",
        "url",
        "ipnet",
        // Arithmetic on bytes: encodings and ciphers, whose chance is handed in.
        "base64",
        "hex",
        "ring",
        "zeroize",
        "proptest",
        "super",
        "self",
    ];
    let domain = rust_files().filter(|(path, _)| path.starts_with("shared/src/domain/"));
    let domain: Vec<_> = domain.collect();
    // Modules of the domain may be named from each other, as in `use task::Trigger::*`.
    let modules: BTreeSet<_> = domain
        .iter()
        .filter_map(|(path, _)| path.split('/').nth(3)?.split('.').next().map(str::to_owned))
        .collect();
    let bad = lines(domain, |line| {
        let line = line.trim();
        let used = line.strip_prefix("pub ").unwrap_or(line).strip_prefix("use ").map(|used| {
            let end = used.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(used.len());
            &used[..end]
        });
        let outside = used.is_some_and(|used| {
            used != "crate"
                && !used.starts_with(char::is_uppercase)
                && !may.contains(&used)
                && !modules.contains(used)
        });
        let elsewhere = line
            .match_indices("crate::")
            .any(|(at, found)| !line[at + found.len()..].starts_with("domain"));
        outside || elsewhere
    });
    none(
        &bad,
        "the domain decides without IO: hand what it needs in as a value, or move the edge out",
    );
}

#[test]
fn sql_stands_in_the_store_and_the_migrations_only() {
    let words =
        ["sqlx::", "\"select ", "\"insert into ", "\"delete from ", "\"update ", "\"create table "];
    let elsewhere = rust_files().filter(|(path, _)| {
        !path.starts_with("shared/src/store/")
            // Generated projects have SQL of their own.
            && !path.starts_with("worker/src/generate/")
            // Briefs may hold SQL, which is read there and never run.
            && path != "worker/src/plan/planner/rules/declared.rs"
            // Judges the record without the verbs that wrote it.
            && !path.starts_with("tests/src/storm/")
            // Asks the server itself how many connections a store holds.
            && path != "tests/it/store.rs"
            // Hands briefs in as others do who share the database.
            && path != "tests/it/sql.rs"
            // Stands for commits that are half done, and counts deadlocks.
            && path != "tests/it/closing.rs"
            && path != "tests/it/tidy.rs"
    });
    let bad = lines(elsewhere, |line| words.iter().any(|word| line.contains(word)));
    none(&bad, "make it a verb of `trait Store`, held by a case in its conformance suite");
}

#[test]
fn the_environment_is_read_in_one_file() {
    let elsewhere = rust_files().filter(|(path, _)| {
        path != "shared/src/config.rs"
            && !path.starts_with("tests/")
            && !path.starts_with("benches/")
    });
    let reads = ["env::var", "env::vars", "env::set_var", "dotenv"];
    let bad = lines(elsewhere, |line| reads.iter().any(|word| line.contains(word)));
    none(&bad, "read it in a `Config` with `config::Reader`, and list it in KNOBS");
}

#[test]
fn lines_are_at_most_a_hundred_columns_wide() {
    let wide = lines(rust_files(), |line| COLUMNS_MAX < line.chars().count());
    assert!(
        wide.len() <= WIDER_MAX,
        "{} lines have more than {COLUMNS_MAX} columns, at most {WIDER_MAX} may; break yours:\n{}",
        wide.len(),
        wide.join("\n")
    );
}

#[test]
fn files_are_at_most_five_hundred_lines_long() {
    let allowed: BTreeMap<_, _> = LONGER.iter().copied().collect();
    let mut bad = Vec::new();
    for (path, text) in rust_files() {
        let length = text.lines().count();
        let most = allowed.get(path.as_str()).copied().unwrap_or(LINES_MAX);
        if most < length {
            bad.push(format!("{path} has {length} lines, at most {most}: split it by its nouns"));
        } else if length <= LINES_MAX && allowed.contains_key(path.as_str()) {
            bad.push(format!(
                "{path} has {length} lines: take it off the list in tests/it/tidy.rs"
            ));
        }
    }
    none(&bad, "files a person can read whole:");
}

#[test]
fn nothing_is_left_to_be_fixed_and_nothing_is_of_one_machine() {
    let fix = ["FIX", "ME"].concat();
    let homes = ["work", "root"].map(|name| format!("/{name}/"));
    let own = files().into_iter().filter(|(path, _)| !path.ends_with("package-lock.json"));
    let bad = lines(own, |line| {
        // A word in capitals after a bar is what a generated tool looks for in other people's
        // files.
        let unfinished = line.contains(&fix) && !line.contains(&format!("|{fix}"));
        let of_one_machine = homes.iter().any(|home| {
            line.match_indices(home.as_str()).any(|(at, _)| {
                let before = line[..at].chars().next_back();
                before.is_none_or(|c| !c.is_alphanumeric() && !"._-/}~$".contains(c))
            })
        });
        unfinished || of_one_machine
    });
    none(&bad, "finish it, or open an issue and say TODO(#n); name no path of a machine:");
}

#[test]
fn the_example_of_the_settings_lists_every_knob_with_its_default() {
    let example = fs::read_to_string(root().join("deploy/example.env")).unwrap();
    let listed: Vec<_> = example
        .lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
        .map(|line| line.split_once('=').expect("NAME=default"))
        .collect();
    let knobs: Vec<_> = KNOBS.iter().map(|knob| (knob.name, knob.default)).collect();
    let (listed, knobs): (BTreeSet<_>, BTreeSet<_>) =
        (listed.into_iter().collect(), knobs.into_iter().collect());
    let missing: Vec<_> = knobs.difference(&listed).collect();
    let unknown: Vec<_> = listed.difference(&knobs).collect();
    assert!(
        missing.is_empty() && unknown.is_empty(),
        "deploy/example.env says what config::KNOBS says; add {missing:?}, take out {unknown:?}"
    );
}

/// The tables that all migrations of one database make: their columns, and the words that a CHECK
/// allows in them.
struct Schema {
    columns: BTreeSet<String>,
    words: BTreeMap<String, Vec<String>>,
}

impl Schema {
    fn read(database: &str) -> Self {
        let mut schema = Self { columns: BTreeSet::new(), words: BTreeMap::new() };
        for (path, text) in files() {
            if path.starts_with(&format!("migrations/{database}/")) {
                schema.add(&text);
            }
        }
        assert!(!schema.columns.is_empty(), "migrations/{database} makes no table");
        schema
    }

    fn add(&mut self, text: &str) {
        let text: Vec<_> =
            text.lines().map(|line| line.split("--").next().unwrap_or_default()).collect();
        let text = text.join("\n");
        for made in text.split("create table ").skip(1) {
            let (table, body) = made.split_once('(').unwrap();
            let table = table.trim();
            let body = body.split("\n)").next().unwrap();
            for line in
                body.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "))
            {
                let name = line.split_whitespace().next().unwrap_or("check");
                if !["unique", "primary", "check", "foreign", "check("].contains(&name)
                    && name
                        .chars()
                        .all(|c| c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit())
                {
                    self.columns.insert(format!("{table}.{name}"));
                }
            }
            self.add_words(table, body);
        }
        for altered in text.split("alter table ").skip(1) {
            let statement = altered.split(';').next().unwrap();
            let table = statement.split_whitespace().next().unwrap();
            if let Some((_, name)) = statement.split_once(" rename to ") {
                self.rename(table, name.trim());
            }
            for added in statement.split("add column ").skip(1) {
                let name = added.split_whitespace().next().unwrap();
                self.columns.insert(format!("{table}.{name}"));
            }
            self.add_words(table, statement);
        }
    }

    /// SQLite makes a table anew under another name where a column has to change.
    fn rename(&mut self, from: &str, to: &str) {
        let renamed = |name: &str| {
            name.strip_prefix(from)
                .filter(|rest| rest.starts_with('.'))
                .map(|rest| to.to_owned() + rest)
        };
        let columns = std::mem::take(&mut self.columns).into_iter();
        self.columns = columns.map(|name| renamed(&name).unwrap_or(name)).collect();
        let words = std::mem::take(&mut self.words).into_iter();
        self.words = words.map(|(name, words)| (renamed(&name).unwrap_or(name), words)).collect();
    }

    /// The words of each CHECK that only lists them.
    fn add_words(&mut self, table: &str, text: &str) {
        for check in text.split("check (").skip(1) {
            let Some((column, list)) = check.split_once(" in") else { continue };
            if !column.chars().all(|c| c.is_ascii_lowercase() || c == '_') {
                continue; // Another condition.
            }
            let list = list.trim_start().trim_start_matches('(').split(')').next().unwrap();
            let words = list.split(',').map(|word| word.trim().trim_matches('\'').to_owned());
            self.words.insert(format!("{table}.{column}"), words.collect());
        }
    }
}

#[test]
fn both_databases_have_the_same_tables_and_columns() {
    let (postgres, sqlite) = (Schema::read("postgres").columns, Schema::read("sqlite").columns);
    let (more, less): (Vec<_>, Vec<_>) =
        (sqlite.difference(&postgres).collect(), postgres.difference(&sqlite).collect());
    assert!(
        more.is_empty() && less.is_empty(),
        "write a migration for both databases; only SQLite has {more:?}, only Postgres {less:?}"
    );
}

#[test]
fn the_tables_allow_exactly_the_words_of_the_domain() {
    macro_rules! words {
        ($($column:literal: $of:ty),* $(,)?) => {
            BTreeMap::from([$((
                $column.to_owned(),
                <$of>::ALL.iter().map(|word| word.as_str().to_owned()).collect::<Vec<_>>(),
            )),*])
        };
    }
    let wanted: BTreeMap<String, Vec<String>> = words! {
        "builds.state": build::State,
        "builds.on_task_failure": brief::OnTaskFailure,
        "planning_attempts.state": attempt::State,
        "plans.state": plan::State,
        "plans.complexity": brief::Complexity,
        "tasks.phase": task::Phase,
        "tasks.operation": task::Operation,
        "tasks.state": task::State,
        "task_attempts.state": attempt::State,
        "deliveries.state": delivery::State,
        "delivery_attempts.state": attempt::State,
        "endpoints.state": endpoint::State,
        "replays.state": ReplayState,
        "dependencies.on_loss": dependency::OnLoss,
        "workers.lane": Lane,
        "lanes.lane": Lane,
        "limits.by": limit::By,
    };
    for database in ["postgres", "sqlite"] {
        let found = Schema::read(database).words;
        assert_eq!(
            found, wanted,
            "migrations/{database}: widen or narrow the CHECK in a migration of its own"
        );
    }
}
