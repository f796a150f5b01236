//! Drafts that become plans, and drafts that are refused.

use super::*;
use crate::domain::dependency::OnLoss;

/// The positions that each task waits for.
fn waits(plan: &Plan) -> Vec<Vec<usize>> {
    let ons = |planned: &PlannedTask| planned.waits_for.iter().map(|need| need.on).collect();
    plan.tasks.iter().map(ons).collect()
}

#[test]
fn a_plan_knows_its_edges_and_its_longest_chain() {
    let plan =
        Draft::of("fetch -> build -> ship, fetch -> lint, lint -> ship").into_plan().unwrap();

    assert_eq!(waits(&plan), [vec![], vec![0], vec![1, 3], vec![0]]);
    assert_eq!(plan.estimated_secs, 3);
}

#[test]
fn an_unknown_dependency_is_a_refusal_that_names_it() {
    let mut draft = Draft::of("a");
    draft.tasks[0].depends_on.push("ghost".into());

    let refusal = draft.into_plan().unwrap_err();

    assert_eq!(refusal, Refusal::UnknownDependency { task: "a".into(), on: "ghost".into() });
}

#[test]
fn a_task_costs_a_slot_unless_it_says_otherwise_and_never_too_many() {
    let mut json = serde_json::to_value(Draft::of("a")).unwrap();
    json["tasks"][0].as_object_mut().unwrap().remove("cost");
    let mut draft: Draft = serde_json::from_value(json).unwrap();
    assert_eq!(draft.tasks[0].cost, 1);

    for cost in [0, COST_MAX + 1] {
        draft.tasks[0].cost = cost;
        let refusal = draft.clone().into_plan().unwrap_err();
        assert!(matches!(refusal, Refusal::Field { field: "cost", .. }), "{refusal}");
    }
}

#[test]
fn tasks_in_a_circle_are_refused_or_laid_in_a_line() {
    let draft = Draft::of("a -> b -> c -> a, d");

    let refusal = draft.clone().into_plan().unwrap_err();
    let plan = draft.into_straightened_plan().unwrap();

    assert_eq!(refusal, Refusal::Cycle { cycles: vec![vec!["a".into(), "b".into(), "c".into()]] });
    assert_eq!(plan.straightened, [["a", "b", "c"]]);
    assert_eq!(waits(&plan), [vec![], vec![0], vec![1], vec![2]]);
}

#[test]
fn two_tasks_may_write_one_path_only_one_after_the_other() {
    let mut draft = Draft::of("a -> b -> c, d");
    for index in [0, 2] {
        draft.tasks[index].writes = vec!["main.py".to_owned()];
    }
    let plan = draft.clone().into_plan().unwrap();
    assert_eq!((waits(&plan)[2].as_slice(), plan.ordered.len()), ([1].as_slice(), 0));

    draft.tasks[3].writes = vec!["main.py".to_owned()];
    let plan = draft.into_plan().unwrap();

    let writes = OrderedWrites { path: "main.py".into(), first: "c".into(), then: "d".into() };
    assert_eq!(plan.ordered, [writes]);
    assert_eq!(plan.tasks[3].waits_for, [Need { on: 2, on_loss: Some(OnLoss::Continue) }]);
    assert_eq!(plan.notes, ["c and d both write main.py, so d waits for c."]);
    assert_eq!(plan.estimated_secs, 4);
    assert_eq!(plan.writers, [("b.txt".to_owned(), 1), ("main.py".to_owned(), 3)]);
}

#[test]
fn writers_of_one_path_never_make_a_circle() {
    // By the order of the draft a would come first, but it waits for b.
    let mut draft = Draft::of("b -> a, c");
    draft.tasks.swap(0, 1);
    for task in &mut draft.tasks {
        task.writes = vec!["main.py".to_owned(), "lib.py".to_owned()];
    }

    let plan = draft.into_plan().unwrap();

    assert_eq!(waits(&plan), [vec![1], vec![], vec![0]]);
}

#[test]
fn a_policy_survives_whatever_is_given_twice() {
    let mut draft = Draft::of("a -> b");
    let always = DraftNeed { key: "a".to_owned(), on_loss: Some(OnLoss::AlwaysRun) };
    draft.tasks[1].depends_on.push(always);

    let plan = draft.into_plan().unwrap();

    assert_eq!(plan.tasks[1].waits_for, [Need { on: 0, on_loss: Some(OnLoss::AlwaysRun) }]);
}

#[test]
fn a_path_stays_inside_the_project() {
    for path in ["app/main.py", ".github/workflows/ci.yml", "docs/Über uns.md", ".env.example"] {
        assert_eq!(check_path(path), Ok(()), "{path}");
    }
    for path in [
        "",
        "/etc/passwd",
        "../up",
        "a/../b",
        "a//b",
        "a/",
        "./a",
        "a\\b",
        "c:x",
        ".git/hooks/x",
        "manifest.SHA256",
        "a/.GIT/config",
        "nul\0",
        "a ",
        " a",
        "a./b",
        "line\nbreak",
    ] {
        assert!(check_path(path).is_err(), "{path:?}");
    }
    assert!(check_path(&"x".repeat(241)).is_err());
}

#[test]
fn a_chain_of_the_greatest_length_is_planned() {
    let mut draft = Draft::of("a");
    let first = draft.tasks[0].clone();
    draft.tasks = (0..TASKS_MAX)
        .map(|index| DraftTask {
            key: index.to_string(),
            depends_on: if index == 0 { vec![] } else { vec![(index - 1).to_string().into()] },
            ..first.clone()
        })
        .collect();

    let plan = draft.into_plan().unwrap();

    assert_eq!(plan.estimated_secs as usize, TASKS_MAX);
}

/// 50,000 tasks in layers of 500, each of which waits for up to four of the layer before.
fn layers() -> Draft {
    const WIDTH: usize = 500;
    let mut draft = Draft::of("a");
    let first = draft.tasks.remove(0);
    draft.tasks = (0..50_000)
        .map(|index| {
            let before = (index / WIDTH).checked_sub(1).map(|layer| layer * WIDTH);
            let on = |step: usize| before.map(|layer| layer + (index * 7 + step * 131) % WIDTH);
            DraftTask {
                key: format!("task-{index}"),
                depends_on: (0..4).filter_map(on).map(|on| format!("task-{on}").into()).collect(),
                // One is shared with a neighbour, one with a task that lies eighty layers before.
                writes: vec![format!("{}.txt", index / 2), format!("far/{}", index % 40_000)],
                ..first.clone()
            }
        })
        .collect();
    draft
}

#[test]
fn the_largest_graphs_are_planned_and_added_to_in_linear_time() {
    let draft = layers();
    let edges: usize = draft.tasks.iter().map(|task| task.depends_on.len()).sum();
    assert_eq!(edges, 198_000);

    let plan = draft.clone().into_plan().unwrap();

    assert_eq!(plan.tasks.len(), 50_000);
    assert!((25_000..=35_000).contains(&plan.ordered.len()), "{}", plan.ordered.len());
    let around = growing::Surroundings {
        tasks: 50_000,
        halted: false,
        on_loss: OnLoss::Skip,
        named: Vec::new(),
        writers: Vec::new(),
    };
    let tasks = draft.tasks.into_iter().enumerate();
    let tasks = tasks.map(|(at, task)| (ulid::Ulid::from_parts(1, at as u128).into(), task));
    let added = growing::grow(tasks.collect(), &around).unwrap();
    // Half of the first layer waits for the neighbour that writes the same path.
    assert_eq!(added.ready().count(), 250);
}
