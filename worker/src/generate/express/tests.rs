use std::collections::HashSet;

use super::super::spec::{Spec, Stack};
use super::*;

const SPECS: [&str; 3] = [
    include_str!("../../../tests/specs/library.json"),
    include_str!("../../../tests/specs/everything.json"),
    include_str!("../../../tests/specs/tiny.json"),
];

fn specs() -> impl Iterator<Item = Spec> {
    SPECS.iter().map(|text| {
        let spec: Spec = serde_json::from_str(text).unwrap();
        Spec { stack: Stack::Express, ..spec }
    })
}

fn files(spec: &Spec) -> Vec<File> {
    parts(spec).iter().flat_map(|part| render(spec, &part.key).unwrap()).collect()
}

fn file(spec: &Spec, path: &str) -> String {
    files(spec).into_iter().find(|file| file.path == path).unwrap().content
}

#[test]
fn a_part_gives_the_files_that_it_says_and_no_other_part_does() {
    for spec in specs() {
        let mut seen = HashSet::new();
        for part in parts(&spec) {
            let given: Vec<String> =
                render(&spec, &part.key).unwrap().into_iter().map(|file| file.path).collect();
            assert_eq!(given, part.writes, "{}", part.key);
            assert!(!given.is_empty(), "{}", part.key);
            for path in given {
                assert!(seen.insert(path.clone()), "{path} is written twice");
            }
        }
    }
}

#[test]
fn a_part_comes_after_what_it_needs() {
    for spec in specs() {
        let mut before = HashSet::new();
        for part in parts(&spec) {
            for need in &part.needs {
                assert!(before.contains(need), "{} needs {need}", part.key);
            }
            assert!(before.insert(part.key.clone()), "{} is there twice", part.key);
        }
    }
}

#[test]
fn a_component_needs_those_that_its_code_imports() {
    for spec in specs() {
        for part in parts(&spec).iter().filter(|part| part.key.starts_with("component:")) {
            let code: String =
                render(&spec, &part.key).unwrap().into_iter().map(|file| file.content).collect();
            for entity in &spec.entities {
                let folder = format!("\"../{}/", naming::kebab(&entity.plural));
                let needed = part.needs.contains(&format!("component:{}", entity.plural));
                assert_eq!(code.contains(&folder), needed, "{} and {folder}", part.key);
            }
        }
    }
}

#[test]
fn rendering_gives_the_same_bytes_each_time() {
    for spec in specs() {
        assert_eq!(files(&spec), files(&spec));
    }
}

#[test]
fn files_end_with_one_line_end_and_no_line_ends_with_blanks() {
    for spec in specs() {
        for File { path, content } in files(&spec) {
            assert!(content.ends_with('\n') && !content.ends_with("\n\n"), "{path}");
            for line in content.lines() {
                assert_eq!(line, line.trim_end(), "{path}");
            }
        }
    }
}

#[test]
fn json_files_are_json_and_carry_the_name_of_the_project() {
    for spec in specs() {
        for File { path, content } in files(&spec) {
            if path.ends_with(".json") {
                let json: serde_json::Value = serde_json::from_str(&content).unwrap();
                if path.starts_with("package") {
                    assert_eq!(json["name"], spec.slug.as_str(), "{path}");
                }
            }
        }
    }
}

#[test]
fn the_lock_file_holds_the_versions_of_the_package_and_names_no_registry() {
    let spec = specs().next().unwrap();
    let package: serde_json::Value = serde_json::from_str(&file(&spec, "package.json")).unwrap();
    let text = file(&spec, "package-lock.json");
    let lock: serde_json::Value = serde_json::from_str(&text).unwrap();
    let root = &lock["packages"][""];
    for kind in ["dependencies", "devDependencies"] {
        assert_eq!(package[kind], root[kind]);
        for (name, version) in package[kind].as_object().unwrap() {
            let locked = &lock["packages"][format!("node_modules/{name}")];
            assert_eq!(locked["version"], *version, "{name}");
            assert!(locked["integrity"].is_string(), "{name}");
        }
    }
    assert!(!text.contains("\"resolved\""));
    for platform in ["linux-x64-gnu", "linux-arm64-gnu", "darwin-arm64", "win32-x64-msvc"] {
        assert!(text.contains(&format!("node_modules/@libsql/{platform}")), "{platform}");
    }
}

#[test]
fn the_readme_shows_the_commands_that_checkers_run() {
    for spec in specs() {
        let readme = file(&spec, "README.md");
        assert!(readme.contains(&format!("```sh\n{}\n```", COMMANDS.install)));
        assert!(readme.contains(&format!("```sh\n{}\n```", COMMANDS.test)));
        for note in &spec.notes {
            assert!(readme.contains(&naming::markdown(note)), "{note}");
        }
    }
}

#[test]
fn an_action_may_be_called_as_a_keyword() {
    let spec = specs().next().unwrap();
    let repository = file(&spec, "src/loans/loan.repository.ts");
    assert!(repository.contains("  returnLoan(id: number): Loan {"));
    let routes = file(&spec, "src/loans/loan.routes.ts");
    assert!(routes.contains("router.post(\"/loans/:id/return\""));
}

#[test]
fn what_no_entity_uses_is_not_written() {
    let tiny = specs().last().unwrap();
    let all: Vec<String> = files(&tiny).into_iter().map(|file| file.path).collect();
    assert!(!all.contains(&"src/references.ts".to_owned()));
    let validation = file(&tiny, "src/validation.ts");
    assert!(validation.contains("longText"));
    assert!(!validation.contains("decimal") && !validation.contains("reference"));
}

#[test]
fn an_unknown_part_is_refused() {
    let spec = specs().next().unwrap();
    assert!(matches!(render(&spec, "component:dragons"), Err(Error::NoSuchPart { .. })));
}
