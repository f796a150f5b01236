//! A spec as the templates of this stack see it: every name, line and value decided.

use std::collections::HashSet;

use serde::Serialize;

use super::{
    super::{
        naming::{camel, pascal, ts_string, words},
        spec::{self, Cardinality, Spec},
    },
    COMMANDS,
    actions::Action,
    columns::Column,
    documents::{self, Documents, Rows},
    layout::{self, Code},
    names::{Names, variable},
};

/// Everything the templates know.
#[derive(Debug, Serialize)]
pub struct Project<'a> {
    pub slug: &'a str,
    pub title: &'a str,
    pub summary: &'a str,
    pub brief: &'a str,
    pub notes: &'a [String],
    pub install: &'static str,
    pub test: &'static str,
    pub entities: Vec<Entity>,
    pub uses: Uses,
    #[serde(flatten)]
    pub documents: Documents,
}

/// What of the shared modules this project needs: what nobody calls is not written.
#[derive(Debug, Default, Serialize)]
pub struct Uses {
    pub belongs_to: bool,
    pub links: bool,
    pub references: bool,
    pub unique: bool,
    pub conditions: bool,
    pub equals: bool,
    pub search: bool,
    pub sequence: bool,
    pub now: bool,
    pub boolean: bool,
    pub text: bool,
    pub long_text: bool,
    pub integer: bool,
    pub decimal: bool,
    pub date: bool,
    pub datetime: bool,
    pub email: bool,
    pub url: bool,
}

#[derive(Debug, Serialize)]
pub struct Entity {
    #[serde(flatten)]
    pub names: Names,
    pub about: String,
    pub columns: Vec<Column>,
    pub links: Vec<Link>,
    pub actions: Vec<Action>,
    pub nested: Vec<Nested>,
    /// The entities beside this one whose repositories the nested routes use, and those whose
    /// lists they give.
    pub neighbours: Vec<Names>,
    pub listed_neighbours: Vec<Names>,
    pub parent_relations: Vec<ParentRelation>,
    pub self_columns: Vec<Column>,
    pub search_columns: Vec<String>,
    pub filters: Vec<Filter>,
    pub field_rows: Rows,

    pub listing_imports: Vec<&'static str>,
    pub validation_imports: Vec<&'static str>,
    pub filter_imports: Vec<&'static str>,
    pub type_imports: Vec<String>,
    pub optional_keys: Vec<String>,
    /// The literal of the statement that reads one record.
    pub select: String,
    pub filter_list: String,
    /// The calls that check references.
    pub references: Vec<String>,
    pub has_conditions: bool,

    pub new_is_async: bool,
    /// What gives a new body, in place to be spread.
    pub new_spread: String,
    pub sample_sequence: bool,
    pub test_types: Vec<Names>,
    pub test_records: Vec<String>,
    pub asserts_now: bool,
    /// Assertions on what was left out.
    pub defaults: Vec<String>,
    pub required_keys: Vec<String>,
    pub bad_values: Vec<String>,
    pub change: Option<Column>,
    pub clearable: Option<Column>,
    pub search: Option<Search>,
    pub value_filters: Vec<ValueFilter>,
}

/// A link table to another entity.
#[derive(Debug, Clone, Serialize)]
pub struct Link {
    pub target: Names,
    pub is_self: bool,
    pub words: String,
    pub table: String,
    pub from: String,
    pub to: String,
    pub json: String,
    pub column: String,
    pub setter: String,
    pub id_var: String,
    pub delete_const: String,
    pub insert_const: String,
    /// The query parameters of both lists, and the nested reads of both.
    pub filter: String,
    pub reverse_filter: String,
    pub reverse_path: String,
    pub forward_path: String,
}

/// The records of one entity, read below a record of another.
#[derive(Debug, Clone, Serialize)]
pub struct Nested {
    pub path: String,
    pub owner: Names,
    pub listed: Names,
    /// The parameter of the list that holds the id of the owner.
    pub key: String,
}

#[derive(Debug, Clone, Serialize)]
pub struct ParentRelation {
    pub json: String,
    pub words: String,
    pub optional: bool,
    pub var: String,
    pub target: Names,
    pub nested_path: String,
}

/// A parameter that a list is filtered by.
#[derive(Debug, Clone, Serialize)]
pub struct Filter {
    pub key: String,
    pub entry: String,
    /// For documents: `the id of a record of /authors`.
    pub rule: String,
    #[serde(skip)]
    call: Code,
    #[serde(skip)]
    validator: Option<&'static str>,
    #[serde(skip)]
    function: &'static str,
}

/// What a search is tested with: a field, a text that is found and one that is not.
#[derive(Debug, Serialize)]
pub struct Search {
    json: String,
    hit: String,
    miss: String,
}

#[derive(Debug, Serialize)]
pub struct ValueFilter {
    json: String,
    words: String,
    hit: String,
    miss: String,
    query: String,
    bad_query: String,
}

/// The parameters that every list takes: fields of these names cannot be filtered by.
const LIST_PARAMETERS: [&str; 4] = ["limit", "offset", "sort", "q"];

impl<'a> Project<'a> {
    pub fn of(spec: &'a Spec) -> Self {
        let names: Vec<Names> = Names::of_all(&spec.entities);
        let mut entities: Vec<Entity> = spec
            .entities
            .iter()
            .zip(&names)
            .map(|(entity, own)| Entity::of(entity, own, &names))
            .collect();
        connect(spec, &names, &mut entities);
        let links = entities.iter().any(|entity| !entity.links.is_empty());
        for entity in &mut entities {
            entity.finish();
        }
        let uses = Uses::of(&entities, links);
        Self {
            slug: &spec.slug,
            title: &spec.title,
            summary: &spec.summary,
            brief: &spec.brief,
            notes: &spec.notes,
            install: COMMANDS.install,
            test: COMMANDS.test,
            documents: Documents::of(&spec.slug, &entities, &uses),
            entities,
            uses,
        }
    }
}

impl Uses {
    fn of(entities: &[Entity], links: bool) -> Self {
        let columns = || entities.iter().flat_map(|entity| &entity.columns);
        let validator = |name: &str| columns().any(|column| column.validators.contains(&name));
        let belongs_to = columns().any(|column| column.is_relation);
        let filters = || entities.iter().flat_map(|entity| &entity.filters);
        Self {
            belongs_to,
            links,
            references: belongs_to || links,
            unique: columns().any(|column| column.unique),
            conditions: entities.iter().any(|entity| entity.has_conditions),
            equals: filters().any(|filter| filter.function == "equals"),
            search: entities.iter().any(|entity| !entity.search_columns.is_empty()),
            sequence: entities.iter().any(|entity| entity.sample_sequence),
            now: entities.iter().any(|entity| entity.asserts_now),
            boolean: filters().any(|filter| filter.validator == Some("flag")),
            text: validator("text"),
            long_text: validator("longText"),
            integer: validator("integer"),
            decimal: validator("decimal"),
            date: validator("date"),
            datetime: validator("datetime"),
            email: validator("email"),
            url: validator("url"),
        }
    }
}

impl Entity {
    fn of(entity: &spec::Entity, own: &Names, all: &[Names]) -> Self {
        let mut columns: Vec<Column> =
            entity.fields.iter().map(|field| Column::of_field(field, own)).collect();
        let mut self_columns = Vec::new();
        let mut filters = Vec::new();
        let mut value_filters = Vec::new();
        let mut search_columns = Vec::new();
        let mut search = None;
        for (field, column) in entity.fields.iter().zip(&columns) {
            if is_searched(&field.kind) {
                search_columns.push(column.sql.clone());
                search = search.or_else(|| Search::of(field, column));
            }
            if let Some((filter, value_filter)) = value_filter(field, column, own) {
                filters.push(filter);
                value_filters.push(value_filter);
            }
        }
        for (relation, target) in relations(entity, all, Cardinality::BelongsTo) {
            let column = Column::of_relation(relation, target);
            filters.push(Filter::by_column(&column, "urlId", Some("urlId")));
            if target == own {
                self_columns.push(column.clone());
            }
            columns.push(column);
        }
        let actions: Vec<Action> =
            entity.actions.iter().map(|action| Action::of(action, entity, own)).collect();
        Self {
            about: entity.about.clone(),
            links: Vec::new(),
            nested: Vec::new(),
            neighbours: Vec::new(),
            listed_neighbours: Vec::new(),
            parent_relations: Vec::new(),
            listing_imports: Vec::new(),
            validation_imports: Vec::new(),
            filter_imports: Vec::new(),
            type_imports: vec![
                own.kind.clone(),
                format!("New{}", own.kind),
                format!("{}Changes", own.kind),
                format!("{}Query", own.kind),
            ],
            optional_keys: Vec::new(),
            field_rows: Vec::new(),
            select: String::new(),
            filter_list: String::new(),
            references: Vec::new(),
            has_conditions: actions.iter().any(|action| action.refusal.is_some()),
            new_is_async: columns.iter().any(|column| column.is_relation && !column.nullable),
            new_spread: String::new(),
            sample_sequence: columns
                .iter()
                .any(|column| column.samples.uses_sequence && column.in_minimum),
            test_types: vec![own.clone()],
            test_records: Vec::new(),
            asserts_now: actions.iter().any(Action::asserts_now),
            defaults: Vec::new(),
            required_keys: Vec::new(),
            bad_values: Vec::new(),
            change: None,
            clearable: None,
            names: own.clone(),
            columns,
            actions,
            self_columns,
            search_columns,
            filters,
            search,
            value_filters,
        }
    }

    /// Works out what follows from columns, links and filters, once all are known.
    fn finish(&mut self) {
        self.optional_keys = self
            .columns
            .iter()
            .filter(|column| column.default.is_some())
            .map(|column| column.json.clone())
            .chain(self.links.iter().map(|link| link.json.clone()))
            .collect();
        let links: Vec<(String, String)> =
            self.links.iter().map(|link| (link.json.clone(), link.target.path.clone())).collect();
        self.field_rows = documents::field_rows(&self.columns, &links);
        self.finish_imports();
        let from = format!("FROM {} WHERE id = ?", self.names.table);
        self.select = if self.links.is_empty() {
            format!("{};", ts_string(&format!("SELECT * {from}")))
        } else {
            format!("`SELECT ${{COLUMNS}} {from}`;")
        };
        let mut calls: Vec<Code> = self.filters.iter().map(|filter| filter.call.clone()).collect();
        if !self.search_columns.is_empty() {
            let columns = Code::strings(&self.search_columns);
            let items = vec![columns, Code::Text("query.q".into())];
            calls.insert(0, Code::list("contains(", items, ")"));
        }
        self.filter_list = Code::list("filters: [", calls, "]").lay_out(6, ",");

        let new = format!("new{}", self.names.kind);
        self.new_spread =
            if self.new_is_async { format!("(await {new}(api))") } else { format!("{new}()") };
        self.change = self
            .columns
            .iter()
            .find(|column| column.samples.other != column.samples.static_sample)
            .cloned();
        self.clearable =
            self.columns.iter().find(|column| !column.is_relation && column.nullable).cloned();
        self.finish_tests();
    }

    fn finish_imports(&mut self) {
        self.listing_imports = vec!["pageFields", "sortBy"];
        self.filter_imports = vec!["selectPage", "type Page"];
        if !self.search_columns.is_empty() {
            self.listing_imports.push("searchTerm");
            self.filter_imports.push("contains");
        }
        let mut validators: Vec<&'static str> = Vec::new();
        validators.extend(self.columns.iter().flat_map(|column| &column.validators));
        validators.extend(self.filters.iter().filter_map(|filter| filter.validator));
        if !self.links.is_empty() {
            validators.push("references");
        }
        self.validation_imports = distinct(validators);
        self.filter_imports.extend(self.filters.iter().map(|filter| filter.function));
        self.filter_imports = distinct(std::mem::take(&mut self.filter_imports));
    }

    fn finish_tests(&mut self) {
        let new = format!("new{}", self.names.kind);
        let mut records = vec![format!("create{}", self.names.kind), new];
        for relation in &self.parent_relations {
            records.push(format!("create{}", relation.target.kind));
        }
        for link in &self.links {
            records.push(format!("create{}", link.target.kind));
            self.test_types.push(link.target.clone());
        }
        self.test_records = distinct(records);
        self.test_types = distinct(std::mem::take(&mut self.test_types));
        for column in &self.columns {
            if let Some(default) = &column.default {
                let json = &column.json;
                self.defaults.push(format!("assert.equal(body.{json}, {default});"));
            }
            let bad = column.samples.bad.iter().cloned().map(Code::Text).collect();
            let entry = Code::list(&format!("{}: [", column.json), bad, "]").lay_out(4, ",");
            self.bad_values.push(entry);
            if column.in_minimum {
                self.required_keys.push(ts_string(&column.json));
            }
        }
        for link in &self.links {
            self.defaults.push(format!("assert.deepEqual(body.{}, []);", link.json));
        }
    }

    /// Adds a read below a record, under the first of these names that is free there.
    fn add_nested(
        &mut self,
        taken: &mut HashSet<String>,
        owner: &Names,
        candidates: &[String],
        listed: &Names,
        key: &str,
    ) -> String {
        let mut paths = candidates.iter().map(|segment| format!("{}/:id/{segment}", owner.path));
        let free = paths.clone().find(|path| !taken.contains(path));
        let path = free.or_else(|| paths.next_back()).unwrap_or_default();
        taken.insert(path.clone());
        for other in [owner, listed] {
            if *other != self.names && !self.neighbours.contains(other) {
                self.neighbours.push(other.clone());
            }
        }
        if *listed != self.names && !self.listed_neighbours.contains(listed) {
            self.listed_neighbours.push(listed.clone());
        }
        self.nested.push(Nested {
            path: path.clone(),
            owner: owner.clone(),
            listed: listed.clone(),
            key: key.to_owned(),
        });
        path
    }
}

/// Ties entities to one another: links, and reads of one below the other. All of it belongs to
/// the entity that names the relation, which comes after the other.
fn connect(spec: &Spec, names: &[Names], entities: &mut [Entity]) {
    let mut taken = HashSet::new();
    for (index, entity) in spec.entities.iter().enumerate() {
        let own = &names[index];
        for (relation, target) in relations(entity, names, Cardinality::BelongsTo) {
            let json = camel(&format!("{}_id", relation.name));
            let as_relation = format!("{}_as_{}", entity.plural, relation.name);
            let candidates = match (target == own, relation.name.as_str()) {
                (true, "parent") => vec!["children".to_owned(), as_relation],
                (true, _) => vec![as_relation],
                (false, _) => vec![entity.plural.clone(), as_relation],
            };
            let here = &mut entities[index];
            let nested_path = here.add_nested(&mut taken, target, &candidates, own, &json);
            here.references.push(reference_call("one", &json, target));
            let var = variable(&relation.name, "Record");
            here.parent_relations.push(ParentRelation {
                json,
                words: words(&relation.name),
                optional: !relation.required,
                var: if var == own.var { format!("{var}Target") } else { var },
                target: target.clone(),
                nested_path,
            });
        }
        for (relation, target) in relations(entity, names, Cardinality::ManyToMany) {
            let mut link = Link::of(relation, own, target);
            let here = &mut entities[index];
            here.references.push(reference_call("many", &link.json, target));
            here.filters.push(Filter::by_link(&link, &link.filter, &link.from, &link.to));
            let Some(other) = names.iter().position(|name| name == target) else { continue };
            let there = &mut entities[other];
            let reverse = [camel(&format!("{}_id", own.name)), link.reverse_filter.clone()];
            // Another relation of an entity to itself may still claim the shorter key.
            let used = |key: &String| {
                link.is_self && *key != link.reverse_filter
                    || there.filters.iter().any(|filter| filter.key == *key)
            };
            link.reverse_filter =
                reverse.into_iter().find(|key| !used(key)).unwrap_or(link.reverse_filter);
            there.filters.push(Filter::by_link(&link, &link.reverse_filter, &link.to, &link.from));

            let as_relation = format!("{}_as_{}", entity.plural, relation.name);
            let reverse_segments = if link.is_self {
                vec![as_relation]
            } else {
                vec![entity.plural.clone(), as_relation]
            };
            let named = format!("{}_{}", relation.name, target.plural);
            let forward_segments = if relation.name == target.name {
                vec![target.plural.clone(), named]
            } else {
                vec![named]
            };
            let here = &mut entities[index];
            link.reverse_path =
                here.add_nested(&mut taken, target, &reverse_segments, own, &link.filter);
            link.forward_path =
                here.add_nested(&mut taken, own, &forward_segments, target, &link.reverse_filter);
            here.links.push(link);
        }
    }
}

impl Link {
    fn of(relation: &spec::Relation, own: &Names, target: &Names) -> Self {
        let name = &relation.name;
        let upper = name.to_uppercase();
        let from = format!("{}_id", own.name);
        let to = format!("{name}_id");
        Self {
            is_self: target == own,
            words: if *name == target.name {
                target.plural_words.clone()
            } else {
                format!("{} {}", words(name), target.plural_words)
            },
            table: format!("{}_{name}_links", own.name),
            to: if to == from { format!("linked_{to}") } else { to.clone() },
            from,
            json: camel(&format!("{name}_ids")),
            column: format!("{name}_ids"),
            setter: format!("link{}", pascal(&format!("{name}_ids"))),
            id_var: camel(&to),
            delete_const: format!("DELETE_{upper}_LINKS"),
            insert_const: format!("INSERT_{upper}_LINK"),
            filter: camel(&to),
            reverse_filter: format!("{}Of{}Id", camel(name), own.kind),
            reverse_path: String::new(),
            forward_path: String::new(),
            target: target.clone(),
        }
    }
}

impl Filter {
    /// Lists the records with a value in a column.
    fn by_column(column: &Column, schema: &str, validator: Option<&'static str>) -> Self {
        let items =
            vec![Code::Text(ts_string(&column.sql)), Code::Text(format!("query.{}", column.json))];
        Self {
            entry: layout::assign(
                &format!("{}:", column.json),
                &format!("{schema}.optional(),"),
                2,
            ),
            key: column.json.clone(),
            rule: column.rule.clone(),
            call: Code::list("equals(", items, ")"),
            validator,
            function: "equals",
        }
    }

    /// Lists the records that a link table connects with the id in `to`.
    fn by_link(link: &Link, key: &str, from: &str, to: &str) -> Self {
        let texts = [&link.table, from, to].map(|text| Code::Text(ts_string(text)));
        let mut items = texts.to_vec();
        items.push(Code::Text(format!("query.{key}")));
        Self {
            entry: format!("{key}: urlId.optional(),"),
            key: key.to_owned(),
            rule: "the id of a linked record".to_owned(),
            call: Code::list("linked(", items, ")"),
            validator: Some("urlId"),
            function: "linked",
        }
    }
}

impl Search {
    /// None where the field has no room for the words.
    fn of(field: &spec::Field, column: &Column) -> Option<Self> {
        let roomy = match field.kind {
            spec::Kind::Text { max } => max >= 10,
            spec::Kind::LongText => true,
            _ => false,
        };
        roomy.then(|| Self {
            json: column.json.clone(),
            hit: ts_string("one Xyzzy"),
            miss: ts_string("another"),
        })
    }
}

/// The filter by a choice or a boolean, with its test.
fn value_filter(
    field: &spec::Field,
    column: &Column,
    own: &Names,
) -> Option<(Filter, ValueFilter)> {
    if LIST_PARAMETERS.contains(&column.json.as_str()) {
        return None;
    }
    let [miss, hit] = match &field.kind {
        spec::Kind::Choice { options } => [options.first()?.clone(), options.get(1)?.clone()],
        spec::Kind::Boolean => ["false".to_owned(), "true".to_owned()],
        _ => return None,
    };
    let choice = !column.options.is_empty();
    let literal = |word: &str| if choice { ts_string(word) } else { word.to_owned() };
    let query = |word: &str| format!("{}?{}={word}", own.path, column.json);
    let filter = if choice {
        Filter::by_column(column, &format!("z.enum({})", column.options_name), None)
    } else {
        Filter::by_column(column, "flag", Some("flag"))
    };
    let test = ValueFilter {
        json: column.json.clone(),
        words: column.words.clone(),
        query: query(&hit),
        bad_query: query("no_such_option"),
        hit: literal(&hit),
        miss: literal(&miss),
    };
    Some((filter, test))
}

fn is_searched(kind: &spec::Kind) -> bool {
    use spec::Kind::{Email, LongText, Text, Url};
    matches!(kind, Text { .. } | LongText | Email | Url)
}

fn reference_call(method: &str, json: &str, target: &Names) -> String {
    let items = [ts_string(json), ts_string(&target.table), format!("input.{json}")];
    let after = if method == "many" { " ?? []" } else { "" };
    let mut items = items.to_vec();
    if let Some(last) = items.last_mut() {
        last.push_str(after);
    }
    let items = items.into_iter().map(Code::Text).collect();
    Code::list(&format!("check.{method}("), items, ")").lay_out(4, ";")
}

/// The relations of an entity of one cardinality, each with the names of the other entity.
fn relations<'a>(
    entity: &'a spec::Entity,
    names: &'a [Names],
    cardinality: Cardinality,
) -> impl Iterator<Item = (&'a spec::Relation, &'a Names)> {
    entity.relations.iter().filter(move |relation| relation.cardinality == cardinality).filter_map(
        |relation| {
            let target = names.iter().find(|names| names.name == relation.target)?;
            Some((relation, target))
        },
    )
}

/// The values without repetition, in order of first appearance.
fn distinct<T: PartialEq>(values: Vec<T>) -> Vec<T> {
    let mut out: Vec<T> = Vec::new();
    for value in values {
        if !out.contains(&value) {
            out.push(value);
        }
    }
    out
}
