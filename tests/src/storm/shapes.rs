//! Plans of mixed shapes, of tasks that take about no time.

use buildfleet::domain::{
    dependency::DraftNeed,
    plan::{Draft, DraftTask, Plan},
    task::{Operation, Phase},
};
use rand::{Rng, RngExt};
use serde_json::{Value, json};

/// A plan of at most `most` tasks, of a shape that the dice choose.
pub fn draw(dice: &mut impl Rng, most: usize) -> Plan {
    let tasks = match dice.random_range(0..4) {
        // All in a line would only show how long one hop takes.
        0 => chain(dice.random_range(20..120).min(most)),
        1 => diamonds(dice.random_range(200..1_200).min(most), dice.random_range(3..40)),
        2 => fan(dice.random_range(200..1_200).min(most)),
        _ => random(dice.random_range(200..1_200).min(most), dice),
    };
    plan_of(&tasks, |_| json!({ "ms": 2 }))
}

/// A plan of one task with this input.
pub fn single(input: Value) -> Plan {
    plan_of(&[Vec::new()], |_| input.clone())
}

/// A plan of so many tasks, each of which waits for the one before it.
pub fn in_line(count: usize) -> Plan {
    plan_of(&chain(count), |_| json!({ "ms": 2 }))
}

/// A plan of so many tasks, all but the first and the last side by side.
pub fn side_by_side(count: usize) -> Plan {
    plan_of(&fan(count), |_| json!({ "ms": 2 }))
}

/// Tasks by what each waits for.
type Graph = Vec<Vec<usize>>;

fn chain(count: usize) -> Graph {
    (0..count).map(|place| place.checked_sub(1).into_iter().collect()).collect()
}

/// One, then many side by side, then one that waits for them all, and so on.
fn diamonds(count: usize, width: usize) -> Graph {
    let layer = width + 1;
    (0..count)
        .map(|place| match (place / layer, place % layer) {
            (0, 0) => Vec::new(),
            (diamond, 0) => ((diamond - 1) * layer + 1..diamond * layer).collect(),
            (diamond, _) => vec![diamond * layer],
        })
        .collect()
}

/// One, then all others, then one that waits for them.
fn fan(count: usize) -> Graph {
    let last = count - 1;
    (0..count)
        .map(|place| match place {
            0 => Vec::new(),
            _ if place == last && 1 < last => (1..last).collect(),
            _ => vec![0],
        })
        .collect()
}

/// Each waits for up to four of the hundred before it.
fn random(count: usize, dice: &mut impl Rng) -> Graph {
    (0..count)
        .map(|place| {
            let needs = if place == 0 { 0 } else { dice.random_range(0..=4) };
            let from = place.saturating_sub(100);
            let mut on: Vec<_> = (0..needs).map(|_| dice.random_range(from..place)).collect();
            on.sort_unstable();
            on.dedup();
            on
        })
        .collect()
}

fn plan_of(graph: &[Vec<usize>], input: impl Fn(usize) -> Value) -> Plan {
    let task = |(place, on): (usize, &Vec<usize>)| DraftTask {
        key: format!("t{place}"),
        name: format!("task {place}"),
        description: "Takes its time.".to_owned(),
        phase: Phase::CodeGeneration,
        operation: Operation::CreateFile,
        role: "code-001".to_owned(),
        priority: 3,
        estimated_secs: 60,
        cost: 1,
        depends_on: on.iter().map(|on| DraftNeed::from(format!("t{on}"))).collect(),
        writes: Vec::new(),
        input: input(place),
    };
    let draft = Draft { tasks: graph.iter().enumerate().map(task).collect(), ..Draft::of("") };
    draft.into_plan().expect("what is drafted here is a plan")
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn a_diamond_opens_and_closes() {
        assert_eq!(diamonds(5, 3), [vec![], vec![0], vec![0], vec![0], vec![1, 2, 3]]);
    }

    #[test]
    fn a_fan_opens_and_closes() {
        assert_eq!(fan(4), [vec![], vec![0], vec![0], vec![1, 2]]);
    }

    #[test]
    fn one_seed_draws_the_same_plans() {
        let drawn = |seed| draw(&mut StdRng::seed_from_u64(seed), 300);

        assert_eq!(drawn(1), drawn(1));
        assert!((0..20).all(|seed| drawn(seed).tasks.len() <= 300));
    }
}
