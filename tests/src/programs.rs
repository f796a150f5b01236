//! The built programs as processes of their own, to be treated badly.

use std::{
    fs::{self, File},
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use crate::patience;

/// Where cargo puts the programs: in the folder above that of the test itself.
fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows where it is");
    let built = test.ancestors().skip(1).take(2).map(|folder| folder.join(name));
    built.clone().find(|path| path.is_file()).unwrap_or_else(|| {
        panic!(
            "{name} is in none of {:?}: `cargo build --workspace --bins`",
            built.collect::<Vec<_>>()
        )
    })
}

/// One of our programs with arguments, and settings instead of the surroundings'.
pub fn command(name: &str, settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(binary(name));
    command.env_clear().envs(settings.iter().copied()).current_dir("/").stdin(Stdio::null());
    command
}

/// A process that runs until it is told otherwise, and never longer than its owner.
pub struct Program {
    name: String,
    log: PathBuf,
    child: Child,
}

impl Program {
    /// Starts it; what it says is added to `<name>.log` in the folder.
    pub fn start(mut command: Command, name: &str, folder: &Path) -> Self {
        let log = folder.join(format!("{name}.log"));
        let said = File::options().create(true).append(true).open(&log).expect("a folder of ours");
        let errors = said.try_clone().expect("a file may be held twice");
        let child = command.stdout(said).stderr(errors).spawn().expect("a built program starts");
        Self { name: name.to_owned(), log, child }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it without warning, as a power cut would.
    pub fn kill(mut self) {
        let by_itself = self.kill_if_alive();
        if let Some(status) = by_itself {
            panic!("{} ended by itself: {status}\n{}", self.name, self.log());
        }
    }

    /// The same, where it may have ended already: answers with how it then did.
    pub fn kill_if_alive(&mut self) -> Option<ExitStatus> {
        self.child.kill().expect("our own child can be killed");
        let status = self.child.wait().expect("our own child can be waited for");
        (status.signal() != Some(9)).then_some(status)
    }

    /// How it ended, if it has.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("our own child can be asked")
    }

    /// Sends a signal by its name, such as `STOP`.
    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args(["-s", signal, &self.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -s {signal} {}", self.name);
    }

    /// Waits for it to end by itself.
    pub async fn ended(mut self, within: Duration) -> ExitStatus {
        self.until_ended(within).await
    }

    /// The same, of one that is not given up yet.
    pub async fn until_ended(&mut self, within: Duration) -> ExitStatus {
        let what = format!("{} has ended", self.name);
        let child = &mut self.child;
        patience::until_some(&what, within, async || {
            child.try_wait().expect("our own child can be asked")
        })
        .await
    }

    /// All that it has said.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It has ended already, or it may: also while a failed test unwinds.
        self.child.kill().ok();
        self.child.wait().ok();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(20)..];
            eprintln!("-- {} said at last:\n{}", self.name, last.join("\n"));
        }
    }
}
