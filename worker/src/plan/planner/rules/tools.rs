//! Which ready-made tools a brief for the command line asks for.

use models::words::Kind;

use super::text::Word;
use crate::generate::spec::Tool;

/// For each tool: its name, and groups of word starts. A tool is asked for when one group has all
/// its starts in the brief; `a|b` is either.
const ASKED: &[(Tool, &str, &[&[&str]])] = &[
    (
        Tool::CsvStats,
        "CSV Statistics",
        &[
            &["csv", "statistic|stats|summar|analy|mean|average|median"],
            &["column", "statistic|stats|average|mean"],
        ],
    ),
    (
        Tool::JsonFormat,
        "JSON Formatter",
        &[&["json", "format|pretty|validat|lint|beautif|indent|prettif"]],
    ),
    (
        Tool::WordCount,
        "Word Count",
        &[
            &["word", "count|counter|counts|counting|frequen"],
            &["reading", "time", "estimat|calculat"],
            &["count", "lines|characters"],
        ],
    ),
    (
        Tool::PasswordGenerator,
        "Password Generator",
        &[&["password|passwords|passphrase", "generat|random|creat|strong"]],
    ),
    (
        Tool::FileHash,
        "File Hash",
        &[
            &["checksum|checksums|sha256|sha|md5"],
            &["hash|hashes|hashing", "file|files"],
            &["integrity", "file|files"],
        ],
    ),
    (
        Tool::DuplicateFinder,
        "Duplicate Finder",
        &[&[
            "duplicate|duplicates|dedup|deduplicat",
            "file|files|photo|image|images|photos|folder|disk",
        ]],
    ),
    (
        Tool::BulkRename,
        "Bulk Rename",
        &[&["rename|renames|renaming|renamer", "file|files|photos|images|bulk|batch"]],
    ),
    (
        Tool::FileOrganizer,
        "File Organizer",
        &[&[
            "organi|sort|tidy|clean|arrang|moves",
            "file|files|downloads|folder",
            "type|extension|folder|folders|downloads",
        ]],
    ),
    (
        Tool::DiskUsage,
        "Disk Usage",
        &[
            &["disk", "usage|space|size"],
            &["folder|directory|directories|folders", "size|sizes|largest|biggest"],
        ],
    ),
    (
        Tool::TextSearch,
        "Text Search",
        &[
            &["grep"],
            &[
                "search|find|searches|finds",
                "text|pattern|regex|string|lines",
                "file|files|folder|directory|code",
            ],
        ],
    ),
    (
        Tool::LogAnalyzer,
        "Log Analyzer",
        &[&["log|logs|logfile|logfiles", "analy|pars|summar|statistic|stats|error|errors"]],
    ),
    (
        Tool::UnitConverter,
        "Unit Converter",
        &[
            &["unit|units", "convert|conver"],
            &[
                "convert|conver",
                "temperature|celsius|fahrenheit|kilometers|miles|kilograms|pounds|length|weight|weights",
            ],
        ],
    ),
    (Tool::MarkdownToHtml, "Markdown to HTML", &[&["markdown", "html"]]),
    (
        Tool::TextEncode,
        "Text Encoder",
        &[&["base64|urlencode|hexadecimal"], &["encod|decod", "text|url|hex|string|strings"]],
    ),
    (
        Tool::Calculator,
        "Calculator",
        &[&["calculator|calculators"], &["evaluat", "expression|expressions"], &["arithmetic"]],
    ),
    (
        Tool::DateCalculator,
        "Date Calculator",
        &[
            &["days", "between", "date|dates"],
            &["date|dates", "calculat|difference", "between|days|add"],
            &["working|business", "days"],
            &["age", "calculat"],
        ],
    ),
];

/// What each tool is called.
pub fn title(tool: Tool) -> &'static str {
    match tool {
        Tool::CsvToJson => "CSV to JSON",
        Tool::JsonToCsv => "JSON to CSV",
        other => ASKED.iter().find(|(known, _, _)| *known == other).map_or("Tool", |row| row.1),
    }
}

/// The tools that the words ask for, in the order of the list.
pub fn asked(words: &[Word]) -> Vec<Tool> {
    let mut found = conversions(words);
    // The first sentences say what is asked; a long text has every word somewhere.
    let said: Vec<&str> = words
        .iter()
        .filter(|word| word.kind == Kind::Word)
        .map(|word| word.text.as_str())
        .take(80)
        .collect();
    for (tool, _, groups) in ASKED {
        if groups.iter().any(|group| group.iter().all(|starts| holds(&said, starts))) {
            found.push(*tool);
        }
    }
    if found.len() > 1 && !said.contains(&"calculate") {
        // `age calculator` and its like are one tool, the narrower.
        let narrower = found.iter().any(|tool| matches!(tool, Tool::DateCalculator));
        found.retain(|tool| !(narrower && *tool == Tool::Calculator));
    }
    found
}

fn holds(said: &[&str], starts: &str) -> bool {
    starts.split('|').any(|start| {
        // Short starts are whole words: `log` is not in `login`, nor `type` in `typed`.
        if start.len() <= 4 {
            said.iter().any(|word| *word == start || word.strip_suffix('s') == Some(start))
        } else {
            said.iter().any(|word| word.starts_with(start))
        }
    })
}

/// `csv to json`, `json into csv`, or both ways.
fn conversions(words: &[Word]) -> Vec<Tool> {
    let at = |wanted: &str| {
        words.iter().position(|word| word.text == wanted || word.text == format!("{wanted}s"))
    };
    let said = |wanted: &[&str]| {
        words.iter().any(|word| wanted.iter().any(|start| word.text.starts_with(start)))
    };
    let (Some(csv), Some(json)) = (at("csv"), at("json")) else { return Vec::new() };
    if !said(&["convert", "conver", "transform", "turn", "export", "csv2json"])
        && csv.abs_diff(json) > 4
    {
        return Vec::new();
    }
    if said(&["vice", "versa", "back", "bidirectional", "both"]) {
        vec![Tool::CsvToJson, Tool::JsonToCsv]
    } else if csv < json {
        vec![Tool::CsvToJson]
    } else {
        vec![Tool::JsonToCsv]
    }
}

/// The tool that comes nearest where none is asked for; a guess by the things named.
pub fn nearest(words: &[Word]) -> Tool {
    let said = |list: &[&str]| {
        words.iter().any(|word| {
            word.kind == Kind::Word && list.iter().any(|start| word.text.starts_with(start))
        })
    };
    if said(&["xlsx", "excel", "spreadsheet", "csv", "table"]) {
        Tool::CsvStats
    } else if said(&["json", "yaml", "xml", "toml"]) {
        Tool::JsonFormat
    } else if said(&["image", "photo", "picture", "director", "folder", "backup", "file"]) {
        Tool::FileOrganizer
    } else if said(&["html", "markdown", "docs"]) {
        Tool::MarkdownToHtml
    } else if said(&["log"]) {
        Tool::LogAnalyzer
    } else if said(&["currency", "unit", "convert"]) {
        Tool::UnitConverter
    } else if said(&["encrypt", "secret", "random", "password"]) {
        Tool::PasswordGenerator
    } else if said(&["math", "number", "equation", "area", "shape", "sum", "calculat"]) {
        Tool::Calculator
    } else if said(&["date", "time", "calendar", "day"]) {
        Tool::DateCalculator
    } else {
        Tool::WordCount
    }
}
