//! Receivers that are not ours: other languages, with other people's libraries, in environments
//! that are made once below `target`.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::Value;

/// In what a receiver is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    Python,
    Node,
}

impl Language {
    /// Who verifies all that is signed with a shared key, in the order in which a receiver names
    /// them.
    pub fn verifiers(self) -> &'static [&'static str] {
        match self {
            Self::Python => &["standardwebhooks", "svix", "convoy", "plain"],
            Self::Node => &["standardwebhooks", "svix", "plain"],
        }
    }
}

/// Where the receivers are in this repository.
fn receivers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("receivers")
}

/// A folder below `target` that was made for these words. Whoever comes first makes it.
fn made_once(name: &str, words: &Path, make: impl FnOnce(&Path)) -> PathBuf {
    let tmp = Path::new(env!("CARGO_TARGET_TMPDIR"));
    fs::create_dir_all(tmp).unwrap();
    let lock = File::create(tmp.join(format!("{name}.lock"))).unwrap();
    lock.lock().unwrap();
    let folder = tmp.join(name);
    let done = folder.join("made-for.txt");
    let words = fs::read(words).unwrap();
    if !fs::read(&done).is_ok_and(|made_for| made_for == words) {
        make(&folder);
        fs::write(&done, words).unwrap();
    }
    folder
}

/// The Python of an environment with what the receiver requires.
pub fn python() -> PathBuf {
    let wanted = receivers().join("requirements.txt");
    let venv = made_once("receiver-venv", &wanted, |venv| {
        run(
            Command::new("python3").args(["-m", "venv", "--clear"]).arg(venv),
            "install Python 3.10 or newer with its venv module (Debian: `apt-get install \
             python3-venv`)",
        );
        run(
            Command::new(venv.join("bin/python"))
                .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"])
                .arg(&wanted),
            "pip must reach a package index; see tests/receivers/requirements.txt",
        );
    });
    venv.join("bin/python")
}

/// A folder with the `node_modules` that the receiver requires.
fn node() -> PathBuf {
    let wanted = receivers().join("package.json");
    made_once("receiver-node", &wanted, |folder| {
        fs::create_dir_all(folder).unwrap();
        fs::copy(&wanted, folder.join("package.json")).unwrap();
        run(
            Command::new("npm")
                .args(["install", "--silent", "--no-audit", "--no-fund", "--no-package-lock"])
                .current_dir(folder),
            "npm must reach a package registry; see tests/receivers/package.json",
        );
    })
}

fn run(command: &mut Command, otherwise: &str) {
    let ended = command.output();
    let ended = ended.unwrap_or_else(|error| panic!("{command:?}: {error}; {otherwise}"));
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{command:?}: {said}\n{otherwise}");
}

/// A receiver, until dropped.
pub struct Receiver {
    process: Child,
    pub url: String,
}

impl Receiver {
    /// Verifies with these keys: a secret, and for Python a public key after it.
    pub fn start(language: Language, keys: &[&str]) -> Self {
        let mut command = match language {
            Language::Python => {
                let mut command = Command::new(python());
                command.arg(receivers().join("receiver.py"));
                command
            }
            Language::Node => {
                let mut command = Command::new("node");
                command.arg(receivers().join("receiver.mjs")).current_dir(node());
                command
            }
        };
        let mut process =
            command.args(keys).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut port = String::new();
        let said = process.stdout.take().unwrap();
        BufReader::new(said).read_line(&mut port).unwrap();
        assert!(!port.is_empty(), "the {language:?} receiver ended at once");
        Self { process, url: format!("http://127.0.0.1:{}/", port.trim()) }
    }

    /// What came so far, and who verified it.
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
