//! The ready-made tools: what each is called and how it is used.
//!
//! Their code is in `templates/package/tools`, their tests in `templates/tests/tools`.

use serde::Serialize;

use crate::generate::spec::Tool;

/// A ready-made tool, for templates.
#[derive(Debug, Clone, Serialize)]
pub struct ToolView {
    /// The command, where it is not the only one: `csv-to-json`.
    pub command: String,
    /// The Python module: `csv_to_json`.
    pub module: &'static str,
    pub title: &'static str,
    /// What it does, in sentences for documents.
    pub about: &'static str,
    /// What follows the command in examples, with what it does.
    pub examples: &'static [(&'static str, &'static str)],
}

/// Python packages that a tool needs at run time, pinned.
pub fn dependencies(tool: Tool) -> &'static [&'static str] {
    match tool {
        Tool::MarkdownToHtml => &["Markdown==3.11.3"],
        _ => &[],
    }
}

/// The modules that a tool shares with others, each after those it uses itself.
pub fn shared_modules(tool: Tool) -> &'static [&'static str] {
    match tool {
        Tool::CsvToJson | Tool::CsvStats => &["streams", "csv_files"],
        Tool::JsonToCsv | Tool::JsonFormat => &["streams", "json_files"],
        Tool::WordCount
        | Tool::FileHash
        | Tool::LogAnalyzer
        | Tool::MarkdownToHtml
        | Tool::TextEncode => &["streams"],
        Tool::DuplicateFinder => &["sizes", "walking"],
        Tool::BulkRename | Tool::FileOrganizer => &["moves"],
        Tool::DiskUsage => &["sizes"],
        Tool::TextSearch => &["walking"],
        Tool::PasswordGenerator | Tool::UnitConverter | Tool::Calculator | Tool::DateCalculator => {
            &[]
        }
    }
}

/// A tool as templates see it, with a command that none of `taken` has.
pub fn view(tool: Tool, taken: &[String]) -> ToolView {
    let (module, title, about, examples) = entry(tool);
    let mut command = module.replace('_', "-");
    if taken.contains(&command) {
        command.push_str("-tool");
    }
    ToolView { command, module, title, about, examples }
}

type Entry = (&'static str, &'static str, &'static str, &'static [(&'static str, &'static str)]);

fn entry(tool: Tool) -> Entry {
    match tool {
        Tool::CsvToJson => (
            "csv_to_json",
            "CSV to JSON",
            "Turns the rows of a CSV file into a JSON array of objects, with the first row as names.",
            &[
                ("people.csv -o people.json", "a file into a file"),
                ("- --delimiter ';' --types < people.csv", "standard input, numbers as numbers"),
            ],
        ),
        Tool::JsonToCsv => (
            "json_to_csv",
            "JSON to CSV",
            "Turns a JSON array of objects into CSV, with a column for every name that occurs.",
            &[
                ("people.json -o people.csv", "a file into a file"),
                ("people.json --columns name,age", "only these columns, in this order"),
            ],
        ),
        Tool::CsvStats => (
            "csv_stats",
            "CSV statistics",
            "Describes each column of a CSV file: how many values it has and how many differ, the \
             smallest, largest and mean number, and the most frequent values.",
            &[("sales.csv", "every column"), ("sales.csv --column price --json", "one, as JSON")],
        ),
        Tool::JsonFormat => (
            "json_format",
            "JSON formatter",
            "Checks that a file is JSON and prints it indented, or on one line.",
            &[
                ("data.json --sort-keys", "indented, names in order"),
                ("data.json --check", "only whether it is JSON"),
            ],
        ),
        Tool::WordCount => (
            "word_count",
            "Word count",
            "Counts the lines, words and characters of text files, and their most frequent words.",
            &[("notes.txt letter.txt --top 10", "two files and their ten most frequent words")],
        ),
        Tool::PasswordGenerator => (
            "password_generator",
            "Password generator",
            "Draws passwords from the system's randomness, with every chosen sort of character in each.",
            &[
                ("--length 24 --count 3", "three passwords"),
                ("--no-symbols --no-ambiguous", "letters and digits that are hard to confuse"),
            ],
        ),
        Tool::FileHash => (
            "file_hash",
            "File checksums",
            "Prints the checksums of files, and checks files against a list of them.",
            &[
                ("report.pdf > sums.txt", "the SHA-256 of a file"),
                ("--check sums.txt", "whether the files still have the sums of a list"),
            ],
        ),
        Tool::DuplicateFinder => (
            "duplicate_finder",
            "Duplicate finder",
            "Finds files with equal content below folders and says how much space they waste.",
            &[("~/Pictures --min-size 10K", "files of at least 10 KiB")],
        ),
        Tool::BulkRename => (
            "bulk_rename",
            "Bulk rename",
            "Renames many files by a regular expression; shows what it would do unless told to do it.",
            &[
                ("photos 'IMG_(\\d+)' 'holiday-\\1'", "a preview"),
                ("photos 'IMG_(\\d+)' 'holiday-\\1' --apply", "the same, done"),
            ],
        ),
        Tool::FileOrganizer => (
            "file_organizer",
            "File organizer",
            "Moves the files of a folder into folders by type; shows what it would do unless told \
             to do it.",
            &[("~/Downloads", "a preview"), ("~/Downloads --apply", "the same, done")],
        ),
        Tool::DiskUsage => (
            "disk_usage",
            "Disk usage",
            "Lists what is in a folder with its sizes, largest first.",
            &[("~ --top 10", "the ten largest"), (". --depth 2 --json", "two levels, as JSON")],
        ),
        Tool::TextSearch => (
            "text_search",
            "Text search",
            "Finds the lines that match a regular expression in files and folders, with context.",
            &[
                ("'TODO|FIXME' src --glob '*.py' -C 2", "with two lines around each match"),
                ("'needle' . --ignore-case --count", "how many lines match in each file"),
            ],
        ),
        Tool::LogAnalyzer => (
            "log_analyzer",
            "Log analyzer",
            "Counts the levels, hours and most frequent messages of log files.",
            &[("app.log --level error --top 5", "the most frequent errors")],
        ),
        Tool::UnitConverter => (
            "unit_converter",
            "Unit converter",
            "Converts lengths, weights, temperatures, volumes, speeds and data sizes.",
            &[("10 km mi", "kilometres in miles"), ("--list", "every unit")],
        ),
        Tool::MarkdownToHtml => (
            "markdown_to_html",
            "Markdown to HTML",
            "Turns a Markdown file into an HTML page that stands on its own.",
            &[("notes.md -o notes.html --title Notes", "a page with a title")],
        ),
        Tool::TextEncode => (
            "text_encode",
            "Text encoder",
            "Encodes and decodes Base64, hexadecimal and URL escapes.",
            &[
                ("base64 'some text'", "an argument"),
                ("hex --decode - < encoded.txt", "standard input, decoded"),
            ],
        ),
        Tool::Calculator => (
            "calculator",
            "Calculator",
            "Works out an arithmetic expression, with functions such as sqrt and constants such as pi.",
            &[("'2 * (3 + 4) ** 2'", "98"), ("'sqrt(2) * pi'", "with functions and constants")],
        ),
        Tool::DateCalculator => (
            "date_calculator",
            "Date calculator",
            "Counts the days, weeks and working days between two dates, and moves a date by days, \
             weeks, months, years or working days.",
            &[
                ("between 2026-01-01 2026-12-31", "what lies between"),
                ("shift 2026-11-21 --days 30", "a date moved"),
            ],
        ),
    }
}
