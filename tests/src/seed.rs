//! Chance that can be had again: a test draws its dice here, and a failure says how to roll the
//! same.

use rand::{SeedableRng, rngs::StdRng};

/// Dice from a seed of their own, or from `TEST_SEED` if it is set. The test's output names the
/// seed, which is shown if the test fails.
pub fn dice() -> StdRng {
    #[expect(clippy::disallowed_methods, reason = "no setting of ours: how a test is run again")]
    let wanted = std::env::var("TEST_SEED").ok();
    let seed =
        wanted.map_or_else(rand::random, |seed| seed.parse().expect("TEST_SEED is a number"));
    println!("TEST_SEED={seed} rolls the same dice again");
    StdRng::seed_from_u64(seed)
}
