//! The definition of an entity's table in Python, and the imports that it needs.

use std::collections::BTreeSet;

use super::{
    actions::now_function,
    layout::{Expression, text},
    names,
    records::{column_of, link_view, linked, owners, pair_columns, pairs_of, target},
};
use crate::generate::{
    naming::{kebab, words},
    spec::{Cardinality, Entity, Kind, Set, Spec},
};

fn kind_expression(kind: &Kind) -> Expression {
    let number = |name: &str, value: &Option<i64>| {
        value.map(|value| Expression::keyword(name, Expression::atom(value.to_string())))
    };
    match kind {
        Kind::Text { max } => Expression::call("Text", vec![Expression::atom(max.to_string())]),
        Kind::Integer { min, max } => {
            let bounds = [number("smallest", min), number("largest", max)];
            Expression::call("Integer", bounds.into_iter().flatten().collect())
        }
        Kind::Decimal { min } => {
            Expression::call("Decimal", number("smallest", min).into_iter().collect())
        }
        Kind::Choice { options } => {
            let options = options.iter().map(|o| text(o)).collect();
            Expression::call("Choice", vec![Expression::tuple(options)])
        }
        other => Expression::call(kind_class(other), vec![]),
    }
}

fn kind_class(kind: &Kind) -> &'static str {
    match kind {
        Kind::Text { .. } => "Text",
        Kind::LongText => "LongText",
        Kind::Integer { .. } => "Integer",
        Kind::Decimal { .. } => "Decimal",
        Kind::Boolean => "Boolean",
        Kind::Date => "Date",
        Kind::Datetime => "Datetime",
        Kind::Email => "Email",
        Kind::Url => "Url",
        Kind::Choice { .. } => "Choice",
    }
}

pub(super) fn table(spec: &Spec, entity: &Entity) -> Expression {
    let word = |name: &str, value: &str| Expression::keyword(name, text(value));
    let not_required = || Expression::keyword("required", Expression::atom("False"));
    let fields = entity.fields.iter().map(|field| {
        let mut items = vec![text(&field.name), kind_expression(&field.kind)];
        if !field.required {
            items.push(not_required());
        }
        match &field.kind {
            Kind::Boolean if field.required => {
                items.push(Expression::keyword("default", Expression::atom("False")));
            }
            Kind::Choice { options } => {
                let first = options.first().map_or("", String::as_str);
                items.push(word("default", first));
            }
            _ => {}
        }
        Expression::call("Field", items)
    });
    let references = owners(entity).map(|relation| {
        let target = target(spec, entity, relation);
        let mut items = vec![text(&relation.name), text(&target.plural), text(&target.noun)];
        if !relation.required {
            items.push(not_required());
        }
        Expression::call("Reference", items)
    });
    let links = linked(entity).map(|relation| {
        let link = link_view(spec, entity, relation);
        let items = vec![
            word("name", &relation.name),
            word("table", &link.target.plural),
            word("noun", &link.target.noun),
            word("pairs", &link.pairs),
            word("owner_column", &link.owner_column),
            word("target_column", &link.target_column),
        ];
        Expression::call("Links", items)
    });
    let mut items = vec![
        word("name", &entity.plural),
        word("noun", &words(&entity.name)),
        word("nouns", &words(&entity.plural)),
        word("command", &kebab(&entity.name)),
        Expression::keyword("record", Expression::atom(names::class(entity))),
        Expression::keyword("fields", Expression::tuple(fields.collect())),
    ];
    let groups = [
        ("references", references.collect::<Vec<_>>()),
        ("links", links.collect()),
        ("referrers", referrer_expressions(spec, entity)),
    ];
    for (name, group) in groups {
        if !group.is_empty() {
            items.push(Expression::keyword(name, Expression::tuple(group)));
        }
    }
    Expression::call("TABLE = Table", items)
}

fn referrer_expressions(spec: &Spec, entity: &Entity) -> Vec<Expression> {
    let mut found = Vec::new();
    for other in &spec.entities {
        for relation in other.relations.iter().filter(|r| r.target == entity.name) {
            let (table, column, owner) = match relation.cardinality {
                Cardinality::BelongsTo => (other.plural.clone(), column_of(relation), "id".into()),
                Cardinality::ManyToMany => {
                    let (owner, target) = pair_columns(other, relation);
                    (pairs_of(other, relation), target, owner)
                }
            };
            let mut items = vec![text(&table), text(&column), text(&words(&other.plural))];
            if other.name == entity.name {
                items.push(Expression::keyword("own_column", text(&owner)));
            }
            found.push(Expression::call("Referrer", items));
        }
    }
    found
}

fn import(module: &str, names: &BTreeSet<&str>) -> String {
    let head = format!("from {module} import ");
    let names: Vec<Expression> = names.iter().map(|name| Expression::atom(*name)).collect();
    let list: Vec<String> = names.iter().map(|n| n.lay_out(0, 0, 0)).collect();
    let flat = list.join(", ");
    if head.len() + flat.len() <= 100 {
        return format!("{head}{flat}");
    }
    format!("{head}{}", Expression::call("", names).explode(0))
}

pub(super) fn table_import(entity: &Entity, referred: bool) -> String {
    let mut names = BTreeSet::from(["Action", "Field", "Table"]);
    if owners(entity).next().is_some() {
        names.insert("Reference");
    }
    if linked(entity).next().is_some() {
        names.insert("Links");
    }
    if referred {
        names.insert("Referrer");
    }
    if entity.actions.iter().any(|action| action.requires.is_some()) {
        names.insert("refusal");
    }
    import("..table", &names)
}

pub(super) fn values_import(entity: &Entity) -> String {
    let mut names: BTreeSet<&str> =
        entity.fields.iter().map(|field| kind_class(&field.kind)).collect();
    for set in entity.actions.iter().flat_map(|action| &action.sets) {
        if let Set::Now { field } = set {
            names.insert(now_function(entity, field));
        }
    }
    import("..values", &names)
}
