//! The real programs, killed, frozen and cut off at instants that dice choose.
//!
//! `record.rs` says what must be true afterwards, whatever happened; it reads the store and nothing
//! else.

mod record;
mod embedded;
mod fleet;
mod refusals;
mod storm;

/// Briefs of every stack, long enough that a kill finds something to interrupt.
const PROMPTS: [&str; 4] = [
    "Build a REST API for managing a book library with authors, books and loans",
    "An Express service in TypeScript for a shop with products, customers and orders",
    "A command line tool in Python that tracks expenses and their categories",
    "A FastAPI service for a clinic with doctors, patients and appointments",
];
