//! Every store keeps the promises of `trait Store`.

mod sqlite {
    use buildfleet::store::sqlite::Sqlite;
    use tempfile::TempDir;

    async fn fresh() -> (Sqlite, TempDir) {
        let folder = tempfile::tempdir().expect("a folder for the test");
        // The folder in it is not there yet: opening a store makes it.
        let path = folder.path().join("data").join("fleet.db");
        let store = Sqlite::open(&format!("sqlite:{}", path.display())).await.expect("a store");
        (store, folder)
    }

    buildfleet::store_conformance!(fresh);
}

/// The model that the simulation runs on.
mod model {
    use tests::sim::store::Model;

    /// With nothing to keep.
    async fn fresh() -> (Model, ()) {
        (Model::new(None), ())
    }

    buildfleet::store_conformance!(fresh);
}

mod postgres {
    use buildfleet::store::{Store, postgres::Postgres};
    use tests::servers;

    /// With nothing to keep: the server goes with the process.
    async fn fresh() -> (Postgres, ()) {
        let url = servers::Postgres::start().fresh_database();
        (Postgres::open(&url).await.expect("a store"), ())
    }

    buildfleet::store_conformance!(fresh);

    /// What Postgres allows unless told otherwise, without what it keeps for its administrator.
    const SERVER_CONNECTIONS: usize = 97;

    #[tokio::test]
    async fn twelve_busy_programs_fit_on_a_server_as_it_comes() {
        let url = servers::Postgres::start().fresh_database();
        let mut programs = Vec::new();
        for _ in 0..12 {
            programs.push(Postgres::open(&url).await.expect("a store"));
        }

        let asked = programs.iter().flat_map(|program| (0..50).map(move |_| program.workers()));
        let answers = futures_util::future::join_all(asked).await;

        assert!(answers.iter().all(Result::is_ok));
        let pool = sqlx::PgPool::connect(&url).await.unwrap();
        let open: i64 = sqlx::query_scalar(
            "select count(*) from pg_stat_activity where datname = current_database()",
        )
        .fetch_one(&pool)
        .await
        .unwrap();
        assert!(usize::try_from(open).unwrap() <= SERVER_CONNECTIONS, "{open} are open");
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_named_as_the_reason() {
        // Nobody listens at the port of TCP's own multiplexer.
        let failed = Postgres::open("postgres://nobody@127.0.0.1:1/nothing").await.unwrap_err();

        let reason = std::error::Error::source(&failed).unwrap().to_string();
        assert!(reason.contains("refused"), "{reason}");
    }
}
