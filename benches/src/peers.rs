//! What buildfleet is measured against, installed from its registry by the bench that needs it.
//!
//! The versions are those of `peers/package-lock.json`. They are kept in the folder of the build,
//! and are installed anew only when the lock changes.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context as _, bail};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

const FILES: &[(&str, &str)] = &[
    ("package.json", include_str!("../peers/package.json")),
    ("package-lock.json", include_str!("../peers/package-lock.json")),
    ("clock.js", include_str!("../peers/clock.js")),
    ("bullmq.js", include_str!("../peers/bullmq.js")),
    ("graphile.js", include_str!("../peers/graphile.js")),
];

/// The folder with the peers and what drives them.
#[derive(Debug, Clone)]
pub struct Peers(PathBuf);

impl Peers {
    /// Installs them if they are not there already.
    pub fn install() -> anyhow::Result<Self> {
        let program = std::env::current_exe()?;
        let target = program.ancestors().nth(2).context("a folder of the build")?;
        let folder = target.join("bench-peers");
        fs::create_dir_all(&folder)?;
        for (name, text) in FILES {
            fs::write(folder.join(name), text)?;
        }
        let lock = include_str!("../peers/package-lock.json");
        let mark = folder.join("installed");
        if fs::read_to_string(&mark).ok().as_deref() != Some(lock) {
            npm(&folder)?;
            fs::write(mark, lock)?;
        }
        Ok(Self(folder))
    }

    /// Starts one of the scripts. Options are a JSON object.
    pub fn start(&self, script: &str, case: &str, options: &Value) -> anyhow::Result<Talk> {
        let mut command = tokio::process::Command::new("node");
        command.arg(script).arg(case).arg(options.to_string()).current_dir(&self.0);
        Talk::start(command)
    }

    /// Lets a script measure something, and answers with what it says at its end.
    pub async fn ask(&self, script: &str, case: &str, options: &Value) -> anyhow::Result<Value> {
        self.start(script, case, options)?.end().await.with_context(|| format!("{script} {case}"))
    }

    /// Lets several processes work off so many jobs together. Answers with the seconds from the
    /// first start to the last end.
    pub async fn work(
        &self,
        script: &str,
        options: &Value,
        processes: usize,
        jobs: u64,
    ) -> anyhow::Result<f64> {
        let done = CancellationToken::new();
        let counts = Arc::new(Mutex::new(vec![0; processes]));
        let mut workers = JoinSet::new();
        for index in 0..processes {
            let mut talk = self.start(script, "serve", options)?;
            let (done, counts) = (done.clone(), Arc::clone(&counts));
            workers.spawn(async move {
                loop {
                    let said = tokio::select! {
                        said = talk.next() => said?.context("it ended too soon")?,
                        () = done.cancelled() => return talk.end().await,
                    };
                    let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
                    counts[index] = said["count"].as_u64().context("no count")?;
                    if counts.iter().sum::<u64>() == jobs {
                        done.cancel();
                    }
                }
            });
        }
        let (mut first, mut last) = (f64::INFINITY, f64::NEG_INFINITY);
        while let Some(ended) = workers.join_next().await {
            let said = ended?.with_context(|| script.to_owned())?;
            // One that came too late has neither.
            first = said["first"].as_f64().map_or(first, |at| first.min(at));
            last = said["last"].as_f64().map_or(last, |at| last.max(at));
        }
        Ok((last - first) / 1000.0)
    }
}

fn npm(folder: &Path) -> anyhow::Result<()> {
    let done = Command::new("npm")
        .args(["ci", "--no-audit", "--no-fund", "--loglevel", "error"])
        .current_dir(folder)
        .stdout(Stdio::null())
        .status()
        .context("npm; install Node 20 or newer")?;
    if !done.success() {
        bail!("npm could not install the peers into {}", folder.display());
    }
    Ok(())
}

/// A program that says JSON, a line at a time, and ends when nobody listens to it any more: when
/// its standard input ends.
pub struct Talk {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Talk {
    pub fn start(mut command: tokio::process::Command) -> anyhow::Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{:?}", command.as_std().get_program()))?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().context("it was asked for")?;
        Ok(Self { child, stdin, lines: BufReader::new(stdout).lines() })
    }

    /// What it says next; none at its end.
    pub async fn next(&mut self) -> anyhow::Result<Option<Value>> {
        let line = self.lines.next_line().await?;
        line.map(|line| serde_json::from_str(&line).context(line)).transpose()
    }

    /// Lets it end; answers with the last it said.
    pub async fn end(mut self) -> anyhow::Result<Value> {
        drop(self.stdin.take());
        let mut last = None;
        while let Some(said) = self.next().await? {
            last = Some(said);
        }
        let status = self.child.wait().await?;
        if !status.success() {
            bail!("it ended with {status}");
        }
        last.context("it said nothing")
    }
}
