//! Plans without a model: rules read the brief, and the stack's generator cuts the project into
//! parts.

use async_trait::async_trait;
use buildfleet::domain::{
    attempt::Failure,
    brief::{Brief, Complexity},
    plan::{Draft, DraftTask},
};
use serde_json::Value;

use super::{
    Drafted, Partials, Planner,
    rules::{self, Ask},
};
use crate::generate::{
    self, Part,
    spec::{Spec, Stack},
};

/// The planner that needs nothing but the brief.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rules;

#[async_trait]
impl Planner for Rules {
    async fn draft(&self, brief: &Brief, partials: Partials) -> Result<Draft, Failure> {
        let brief = brief.clone();
        // Reading is all computing; on the runtime it would hold up the keeping of leases.
        let draft = tokio::task::spawn_blocking(move || draft(&brief))
            .await
            .map_err(|_| Failure::permanent("planner_panicked", "reading the brief panicked"))??;
        let drafted = draft.tasks.iter().map(|task| Drafted {
            name: task.name.clone(),
            operation: task.operation,
            description: task.description.clone(),
        });
        partials.tell(drafted.collect()).await;
        Ok(draft)
    }
}

/// Drafts a plan at once.
pub fn draft(brief: &Brief) -> Result<Draft, Failure> {
    let ask = Ask {
        prompt: &brief.prompt,
        project_type: brief.project_type.as_deref(),
        framework: brief.framework.as_deref(),
        features: &brief.features,
        complexity: brief.complexity.map(Complexity::as_str),
    };
    let spec = rules::read(&ask)
        .map_err(|refusal| Failure::permanent("brief_refused", refusal.to_string()))?;
    let tasks = generate::parts(&spec).into_iter().map(task).collect();
    let (project_type, framework) = match spec.stack {
        Stack::Fastapi => ("api", "fastapi"),
        Stack::Express => ("api", "express"),
        Stack::PythonCli => ("cli", "python"),
    };
    let value = serde_json::to_value(&spec)
        .map_err(|error| Failure::permanent("bad_spec", error.to_string()))?;
    Ok(Draft {
        spec: value,
        project_type: project_type.to_owned(),
        framework: framework.to_owned(),
        complexity: brief.complexity.unwrap_or_else(|| complexity(&spec)),
        notes: spec.notes,
        tasks,
    })
}

fn task(part: Part) -> DraftTask {
    DraftTask {
        key: part.key,
        name: part.name,
        description: part.description,
        phase: part.phase,
        operation: part.operation,
        role: part.role.to_owned(),
        priority: part.priority,
        // Rendering takes milliseconds; a second is the smallest estimate there is.
        estimated_secs: 1,
        cost: 1,
        depends_on: part.needs.into_iter().map(Into::into).collect(),
        writes: part.writes,
        // The part is found by its key, and all else stands in the spec.
        input: Value::Null,
    }
}

/// How much there is to build: records, links between them, verbs and tools.
fn complexity(spec: &Spec) -> Complexity {
    let of_entities: usize =
        spec.entities.iter().map(|entity| 1 + entity.relations.len() + entity.actions.len()).sum();
    match of_entities + spec.tools.len() {
        0..=4 => Complexity::Simple,
        5..=12 => Complexity::Moderate,
        _ => Complexity::Complex,
    }
}
