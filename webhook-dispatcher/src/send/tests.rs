//! The sender against receivers that misbehave.
