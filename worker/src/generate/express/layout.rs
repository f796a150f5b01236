//! Where prettier would break a line.
//!
//! Names decide whether a line fits, so templates cannot know; these functions count. Each gives
//! the text as it stands behind `indent` blanks that the template has written already, and breaks
//! the way prettier does: everything on one line, or every part on a line of its own.

use minijinja::Environment;

use super::super::naming::ts_string;

/// The `printWidth` of the generated project.
const WIDTH: usize = 100;

/// A piece of code that can be broken over lines.
#[derive(Debug, Clone)]
pub enum Code {
    Text(String),
    /// `open`, then the items with commas between them, then `close`.
    List {
        open: String,
        items: Vec<Code>,
        close: String,
    },
}

impl Code {
    pub fn list(open: &str, items: Vec<Code>, close: &str) -> Self {
        Self::List { open: open.into(), items, close: close.into() }
    }

    /// An array of strings.
    pub fn strings(texts: &[String]) -> Self {
        Self::list("[", texts.iter().map(|text| Self::Text(ts_string(text))).collect(), "]")
    }

    fn flat(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::List { open, items, close } => {
                let items: Vec<String> = items.iter().map(Self::flat).collect();
                format!("{open}{}{close}", items.join(", "))
            }
        }
    }

    /// Lays the code out behind `indent` blanks, with `after` on its last line.
    pub fn lay_out(&self, indent: usize, after: &str) -> String {
        let flat = self.flat() + after;
        let Self::List { open, items, close } = self else {
            return flat;
        };
        if indent + width(&flat) <= WIDTH || items.is_empty() {
            return flat;
        }
        let mut out = format!("{}\n", open.trim_end());
        for item in items {
            out.push_str(&" ".repeat(indent + 2));
            out.push_str(&item.lay_out(indent + 2, ","));
            out.push('\n');
        }
        out + &" ".repeat(indent) + close.trim_start() + after
    }
}

/// `left right`, or `right` on the next line.
pub fn assign(left: &str, right: &str, indent: usize) -> String {
    let line = format!("{left} {right}");
    if indent + width(&line) <= WIDTH {
        return line;
    }
    format!("{left}\n{}{right}", " ".repeat(indent + 2))
}

/// An import of names. One name alone is never broken.
fn imports(mut names: Vec<String>, from: &str, types_only: bool) -> String {
    // Natural order without regard to case, as editors sort them.
    names.sort_by_key(|name| (name.trim_start_matches("type ").to_lowercase(), name.clone()));
    let keyword = if types_only { "import type { " } else { "import { " };
    let close = format!(" }} from {};", ts_string(from));
    if names.len() == 1 {
        return format!("{keyword}{}{close}", names[0]);
    }
    wrap(keyword, names, &close, 0)
}

fn wrap(open: &str, items: Vec<String>, close: &str, indent: usize) -> String {
    let items = items.into_iter().map(Code::Text).collect();
    Code::list(open, items, close).lay_out(indent, "")
}

/// A route of a router, with the lines of its handler.
fn route(method: &str, path: &str, body: &str) -> String {
    let request = if body.contains("req") { "req" } else { "_req" };
    let path = ts_string(path);
    let indented = |by: usize| -> String {
        body.lines().map(|line| format!("{}{line}\n", " ".repeat(by))).collect()
    };
    let head = format!("  router.{method}({path}, ({request}, res) => {{");
    if width(&head) <= WIDTH {
        return format!("{head}\n{}  }});", indented(4));
    }
    let body = indented(6);
    format!("  router.{method}(\n    {path},\n    ({request}, res) => {{\n{body}    }},\n  );")
}

/// A Markdown table with columns as wide as their widest cell.
fn table(rows: Vec<Vec<String>>) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| width(cell)).max().unwrap_or_default().max(3)
        })
        .collect();
    let mut lines: Vec<String> = rows
        .iter()
        .map(|row| {
            let cells = row.iter().zip(&widths);
            let cells: Vec<String> = cells
                .map(|(cell, wide)| format!("{cell}{}", " ".repeat(wide - width(cell))))
                .collect();
            format!("| {} |", cells.join(" | "))
        })
        .collect();
    let rule: Vec<String> = widths.iter().map(|wide| "-".repeat(*wide)).collect();
    lines.insert(1.min(lines.len()), format!("| {} |", rule.join(" | ")));
    lines.join("\n")
}

/// Columns on a screen. What is laid out here is code and names, which are ASCII.
fn width(text: &str) -> usize {
    text.chars().count()
}

/// Text for the inside of a block comment.
fn comment(text: &str) -> String {
    text.replace("*/", "* /")
}

/// Text as it is, in a block of code that no line of it can end.
fn fenced(text: &str) -> String {
    let visible = |c: char| if c.is_control() && c != '\t' { ' ' } else { c };
    let lines: Vec<String> = text
        .trim()
        .lines()
        .map(|line| line.chars().map(visible).collect::<String>().trim_end().to_owned())
        .collect();
    let text = lines.join("\n");
    let runs = text.split(|c| c != '`').map(str::len);
    let fence = "`".repeat(runs.max().unwrap_or_default().max(2) + 1);
    format!("{fence}text\n{text}\n{fence}")
}

pub fn add_to(env: &mut Environment<'static>) {
    env.add_function(
        "wrap",
        |open: &str, items: Vec<String>, close: &str, indent: Option<usize>| {
            wrap(open, items, close, indent.unwrap_or_default())
        },
    );
    env.add_function("imports", |names: Vec<String>, from: &str, types_only: Option<bool>| {
        imports(names, from, types_only.unwrap_or_default())
    });
    env.add_function("assign", |left: &str, right: &str, indent: usize| {
        assign(left, right, indent)
    });
    env.add_function("route", |method: &str, path: &str, body: &str| route(method, path, body));
    env.add_function("table", |rows: Vec<Vec<String>>| table(rows));
    env.add_filter("fenced", |text: &str| fenced(text));
    env.add_filter("comment", |text: &str| comment(text));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(items: &[&str]) -> Code {
        let items = items.iter().map(|item| Code::Text((*item).to_owned())).collect();
        Code::list("call(", items, ")")
    }

    #[test]
    fn a_list_stays_on_one_line_up_to_the_last_column() {
        let long = "x".repeat(WIDTH - "call();".len());
        assert_eq!(list(&[&long]).lay_out(0, ";"), format!("call({long});"));
        assert_eq!(list(&[&long]).lay_out(1, ";"), format!("call(\n   {long},\n );"));
    }

    #[test]
    fn a_list_in_a_list_is_broken_only_if_it_must_be() {
        let long = "x".repeat(80);
        let outer = Code::list("[", vec![list(&["a", "b"]), list(&[&long, &long])], "]");
        let wanted = format!("[\n  call(a, b),\n  call(\n    {long},\n    {long},\n  ),\n]");
        assert_eq!(outer.lay_out(0, ""), wanted);
    }

    #[test]
    fn one_import_is_never_broken() {
        let long = "x".repeat(120);
        let one = imports(vec![long.clone()], "./a.js", false);
        assert_eq!(one, format!("import {{ {long} }} from \"./a.js\";"));
        let two = imports(vec!["b".into(), format!("type {long}")], "./a.js", false);
        assert_eq!(two, format!("import {{\n  b,\n  type {long},\n}} from \"./a.js\";"));
    }

    #[test]
    fn the_columns_of_a_table_are_as_wide_as_their_cells() {
        let rows = vec![vec!["a".to_owned(), "long".into()], vec!["four".into(), "b".into()]];
        assert_eq!(table(rows), "| a    | long |\n| ---- | ---- |\n| four | b    |");
    }
}
