//! The engine in a glass, on many seeds; see `tests/src/sim`.

use std::{
    panic,
    sync::Once,
    thread,
    time::{Duration, Instant},
};

use tests::sim::{
    run::{Options, run},
    store::feed::Plant,
    work::SCRIPTED,
};

/// How long the seeds are run. The program `simulate` runs as many as one likes.
const AT_MOST: Duration = Duration::from_secs(15);
const SEEDS: u64 = 300;

/// Panics that the scripts ask for say nothing, or nobody would find the others.
fn quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let loud = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let words = info.payload().downcast_ref::<String>().map(String::as_str);
            let words = words.or_else(|| info.payload().downcast_ref::<&str>().copied());
            if words != Some(SCRIPTED) {
                loud(info);
            }
        }));
    });
}

#[test]
fn no_invariant_is_broken_on_many_seeds() {
    quiet();
    let until = Instant::now() + AT_MOST;
    let broken = thread::scope(|scope| {
        let threads: Vec<_> = (0..2)
            .map(|first| {
                scope.spawn(move || {
                    (first..SEEDS)
                        .step_by(2)
                        .take_while(|_| Instant::now() < until)
                        .map(|seed| run(seed, Options::default()))
                        .find(|report| report.broken.is_some())
                })
            })
            .collect();
        threads.into_iter().find_map(|thread| thread.join().unwrap())
    });
    if let Some(report) = broken {
        panic!(
            "{}\nseed {}: {}\nto see it again: cargo run -p tests --bin simulate -- --seed {}",
            report.trace.join("\n"),
            report.seed,
            report.broken.unwrap_or_default(),
            report.seed
        );
    }
}

#[test]
fn a_run_is_a_function_of_its_seed() {
    quiet();
    for seed in [3, 4, 5] {
        let [first, second] = [(); 2].map(|()| run(seed, Options::default()));

        assert_eq!(first.seen, second.seen, "seed {seed}");
        assert_eq!(first.faults, second.faults, "seed {seed}");
        assert_eq!(first.lasted, second.lasted, "seed {seed}");
    }
    assert_ne!(run(3, Options::default()).seen, run(4, Options::default()).seen);
}

#[test]
fn bugs_that_are_planted_are_found() {
    quiet();
    for plant in [Plant::Fence, Plant::Release, Plant::Slot, Plant::Turn, Plant::Half] {
        let options = Options { plant: Some(plant), ..Options::default() };
        let found = (0..20).any(|seed| run(seed, options).broken.is_some());
        assert!(found, "{plant:?} was not found within 20 seeds");
    }
}
