//! What a client posts to change a build whose tasks run: more tasks, and a word for one of them.

use buildfleet::domain::{
    brief::Fault,
    dependency::{DraftNeed, OnLoss as Loss},
    plan::DraftTask,
    task,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{
    OnLoss, TaskOperation, TaskPhase,
    fields::{Fields, nuls},
};

/// Tasks at once. More come in several calls.
pub const TASKS_MAX: usize = 1000;
const REASON_CHARS_MAX: usize = 2000;

/// Tasks to be added to a build that executes.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "tasks": [{
        "key": "docs:api",
        "phase": "CODE_GENERATION",
        "operation": "create_file",
        "role": "code-001",
        "depends_on": ["model:books", {"key": "routes:books", "on_loss": "continue"}],
        "writes": ["docs/api.md"]
    }]
}))]
pub struct NewTasks {
    #[schema(min_items = 1, max_items = 1000)]
    pub tasks: Vec<NewTask>,
}

#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTask {
    /// Names the task; no task of the build has it yet.
    #[schema(min_length = 1, max_length = 200, pattern = r"\S")]
    pub key: String,
    /// The key if absent.
    #[schema(min_length = 1, max_length = 300, pattern = r"\S")]
    pub name: Option<String>,
    #[serde(default)]
    pub description: String,
    #[schema(value_type = TaskPhase)]
    pub phase: task::Phase,
    #[schema(value_type = TaskOperation)]
    pub operation: task::Operation,
    /// The role that does it.
    #[schema(example = "code-001")]
    pub role: String,
    /// 1 runs first; 3 if absent.
    #[schema(minimum = 1, maximum = 255)]
    pub priority: Option<u8>,
    #[schema(minimum = 0)]
    pub estimated_secs: Option<u32>,
    /// How many slots of a worker it takes; 1 if absent.
    #[schema(minimum = 1, maximum = 64)]
    pub cost: Option<u32>,
    /// The tasks it waits for: of the build, or among those that are added with it.
    #[serde(default)]
    pub depends_on: Vec<Need>,
    /// The only paths it may write.
    #[serde(default)]
    pub writes: Vec<String>,
    /// For whoever does it.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub input: Value,
}

/// The key of a task, or the key and what its loss means.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Need {
    Key(String),
    Full(FullNeed),
}

#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FullNeed {
    pub key: String,
    #[schema(value_type = Option<OnLoss>)]
    pub on_loss: Option<Loss>,
}

impl From<Need> for DraftNeed {
    fn from(need: Need) -> Self {
        match need {
            Need::Key(key) => key.into(),
            Need::Full(FullNeed { key, on_loss }) => Self { key, on_loss },
        }
    }
}

impl From<NewTask> for DraftTask {
    fn from(new: NewTask) -> Self {
        Self {
            name: new.name.unwrap_or_else(|| new.key.clone()),
            key: new.key,
            description: new.description,
            phase: new.phase,
            operation: new.operation,
            role: new.role,
            priority: new.priority.unwrap_or(3),
            estimated_secs: new.estimated_secs.unwrap_or(1),
            cost: new.cost.unwrap_or(1),
            depends_on: new.depends_on.into_iter().map(DraftNeed::from).collect(),
            writes: new.writes,
            input: new.input,
        }
    }
}

impl NewTasks {
    /// Reads a body; what a task may be is for the domain to say.
    pub fn read(body: &Value) -> Result<Vec<DraftTask>, Vec<Fault>> {
        let Some(map) = body.as_object() else {
            return Err(vec![Fault::new("", "the body must be an object such as {\"tasks\": []}")]);
        };
        let mut fields = Fields::new("", map);
        let tasks = fields.raw("tasks").and_then(Value::as_array);
        nuls(body, "", &mut fields.faults);
        match tasks.map(Vec::len) {
            None => fields.fault("tasks", "is needed: a list of tasks"),
            Some(1..=TASKS_MAX) => {}
            Some(_) => fields.fault("tasks", format!("must list 1 to {TASKS_MAX} tasks")),
        }
        let mut faults = fields.finish();
        if !faults.is_empty() {
            return Err(faults);
        }
        let mut read = Vec::new();
        for (at, task) in tasks.into_iter().flatten().enumerate() {
            match serde_json::from_value::<NewTask>(task.clone()) {
                Ok(task) => read.push(task.into()),
                Err(error) => faults.push(Fault::new(format!("tasks[{at}]"), error.to_string())),
            }
        }
        if faults.is_empty() { Ok(read) } else { Err(faults) }
    }
}

/// Why a task is taken out; kept with it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TakenOut {
    #[schema(max_length = 2000, example = "the docs are not needed")]
    pub reason: Option<String>,
}

impl TakenOut {
    /// The reason, if one is given.
    pub fn read(body: Option<&Value>) -> Result<Option<String>, Vec<Fault>> {
        let Some(map) = object(body, "{\"reason\": ...}")? else { return Ok(None) };
        let mut fields = Fields::new("", map);
        let reason = fields.text("reason");
        if let Some(body) = body {
            nuls(body, "", &mut fields.faults);
        }
        if reason.as_ref().is_some_and(|reason| REASON_CHARS_MAX < reason.chars().count()) {
            fields.fault("reason", format!("must have at most {REASON_CHARS_MAX} characters"));
        }
        let faults = fields.finish();
        if !faults.is_empty() {
            return Err(faults);
        }
        Ok(reason.filter(|reason| !reason.trim().is_empty()))
    }
}

/// What is to be other about the task from which a fork begins.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Forked {
    /// For whoever does it; as it was if absent.
    #[schema(value_type = Option<Object>)]
    pub input: Option<Value>,
}

impl Forked {
    pub fn read(body: Option<&Value>) -> Result<Option<Value>, Vec<Fault>> {
        let Some(map) = object(body, "{\"input\": ...}")? else { return Ok(None) };
        let mut fields = Fields::new("", map);
        let input = fields.raw("input").cloned();
        if let Some(body) = body {
            nuls(body, "", &mut fields.faults);
        }
        let faults = fields.finish();
        if faults.is_empty() { Ok(input) } else { Err(faults) }
    }
}

fn object<'a>(
    body: Option<&'a Value>,
    such_as: &str,
) -> Result<Option<&'a Map<String, Value>>, Vec<Fault>> {
    match body.filter(|body| !body.is_null()) {
        None => Ok(None),
        Some(body) => body.as_object().map(Some).ok_or_else(|| {
            vec![Fault::new("", format!("the body must be an object such as {such_as}"))]
        }),
    }
}
