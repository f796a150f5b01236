//! A receiver that is not ours verifies every webhook of a build: Python with the library of
//! Standard Webhooks, in an environment that is made once below `target`.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
};

use serde_json::{Value, json};
use tests::{
    fleet::{Footing, Setup},
    runners::{Act, Scripted},
    signatures::base64,
};

tests::on_both_footings!(an_independent_receiver_verifies_every_webhook);

/// Where the receiver is in this repository.
fn receivers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("receivers")
}

/// The Python of an environment with what the receiver requires. Whoever comes first makes it.
fn python() -> PathBuf {
    let tmp = Path::new(env!("CARGO_TARGET_TMPDIR"));
    fs::create_dir_all(tmp).unwrap();
    let lock = File::create(tmp.join("receiver-venv.lock")).unwrap();
    lock.lock().unwrap();
    let (venv, wanted) = (tmp.join("receiver-venv"), receivers().join("requirements.txt"));
    let python = venv.join("bin/python");
    let done = venv.join("made-for.txt");
    let pins = fs::read(&wanted).unwrap();
    if fs::read(&done).is_ok_and(|made_for| made_for == pins) {
        return python;
    }
    run(
        Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv),
        "install Python 3.10 or newer with its venv module (Debian: `apt-get install python3-venv`)",
    );
    run(
        Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"])
            .arg(&wanted),
        "pip must reach a package index; see tests/receivers/requirements.txt",
    );
    fs::write(&done, pins).unwrap();
    python
}

fn run(command: &mut Command, otherwise: &str) {
    let ended = command.output();
    let ended = ended.unwrap_or_else(|error| panic!("{command:?}: {error}; {otherwise}"));
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{command:?}: {said}\n{otherwise}");
}

/// The receiver, until dropped.
pub struct Receiver {
    process: Child,
    pub url: String,
}

impl Receiver {
    pub fn start(secret: &str) -> Self {
        let mut process = Command::new(python())
            .arg(receivers().join("receiver.py"))
            .arg(secret)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut port = String::new();
        let said = process.stdout.take().unwrap();
        BufReader::new(said).read_line(&mut port).unwrap();
        Self { process, url: format!("http://127.0.0.1:{}/", port.trim()) }
    }

    /// What came so far, and what the library said of it.
    pub async fn received(&self) -> Vec<Value> {
        let answer = reqwest::get(&self.url).await.unwrap();
        serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

async fn an_independent_receiver_verifies_every_webhook(footing: Footing) {
    let secret = format!("whsec_{}", base64(b"thirty-two bytes make a good key"));
    let starting = secret.clone();
    let receiver = tokio::task::spawn_blocking(move || Receiver::start(&starting)).await.unwrap();
    let runner = Arc::new(Scripted::new().on("c", [Act::permanent()]));
    let fleet = Setup::on(footing).runner(&runner).start().await;
    let hooks = json!({ "url": receiver.url, "secret": secret });

    let prompt = "a -> b, c -> d, e -> f -> e, sch\u{f6}n";
    let build = fleet.submit(json!({ "prompt": prompt, "webhook": hooks })).await;
    fleet.until_state(&build, "failed").await;
    fleet.until_told(&build).await;

    let received = receiver.received().await;
    let events = fleet.events(&build).await;
    let told: Vec<_> = events
        .iter()
        .map(|event| {
            json!({
                "id": event["id"],
                "type": event["type"],
                "buildId": build,
                "library": true,
                "plain": true,
                "forged": false,
            })
        })
        .collect();
    assert_eq!(received, told);
    let kinds = fleet.kinds(&build).await;
    for kind in ["plan_warning", "task_completed", "task_failed", "task_skipped", "build_failed"] {
        assert!(kinds.iter().any(|other| other == kind), "{kind} was not told: {kinds:?}");
    }
}
