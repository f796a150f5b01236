//! Names of records that generated code can use.

use std::collections::HashSet;

use models::inflect::{plural, singular};
use models::words::snake;

use crate::generate::reserved::{is_reserved_entity, is_reserved_field, is_reserved_plural};

/// Leaves room for `_id` and for a second part below the bound of `spec_check`.
const NAME_BYTES_MAX: usize = 30;

/// Names that are taken, so that each is given once.
#[derive(Debug, Default)]
pub struct Names {
    taken: HashSet<String>,
}

impl Names {
    pub fn has(&self, name: &str) -> bool {
        self.taken.contains(name) || self.taken.contains(&plural(name))
    }

    /// A singular and a plural for a record, neither reserved nor taken.
    pub fn claim(&mut self, said: &str, plural_wanted: Option<&str>) -> (String, String) {
        let name = snake(said, NAME_BYTES_MAX);
        let base = if name.is_empty() { "entry".to_owned() } else { name };
        let base = if is_reserved(&base) { format!("{base}_entry") } else { base };
        for number in 1.. {
            let name = if number == 1 { base.clone() } else { format!("{base}_{number}") };
            let many = match plural_wanted {
                Some(wanted) if number == 1 => wanted.to_owned(),
                _ if number > 1 => format!("{base}_{number}_entries"),
                _ => plural(&name),
            };
            let many = if is_reserved_plural(&many) { format!("{name}_entries") } else { many };
            if many != name && !self.taken.contains(&name) && !self.taken.contains(&many) {
                self.taken.insert(name.clone());
                self.taken.insert(many.clone());
                return (name, many);
            }
        }
        (base.clone(), plural(&singular(&base)))
    }
}

/// A record's name is also the name of relations to it, so it must do as a field, too.
fn is_reserved(name: &str) -> bool {
    is_reserved_entity(name) || (is_reserved_field(name) && name != "user")
}
