//! What a brief asks for and does not get, in sentences for people.

use models::language::Language;
use models::stack::{Outside, OutsideKind};

use super::heading::listed;
use crate::generate::spec::Stack;

/// What a stack is called, with what it is made of.
pub fn stack_name(stack: Stack) -> &'static str {
    match stack {
        Stack::Fastapi => "a REST API built with FastAPI",
        Stack::Express => "a REST API built with Express and TypeScript",
        Stack::PythonCli => "a command-line tool in Python",
    }
}

/// One sentence for each kind of thing asked for that the stack does not give.
pub fn outside(asked: &[Outside], stack: Stack) -> Vec<String> {
    let mut kinds: Vec<OutsideKind> = Vec::new();
    for one in asked {
        if !kinds.contains(&one.kind) {
            kinds.push(one.kind);
        }
    }
    kinds.into_iter().map(|kind| sentence(kind, &named(asked, kind), stack)).collect()
}

/// What is asked of a kind, as a list; a general word goes where a name says the same.
fn named(asked: &[Outside], kind: OutsideKind) -> String {
    const GENERAL: &[&str] = &[
        "a front end",
        "a user interface",
        "a website",
        "web pages",
        "HTML and CSS pages",
        "authentication",
        "authorization",
        "logging in",
        "online payments",
        "email notifications",
        "a full-stack application",
        "a single-page application",
    ];
    let of_kind: Vec<&str> =
        asked.iter().filter(|one| one.kind == kind).map(|one| one.asked).collect();
    let names: Vec<&str> = of_kind.iter().copied().filter(|one| !GENERAL.contains(one)).collect();
    let told = if names.is_empty() { &of_kind[..1] } else { &names[..] };
    let mut told: Vec<String> = told.iter().map(|one| (*one).to_owned()).collect();
    let front_end = told.iter().all(|one| one.starts_with(char::is_uppercase));
    if kind == OutsideKind::FrontEnd && front_end {
        let listed = listed(&told);
        told = vec![format!("a {listed} front end")];
    }
    listed(&told)
}

fn sentence(kind: OutsideKind, asked: &str, stack: Stack) -> String {
    let this = stack_name(stack);
    let gets = match kind {
        OutsideKind::Framework => format!("this project is {this} instead"),
        OutsideKind::FrontEnd if stack == Stack::PythonCli => {
            format!("this project is {this} and has no pages")
        }
        OutsideKind::FrontEnd => "this project is the REST API behind one".to_owned(),
        OutsideKind::Mobile if stack != Stack::PythonCli => {
            "this project is the REST API that one would call".to_owned()
        }
        OutsideKind::Authentication => {
            "this project has no accounts or logins, so keep it behind something that has"
                .to_owned()
        }
        OutsideKind::Database => {
            "this project keeps its data in SQLite, which needs no server".to_owned()
        }
        OutsideKind::Payments => {
            "this project records what was paid and takes no money itself".to_owned()
        }
        OutsideKind::Mail => "this project keeps the records and sends nothing".to_owned(),
        OutsideKind::Upload => "this project keeps addresses of files, not the files".to_owned(),
        OutsideKind::ThirdParty => {
            "this project calls no other service, so such values are entered by its users"
                .to_owned()
        }
        OutsideKind::Realtime => "this project answers requests and pushes nothing".to_owned(),
        OutsideKind::GraphQl if stack != Stack::PythonCli => {
            "this project offers the same records over REST".to_owned()
        }
        OutsideKind::Infrastructure => {
            "this project comes with a Dockerfile and a CI file only".to_owned()
        }
        OutsideKind::Language => format!("this project is {this}"),
        _ => format!("this project is {this}, the nearest that can be built"),
    };
    format!("The brief asks for {asked}; {gets}.")
}

/// What a reader should know of the language of the brief.
pub fn language(language: Language, confidence: f32) -> Option<String> {
    match language {
        Language::English => None,
        Language::German
        | Language::French
        | Language::Spanish
        | Language::Italian
        | Language::Portuguese
        | Language::Dutch
            if confidence > 0.3 =>
        {
            Some(format!(
                "The brief is in {}; the names in the code and the README are in English.",
                language.name()
            ))
        }
        Language::German
        | Language::French
        | Language::Spanish
        | Language::Italian
        | Language::Portuguese
        | Language::Dutch => None,
        other => Some(format!(
            "The brief is in {}, which is read only in part; the names in the code and the README are in English.",
            other.name()
        )),
    }
}
