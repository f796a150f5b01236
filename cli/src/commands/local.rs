//! A fleet of one's own: running it, and building one brief with it.

use std::{path::Path, time::Duration};

use buildfleet::{
    domain::id::BuildId,
    draw,
    shutdown::{self, Stop},
};
use secrecy::ExposeSecret as _;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{Context, builds, project};
use crate::{
    address::{Address, Note},
    answer, args,
    client::Client,
    dev::{self, Config, Dev},
    exit::{Error, Exit},
};

pub async fn dev(context: &Context, args: args::Dev) -> Result<Exit, Error> {
    let config = Config::read(&context.env, args.data, args.listen, context.api_key.clone())
        .map_err(|faults| Error::Usage(faults.to_string()))?;
    let stop =
        shutdown::on_signal().map_err(|error| Error::here("listening for signals", error))?;
    let data = config.data.clone();
    let dev = Dev::open(config, stop.gently).await?;
    let (url, key) = (&dev.url, dev.api_key.expose_secret());
    eprintln!("buildfleet {} runs a fleet in this process", env!("CARGO_PKG_VERSION"));
    eprintln!("  API      {url}  (documentation at {url}docs)");
    eprintln!("  API key  {key}");
    eprintln!("  data     {}", data.display());
    if 0 < dev.lapsed {
        eprintln!(
            "  taking up {} that the last run left unfinished",
            crate::progress::count(dev.lapsed as usize, "piece of work")
        );
    }
    eprintln!("\nIn another terminal:");
    eprintln!(
        "  buildfleet submit --watch \"a REST API for a book library with authors and loans\""
    );
    eprintln!("  curl -H 'Authorization: Bearer {key}' {url}v1/builds");
    eprintln!("\nCtrl-C stops it; nothing is lost.");
    dev.run(stop.at_once).await?;
    Ok(Exit::Done)
}

/// How often to look whether the fleet that is used still runs.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// For a fleet that has just begun to say where it is, and for one that answers no more to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// Builds one brief from start to finish. If a fleet runs on the folder, it does the work; else one
/// is started for as long as it takes. Should a fleet that was used end first, its work is taken
/// over.
pub async fn run(context: &Context, args: args::Run) -> Result<Exit, Error> {
    let body = builds::body(&args.brief)?;
    // Posted to the next fleet again, it is still the same build.
    let key = draw::id::<BuildId>().to_string();
    loop {
        if !dev::is_running(&args.data) {
            match Box::pin(alone(context, &args, &body, &key)).await {
                // Somebody else was quicker to take the folder.
                Err(Error::NotDone(_)) if dev::is_running(&args.data) => {}
                done => return done,
            }
        }
        let Some(note) = note_of_running(&args.data).await? else { continue };
        eprintln!("using the fleet at {}", note.url);
        let client = Client::new(Address { url: note.url, api_key: Some(note.api_key) })?;
        let silent = tokio::select! {
            built = build(context, &client, &body, &key, &args) => match built {
                Err(error @ Error::Unreachable { .. }) => Some(error),
                built => return built,
            },
            () = ended(&args.data) => None,
        };
        if let Some(silent) = silent
            && tokio::time::timeout(PATIENCE, ended(&args.data)).await.is_err()
        {
            return Err(silent);
        }
        eprintln!("that fleet has ended; going on without it");
    }
}

/// The note of the fleet that runs on a folder; `None` if it ended before it left one.
async fn note_of_running(data: &Path) -> Result<Option<Note>, Error> {
    let noted = async {
        while dev::is_running(data) {
            if let Some(note) = Note::read(data) {
                return Some(note);
            }
            tokio::time::sleep(LOOK_EVERY / 10).await;
        }
        None
    };
    tokio::time::timeout(PATIENCE, noted).await.map_err(|_| {
        Error::NotDone(format!("a fleet runs on {} but cannot be reached", data.display()))
    })
}

/// Returns once no fleet runs on a folder.
async fn ended(data: &Path) {
    while dev::is_running(data) {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Builds a brief with a fleet that runs as long as that takes.
async fn alone(
    context: &Context,
    args: &args::Run,
    body: &Value,
    key: &str,
) -> Result<Exit, Error> {
    let listen = ([127, 0, 0, 1], 0).into();
    let config = Config::read(&context.env, args.data.clone(), listen, context.api_key.clone())
        .map_err(|faults| Error::Usage(faults.to_string()))?
        .quiet();
    let stop = CancellationToken::new();
    let dev = Dev::open(config, stop.clone()).await?;
    let Stop { gently: interrupted, at_once } =
        shutdown::on_signal().map_err(|error| Error::here("listening for signals", error))?;
    let address =
        Address { url: dev.url.clone(), api_key: Some(dev.api_key.expose_secret().to_owned()) };
    let client = Client::new(address)?;
    let built = async {
        let built = tokio::select! {
            built = build(context, &client, body, key, args) => built,
            () = interrupted.cancelled() => Err(Error::NotDone(
                "interrupted; the build goes on when a fleet runs on this folder again".to_owned(),
            )),
        };
        stop.cancel();
        built
    };
    let (ran, built) = tokio::join!(dev.run(at_once), built);
    let exit = built?;
    ran?;
    Ok(exit)
}

async fn build(
    context: &Context,
    client: &Client,
    body: &Value,
    key: &str,
    args: &args::Run,
) -> Result<Exit, Error> {
    let answer = client.post("/v1/builds", body, &[("idempotency-key", key)]).await?;
    let id = builds::id_of(&answer)?;
    eprintln!("{id}");
    let exit = builds::follow(client, &id).await?;
    let build = client.get(&format!("/v1/builds/{id}")).await?;
    if exit != Exit::Done {
        return Err(Error::NotDone(format!(
            "{id} did not complete: {}",
            build["error"]["message"].as_str().unwrap_or("it was cancelled")
        )));
    }
    let out = args.projects.join(&id);
    project::write(client, &id, &out).await?;
    let out = std::path::absolute(&out).unwrap_or(out);
    if context.json {
        answer::line(format_args!("{build:#}"));
    }
    eprintln!("the project's README.md says how to install, test and run it:");
    answer::line(out.display());
    Ok(Exit::Done)
}
