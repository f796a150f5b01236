//! What buildfleet says about itself, as programs anyone can run.
//!
//! `briefs`: twenty varied briefs, each built, installed and tested. `latency`: how long one brief
//! takes, and how much of that is the engine's own. `queue` and `engine`: how fast they are, beside
//! others. `webhooks`: messages in through HTTP and out to a receiver.

#[cfg(feature = "apalis-redis")]
pub mod apalis;
pub mod figures;
pub mod fleet;
pub mod graph;
pub mod hop;
pub mod http;
pub mod nginx;
pub mod peers;
pub mod process;
pub mod servers;

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::{Context as _, bail};
use serde_json::Value;

/// A folder with a fleet of its own that builds briefs with the program under test.
pub struct Bench {
    program: PathBuf,
    folder: tempfile::TempDir,
}

/// What became of one brief.
pub struct Built {
    /// The API's answer about the build.
    pub build: Value,
    /// The project, if the build completed.
    pub project: PathBuf,
}

impl Bench {
    /// Finds `buildfleet` beside this program: `cargo build --bins` puts both there.
    pub fn new() -> anyhow::Result<Self> {
        let program = std::env::current_exe()?.with_file_name("buildfleet");
        if !program.exists() {
            bail!("{} is missing: cargo build --package cli makes it", program.display());
        }
        Ok(Self { program, folder: tempfile::tempdir()? })
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The client, told of this bench's own fleet and nothing of the surroundings.
    pub fn buildfleet(&self) -> Command {
        let mut command = Command::new(&self.program);
        for name in ["BUILDFLEET_URL", "BUILDFLEET_API_KEY", "DATABASE_URL", "REDIS_URL"] {
            command.env_remove(name);
        }
        command.env("BUILDFLEET_DATA", self.folder().join("data")).current_dir(self.folder());
        command
    }

    /// Builds a brief to its end. An `Err` holds the reason that was given.
    pub fn build(&self, prompt: &str) -> anyhow::Result<Result<Built, String>> {
        let output = self
            .buildfleet()
            .args(["run", "--json", "--", prompt])
            .output()
            .context("buildfleet")?;
        if !output.status.success() {
            return Ok(Err(last_line(&output.stderr)));
        }
        let text = String::from_utf8(output.stdout)?;
        let (json, path) =
            text.trim_end().rsplit_once('\n').context("two answers were expected")?;
        let build = serde_json::from_str(json).context("the build's JSON")?;
        Ok(Ok(Built { build, project: PathBuf::from(path) }))
    }
}

/// Runs a command line in a project's folder, like a person who types it there.
pub fn shell(folder: &Path, line: &str) -> anyhow::Result<Output> {
    Command::new("sh").args(["-e", "-c", line]).current_dir(folder).output().context("sh")
}

/// The last line that says something.
pub fn last_line(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .lines()
        .rev()
        .find(|line| !line.trim().is_empty())
        .unwrap_or("no reason was given")
        .trim()
        .to_owned()
}
