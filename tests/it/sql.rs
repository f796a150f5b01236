//! Briefs handed in by SQL, in transactions of others: the same as those handed in by HTTP.

use api::{
    Targets,
    wire::submission::{NewBuild as Wire, Submission},
};
use buildfleet::{
    domain::{brief::Brief, build, id::BuildId},
    draw,
    job::Job,
    store::{Ask, NewBuild, Store, Upkeep, conformance::Ageing, postgres::Postgres},
};
use serde_json::{Map, Value, json};
use sqlx::{AssertSqlSafe, PgPool, Row as _};
use std::{collections::BTreeSet, time::Duration};
use tests::servers;
use utoipa::PartialSchema as _;

const SUBMIT: &str = "select buildfleet.submit($1, $2, $3, $4)";

/// A store, and a connection of somebody else to the same database.
async fn fresh() -> (Postgres, PgPool) {
    let url = servers::Postgres::start().fresh_database();
    let store = Postgres::open(&url).await.expect("a store");
    for limit in store.limits().await.unwrap() {
        store.remove_limit(&limit.name, "test").await.unwrap();
    }
    (store, PgPool::connect(&url).await.expect("a connection"))
}

/// Hands a request in as it would be posted: the prompt is among its fields.
async fn submit(
    db: impl sqlx::PgExecutor<'_>,
    request: &Value,
    key: Option<&str>,
) -> Result<BuildId, sqlx::Error> {
    let mut options = request.clone();
    let prompt = options.as_object_mut().and_then(|options| options.remove("prompt"));
    let id: String = sqlx::query_scalar(SUBMIT)
        .bind(prompt.as_ref().and_then(Value::as_str))
        .bind(options)
        .bind("default")
        .bind(key)
        .fetch_one(db)
        .await?;
    Ok(id.parse().expect("an id of a build"))
}

fn of_database(error: &sqlx::Error) -> &sqlx::postgres::PgDatabaseError {
    error.as_database_error().expect("the database refuses").downcast_ref()
}

fn ask(room: u32) -> Ask {
    Ask { holder: draw::id(), lease: Duration::from_secs(60), room, slots: room }
}

/// Everything about a build that does not depend on when and by whom it was handed in.
async fn columns(pool: &PgPool, id: BuildId) -> Value {
    sqlx::query_scalar(
        "select to_jsonb(b) - array['id', 'due_at', 'deadline_at', 'created_at', 'updated_at',
                                    'rank', 'parked_on', 'request_hash', 'brief']
                || jsonb_build_object(
                     'brief', b.brief::jsonb,
                     'has_hash', b.request_hash is not null,
                     'deadline', round(extract(epoch from deadline_at - created_at)))
           from builds b where id = $1",
    )
    .bind(id.to_string())
    .fetch_one(pool)
    .await
    .unwrap()
}

fn requests() -> Vec<Value> {
    vec![
        json!({"prompt": "a to-do list"}),
        json!({"prompt": " \u{1F4DA} a \"library\"\nwith \\ and \u{e9}\u{301} ", "features": []}),
        json!({
            "prompt": "a book library", "project_type": "api", "framework": "fastapi",
            "complexity": "moderate", "features": ["search", "loans \u{2014} and more"],
            "project_id": "p-1", "provider": "rules", "require_approval": true,
            "on_task_failure": "fail_fast", "on_loss": "always_run", "priority": 1,
            "deadline_secs": 3600,
            "limit_key": "team", "budget": {"max_cost_usd": 1.5, "max_tokens": 100_000},
            "cache": false, "metadata": {"a": {"b": [1, null, "x"]}, "c": 1.25},
        }),
        json!({"prompt": "x", "priority": 3.0, "deadline_secs": 604_800.0, "features": null,
               "budget": {"max_cost_usd": 0.000_000_5, "max_tokens": u64::MAX},
               "metadata": null, "cache": null, "complexity": null}),
        json!({"prompt": "x".repeat(20_000), "budget": {}, "priority": 5}),
    ]
}

#[tokio::test]
async fn sql_makes_of_a_request_what_http_makes_of_it() {
    let (store, pool) = fresh().await;
    for (index, request) in requests().into_iter().enumerate() {
        let asked = Submission::read(&request, &Targets::default()).unwrap();
        let brief =
            Brief { require_approval: asked.require_approval.unwrap_or(false), ..asked.brief };
        let posted = NewBuild {
            id: draw::id(),
            tenant: "default".to_owned(),
            brief: brief.clone(),
            idempotency: None,
            webhook: None,
        };
        let posted = store.submit(posted).await.unwrap().build().id;

        let handed_in = submit(&pool, &request, None).await.unwrap();

        let build = store.build(handed_in).await.unwrap();
        assert_eq!(build.brief, brief, "request {index}");
        assert_eq!(build.state, build::State::Queued);
        assert_eq!(columns(&pool, handed_in).await, columns(&pool, posted).await, "{index}");
        // What is written has every field by name, so that no default is left to the reader.
        let keys = |id: BuildId| {
            sqlx::query_scalar::<_, String>(
                "select string_agg(k, ' ') from builds, json_object_keys(brief) k where id = $1",
            )
            .bind(id.to_string())
        };
        assert_eq!(
            keys(handed_in).fetch_one(&pool).await.unwrap(),
            keys(posted).fetch_one(&pool).await.unwrap()
        );
    }
}

#[tokio::test]
async fn sql_refuses_what_http_refuses_and_names_the_same_fields() {
    let (store, pool) = fresh().await;
    let long = "x".repeat(101);
    for request in [
        json!({"prompt": " \u{a0}\u{2003}\n"}),
        json!({"prompt": "x".repeat(20_001)}),
        json!({
            "prompt": "x", "promt": "x", "complexity": "huge", "features": ["a", 7],
            "provider": "openai", "require_approval": "yes", "on_task_failure": "stop",
            "on_loss": "weep",
            "priority": 6, "deadline_secs": 0, "limit_key": long, "framework": "", "project_id": 7,
            "project_type": " ", "budget": {"max_cost_usd": -1, "max_tokens": 1.5, "max_euro": 1},
            "cache": 1, "metadata": [],
        }),
        json!({"prompt": "x", "priority": 2.5, "deadline_secs": "soon", "budget": 1,
               "features": "all"}),
        json!({"prompt": "x", "features": ["a", " ", "f".repeat(501)]}),
        json!({"prompt": "x", "features": vec!["f"; 51], "metadata": {"x": "y".repeat(20_000)}}),
    ] {
        let wanted: BTreeSet<String> = Submission::read(&request, &Targets::default())
            .unwrap_err()
            .into_iter()
            .map(|fault| fault.field)
            .collect();

        let error = submit(&pool, &request, None).await.unwrap_err();

        let error = of_database(&error);
        let faults: Vec<Map<String, Value>> =
            serde_json::from_str(error.detail().expect("a detail")).unwrap();
        let named: BTreeSet<String> =
            faults.iter().map(|fault| fault["field"].as_str().unwrap().to_owned()).collect();
        assert_eq!(named, wanted);
        assert_eq!(error.code(), "22023");
        assert!(wanted.contains(error.column().expect("a column")));
        let message = faults[0]["message"].as_str().unwrap();
        assert!(error.message().contains(message), "{}", error.message());
    }
    assert_eq!(store.pressure().await.unwrap().open, []);
}

#[tokio::test]
async fn sql_knows_the_fields_of_http() {
    let (_store, pool) = fresh().await;
    let schema = serde_json::to_value(Wire::schema()).unwrap();
    let mut fields: BTreeSet<String> =
        schema["properties"].as_object().unwrap().keys().cloned().collect();
    // An argument of its own, and what only HTTP takes.
    assert!(fields.remove("prompt") && fields.remove("webhook"));

    let error = submit(&pool, &json!({"prompt": "x", "zzzzzzzz": 1}), None).await.unwrap_err();
    let (_, known) = of_database(&error).message().split_once("there are ").unwrap();

    assert_eq!(known.split(", ").map(str::to_owned).collect::<BTreeSet<_>>(), fields);
    let error = submit(&pool, &json!({"prompt": "x", "webhook": {}}), None).await.unwrap_err();
    assert_eq!(of_database(&error).column(), Some("webhook"));
}

#[tokio::test]
async fn what_is_rolled_back_was_never_there() {
    let (store, pool) = fresh().await;
    let mut tx = pool.begin().await.unwrap();
    let id = submit(&mut *tx, &json!({"prompt": "a shop"}), Some("k")).await.unwrap();

    assert!(store.build(id).await.is_err());
    assert!(store.claim_builds(&ask(10)).await.unwrap().is_empty());
    tx.rollback().await.unwrap();

    assert!(store.build(id).await.is_err());
    assert_eq!(store.pressure().await.unwrap().open, []);
    // Nor was its key.
    submit(&pool, &json!({"prompt": "another shop"}), Some("k")).await.unwrap();
}

#[tokio::test]
async fn a_transaction_that_stays_open_holds_nobody_up() {
    let (store, pool) = fresh().await;
    let mut tx = pool.begin().await.unwrap();
    submit(&mut *tx, &json!({"prompt": "slow"}), None).await.unwrap();

    // The same tenant, the same priority, by both ways.
    let quick = submit(&pool, &json!({"prompt": "quick"}), None).await.unwrap();
    let posted = NewBuild {
        id: draw::id(),
        tenant: "default".to_owned(),
        brief: Brief::of("posted"),
        idempotency: None,
        webhook: None,
    };
    let posted = store.submit(posted).await.unwrap().build().id;

    let claims = store.claim_builds(&ask(10)).await.unwrap();
    let claimed: BTreeSet<_> = claims.into_iter().map(|claim| claim.build).collect();
    assert_eq!(claimed, BTreeSet::from([quick, posted]));
    tx.commit().await.unwrap();
    assert_eq!(store.claim_builds(&ask(10)).await.unwrap().len(), 1);
}

#[tokio::test]
async fn one_key_is_one_build_however_many_use_it() {
    let (_store, pool) = fresh().await;
    let request = json!({"prompt": "a shop", "priority": 2});
    let mut first = pool.begin().await.unwrap();
    let id = submit(&mut *first, &request, Some("k")).await.unwrap();
    assert_eq!(submit(&mut *first, &request, Some("k")).await.unwrap(), id);

    // Waits for the one that is under way.
    let second = submit(&pool, &request, Some("k"));
    let (second, ()) = tokio::join!(second, async { first.commit().await.unwrap() });

    assert_eq!(second.unwrap(), id);
    let same = json!({"priority": 2.0, "prompt": "a shop", "cache": true});
    assert_eq!(submit(&pool, &same, Some("k")).await.unwrap(), id);
    let other = submit(&pool, &json!({"prompt": "a shop"}), Some("k")).await.unwrap_err();
    let other = of_database(&other);
    assert_eq!((other.code(), other.column()), ("23505", Some("idempotency_key")));
    assert_eq!(other.detail(), Some(id.to_string().as_str()));
}

#[tokio::test]
async fn the_bell_rings_when_it_is_committed_and_not_before() {
    let (store, pool) = fresh().await;
    // What the scene was set with.
    tokio::time::timeout(Duration::from_secs(1), store.bell().rung()).await.ok();
    let listening = store.listen();
    let handing_in = async {
        // It rings once when it begins to listen.
        store.bell().rung().await;
        let mut tx = pool.begin().await.unwrap();
        let id = submit(&mut *tx, &json!({"prompt": "a shop"}), None).await.unwrap();
        let early = tokio::time::timeout(Duration::from_millis(100), store.bell().rung()).await;
        assert!(early.is_err(), "{early:?}");
        tx.commit().await.unwrap();
        let rung = tokio::time::timeout(Duration::from_secs(10), store.bell().rung()).await;
        assert_eq!(rung.expect("it rings").claimable, [Job::Plan(id)]);

        // A connection that is cut is made anew, and whatever may have been missed is looked for.
        sqlx::query(
            "select pg_terminate_backend(pid) from pg_stat_activity
              where datname = current_database() and query ilike 'listen %'",
        )
        .execute(&pool)
        .await
        .unwrap();
        let rung = tokio::time::timeout(Duration::from_secs(30), store.bell().rung()).await;
        assert!(rung.is_ok(), "it listens again");
        let id = submit(&pool, &json!({"prompt": "another shop"}), None).await.unwrap();
        loop {
            let rung = tokio::time::timeout(Duration::from_secs(10), store.bell().rung()).await;
            if rung.expect("it rings").claimable.contains(&Job::Plan(id)) {
                break;
            }
        }
    };
    tokio::select! {
        () = handing_in => {}
        () = listening => unreachable!("it listens for ever"),
    }
}

#[tokio::test]
async fn what_is_handed_in_shares_the_lane_fairly() {
    let (store, pool) = fresh().await;
    for _ in 0..50 {
        submit(&pool, &json!({"prompt": "one of many"}), None).await.unwrap();
    }
    assert_eq!(store.claim_builds(&ask(20)).await.unwrap().len(), 20);
    let small: String = sqlx::query_scalar("select buildfleet.submit('one', tenant => 'small')")
        .fetch_one(&pool)
        .await
        .unwrap();
    let urgent = submit(&pool, &json!({"prompt": "now", "priority": 1}), None).await.unwrap();

    let claims = store.claim_builds(&ask(4)).await.unwrap();

    let claimed: Vec<_> = claims.iter().map(|claim| claim.build.to_string()).collect();
    assert!(claimed.contains(&small), "{claimed:?}");
    assert_eq!(claimed[0], urgent.to_string());
    // All get their turn, once.
    assert_eq!(store.claim_builds(&ask(100)).await.unwrap().len(), 50 + 2 - 24);
}

#[tokio::test]
async fn ids_drawn_in_sql_are_ids_and_sort_by_their_time() {
    let (_store, pool) = fresh().await;
    let before: BuildId = draw::id();

    let rows = sqlx::query("select buildfleet.draw_id('bld') as id from generate_series(1, 5000)")
        .fetch_all(&pool)
        .await
        .unwrap();

    let ids: Vec<BuildId> =
        rows.iter().map(|row| row.get::<String, _>("id").parse().unwrap()).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 5000);
    let times: Vec<u64> = ids.iter().map(|id| id.ulid().timestamp_ms()).collect();
    assert!(times.is_sorted());
    let drawn = before.ulid().timestamp_ms()..=times[0] + 60_000;
    assert!(times.iter().all(|time| drawn.contains(time)));
}

#[tokio::test]
async fn whoever_may_hand_in_needs_no_right_on_any_table() {
    let (store, pool) = fresh().await;
    // Roles are the server's, which other tests may share.
    let role = format!("app_{}", std::process::id());
    let sql = |sql: &str| sqlx::raw_sql(AssertSqlSafe(sql.replace("ROLE", &role)));
    sql("create role ROLE").execute(&pool).await.unwrap();
    let mut conn = pool.acquire().await.unwrap();
    sql("set role ROLE").execute(&mut *conn).await.unwrap();
    let refused = submit(&mut *conn, &json!({"prompt": "x"}), None).await.unwrap_err();
    assert_eq!(of_database(&refused).code(), "42501");

    sql("grant usage on schema buildfleet to ROLE;
         grant execute on function buildfleet.submit to ROLE")
    .execute(&pool)
    .await
    .unwrap();
    // Neither a table of the caller's own nor a path of its own misleads the function.
    sql("create temp table builds (id text); set search_path = pg_temp")
        .execute(&mut *conn)
        .await
        .unwrap();
    let id = submit(&mut *conn, &json!({"prompt": "x"}), None).await.unwrap();

    assert_eq!(store.build(id).await.unwrap().tenant, "default");
    let denied = sql("select * from public.builds").execute(&mut *conn).await.unwrap_err();
    assert_eq!(of_database(&denied).code(), "42501");
    sql("reset role").execute(&mut *conn).await.unwrap();
    sql("drop owned by ROLE; drop role ROLE").execute(&mut *conn).await.unwrap();
}

#[tokio::test]
async fn a_role_called_like_the_schema_of_functions_finds_its_tables_again() {
    let url = servers::Postgres::start().fresh_database();
    let pool = PgPool::connect(&url).await.unwrap();
    // As in the compose file. Roles are the server's, which other tests may share.
    sqlx::query(
        "do $$ begin
           if not exists (select 1 from pg_roles where rolname = 'buildfleet') then
             create role buildfleet login superuser;
           end if;
         end $$",
    )
    .execute(&pool)
    .await
    .unwrap();
    let url = url.replace("postgres@", "buildfleet@");
    let first = Postgres::open(&url).await.unwrap();
    let id = submit(&pool, &json!({"prompt": "a shop"}), None).await.unwrap();
    assert_eq!(first.build(id).await.unwrap().id, id);

    let again = Postgres::open(&url).await.unwrap();

    assert_eq!(again.build(id).await.unwrap().id, id);
    let homes: i64 =
        sqlx::query_scalar("select count(*) from pg_tables where tablename = 'builds'")
            .fetch_one(&pool)
            .await
            .unwrap();
    assert_eq!(homes, 1);
}

#[tokio::test]
async fn nothing_at_all_is_left_of_what_is_forgotten() {
    let (store, pool) = fresh().await;
    let id = submit(&pool, &json!({"prompt": "a shop"}), Some("k")).await.unwrap();
    store.claim_builds(&ask(1)).await.unwrap();
    store.cancel_build(id).await.unwrap();
    store.age(Duration::from_secs(3600)).await;

    assert_eq!(store.forget(Duration::from_secs(60), 10).await.unwrap().builds, 1);

    let tables: Vec<String> = sqlx::query_scalar(
        "select table_name::text from information_schema.columns
          where table_schema = current_schema() and column_name = 'build_id'
         union select 'builds'",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    assert!(6 < tables.len(), "{tables:?}");
    for table in tables {
        let left: i64 = sqlx::query_scalar(AssertSqlSafe(format!("select count(*) from {table}")))
            .fetch_one(&pool)
            .await
            .unwrap();
        assert_eq!(left, 0, "{table}");
    }
}
