//! Work that was done before is not done again: what a task made stands for the same task
//! elsewhere, for as long as the operator lets it.
//!
//! The same means: everything that the result depends on is the same. It is hashed in a form in
//! which no two different things look alike. A result is kept by the commit that settles the task,
//! so there is none of an attempt that did not count.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use buildfleet::{
    domain::attempt::{Failure, Origin, Output, ResultKey},
    store::{Error, Store, TaskClaim},
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use super::runner::{Identity, Reads, Runner};
use crate::inspect;

/// What an operator decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// How long a result stands for the same work; zero: never.
    pub within: Duration,
    /// Whether it stands for the work of other tenants, too.
    pub across_tenants: bool,
}

impl Config {
    pub const OFF: Config = Config { within: Duration::ZERO, across_tenants: false };
}

/// Goes before a runner.
pub struct Cache {
    store: Arc<dyn Store>,
    config: Config,
    counts: Counts,
}

/// Tasks that might have been answered, since the start.
#[derive(Debug, Default)]
pub struct Counts {
    pub found: AtomicU64,
    pub missed: AtomicU64,
}

impl Cache {
    pub fn new(store: Arc<dyn Store>, config: Config) -> Self {
        Self { store, config, counts: Counts::default() }
    }

    pub fn counts(&self) -> (u64, u64) {
        (self.counts.found.load(Ordering::Relaxed), self.counts.missed.load(Ordering::Relaxed))
    }

    /// Answers with what the same work made, or lets the runner do it.
    pub async fn run(
        &self,
        runner: &dyn Runner,
        claim: &TaskClaim,
        end: &CancellationToken,
    ) -> Result<Output, Failure> {
        let Some(key) = self.key(runner, claim).await else {
            return runner.run(claim, end).await;
        };
        if let Some(output) = self.find(key, claim).await {
            self.counts.found.fetch_add(1, Ordering::Relaxed);
            return Ok(output);
        }
        self.counts.missed.fetch_add(1, Ordering::Relaxed);
        let output = runner.run(claim, end).await?;
        // Whoever was told to end may have left something out.
        // And whoever asks for more tasks asks for them in this build.
        let is_whole = !end.is_cancelled() && output.tasks.is_empty();
        let origin = if is_whole { Origin::MadeAs(key) } else { Origin::Made };
        Ok(Output { origin, ..output })
    }

    /// `None` if nothing may stand for this work.
    async fn key(&self, runner: &dyn Runner, claim: &TaskClaim) -> Option<ResultKey> {
        if self.config.within.is_zero() || !claim.cache {
            return None;
        }
        let identity = runner.identity(claim)?;
        let read = match identity.reads {
            Reads::Task => Value::Null,
            Reads::Dependencies => match self.read_by(claim).await {
                Ok(read) => read,
                Err(error) => {
                    tracing::debug!(error = %error, "what a task reads is not known");
                    return None;
                }
            },
        };
        let tenant = (!self.config.across_tenants).then_some(claim.tenant.as_str());
        Some(key(&identity, claim, tenant, &read))
    }

    /// How the tasks ended that this one waits for, and paths and hashes of what they made.
    async fn read_by(&self, claim: &TaskClaim) -> Result<Value, Error> {
        let prerequisites = self.store.prerequisites(claim.task).await?;
        Ok(prerequisites
            .iter()
            .map(|one| {
                let made = one.made.iter().map(|file| json!([file.path, file.sha256]));
                json!([one.key, one.state.as_str(), made.collect::<Value>()])
            })
            .collect())
    }

    async fn find(&self, key: ResultKey, claim: &TaskClaim) -> Option<Output> {
        match self.store.cached(key, self.config.within).await {
            // Judged as if it were made now: the eye may have become sharper since.
            Ok(found) => found.filter(|output| inspect::output(&claim.writes, output).is_ok()),
            Err(error) => {
                tracing::debug!(error = %error, "whether the work was done before is not known");
                None
            }
        }
    }
}

/// Everything that a result depends on.
fn key(identity: &Identity, claim: &TaskClaim, tenant: Option<&str>, read: &Value) -> ResultKey {
    let model = identity.model.as_ref().map(|model| [&model.provider, &model.name, &model.tier]);
    let named = json!({
        "form": 1,
        "tenant": tenant,
        "runner": identity.runner,
        "version": identity.version,
        "model": model,
        "key": claim.key,
        "name": claim.name,
        "phase": claim.phase,
        "operation": claim.operation,
        "role": claim.role,
        "writes": claim.writes,
        "input": claim.input,
        "read": read,
    });
    let mut hash = Sha256::new();
    feed(&mut hash, &named);
    feed(&mut hash, &claim.spec);
    ResultKey(hash.finalize().into())
}

/// Feeds a document in a form that can be read back, so that no two documents have the same: each
/// value says what it is and how long, and the keys of an object come in their order.
fn feed(hash: &mut Sha256, value: &Value) {
    let mut text = |kind: u8, text: &[u8]| {
        hash.update([kind]);
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    };
    match value {
        Value::Null => text(b'n', b""),
        Value::Bool(is) => text(b'b', &[u8::from(*is)]),
        Value::Number(number) => text(b'd', number.to_string().as_bytes()),
        Value::String(string) => text(b's', string.as_bytes()),
        Value::Array(items) => {
            hash.update([b'a']);
            hash.update((items.len() as u64).to_le_bytes());
            items.iter().for_each(|item| feed(hash, item));
        }
        Value::Object(map) => {
            hash.update([b'o']);
            hash.update((map.len() as u64).to_le_bytes());
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| *key);
            for (key, value) in entries {
                hash.update((key.len() as u64).to_le_bytes());
                hash.update(key.as_bytes());
                feed(hash, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use buildfleet::{domain::task, draw};

    use super::*;
    use crate::task::runner::Model;

    fn claim() -> TaskClaim {
        TaskClaim {
            task: draw::id(),
            build: draw::id(),
            attempt: 1,
            key: "models".to_owned(),
            name: "Write the models".to_owned(),
            phase: task::Phase::CodeGeneration,
            operation: task::Operation::CreateFile,
            role: "backend".to_owned(),
            estimated_secs: 10,
            writes: vec!["models.py".to_owned()],
            input: json!({"entity": "Book", "fields": ["title"]}),
            spec: Arc::new(json!({"name": "library"})),
            cost: 1,
            prerequisites: Vec::new(),
            tenant: "acme".to_owned(),
            cache: true,
        }
    }

    fn identity() -> Identity {
        Identity { runner: "template", version: "1", model: None, reads: Reads::Task }
    }

    fn of(claim: &TaskClaim) -> ResultKey {
        key(&identity(), claim, Some(&claim.tenant), &Value::Null)
    }

    #[test]
    fn the_same_work_has_the_same_key_whoever_does_it_and_when() {
        let one = claim();
        let other = TaskClaim { attempt: 3, estimated_secs: 99, cost: 2, ..claim() };
        let turned = TaskClaim { input: json!({"fields": ["title"], "entity": "Book"}), ..claim() };

        assert_eq!(of(&one), of(&other));
        assert_eq!(of(&one), of(&turned));
    }

    #[test]
    fn whatever_a_result_depends_on_makes_another_key() {
        let model = |name: &str| Model {
            provider: "anthropic".to_owned(),
            name: name.to_owned(),
            tier: "small".to_owned(),
        };
        let claims = [
            claim(),
            TaskClaim { key: "routes".to_owned(), ..claim() },
            TaskClaim { name: "Write them".to_owned(), ..claim() },
            TaskClaim { phase: task::Phase::Testing, ..claim() },
            TaskClaim { operation: task::Operation::ModifyFile, ..claim() },
            TaskClaim { role: "frontend".to_owned(), ..claim() },
            TaskClaim { writes: vec!["models".to_owned(), ".py".to_owned()], ..claim() },
            TaskClaim { input: json!({"entity": "Author", "fields": ["title"]}), ..claim() },
            TaskClaim { input: json!({"entity": "Book", "fields": "title"}), ..claim() },
            TaskClaim { spec: Arc::new(json!({"name": "shop"})), ..claim() },
            TaskClaim { tenant: "other".to_owned(), ..claim() },
        ];
        let mut keys: Vec<ResultKey> = claims.iter().map(of).collect();
        let read = json!([["db.py", "aa"]]);
        for identity in [
            Identity { version: "2", ..identity() },
            Identity { runner: "llm", ..identity() },
            Identity { model: Some(model("a")), ..identity() },
            Identity { model: Some(model("b")), ..identity() },
        ] {
            keys.push(key(&identity, &claim(), Some("acme"), &Value::Null));
        }
        keys.push(key(&identity(), &claim(), Some("acme"), &read));
        keys.push(key(&identity(), &claim(), None, &Value::Null));

        let different: BTreeSet<_> = keys.iter().collect();

        assert_eq!(different.len(), keys.len());
    }

    #[test]
    fn no_two_documents_look_alike() {
        let documents = [
            json!(null),
            json!(""),
            json!("null"),
            json!([]),
            json!([[]]),
            json!({}),
            json!([null]),
            json!(["ab", "c"]),
            json!(["a", "bc"]),
            json!(["abc"]),
            json!([["ab"], "c"]),
            json!({"a": "b"}),
            json!({"a": {"b": null}}),
            json!({"ab": ""}),
            json!(1),
            json!("1"),
            json!(true),
        ];

        let hashes: BTreeSet<_> = documents
            .iter()
            .map(|document| {
                let mut hash = Sha256::new();
                feed(&mut hash, document);
                <[u8; 32]>::from(hash.finalize())
            })
            .collect();

        assert_eq!(hashes.len(), documents.len());
    }
}
