//! Placeholder until this generator lands.
use super::{Commands, Error, File, Part, spec::Spec};
pub const COMMANDS: Commands = Commands { install: "true", test: "true" };
pub fn parts(_: &Spec) -> Vec<Part> {
    Vec::new()
}
pub fn render(_: &Spec, key: &str) -> Result<Vec<File>, Error> {
    Err(Error::NoSuchPart { key: key.into() })
}
