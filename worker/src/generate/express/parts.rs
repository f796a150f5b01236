//! How the project is cut into tasks.

use super::super::{
    Operation, Part, Phase,
    spec::{Entity, Spec},
};
use super::{
    names::folder,
    project::{Project, Uses},
};

/// A part, and the templates that make its files.
pub struct Piece {
    pub part: Part,
    pub sources: Vec<Source>,
}

/// A file and where it comes from.
pub struct Source {
    pub path: String,
    pub template: &'static str,
    /// The entity that the file is about, by its place in the spec.
    pub entity: Option<usize>,
}

/// The pieces of a project, each after what it needs.
pub fn cut(spec: &Spec) -> Vec<Piece> {
    let project = Project::of(spec);
    let mut pieces =
        vec![analysis(), architecture(), configuration(), dependencies(), database(&project.uses)];
    let components: Vec<Piece> = spec
        .entities
        .iter()
        .enumerate()
        .map(|(index, entity)| component(index, entity, &project))
        .collect();
    let keys: Vec<String> = components.iter().map(|piece| piece.part.key.clone()).collect();
    pieces.extend(components);
    pieces.push(application(&keys));
    pieces.push(tests(spec));
    pieces.push(deployment());
    pieces.push(readme());
    pieces
}

fn piece(part: Part, files: Vec<(&str, &'static str)>) -> Piece {
    let sources = files
        .into_iter()
        .map(|(path, template)| Source { path: path.to_owned(), template, entity: None })
        .collect();
    finished(part, sources)
}

fn finished(mut part: Part, sources: Vec<Source>) -> Piece {
    part.writes = sources.iter().map(|source| source.path.clone()).collect();
    Piece { part, sources }
}

fn needs(keys: &[&str]) -> Vec<String> {
    keys.iter().map(|key| (*key).to_owned()).collect()
}

fn analysis() -> Piece {
    let part = Part {
        key: "analysis".into(),
        name: "Requirements".into(),
        description: "The brief, and the records, rules and actions that follow from it.".into(),
        phase: Phase::Analysis,
        operation: Operation::CreateFile,
        role: "arch-001",
        priority: 1,
        needs: Vec::new(),
        writes: Vec::new(),
    };
    piece(part, vec![("docs/REQUIREMENTS.md", "docs/REQUIREMENTS.md.j2")])
}

fn architecture() -> Piece {
    let part = Part {
        key: "architecture".into(),
        name: "Architecture".into(),
        description: "Modules, data model and decisions, with a diagram of the tables.".into(),
        phase: Phase::Architecture,
        operation: Operation::CreateFile,
        role: "arch-001",
        priority: 1,
        needs: needs(&["analysis"]),
        writes: Vec::new(),
    };
    piece(part, vec![("docs/ARCHITECTURE.md", "docs/ARCHITECTURE.md.j2")])
}

fn configuration() -> Piece {
    let part = Part {
        key: "configuration".into(),
        name: "Compiler, linter and formatter".into(),
        description: "Strict TypeScript, type-aware linting, and one way to format.".into(),
        phase: Phase::CodeGeneration,
        operation: Operation::SetupConfig,
        role: "file-manager",
        priority: 3,
        needs: needs(&["architecture"]),
        writes: Vec::new(),
    };
    let files = vec![
        ("tsconfig.json", "config/tsconfig.json.j2"),
        ("tsconfig.build.json", "config/tsconfig.build.json.j2"),
        ("eslint.config.js", "config/eslint.config.js.j2"),
        (".prettierrc.json", "config/prettierrc.json.j2"),
        (".prettierignore", "config/prettierignore.j2"),
        (".editorconfig", "config/editorconfig.j2"),
        (".gitignore", "config/gitignore.j2"),
    ];
    piece(part, files)
}

fn dependencies() -> Piece {
    let part = Part {
        key: "dependencies".into(),
        name: "Dependencies".into(),
        description: "The package with its scripts, exact versions and a lock file.".into(),
        phase: Phase::CodeGeneration,
        operation: Operation::InstallDeps,
        role: "file-manager",
        priority: 2,
        needs: needs(&["architecture"]),
        writes: Vec::new(),
    };
    let files = vec![
        ("package.json", "config/package.json.j2"),
        ("package-lock.json", "config/package-lock.json.j2"),
        (".npmrc", "config/npmrc.j2"),
    ];
    piece(part, files)
}

fn database(uses: &Uses) -> Piece {
    let part = Part {
        key: "database".into(),
        name: "Database, validation and errors".into(),
        description: "The schema and what every component builds on: reading pages of a table, \
                      checking input, and turning errors into answers."
            .into(),
        phase: Phase::CodeGeneration,
        operation: Operation::CreateFile,
        role: "db-001",
        priority: 2,
        needs: needs(&["architecture"]),
        writes: Vec::new(),
    };
    let mut files = vec![
        ("src/schema.ts", "src/schema.ts.j2"),
        ("src/database.ts", "src/database.ts.j2"),
        ("src/errors.ts", "src/errors.ts.j2"),
        ("src/validation.ts", "src/validation.ts.j2"),
        ("src/listing.ts", "src/listing.ts.j2"),
    ];
    if uses.references {
        files.push(("src/references.ts", "src/references.ts.j2"));
    }
    piece(part, files)
}

fn component(index: usize, entity: &Entity, project: &Project<'_>) -> Piece {
    let names = &project.entities[index].names;
    let mut needs = needs(&["database"]);
    let neighbours = project.entities[index].neighbours.iter();
    needs.extend(neighbours.map(|other| format!("component:{}", other.plural)));
    let part = Part {
        key: format!("component:{}", entity.plural),
        name: format!("{}: schema, repository and routes", super::naming::human(&entity.plural)),
        description: entity.about.clone(),
        phase: Phase::CodeGeneration,
        operation: Operation::CreateComponent,
        role: "api-001",
        priority: 3,
        needs,
        writes: Vec::new(),
    };
    let files = [
        ("schema", "entity/schema.ts.j2"),
        ("repository", "entity/repository.ts.j2"),
        ("routes", "entity/routes.ts.j2"),
    ];
    let sources = files
        .into_iter()
        .map(|(what, template)| Source {
            path: format!("src/{}/{}.{what}.ts", names.folder, names.file),
            template,
            entity: Some(index),
        })
        .collect();
    finished(part, sources)
}

fn application(components: &[String]) -> Piece {
    let mut needs = needs(&["database"]);
    needs.extend(components.iter().cloned());
    let part = Part {
        key: "application".into(),
        name: "Application and server".into(),
        description: "Puts the components together, reads the configuration, listens, and stops \
                      without losing requests."
            .into(),
        phase: Phase::CodeGeneration,
        operation: Operation::CreateFile,
        role: "code-001",
        priority: 3,
        needs,
        writes: Vec::new(),
    };
    let files = vec![
        ("src/config.ts", "src/config.ts.j2"),
        ("src/app.ts", "src/app.ts.j2"),
        ("src/server.ts", "src/server.ts.j2"),
    ];
    piece(part, files)
}

fn tests(spec: &Spec) -> Piece {
    let part = Part {
        key: "tests".into(),
        name: "Tests".into(),
        description: "The behaviour of every record, relation and action, over HTTP.".into(),
        phase: Phase::Testing,
        operation: Operation::CreateFile,
        role: "qa-validator",
        priority: 4,
        needs: needs(&["application", "dependencies", "configuration"]),
        writes: Vec::new(),
    };
    let shared = [
        ("tests/support/test-api.ts", "tests/test-api.ts.j2"),
        ("tests/support/records.ts", "tests/records.ts.j2"),
        // A plural holds no dot, so no entity's tests can be called so.
        ("tests/service.api.test.ts", "tests/service.test.ts.j2"),
    ];
    let mut sources: Vec<Source> = shared
        .into_iter()
        .map(|(path, template)| Source { path: path.to_owned(), template, entity: None })
        .collect();
    sources.extend(spec.entities.iter().enumerate().map(|(index, entity)| Source {
        path: format!("tests/{}.test.ts", folder(entity)),
        template: "tests/entity.test.ts.j2",
        entity: Some(index),
    }));
    finished(part, sources)
}

fn deployment() -> Piece {
    let part = Part {
        key: "deployment".into(),
        name: "Image and continuous integration".into(),
        description: "A small image that runs without root, and checks for every change.".into(),
        phase: Phase::Deployment,
        operation: Operation::CreateFile,
        role: "file-manager",
        priority: 4,
        needs: needs(&["application", "dependencies", "configuration"]),
        writes: Vec::new(),
    };
    let files = vec![
        ("Dockerfile", "deploy/Dockerfile.j2"),
        (".dockerignore", "deploy/dockerignore.j2"),
        ("docker-compose.yml", "deploy/docker-compose.yml.j2"),
        (".github/workflows/ci.yml", "deploy/ci.yml.j2"),
    ];
    piece(part, files)
}

fn readme() -> Piece {
    let part = Part {
        key: "readme".into(),
        name: "README".into(),
        description: "What the service does, how to run, test and call it.".into(),
        phase: Phase::Deployment,
        operation: Operation::CreateFile,
        role: "code-001",
        priority: 5,
        needs: needs(&["application", "dependencies"]),
        writes: Vec::new(),
    };
    piece(part, vec![("README.md", "docs/README.md.j2")])
}
