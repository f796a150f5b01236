//! A command-line tool in Python: argparse and SQLite from the standard library, and nothing else
//! at run time unless a tool needs it.
//!
//! Kinds of records become sub-commands on one small engine (`table.py`, `record_commands.py`);
//! ready-made tools become a module each. `parts.rs` cuts the project, this file renders it,
//! `records.rs` and `tools.rs` say what templates are told.

mod layout;
mod names;
mod parts;
mod records;
mod definitions;
mod actions;
mod samples;
mod tools;
#[cfg(test)]
mod tests;

use minijinja::{Environment, Value, context, value::Serde};
use rust_embed::RustEmbed;

use self::{layout::Expression, records::RecordView, tools::ToolView};
use super::{Commands, Error, File, Part, naming, spec::Spec};

pub const COMMANDS: Commands = Commands {
    install: "python3 -m venv .venv && .venv/bin/pip install -q -r requirements-dev.txt -e .",
    test: ".venv/bin/pytest -q",
};

#[derive(RustEmbed)]
#[folder = "src/generate/python_cli/templates"]
struct Templates;

pub fn parts(spec: &Spec) -> Vec<Part> {
    parts::parts(spec).into_iter().map(|(part, _)| part).collect()
}

pub fn render(spec: &Spec, key: &str) -> Result<Vec<File>, Error> {
    let wanted = parts::parts(spec).into_iter().find(|(part, _)| part.key == key);
    let Some((_, sources)) = wanted else {
        return Err(Error::NoSuchPart { key: key.to_owned() });
    };
    let env = environment();
    let shared = project_context(spec);
    sources
        .into_iter()
        .map(|source| {
            let content = render_source(&env, &shared, spec, &source)
                .map_err(|error| Error::Template { path: source.path.clone(), source: error })?;
            Ok(File { path: source.path, content })
        })
        .collect()
}

/// A file to be rendered, and what its template is told beside the project.
struct Source {
    path: String,
    template: String,
    /// Index of the entity that the file is about.
    entity: Option<usize>,
    /// Index of the tool that the file is about.
    tool: Option<usize>,
}

fn render_source(
    env: &Environment<'_>,
    shared: &Value,
    spec: &Spec,
    source: &Source,
) -> Result<String, minijinja::Error> {
    let entity = source.entity.and_then(|at| spec.entities.get(at));
    let tool = source.tool.and_then(|at| tool_views(spec).into_iter().nth(at));
    let about = context! {
        e => Value::from(Serde(entity.map(|entity| RecordView::of(spec, entity)))),
        tool => Value::from(Serde(tool)),
        ..shared.clone()
    };
    env.get_template(&source.template)?.render(about)
}

/// What every template is told.
fn project_context(spec: &Spec) -> Value {
    let records: Vec<RecordView> =
        spec.entities.iter().map(|entity| RecordView::of(spec, entity)).collect();
    let tools = tool_views(spec);
    let commands: Vec<String> = records
        .iter()
        .map(|record| record.command.clone())
        .chain(tools.iter().map(|tool| tool.command.clone()))
        .map(|command| naming::python_string(&command))
        .collect();
    let dependencies: Vec<&str> =
        spec.tools.iter().flat_map(|tool| tools::dependencies(*tool)).copied().collect();
    context! {
        program => names::program(spec),
        package => names::package(spec),
        variable => names::variable(spec),
        title => spec.title.clone(),
        summary => spec.summary.clone(),
        brief => spec.brief.clone(),
        notes => spec.notes.clone(),
        install => COMMANDS.install,
        test => COMMANDS.test,
        lone => Value::from(Serde(lone(spec).and_then(|at| tools.get(at)))),
        numbered => records.iter().any(|record| record.numbered),
        record_import => module_import(records.iter().map(|record| record.module.as_str())),
        record_registry => record_registry(&records),
        tool_import => module_import(tools.iter().map(|tool| tool.module)),
        tool_registry => tool_registry(&tools),
        command_parameters => records::parametrize("command", &commands),
        entities => Value::from(Serde(records)),
        tools => Value::from(Serde(tools)),
        dependencies => dependencies,
        shared_modules => shared_modules(spec),
    }
}

/// The only tool of a project that keeps no records: it is the program itself.
fn lone(spec: &Spec) -> Option<usize> {
    (spec.entities.is_empty() && spec.tools.len() == 1).then_some(0)
}

fn tool_views(spec: &Spec) -> Vec<ToolView> {
    let taken: Vec<String> =
        spec.entities.iter().map(|entity| naming::kebab(&entity.name)).collect();
    spec.tools.iter().map(|tool| tools::view(*tool, &taken)).collect()
}

/// The modules that the tools of a project share, each once.
fn shared_modules(spec: &Spec) -> Vec<&'static str> {
    let mut modules = Vec::new();
    for module in spec.tools.iter().flat_map(|tool| tools::shared_modules(*tool)) {
        if !modules.contains(module) {
            modules.push(*module);
        }
    }
    modules
}

fn module_import<'a>(modules: impl Iterator<Item = &'a str>) -> String {
    let mut modules: Vec<&str> = modules.collect();
    modules.sort_by_key(|name| names::natural(name));
    let head = "from . import ";
    let flat = format!("{head}{}", modules.join(", "));
    if flat.len() <= 100 {
        return flat;
    }
    let items = modules.into_iter().map(Expression::atom).collect();
    format!("{head}{}", Expression::tuple(items).explode(0))
}

fn record_registry(records: &[RecordView]) -> String {
    let pairs = records.iter().map(|record| {
        let pair = ["TABLE", "ACTIONS"].map(|name| format!("{}.{name}", record.module));
        Expression::tuple(pair.into_iter().map(Expression::atom).collect())
    });
    let head = "RECORDS = ";
    format!("{head}{}", Expression::tuple(pairs.collect()).lay_out(0, head.len(), 0))
}

fn tool_registry(tools: &[ToolView]) -> String {
    let lines: String =
        tools.iter().map(|tool| format!("    \"{}\": {},\n", tool.command, tool.module)).collect();
    format!("TOOLS = {{\n{lines}}}")
}

fn environment() -> Environment<'static> {
    let mut env = naming::environment();
    env.set_loader(|name| {
        let Some(file) = Templates::get(name) else { return Ok(None) };
        String::from_utf8(file.data.into_owned()).map(Some).map_err(|error| {
            minijinja::Error::new(minijinja::ErrorKind::InvalidOperation, "template is not UTF-8")
                .with_source(error)
        })
    });
    env.add_filter("docstring", |text: &str, indent: usize| layout::docstring(text, indent));
    env.add_function("call", call);
    env.add_function("assertion", |indent: usize, left: &str, op: &str, right: &str| {
        layout::assertion(indent, left, op, right)
    });
    env
}

/// `head(items)tail`, laid out in a line of depth `indent` that has `before` columns more.
fn call(
    indent: usize,
    head: &str,
    items: Vec<String>,
    tail: &str,
    before: Option<usize>,
) -> String {
    let items = items.into_iter().map(Expression::atom).collect();
    let expression = Expression::call(head, items);
    let laid_out = expression.lay_out(indent, indent + before.unwrap_or(0), tail.chars().count());
    laid_out + tail
}
