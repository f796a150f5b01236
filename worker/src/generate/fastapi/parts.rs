//! How a FastAPI project is cut into tasks, and which files each of them writes.

use super::view::{EntityView, Project};
use crate::generate::{Operation, Part, Phase};

/// The parts of a project, each after what it needs.
pub fn of(project: &Project) -> Vec<Part> {
    let mut parts = documents();
    parts.extend(groundwork(project));
    parts.extend(project.entities.iter().map(component));
    parts.extend(completion(project));
    parts
}

fn documents() -> Vec<Part> {
    vec![
        Part {
            key: "requirements".into(),
            name: "Requirements".into(),
            description: "What the service keeps and does, and what was assumed, on one page."
                .into(),
            phase: Phase::Analysis,
            operation: Operation::CreateFile,
            role: "arch-001",
            priority: 1,
            needs: Vec::new(),
            writes: paths(&["docs/REQUIREMENTS.md"]),
        },
        Part {
            key: "architecture".into(),
            name: "Architecture".into(),
            description: "The layers of the service and a diagram of its tables.".into(),
            phase: Phase::Architecture,
            operation: Operation::CreateFile,
            role: "arch-001",
            priority: 1,
            needs: keys(&["requirements"]),
            writes: paths(&["docs/ARCHITECTURE.md"]),
        },
    ]
}

fn groundwork(project: &Project) -> Vec<Part> {
    let mut models = paths(&["app/models/__init__.py"]);
    models.extend(project.entities.iter().map(|entity| format!("app/models/{}.py", entity.name)));
    vec![
        Part {
            key: "config".into(),
            name: "Project set-up".into(),
            description: "The package, its settings, and the set-up of its formatter and tests."
                .into(),
            phase: Phase::CodeGeneration,
            operation: Operation::SetupConfig,
            role: "file-manager",
            priority: 2,
            needs: keys(&["requirements"]),
            writes: paths(&[
                "pyproject.toml",
                ".gitignore",
                ".env.example",
                "app/__init__.py",
                "app/config.py",
            ]),
        },
        Part {
            key: "dependencies".into(),
            name: "Dependencies".into(),
            description: "Every package that the service and its tests need, pinned.".into(),
            phase: Phase::CodeGeneration,
            operation: Operation::InstallDeps,
            role: "file-manager",
            priority: 2,
            needs: keys(&["requirements"]),
            writes: paths(&["requirements.txt", "requirements-dev.txt"]),
        },
        Part {
            key: "database".into(),
            name: "Database core".into(),
            description: "Sessions, lookups, pages, checks and errors that all records share."
                .into(),
            phase: Phase::CodeGeneration,
            operation: Operation::CreateFile,
            role: "db-001",
            priority: 2,
            needs: keys(&["config"]),
            writes: paths(&[
                "app/database.py",
                "app/errors.py",
                "app/records.py",
                "app/pagination.py",
                "app/validation.py",
            ]),
        },
        Part {
            key: "models".into(),
            name: "Tables".into(),
            description: format!(
                "The tables of {}, with their keys and constraints.",
                project
                    .entities
                    .iter()
                    .map(|entity| entity.plural_words.as_str())
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
            phase: Phase::CodeGeneration,
            operation: Operation::CreateFile,
            role: "db-001",
            priority: 2,
            needs: keys(&["architecture", "database"]),
            writes: models,
        },
    ]
}

fn component(entity: &EntityView) -> Part {
    Part {
        key: format!("component:{}", entity.plural),
        name: format!("{}: routes and schemas", crate::generate::naming::human(&entity.plural)),
        description: format!(
            "Creating, listing, reading, changing and deleting {}{}.",
            entity.plural_words,
            match entity.actions.len() {
                0 => String::new(),
                _ => format!(
                    ", and to {} them",
                    entity
                        .actions
                        .iter()
                        .map(|action| action.words.as_str())
                        .collect::<Vec<_>>()
                        .join(", ")
                ),
            }
        ),
        phase: Phase::CodeGeneration,
        operation: Operation::CreateComponent,
        role: "api-001",
        priority: 2,
        needs: keys(&["models"]),
        writes: vec![
            format!("app/schemas/{}.py", entity.name),
            format!("app/routers/{}.py", entity.plural),
        ],
    }
}

fn completion(project: &Project) -> Vec<Part> {
    let mut tests = paths(&[
        "tests/__init__.py",
        "tests/conftest.py",
        "tests/factories.py",
        "tests/test_service.py",
    ]);
    tests.extend(project.entities.iter().map(|entity| format!("tests/test_{}.py", entity.plural)));
    vec![
        Part {
            key: "application".into(),
            name: "Application".into(),
            description: "The application that joins the routes, with its health check.".into(),
            phase: Phase::CodeGeneration,
            operation: Operation::CreateFile,
            role: "code-001",
            priority: 2,
            needs: project
                .entities
                .iter()
                .map(|entity| format!("component:{}", entity.plural))
                .collect(),
            writes: paths(&["app/routers/__init__.py", "app/schemas/__init__.py", "app/main.py"]),
        },
        Part {
            key: "tests".into(),
            name: "Tests".into(),
            description: "Tests of every record, relation, check and action.".into(),
            phase: Phase::Testing,
            operation: Operation::CreateFile,
            role: "qa-validator",
            priority: 3,
            needs: keys(&["application", "dependencies"]),
            writes: tests,
        },
        Part {
            key: "deployment".into(),
            name: "Deployment".into(),
            description: "A container image, a compose file and the checks of each commit.".into(),
            phase: Phase::Deployment,
            operation: Operation::SetupConfig,
            role: "file-manager",
            priority: 4,
            needs: keys(&["application", "dependencies"]),
            writes: paths(&[
                "Dockerfile",
                ".dockerignore",
                "docker-compose.yml",
                ".github/workflows/ci.yml",
            ]),
        },
        Part {
            key: "readme".into(),
            name: "Read me".into(),
            description: "How to install, run, test and use the service.".into(),
            phase: Phase::Deployment,
            operation: Operation::CreateFile,
            role: "code-001",
            priority: 4,
            needs: keys(&["tests", "deployment"]),
            writes: paths(&["README.md"]),
        },
    ]
}

fn paths(paths: &[&str]) -> Vec<String> {
    paths.iter().map(|path| (*path).to_owned()).collect()
}

fn keys(keys: &[&str]) -> Vec<String> {
    paths(keys)
}
