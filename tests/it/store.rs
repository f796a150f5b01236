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

mod postgres {
    use buildfleet::store::postgres::Postgres;
    use tests::servers;

    /// With nothing to keep: the server goes with the process.
    async fn fresh() -> (Postgres, ()) {
        let url = servers::Postgres::start().fresh_database();
        (Postgres::open(&url).await.expect("a store"), ())
    }

    buildfleet::store_conformance!(fresh);
}
