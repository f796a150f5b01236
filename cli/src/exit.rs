//! How a command went, for the shell and for people.

use std::process::ExitCode;

/// The exit codes, as `buildfleet --help` lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// What was asked for was done.
    Done = 0,
    /// The build did not complete, or what was asked for cannot be done.
    NotDone = 1,
    /// The arguments or settings are not as they must be.
    Usage = 2,
    /// The API did not answer.
    Unreachable = 3,
    /// The API key is missing or wrong.
    Unauthorized = 4,
    /// What was named does not exist.
    NotFound = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// Why a command did not do what it was asked for. Its text is printed once.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API answered with an error.
    #[error("{message}")]
    Refused { status: u16, code: String, message: String },

    #[error(
        "the API at {url} did not answer: {reason}\n  is a fleet running there? `buildfleet dev` \
         starts one; BUILDFLEET_URL or --url says where it is"
    )]
    Unreachable { url: String, reason: String },

    #[error("{0}")]
    Usage(String),

    #[error("{0}")]
    NotDone(String),
}

impl Error {
    /// What the shell is told.
    pub const fn exit(&self) -> Exit {
        match self {
            Error::Refused { status: 401 | 403, .. } => Exit::Unauthorized,
            Error::Refused { status: 404, .. } => Exit::NotFound,
            Error::Refused { status: 400 | 422, .. } | Error::Usage(_) => Exit::Usage,
            Error::Refused { .. } | Error::NotDone(_) => Exit::NotDone,
            Error::Unreachable { .. } => Exit::Unreachable,
        }
    }

    /// Something on this machine that did not go as it should: `writing x: no space left`.
    pub fn here(doing: impl std::fmt::Display, error: impl std::fmt::Display) -> Self {
        Error::NotDone(format!("{doing}: {error}"))
    }
}
