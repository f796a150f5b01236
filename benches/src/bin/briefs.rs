//! Twenty varied briefs: each is built, and what is built is installed and tested with the commands
//! of its own README. Prints a table; exits 1 if a project that completed does not install or pass.

use std::{fs, process::ExitCode, time::Instant};

use anyhow::Context as _;
use benches::{Bench, last_line, shell};
use clap::Parser;
use worker::generate::{self, spec::Spec};

#[derive(Debug, Parser)]
struct Args {
    /// Only one brief for each stack
    #[arg(long)]
    one_per_stack: bool,
    /// Only the brief of this number, from 1
    #[arg(long)]
    only: Option<usize>,
    /// Leave the projects where they are, and say where
    #[arg(long)]
    keep: bool,
}

/// The first three are one for each stack.
const BRIEFS: [&str; 20] = [
    "Build a REST API for managing a book library with authors, books and loans",
    "An Express TypeScript backend for a veterinary clinic: owners have pets, pets have appointments \
     with a vet, and each appointment can be cancelled or completed",
    "a command line todo list with projects, due dates and priorities",
    "CLI to convert CSV files to JSON",
    "Something for my bakery",
    "I need an inventory system. Products have a name, sku, price and stock. Warehouses have a name and \
     an address. A stock movement belongs to a product and a warehouse and has a quantity and a \
     direction (in, out).",
    "Eine REST-API für ein Fitnessstudio mit Mitgliedern, Kursen und Buchungen",
    "Una API REST para gestionar un restaurante con mesas, reservas y clientes",
    "Build a Django app with a React front end for tracking job applications and interviews",
    "password generator",
    "make me an app to keep track of my house plants and when I watered them",
    "Node API for an event ticketing platform: venues, events, ticket types, orders and attendees; \
     orders can be paid, refunded and cancelled",
    "URL shortener service with click statistics",
    "A blog engine. Posts have a title, slug, body, status (draft, published, archived) and tags. Users \
     write posts and comments. Comments can be approved or rejected. Posts are many-to-many with tags. \
     It should have pagination, search by title, and filtering by status and by tag. Every post belongs \
     to an author and may belong to a category; categories can be nested. I also want newsletter \
     subscribers with an email that is unique and a flag whether they confirmed.",
    "tool that finds duplicate files in a folder and tells me how much space they take",
    "🚀🚀 we need an MVP asap!!! its like uber but for dog walking — walkers, dogs, owners, walks, \
     ratings 1-5 & payments 💸 (typescript pls)",
    "REST service for IoT sensors: devices report readings with a value, unit and recorded_at; alerts \
     are raised per device with severity (info, warning, critical) and can be acknowledged",
    "analyse log files from the terminal: count levels, busiest hours, most frequent errors",
    "CRUD for employees, departments and leave requests with approval",
    "asdf",
];

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let bench = Bench::new()?;
    let chosen: Vec<usize> = match args.only {
        Some(number) => vec![number.checked_sub(1).context("briefs are numbered from 1")?],
        None if args.one_per_stack => vec![0, 1, 2],
        None => (0..BRIEFS.len()).collect(),
    };
    println!(" #  outcome    stack       tasks files  build  install  tests  brief");
    let mut good = true;
    for index in chosen {
        let prompt = BRIEFS.get(index).context("there is no brief of this number")?;
        let row = row(&bench, prompt)?;
        good &= row.good;
        let begin: String = prompt.chars().take(60).collect();
        println!("{:2}  {}  {begin}", index + 1, row.text);
        for line in row.remarks {
            println!("      {line}");
        }
    }
    if args.keep {
        println!("the projects are in {}", bench.folder().display());
        std::mem::forget(bench);
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Row {
    text: String,
    remarks: Vec<String>,
    /// False if something that was said to be done is not.
    good: bool,
}

fn row(bench: &Bench, prompt: &str) -> anyhow::Result<Row> {
    let begun = Instant::now();
    let built = match bench.build(prompt)? {
        Ok(built) => built,
        Err(reason) => {
            let text = format!("refused    {:40}", "");
            return Ok(Row { text, remarks: vec![reason], good: true });
        }
    };
    let took = begun.elapsed();
    let spec = spec(&built.build)?;
    let commands = generate::commands(spec.stack);
    let documented = fs::read_to_string(built.project.join("README.md"))?;
    let mut remarks: Vec<String> = spec.notes.iter().map(|note| format!("note: {note}")).collect();
    let mut results = Vec::new();
    for (what, line) in [("install", commands.install), ("tests", commands.test)] {
        // A command may be documented on several lines; each of them must be there.
        if !line.split("&&").all(|part| documented.contains(part.trim())) {
            remarks.push(format!("{what}: the README does not say {line:?}"));
            results.push("undocumented");
            continue;
        }
        let begun = Instant::now();
        let output = shell(&built.project, line)?;
        if output.status.success() {
            let said = if what == "tests" { summary(&output.stdout) } else { String::new() };
            remarks.push(format!("{what}: {:.1} s {said}", begun.elapsed().as_secs_f64()));
            results.push("ok");
        } else {
            remarks.push(format!("{what}: {}", last_line(&output.stderr)));
            remarks.push(format!("{what}: {}", last_line(&output.stdout)));
            results.push("FAILED");
            break;
        }
    }
    let good = results == ["ok", "ok"];
    let text = format!(
        "completed  {:10}  {:5} {:5}  {:4.1} s  {:7}  {:5}",
        format!("{:?}", spec.stack),
        built.build["tasks"]["total"],
        count_files(&built.project)?,
        took.as_secs_f64(),
        results.first().copied().unwrap_or("-"),
        results.get(1).copied().unwrap_or("-"),
    );
    Ok(Row { text, remarks, good })
}

/// The line in which a test runner says how many passed.
fn summary(stdout: &[u8]) -> String {
    String::from_utf8_lossy(stdout)
        .lines()
        .rev()
        .find(|line| line.contains("pass"))
        .map(|line| format!("({})", line.trim().trim_matches('=').trim()))
        .unwrap_or_default()
}

/// What is built: reading a brief gives the same spec every time.
fn spec(build: &serde_json::Value) -> anyhow::Result<Spec> {
    let prompt = build["prompt"].as_str().context("the build's prompt")?;
    let brief =
        worker::plan::planner::by_rules::draft(&buildfleet::domain::brief::Brief::of(prompt))
            .map_err(|failure| anyhow::anyhow!("{}", failure.reason))?;
    Ok(serde_json::from_value(brief.spec)?)
}

/// How many files a project has that it came with.
fn count_files(folder: &std::path::Path) -> anyhow::Result<usize> {
    let skipped = [".venv", "node_modules", "__pycache__", ".pytest_cache", ".git", ".ruff_cache"];
    let mut count = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            let name = entry.file_name();
            if !skipped.iter().any(|skipped| name == *skipped)
                && !name.to_string_lossy().ends_with(".egg-info")
            {
                count += count_files(&entry.path())?;
            }
        } else {
            count += 1;
        }
    }
    Ok(count)
}
