//! From a spec to the files of a project.
//!
//! Each stack cuts its project into parts: a part becomes a task of the plan, and rendering a part
//! gives complete files. Rendering is pure: the same spec gives the same bytes. Knows nothing of
//! tasks, stores or queues; `task/runner/template.rs` calls it.

pub mod spec;
pub mod naming;
pub mod spec_check;
pub mod reserved;
mod fastapi;
mod express;
mod python_cli;

pub use buildfleet::domain::task::{Operation, Phase};
use spec::{Spec, Stack};

/// The piece of a project that one task makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Unique in the project: `component:books`. It names the part when it is rendered.
    pub key: String,
    /// For people: `Books: routes, schemas and queries`.
    pub name: String,
    /// What will be there when it is done, in a sentence.
    pub description: String,
    pub phase: Phase,
    pub operation: Operation,
    /// The role that does it: an id of `plan::roles::ROLES`.
    pub role: &'static str,
    /// 1 runs first. At most 2: the build cannot do without it.
    pub priority: u8,
    /// Keys of the parts that must be there before, because this one builds on what they made.
    pub needs: Vec<String>,
    /// Every path that rendering gives, relative to the project, with forward slashes, in order.
    pub writes: Vec<String>,
}

/// A complete file of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Relative to the project, with forward slashes.
    pub path: String,
    pub content: String,
}

/// Why a part could not be rendered. Either is a fault of this program, not of the brief.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("this stack has no part {key}")]
    NoSuchPart { key: String },
    #[error("rendering {path}")]
    Template {
        path: String,
        #[source]
        source: minijinja::Error,
    },
}

/// Cuts a project into parts, in an order in which every part comes after what it needs.
pub fn parts(spec: &Spec) -> Vec<Part> {
    match spec.stack {
        Stack::Fastapi => fastapi::parts(spec),
        Stack::Express => express::parts(spec),
        Stack::PythonCli => python_cli::parts(spec),
    }
}

/// Renders one part of a project into its files.
pub fn render(spec: &Spec, key: &str) -> Result<Vec<File>, Error> {
    match spec.stack {
        Stack::Fastapi => fastapi::render(spec, key),
        Stack::Express => express::render(spec, key),
        Stack::PythonCli => python_cli::render(spec, key),
    }
}

/// How a project of this stack is installed and tested, as its own README says, run by `sh -e` in
/// its folder. Programs that check generated projects use exactly these.
pub fn commands(stack: Stack) -> Commands {
    match stack {
        Stack::Fastapi => fastapi::COMMANDS,
        Stack::Express => express::COMMANDS,
        Stack::PythonCli => python_cli::COMMANDS,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commands {
    pub install: &'static str,
    pub test: &'static str,
}
