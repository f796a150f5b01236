//! Upkeep, which nothing simulated asks for: the model keeps all there is for as long as a run
//! lasts.

use buildfleet::store::{Upkeep, Webhooks};

use super::{faulty_store::FaultyStore, store::Model};

impl Upkeep for Model {}

impl Webhooks for Model {}

impl Upkeep for FaultyStore {}

impl Webhooks for FaultyStore {}
