//! What the simulated programs do not ask: questions of operators, and the upkeep of what grows.
//! They are held to their promises on the real stores; here, who asks is told that nobody answers.

use std::collections::HashMap;

use async_trait::async_trait;
use buildfleet::{
    domain::{
        id::{BuildId, DeliveryId},
        limit::Gate,
    },
    job::Job,
    store::{
        AttemptView, Error, Page, Pause,
        audit::Change,
        operating::{
            BuildFilter, BuildsFound, DeliveriesFound, DeliveryFilter, Failed, FailedWanted,
            Operating, Parked, Wait,
        },
        upkeep::Upkeep,
    },
};

use super::{faulty_store::FaultyStore, store::Model};

fn nobody<T>() -> Result<T, Error> {
    Err(Error::unavailable("the simulation has no operators"))
}

macro_rules! aside {
    ($store:ty) => {
        #[async_trait]
        impl Upkeep for $store {}

        #[async_trait]
        impl Operating for $store {
            async fn waits(&self, _: &[Job]) -> Result<HashMap<Job, Wait>, Error> {
                nobody()
            }

            async fn paused_at(&self, _: &[Gate]) -> Result<Vec<Pause>, Error> {
                nobody()
            }

            async fn parked(&self) -> Result<Vec<Parked>, Error> {
                nobody()
            }

            async fn find_builds(&self, _: &BuildsFound) -> Result<Page<BuildId>, Error> {
                nobody()
            }

            async fn count_builds(&self, _: &BuildFilter) -> Result<u64, Error> {
                nobody()
            }

            async fn find_deliveries(
                &self,
                _: &DeliveriesFound,
            ) -> Result<Page<DeliveryId>, Error> {
                nobody()
            }

            async fn count_deliveries(&self, _: &DeliveryFilter) -> Result<u64, Error> {
                nobody()
            }

            async fn failed(&self, _: &FailedWanted) -> Result<Page<Failed>, Error> {
                nobody()
            }

            async fn planning_attempts(&self, _: BuildId) -> Result<Vec<AttemptView>, Error> {
                nobody()
            }

            async fn note(&self, _: &Change<'_>, _: &str) -> Result<(), Error> {
                nobody()
            }
        }
    };
}

aside!(Model);
aside!(FaultyStore);
