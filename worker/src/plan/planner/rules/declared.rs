//! Records that a brief declares in code: SQL tables, classes, interfaces and schemas.
//!
//! Each declaration is put into a line that the reader of briefs knows, such as
//! `Pet (name (required string), owner_id (integer))`, so that there is one way in which fields are
//! read. Code that declares nothing is left out.

use models::inflect::singular;
use models::words::snake;

/// More columns than this are not read.
const COLUMNS_MAX: usize = 30;

/// A text with its declarations as lines; other fenced code is gone.
pub fn in_prose(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut fenced = false;
    let mut declared: Vec<String> = Vec::new();
    let lines: Vec<&str> = text.split(['\n', '\r', '\u{2028}', '\u{2029}']).collect();
    let mut at = 0;
    while let Some(line) = lines.get(at) {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            kept.push('\n');
            at += 1;
        } else if let Some(row) = table_row(line) {
            declared.push(row);
            at += 1;
        } else if let Some((name, columns, after)) = declaration(&lines, at) {
            if !columns.is_empty() {
                declared.push(format!("{name} ({})", columns.join(", ")));
            }
            at = after.max(at + 1);
        } else {
            if !fenced {
                kept.push_str(line);
            }
            kept.push('\n');
            at += 1;
        }
    }
    for one in declared {
        kept.push_str("\n- ");
        kept.push_str(&one);
    }
    kept
}

/// `| Supplier | name, email |`: a row that gives a record its fields.
fn table_row(line: &str) -> Option<String> {
    let inner = line.trim().strip_prefix('|')?.trim_end_matches('|');
    let (name, rest) = inner.split_once('|')?;
    let fields = rest.split('|').find(|cell| cell.contains(','))?;
    let words = name.split_whitespace().count();
    let name = name.trim();
    let plain = name.chars().all(|ch| ch.is_alphanumeric() || ch == ' ' || ch == '_');
    (words > 0 && words <= 3 && plain).then(|| format!("{name} ({})", fields.trim()))
}

type Declaration = (String, Vec<String>, usize);

/// The declaration that begins on a line: its name, its columns, and the line after it.
fn declaration(lines: &[&str], at: usize) -> Option<Declaration> {
    let line = lines[at].trim();
    let lower = line.to_ascii_lowercase();
    if let Some(rest) = lower.strip_prefix("create table ") {
        let rest = rest.trim_start().strip_prefix("if not exists ").unwrap_or(rest).trim_start();
        let name = rest.split(|ch: char| ch == '(' || ch.is_whitespace()).next()?;
        let name = name.rsplit('.').next()?;
        let (body, after) = enclosed(lines, at, '(', ')')?;
        let name = singular(&snake(name, 40)).replace('_', " ");
        return (!name.is_empty()).then(|| (name, sql_columns(&body), after));
    }
    let bare = ["export ", "public ", "abstract ", "pub ", "data ", "default "]
        .iter()
        .fold(line, |line, word| line.strip_prefix(word).unwrap_or(line));
    let (word, rest) = bare.split_once(' ')?;
    let known = ["class", "interface", "type", "model", "struct", "record"].contains(&word);
    let name: String = rest.trim().chars().take_while(|ch| ch.is_alphanumeric()).collect();
    if !known || !name.starts_with(|ch: char| ch.is_ascii_uppercase()) {
        return None;
    }
    let said = ["Base", "Create", "Schema", "Model"].iter().fold(name.as_str(), |name, end| {
        name.strip_suffix(end).filter(|s| !s.is_empty()).unwrap_or(name)
    });
    let said = snake(said, 40).replace('_', " ");
    if line.ends_with(':') {
        let (columns, after) = python_columns(lines, at + 1);
        return Some((said, columns, after));
    }
    if !line.contains('{') {
        return None;
    }
    let (body, after) = enclosed(lines, at, '{', '}')?;
    Some((said, member_columns(&body), after))
}

/// What stands between the first bracket from a line on and the one that closes it.
fn enclosed(lines: &[&str], at: usize, open: char, close: char) -> Option<(String, usize)> {
    let mut body = String::new();
    let mut depth = 0_usize;
    for (count, line) in lines[at..].iter().take(200).enumerate() {
        for ch in line.chars() {
            if ch == close && depth > 0 {
                depth -= 1;
                if depth == 0 {
                    return Some((body, at + count + 1));
                }
            }
            if depth > 0 {
                body.push(ch);
            }
            depth += usize::from(ch == open);
        }
        body.push('\n');
    }
    None
}

fn sql_columns(body: &str) -> Vec<String> {
    const NONE: &[&str] =
        &["primary", "foreign", "constraint", "unique", "key", "index", "check", "--"];
    let mut columns = Vec::new();
    for part in parted(body) {
        let mut words = part.split_whitespace();
        let Some(first) = words.next() else { continue };
        let name = first.trim_matches(|ch: char| !ch.is_alphanumeric());
        if !NONE.contains(&first.to_lowercase().as_str()) {
            columns.extend(column(name, &words.collect::<Vec<_>>().join(" "), true));
        }
    }
    columns.truncate(COLUMNS_MAX);
    columns
}

/// The parts between the commas that stand in no brackets.
fn parted(body: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut depth = 0_usize;
    for ch in body.chars() {
        match ch {
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(last) = parts.last_mut() {
            last.push(ch);
        }
    }
    parts
}

/// The attributes of a Python class: annotations, or assignments of columns and fields.
fn python_columns(lines: &[&str], from: usize) -> (Vec<String>, usize) {
    let mut columns = Vec::new();
    let mut at = from;
    while let Some(line) = lines.get(at) {
        if !line.trim().is_empty() && !line.starts_with([' ', '\t']) {
            break;
        }
        let line = line.trim();
        let split = match (line.split_once(':'), line.split_once('=')) {
            (Some((name, rest)), Some((other, _))) if name.len() < other.len() => {
                Some((name, rest))
            }
            (Some((name, rest)), None) => Some((name, rest)),
            (_, Some(pair)) => Some(pair),
            (None, None) => None,
        };
        if let Some((name, rest)) = split
            && name.trim().chars().all(|ch| ch.is_alphanumeric() || ch == '_')
            && !name.starts_with("__")
            && !rest.is_empty()
            && !rest.contains("relationship(")
        {
            columns.extend(column(name.trim(), rest, false));
        }
        at += 1;
    }
    columns.truncate(COLUMNS_MAX);
    (columns, at)
}

/// The members of a body in braces: `name?: string;`, `private int age;`, `email String @unique`.
fn member_columns(body: &str) -> Vec<String> {
    let mut columns = Vec::new();
    for line in body.split(['\n', ';', ',']) {
        let line = line.split("//").next().unwrap_or_default().trim();
        if line.is_empty() || line.starts_with("@@") || line.contains('(') && !line.contains('@') {
            continue;
        }
        let (name, rest) = match line.split_once(':') {
            Some((name, rest)) if !name.contains('@') => (name.to_owned(), rest.to_owned()),
            _ => {
                let words: Vec<&str> = line
                    .split_whitespace()
                    .filter(|word| {
                        !["private", "public", "readonly", "final", "pub"].contains(word)
                    })
                    .collect();
                let [first, second, ..] = words.as_slice() else { continue };
                // Java and C# put the type first, Prisma and Go the name.
                let typed = kind(first).is_some() && kind(second).is_none();
                let name = if typed { second } else { first };
                let name = name.trim_end_matches("{get").trim();
                (name.to_owned(), line.replacen(name, "", 1))
            }
        };
        let optional = name.trim_end().ends_with('?');
        let name = name.rsplit(' ').next().unwrap_or(&name).trim_end_matches('?').to_owned();
        let rest = if optional { format!("{rest} optional") } else { rest };
        columns.extend(column(&name, &rest, false));
    }
    columns.truncate(COLUMNS_MAX);
    columns
}

/// A column as the reader of briefs knows it; `None` for keys and for lists of other records.
fn column(name: &str, rest: &str, sql: bool) -> Option<String> {
    let name = snake(name, 40);
    let lower = rest.to_lowercase();
    let listed = lower.contains("[]") || lower.contains("list[") || lower.contains("list<");
    let key = matches!(name.as_str(), "" | "id" | "created_at" | "updated_at" | "class" | "def");
    if key || listed || lower.contains("@relation") {
        return None;
    }
    let name = if lower.contains("foreignkey(") && !name.ends_with("_id") {
        format!("{name}_id")
    } else {
        name
    };
    if name.ends_with("_id") {
        return Some(name);
    }
    let mut said: Vec<&str> = Vec::new();
    if sql && lower.contains("not null") {
        said.push("required");
    }
    if lower.contains("unique") {
        said.push("unique");
    }
    if lower.contains("optional") || lower.contains("none") || rest.contains('?') {
        said.push("optional");
    }
    let options = options(rest);
    if options.len() >= 2 {
        return Some(format!("{name} ({})", options.join(" | ")));
    }
    said.extend(kind(&lower));
    let hint = said.join(" ");
    Some(if hint.is_empty() { name } else { format!("{name} ({hint})") })
}

/// The words in quotes of `ENUM('a', 'b')`, `'a' | 'b'` and `Literal["a", "b"]`.
fn options(rest: &str) -> Vec<String> {
    let lower = rest.to_lowercase();
    let listed = rest.contains('|') || lower.contains("enum") || lower.contains("literal");
    let listed = listed || lower.contains(" in (");
    if !listed {
        return Vec::new();
    }
    let mark = if rest.contains('\'') { '\'' } else { '"' };
    let quoted = rest.split(mark).skip(1).step_by(2);
    quoted.map(|word| snake(word, 30)).filter(|word| !word.is_empty()).take(12).collect()
}

/// What a type of SQL, Python, TypeScript and their kin is called in a brief.
fn kind(rest: &str) -> Option<&'static str> {
    const KINDS: &[(&str, &[&str])] = &[
        ("datetime", &["datetime", "timestamp", "instant"]),
        ("date", &["date"]),
        ("boolean", &["bool", "bit"]),
        ("decimal", &["decimal", "numeric", "float", "double", "real", "money"]),
        ("email", &["email"]),
        ("url", &["url"]),
        ("text", &["text"]),
        ("integer", &["int", "serial", "number", "long", "i32", "i64", "u32", "u64"]),
        ("string", &["varchar", "char", "str"]),
    ];
    let first = rest.split('=').next().unwrap_or_default();
    let rest = if first.trim().is_empty() { rest } else { first };
    let lower = rest.to_lowercase();
    KINDS
        .iter()
        .find(|(_, names)| names.iter().any(|name| lower.contains(name)))
        .map(|(kind, _)| *kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declarations_become_lines() {
        let sql = "Use this:\nCREATE TABLE order_items (id SERIAL PRIMARY KEY, label VARCHAR(50) NOT NULL,\n price DECIMAL(10,2), order_id INT REFERENCES orders(id), state ENUM('open','done'));";
        assert!(in_prose(sql).ends_with(
            "- order item (label (required string), price (decimal), order_id, state (open | done))"
        ));
        let python = "```python\nclass Pet(BaseModel):\n    name: str\n    born: date | None = None\n```\nplease";
        let told = in_prose(python);
        assert!(told.contains("please"), "{told}");
        assert!(told.ends_with("- pet (name (string), born (optional date))"), "{told}");
        let typed =
            "interface Track { title: string; seconds?: number; kind: 'a' | 'b'; tags: Tag[] }";
        let told = in_prose(typed);
        assert!(
            told.ends_with("- track (title (string), seconds (optional integer), kind (a | b))"),
            "{told}"
        );
    }

    #[test]
    fn other_code_is_left_out() {
        assert_eq!(in_prose("```\nlet x = 1;\n```\nan app").trim(), "an app");
        assert_eq!(
            in_prose("a class of pupils and a type of thing"),
            "a class of pupils and a type of thing\n"
        );
    }
}
