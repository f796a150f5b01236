//! A fleet of real processes under load and bad treatment, measured: `cargo run -p tests --bin
//! storm`. What must be true of the record afterwards is in `history.rs`, which reads the database
//! and nothing else.

pub mod cancel;
pub mod chaos;
pub mod clock;
pub mod faults;
pub mod ground;
pub mod history;
pub mod idle;
pub mod load;
pub mod rolling;
pub mod shapes;
pub mod spread;
pub mod webhooks;
