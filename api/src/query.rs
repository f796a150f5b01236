//! Reading addresses: ids and paths in them, parameters behind them.
//!
//! Parameters are taken by name; what is left over is a fault, so that a misspelt filter does not
//! quietly filter nothing. All faults are told at once.

use std::{fmt::Display, str::FromStr};

use axum::{
    extract::{FromRequestParts, RawPathParams},
    http::request::Parts,
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use buildfleet::{
    domain::{brief::Fault, id::Malformed, lane::Lane},
    store::{At, Span},
};
use jiff::Timestamp;
use url::form_urlencoded;

use crate::{
    Error,
    wire::fields::{UNKNOWN_MAX, nearest},
};

pub const LIMIT_DEFAULT: u32 = 10;
pub const LIMIT_MAX: u32 = 100;

/// The `{id}` of an address.
pub struct Id<T>(pub T);

impl<T: FromStr<Err = Malformed>, S: Send + Sync> FromRequestParts<S> for Id<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let id = path_param(parts, state, "id").await?;
        // What is no id names nothing that could be there.
        id.parse().map(Id).map_err(|wanted: Malformed| {
            Error::not_found(format!("{id:?} does not exist: {wanted}"))
        })
    }
}

/// The `{path}` of a file, decoded.
pub struct FilePath(pub String);

impl<S: Send + Sync> FromRequestParts<S> for FilePath {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        path_param(parts, state, "path").await.map(FilePath)
    }
}

/// The `{name}` of an address: of a limit or a tenant, decoded.
pub struct Name(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        path_param(parts, state, "name").await.map(Name)
    }
}

/// The `{queue}` of an address.
pub struct Queue(pub Lane);

impl<S: Send + Sync> FromRequestParts<S> for Queue {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let name = path_param(parts, state, "queue").await?;
        let words = one_of(Lane::ALL.iter().map(|lane| lane.as_str()));
        name.parse()
            .map(Queue)
            .map_err(|_| Error::not_found(format!("there is no queue {name:?}; it is {words}")))
    }
}

async fn path_param<S: Send + Sync>(
    parts: &mut Parts,
    state: &S,
    name: &str,
) -> Result<String, Error> {
    let address = parts.uri.path().to_owned();
    let nothing = || Error::not_found(format!("there is nothing at {address}"));
    let params = RawPathParams::from_request_parts(parts, state).await.map_err(|_| nothing())?;
    let value = params.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_owned());
    value.ok_or_else(nothing)
}

/// The parameters of a request, as far as they were not taken yet.
pub struct Query {
    pairs: Vec<(String, String)>,
    known: Vec<&'static str>,
    faults: Vec<Fault>,
}

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self::of(parts.uri.query().unwrap_or("")))
    }
}

impl Query {
    pub fn of(query: &str) -> Self {
        let pairs = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        Self { pairs, known: Vec::new(), faults: Vec::new() }
    }

    pub fn text(&mut self, name: &'static str) -> Option<String> {
        self.known.push(name);
        let (taken, left): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.pairs).into_iter().partition(|(key, _)| key == name);
        self.pairs = left;
        if 1 < taken.len() {
            self.faults.push(Fault::new(name, "must be given once"));
        }
        let (_, value) = taken.into_iter().next()?;
        if value.contains('\0') {
            self.faults.push(Fault::new(name, "must not contain the character U+0000"));
            return None;
        }
        Some(value)
    }

    /// A value that is one of some words, or an id.
    pub fn parsed<T: FromStr>(&mut self, name: &'static str, wanted: impl Display) -> Option<T> {
        let text = self.text(name)?;
        let value = text.parse().ok();
        if value.is_none() {
            self.faults.push(Fault::new(name, format!("must be {wanted}, not {text:?}")));
        }
        value
    }

    pub fn number(&mut self, name: &'static str, min: u64, max: u64, default: u64) -> u64 {
        let wanted = format!("a whole number between {min} and {max}");
        let Some(text) = self.text(name) else { return default };
        match text.parse() {
            Ok(number) if (min..=max).contains(&number) => number,
            _ => {
                self.faults.push(Fault::new(name, format!("must be {wanted}, not {text:?}")));
                default
            }
        }
    }

    /// From `since` on, and before `until`.
    pub fn span(&mut self) -> Span {
        let mut instant = |name| self.parsed::<Instant>(name, INSTANT).map(|Instant(at)| at);
        Span { since: instant("since"), until: instant("until") }
    }

    pub fn limit(&mut self) -> u32 {
        let limit = self.number("limit", 1, LIMIT_MAX.into(), LIMIT_DEFAULT.into());
        u32::try_from(limit).unwrap_or(LIMIT_MAX)
    }

    /// Where the page before ended.
    pub fn cursor<T: FromStr>(&mut self) -> Option<T> {
        let text = self.text("cursor")?;
        let id = cursor_of(&text);
        if id.is_none() {
            self.faults.push(Fault::new("cursor", "must be a next_cursor of this listing"));
        }
        id
    }

    /// Refuses if anything was wrong, or is left.
    pub fn finish(mut self) -> Result<(), Error> {
        for (name, _) in self.pairs.iter().take(UNKNOWN_MAX) {
            let message = match nearest(name, &self.known) {
                Some(near) => format!("is not a parameter here; did you mean {near}?"),
                None if self.known.is_empty() => {
                    "is not a parameter: there are none here".to_owned()
                }
                None => format!("is not a parameter here; there are {}", self.known.join(", ")),
            };
            self.faults.push(Fault::new(name, message));
        }
        if self.faults.is_empty() { Ok(()) } else { Err(Error::bad_query(&self.faults)) }
    }
}

/// What is wanted where an instant is.
pub const INSTANT: &str = "an instant such as 2026-11-21T12:00:00Z";

/// An instant as a client writes it. What lies before 1970 is before all that was kept.
pub struct Instant(pub At);

impl FromStr for Instant {
    type Err = jiff::Error;

    fn from_str(text: &str) -> Result<Self, jiff::Error> {
        let at: Timestamp = text.parse()?;
        Ok(Self(At(at.as_millisecond().max(0))))
    }
}

/// What the next page begins after, in a form that promises nothing.
pub fn cursor(id: impl Display) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(id.to_string())
}

/// Reads what `cursor` wrote.
pub fn cursor_of<T: FromStr>(cursor: &str) -> Option<T> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(cursor).ok()?;
    String::from_utf8(bytes).ok()?.parse().ok()
}

/// The words of an enum, for a message.
pub fn one_of<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    format!("one of {}", words.into_iter().collect::<Vec<_>>().join(", "))
}
