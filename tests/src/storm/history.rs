//! What must be true of a record, whatever the fleet went through. Reads the database alone.

use std::{fmt, time::Duration};

use sqlx::{PgPool, Row};

/// What the record must hold.
#[derive(Debug, Clone, Copy)]
pub struct Expected {
    pub builds: i64,
    /// `None` if it is not known how many there are.
    pub tasks: Option<i64>,
    /// The most tasks that were allowed to run at once, of all and of one tenant.
    pub running_most: (i64, i64),
}

/// A rule, and how often the record breaks it.
#[derive(Debug, Clone)]
pub struct Finding {
    pub rule: &'static str,
    pub broken: i64,
    /// The first few that break it.
    pub examples: Vec<String>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.broken == 0 { "holds" } else { "BROKEN" };
        write!(f, "{word:>6}  {}", self.rule)?;
        if 0 < self.broken {
            write!(f, ": {} times, such as {}", self.broken, self.examples.join(", "))?;
        }
        Ok(())
    }
}

/// Each rule with a question for what breaks it, one text a row.
const RULES: &[(&str, &str)] = &[
    (
        "every build is completed",
        "select id || ' ' || state from builds where state <> 'completed'",
    ),
    ("every task is completed", "select id || ' ' || state from tasks where state <> 'completed'"),
    (
        "each task has one attempt that succeeded",
        "select t.id from tasks t
           left join task_attempts a on a.task_id = t.id and a.state = 'succeeded'
          group by t.id having count(a.task_id) <> 1",
    ),
    (
        "nothing is attempted after it was settled",
        "select s.task_id from task_attempts s
           join task_attempts a on a.task_id = s.task_id and s.number < a.number
          where s.state = 'succeeded'",
    ),
    (
        "attempts of a task are numbered without a gap",
        "select t.id from tasks t left join task_attempts a on a.task_id = t.id
          group by t.id
         having count(a.number) <> t.attempt or min(a.number) <> 1
             or max(a.number) <> t.attempt",
    ),
    (
        "attempts of a task follow one another",
        "select a.task_id from task_attempts a
           join task_attempts b on b.task_id = a.task_id and b.number = a.number + 1
          where a.settled_at is null or b.started_at < a.settled_at",
    ),
    (
        "no attempt is running",
        "select id from tasks where state = 'in_progress' or begun_at is not null
          union all
         select build_id from planning_attempts where state = 'running'
          union all
         select delivery_id from delivery_attempts where state = 'running'",
    ),
    (
        "the log of each build is numbered without a gap",
        "select b.id from builds b left join events e on e.build_id = b.id
          group by b.id
         having count(e.seq) <> b.last_seq or min(e.seq) <> 1 or max(e.seq) <> b.last_seq",
    ),
    (
        "each task was completed once in the log",
        "select coalesce(t.id, e.task) from tasks t
           full join (select data->>'taskId' as task, count(*) as times from events
                       where kind = 'task_completed' group by 1) e on e.task = t.id
          where e.times is distinct from 1 or t.id is null",
    ),
    (
        "each attempt was begun once in the log",
        "select t.id from tasks t
           left join (select data->>'taskId' as task, count(*) as times from events
                       where kind = 'task_started' group by 1) e on e.task = t.id
          where e.times is distinct from t.attempt",
    ),
    (
        "the last event of each build is its only end",
        "select b.id from builds b left join events e
             on e.build_id = b.id
            and e.kind in ('build_completed', 'build_failed', 'build_cancelled')
          group by b.id having count(e.seq) <> 1 or max(e.seq) <> b.last_seq",
    ),
    (
        "nothing began before all that it waits for was settled",
        "select d.task_id from dependencies d
           join task_attempts a on a.task_id = d.task_id
           join tasks o on o.id = d.on_task_id
          where o.settled_at is null or a.started_at < o.settled_at",
    ),
    (
        "no lease is left",
        "select id from tasks where leased_until is not null
          union all select id from builds where leased_until is not null
          union all select id from deliveries where leased_until is not null",
    ),
    (
        "nothing is parked",
        "select id || ' at ' || parked_on from tasks where parked_on is not null
          union all select id || ' at ' || parked_on from builds where parked_on is not null
          union all select id || ' at ' || parked_on from deliveries where parked_on is not null",
    ),
];

/// How many tasks ran at any moment: of all, and the most of one tenant. At one instant, what ends
/// comes before what begins.
const RUNNING_MOST: &str = "
    with steps as (
      select a.started_at as at, t.cost::bigint as step, t.tenant
        from task_attempts a join tasks t on t.id = a.task_id
       union all
      select a.settled_at, -t.cost::bigint, t.tenant
        from task_attempts a join tasks t on t.id = a.task_id
       where a.settled_at is not null
    ), sums as (
      select sum(step) over (order by at, step rows unbounded preceding) as of_all,
             sum(step) over (partition by tenant order by at, step rows unbounded preceding)
               as of_tenant
        from steps
    )
    select coalesce(max(of_all), 0)::bigint, coalesce(max(of_tenant), 0)::bigint from sums";

/// Looks at all rules.
pub async fn check(pool: &PgPool, expected: &Expected) -> Result<Vec<Finding>, sqlx::Error> {
    let mut findings = Vec::new();
    for (rule, question) in RULES {
        let broken: Vec<Option<String>> = sqlx::query_scalar(*question).fetch_all(pool).await?;
        findings.push(Finding {
            rule,
            broken: i64::try_from(broken.len()).unwrap_or(i64::MAX),
            examples: broken.into_iter().flatten().take(3).collect(),
        });
    }
    let mut equal = |rule, found: i64, wanted: i64| {
        findings.push(Finding {
            rule,
            broken: (found - wanted).abs(),
            examples: vec![format!("{found} instead of {wanted}")],
        });
    };
    let builds: i64 = sqlx::query_scalar("select count(*) from builds").fetch_one(pool).await?;
    equal("there are as many builds as were submitted", builds, expected.builds);
    let tasks: i64 = sqlx::query_scalar("select count(*) from tasks").fetch_one(pool).await?;
    if let Some(planned) = expected.tasks {
        equal("there are as many tasks as were planned", tasks, planned);
    }
    let (of_all, of_tenant) = running_most(pool).await?;
    let (all_most, tenant_most) = expected.running_most;
    equal("no more tasks ran than may at once", of_all.max(all_most), all_most);
    equal("no more tasks of a tenant ran than may", of_tenant.max(tenant_most), tenant_most);
    Ok(findings)
}

/// The most tasks that ran at any moment, of all and of one tenant.
pub async fn running_most(pool: &PgPool) -> Result<(i64, i64), sqlx::Error> {
    let row = sqlx::query(RUNNING_MOST).fetch_one(pool).await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}

/// The longest time in which no attempt at a task began, between the first and the last one.
pub async fn standstill(pool: &PgPool) -> Result<Duration, sqlx::Error> {
    let question = "
        select coalesce(max(extract(epoch from started_at - earlier)), 0)::double precision
          from (select started_at, lag(started_at) over (order by started_at) as earlier
                  from task_attempts) gaps";
    let secs: f64 = sqlx::query_scalar(question).fetch_one(pool).await?;
    Ok(Duration::from_secs_f64(secs))
}

/// Attempts by lane and state.
pub async fn attempts(pool: &PgPool) -> Result<Vec<(String, String, i64)>, sqlx::Error> {
    let question = "
        select 'planning', state, count(*) from planning_attempts group by state
         union all select 'task', state, count(*) from task_attempts group by state
         union all select 'delivery', state, count(*) from delivery_attempts group by state
         order by 1, 2";
    sqlx::query_as(question).fetch_all(pool).await
}

/// An attempt whose holder was taken for dead.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Lost {
    /// Of the process that had it, as `workers` knows it; `None` if it never said that it lives.
    pub program: Option<String>,
    /// Microseconds since 1970.
    pub started_at: i64,
    pub settled_at: i64,
    /// When the next attempt began.
    pub again_at: Option<i64>,
}

pub async fn lost(pool: &PgPool) -> Result<Vec<Lost>, sqlx::Error> {
    let question = "
        select w.program,
               (extract(epoch from a.started_at) * 1000000)::bigint as started_at,
               (extract(epoch from a.settled_at) * 1000000)::bigint as settled_at,
               (extract(epoch from n.started_at) * 1000000)::bigint as again_at
          from task_attempts a
          left join task_attempts n on n.task_id = a.task_id and n.number = a.number + 1
          left join workers w on w.holder = a.holder
         where a.state = 'lost'";
    sqlx::query_as(question).fetch_all(pool).await
}
