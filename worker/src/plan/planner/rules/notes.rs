//! What a brief asks for and does not get, in sentences for people.

use models::language::Language;
use models::stack::{Outside, OutsideKind};

use crate::generate::spec::Stack;

/// What a stack is called, with what it is made of.
pub fn stack_name(stack: Stack) -> &'static str {
    match stack {
        Stack::Fastapi => "a REST API built with FastAPI",
        Stack::Express => "a REST API built with Express and TypeScript",
        Stack::PythonCli => "a command-line tool in Python",
    }
}

/// One sentence for each thing asked for that the stack does not give.
pub fn outside(asked: &[Outside], stack: Stack) -> Vec<String> {
    asked.iter().map(|one| sentence(one, stack)).collect()
}

fn sentence(outside: &Outside, stack: Stack) -> String {
    let asked = outside.asked;
    let this = stack_name(stack);
    let service = stack != Stack::PythonCli;
    match outside.kind {
        OutsideKind::Framework => {
            format!("The brief asks for {asked}; this project is {this} instead.")
        }
        OutsideKind::Language => format!("The brief asks for {asked}; this project is {this}."),
        OutsideKind::FrontEnd if service => {
            let article = match asked.chars().next() {
                Some(first) if first.is_uppercase() && !asked.starts_with("HTML") => {
                    format!("a {asked} front end")
                }
                _ => asked.to_owned(),
            };
            format!("The brief asks for {article}; this project is the REST API behind one.")
        }
        OutsideKind::FrontEnd => {
            format!("The brief asks for {asked}; this project is {this} and has no pages.")
        }
        OutsideKind::Mobile if service => {
            format!("The brief asks for {asked}; this project is the REST API that one would call.")
        }
        OutsideKind::Authentication => {
            format!(
                "The brief asks for {asked}; this project has no accounts or logins, so keep it behind something that has."
            )
        }
        OutsideKind::Database => {
            format!(
                "The brief asks for {asked}; this project keeps its data in SQLite, which needs no server."
            )
        }
        OutsideKind::Payments => {
            format!(
                "The brief asks for {asked}; this project records what was paid and takes no money itself."
            )
        }
        OutsideKind::Mail => {
            format!("The brief asks for {asked}; this project keeps the records and sends nothing.")
        }
        OutsideKind::Upload => {
            format!(
                "The brief asks for {asked}; this project keeps addresses of files, not the files."
            )
        }
        OutsideKind::ThirdParty => {
            format!(
                "The brief asks for {asked}; this project calls no other service, so such values are entered by its users."
            )
        }
        OutsideKind::Realtime => {
            format!("The brief asks for {asked}; this project answers requests and pushes nothing.")
        }
        OutsideKind::GraphQl if service => {
            format!("The brief asks for {asked}; this project offers the same records over REST.")
        }
        OutsideKind::Infrastructure => {
            format!(
                "The brief asks for {asked}; this project comes with a Dockerfile and a CI file only."
            )
        }
        OutsideKind::MachineLearning => {
            format!(
                "The brief asks for {asked}; this project is {this} that keeps the records around it and trains nothing."
            )
        }
        _ => format!(
            "The brief asks for {asked}; this project is {this}, the nearest that can be built."
        ),
    }
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
