//! The names and literals that generators write, made from the words of a spec.
//!
//! Specs speak snake case; code, routes and documents each want it their way. Everything here is
//! pure and knows no stack; `filters` puts it at the disposal of templates.

use minijinja::{AutoEscape, Environment, UndefinedBehavior, syntax::SyntaxConfig};

/// `order_item` as `OrderItem`.
pub fn pascal(name: &str) -> String {
    name.split('_').map(capital).collect()
}

/// `order_item` as `orderItem`.
pub fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| name + &capital(word))
}

/// `order_item` as `order-item`.
pub fn kebab(name: &str) -> String {
    name.replace('_', "-")
}

/// `order_item` as `order item`, for the middle of a sentence.
pub fn words(name: &str) -> String {
    name.replace('_', " ")
}

/// `order_item` as `Order item`, for the start of a sentence.
pub fn human(name: &str) -> String {
    capital(&words(name))
}

/// `order item` as `an order item`, `user` as `a user`: the article goes by the sound.
pub fn with_article(words: &str) -> String {
    let lower = words.to_lowercase();
    let first = lower.split([' ', '-']).next().unwrap_or_default();
    let sounds_you = ["uni", "use", "usa", "uti", "eu", "one", "ubi", "ura"];
    let silent_h = ["hour", "honest", "honor", "honour", "heir"];
    let vowel = if sounds_you.iter().any(|start| first.starts_with(start)) {
        // `unit` and `unique` start with a consonant's sound, `uninvited` does not.
        first.starts_with("unin") || first.starts_with("unim")
    } else {
        first.starts_with(['a', 'e', 'i', 'o', 'u'])
            || silent_h.iter().any(|start| first.starts_with(start))
    };
    format!("{} {words}", if vowel { "an" } else { "a" })
}

/// A Python string literal as ruff formats it: double quotes, unless single ones save escapes.
pub fn python_string(text: &str) -> String {
    literal(text, |c| format!("\\U{:08x}", u32::from(c)))
}

/// A TypeScript string literal as prettier formats it: double quotes, unless single ones save
/// escapes.
pub fn ts_string(text: &str) -> String {
    literal(text, |c| format!("\\u{{{:x}}}", u32::from(c)))
}

/// A double-quoted string that JSON, TOML and YAML all read as the same text.
pub fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // No control character or separator is above U+FFFF, so four digits hold it.
            c if invisible(c) => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out + "\""
}

/// Text of one line that Markdown shows as it is, whatever marks it contains.
pub fn markdown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in one_line(text).chars() {
        if matches!(c, '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '#' | '$' | '&' | '~')
        {
            out.push('\\');
        }
        out.push(c);
    }
    // At the start of a line these would begin a list.
    let digits = out.chars().take_while(char::is_ascii_digit).count();
    match out[digits..].chars().next() {
        Some('-' | '+') if digits == 0 => format!("\\{out}"),
        Some('.' | ')') if digits > 0 => format!("{}\\{}", &out[..digits], &out[digits..]),
        _ => out,
    }
}

/// Text of any shape as a Markdown quotation: every line escaped and behind `> `.
pub fn markdown_quote(text: &str) -> String {
    let lines: Vec<String> = text
        .lines()
        .map(|line| match markdown(line) {
            line if line.is_empty() => ">".to_owned(),
            line => format!("> {line}"),
        })
        .collect();
    lines.join("\n")
}

/// All white space, line ends too, as single blanks.
pub fn one_line(text: &str) -> String {
    let visible: String = text.chars().map(|c| if invisible(c) { ' ' } else { c }).collect();
    visible.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Breaks text between words into lines of at most `width` characters, where words allow it.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in one_line(text).split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// A template environment in which an undefined name is an error, nothing is escaped, line ends
/// are kept, and the functions of this module are filters.
pub fn environment() -> Environment<'static> {
    let mut env = Environment::new();
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    env.set_auto_escape_callback(|_| AutoEscape::None);
    let mut syntax = SyntaxConfig::builder();
    syntax.keep_trailing_newline(true).trim_blocks(true).lstrip_blocks(true);
    env.set_syntax(syntax.build().expect("the delimiters are the usual ones, which are distinct"));
    env.add_filter("pascal", |name: &str| pascal(name));
    env.add_filter("camel", |name: &str| camel(name));
    env.add_filter("kebab", |name: &str| kebab(name));
    env.add_filter("words", |name: &str| words(name));
    env.add_filter("human", |name: &str| human(name));
    env.add_filter("with_article", |words: &str| with_article(words));
    env.add_filter("python_string", |text: &str| python_string(text));
    env.add_filter("ts_string", |text: &str| ts_string(text));
    env.add_filter("quoted", |text: &str| quoted(text));
    env.add_filter("markdown", |text: &str| markdown(text));
    env.add_filter("markdown_quote", |text: &str| markdown_quote(text));
    env.add_filter("one_line", |text: &str| one_line(text));
    env.add_filter("wrap", |text: &str, width: usize| wrap(text, width));
    env
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => String::new(),
    }
}

fn literal(text: &str, escape: impl Fn(char) -> String) -> String {
    let count = |quote: char| text.chars().filter(|c| *c == quote).count();
    let quote = if count('"') > count('\'') { '\'' } else { '"' };
    let mut out = String::from(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => out.extend(['\\', c]),
            c if invisible(c) => out.push_str(&escape(c)),
            c => out.push(c),
        }
    }
    out.push(quote);
    out
}

/// Whether a character controls how text is laid out: control characters, separators of lines,
/// and marks of direction, which can make code look like what it is not.
fn invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{200b}'..='\u{200f}')
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_take_the_shape_that_each_place_wants() {
        assert_eq!(pascal("order_item"), "OrderItem");
        assert_eq!(camel("order_item"), "orderItem");
        assert_eq!(camel("author"), "author");
        assert_eq!(kebab("order_item"), "order-item");
        assert_eq!(words("order_item"), "order item");
        assert_eq!(human("order_item"), "Order item");
    }

    #[test]
    fn the_article_goes_by_the_sound() {
        let wanted = [
            ("order item", "an order item"),
            ("book", "a book"),
            ("user", "a user"),
            ("unit", "a unit"),
            ("university", "a university"),
            ("umbrella", "an umbrella"),
            ("hour", "an hour"),
            ("house", "a house"),
            ("event", "an event"),
            ("Author", "an Author"),
        ];
        for (name, with) in wanted {
            assert_eq!(with_article(name), with);
        }
    }

    #[test]
    fn literals_take_the_quotes_that_need_fewer_escapes() {
        assert_eq!(python_string("plain"), r#""plain""#);
        assert_eq!(python_string(r#"say "hi""#), r#"'say "hi"'"#);
        assert_eq!(python_string(r#"it's "x" y'"#), r#""it's \"x\" y'""#);
        assert_eq!(python_string("a\\b\nc"), r#""a\\b\nc""#);
        assert_eq!(python_string("é {x}"), r#""é {x}""#);
        assert_eq!(python_string("\u{1}"), r#""\U00000001""#);
        assert_eq!(ts_string("\u{2028}"), r#""\u{2028}""#);
    }

    #[test]
    fn quoted_text_is_read_back_by_json_and_toml() {
        let text = "a \"b\" \\ \n\t\u{7f} \u{2028} é 漢 {{ }} ' `";
        let literal = quoted(text);
        assert_eq!(serde_json::from_str::<String>(&literal).unwrap(), text);
        let table: toml::Table = toml::from_str(&format!("x = {literal}")).unwrap();
        assert_eq!(table["x"].as_str(), Some(text));
    }

    #[test]
    fn markdown_shows_marks_as_they_are() {
        assert_eq!(markdown("a*b `c` | <d>\ne"), "a\\*b \\`c\\` \\| \\<d\\> e");
        assert_eq!(markdown("- x"), "\\- x");
        assert_eq!(markdown("12. x"), "12\\. x");
        assert_eq!(markdown_quote("a\n\nb"), "> a\n>\n> b");
    }

    #[test]
    fn wrapping_keeps_words_whole() {
        assert_eq!(wrap("aa bb  cc\ndddddd e", 5), ["aa bb", "cc", "dddddd", "e"]);
        assert_eq!(wrap("", 5), [""]);
    }
}
