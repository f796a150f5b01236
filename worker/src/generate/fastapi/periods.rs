//! Which two fields of an entity are the ends of one period, told by their names.
//!
//! A spec does not say that a loan is not due before it begins; everybody who reads `loaned_on` and
//! `due_on` knows it all the same.

use crate::generate::spec::{Field, Kind};

/// Words that begin a period, each with the one that ends it.
const ENDS: [(&str, &str); 9] = [
    ("start", "end"),
    ("starts", "ends"),
    ("begin", "end"),
    ("begins", "ends"),
    ("from", "until"),
    ("from", "to"),
    ("in", "out"),
    ("opens", "closes"),
    ("opening", "closing"),
];

/// What begins the time in which something is due.
const LENT: [&str; 7] = ["loaned", "loan", "borrowed", "borrow", "issued", "issue", "lent"];

/// The names of fields that begin and end a period, in the order of the fields.
pub fn of(fields: &[Field]) -> Vec<(String, String)> {
    let mut periods = Vec::new();
    for first in fields {
        for last in fields {
            let dated = matches!(first.kind, Kind::Date | Kind::Datetime);
            let shared = !first.unique && !last.unique;
            if dated && shared && first.kind == last.kind && ends(&first.name, &last.name) {
                periods.push((first.name.clone(), last.name.clone()));
            }
        }
    }
    periods
}

/// Whether the second name is the end of what the first begins: `start_date` and `end_date`.
fn ends(first: &str, last: &str) -> bool {
    let first: Vec<&str> = first.split('_').collect();
    let last: Vec<&str> = last.split('_').collect();
    let differing: Vec<(&str, &str)> = first
        .iter()
        .copied()
        .zip(last.iter().copied())
        .filter(|(one, other)| one != other)
        .collect();
    match differing.as_slice() {
        [pair] if first.len() == last.len() && ENDS.contains(pair) => true,
        // `loan_date` with `due_on` is as clear as with `due_date`.
        [(lent, "due"), ..] => LENT.contains(lent) && first.len() == 2 && last.len() == 2,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_of_a_period_are_told_by_their_names() {
        for (first, last) in [
            ("start_date", "end_date"),
            ("starts_at", "ends_at"),
            ("valid_from", "valid_until"),
            ("check_in", "check_out"),
        ] {
            assert!(ends(first, last), "{first} {last}");
            assert!(!ends(last, first), "{last} {first}");
        }
        for (first, last) in
            [("start_date", "due_date"), ("sent_at", "paid_at"), ("date", "end_date")]
        {
            assert!(!ends(first, last), "{first} {last}");
        }
    }

    #[test]
    fn a_loan_is_due_after_it_begins() {
        let spec: crate::generate::spec::Spec =
            serde_json::from_str(include_str!("../../../tests/specs/library.json")).unwrap();
        let loan = &spec.entities[2];
        assert_eq!(of(&loan.fields), [("loaned_on".to_owned(), "due_on".to_owned())]);
    }
}
