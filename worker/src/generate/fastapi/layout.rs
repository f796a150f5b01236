//! Laying out Python as its formatter does, where that depends on the length of names.
//!
//! Templates write the long form, one argument a line with a comma after the last; `fit` makes it
//! the short form where that is within the width. Both are what `ruff format` leaves alone.

use minijinja::Environment;

use crate::generate::naming;

/// As in the `pyproject.toml` of the project.
const WIDTH: usize = 100;

/// Adds the filters `fit`, `fit_bare`, `docstring`, `literal` and the function `imports`.
pub fn add_to(env: &mut Environment<'static>) {
    env.add_filter("fit", |code: &str| fit(code));
    env.add_filter("fit_bare", |code: &str| fit_bare(code));
    env.add_filter("docstring", |text: &str, indent: usize| docstring(text, indent));
    env.add_filter("literal", |text: &str, before: &str, after: &str| literal(text, before, after));
    env.add_function("imports", |module: &str, names: Vec<String>| imports(module, names));
}

/// Joins a bracketed construct of several lines into one, if it fits.
fn fit(code: &str) -> String {
    let mut lines = code.lines();
    let mut joined = lines.next().unwrap_or_default().to_owned();
    for line in lines.map(str::trim) {
        if line.starts_with([')', ']', '}']) {
            joined.truncate(joined.trim_end_matches(',').len());
        } else if !joined.ends_with(['(', '[', '{']) {
            joined.push(' ');
        }
        joined.push_str(line);
    }
    if width(&joined) <= WIDTH { joined + "\n" } else { code.to_owned() }
}

/// As `fit`, without the outer brackets, which only the long form needs.
fn fit_bare(code: &str) -> String {
    let lines: Vec<&str> = code.lines().collect();
    let [first, inner @ .., last] = lines.as_slice() else { return code.to_owned() };
    let inner: Vec<&str> = inner.iter().map(|line| line.trim()).collect();
    let joined = format!(
        "{}{}{}",
        first.trim_end_matches('('),
        inner.join(" "),
        last.trim_start().trim_start_matches(')'),
    );
    if width(&joined) <= WIDTH {
        return joined + "\n";
    }
    // Where all but the default fits, the formatter breaks there.
    match joined.split_once(" = ") {
        Some((head, default)) if !default.ends_with(',') && width(head) + 4 <= WIDTH => {
            let margin = &head[..head.len() - head.trim_start().len()];
            format!("{head} = (\n{margin}    {default}\n{margin})\n")
        }
        _ => code.to_owned(),
    }
}

/// `from module import names`, sorted, in brackets if it is long.
fn imports(module: &str, mut names: Vec<String>) -> String {
    // Constants come first, then classes, then the rest: the order of isort.
    names.sort_by_key(|name| (import_rank(name), name.clone()));
    names.dedup();
    let line = format!("from {module} import {}", names.join(", "));
    if width(&line) <= WIDTH {
        return line;
    }
    format!("from {module} import (\n    {},\n)", names.join(",\n    "))
}

fn import_rank(name: &str) -> u8 {
    match name {
        _ if name.len() > 1 && !name.contains(char::is_lowercase) => 0,
        _ if name.starts_with(char::is_uppercase) => 1,
        _ => 2,
    }
}

/// A docstring in its quotes, broken into lines, with nothing in it that would end it early.
fn docstring(text: &str, indent: usize) -> String {
    let text = naming::one_line(text).replace('\\', "\\\\").replace('"', "'");
    if width(&text) + indent + 6 <= WIDTH {
        return format!("\"\"\"{text}\"\"\"");
    }
    let margin = " ".repeat(indent);
    let lines = naming::wrap(&text, WIDTH - indent - 3);
    format!("\"\"\"{}\n{margin}\"\"\"", lines.join(&format!("\n{margin}")))
}

/// A string between `before` and `after` on its line, in several pieces if it is long.
fn literal(text: &str, before: &str, after: &str) -> String {
    let whole = naming::python_string(text);
    if width(before) + width(&whole) + width(after) <= WIDTH {
        return whole;
    }
    let indent = before.len() - before.trim_start().len();
    let margin = " ".repeat(indent + 4);
    // Two for the quotes, two for escapes, one for the blank between the pieces.
    let pieces = naming::wrap(text, WIDTH - indent - 4 - 8);
    let last = pieces.len() - 1;
    let lines: Vec<String> = pieces
        .iter()
        .enumerate()
        .map(|(at, piece)| if at < last { format!("{piece} ") } else { piece.clone() })
        .map(|piece| format!("{margin}{}", naming::python_string(&piece)))
        .collect();
    if last == 0 {
        return whole;
    }
    format!("(\n{}\n{})", lines.join("\n"), " ".repeat(indent))
}

fn width(line: &str) -> usize {
    line.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_joined_and_what_does_not_is_left() {
        assert_eq!(fit("x = f(\n    a,\n    b=[\n        1,\n    ],\n)\n"), "x = f(a, b=[1])\n");
        let long = format!("x = f(\n    {},\n    b,\n)\n", "a".repeat(WIDTH));
        assert_eq!(fit(&long), long);
    }

    #[test]
    fn bare_code_loses_its_brackets_where_it_fits() {
        assert_eq!(
            fit_bare("    a: (\n        b | None\n    ) = None,\n"),
            "    a: b | None = None,\n"
        );
        let long = format!("a: (\n    {}\n) = None\n", "b".repeat(WIDTH));
        assert_eq!(fit_bare(&long), long);
        let type_ = "b".repeat(WIDTH - 8);
        let between = format!("a: (\n    {type_}\n) = None\n");
        assert_eq!(fit_bare(&between), format!("a: {type_} = (\n    None\n)\n"));
    }

    #[test]
    fn imports_are_sorted_as_isort_does() {
        let names = ["find", "Page", "LIMIT", "Amount"].map(String::from).to_vec();
        assert_eq!(imports("app.x", names), "from app.x import LIMIT, Amount, Page, find");
    }

    #[test]
    fn a_docstring_cannot_be_ended_by_its_text() {
        assert_eq!(docstring("a \"\"\" b\\ \"c\"", 4), "\"\"\"a ''' b\\\\ 'c'\"\"\"");
        assert!(docstring(&"word ".repeat(60), 4).lines().all(|line| line.len() <= WIDTH));
    }

    #[test]
    fn a_long_string_is_written_in_pieces() {
        let written = literal(&"long words ".repeat(20), "    x=", ",");
        assert!(written.starts_with("(\n        \"long words"));
        assert!(written.lines().all(|line| line.len() <= WIDTH));
        assert_eq!(literal("short", "    x=", ","), "\"short\"");
    }
}
