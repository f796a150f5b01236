//! Signing and verifying by hand, with the fleet's own code.

use std::{fs, io::Read as _, path::Path};

use buildfleet::domain::signing::{self, Keyring, Mismatch, Secret, Standard, Verifier};
use serde_json::{Map, Value, json};

use super::Context;
use crate::{
    args::receiving::{Keys, Sign, Verify},
    exit::{Error, Exit},
};

/// Prints the headers of a body, in the form that `verify --headers` and `curl -H @-` read.
pub fn sign(context: &Context, args: Sign) -> Result<Exit, Error> {
    if !signing::is_signable(&args.id) {
        return Err(Error::Usage("--id: must have no dots, spaces or other signs".to_owned()));
    }
    let body = read(&args.body)?;
    let now_ms = match args.timestamp {
        Some(secs) => secs.saturating_mul(1000),
        None => jiff::Timestamp::now().as_millisecond(),
    };
    let secs = now_ms.div_euclid(1000);
    let signed = Keyring::read(&secrets(args.keys)).map_err(bad_key)?.sign(&args.id, secs, &body);
    let mut headers = vec![("content-type", "application/json".to_owned())];
    headers.extend(signed.plain.map(|plain| (signing::PLAIN_SIGNATURE, plain)));
    headers.extend([
        (signing::PLAIN_TIMESTAMP, now_ms.to_string()),
        (signing::ID, args.id),
        (signing::TIMESTAMP, secs.to_string()),
        (signing::SIGNATURE, signed.standard),
    ]);
    let document: Map<_, _> = headers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), Value::String(value.clone())))
        .collect();
    context.print(&Value::Object(document), || {
        let lines: Vec<_> =
            headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        lines.join("\n")
    });
    Ok(Exit::Done)
}

/// Says whether a webhook is to be believed, and if not, why.
pub fn verify(context: &Context, args: Verify) -> Result<Exit, Error> {
    let verifier = verifier(args.keys)?;
    let mut lines = args.headers;
    if let Some(file) = &args.headers_file {
        let text = fs::read_to_string(file)
            .map_err(|error| Error::here(format!("reading {}", file.display()), error))?;
        lines.extend(text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned));
    }
    let mut headers = Vec::new();
    for line in &lines {
        let (name, value) = line.split_once(':').ok_or_else(|| {
            Error::Usage(format!("a header is written NAME: VALUE, not {line:?}"))
        })?;
        headers.push((name.trim().to_ascii_lowercase(), value.trim()));
    }
    let body = read(&args.body)?;
    let came = |name: &str| headers.iter().find(|(n, _)| n == name).map(|(_, value)| *value);
    let now = (!args.any_time).then(|| jiff::Timestamp::now().as_second());
    let verdict = judge(&verifier, came, &body, now);
    let fault = verdict.as_ref().err().map(ToString::to_string);
    context.print(&json!({ "verified": fault.is_none(), "fault": fault }), || match &fault {
        None => "verified".to_owned(),
        Some(fault) => format!("not verified: {fault}"),
    });
    Ok(if fault.is_none() { Exit::Done } else { Exit::NotDone })
}

/// Judges both schemes. The required header must be there and fit wherever a key is shared.
pub fn judge<'a>(
    verifier: &Verifier,
    came: impl Fn(&str) -> Option<&'a str>,
    body: &[u8],
    now_secs: Option<i64>,
) -> Result<(), Mismatch> {
    if verifier.has_shared() {
        let plain =
            came(signing::PLAIN_SIGNATURE).ok_or(Mismatch::Missing("x-webhook-signature"))?;
        verifier.plain(plain, body)?;
    }
    let standard = Standard {
        id: came(signing::ID),
        timestamp: came(signing::TIMESTAMP),
        signature: came(signing::SIGNATURE),
    };
    verifier.standard(standard, body, now_secs)
}

pub fn verifier(keys: Keys) -> Result<Verifier, Error> {
    Verifier::read(&secrets(keys)).map_err(bad_key)
}

fn secrets(keys: Keys) -> Vec<Secret> {
    keys.secrets.into_iter().map(Secret::new).collect()
}

fn bad_key(bad: signing::BadKey) -> Error {
    Error::Usage(format!("--secret: {bad}"))
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    if path != Path::new("-") {
        return fs::read(path)
            .map_err(|error| Error::here(format!("reading {}", path.display()), error));
    }
    let mut body = Vec::new();
    std::io::stdin()
        .read_to_end(&mut body)
        .map_err(|error| Error::here("reading the standard input", error))?;
    Ok(body)
}
