//! Answers go to standard output, line by line.

use std::{
    fmt::Display,
    io::{ErrorKind, Write as _},
};

use crate::exit::Exit;

/// Writes a line. Whoever reads may have read enough, as `head` has: then the process ends,
/// content.
pub fn line(text: impl Display) {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {
            std::process::exit(Exit::Done as i32)
        }
        Err(error) => {
            eprintln!("buildfleet: writing the answer: {error}");
            std::process::exit(Exit::NotDone as i32)
        }
        Ok(()) => {}
    }
}
