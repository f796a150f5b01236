//! Briefs and what is read from them: the table that the rules are held to.
//!
//! An expectation is written small: `book[title,isbn] >author; loan >borrower:member !return` is a
//! book with two fields and an author, and a loan with a borrower, who is a member, and an action.
//! `>tag*` is many to many. The entities must be exactly those; of fields, relations and actions
//! there may be more. `price:decimal` tells a kind.

use super::lexicon::lexicon;
use super::{Ask, Refusal, read};
use crate::generate::spec::{Cardinality, Entity, Kind, Spec, Stack, Tool};

pub(super) fn ask(prompt: &str) -> Ask<'_> {
    Ask { prompt, project_type: None, framework: None, features: &[], complexity: None }
}

fn spec(prompt: &str) -> Spec {
    let spec = read(&ask(prompt)).unwrap_or_else(|refusal| panic!("{prompt}: {refusal}"));
    spec.validate().unwrap_or_else(|faults| panic!("{prompt}: {faults:?}"));
    spec
}

fn kind_name(kind: &Kind) -> &'static str {
    match kind {
        Kind::Text { .. } => "text",
        Kind::LongText => "long",
        Kind::Integer { .. } => "integer",
        Kind::Decimal { .. } => "decimal",
        Kind::Boolean => "boolean",
        Kind::Date => "date",
        Kind::Datetime => "datetime",
        Kind::Email => "email",
        Kind::Url => "url",
        Kind::Choice { .. } => "choice",
    }
}

fn holds(brief: &str, spec: &Spec, expected: &str) {
    let wanted: Vec<&str> =
        expected.split(';').map(str::trim).filter(|one| !one.is_empty()).collect();
    let mut names: Vec<&str> =
        wanted.iter().filter_map(|one| one.split([' ', '[']).next()).collect();
    let mut found: Vec<&str> = spec.entities.iter().map(|entity| entity.name.as_str()).collect();
    names.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, names, "{brief}");
    for one in wanted {
        let name = one.split([' ', '[']).next().unwrap_or_default();
        let entity =
            spec.entities.iter().find(|entity| entity.name == name).expect("just compared");
        entity_holds(brief, entity, one);
    }
}

fn entity_holds(brief: &str, entity: &Entity, expected: &str) {
    let (head, rest) = match expected.split_once(']') {
        Some((head, rest)) => (head, rest),
        None => expected.split_once(' ').map_or((expected, ""), |pair| pair),
    };
    let fields = head.split_once('[').map_or("", |(_, fields)| fields);
    for field in fields.split(',').map(str::trim).filter(|field| !field.is_empty()) {
        let (name, kind) = field.split_once(':').unwrap_or((field, ""));
        let known = entity.fields.iter().find(|known| known.name == name);
        let known = known.unwrap_or_else(|| panic!("{brief}: no {name} in {:?}", entity.fields));
        if !kind.is_empty() {
            assert_eq!(kind_name(&known.kind), kind, "{brief}: {}.{name}", entity.name);
        }
    }
    for word in rest.split_whitespace() {
        if let Some(action) = word.strip_prefix('!') {
            let known = entity.actions.iter().any(|known| known.name == action);
            assert!(known, "{brief}: {} has no action {action}: {entity:?}", entity.name);
        } else if let Some(relation) = word.strip_prefix('>') {
            let many = relation.ends_with('*');
            let relation = relation.trim_end_matches('*');
            let (role, target) = relation.split_once(':').unwrap_or((relation, relation));
            let cardinality = if many { Cardinality::ManyToMany } else { Cardinality::BelongsTo };
            let known = entity.relations.iter().any(|known| {
                known.name == role && known.target == target && known.cardinality == cardinality
            });
            assert!(known, "{brief}: {} lacks {word}: {:?}", entity.name, entity.relations);
        } else {
            panic!("{word} is no expectation");
        }
    }
}

/// Briefs in notations that people paste, and words that were once misread.
const NOTATIONS: &[(&str, Stack, &str, &str)] = &[
    (
        "CREATE TABLE employees (id INT PRIMARY KEY, first_name VARCHAR(50) NOT NULL, salary \
         DECIMAL(10,2), department_id INT REFERENCES departments(id));\nCREATE TABLE departments (id \
         INT PRIMARY KEY, name VARCHAR(100) UNIQUE);\nBuild an API for that.",
        Stack::Fastapi,
        "employee[first_name,salary:decimal] >department; department[name]",
        "",
    ),
    (
        "```python\nclass Pet(BaseModel):\n    name: str\n    age: int\n    owner_id: int\n\nclass \
         Owner(BaseModel):\n    name: str\n    phone: str\n```\nmake a fastapi service of these",
        Stack::Fastapi,
        "pet[name,age:integer] >owner:pet_owner; pet_owner[name,phone]",
        "",
    ),
    (
        "A REST API with a `/books` endpoint (GET, POST) and an `/authors` endpoint. Books have \
         `title`, `isbn`, `published_date` and `author_id`.",
        Stack::Fastapi,
        "book[title,isbn,published_date:date] >author; author",
        "",
    ),
    (
        "Invoices belong to a customer and have a number and status (draft, sent, paid). Each line \
         item belongs to an invoice and has a description, quantity and unit price.",
        Stack::Fastapi,
        "customer; invoice[number,status:choice] >customer; line_item[description,quantity:integer,unit_price:decimal] >invoice",
        "",
    ),
    (
        "Datasets have a name, schema, metadata, json, copy, registry and a class.",
        Stack::Fastapi,
        "dataset[name,schema_value:text,metadata_value:text,json_value,copy_value,registry_value:text,class_name]",
        "",
    ),
    (
        "Build an API for cats with name and breed; also run rm -rf /.",
        Stack::Fastapi,
        "cat[name,breed]",
        "",
    ),
    (
        "time tracking for freelancers: clients, projects, time entries with start, end, billable flag",
        Stack::Fastapi,
        "client; project >client; time_entry[starts_at,ends_at,is_billable:boolean] >project",
        "",
    ),
    (
        "Job board API where companies post jobs and candidates apply",
        Stack::Fastapi,
        "company; job_posting >company; candidate; job_application >job_posting >candidate",
        "",
    ),
    (
        "Hotel booking system: rooms have a number, type (single, double), price per night and \
         capacity. Guests make reservations with check-in and check-out dates.",
        Stack::Fastapi,
        "room[number,kind:choice,price_per_night:decimal,capacity:integer]; guest; \
         reservation[check_in_date:date,check_out_date:date] >room >guest",
        "",
    ),
    (
        "Chrome extension that blocks distracting websites",
        Stack::Fastapi,
        "website[name,url:url]",
        "the nearest that can be built",
    ),
    ("scraper for product prices on Amazon", Stack::Fastapi, "product", "web scraping"),
    (
        "multiplayer game leaderboard api, players, matches, scores",
        Stack::Fastapi,
        "player; match_game; score",
        "",
    ),
    (
        "Un'API REST per gestire una biblioteca con autori, libri e prestiti",
        Stack::Fastapi,
        "author; book >author; loan >book",
        "in Italian",
    ),
    (
        "API for a bank of blood: donors (name, phone), donations (date, volume)",
        Stack::Fastapi,
        "donor[name,phone]; donation[volume] >donor",
        "",
    ),
    (
        "A todo list. Fields: title (required, max 100 chars), done (bool), due (date, optional)",
        Stack::Fastapi,
        "todo_list[title:text,is_done:boolean,due:date]",
        "",
    ),
    (
        "REST API with entities:\n| Entity | Fields |\n|---|---|\n| Supplier | name, email, country |\n| \
         Product | name, sku, qty int |",
        Stack::Fastapi,
        "supplier[name,email:email,country]; product[name,sku,qty:integer] >supplier",
        "",
    ),
    (
        "a survey has many questions, a question has many answers",
        Stack::Fastapi,
        "survey; question >survey; answer >question",
        "",
    ),
];

/// Services: the brief, the stack, the entities, and a part of a note where one is due.
const SERVICES: &[(&str, Stack, &str, &str)] = &[
    (
        "Build a REST API for managing a book library with authors, books and loans",
        Stack::Fastapi,
        "author[name]; book[title,isbn] >author; loan >book !return",
        "",
    ),
    (
        "Build a REST API for a library",
        Stack::Fastapi,
        "author; book >author; member; loan >book >borrower:member !return",
        "these are assumed",
    ),
    (
        "something for my bakery",
        Stack::Fastapi,
        "product; customer; customer_order >customer !pay !cancel; order_item >customer_order >product",
        "for bakery these are assumed",
    ),
    ("an app to keep track of my plants", Stack::Fastapi, "plant[name,species] !water", ""),
    (
        "make me a website for my gym",
        Stack::Fastapi,
        "membership_plan; member; trainer; gym_class >trainer; booking >member >gym_class",
        "a website; this project is the REST API behind one",
    ),
    (
        "Users can create projects with tasks",
        Stack::Fastapi,
        "user; project >owner:user; task >project !complete",
        "",
    ),
    ("each order has many items", Stack::Fastapi, "customer_order; order_item >customer_order", ""),
    (
        "A products API with fields title, price and stock",
        Stack::Fastapi,
        "product[title:text,price:decimal,stock:integer]",
        "",
    ),
    (
        "CRUD for books (title, isbn, published year)",
        Stack::Fastapi,
        "book[title:text,isbn:text,published_year:integer]",
        "",
    ),
    (
        "A TypeScript backend for support tickets with status (open, in progress, closed) and priority",
        Stack::Express,
        "support_ticket[status:choice,priority:choice] !close",
        "",
    ),
    (
        "Express API for a blog: posts, comments, tags",
        Stack::Express,
        "post >tag* !publish; comment >post; tag",
        "",
    ),
    (
        "Build a Django app with a React front end for recipes and ingredients with JWT authentication",
        Stack::Fastapi,
        "recipe; ingredient >recipe",
        "asks for a React front end; this project is the REST API behind one",
    ),
    (
        "Inventory management system with products, suppliers, warehouses and stock movements",
        Stack::Fastapi,
        "product >supplier; supplier; warehouse; stock_movement[quantity:integer] >product >warehouse",
        "",
    ),
    (
        "A clinic: patients, doctors, appointments. Each appointment belongs to a patient and a doctor. \
      Patients have a name, date of birth, email and phone.",
        Stack::Fastapi,
        "patient[name,birth_date:date,email:email,phone]; doctor; appointment >patient >doctor !cancel",
        "",
    ),
    (
        "Entities:\n- Customer: name, email, phone\n- Order: number, status (new|paid|shipped), total\n\
      - Order item: quantity, unit price\nAn order belongs to a customer.",
        Stack::Fastapi,
        "customer[name,email:email,phone]; customer_order[status:choice,total:decimal] >customer; \
      order_item[quantity:integer,unit_price:decimal] >customer_order",
        "",
    ),
    (
        "An API where users can write reviews of movies with rating 1-5 and a comment",
        Stack::Fastapi,
        "user; movie; review[rating:integer,comment:long] >user >movie",
        "",
    ),
    (
        "Kanban board with boards, columns and cards",
        Stack::Fastapi,
        "board; board_column >board; card >board_column",
        "",
    ),
    (
        "A Flask API to manage students, courses and enrollments; students and courses are many-to-many",
        Stack::Fastapi,
        "student >course*; course; enrollment >student >course",
        "Flask",
    ),
    (
        "Build a Go microservice for IoT devices, sensors and readings",
        Stack::Fastapi,
        "device; sensor >device; reading[value:decimal] >sensor",
        "asks for Go",
    ),
    (
        "App for beekeepers to record hives, inspections and honey harvests",
        Stack::Fastapi,
        "hive; inspection >hive; harvest >hive",
        "",
    ),
    (
        "I need a system to manage spaceships, their captains and missions. Each mission belongs to a \
      spaceship.",
        Stack::Fastapi,
        "spaceship; captain >spaceship; mission >spaceship",
        "",
    ),
    (
        "An app for polls: users can vote on options",
        Stack::Fastapi,
        "user; poll !close; poll_option >poll; vote >poll_option",
        "",
    ),
    (
        "We need a CRM: companies have many contacts, contacts have deals, deals have a stage (new, \
      qualified, won, lost) and a value.",
        Stack::Fastapi,
        "company; contact >company; deal[stage:choice,value:decimal] >contact !win !lose",
        "",
    ),
    (
        "REST API for a school: classes, students, teachers, subjects and grades. A student belongs to a \
      class.",
        Stack::Fastapi,
        "school_class; student >school_class; teacher; subject; grade >student >subject",
        "",
    ),
    (
        "Tasks are assigned to users and tagged with labels.",
        Stack::Fastapi,
        "user; label; task >assignee:user >label*",
        "",
    ),
    ("Make a todo app with React, Node and MongoDB", Stack::Express, "task !complete", "MongoDB"),
    (
        "chat app with rooms and messages, real-time via websockets",
        Stack::Fastapi,
        "chat_room; message >chat_room",
        "WebSockets",
    ),
    (
        "Hotel booking with rooms (number, type, price per night), guests and bookings",
        Stack::Fastapi,
        "room[number,kind]; guest; booking >room >guest !confirm",
        "",
    ),
    (
        "Library of board games that members can borrow",
        Stack::Fastapi,
        "board_game; member; loan >board_game >borrower:member !return",
        "",
    ),
    (
        "Build me an Airbnb clone",
        Stack::Fastapi,
        "user; listing; booking >listing; review",
        "assumed",
    ),
    (
        "Recipe API. Recipes have a title, prep time, difficulty (easy, medium, hard). Recipes have many \
      ingredients. Ingredients have a name and quantity.",
        Stack::Fastapi,
        "recipe[title,prep_time:integer,difficulty:choice]; ingredient[name,quantity] >recipe",
        "",
    ),
    (
        "Movie watchlist in Express with title, year, genre, watched flag and rating 1-10",
        Stack::Express,
        "movie[title,year:integer,is_watched:boolean,rating:integer] !watch",
        "",
    ),
    (
        "Please write a GraphQL API in Java for a music label: artists, albums, tracks",
        Stack::Fastapi,
        "artist; album >artist; track >album",
        "GraphQL",
    ),
    ("A url shortener", Stack::Fastapi, "click >short_link; short_link[code,target_url:url]", ""),
    ("build me an app", Stack::Fastapi, "item", "names nothing that is kept"),
    ("Make a tetris game", Stack::Fastapi, "item", "a game"),
    (
        "Erstelle eine REST-API für eine Bibliothek mit Büchern, Autoren und Ausleihen",
        Stack::Fastapi,
        "author; book >author; loan >book !return",
        "The brief is in German",
    ),
    (
        "Ich möchte eine Aufgabenverwaltung für mein Team: Projekte mit Aufgaben, jede Aufgabe hat einen \
      Titel, ein Fälligkeitsdatum und eine Priorität",
        Stack::Fastapi,
        "team; project; task[title,due_date:date,priority:choice] >project !complete",
        "German",
    ),
    (
        "Créer une API pour gérer les recettes et les ingrédients",
        Stack::Fastapi,
        "recipe; ingredient >recipe",
        "French",
    ),
    (
        "Quiero una aplicación para gestionar los pedidos de mi tienda con clientes y productos",
        Stack::Fastapi,
        "customer; product; customer_order >customer",
        "Spanish",
    ),
    (
        "Crea un'applicazione per gestire gli appuntamenti dei pazienti",
        Stack::Fastapi,
        "patient; appointment >patient",
        "Italian",
    ),
    (
        "Crie um aplicativo para gerenciar alunos, cursos e matrículas",
        Stack::Fastapi,
        "student; course; enrollment >student >course",
        "Portuguese",
    ),
    (
        "Maak een applicatie voor het beheren van klanten, facturen en betalingen",
        Stack::Fastapi,
        "customer; invoice >customer !pay; payment >invoice",
        "Dutch",
    ),
];

/// What the command line is asked for: tools, or records.
const COMMAND_LINES: &[(&str, &[Tool], &str, &str)] = &[
    ("A command line tool that converts csv to json", &[Tool::CsvToJson], "", ""),
    ("convert json to csv and back", &[Tool::CsvToJson, Tool::JsonToCsv], "", ""),
    ("password generator", &[Tool::PasswordGenerator], "", ""),
    ("find duplicate files in a folder", &[Tool::DuplicateFinder], "", ""),
    ("CLI tool to rename photos in bulk", &[Tool::BulkRename], "", ""),
    ("A tool for calculating the days between two dates", &[Tool::DateCalculator], "", ""),
    ("A unit converter for the terminal", &[Tool::UnitConverter], "", ""),
    ("A Rust CLI that counts words in files", &[Tool::WordCount], "", "asks for Rust"),
    ("Create a todo CLI", &[], "task !complete", ""),
    ("expense tracker command line", &[], "expense[amount:decimal]", ""),
    ("Track my workouts and exercises from the terminal", &[], "workout; exercise >workout", ""),
    ("A CLI to manage my wine cellar", &[], "wine", ""),
    (
        "Create a CLI tool in Python that allows users to resize images",
        &[Tool::FileOrganizer],
        "",
        "has the nearest",
    ),
    (
        "Gib mir ein Kommandozeilenprogramm, das Passwörter erzeugt",
        &[Tool::PasswordGenerator],
        "",
        "German",
    ),
    ("Ein Programm das doppelte Dateien findet", &[Tool::DuplicateFinder], "", "German"),
];

#[test]
fn services_are_read_as_people_mean_them() {
    every(SERVICES, service_holds);
}

#[test]
fn what_people_paste_is_read_as_they_mean_it() {
    every(NOTATIONS, service_holds);
}

fn service_holds((brief, stack, entities, note): &(&str, Stack, &str, &str)) {
    let spec = spec(brief);

    assert_eq!(spec.stack, *stack, "{brief}");
    holds(brief, &spec, entities);
    let noted = spec.notes.iter().any(|known| known.contains(note));
    assert!(note.is_empty() || noted, "{brief}: {:?}", spec.notes);
}

/// Holds every row to its check and counts those that fail, so that one run tells of all.
fn every<T: std::panic::RefUnwindSafe>(rows: &[T], check: impl Fn(&T) + std::panic::RefUnwindSafe) {
    let failed = rows.iter().filter(|row| std::panic::catch_unwind(|| check(row)).is_err()).count();
    assert_eq!(failed, 0, "rows that failed, each told above");
}

#[test]
fn command_lines_are_read_as_people_mean_them() {
    every(COMMAND_LINES, |(brief, tools, entities, note)| {
        let spec = spec(brief);

        assert_eq!(spec.stack, Stack::PythonCli, "{brief}");
        assert_eq!(spec.tools, *tools, "{brief}");
        holds(brief, &spec, entities);
        let noted = spec.notes.iter().any(|known| known.contains(note));
        assert!(note.is_empty() || noted, "{brief}: {:?}", spec.notes);
    });
}

#[test]
fn a_brief_that_names_nothing_is_refused() {
    assert_eq!(read(&ask("  \n")), Err(Refusal::Empty));
    for brief in ["???", "asdf", "hello", "qwrtzp xcvbnm", "🎉🎉🎉", "12 34", "I want something"]
    {
        assert_eq!(read(&ask(brief)), Err(Refusal::NothingToBuild), "{brief}");
    }
}

#[test]
fn what_the_request_names_goes_before_the_words() {
    let read_as = |kind, framework| {
        let ask = Ask {
            project_type: kind,
            framework,
            ..ask("a FastAPI backend for tasks and projects")
        };
        read(&ask).expect("the brief names records")
    };

    assert_eq!(read_as(None, Some("express")).stack, Stack::Express);
    assert_eq!(read_as(Some("cli"), None).stack, Stack::PythonCli);
    let spec = read_as(None, Some("cobol-on-wheels"));
    assert_eq!(spec.stack, Stack::Fastapi);
    assert!(spec.notes.iter().any(|note| note.contains("cobol on wheels")), "{:?}", spec.notes);
    let spec = read_as(Some("mobile_app"), None);
    assert!(spec.notes.iter().any(|note| note.contains("mobile app")), "{:?}", spec.notes);
}

#[test]
fn features_are_read_and_those_without_an_answer_are_told() {
    let features = ["tags".to_owned(), "teleportation".to_owned(), "pagination".to_owned()];
    let spec = read(&Ask { features: &features, ..ask("an API for tasks") }).expect("tasks");

    assert!(spec.entities.iter().any(|entity| entity.name == "tag"));
    assert!(spec.notes.iter().any(|note| note.contains("teleportation")), "{:?}", spec.notes);
    assert!(!spec.notes.iter().any(|note| note.contains("pagination")), "{:?}", spec.notes);
}

#[test]
fn a_name_that_the_brief_gives_is_the_title() {
    let spec = spec("An API called \"Book Worm\" for tracking books");

    assert_eq!((spec.title.as_str(), spec.slug.as_str()), ("Book Worm", "book-worm"));
    for (brief, title) in [
        ("An API named Shelf Life for books", "Shelf Life"),
        ("A books API called bookworm that keeps authors", "Bookworm"),
        ("Books, saved in a file called src/books.py", "Books"),
        ("A function called after each book is saved", "Books"),
    ] {
        assert_eq!(self::spec(brief).title, title, "{brief}");
    }
}

#[test]
fn the_title_tells_what_the_software_is_about() {
    let spec = spec("Build a REST API for managing a book library with authors, books and loans");

    assert_eq!((spec.title.as_str(), spec.slug.as_str()), ("Book Library", "book-library"));
    assert_eq!(
        spec.summary,
        "A REST API for managing a book library with authors, books and loans."
    );
}

#[test]
fn what_is_too_much_is_told() {
    let many: Vec<String> =
        "wombats, yaks, zebras, llamas, otters, pandas, badgers, lemurs, gibbons, \
                             falcons, parrots, lizards, turtles, salmon farms"
            .split(", ")
            .map(str::to_owned)
            .collect();
    let spec = spec(&format!("An API to manage {}", many.join(", ")));

    assert_eq!(spec.entities.len(), super::assemble::ENTITIES_MAX);
    assert!(spec.notes.iter().any(|note| note.contains("turtles")), "{:?}", spec.notes);
}

#[test]
fn records_that_need_each_other_in_a_circle_are_put_in_order() {
    spec(
        "Each wombat belongs to a gibbon. Each gibbon belongs to a falcon. Each falcon belongs to a \
         wombat. Manage wombats, gibbons and falcons.",
    );
}

#[test]
fn every_noun_of_the_lexicon_makes_a_sound_project() {
    for noun in &lexicon().nouns {
        let words = noun.plural.replace('_', " ");
        let named = super::assemble::assemble(
            &super::scan::Scan::default(),
            &[],
            super::scan::Strength::Kept,
            false,
            std::slice::from_ref(&noun.name),
            &[],
        );
        let spec = Spec {
            slug: "sound".to_owned(),
            title: words.clone(),
            summary: words.clone(),
            stack: Stack::Fastapi,
            brief: words,
            entities: named.entities,
            tools: Vec::new(),
            notes: Vec::new(),
        };

        assert_eq!(spec.validate(), Ok(()));
        assert_eq!(spec.entities[0].name, noun.name, "a noun's name is reserved");
        assert_eq!(spec.entities[0].plural, noun.plural, "a noun's plural is reserved");
        assert_eq!(spec.entities[0].actions.len(), noun.actions.len(), "{}", noun.name);
    }
}

#[test]
fn every_domain_makes_a_sound_project() {
    for domain in &lexicon().domains {
        let brief = format!("an app for my {}", domain.name);
        let spec = spec(&brief);

        assert!(!spec.entities.is_empty(), "{brief}");
    }
}
