//! Plans of every shape, by chance: chains, fans, diamonds, layers, and graphs without any order.

use buildfleet::domain::{
    brief::Complexity,
    dependency::{DraftNeed, OnLoss},
    plan::{Draft, DraftTask},
    task::{Operation, Phase},
};
use serde_json::Value;

use super::{chance::Chance, witness::COST_MAX};

/// What plans a brief asks for, by a word in its prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Any,
    /// Much that could be done at once.
    Wide,
    Small,
}

impl Shape {
    pub const fn as_str(self) -> &'static str {
        match self {
            Shape::Any => "any",
            Shape::Wide => "wide",
            Shape::Small => "small",
        }
    }

    fn of(prompt: &str) -> Self {
        let all = [Shape::Any, Shape::Wide, Shape::Small];
        all.into_iter().find(|shape| prompt.ends_with(shape.as_str())).unwrap_or(Shape::Any)
    }
}

/// Draws a draft. Few of them are none: those have tasks that wait for each other in a circle.
pub fn draft(prompt: &str, chance: &mut Chance) -> Draft {
    let shape = Shape::of(prompt);
    let count = match (shape, chance.below(10)) {
        (Shape::Wide, _) => chance.between(30, 60),
        (Shape::Small, _) => chance.between(1, 3),
        (Shape::Any, 0..4) => chance.between(1, 6),
        (Shape::Any, 4..9) => chance.between(5, 20),
        (Shape::Any, _) => chance.between(20, 60),
    };
    let count = usize::try_from(count).unwrap_or(1);
    let form = match shape {
        Shape::Wide => chance.between(1, 2),
        _ => chance.below(6),
    };
    let mut waits_for = edges(chance, form, count);
    if 1 < count && chance.per_mille(15) {
        waits_for[0].push(count - 1);
        waits_for[count - 1].push(0);
    }
    let tasks = waits_for.into_iter().enumerate().map(|(place, on)| task(chance, place, &on));
    Draft {
        spec: Value::Null,
        project_type: "sim".to_owned(),
        framework: "none".to_owned(),
        complexity: Complexity::Simple,
        notes: Vec::new(),
        tasks: tasks.collect(),
    }
}

fn task(chance: &mut Chance, place: usize, waits_for: &[usize]) -> DraftTask {
    let cost = if chance.once_in(8) { chance.between(2, COST_MAX.into()) } else { 1 };
    let number = |from: u64| u32::try_from(from).unwrap_or(1);
    DraftTask {
        key: format!("t{place}"),
        name: format!("t{place}"),
        description: String::new(),
        phase: *chance.pick(Phase::ALL),
        operation: *chance.pick(Operation::ALL),
        role: "code-001".to_owned(),
        priority: u8::try_from(chance.between(1, 5)).unwrap_or(3),
        estimated_secs: number(chance.between(0, 5)),
        cost: number(cost),
        depends_on: waits_for.iter().map(|on| need(chance, format!("t{on}"))).collect(),
        writes: writes(chance, &format!("t{place}")),
        input: Value::Null,
    }
}

fn need(chance: &mut Chance, key: String) -> DraftNeed {
    let on_loss = chance.once_in(3).then(|| *chance.pick(OnLoss::ALL));
    DraftNeed { key, on_loss }
}

/// A path of its own, and now and then one that others write too.
fn writes(chance: &mut Chance, key: &str) -> Vec<String> {
    let mut writes = vec![format!("{key}.txt")];
    if chance.once_in(12) {
        writes.push("shared.txt".to_owned());
    }
    writes
}

/// A few tasks that a running build is given; they wait for some that it has.
pub fn additions(chance: &mut Chance, prefix: &str, has: &[String]) -> Vec<DraftTask> {
    (0..chance.between(1, 3))
        .map(|number| {
            let key = format!("{prefix}{number}");
            let mut added = task(chance, 0, &[]);
            added.writes = writes(chance, &key);
            if !has.is_empty() && chance.once_in(2) {
                let on = chance.pick(has).clone();
                added.depends_on = vec![need(chance, on)];
            }
            DraftTask { name: key.clone(), key, ..added }
        })
        .collect()
}

/// For each task, those before it that it waits for.
fn edges(chance: &mut Chance, form: u64, count: usize) -> Vec<Vec<usize>> {
    let width = usize::try_from(chance.between(2, 6)).unwrap_or(2);
    let share = chance.between(50, 400);
    (0..count)
        .map(|place| match form {
            // A chain.
            0 => place.checked_sub(1).into_iter().collect(),
            // A fan, and what gathers it.
            1 if place == 0 => Vec::new(),
            1 if place + 1 == count => (0..place).collect(),
            1 => vec![0],
            // Nothing waits.
            2 => Vec::new(),
            // Layers, each waiting for all of the one before: diamonds in a row.
            3 => {
                let layer = place / width;
                (layer.saturating_sub(1) * width..layer * width).collect()
            }
            // A tree.
            4 if place == 0 => Vec::new(),
            4 => vec![(place - 1) / width],
            // Whatever comes.
            _ => (0..place).filter(|_| chance.per_mille(share)).collect(),
        })
        .collect()
}
