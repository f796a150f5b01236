//! An Express 5 service in TypeScript, with SQLite behind it.
//!
//! `project` decides every name and value of a spec, the templates put them into files, and
//! `layout` breaks lines as prettier would. The generated project keeps what it needs and no more:
//! a helper that no entity calls is not written.

mod actions;
mod columns;
mod documents;
mod layout;
mod names;
mod parts;
mod project;
mod samples;
#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use minijinja::{Environment, Value, context, value::Serde};
use rust_embed::Embed;

use super::{Commands, Error, File, Part, naming, spec::Spec};
use project::Project;

pub const COMMANDS: Commands =
    Commands { install: "npm ci --no-audit --no-fund", test: "npm test" };

#[derive(Embed)]
#[folder = "src/generate/express/templates"]
struct Templates;

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut env = naming::environment();
    layout::add_to(&mut env);
    env.set_loader(|name| {
        Ok(Templates::get(name).map(|file| String::from_utf8_lossy(&file.data).into_owned()))
    });
    env
});

/// The parts of the project, each after what it needs.
pub fn parts(spec: &Spec) -> Vec<Part> {
    parts::cut(spec).into_iter().map(|piece| piece.part).collect()
}

pub fn render(spec: &Spec, key: &str) -> Result<Vec<File>, Error> {
    let piece = parts::cut(spec)
        .into_iter()
        .find(|piece| piece.part.key == key)
        .ok_or_else(|| Error::NoSuchPart { key: key.to_owned() })?;
    let project = Project::of(spec);
    let values = Value::from(Serde(&project));
    piece
        .sources
        .iter()
        .map(|source| {
            let entity = source.entity.map(|index| &project.entities[index]);
            let failed = |error| Error::Template { path: source.path.clone(), source: error };
            let template = ENVIRONMENT.get_template(source.template).map_err(failed)?;
            let values = context! { entity => Value::from(Serde(entity)), ..values.clone() };
            let content = template.render(values).map_err(failed)?;
            Ok(File { path: source.path.clone(), content })
        })
        .collect()
}
