//! What holds of every project of this stack, whatever the spec.

use std::collections::BTreeSet;

use super::{parts, render};
use crate::generate::spec::{Spec, Stack, Tool};

const TOOLS: [Tool; 18] = [
    Tool::CsvToJson,
    Tool::JsonToCsv,
    Tool::CsvStats,
    Tool::JsonFormat,
    Tool::WordCount,
    Tool::PasswordGenerator,
    Tool::FileHash,
    Tool::DuplicateFinder,
    Tool::BulkRename,
    Tool::FileOrganizer,
    Tool::DiskUsage,
    Tool::TextSearch,
    Tool::LogAnalyzer,
    Tool::UnitConverter,
    Tool::MarkdownToHtml,
    Tool::TextEncode,
    Tool::Calculator,
    Tool::DateCalculator,
];

fn stored(text: &str) -> Spec {
    Spec { stack: Stack::PythonCli, ..serde_json::from_str(text).unwrap() }
}

fn library() -> Spec {
    stored(include_str!("../../../tests/specs/library.json"))
}

fn everything() -> Spec {
    stored(include_str!("../../../tests/specs/everything.json"))
}

fn tiny() -> Spec {
    stored(include_str!("../../../tests/specs/tiny.json"))
}

fn toolbox(tools: &[Tool]) -> Spec {
    let mut spec = tiny();
    spec.slug = "toolbox".into();
    spec.entities.clear();
    spec.tools = tools.to_vec();
    spec
}

fn all() -> Vec<Spec> {
    let mut specs = vec![library(), everything(), tiny(), toolbox(&TOOLS)];
    specs.extend(TOOLS.iter().map(|tool| toolbox(&[*tool])));
    specs.push(Spec { tools: TOOLS.to_vec(), ..library() });
    specs
}

#[test]
fn every_part_makes_exactly_the_files_it_says() {
    for spec in all() {
        for part in parts(&spec) {
            let files = render(&spec, &part.key).unwrap();

            let paths: Vec<String> = files.into_iter().map(|file| file.path).collect();
            assert_eq!(paths, part.writes, "{} of {:?}", part.key, spec.tools);
        }
    }
}

#[test]
fn no_two_parts_share_a_key_or_a_path() {
    for spec in all() {
        let parts = parts(&spec);

        let keys: BTreeSet<&String> = parts.iter().map(|part| &part.key).collect();
        let paths: Vec<&String> = parts.iter().flat_map(|part| &part.writes).collect();

        assert_eq!(keys.len(), parts.len());
        assert_eq!(paths.iter().collect::<BTreeSet<_>>().len(), paths.len(), "{paths:?}");
    }
}

#[test]
fn every_part_comes_after_what_it_needs() {
    for spec in all() {
        let mut before = BTreeSet::new();
        for part in parts(&spec) {
            for need in &part.needs {
                assert!(before.contains(need), "{} needs {need}", part.key);
            }
            before.insert(part.key);
        }
    }
}

#[test]
fn small_briefs_have_about_ten_parts() {
    assert_eq!(parts(&tiny()).len(), 10);
    assert_eq!(parts(&toolbox(&[Tool::CsvToJson])).len(), 9);
}

#[test]
fn files_end_with_one_line_end_and_carry_no_stray_blanks() {
    for spec in all() {
        for part in parts(&spec) {
            for file in render(&spec, &part.key).unwrap() {
                let content = &file.content;
                assert!(content.ends_with('\n') && !content.ends_with("\n\n"), "{}", file.path);
                for (line, text) in content.lines().enumerate() {
                    assert_eq!(text.trim_end(), text, "{}:{}", file.path, line + 1);
                }
            }
        }
    }
}

#[test]
fn the_same_spec_gives_the_same_bytes() {
    let spec = everything();

    for part in parts(&spec) {
        assert_eq!(render(&spec, &part.key).unwrap(), render(&spec, &part.key).unwrap());
    }
}

#[test]
fn a_part_that_is_not_there_is_an_error() {
    assert!(render(&tiny(), "component:books").is_err());
}

#[test]
fn words_of_the_brief_cannot_break_out_of_their_place() {
    let mut spec = library();
    let nasty = "Ends \"\"\" here \\ {{ x }} {% y %} */ `z` %s\nnew | line 漢字";
    spec.summary = nasty.into();
    spec.brief = nasty.into();
    spec.notes = vec![nasty.into()];
    spec.entities[0].about = nasty.into();

    let files: Vec<_> =
        parts(&spec).iter().flat_map(|part| render(&spec, &part.key).unwrap()).collect();
    let content = |path: &str| {
        &files.iter().find(|file| file.path == path).expect("the project has this file").content
    };

    let init = content("src/book_library/__init__.py");
    assert_eq!(init.matches("\"\"\"").count(), 2, "{init}");
    let project: toml::Table = toml::from_str(content("pyproject.toml")).unwrap();
    let description = project["project"]["description"].as_str().unwrap();
    assert!(description.contains("*/ `z` %s new | line"), "{description}");
    assert!(content("README.md").contains("{{ x }}"));
}

#[test]
fn names_that_python_has_are_avoided() {
    let mut spec = tiny();
    spec.slug = "calendar".into();
    assert!(parts(&spec)[2].writes.contains(&"src/calendar_cli/__init__.py".into()));
    let project = &render(&spec, "config").unwrap()[0].content;
    assert!(project.contains("\ncalendar = \"calendar_cli.cli:main\""), "{project}");

    spec.slug = "pytest".into();
    let project = &render(&spec, "config").unwrap()[0].content;
    assert!(project.contains("\npytest-cli = \"pytest_cli.cli:main\""), "{project}");
}

#[test]
fn a_tool_never_takes_the_command_of_a_record() {
    let mut spec = tiny();
    spec.entities[0].name = "calculator".into();
    spec.tools = vec![Tool::Calculator];

    let registry = render(&spec, "cli").unwrap();

    let tools = registry.iter().find(|file| file.path.ends_with("tools/__init__.py")).unwrap();
    assert!(tools.content.contains("\"calculator-tool\": calculator"), "{}", tools.content);
}
