//! One file for each sort of thing that can be typed.

mod builds;
mod bulk;
mod deliveries;
mod doctor;
mod fleet;
mod listen;
mod local;
mod project;
mod scheduling;
mod signing;
mod tasks;
mod webhooks;

use std::path::PathBuf;

use buildfleet::config::{Env, Reader};

use crate::{
    address::Address,
    answer,
    args::{Args, Command},
    client::Client,
    exit::{Error, Exit},
};

/// What every command may need.
pub struct Context {
    env: Env,
    url: Option<url::Url>,
    api_key: Option<String>,
    json: bool,
}

impl Context {
    /// The client of the fleet that is meant.
    fn client(&self) -> Result<Client, Error> {
        Client::new(self.address()?)
    }

    fn address(&self) -> Result<Address, Error> {
        Address::find(self.url.clone(), self.api_key.clone(), &self.data())
    }

    /// The folder of the embedded default.
    fn data(&self) -> PathBuf {
        Reader::new(&self.env).folder("BUILDFLEET_DATA")
    }

    /// Prints an answer: as it is with `--json`, else as words.
    fn print(&self, body: &serde_json::Value, words: impl FnOnce() -> String) {
        if self.json {
            answer::line(format_args!("{body:#}"));
        } else {
            answer::line(words());
        }
    }
}

/// Does what the arguments say.
pub async fn run(args: Args) -> Result<Exit, Error> {
    let context =
        Context { env: Env::of_process(), url: args.url, api_key: args.api_key, json: args.json };
    match args.command {
        Command::Dev(dev) => Box::pin(local::dev(&context, dev)).await,
        Command::Run(run) => Box::pin(local::run(&context, run)).await,
        Command::Submit(submit) => builds::submit(&context, submit).await,
        Command::Watch { build } => builds::watch(&context, &build).await,
        Command::List(list) => builds::list(&context, list).await,
        Command::Show { build } => builds::show(&context, &build).await,
        Command::Download { build, out } => project::download(&context, &build, out).await,
        Command::Cancel { build } => builds::cancel(&context, &build).await,
        Command::Retry { build, watch } => builds::retry(&context, &build, watch).await,
        Command::Approve { id } => builds::approve(&context, &id).await,
        Command::Reject { id, reason } => builds::reject(&context, &id, reason).await,
        Command::Tasks(wanted) => tasks::run(&context, wanted).await,
        Command::Endpoints { change } => webhooks::endpoints(&context, change).await,
        Command::Replay { change } => webhooks::replays(&context, change).await,
        Command::Deliveries(deliveries) => deliveries::run(&context, deliveries).await,
        Command::Listen(listen) => listen::run(&context, listen).await,
        Command::Sign(sign) => signing::sign(&context, sign),
        Command::Verify(verify) => signing::verify(&context, verify),
        Command::Workers => fleet::workers(&context).await,
        Command::Queues => fleet::queues(&context).await,
        Command::Limits { change } => scheduling::limits(&context, change).await,
        Command::Weights { change } => scheduling::weights(&context, change).await,
        Command::Pause(pausing) => scheduling::pause(&context, pausing).await,
        Command::Resume(pausing) => scheduling::resume(&context, pausing).await,
        Command::Paused => scheduling::paused(&context).await,
        Command::Audit(audit) => scheduling::audit(&context, audit).await,
        Command::Failed(failed) => scheduling::failed(&context, failed).await,
        Command::Bulk { action } => bulk::run(&context, action).await,
        Command::Doctor => doctor::run(&context).await,
    }
}
