//! What can be typed.

pub mod operating;
pub mod webhooks;
pub mod receiving;

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args as ClapArgs, Parser, Subcommand};
use url::Url;

use self::{
    operating::{Audit, Bulk, Failed, LimitChange, Pausing, WeightChange},
    receiving::{Listen, Sign, Verify},
    webhooks::{EndpointChange, ReplayChange},
};

const AFTER: &str = "\
Exit codes: 0 done; 1 the build did not complete, or it cannot be done; 2 wrong arguments or settings;
3 the API did not answer; 4 the API key is missing or wrong; 5 not found.

A fleet that `buildfleet dev` runs on this machine is found by itself. Any other is named by
BUILDFLEET_URL and BUILDFLEET_API_KEY.";

/// Post a prompt, get a verified software project.
#[derive(Debug, Parser)]
#[command(name = "buildfleet", version, after_help = AFTER, max_term_width = 100)]
pub struct Args {
    /// Where the API is [default: the fleet that `buildfleet dev` runs, else http://127.0.0.1:8000]
    #[arg(long, global = true, value_name = "URL", env = "BUILDFLEET_URL")]
    pub url: Option<Url>,

    /// The API key [default: that of the fleet that `buildfleet dev` runs]
    #[arg(
        long,
        global = true,
        value_name = "KEY",
        env = "BUILDFLEET_API_KEY",
        hide_env_values = true
    )]
    pub api_key: Option<String>,

    /// Print JSON instead of words and tables
    #[arg(long, global = true)]
    pub json: bool,

    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a whole fleet in this process: API, workers, webhooks, on a folder of this machine
    Dev(Dev),
    /// Build one brief from start to finish, with a fleet of its own if none is running
    Run(Run),
    /// Send a brief to a fleet
    Submit(Submit),
    /// Follow a build until it ends
    Watch {
        /// The build, such as bld_01J8...
        #[arg(value_parser = id)]
        build: String,
    },
    /// List builds, newest first
    List(List),
    /// Show a build, its plan and its tasks
    Show {
        /// The build
        #[arg(value_parser = id)]
        build: String,
    },
    /// Write the files of a build into a folder
    Download {
        /// The build
        #[arg(value_parser = id)]
        build: String,
        /// The folder, which must be empty or not exist yet [default: projects/<build>]
        #[arg(long, short, value_name = "FOLDER")]
        out: Option<PathBuf>,
    },
    /// Cancel a build
    Cancel {
        /// The build
        #[arg(value_parser = id)]
        build: String,
    },
    /// Run again what failed, was skipped or was cancelled
    Retry {
        /// The build
        #[arg(value_parser = id)]
        build: String,
        /// Follow it until it ends
        #[arg(long, short)]
        watch: bool,
    },
    /// Agree to a plan that waits for approval
    Approve {
        /// The build, or its plan
        #[arg(value_parser = id)]
        id: String,
    },
    /// Refuse a plan that waits for approval
    Reject {
        /// The build, or its plan
        #[arg(value_parser = id)]
        id: String,
        /// Why, for the record
        #[arg(long)]
        reason: Option<String>,
    },
    /// Change single tasks of a build: add, cancel, skip, retry, fork
    #[command(subcommand)]
    Tasks(Tasks),
    /// List the endpoints that are told what happens, or change them
    Endpoints {
        #[command(subcommand)]
        change: Option<EndpointChange>,
    },
    /// List webhook deliveries, or send one again
    Deliveries(Deliveries),
    /// Send many deliveries again, with progress, or list those that were
    Replay {
        #[command(subcommand)]
        change: Option<ReplayChange>,
    },
    /// Receive webhooks on this machine, check their signatures and print them
    Listen(Listen),
    /// Sign a body as the fleet does, and print the headers
    Sign(Sign),
    /// Check the signatures of a webhook that was received
    Verify(Verify),
    /// List the workers of the fleet
    Workers,
    /// Show how much work waits and runs
    Queues,
    /// Show how much may run at once and how often, or change it
    Limits {
        #[command(subcommand)]
        change: Option<LimitChange>,
    },
    /// Show the tenants whose share is not 1, or change a share
    Weights {
        #[command(subcommand)]
        change: Option<WeightChange>,
    },
    /// Let nothing of a build, a tenant or a queue begin; what runs goes on
    Pause(Pausing),
    /// Let it begin again
    Resume(Pausing),
    /// List all that is paused, with who did it
    Paused,
    /// List what was changed by hand, newest first
    Audit(Audit),
    /// List builds, tasks and deliveries that were given up, and why
    Failed(Failed),
    /// Do something to all builds or deliveries that a filter meets
    Bulk {
        #[command(subcommand)]
        action: Bulk,
    },
    /// Check everything that is needed, and say how to mend what is wrong
    Doctor,
}

#[derive(Debug, Subcommand)]
pub enum Tasks {
    /// Add tasks to a build that executes
    Add {
        /// The build
        #[arg(value_parser = id)]
        build: String,
        /// A file with {"tasks": [...]} as the API takes it; - reads standard input
        file: PathBuf,
    },
    /// Cancel a task, running or not
    Cancel(TakeOut),
    /// Leave a task out, on purpose: a build that lost nothing else completes
    Skip(TakeOut),
    /// Run a lost task again, with what was lost because of it
    Retry {
        /// The task
        #[arg(value_parser = id)]
        task: String,
    },
    /// Begin another build in the middle of one, at a task
    Fork {
        /// The task
        #[arg(value_parser = id)]
        task: String,
        /// Another input for the task, as JSON; - reads standard input
        #[arg(long, value_name = "JSON")]
        input: Option<String>,
        /// Follow the new build until it ends
        #[arg(long, short)]
        watch: bool,
    },
}

#[derive(Debug, ClapArgs)]
pub struct TakeOut {
    /// The task, such as tsk_01J8...
    #[arg(value_parser = id)]
    pub task: String,
    /// Why, for the record
    #[arg(long)]
    pub reason: Option<String>,
}

#[derive(Debug, ClapArgs)]
pub struct Dev {
    /// Where the API listens
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        env = "BUILDFLEET_LISTEN",
        default_value = "127.0.0.1:8000"
    )]
    pub listen: SocketAddr,
    /// The folder that keeps everything
    #[arg(long, value_name = "FOLDER", env = "BUILDFLEET_DATA", default_value = ".buildfleet")]
    pub data: PathBuf,
}

#[derive(Debug, ClapArgs)]
pub struct Run {
    #[command(flatten)]
    pub brief: BriefArgs,
    /// The folder in which the project's own folder is made
    #[arg(long, value_name = "FOLDER", default_value = "projects")]
    pub projects: PathBuf,
    /// The folder that keeps everything
    #[arg(long, value_name = "FOLDER", env = "BUILDFLEET_DATA", default_value = ".buildfleet")]
    pub data: PathBuf,
}

#[derive(Debug, ClapArgs)]
pub struct Submit {
    #[command(flatten)]
    pub brief: BriefArgs,
    /// Follow the build until it ends
    #[arg(long, short)]
    pub watch: bool,
    /// With --watch: write the files into this folder when the build has completed
    #[arg(long, short, value_name = "FOLDER", requires = "watch")]
    pub out: Option<PathBuf>,
    /// Submitting twice with one key makes one build
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
    /// Send events to this URL
    #[arg(long, value_name = "URL")]
    pub webhook: Option<String>,
    /// The secret that signs them
    #[arg(
        long,
        value_name = "SECRET",
        requires = "webhook",
        env = "WEBHOOK_SECRET",
        hide_env_values = true
    )]
    pub webhook_secret: Option<String>,
}

#[derive(Debug, ClapArgs)]
pub struct BriefArgs {
    /// What to build, in your own words; - reads it from standard input
    pub prompt: String,
    /// api, cli, web ...
    #[arg(long, value_name = "WORD")]
    pub project_type: Option<String>,
    /// fastapi, express ...
    #[arg(long, value_name = "WORD")]
    pub framework: Option<String>,
    /// simple, moderate or complex
    #[arg(long, value_name = "WORD")]
    pub complexity: Option<String>,
    /// Something it should do; may be given several times
    #[arg(long = "feature", value_name = "TEXT")]
    pub features: Vec<String>,
    /// 1 runs first, 5 last
    #[arg(long, value_name = "1-5")]
    pub priority: Option<u8>,
    /// Fail the build if it takes longer
    #[arg(long, value_name = "SECONDS")]
    pub deadline_secs: Option<u64>,
    /// Work with the same key is limited together
    #[arg(long, value_name = "KEY")]
    pub limit_key: Option<String>,
    /// Wait for somebody to approve the plan
    #[arg(long)]
    pub require_approval: bool,
    /// What a lost task means for those who wait for it: skip, continue, fail_fast or always_run
    #[arg(long, value_name = "WORD")]
    pub on_loss: Option<String>,
    /// Stop at the first task that fails
    #[arg(long)]
    pub fail_fast: bool,
}

#[derive(Debug, ClapArgs)]
pub struct List {
    /// Only builds in this state
    #[arg(long)]
    pub state: Option<String>,
    /// How many at most, 1 to 100
    #[arg(long, default_value_t = 10)]
    pub limit: u32,
    /// Go on where the last page ended
    #[arg(long)]
    pub cursor: Option<String>,
}

#[derive(Debug, ClapArgs)]
pub struct Deliveries {
    /// Only those of this build
    #[arg(long)]
    pub build: Option<String>,
    /// Only those in this state
    #[arg(long)]
    pub state: Option<String>,
    /// How many at most, 1 to 100
    #[arg(long, default_value_t = 20)]
    pub limit: u32,
    /// Show this delivery with all its attempts
    #[arg(long, value_name = "DELIVERY", value_parser = id, conflicts_with = "redeliver")]
    pub show: Option<String>,
    /// Send this delivery again
    #[arg(long, value_name = "DELIVERY", value_parser = id)]
    pub redeliver: Option<String>,
}

/// An id, which becomes part of a path: nothing in it may lead that path elsewhere.
fn id(text: &str) -> Result<String, String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if !text.is_empty() && text.bytes().all(is_plain) {
        return Ok(text.to_owned());
    }
    Err("an id has letters, digits and _ only, such as bld_01J8ZQ5W3V9K2M4N6P7R8S9T0A".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_a_task_cannot_lead_to_another_path_either() {
        for command in ["cancel", "skip", "retry", "fork"] {
            let parse =
                |id: &str| Args::try_parse_from(["buildfleet", "tasks", command, id]).is_ok();

            assert!(parse("tsk_01J8ZQ5W3V9K2M4N6P7R8S9T0A"), "{command}");
            assert!(!parse("../builds/bld_1"), "{command}");
        }
    }

    #[test]
    fn an_id_cannot_lead_to_another_path_of_the_api() {
        for command in ["show", "cancel", "retry", "watch", "download", "approve", "reject"] {
            let parse = |id: &str| Args::try_parse_from(["buildfleet", command, id]).is_ok();

            assert!(parse("bld_01J8ZQ5W3V9K2M4N6P7R8S9T0A"), "{command}");
            for id in ["", "../../health", "bld_1?limit=1", "bld_1/plan", "bld_1#x", "%2e%2e"] {
                assert!(!parse(id), "{command} {id:?}");
            }
        }
    }
}
