//! A person agrees to a plan, or does not, or does not answer.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tests::{
    fleet::{Fleet, Footing, Setup},
    runners::Scripted,
};

tests::on_both_footings!(
    an_approved_plan_runs,
    a_rejected_plan_fails_its_build,
    a_plan_that_nobody_answers_for_expires,
    an_operator_may_ask_for_approval_of_every_plan,
    a_build_past_its_deadline_fails,
);

/// A build whose plan waits for a person; answers with the plan too.
async fn proposed(fleet: &Fleet) -> (String, Value) {
    let build = fleet.submit(json!({ "prompt": "a -> b", "require_approval": true })).await;
    fleet.until_state(&build, "pending_approval").await;
    let plan = fleet.look(&format!("/v1/builds/{build}/plan")).await;
    (build, plan)
}

async fn an_approved_plan_runs(footing: Footing) {
    let runner = Arc::new(Scripted::new());
    let fleet = Setup::on(footing).runner(&runner).start().await;
    let (build, plan) = proposed(&fleet).await;
    assert_eq!(plan["state"], "proposed");
    assert!(plan["approve_until"].is_string());
    assert_eq!(fleet.event(&build, "plan_generated").await["needsApproval"], true);
    assert!(runner.begun().is_empty());
    let approve = format!("/v1/plans/{}/approve", plan["id"].as_str().unwrap());

    fleet.done(&approve).await;
    fleet.until_state(&build, "completed").await;

    assert_eq!(runner.begun(), ["a", "b"]);
    assert_eq!(fleet.kinds(&build).await[2], "plan_approved");
    let again = fleet.post(&approve).await;
    assert_eq!((again.status, &again.json()["error"]["code"]), (409, &json!("plan_not_proposed")));
}

async fn a_rejected_plan_fails_its_build(footing: Footing) {
    let runner = Arc::new(Scripted::new());
    let fleet = Setup::on(footing).runner(&runner).start().await;
    let (build, plan) = proposed(&fleet).await;
    let reject = format!("/v1/plans/{}/reject", plan["id"].as_str().unwrap());
    let request = fleet.request(reqwest::Method::POST, &reject);

    let answer = fleet.send(request.json(&json!({ "reason": "the loans are missing" }))).await;

    assert_eq!(answer.status, 200);
    let failed = fleet.build(&build).await;
    assert_eq!(
        failed["error"],
        json!({ "code": "plan_rejected", "message": "the loans are missing" })
    );
    assert_eq!(failed["tasks"]["cancelled"], 2);
    let told = fleet.event(&build, "plan_rejected").await;
    assert_eq!(told, json!({ "planId": plan["id"], "reason": "the loans are missing" }));
    assert_eq!(*fleet.kinds(&build).await.last().unwrap(), "build_failed");
    assert!(runner.begun().is_empty());
}

async fn a_plan_that_nobody_answers_for_expires(footing: Footing) {
    let fleet = Setup::on(footing).start().await;
    let (build, _) = proposed(&fleet).await;
    fleet.age(Duration::from_secs(290)).await;
    assert_eq!(fleet.build(&build).await["state"], "pending_approval");

    fleet.age(Duration::from_secs(20)).await;
    let failed = fleet.until_state(&build, "failed").await;

    assert_eq!(failed["error"]["code"], "plan_not_approved");
    assert_eq!(failed["error"]["message"], "Plan not approved within timeout period");
}

async fn an_operator_may_ask_for_approval_of_every_plan(footing: Footing) {
    let mut setup = Setup::on(footing);
    setup.plans.approval.always = true;
    let fleet = setup.start().await;

    let build = fleet.submit(json!({ "prompt": "a" })).await;

    fleet.until_state(&build, "pending_approval").await;
}

async fn a_build_past_its_deadline_fails(footing: Footing) {
    let runner = Arc::new(Scripted::new().on("a", [tests::runners::Act::Hang]));
    let fleet = Setup::on(footing).runner(&runner).start().await;
    let build = fleet.submit(json!({ "prompt": "a -> b", "deadline_secs": 60 })).await;
    fleet.until("a runs", async || runner.begun() == ["a"]).await;

    fleet.age(Duration::from_secs(61)).await;
    let failed = fleet.until_state(&build, "failed").await;

    assert_eq!(failed["error"]["code"], "deadline_passed");
    assert_eq!(failed["tasks"]["cancelled"], 2);
    assert_eq!(fleet.task(&build, "a").await["attempts"][0]["state"], "cancelled");
}
