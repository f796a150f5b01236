//! Python expressions laid out as ruff's formatter would.
//!
//! An expression stands on one line where it fits, else each of its items has its own line and a
//! trailing comma, which the formatter leaves alone. Knows nothing of specs.

use crate::generate::naming;

/// The line width that the generated project's `pyproject.toml` sets.
const WIDTH: usize = 100;

/// A Python expression, or a head that ends in a list of parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expression {
    /// Stands as it is; the caller sees to it that it is short.
    Atom(String),
    /// `name=value`.
    Keyword(String, Box<Expression>),
    /// `open` items `close`: a call, a tuple, a list, an import.
    Group { open: String, items: Vec<Expression>, close: &'static str },
}

impl Expression {
    pub fn atom(text: impl Into<String>) -> Self {
        Self::Atom(text.into())
    }

    pub fn keyword(name: &str, value: Self) -> Self {
        Self::Keyword(name.to_owned(), Box::new(value))
    }

    /// A call, or the signature of a function.
    pub fn call(name: &str, items: Vec<Self>) -> Self {
        Self::Group { open: format!("{name}("), items, close: ")" }
    }

    pub fn tuple(items: Vec<Self>) -> Self {
        Self::call("", items)
    }

    pub fn list(items: Vec<Self>) -> Self {
        Self::Group { open: "[".to_owned(), items, close: "]" }
    }

    /// Lays out the expression after `before` columns of its line, with `after` columns behind it;
    /// `indent` is the depth of the line. The first line carries no indent.
    pub fn lay_out(&self, indent: usize, before: usize, after: usize) -> String {
        let flat = self.flat();
        match self {
            Self::Atom(text) => text.clone(),
            _ if before + width(&flat) + after <= WIDTH => flat,
            Self::Keyword(name, value) => {
                format!("{name}={}", value.lay_out(indent, before + width(name) + 1, after))
            }
            Self::Group { .. } => self.explode(indent),
        }
    }

    /// The expression with one item a line, even where it would fit on one.
    pub fn explode(&self, indent: usize) -> String {
        let Self::Group { open, items, close } = self else { return self.flat() };
        if items.is_empty() {
            return format!("{open}{close}");
        }
        let inner = " ".repeat(indent + 4);
        let lines: String = items
            .iter()
            .map(|item| format!("{inner}{},\n", item.lay_out(indent + 4, indent + 4, 1)))
            .collect();
        format!("{open}\n{lines}{}{close}", " ".repeat(indent))
    }

    fn flat(&self) -> String {
        match self {
            Self::Atom(text) => text.clone(),
            Self::Keyword(name, value) => format!("{name}={}", value.flat()),
            Self::Group { open, items, close } => {
                let inside: Vec<String> = items.iter().map(Self::flat).collect();
                let comma = if open == "(" && items.len() == 1 { "," } else { "" };
                format!("{open}{}{comma}{close}", inside.join(", "))
            }
        }
    }
}

/// A string literal.
pub fn text(text: &str) -> Expression {
    Expression::atom(naming::python_string(text))
}

/// `assert left op right` in a line of depth `indent`: broken at the operator where it is too long.
pub fn assertion(indent: usize, left: &str, op: &str, right: &str) -> String {
    let (whole, margin) = (format!("{left} {op} {right}"), " ".repeat(indent));
    if indent + "assert ".len() + width(&whole) <= WIDTH {
        format!("assert {whole}")
    } else if indent + 4 + width(&whole) <= WIDTH {
        format!("assert (\n{margin}    {whole}\n{margin})")
    } else {
        format!("assert (\n{margin}    {left}\n{margin}    {op} {right}\n{margin})")
    }
}

/// A docstring of any text: escaped, wrapped between words, its closing quotes on their own line
/// where one line does not hold it.
pub fn docstring(text: &str, indent: usize) -> String {
    // Quotes at the ends of a docstring move its own quotes, so those inside are single.
    let text = naming::one_line(text).replace('\\', "\\\\").replace('"', "'");
    let margin = " ".repeat(indent);
    if indent + width(&text) + 6 <= WIDTH {
        return format!("{margin}\"\"\"{text}\"\"\"");
    }
    let mut lines = vec![String::new()];
    let mut room = WIDTH - indent - 3;
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is always a line");
        if line.is_empty() {
            line.push_str(word);
        } else if width(line) + 1 + width(word) <= room {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
            room = WIDTH - indent;
        }
    }
    let body = lines.join(&format!("\n{margin}"));
    format!("{margin}\"\"\"{body}\n{margin}\"\"\"")
}

/// Columns that a text takes at most: outside ASCII a character may be two wide.
fn width(text: &str) -> usize {
    text.chars().map(|c| if c.is_ascii() { 1 } else { 2 }).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize) -> Vec<Expression> {
        (0..count).map(|number| Expression::atom(format!("number_{number}"))).collect()
    }

    #[test]
    fn what_fits_stays_on_one_line() {
        let call = Expression::call("f", vec![Expression::tuple(numbers(1))]);

        assert_eq!(call.lay_out(0, 0, 0), "f((number_0,))");
    }

    #[test]
    fn what_does_not_fit_has_one_item_a_line() {
        let call =
            Expression::call("f", vec![Expression::keyword("x", Expression::list(numbers(12)))]);

        let lines = call.lay_out(4, 4, 0);

        assert!(lines.starts_with("f(\n        x=[\n            number_0,\n"), "{lines}");
        assert!(lines.ends_with("            number_11,\n        ],\n    )"), "{lines}");
    }

    #[test]
    fn assertions_are_broken_at_their_operator() {
        let long = "x".repeat(60);

        assert_eq!(assertion(4, "a", "==", "b"), "assert a == b");
        assert_eq!(
            assertion(4, &long, "==", &"y".repeat(27)),
            format!("assert (\n        {long} == {}\n    )", "y".repeat(27))
        );
        assert_eq!(
            assertion(4, &long, "==", &long),
            format!("assert (\n        {long}\n        == {long}\n    )")
        );
    }

    #[test]
    fn docstrings_hold_any_text() {
        assert_eq!(docstring("A \"quote\" and \\d.", 4), "    \"\"\"A 'quote' and \\\\d.\"\"\"");
        let long = docstring(&"word ".repeat(40), 4);
        assert!(long.lines().all(|line| line.len() <= WIDTH), "{long}");
        assert!(long.ends_with("\n    \"\"\""), "{long}");
    }
}
