//! How the project is cut into parts, and which template makes which file.

use super::{Source, names, tool_views};
use crate::generate::{
    Operation, Part, Phase,
    naming::{human, words},
    spec::Spec,
};

/// A part with what renders it; the paths of its sources are the part's `writes`.
type Planned = (Part, Vec<Source>);

struct Planner<'a> {
    spec: &'a Spec,
    package: String,
}

pub(super) fn parts(spec: &Spec) -> Vec<Planned> {
    let planner = Planner { spec, package: format!("src/{}", names::package(spec)) };
    let mut parts = vec![planner.analysis(), planner.architecture(), planner.config()];
    parts.push(planner.dependencies());
    if !spec.entities.is_empty() {
        parts.push(planner.storage());
    }
    parts.extend(planner.records());
    parts.extend(planner.tools());
    parts.push(planner.command_line());
    parts.push(planner.tests());
    parts.push(planner.deployment());
    parts.push(planner.readme());
    parts
}

impl Planner<'_> {
    fn analysis(&self) -> Planned {
        plan(
            Part {
                key: "analysis".into(),
                name: "Requirements".into(),
                description: format!(
                    "What {} is for, what it keeps and does, and how each is checked.",
                    self.spec.title
                ),
                phase: Phase::Analysis,
                operation: Operation::CreateFile,
                role: "arch-001",
                priority: 1,
                needs: vec![],
                writes: vec![],
            },
            vec![source("docs/REQUIREMENTS.md", "docs/REQUIREMENTS.md.j2")],
        )
    }

    fn architecture(&self) -> Planned {
        plan(
            Part {
                key: "architecture".into(),
                name: "Architecture".into(),
                description: "The modules, who may know whom, and the data model.".into(),
                phase: Phase::Architecture,
                operation: Operation::CreateFile,
                role: "arch-001",
                priority: 2,
                needs: vec!["analysis".into()],
                writes: vec![],
            },
            vec![source("docs/ARCHITECTURE.md", "docs/ARCHITECTURE.md.j2")],
        )
    }

    fn config(&self) -> Planned {
        let mut sources = vec![
            source("pyproject.toml", "project/pyproject.toml.j2"),
            source(".gitignore", "project/gitignore.j2"),
            self.module("__init__"),
            self.module("errors"),
        ];
        for name in super::shared_modules(self.spec) {
            sources.push(self.module(name));
        }
        plan(
            Part {
                key: "config".into(),
                name: "Project skeleton".into(),
                description: "The package, its build and lint settings, and its error type.".into(),
                phase: Phase::CodeGeneration,
                operation: Operation::SetupConfig,
                role: "file-manager",
                priority: 1,
                needs: vec!["analysis".into()],
                writes: vec![],
            },
            sources,
        )
    }

    fn dependencies(&self) -> Planned {
        plan(
            Part {
                key: "dependencies".into(),
                name: "Pinned dependencies".into(),
                description: "The exact versions that development and CI use.".into(),
                phase: Phase::CodeGeneration,
                operation: Operation::InstallDeps,
                role: "file-manager",
                priority: 2,
                needs: vec!["config".into()],
                writes: vec![],
            },
            vec![source("requirements-dev.txt", "project/requirements-dev.txt.j2")],
        )
    }

    fn storage(&self) -> Planned {
        plan(
            Part {
                key: "storage".into(),
                name: "Storage".into(),
                description: "The SQLite schema, the database file, the kinds of values and the \
                              table that records are kept in."
                    .into(),
                phase: Phase::CodeGeneration,
                operation: Operation::CreateComponent,
                role: "db-001",
                priority: 1,
                needs: vec!["architecture".into(), "config".into()],
                writes: vec![],
            },
            vec![
                source(&format!("{}/schema.sql", self.package), "package/schema.sql.j2"),
                self.module("database"),
                self.module("values"),
                self.module("table"),
            ],
        )
    }

    fn records(&self) -> Vec<Planned> {
        let entities = self.spec.entities.iter().enumerate();
        entities
            .map(|(at, entity)| {
                let path = format!("{}/records/{}.py", self.package, names::module(entity));
                let mut made = source(&path, "package/records/entity.py.j2");
                made.entity = Some(at);
                plan(
                    Part {
                        key: format!("component:{}", entity.plural),
                        name: format!("{}: record, rules and actions", human(&entity.plural)),
                        description: format!(
                            "What is kept of {}, how it is checked, and what can be done to it.",
                            words(&entity.plural)
                        ),
                        phase: Phase::CodeGeneration,
                        operation: Operation::CreateComponent,
                        role: "code-001",
                        priority: 2,
                        needs: vec!["storage".into()],
                        writes: vec![],
                    },
                    vec![made],
                )
            })
            .collect()
    }

    fn tools(&self) -> Vec<Planned> {
        tool_views(self.spec)
            .into_iter()
            .enumerate()
            .map(|(at, tool)| {
                let file = format!("tools/{}.py", tool.module);
                let mut made =
                    source(&format!("{}/{file}", self.package), &format!("package/{file}.j2"));
                made.tool = Some(at);
                plan(
                    Part {
                        key: format!("tool:{}", tool.module),
                        name: tool.title.to_owned(),
                        description: tool.about.to_owned(),
                        phase: Phase::CodeGeneration,
                        operation: Operation::CreateComponent,
                        role: "code-001",
                        priority: 2,
                        needs: vec!["config".into()],
                        writes: vec![],
                    },
                    vec![made],
                )
            })
            .collect()
    }

    fn command_line(&self) -> Planned {
        let mut sources = vec![self.module("cli"), self.module("__main__")];
        if !self.spec.entities.is_empty() {
            sources.push(self.module("record_commands"));
            sources.push(self.module("records/__init__"));
        }
        if !self.spec.tools.is_empty() {
            sources.push(self.module("tools/__init__"));
        }
        plan(
            Part {
                key: "cli".into(),
                name: "Command line".into(),
                description: "The commands and options of the program, its output and exit codes."
                    .into(),
                phase: Phase::CodeGeneration,
                operation: Operation::CreateComponent,
                role: "code-001",
                priority: 1,
                needs: self.components(),
                writes: vec![],
            },
            sources,
        )
    }

    fn tests(&self) -> Planned {
        let mut sources = vec![
            source("tests/conftest.py", "tests/conftest.py.j2"),
            source("tests/test_cli.py", "tests/test_cli.py.j2"),
        ];
        for (at, entity) in self.spec.entities.iter().enumerate() {
            let path = format!("tests/records/test_{}.py", entity.plural);
            let mut made = source(&path, "tests/test_records.py.j2");
            made.entity = Some(at);
            sources.push(made);
        }
        for (at, tool) in tool_views(self.spec).iter().enumerate() {
            let path = format!("tests/tools/test_{}.py", tool.module);
            let mut made = source(&path, &format!("{path}.j2"));
            made.tool = Some(at);
            sources.push(made);
        }
        plan(
            Part {
                key: "tests".into(),
                name: "Tests".into(),
                description: "Tests of every command: what it does, what it refuses, and how."
                    .into(),
                phase: Phase::Testing,
                operation: Operation::CreateFile,
                role: "qa-validator",
                priority: 2,
                needs: vec!["cli".into(), "dependencies".into()],
                writes: vec![],
            },
            sources,
        )
    }

    fn deployment(&self) -> Planned {
        plan(
            Part {
                key: "deployment".into(),
                name: "Image and CI".into(),
                description: "A container image that runs the program as a plain user, and the \
                              checks that run on every push."
                    .into(),
                phase: Phase::Deployment,
                operation: Operation::SetupConfig,
                role: "file-manager",
                priority: 3,
                needs: vec!["dependencies".into()],
                writes: vec![],
            },
            vec![
                source("Dockerfile", "project/Dockerfile.j2"),
                source(".dockerignore", "project/dockerignore.j2"),
                source(".github/workflows/ci.yml", "project/ci.yml.j2"),
            ],
        )
    }

    fn readme(&self) -> Planned {
        plan(
            Part {
                key: "readme".into(),
                name: "README".into(),
                description: "How to install, use, test and configure the program.".into(),
                phase: Phase::Deployment,
                operation: Operation::CreateFile,
                role: "coder",
                priority: 3,
                needs: vec!["cli".into(), "deployment".into()],
                writes: vec![],
            },
            vec![source("README.md", "docs/README.md.j2")],
        )
    }

    /// What the command line is made of.
    fn components(&self) -> Vec<String> {
        let records = self.spec.entities.iter().map(|e| format!("component:{}", e.plural));
        let tools = tool_views(self.spec);
        records.chain(tools.iter().map(|tool| format!("tool:{}", tool.module))).collect()
    }

    fn module(&self, name: &str) -> Source {
        source(&format!("{}/{name}.py", self.package), &format!("package/{name}.py.j2"))
    }
}

fn source(path: &str, template: &str) -> Source {
    Source { path: path.to_owned(), template: template.to_owned(), entity: None, tool: None }
}

fn plan(mut part: Part, sources: Vec<Source>) -> Planned {
    part.writes = sources.iter().map(|source| source.path.clone()).collect();
    (part, sources)
}
