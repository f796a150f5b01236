//! The title, the slug and the summary of a project.

use models::language::Language;
use models::words::{kebab, sentences, title};

use super::text::Text;
use super::tools;
use crate::generate::spec::{Entity, Stack, Tool};

/// The slug's bound in `Spec`.
const SLUG_BYTES_MAX: usize = 40;
/// One line of a README.
const SUMMARY_CHARS_MAX: usize = 160;

/// A name for people, and the same for folders.
pub fn name(
    prompt: &str,
    heading: Option<&str>,
    leads: &[String],
    tools: &[Tool],
    domain: Option<&str>,
) -> (String, String) {
    // What a tool is called says more than the first noun of the brief, such as `passwords`.
    let tool = of_tools(tools).filter(|_| leads.is_empty());
    let titled = called(prompt)
        .or_else(|| first_heading(prompt))
        .or(tool)
        .or_else(|| heading.map(|words| cut(&title(words), 40)))
        .or_else(|| domain.map(title))
        .or_else(|| of_tools(tools))
        .unwrap_or_else(|| of_leads(leads));
    let slug = kebab(&titled, SLUG_BYTES_MAX);
    if slug.is_empty() {
        let titled = of_tools(tools).unwrap_or_else(|| of_leads(leads));
        let slug = kebab(&titled, SLUG_BYTES_MAX);
        return (titled, slug);
    }
    (titled, slug)
}

fn of_tools(tools: &[Tool]) -> Option<String> {
    let first = tools.first()?;
    Some(match tools.len() {
        1 => tools::title(*first).to_owned(),
        _ => format!("{} and More", tools::title(*first)),
    })
}

/// `Polls, Votes and Users`, as many as a title can hold.
fn of_leads(leads: &[String]) -> String {
    let titles: Vec<String> = leads.iter().map(|lead| title(lead)).collect();
    let whole = listed(&titles);
    match titles.as_slice() {
        [] => "Project".to_owned(),
        [_] => cut(&whole, 40),
        [_, _] | [_, _, _] if whole.len() <= 40 => whole,
        [first, ..] => format!("{} and More", cut(first, 30)),
    }
}

/// `# Support desk`, where a brief begins with it.
fn first_heading(prompt: &str) -> Option<String> {
    const TOLD: &[&str] =
        &["overview", "introduction", "task", "prompt", "brief", "goal", "requirements", "project"];
    let said = prompt.trim_start().lines().next()?.strip_prefix("# ")?.trim();
    let said = said.split([':', '(']).next().unwrap_or_default().trim();
    let words = said.split_whitespace().count();
    let plain = said.chars().all(|ch| ch.is_alphanumeric() || " -&'".contains(ch));
    let fits = (1..=5).contains(&words) && plain && !TOLD.contains(&said.to_lowercase().as_str());
    (fits && !kebab(said, SLUG_BYTES_MAX).is_empty()).then(|| cut(&title(said), 40))
}

/// Where a name may be given: in the first sentences. Later, files and fields are named.
const NAMED_WITHIN_BYTES: usize = 600;

/// `called Bookworm`, `named "My Shop"`.
fn called(prompt: &str) -> Option<String> {
    const CUES: &[&str] = &[
        " called ",
        " named ",
        " titled ",
        " namens ",
        " appelée ",
        " appelé ",
        " llamada ",
        " llamado ",
        " chiamata ",
        " chiamato ",
        " chamado ",
        " chamada ",
        " genaamd ",
    ];
    let start = CUES.iter().filter_map(|cue| prompt.find(cue).map(|at| at + cue.len())).min()?;
    if start > NAMED_WITHIN_BYTES {
        return None;
    }
    let rest = prompt[start..].trim_start();
    // `saved in a file called src/model.py` names no project.
    let first = rest.split_whitespace().next()?;
    if first.contains(['/', '_']) || first.trim_end_matches(['.', ',']).contains('.') {
        return None;
    }
    let quote = rest.chars().next().filter(|ch| "\"'“‘«`„*".contains(*ch));
    let name = match quote {
        Some(quote) => rest[quote.len_utf8()..]
            .trim_start_matches('*')
            .chars()
            .take_while(|ch| !"\"'”’»`“*\n".contains(*ch))
            .take(60)
            .collect(),
        None => unquoted(rest),
    };
    let name: String = name
        .chars()
        .map(|ch| if ch.is_alphanumeric() || "'&+.".contains(ch) { ch } else { ' ' })
        .collect();
    let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
    let name = if name.contains(char::is_uppercase) { name } else { title(&name) };
    (!kebab(&name, SLUG_BYTES_MAX).is_empty()).then(|| cut(&name, 40))
}

/// A name without quotes: up to four words with capitals, or one word that the clause ends with.
fn unquoted(rest: &str) -> String {
    const AFTER: &[&str] = &["that", "which", "with", "for", "to", "where", "and", "using", "in"];
    let mut words: Vec<&str> = Vec::new();
    let mut said = rest.split_whitespace().take(5).peekable();
    while let Some(word) = said.next() {
        let bare = word.trim_matches(|ch: char| !ch.is_alphanumeric());
        let ends = word.ends_with(|ch: char| !ch.is_alphanumeric());
        let capital =
            bare.chars().next().is_some_and(|ch| ch.is_uppercase() || ch.is_ascii_digit());
        let alone =
            words.is_empty() && (ends || said.peek().is_none_or(|next| AFTER.contains(next)));
        if bare.is_empty() || words.len() == 4 || !(capital || alone) {
            break;
        }
        words.push(bare);
        if ends || !capital {
            break;
        }
    }
    words.join(" ")
}

fn cut(text: &str, chars_max: usize) -> String {
    let mut kept = String::new();
    for word in text.split_whitespace() {
        if kept.chars().count() + word.chars().count() + 1 > chars_max && !kept.is_empty() {
            break;
        }
        if !kept.is_empty() {
            kept.push(' ');
        }
        kept.extend(word.chars().take(chars_max));
    }
    kept
}

/// One sentence on what the software is for: the brief's first where it is a good one.
pub fn summary(
    text: &Text,
    stack: Stack,
    entities: &[Entity],
    tools: &[Tool],
    faithful: bool,
) -> String {
    if faithful
        && text.language == Language::English
        && let Some(first) = sentences(&text.plain).first()
        && let Some(said) = stripped(first)
    {
        return said;
    }
    composed(stack, entities, tools)
}

/// `Please build me a REST API for …` as `A REST API for …`.
fn stripped(sentence: &str) -> Option<String> {
    const ASKING: &[&str] = &[
        "please",
        "can",
        "could",
        "you",
        "i",
        "want",
        "need",
        "would",
        "like",
        "to",
        "we",
        "help",
        "build",
        "create",
        "make",
        "write",
        "develop",
        "design",
        "implement",
        "generate",
        "me",
        "us",
        "set",
        "up",
        "hey",
        "hi",
        "hello",
        "i'd",
        "have",
        "code",
    ];
    let clean = sentence.split_whitespace().collect::<Vec<_>>().join(" ");
    let clean = clean.trim_end_matches(['.', '!', '?', ':', ' ']);
    let mut rest = clean;
    while let Some((word, after)) = rest.split_once(' ') {
        let bare = word.trim_end_matches([',', '!']).to_lowercase();
        if !ASKING.contains(&bare.as_str()) {
            break;
        }
        rest = after;
    }
    let first = rest.split(' ').next()?.to_lowercase();
    let words = rest.split(' ').count();
    let plain = rest.chars().all(|ch| ch.is_alphanumeric() || " ,;:'’()-/&%+.!?".contains(ch));
    let ascii_mostly =
        rest.chars().filter(|ch| ch.is_ascii()).count() * 10 >= rest.chars().count() * 9;
    let sound = matches!(first.as_str(), "a" | "an" | "the")
        && (4..=30).contains(&words)
        && plain
        && ascii_mostly
        && rest.chars().count() < SUMMARY_CHARS_MAX
        && !rest.contains('?')
        && rest.contains(|ch: char| ch.is_lowercase())
        && !rest.contains(": ")
        && !rest.contains("endpoint")
        && !rest.ends_with(" that")
        && !rest.ends_with(" these")
        && !rest.ends_with(" it");
    if !sound {
        return None;
    }
    let mut said: String = rest.chars().take(1).flat_map(char::to_uppercase).collect();
    said.extend(rest.chars().skip(1));
    said.push('.');
    Some(said)
}

fn composed(stack: Stack, entities: &[Entity], tools: &[Tool]) -> String {
    let mut names: Vec<String> =
        entities.iter().take(4).map(|entity| entity.plural.replace('_', " ")).collect();
    if entities.len() > 4 {
        names.push("more".to_owned());
    }
    let listed = listed(&names);
    let tooled = listed_tools(tools);
    match stack {
        Stack::PythonCli if entities.is_empty() => format!("A command-line tool: {tooled}."),
        Stack::PythonCli if tools.is_empty() => {
            format!("A command-line tool that keeps {listed}.")
        }
        Stack::PythonCli => format!("A command-line tool that keeps {listed}, with {tooled}."),
        _ => format!("A REST service that keeps {listed}."),
    }
}

fn listed_tools(tools: &[Tool]) -> String {
    listed(&tools.iter().map(|tool| tools::title(*tool).to_owned()).collect::<Vec<_>>())
}

/// `a, b and c`.
pub fn listed(names: &[String]) -> String {
    match names {
        [] => "nothing".to_owned(),
        [only] => only.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}
