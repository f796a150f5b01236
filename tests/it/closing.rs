//! Flows that are closed up on Postgres, where commits stand side by side: see
//! `shared/src/store/postgres/closing.rs`.

use std::time::Duration;

use buildfleet::{
    domain::{
        attempt::{Outcome, Output},
        brief::Brief,
        id::{BuildId, TaskId},
        plan::Draft,
        retry::{Jitter, Policy},
        task,
    },
    draw,
    store::{
        Adoption, Ask, Error, NewBuild, Store, Upkeep,
        conformance::{Ageing, without_limits},
        postgres::Postgres,
    },
};
use futures_util::future::{join, join_all};
use sqlx::PgPool;
use tests::servers;

async fn fresh() -> (Postgres, PgPool) {
    let url = servers::Postgres::start().fresh_database();
    let store = Postgres::open(&url).await.unwrap();
    without_limits(&store).await;
    (store, PgPool::connect(&url).await.unwrap())
}

fn ask(room: u32) -> Ask {
    Ask { holder: draw::id(), lease: Duration::from_secs(60), room, slots: room }
}

/// Builds of these tenants, each with so many tasks that can run at once.
async fn busy(store: &Postgres, tenants: &[&str], many: usize) -> Vec<BuildId> {
    let mut builds = Vec::new();
    for tenant in tenants {
        let id = draw::id();
        let brief = Brief::of("a to-do list");
        let tenant = (*tenant).to_owned();
        store
            .submit(NewBuild { id, tenant, brief, idempotency: None, webhook: None })
            .await
            .unwrap();
        builds.push(id);
    }
    let keys: Vec<_> = (0..many).map(|index| format!("t{index}")).collect();
    let plan = Draft::of(&keys.join(", ")).into_plan().unwrap();
    loop {
        let claims = store.claim_builds(&ask(32)).await.unwrap();
        if claims.is_empty() {
            return builds;
        }
        for claim in claims {
            let adoption = Adoption::AtOnce { plan: draw::id() };
            match store.adopt_plan(&claim, &plan, adoption).await {
                // Cancelled meanwhile.
                Ok(()) | Err(Error::Fenced) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
}

async fn only_task(store: &Postgres, build: BuildId) -> TaskId {
    store.tasks(build).await.unwrap()[0].id
}

/// Puts a task so far back as if its rank had been given before its flow was closed up.
async fn put_back(pool: &PgPool, task: TaskId) {
    let written = sqlx::query("update tasks set rank = rank + 100 where id = $1")
        .bind(task.to_string())
        .execute(pool)
        .await
        .unwrap();
    assert_eq!(written.rows_affected(), 1);
}

async fn is_soon(store: &Postgres, task: TaskId) -> bool {
    let claims = store.claim_tasks(&ask(4)).await.unwrap();
    claims.iter().any(|claim| claim.task == task)
}

#[tokio::test]
async fn what_was_on_its_way_moves_forward_with_a_second_walk() {
    let (store, pool) = fresh().await;
    let builds = busy(&store, &["busy", "sorry"], 100).await;
    store.cancel_build(builds[1]).await.unwrap();
    let late = only_task(&store, busy(&store, &["sorry"], 1).await[0]).await;
    put_back(&pool, late).await;
    assert!(!is_soon(&store, late).await);

    let early = store.close_up(10).await.unwrap();
    store.age(Duration::from_secs(5)).await;
    let closed = store.close_up(10).await.unwrap();

    assert_eq!((early, closed, store.close_up(10).await.unwrap()), (0, 1, 0));
    assert!(is_soon(&store, late).await);
}

#[tokio::test]
async fn what_a_killed_process_has_marked_is_closed_up_by_a_sweep() {
    let (store, pool) = fresh().await;
    busy(&store, &["busy"], 100).await;
    let waits = only_task(&store, busy(&store, &["sorry"], 1).await[0]).await;
    put_back(&pool, waits).await;
    sqlx::query(
        "update flows set last = last + 100, gapped_at = clock_timestamp() where tenant = 'sorry'",
    )
    .execute(&pool)
    .await
    .unwrap();

    // The flow of its briefs, and that of its tasks.
    assert_eq!(store.close_up(10).await.unwrap(), 2);

    assert!(is_soon(&store, waits).await);
    let next = only_task(&store, busy(&store, &["sorry"], 1).await[0]).await;
    assert!(is_soon(&store, next).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancels_claims_and_settles_at_once_wait_in_no_circle() {
    let (store, pool) = fresh().await;
    let tenants = ["ant", "bee", "cat"].repeat(4);
    let builds = busy(&store, &tenants, 40).await;

    let work = async || loop {
        let claims = store.claim_tasks(&ask(8)).await.unwrap();
        if claims.is_empty() {
            break;
        }
        for claim in claims {
            let done = Outcome::Succeeded(Output::default());
            match store.settle_task(claim.fence(), done, &Policy::WORK, Jitter::NONE).await {
                Ok(()) | Err(Error::Fenced) => {}
                Err(error) => panic!("{error}"),
            }
        }
    };
    let cancel = async |build| {
        store.cancel_build(build).await.unwrap();
        // One row, as the last statement of a commit does it.
        sqlx::query(
            "update flows set gapped_at = clock_timestamp() where lane = 'tasks' and tenant = 'ant'",
        )
        .execute(&pool)
        .await
        .unwrap();
        store.close_up(10).await.unwrap();
    };
    let ended = builds.iter().step_by(2).map(|build| cancel(*build));
    let more = join_all((0..3).map(|_| busy(&store, &tenants[..3], 20)));
    let ((_, more), _) = join(join(join_all(ended), more), join_all((0..3).map(|_| work()))).await;
    work().await;

    for build in builds.iter().copied().chain(more.into_iter().flatten()) {
        for task in store.tasks(build).await.unwrap() {
            let is_done = matches!(task.state, task::State::Completed | task::State::Cancelled);
            assert!(is_done, "{} is {}", task.key, task.state);
        }
    }
    drop(store);
    assert_eq!(deadlocks(&pool).await, 0);
}

/// As the server has counted them once every other connection is gone: each says so at its end.
async fn deadlocks(pool: &PgPool) -> i64 {
    // One and the same: others of the pool go, too.
    let mut conn = pool.acquire().await.unwrap();
    for _ in 0..100 {
        let others: i64 = sqlx::query_scalar(
            "select count(pg_terminate_backend(pid))
               from pg_stat_activity
              where datname = current_database() and pid <> pg_backend_pid()",
        )
        .fetch_one(&mut *conn)
        .await
        .unwrap();
        if others == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    sqlx::query_scalar("select deadlocks from pg_stat_database where datname = current_database()")
        .fetch_one(&mut *conn)
        .await
        .unwrap()
}
