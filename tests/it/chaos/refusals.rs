//! Programs that cannot do their work say all that is wrong, and do not start.

use std::{net::TcpListener, process::Output};

use tests::programs;

use super::embedded::Place;

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn programs_of_a_fleet_name_every_missing_setting_at_once() {
    for (program, missing) in [
        ("buildfleet-api", &["DATABASE_URL", "REDIS_URL", "BUILDFLEET_API_KEY"][..]),
        ("plan-worker", &["DATABASE_URL", "REDIS_URL"]),
        ("task-worker", &["DATABASE_URL", "REDIS_URL"]),
        ("webhook-dispatcher", &["DATABASE_URL", "REDIS_URL"]),
    ] {
        let output = programs::command(program, &[]).output().unwrap();

        assert_eq!(output.status.code(), Some(2), "{program}: {}", said(&output));
        for name in missing {
            assert!(
                said(&output).contains(&format!("\n  {name}: ")),
                "{program}: {}",
                said(&output)
            );
        }
    }
}

#[tokio::test]
async fn a_second_fleet_on_one_folder_is_refused_and_does_not_disturb_the_first() {
    let place = Place::new();
    let first = place.start();
    let (url, key) = place.note(&first).await;

    let second = place.command().output().unwrap();

    assert_eq!(second.status.code(), Some(1), "{}", said(&second));
    let why = format!("another buildfleet uses the folder {}", place.data().display());
    assert!(said(&second).contains(&why), "{}", said(&second));
    assert_eq!(place.note(&first).await, (url, key));
}

#[test]
fn a_port_that_is_taken_is_named_with_what_to_do_about_it() {
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();

    let mut command = programs::command("buildfleet", &[]);
    let output =
        command.args(["dev", "--listen", &address, "--data"]).arg(place.data()).output().unwrap();

    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    for part in [&*format!("listening on {address}"), "in use", "--listen"] {
        assert!(said(&output).contains(part), "{}", said(&output));
    }
}
