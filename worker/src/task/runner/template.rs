//! Runs a task by rendering a part of a project: no model, no network, the same files every time.

use async_trait::async_trait;
use buildfleet::{
    domain::attempt::{Failure, Output, OutputFile},
    store::TaskClaim,
};

use serde::Deserialize as _;
use tokio_util::sync::CancellationToken;

use super::{Identity, Reads, Runner};
use crate::generate::{self, spec::Spec};

/// The runner of all tasks that the rules plan.
#[derive(Debug, Clone, Copy, Default)]
pub struct Template;

#[async_trait]
impl Runner for Template {
    async fn run(&self, claim: &TaskClaim, _: &CancellationToken) -> Result<Output, Failure> {
        // Rendering takes milliseconds; to be told to end makes it no shorter.
        let spec = Spec::deserialize(&*claim.spec).map_err(|error| {
            Failure::permanent("bad_spec", format!("the plan's spec cannot be read: {error}"))
        })?;
        let part = claim.key.clone();
        // Rendering is all computing; on the runtime it would hold up the keeping of leases.
        let rendered = tokio::task::spawn_blocking(move || generate::render(&spec, &part))
            .await
            .map_err(|_| Failure::permanent("template_panicked", "rendering the files panicked"))?;
        let files = rendered.map_err(|error| {
            Failure::permanent("template_failed", format!("{error}{}", causes(&error)))
        })?;
        let logs = files
            .iter()
            .map(|file| format!("{}: {} lines", file.path, file.content.lines().count()))
            .collect();
        let files = files
            .into_iter()
            .map(|file| OutputFile { path: file.path, content: file.content })
            .collect();
        Ok(Output { files, logs, ..Output::default() })
    }

    fn identity(&self, _claim: &TaskClaim) -> Option<Identity> {
        // The same generators make the same files of the same spec.
        let version = env!("GENERATORS");
        Some(Identity { runner: "template", version, model: None, reads: Reads::Task })
    }
}

/// The sources of an error, each after a colon.
fn causes(error: &dyn std::error::Error) -> String {
    std::iter::successors(error.source(), |source| source.source())
        .map(|source| format!(": {source}"))
        .collect()
}
