//! What a gatekeeper lets in.

use super::*;

fn limit(name: &str, by: By, concurrency: u32) -> Limit {
    Limit {
        name: name.to_owned(),
        lane: Some(Lane::Tasks),
        by,
        value: None,
        concurrency: Some(concurrency),
        rate: None,
    }
}

fn work(tenant: &'static str, kind: &'static str) -> Work<'static> {
    Work { build: ulid::Ulid::nil().into(), tenant, kind, key: None, cost: 1 }
}

fn parked(name: &str, value: &str) -> Entry {
    Entry::Parked(Gate::Limit { name: name.to_owned(), value: value.to_owned() })
}

#[test]
fn every_limit_that_meets_the_work_must_have_room() {
    let limits = [limit("all", By::All, 3), limit("each-tenant", By::Tenant, 2)];
    let running = [Running {
        lane: Lane::Tasks,
        tenant: "a".to_owned(),
        kind: "create_file".to_owned(),
        key: None,
        cost: 1,
    }];
    let paused = BTreeSet::new();
    let mut gate = Gatekeeper::new(Lane::Tasks, &limits, &paused, &running, &[], 10, 10);

    assert_eq!(gate.judge(&work("a", "x")), Entry::Admitted);
    assert_eq!(gate.judge(&work("a", "x")), parked("each-tenant", "a"));
    assert_eq!(gate.judge(&work("b", "x")), Entry::Admitted);
    assert_eq!(gate.judge(&work("b", "x")), parked("all", ""));
}

#[test]
fn a_rate_lets_a_burst_in_and_then_says_how_long_to_wait() {
    let rate = Some(Rate { count: 2, per: Duration::from_secs(1) });
    let limits = [Limit { concurrency: None, rate, ..limit("pace", By::All, 0) }];
    let paused = BTreeSet::new();
    let mut gate = Gatekeeper::new(Lane::Tasks, &limits, &paused, &[], &[], 10, 10);

    assert_eq!(gate.judge(&work("a", "x")), Entry::Admitted);
    assert_eq!(gate.judge(&work("a", "x")), Entry::Admitted);
    assert_eq!(gate.judge(&work("a", "x")), Entry::Delayed(Duration::from_millis(500)));
    assert_eq!(gate.judge(&work("a", "x")), Entry::Delayed(Duration::from_secs(1)));
    assert!(gate.is_shut());

    let mut buckets = gate.buckets();
    buckets[0].age = Duration::from_millis(500);
    let mut gate = Gatekeeper::new(Lane::Tasks, &limits, &paused, &[], &buckets, 10, 10);
    assert_eq!(gate.judge(&work("a", "x")), Entry::Admitted);
    assert!(matches!(gate.judge(&work("a", "x")), Entry::Delayed(_)));
}

#[test]
fn what_a_limit_turned_away_is_not_overtaken_there() {
    let limits = [limit("each-tenant", By::Tenant, 2)];
    let paused = BTreeSet::new();
    let mut gate = Gatekeeper::new(Lane::Tasks, &limits, &paused, &[], &[], 10, 10);
    assert_eq!(gate.judge(&work("a", "x")), Entry::Admitted);

    let costly = Work { cost: 2, ..work("a", "x") };

    assert_eq!(gate.judge(&costly), parked("each-tenant", "a"));
    assert_eq!(gate.judge(&work("a", "x")), parked("each-tenant", "a"));
    let waits_at = Gate::Limit { name: "each-tenant".to_owned(), value: "a".to_owned() };
    assert_eq!(gate.room_at(&waits_at), 0);
    assert_eq!(gate.judge(&work("b", "x")), Entry::Admitted);
    assert!(!gate.is_shut());
}

#[test]
fn what_is_paused_is_parked_at_its_own_gate() {
    let paused = BTreeSet::from([Gate::Tenant("a".to_owned())]);
    let mut gate = Gatekeeper::new(Lane::Tasks, &[], &paused, &[], &[], 10, 10);

    assert_eq!(gate.judge(&work("a", "x")), Entry::Parked(Gate::Tenant("a".to_owned())));
    assert_eq!(gate.judge(&work("b", "x")), Entry::Admitted);
    assert_eq!(gate.room_at(&Gate::Tenant("a".to_owned())), 0);
    assert_eq!(gate.room_at(&Gate::Tenant("b".to_owned())), u32::MAX);
}

#[test]
fn costly_work_is_not_overtaken_and_never_too_costly() {
    let paused = BTreeSet::new();
    let mut gate = Gatekeeper::new(Lane::Tasks, &[], &paused, &[], &[], 3, 4);
    let two = Work { cost: 2, ..work("a", "x") };

    assert_eq!(gate.judge(&two), Entry::Admitted);
    assert_eq!(gate.judge(&two), Entry::NoRoom);
    let mut gate = Gatekeeper::new(Lane::Tasks, &[], &paused, &[], &[], 4, 4);
    assert_eq!(gate.judge(&Work { cost: 9, ..two }), Entry::Admitted);
}

#[test]
fn a_gate_is_read_back_from_its_text() {
    for gate in [
        Gate::Time,
        Gate::Turn,
        Gate::Limit { name: "all".to_owned(), value: String::new() },
        Gate::Limit { name: "each".to_owned(), value: "a b".to_owned() },
        Gate::Tenant("acme inc".to_owned()),
        Gate::Build(ulid::Ulid::from_parts(1, 2).into()),
        Gate::Lane(Lane::Plans),
    ] {
        assert_eq!(gate.to_string().parse(), Ok(gate));
    }
}
