//! Cutting text into words, and joining words into names.
//!
//! Tokens are lower case and ASCII where the script is Latin, so that whoever matches words needs
//! one spelling. Every function is linear in its input and total: any string is allowed.

/// A word or a mark of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub kind: Kind,
    /// Lower case and folded to ASCII where that is known; empty for marks.
    pub text: String,
    /// Whether the word began with a capital letter.
    pub capital: bool,
    /// Byte range in the text.
    pub start: usize,
    pub end: usize,
}

/// What a token is. Marks that say nothing about structure are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Word,
    Number,
    Comma,
    /// The end of a sentence.
    Stop,
    Colon,
    Semicolon,
    Open,
    Close,
    /// `|` or `/` between words.
    Bar,
    /// The end of a line.
    Line,
    /// The mark before an item of a list, or a heading.
    Bullet,
    /// A dash between words: ` - ` or an em dash.
    Dash,
}

/// Words longer than this are cut: nobody names a thing so, and names are built from words.
const WORD_CHARS_MAX: usize = 40;

/// Spellings with a hyphen that are one word.
const JOINED: &[(&str, &str)] = &[
    ("to-do", "todo"),
    ("to-dos", "todos"),
    ("e-mail", "email"),
    ("e-mails", "emails"),
    ("e-commerce", "ecommerce"),
    ("check-in", "checkin"),
    ("check-ins", "checkins"),
    ("check-out", "checkout"),
    ("sign-up", "signup"),
    ("log-in", "login"),
    ("front-end", "frontend"),
    ("back-end", "backend"),
    ("time-sheet", "timesheet"),
    ("time-sheets", "timesheets"),
    ("flash-cards", "flashcards"),
    ("web-site", "website"),
    ("follow-up", "followup"),
    ("follow-ups", "followups"),
];

/// Small words that French and Italian tie to the next word.
const ELIDED: &[&str] =
    &["l", "d", "qu", "j", "n", "s", "c", "m", "t", "un", "dell", "all", "nell", "sull", "dall"];

/// Cuts a text into tokens.
pub fn tokens(text: &str) -> Vec<Token> {
    let mut found: Vec<Token> = Vec::new();
    let mut chars = text.char_indices().peekable();
    while let Some((at, ch)) = chars.next() {
        if ch.is_alphanumeric() {
            let mut end = at + ch.len_utf8();
            let mut count = 1;
            let mut last = ch;
            while let Some(&(next, follower)) = chars.peek() {
                let joins = (follower.is_alphanumeric() && is_cjk(follower) == is_cjk(last))
                    || is_combining(follower)
                    || is_invisible(follower)
                    || (is_joint(follower) && followed_by_letter(text, next, follower))
                    || (matches!(follower, '+' | '#') && end - at <= 2);
                if !joins {
                    break;
                }
                if count < WORD_CHARS_MAX {
                    end = next + follower.len_utf8();
                }
                count += 1;
                last = if follower.is_alphanumeric() { follower } else { last };
                chars.next();
            }
            push_word(&mut found, text, at, end);
        } else if let Some(kind) = mark(text, at, ch, found.last()) {
            found.push(Token {
                kind,
                text: String::new(),
                capital: false,
                start: at,
                end: at + ch.len_utf8(),
            });
        }
    }
    number_bullets(&mut found);
    found
}

fn push_word(found: &mut Vec<Token>, text: &str, start: usize, end: usize) {
    let raw = &text[start..end];
    let capital = raw.chars().next().is_some_and(char::is_uppercase);
    let spelled = fold(&split_humps(raw));
    let spelled = spelled.strip_suffix("'s").unwrap_or(&spelled).replace('\'', "");
    if let Some((_, joined)) = JOINED.iter().find(|(with, _)| *with == spelled) {
        found.push(Token { kind: Kind::Word, text: (*joined).into(), capital, start, end });
        return;
    }
    // `l'auteur` and `dell'ospite` are two words; `don't` is one.
    let (small, spelled) = match fold(raw).split_once('\'') {
        Some((small, rest)) if ELIDED.contains(&small) && rest.len() > 1 => {
            (Some(small.to_owned()), rest.replace('\'', ""))
        }
        _ => (None, spelled),
    };
    for part in
        small.as_deref().into_iter().chain(spelled.split('-')).filter(|part| !part.is_empty())
    {
        let digits = part.chars().all(|ch| ch.is_ascii_digit() || ch == '.');
        let kind = if digits { Kind::Number } else { Kind::Word };
        found.push(Token { kind, text: part.to_owned(), capital, start, end });
    }
}

fn mark(text: &str, at: usize, ch: char, last: Option<&Token>) -> Option<Kind> {
    let fresh_line = last.is_none_or(|token| token.kind == Kind::Line);
    match ch {
        '\n' => Some(Kind::Line),
        '-' | '*' | '•' | '·' | '#' | '–' | '+' if fresh_line => Some(Kind::Bullet),
        '-' | '–' if spaced(text, at, ch) => Some(Kind::Dash),
        '—' | '→' => Some(Kind::Dash),
        ',' | '、' | '，' => Some(Kind::Comma),
        '.' | '!' | '?' | '。' | '…' | '¿' | '¡' => Some(Kind::Stop),
        ':' | '：' => Some(Kind::Colon),
        ';' => Some(Kind::Semicolon),
        '(' | '[' | '{' | '（' => Some(Kind::Open),
        ')' | ']' | '}' | '）' => Some(Kind::Close),
        '|' | '/' => Some(Kind::Bar),
        '&' => Some(Kind::Comma),
        _ => None,
    }
}

/// `1.` or `2)` at the start of a line is the mark of an item.
fn number_bullets(found: &mut [Token]) {
    for at in 0..found.len().saturating_sub(1) {
        let starts = at == 0 || found[at - 1].kind == Kind::Line;
        if starts
            && found[at].kind == Kind::Number
            && matches!(found[at + 1].kind, Kind::Stop | Kind::Close)
        {
            found[at].kind = Kind::Bullet;
            found[at + 1].kind = Kind::Bullet;
        }
    }
}

fn spaced(text: &str, at: usize, ch: char) -> bool {
    let before = text[..at].chars().next_back().is_some_and(char::is_whitespace);
    let after = text[at + ch.len_utf8()..].chars().next().is_some_and(char::is_whitespace);
    before && after
}

fn is_joint(ch: char) -> bool {
    matches!(ch, '\'' | '’' | '-' | '_' | '.' | '‐' | '‑')
}

fn followed_by_letter(text: &str, at: usize, ch: char) -> bool {
    text[at + ch.len_utf8()..].chars().next().is_some_and(char::is_alphanumeric)
}

/// Scripts that write words without spaces, where a Latin word inside is still a word.
fn is_cjk(ch: char) -> bool {
    matches!(ch, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{ac00}'..='\u{d7af}')
}

/// Marks that are written over the letter before them.
fn is_combining(ch: char) -> bool {
    matches!(ch, '\u{300}'..='\u{36f}')
}

/// Characters that show nothing: zero-width joints, direction marks, soft hyphens.
pub fn is_invisible(ch: char) -> bool {
    matches!(ch,
        '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0000}'..='\u{e007f}')
}

/// `dueDate` as `due_date`; names in capitals and words with one capital stay as they are.
fn split_humps(raw: &str) -> String {
    let mut split = String::with_capacity(raw.len() + 2);
    let mut previous = ' ';
    for ch in raw.chars() {
        let hump = ch.is_uppercase() && previous.is_lowercase();
        // `GitHub` and `JavaScript` are names; `dueDate` begins small.
        if hump && raw.chars().next().is_some_and(char::is_lowercase) {
            split.push('_');
        }
        split.push(ch);
        previous = ch;
    }
    split
}

/// Lower case, Latin letters without their accents, invisible characters left out. Letters of other
/// scripts stay.
pub fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for ch in text.chars().flat_map(char::to_lowercase) {
        match ch {
            'à' | 'á' | 'â' | 'ã' | 'ä' | 'å' | 'ā' | 'ă' | 'ą' => folded.push('a'),
            'ç' | 'ć' | 'č' | 'ĉ' => folded.push('c'),
            'ď' | 'đ' | 'ð' => folded.push('d'),
            'è' | 'é' | 'ê' | 'ë' | 'ē' | 'ę' | 'ě' | 'ė' => folded.push('e'),
            'ğ' | 'ģ' => folded.push('g'),
            'ì' | 'í' | 'î' | 'ï' | 'ī' | 'į' | 'ı' => folded.push('i'),
            'ķ' => folded.push('k'),
            'ł' | 'ľ' | 'ļ' | 'ĺ' => folded.push('l'),
            'ñ' | 'ń' | 'ň' | 'ņ' => folded.push('n'),
            'ò' | 'ó' | 'ô' | 'õ' | 'ö' | 'ø' | 'ō' | 'ő' => folded.push('o'),
            'ŕ' | 'ř' => folded.push('r'),
            'ś' | 'š' | 'ş' | 'ș' => folded.push('s'),
            'ť' | 'ţ' | 'ț' => folded.push('t'),
            'ù' | 'ú' | 'û' | 'ü' | 'ū' | 'ů' | 'ű' | 'ų' => folded.push('u'),
            'ý' | 'ÿ' => folded.push('y'),
            'ź' | 'ž' | 'ż' => folded.push('z'),
            'ß' => folded.push_str("ss"),
            'æ' => folded.push_str("ae"),
            'œ' => folded.push_str("oe"),
            'þ' => folded.push_str("th"),
            '’' | 'ʼ' => folded.push('\''),
            '‐' | '‑' => folded.push('-'),
            _ if is_invisible(ch) || is_combining(ch) => {}
            _ => folded.push(ch),
        }
    }
    folded
}

/// Words of ASCII letters and digits, lower case, of any text; what has no spelling is left out.
fn ascii_words(text: &str) -> Vec<String> {
    fold(&split_humps(text))
        .replace('\'', "")
        .split(|ch: char| !ch.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

/// `published_year`, at most `max` bytes; empty where nothing has a spelling, and never beginning
/// with a digit.
pub fn snake(text: &str, max: usize) -> String {
    join(text, '_', max)
}

/// `book-library`, at most `max` bytes; as `snake` otherwise.
pub fn kebab(text: &str, max: usize) -> String {
    join(text, '-', max)
}

fn join(text: &str, with: char, max: usize) -> String {
    let mut name = String::new();
    for word in ascii_words(text) {
        if name.is_empty() && word.starts_with(|ch: char| ch.is_ascii_digit()) {
            continue;
        }
        if name.is_empty() {
            name.extend(word.chars().take(max));
        } else if name.len() + 1 + word.len() <= max {
            name.push(with);
            name.push_str(&word);
        } else {
            break;
        }
    }
    name
}

/// Small words that keep their case inside a title.
const SMALL: &[&str] = &["a", "an", "and", "at", "by", "for", "in", "of", "on", "or", "the", "to"];

/// Words that are written in capitals.
const CAPITALS: &[&str] = &[
    "api", "cli", "cms", "crm", "csv", "faq", "hr", "html", "id", "iot", "json", "pdf", "sms",
    "sql", "url",
];

/// `book_library` or `book library` as `Book Library`.
pub fn title(text: &str) -> String {
    let mut titled = String::new();
    for word in text.split(|ch: char| ch.is_whitespace() || matches!(ch, '_' | '-')) {
        if word.is_empty() {
            continue;
        }
        if !titled.is_empty() {
            titled.push(' ');
        }
        let small = !titled.is_empty() && SMALL.contains(&word);
        if CAPITALS.contains(&word) {
            titled.push_str(&word.to_uppercase());
        } else if small {
            titled.push_str(word);
        } else {
            let mut chars = word.chars();
            titled.extend(chars.next().into_iter().flat_map(char::to_uppercase));
            titled.push_str(chars.as_str());
        }
    }
    titled
}

/// Sentences of a text, trimmed: they end at a stop before a space, and at the end of a line.
pub fn sentences(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut start = 0;
    let mut chars = text.char_indices().peekable();
    while let Some((at, ch)) = chars.next() {
        let after = at + ch.len_utf8();
        let ends = match ch {
            '\n' | '\r' => true,
            '.' | '!' | '?' => {
                chars.peek().is_none_or(|(_, next)| next.is_whitespace())
                    && !is_abbreviation(&text[start..after])
            }
            '。' => true,
            _ => false,
        };
        if ends {
            push_sentence(&mut found, &text[start..after]);
            start = after;
        }
    }
    push_sentence(&mut found, &text[start..]);
    found
}

fn push_sentence<'a>(found: &mut Vec<&'a str>, sentence: &'a str) {
    let sentence = sentence.trim();
    if !sentence.is_empty() {
        found.push(sentence);
    }
}

fn is_abbreviation(text: &str) -> bool {
    ["e.g.", "i.e.", "etc.", "z.B.", "ca.", "p.ex.", "vs."].iter().any(|end| text.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spelled(text: &str) -> Vec<String> {
        tokens(text)
            .into_iter()
            .filter(|token| token.kind == Kind::Word)
            .map(|token| token.text)
            .collect()
    }

    #[test]
    fn words_are_lower_case_without_accents() {
        assert_eq!(spelled("Bücher, Élèves & straße"), ["bucher", "eleves", "strasse"]);
    }

    #[test]
    fn names_of_products_are_one_word() {
        assert_eq!(spelled("Node.js, C++ and vue.js."), ["node.js", "c++", "and", "vue.js"]);
    }

    #[test]
    fn hyphens_split_words_but_for_those_that_are_one() {
        assert_eq!(spelled("a to-do many-to-many"), ["a", "todo", "many", "to", "many"]);
    }

    #[test]
    fn humps_become_underscores() {
        assert_eq!(
            spelled("dueDate published_year JavaScript"),
            ["due_date", "published_year", "javascript"]
        );
    }

    #[test]
    fn items_of_lists_begin_with_a_bullet() {
        let kinds: Vec<Kind> = tokens("- one\n2. two").iter().map(|token| token.kind).collect();

        assert_eq!(
            kinds,
            [Kind::Bullet, Kind::Word, Kind::Line, Kind::Bullet, Kind::Bullet, Kind::Word]
        );
    }

    #[test]
    fn names_are_cut_at_a_word() {
        assert_eq!(kebab("Café Müller & Söhne", 40), "cafe-muller-sohne");
        assert_eq!(snake("one two three", 8), "one_two");
        assert_eq!(snake("2nd price", 20), "price");
        assert_eq!(snake("日本", 20), "");
    }

    #[test]
    fn titles_keep_small_words_small() {
        assert_eq!(title("list_of books-api"), "List of Books API");
    }

    #[test]
    fn a_sentence_does_not_end_inside_a_name_or_an_abbreviation() {
        assert_eq!(
            sentences("Use node.js, e.g. express. Then test"),
            ["Use node.js, e.g. express.", "Then test"]
        );
    }
}
