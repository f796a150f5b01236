//! A REST service in Python: FastAPI, SQLAlchemy 2, pydantic 2, SQLite unless told otherwise.
//!
//! `view` looks at a spec as Python, with `links` and `actions`; `kinds` knows what each kind of
//! field is there, `periods` which fields belong together, `parts` cuts the project into tasks, and
//! `templates` holds its files. A router answers with its own records only, so that no component
//! waits for another: what is read below another record (the books of an author) is in the router
//! of what is read.

mod actions;
mod kinds;
mod layout;
mod links;
mod parts;
mod periods;
mod view;

#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use minijinja::{Environment, context, value::Serde};
use rust_embed::RustEmbed;

use super::{Commands, Error, File, Part, naming, spec::Spec};

/// Install and test, as the README of the project says.
pub const COMMANDS: Commands = Commands {
    install: "python3 -m venv .venv && .venv/bin/pip install -q -r requirements-dev.txt",
    test: ".venv/bin/pytest -q",
};

#[derive(RustEmbed)]
#[folder = "src/generate/fastapi/templates"]
struct Templates;

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut env = naming::environment();
    layout::add_to(&mut env);
    for name in Templates::iter() {
        let Some(file) = Templates::get(&name) else { continue };
        let source = String::from_utf8_lossy(&file.data).into_owned();
        env.add_template_owned(name.into_owned(), source)
            .expect("a test renders every template of this folder");
    }
    env
});

/// Cuts a project into parts, in an order in which every part comes after what it needs.
pub fn parts(spec: &Spec) -> Vec<Part> {
    parts::of(&view::project(spec))
}

/// Renders one part of a project into its files.
pub fn render(spec: &Spec, key: &str) -> Result<Vec<File>, Error> {
    let project = view::project(spec);
    let part = parts::of(&project)
        .into_iter()
        .find(|part| part.key == key)
        .ok_or_else(|| Error::NoSuchPart { key: key.to_owned() })?;
    part.writes.into_iter().map(|path| file(&project, path)).collect()
}

fn file(project: &view::Project, path: String) -> Result<File, Error> {
    let (template, entity) = template_of(project, &path);
    let content = ENVIRONMENT
        .get_template(&template)
        .and_then(|template| {
            template.render(context! {
                project => Serde(project),
                entity => Serde(entity),
                install => COMMANDS.install,
                test => COMMANDS.test,
            })
        })
        .map_err(|source| Error::Template { path: path.clone(), source })?;
    Ok(File { path, content })
}

/// The template of a path, and the entity it is rendered for, if it is of one.
fn template_of<'a>(
    project: &'a view::Project,
    path: &str,
) -> (String, Option<&'a view::EntityView>) {
    let own = format!("{path}.j2");
    if ENVIRONMENT.get_template(&own).is_ok() {
        return (own, None);
    }
    for entity in &project.entities {
        let found = [
            (format!("app/models/{}.py", entity.name), "app/models/_entity.py.j2"),
            (format!("app/schemas/{}.py", entity.name), "app/schemas/_entity.py.j2"),
            (format!("app/routers/{}.py", entity.plural), "app/routers/_entity.py.j2"),
            (format!("tests/test_{}.py", entity.plural), "tests/_entity.py.j2"),
        ]
        .into_iter()
        .find(|(wanted, _)| wanted == path);
        if let Some((_, template)) = found {
            return (template.to_owned(), Some(entity));
        }
    }
    (own, None)
}
