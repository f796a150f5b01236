//! What holds of every project, whatever the spec. That projects install, pass their tests and
//! are formatted is shown by running them, outside these tests.

use std::collections::HashSet;

use super::*;
use crate::generate::spec::{Kind, Stack};

const SPECS: [&str; 4] = [
    include_str!("../../../tests/specs/library.json"),
    include_str!("../../../tests/specs/everything.json"),
    include_str!("../../../tests/specs/tiny.json"),
    include_str!("../../../tests/specs/knots.json"),
];

fn specs() -> impl Iterator<Item = Spec> {
    SPECS.into_iter().map(|text| {
        let mut spec: Spec = serde_json::from_str(text).unwrap();
        spec.stack = Stack::Fastapi;
        spec
    })
}

fn files(spec: &Spec) -> Vec<File> {
    parts(spec).iter().flat_map(|part| render(spec, &part.key).unwrap()).collect()
}

fn content(files: &[File], path: &str) -> String {
    files.iter().find(|file| file.path == path).unwrap().content.clone()
}

#[test]
fn a_part_renders_exactly_what_it_says_it_writes() {
    for spec in specs() {
        for part in parts(&spec) {
            let paths: Vec<String> =
                render(&spec, &part.key).unwrap().into_iter().map(|file| file.path).collect();
            assert_eq!(paths, part.writes, "{}", part.key);
        }
    }
}

#[test]
fn parts_are_unique_and_come_after_what_they_need() {
    for spec in specs() {
        let mut keys = HashSet::new();
        let mut paths = HashSet::new();
        for part in parts(&spec) {
            assert!(part.needs.iter().all(|need| keys.contains(need)), "{part:?}");
            assert!(part.writes.iter().all(|path| paths.insert(path.clone())), "{part:?}");
            assert!(keys.insert(part.key.clone()), "{part:?}");
        }
    }
}

#[test]
fn components_do_not_wait_for_each_other() {
    for spec in specs() {
        let parts = parts(&spec);
        let components: Vec<_> =
            parts.iter().filter(|part| part.key.starts_with("component:")).collect();
        assert_eq!(components.len(), spec.entities.len());
        assert!(components.iter().all(|part| part.needs == ["models"]));
    }
}

#[test]
fn rendering_twice_gives_the_same_bytes() {
    for spec in specs() {
        assert_eq!(files(&spec), files(&spec));
    }
}

#[test]
fn files_are_tidy_text() {
    for spec in specs() {
        for File { path, content } in files(&spec) {
            assert!(content.ends_with('\n') && !content.ends_with("\n\n"), "{path}");
            assert!(content.lines().all(|line| line == line.trim_end()), "{path}");
            assert!(!content.contains('\r'), "{path}");
            // The brief, which this page quotes, may have such marks of its own.
            let own = content.replace("${{ matrix.python }}", "");
            let marked = own.contains("{{") || own.contains("{%");
            assert!(path == "docs/REQUIREMENTS.md" || !marked, "{path}");
        }
    }
}

#[test]
fn the_readme_gives_the_commands_that_are_run() {
    for spec in specs() {
        let readme = content(&files(&spec), "README.md");
        for command in [COMMANDS.install, COMMANDS.test] {
            assert!(readme.lines().any(|line| line == command), "{command}");
        }
        for note in &spec.notes {
            assert!(readme.contains(&naming::markdown(note)));
        }
    }
}

#[test]
fn every_requirement_is_pinned() {
    let files = files(&specs().next().unwrap());
    for path in ["requirements.txt", "requirements-dev.txt"] {
        for line in content(&files, path).lines() {
            let comment = line.starts_with('#') || line == "-r requirements.txt";
            assert!(comment || line.contains("=="), "{path}: {line}");
        }
    }
}

#[test]
fn text_of_the_spec_cannot_leave_its_place() {
    let mut spec = specs().next().unwrap();
    let nasty = "a \"\"\" ''' \\ {{ x }} {% y %} `z` */ # | <b> ${q} é\u{2028}漢 ".repeat(8);
    spec.title = nasty.clone();
    spec.summary = nasty.clone();
    spec.brief = format!("{nasty}\n# heading\n```\n{nasty}");
    spec.entities[0].about = nasty.clone();
    spec.notes = vec![nasty.clone()];
    let files = files(&spec);
    let manifest: toml::Table = toml::from_str(&content(&files, "pyproject.toml")).unwrap();
    assert_eq!(
        manifest["project"]["description"].as_str(),
        Some(naming::one_line(&nasty).as_str())
    );
    let requirements = content(&files, "docs/REQUIREMENTS.md");
    assert!(!requirements.lines().any(|line| line == "# heading" || line.starts_with("```")));
    assert!(
        content(&files, "app/models/author.py").lines().all(|line| line.chars().count() <= 100)
    );
}

#[test]
fn nothing_is_imported_or_counted_in_vain() {
    let mut spec = specs().next().unwrap();
    let author = &mut spec.entities[0];
    author.fields.truncate(1);
    author.fields[0].kind = Kind::Choice { options: vec!["number".into(), "word".into()] };
    let with_choice = files(&spec);
    let factories = content(&with_choice, "tests/factories.py");
    let made = factories.split("def author_payload").nth(1).unwrap();
    assert!(!made.split("def ").next().unwrap().contains("next(_numbers)"));

    spec.entities[0].fields[0].kind = Kind::Datetime;
    let model = content(&files(&spec), "app/models/author.py");
    assert!(!model.contains("import sqlalchemy as sa"));
}

#[test]
fn an_unknown_part_is_an_error() {
    let spec = specs().next().unwrap();
    assert!(matches!(render(&spec, "nothing"), Err(Error::NoSuchPart { .. })));
}
