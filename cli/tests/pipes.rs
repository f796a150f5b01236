//! The command among other commands of a shell.

use std::process::{Command, Stdio};

#[test]
fn a_reader_that_has_read_enough_ends_the_command_in_peace() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);

    // It needs no fleet: without one, it says so in its answer.
    let done = Command::new(env!("CARGO_BIN_EXE_buildfleet"))
        .args(["doctor", "--json", "--url", "http://127.0.0.1:1", "--api-key", "none"])
        .stdout(Stdio::from(writer))
        .stderr(Stdio::piped())
        .output()
        .unwrap();

    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{}: {said}", done.status);
    assert_eq!(said, "");
}
