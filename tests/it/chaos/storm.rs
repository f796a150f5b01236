//! A short storm, as `storm chaos` makes long ones: the record is judged by the database alone.

use rand::RngExt;
use tests::{
    seed,
    storm::chaos::{self, HASTY, Wanted},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_tasks_go_through_a_storm_and_none_is_lost_or_doubled() {
    let wanted = Wanted {
        tasks: 2_000,
        seed: seed::dice().random(),
        secs: 15,
        lease: 2,
        workers: 4,
        settings: HASTY,
    };

    let report = chaos::run(wanted).await.unwrap();

    println!("{report}");
    assert!(report.broken().is_empty(), "{report}");
    assert!(10 <= report.faults.len(), "it was no storm: {report}");
}
