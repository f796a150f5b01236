//! Hears what `buildfleet.submit` says when it is committed. Only haste: whoever waits for work
//! looks for it every second anyway.

use std::convert::Infallible;

use sqlx::postgres::PgListener;

use super::*;
use crate::{draw, outage::Outage};

/// Written in the function, too.
const CHANNEL: &str = "buildfleet_plans";

/// Takes one connection of the pool for as long as it is run.
pub(super) async fn listen(pool: &PgPool, bell: &Bell) -> Infallible {
    let mut outage = Outage::impatient("hearing of what is handed in by SQL");
    loop {
        let Err(error) = hear(pool, bell, &mut outage).await;
        tokio::time::sleep(outage.goes_on(&error)).await;
    }
}

async fn hear(pool: &PgPool, bell: &Bell, outage: &mut Outage) -> Result<Infallible, sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(CHANNEL).await?;
    outage.is_over();
    // What was handed in while nobody listened, here and where the connection was lost and made
    // anew. The build that is named need not exist.
    bell.ring([Job::Plan(draw::id())]);
    loop {
        match listener.try_recv().await? {
            Some(said) => bell.ring(said.payload().parse().ok().map(Job::Plan)),
            None => bell.ring([Job::Plan(draw::id())]),
        }
    }
}
