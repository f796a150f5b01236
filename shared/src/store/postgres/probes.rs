//! Tests of endpoints: a message to each, whatever it wants to hear. Many of them share a commit.

use std::collections::{BTreeSet, HashMap};

use sqlx::{PgConnection, Row};

use super::{
    desk::Gathered,
    fares::{Kept, NOTICE_PRIORITY, numbers},
    rows::{Columns, texts},
    *,
};
use crate::domain::{
    endpoint::{State, log_of},
    id::EndpointId,
};

/// A test that a tenant asks for.
#[derive(Debug)]
pub(super) struct Probe {
    pub tenant: String,
    pub endpoint: EndpointId,
}

type Known = HashMap<EndpointId, (String, State)>;

impl Gathered for Probe {
    type Answer = Delivery;
    const NAME: &'static str = "test";
    const COMMIT_MOST: usize = 512;

    async fn commit(db: &Db, all: &[Self]) -> Result<Vec<Result<Delivery, Error>>, Error> {
        let mut tx = db.pool.begin().await?;
        let known = find(&mut tx, all).await?;
        let (mut kept, mut made) = (Kept::default(), events::Made::default());
        let mut ids: Vec<Result<DeliveryId, Error>> = Vec::with_capacity(all.len());
        for (probe, seq) in all.iter().zip(numbers(&mut tx, all.len()).await?) {
            if let Err(refusal) = probe.judge(&known) {
                ids.push(Err(refusal));
                continue;
            }
            let endpoint = probe.endpoint;
            let event = Event::endpoint_test(endpoint);
            kept.add(endpoint, seq, &event)?;
            let to = events::To { endpoint, tenant: probe.tenant.clone(), ordered: false };
            ids.push(Ok(made.add_one(&to, log_of(endpoint), seq, event.kind, NOTICE_PRIORITY)));
        }
        kept.write(&mut tx).await?;
        let entered = made.write(&mut tx, &db.flows).await?;
        let mut views = deliveries::views(&mut tx, ids.iter().flatten()).await?;
        tx.commit().await?;
        db.bell.ring(entered);
        let mut view = |id: DeliveryId| views.remove(&id).ok_or_else(|| Error::not_found(id));
        Ok(ids.into_iter().map(|id| id.and_then(&mut view)).collect())
    }
}

impl Probe {
    fn judge(&self, known: &Known) -> Result<(), Error> {
        match known.get(&self.endpoint) {
            Some((tenant, State::Enabled)) if *tenant == self.tenant => Ok(()),
            Some((tenant, _)) if *tenant == self.tenant => {
                Err(Error::conflict("endpoint_disabled", "the endpoint is disabled"))
            }
            _ => Err(Error::not_found(self.endpoint)),
        }
    }
}

/// Whose the endpoints are and how they stand, of those that are there.
async fn find(conn: &mut PgConnection, all: &[Probe]) -> Result<Known, Error> {
    let rows = sqlx::query(
        "select e.id, e.state, coalesce(e.tenant, b.tenant) as tenant
           from endpoints e
           left join builds b on b.id = e.build_id
          where e.id = any($1) and e.removed_at is null",
    )
    .bind(texts(all.iter().map(|probe| probe.endpoint).collect::<BTreeSet<_>>()))
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| Ok((row.word("id")?, (row.try_get("tenant")?, row.word("state")?))))
        .collect()
}
