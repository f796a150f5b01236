//! A fleet of one's own: running it, and building one brief with it.

use buildfleet::shutdown;
use secrecy::ExposeSecret as _;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{Context, builds, project};
use crate::{
    address::{Address, Note},
    args,
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
    let dev = Dev::open(config, stop.clone()).await?;
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
    dev.run().await?;
    Ok(Exit::Done)
}

/// Builds one brief from start to finish. If a fleet runs on the folder, it does the work; else one is
/// started for as long as it takes.
pub async fn run(context: &Context, args: args::Run) -> Result<Exit, Error> {
    let body = builds::body(&args.brief)?;
    if dev::is_running(&args.data) {
        let note = Note::read(&args.data).ok_or_else(|| {
            Error::NotDone(format!(
                "a fleet runs on {} but cannot be reached yet; try again",
                args.data.display()
            ))
        })?;
        eprintln!("using the fleet at {}", note.url);
        let client = Client::new(Address { url: note.url, api_key: Some(note.api_key) })?;
        return build(context, &client, &body, &args).await;
    }
    let listen = ([127, 0, 0, 1], 0).into();
    let config = Config::read(&context.env, args.data.clone(), listen, context.api_key.clone())
        .map_err(|faults| Error::Usage(faults.to_string()))?
        .quiet();
    let stop = CancellationToken::new();
    let interrupted =
        shutdown::on_signal().map_err(|error| Error::here("listening for signals", error))?;
    let dev = Dev::open(config, stop.clone()).await?;
    let address =
        Address { url: dev.url.clone(), api_key: Some(dev.api_key.expose_secret().to_owned()) };
    let client = Client::new(address)?;
    let built = async {
        let built = tokio::select! {
            built = build(context, &client, &body, &args) => built,
            () = interrupted.cancelled() => Err(Error::NotDone(
                "interrupted; the build goes on when a fleet runs on this folder again".to_owned(),
            )),
        };
        stop.cancel();
        built
    };
    let (ran, built) = tokio::join!(dev.run(), built);
    let exit = built?;
    ran?;
    Ok(exit)
}

async fn build(
    context: &Context,
    client: &Client,
    body: &Value,
    args: &args::Run,
) -> Result<Exit, Error> {
    let answer = client.post("/v1/builds", body, &[]).await?;
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
        println!("{build:#}");
    }
    eprintln!("the project's README.md says how to install, test and run it:");
    println!("{}", out.display());
    Ok(Exit::Done)
}
