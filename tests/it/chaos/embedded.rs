//! `buildfleet dev` on one folder, killed again and again.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use api::auth::TENANT;
use buildfleet::{
    domain::{brief::Brief, build},
    draw,
    store::{Ask, NewBuild, Store as _, sqlite::Sqlite},
};
use rand::RngExt;
use serde_json::Value;
use tempfile::TempDir;
use tests::{
    client::{Client, Post},
    patience::until_some,
    programs::{self, Program},
    receiver::Receiver,
    seed,
};
use worker::sweep::{self, Sweep};

use super::{
    PROMPTS,
    record::{self, Files, Reference},
};

const KILLS: u32 = 20;
/// Far longer than it takes on a busy machine.
const UP_WITHIN: Duration = Duration::from_secs(30);
const DONE_WITHIN: Duration = Duration::from_secs(60);

/// A folder on which at most one fleet runs.
pub struct Place {
    folder: TempDir,
}

impl Place {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder for the test") }
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub fn command(&self) -> Command {
        let mut command = programs::command("buildfleet", &[]);
        command.args(["dev", "--listen", "127.0.0.1:0", "--data"]).arg(self.data());
        command
    }

    pub fn start(&self) -> Program {
        Program::start(self.command(), "dev", self.folder.path())
    }

    /// Address and key as the running process tells them. Whoever reads the note never finds half
    /// of one.
    pub async fn note(&self, dev: &Program) -> (String, String) {
        until_some("the fleet is up", UP_WITHIN, async || {
            let note = fs::read(self.data().join("dev.json")).ok()?;
            let note: Value = serde_json::from_slice(&note).expect("a whole note");
            let text = |name: &str| note[name].as_str().expect("a text").to_owned();
            (note["pid"] == dev.id()).then(|| (text("url"), text("api_key")))
        })
        .await
    }

    pub async fn store(&self) -> Sqlite {
        let file = self.data().join("buildfleet.db");
        Sqlite::open(&format!("sqlite:{}", file.display())).await.expect("the record opens")
    }
}

/// What a fleet makes of all prompts that nobody disturbs.
pub async fn undisturbed() -> Reference {
    let place = Place::new();
    let dev = place.start();
    let (url, key) = place.note(&dev).await;
    let client = Client::new();
    for (number, prompt) in PROMPTS.into_iter().enumerate() {
        let post = Post { prompt, key: format!("undisturbed-{number}"), webhook: None };
        client.submit(&url, &key, &post).await;
    }
    let store = place.store().await;
    record::at_rest(&store, DONE_WITHIN).await;
    dev.kill();
    let mut reference = Reference::new();
    for build in record::builds(&store).await {
        let files = record::files(&store, build.id).await;
        assert!(10 < files.len(), "{}: {:?}", build.brief.prompt, files.keys());
        reference.insert(build.brief.prompt, files);
    }
    reference
}

/// A client that does not give up: what was not answered is posted again, under the same key.
struct Work {
    client: Client,
    posts: Vec<Post>,
    submitted: HashSet<String>,
}

impl Work {
    fn new(webhook: &str) -> Self {
        let post = |(number, prompt): (usize, &&'static str)| Post {
            prompt,
            key: format!("post-{number}"),
            webhook: Some(webhook.to_owned()),
        };
        let posts = PROMPTS.iter().cycle().take(16).enumerate().map(post).collect();
        Self { client: Client::new(), posts, submitted: HashSet::new() }
    }

    /// Posts some of what is left. Dropped at any point, it has lost nothing.
    async fn post(&mut self, url: &str, key: &str, most: usize) {
        for _ in 0..most {
            let Some(post) = self.posts.last() else { return };
            let build = self.client.submit(url, key, post).await;
            self.submitted.insert(build);
            self.posts.pop();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_in_one_process_survives_twenty_kills() {
    let mut dice = seed::dice();
    let reference = undisturbed().await;
    let receiver = Receiver::start().await;
    let place = Place::new();
    let mut work = Work::new(&receiver.url());
    let mut keys = HashSet::new();
    let mut interrupted = 0;

    for kill in 0..KILLS {
        let dev = place.start();
        if dice.random_bool(0.2) {
            // While it comes up: nobody can know how far it got.
            tokio::time::sleep(Duration::from_millis(dice.random_range(0..100))).await;
        } else {
            let (url, key) = place.note(&dev).await;
            let instant = Duration::from_micros(dice.random_range(0..300_000));
            tokio::select! {
                () = async { work.post(&url, &key, 1).await; std::future::pending().await } => {}
                () = tokio::time::sleep(instant) => {}
            }
            keys.insert(key);
        }
        dev.kill();
        // Not every time: to look is to mend what the next start should find as the kill left it.
        if kill % 4 == 3 {
            let store = place.store().await;
            assert_eq!(store.contradictions().await.unwrap(), []);
            record::assert_no_claim_without_receipt(&store, &receiver).await;
            interrupted += record::unfinished(&store).await;
        }
    }
    let dev = place.start();
    let (url, key) = place.note(&dev).await;
    keys.insert(key.clone());
    work.post(&url, &key, usize::MAX).await;
    record::at_rest(&place.store().await, DONE_WITHIN).await;
    dev.kill();

    let store = place.store().await;
    let submitted = work.submitted.iter().map(|id| id.parse().unwrap()).collect();
    assert_eq!(store.contradictions().await.unwrap(), []);
    record::assert_all_done_once(&store, &submitted, &reference).await;
    record::assert_all_told_in_order(&store, &receiver).await;
    assert_eq!(keys.len(), 1, "the folder changed its key");
    assert!(0 < interrupted, "no kill met a build at work");
}

#[tokio::test]
async fn a_process_that_is_killed_twenty_times_while_planning_plans_once_more() {
    let place = Place::new();
    let store = place.store().await;
    let new = NewBuild {
        id: draw::id(),
        tenant: TENANT.to_owned(),
        brief: Brief::of("a to-do list"),
        idempotency: None,
        webhook: None,
    };
    let build = store.submit(new).await.unwrap().build().id;

    for _ in 0..KILLS {
        let ask = Ask { holder: draw::id(), lease: Duration::from_secs(60), room: 1, slots: 1 };
        let claims = store.claim_builds(&ask).await.unwrap();
        assert_eq!(claims.len(), 1, "{:?}", store.build(build).await.unwrap());
        store.lapse_all().await.unwrap();
        sweep::once(Sweep::ALONE, &store).await.unwrap();
    }

    assert_eq!(store.build(build).await.unwrap().state, build::State::Queued);
}

/// Everything in a folder and below, by path.
fn contents(folder: &Path) -> Files {
    let mut contents = Files::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().display().to_string();
                contents.insert(name, fs::read(path).unwrap());
            }
        }
    }
    contents
}

#[tokio::test]
async fn a_project_that_run_leaves_behind_is_whole_however_often_it_was_killed() {
    let mut dice = seed::dice();
    let place = Place::new();
    let projects = place.folder.path().join("projects");
    let run = || {
        let mut command = programs::command("buildfleet", &[]);
        command.arg("run").arg("--data").arg(place.data()).arg("--projects").arg(&projects);
        command.arg(PROMPTS[0]);
        command
    };
    // Undisturbed first: so long it takes, and so the project looks.
    let begun = Instant::now();
    let first = run().output().unwrap();
    let lasts = begun.elapsed();
    assert!(first.status.success(), "{}", String::from_utf8_lossy(&first.stderr));

    for kill in 0..10 {
        // Every other one dies near its end, where the project is written.
        let from = if kill % 2 == 0 { 0.0 } else { 0.8 };
        let instant = lasts.mul_f64(dice.random_range(from..1.1));
        let killed = Program::start(run(), "run", place.folder.path());
        tokio::time::sleep(instant).await;
        drop(killed);
    }
    let last = run().output().unwrap();

    assert!(last.status.success(), "{}", String::from_utf8_lossy(&last.stderr));
    let said = String::from_utf8(last.stdout).unwrap();
    let wanted = contents(Path::new(said.lines().last().unwrap()));
    assert!(10 < wanted.len(), "{:?}", wanted.keys());
    let visible = |path: &PathBuf| !path.file_name().unwrap().as_encoded_bytes().starts_with(b".");
    let left: Vec<_> = fs::read_dir(&projects)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(visible)
        .collect();
    assert!(2 <= left.len(), "{left:?}");
    for project in left {
        assert!(contents(&project) == wanted, "{} is not whole", project.display());
    }
    // What the killed ones began was not forgotten.
    let dev = place.start();
    place.note(&dev).await;
    let store = place.store().await;
    record::at_rest(&store, DONE_WITHIN).await;
    dev.kill();
    assert_eq!(store.contradictions().await.unwrap(), []);
    for build in record::builds(&store).await {
        assert_eq!(build.state, build::State::Completed, "{}: {:?}", build.id, build.stop);
    }
}

#[tokio::test]
async fn a_run_goes_on_alone_when_the_run_whose_fleet_it_used_is_killed() {
    let place = Place::new();
    let run = |prompt, name| {
        let mut command = programs::command("buildfleet", &[]);
        command.arg("run").arg("--data").arg(place.data());
        command.arg("--projects").arg(place.folder.path()).arg(prompt);
        Program::start(command, name, place.folder.path())
    };
    let owner = run(PROMPTS[0], "owner");
    place.note(&owner).await;
    let guest = run(PROMPTS[1], "guest");

    until_some("the guest uses the owner's fleet", UP_WITHIN, async || {
        guest.log().contains("using the fleet at").then_some(())
    })
    .await;
    drop(owner);
    let log = place.folder.path().join("guest.log");
    let ended = guest.ended(DONE_WITHIN).await;

    let said = fs::read_to_string(log).unwrap();
    assert!(ended.success(), "{said}");
    assert!(
        contents(Path::new(said.lines().last().unwrap())).contains_key("package.json"),
        "{said}"
    );
    let store = place.store().await;
    let guests =
        record::builds(&store).await.into_iter().filter(|one| one.brief.prompt == PROMPTS[1]);
    assert_eq!(guests.count(), 1, "the brief was built twice: {said}");
}
