//! Which stack a brief asks for, and what it asks for that none of them gives.
//!
//! The name of a framework decides; without one, words are weighed. What is asked beside a stack (a
//! front end, payments, another language) is listed for whoever writes the plan, in plain names.

use serde::Serialize;

use crate::words::{Kind, Token};

/// The stacks that can be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    /// A REST service in Python.
    ServicePython,
    /// A REST service in TypeScript.
    ServiceTypescript,
    /// A command-line tool in Python.
    CommandLine,
}

/// What a text asks for. `confidence` runs from 0 (nothing said) to 1 (named).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reading {
    pub choice: Choice,
    pub confidence: f32,
    /// Weights of the words for a service, for a command line, and for each language.
    pub service: u32,
    pub command_line: u32,
    pub typescript: u32,
    pub python: u32,
    pub outside: Vec<Outside>,
}

/// Something asked for that the stacks do not give.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Outside {
    /// As people write it: `Django`, `React`, `payments`.
    pub asked: &'static str,
    pub kind: OutsideKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OutsideKind {
    /// Another framework for services.
    Framework,
    /// Another programming language.
    Language,
    /// Pages or a front-end framework.
    FrontEnd,
    Mobile,
    Desktop,
    Extension,
    Game,
    MachineLearning,
    GraphQl,
    /// Messages both ways, or pushed: sockets, live updates, gRPC.
    Realtime,
    /// A database other than the one that works out of the box.
    Database,
    Authentication,
    Payments,
    Mail,
    Upload,
    /// Another service on the network: weather, maps, exchange rates.
    ThirdParty,
    Bot,
    Scraping,
    Infrastructure,
}

/// Phrases and what they weigh for: service, command line, TypeScript, Python.
const WEIGHTS: &[(&str, [u32; 4])] = &[
    ("api", [4, 0, 0, 0]),
    ("apis", [3, 0, 0, 0]),
    ("rest", [3, 0, 0, 0]),
    ("restful", [4, 0, 0, 0]),
    ("crud", [2, 0, 0, 0]),
    ("endpoint", [3, 0, 0, 0]),
    ("endpoints", [3, 0, 0, 0]),
    ("backend", [4, 0, 0, 0]),
    ("server", [3, 0, 0, 0]),
    ("service", [2, 0, 0, 0]),
    ("microservice", [4, 0, 0, 0]),
    ("http", [3, 0, 0, 0]),
    ("web", [3, 0, 0, 0]),
    ("webapp", [3, 0, 0, 0]),
    ("website", [3, 0, 0, 0]),
    ("platform", [2, 0, 0, 0]),
    ("like jira", [4, 0, 0, 0]),
    ("like trello", [4, 0, 0, 0]),
    ("like asana", [4, 0, 0, 0]),
    ("like notion", [4, 0, 0, 0]),
    ("frontend", [2, 0, 0, 0]),
    ("swagger", [3, 0, 0, 0]),
    ("openapi", [3, 0, 0, 0]),
    ("cli", [0, 8, 0, 0]),
    ("command line", [0, 8, 0, 0]),
    ("commandline", [0, 8, 0, 0]),
    ("kommandozeile", [0, 8, 0, 0]),
    ("kommandozeilenprogramm", [0, 8, 0, 0]),
    ("kommandozeilentool", [0, 8, 0, 0]),
    ("ligne de commande", [0, 8, 0, 0]),
    ("linea de comandos", [0, 8, 0, 0]),
    ("linha de comando", [0, 8, 0, 0]),
    ("riga di comando", [0, 8, 0, 0]),
    ("opdrachtregel", [0, 8, 0, 0]),
    ("terminal", [0, 5, 0, 0]),
    ("in my shell", [0, 5, 0, 0]),
    ("shell", [0, 3, 0, 0]),
    ("console", [0, 4, 0, 0]),
    ("script", [0, 4, 0, 0]),
    ("stdin", [0, 4, 0, 0]),
    ("stdout", [0, 4, 0, 0]),
    ("subcommands", [0, 4, 0, 0]),
    ("tool", [0, 2, 0, 0]),
    ("utility", [0, 2, 0, 0]),
    ("program", [0, 1, 0, 0]),
    ("typescript", [0, 0, 6, 0]),
    ("javascript", [0, 0, 4, 0]),
    ("node", [0, 0, 4, 0]),
    ("nodejs", [1, 0, 6, 0]),
    ("node.js", [1, 0, 6, 0]),
    ("deno", [1, 0, 5, 0]),
    ("bun", [0, 0, 3, 0]),
    ("npm", [0, 0, 3, 0]),
    ("zod", [0, 0, 4, 0]),
    ("prisma", [0, 0, 4, 0]),
    ("python", [0, 0, 0, 5]),
    ("python3", [0, 0, 0, 5]),
    ("pip", [0, 0, 0, 3]),
    ("pydantic", [1, 0, 0, 5]),
    ("sqlalchemy", [1, 0, 0, 5]),
];

/// Names that decide alone.
const NAMED: &[(&str, Choice)] = &[
    ("fastapi", Choice::ServicePython),
    ("fast api", Choice::ServicePython),
    ("express", Choice::ServiceTypescript),
    ("expressjs", Choice::ServiceTypescript),
    ("express.js", Choice::ServiceTypescript),
    ("typer", Choice::CommandLine),
    ("argparse", Choice::CommandLine),
];

/// Names near to one of ours: what they are called, and the stack that stands in for them.
const NEAR: &[(&str, &str, Choice)] = &[
    ("django", "Django", Choice::ServicePython),
    ("flask", "Flask", Choice::ServicePython),
    ("starlette", "Starlette", Choice::ServicePython),
    ("litestar", "Litestar", Choice::ServicePython),
    ("sanic", "Sanic", Choice::ServicePython),
    ("tornado", "Tornado", Choice::ServicePython),
    ("nestjs", "NestJS", Choice::ServiceTypescript),
    ("nest.js", "NestJS", Choice::ServiceTypescript),
    ("koa", "Koa", Choice::ServiceTypescript),
    ("fastify", "Fastify", Choice::ServiceTypescript),
    ("hono", "Hono", Choice::ServiceTypescript),
    ("hapi", "hapi", Choice::ServiceTypescript),
    ("spring boot", "Spring Boot", Choice::ServicePython),
    ("spring", "Spring", Choice::ServicePython),
    ("rails", "Ruby on Rails", Choice::ServicePython),
    ("laravel", "Laravel", Choice::ServicePython),
    ("symfony", "Symfony", Choice::ServicePython),
    ("asp.net", "ASP.NET", Choice::ServicePython),
    ("dotnet", ".NET", Choice::ServicePython),
    ("actix", "Actix Web", Choice::ServicePython),
    ("axum", "axum", Choice::ServicePython),
    ("gin framework", "Gin", Choice::ServicePython),
    ("phoenix", "Phoenix", Choice::ServicePython),
];

use OutsideKind as O;

/// Phrases that ask for something outside, folded.
const OUTSIDE: &[(&str, &str, OutsideKind)] = &[
    ("rust", "Rust", O::Language),
    ("golang", "Go", O::Language),
    ("in go", "Go", O::Language),
    ("using go", "Go", O::Language),
    ("go microservice", "Go", O::Language),
    ("go service", "Go", O::Language),
    ("go api", "Go", O::Language),
    ("go rest", "Go", O::Language),
    ("go backend", "Go", O::Language),
    ("go server", "Go", O::Language),
    ("go cli", "Go", O::Language),
    ("go program", "Go", O::Language),
    ("java", "Java", O::Language),
    ("kotlin", "Kotlin", O::Language),
    ("scala", "Scala", O::Language),
    ("c++", "C++", O::Language),
    ("c#", "C#", O::Language),
    ("php", "PHP", O::Language),
    ("ruby", "Ruby", O::Language),
    ("elixir", "Elixir", O::Language),
    ("haskell", "Haskell", O::Language),
    ("swift", "Swift", O::Language),
    ("perl", "Perl", O::Language),
    ("bash script", "Bash", O::Language),
    ("react native", "React Native", O::Mobile),
    ("react", "React", O::FrontEnd),
    ("reactjs", "React", O::FrontEnd),
    ("react.js", "React", O::FrontEnd),
    ("next.js", "Next.js", O::FrontEnd),
    ("nextjs", "Next.js", O::FrontEnd),
    ("vue", "Vue", O::FrontEnd),
    ("vue.js", "Vue", O::FrontEnd),
    ("vuejs", "Vue", O::FrontEnd),
    ("nuxt", "Nuxt", O::FrontEnd),
    ("angular", "Angular", O::FrontEnd),
    ("svelte", "Svelte", O::FrontEnd),
    ("sveltekit", "SvelteKit", O::FrontEnd),
    ("tailwind", "Tailwind", O::FrontEnd),
    ("htmx", "HTMX", O::FrontEnd),
    ("streamlit", "Streamlit", O::FrontEnd),
    ("frontend", "a front end", O::FrontEnd),
    ("front end", "a front end", O::FrontEnd),
    ("user interface", "a user interface", O::FrontEnd),
    ("ui", "a user interface", O::FrontEnd),
    ("gui", "a graphical interface", O::Desktop),
    ("css", "HTML and CSS pages", O::FrontEnd),
    ("website", "a website", O::FrontEnd),
    ("web site", "a website", O::FrontEnd),
    ("webseite", "a website", O::FrontEnd),
    ("site web", "a website", O::FrontEnd),
    ("sitio web", "a website", O::FrontEnd),
    ("web page", "web pages", O::FrontEnd),
    ("web pages", "web pages", O::FrontEnd),
    ("landing page", "a landing page", O::FrontEnd),
    ("dashboard", "a dashboard", O::FrontEnd),
    ("full stack", "a full-stack application", O::FrontEnd),
    ("fullstack", "a full-stack application", O::FrontEnd),
    ("single page", "a single-page application", O::FrontEnd),
    ("mobile app", "a mobile app", O::Mobile),
    ("mobile application", "a mobile app", O::Mobile),
    ("phone app", "a mobile app", O::Mobile),
    ("android", "an Android app", O::Mobile),
    ("ios", "an iOS app", O::Mobile),
    ("iphone", "an iPhone app", O::Mobile),
    ("flutter", "Flutter", O::Mobile),
    ("desktop app", "a desktop app", O::Desktop),
    ("desktop application", "a desktop app", O::Desktop),
    ("electron", "Electron", O::Desktop),
    ("tkinter", "Tkinter", O::Desktop),
    ("chrome extension", "a Chrome extension", O::Extension),
    ("browser extension", "a browser extension", O::Extension),
    ("firefox extension", "a Firefox extension", O::Extension),
    ("vscode extension", "an editor extension", O::Extension),
    ("wordpress plugin", "a WordPress plugin", O::Extension),
    ("game", "a game", O::Game),
    ("tetris", "a game", O::Game),
    ("snake game", "a game", O::Game),
    ("tic tac toe", "a game", O::Game),
    ("unity", "Unity", O::Game),
    ("machine learning", "machine learning", O::MachineLearning),
    ("deep learning", "deep learning", O::MachineLearning),
    ("neural network", "a neural network", O::MachineLearning),
    ("neural", "a neural network", O::MachineLearning),
    ("pytorch", "PyTorch", O::MachineLearning),
    ("tensorflow", "TensorFlow", O::MachineLearning),
    ("keras", "Keras", O::MachineLearning),
    ("scikit learn", "scikit-learn", O::MachineLearning),
    ("classifier", "a trained classifier", O::MachineLearning),
    ("chatbot", "a chatbot", O::MachineLearning),
    ("llm", "a language model", O::MachineLearning),
    ("llama", "a language model", O::MachineLearning),
    ("gpt", "a language model", O::MachineLearning),
    ("chatgpt", "a language model", O::MachineLearning),
    ("dataset", "training on a data set", O::MachineLearning),
    ("image recognition", "image recognition", O::MachineLearning),
    ("recommendation engine", "recommendations", O::MachineLearning),
    ("graphql", "GraphQL", O::GraphQl),
    ("grpc", "gRPC", O::Realtime),
    ("websocket", "WebSockets", O::Realtime),
    ("websockets", "WebSockets", O::Realtime),
    ("socket.io", "WebSockets", O::Realtime),
    ("real time", "live updates", O::Realtime),
    ("realtime", "live updates", O::Realtime),
    ("push notifications", "push notifications", O::Realtime),
    ("postgres", "PostgreSQL", O::Database),
    ("postgresql", "PostgreSQL", O::Database),
    ("mysql", "MySQL", O::Database),
    ("mariadb", "MariaDB", O::Database),
    ("mongodb", "MongoDB", O::Database),
    ("mongo", "MongoDB", O::Database),
    ("mongoose", "MongoDB", O::Database),
    ("dynamodb", "DynamoDB", O::Database),
    ("firebase", "Firebase", O::Database),
    ("supabase", "Supabase", O::Database),
    ("redis", "Redis", O::Database),
    ("elasticsearch", "Elasticsearch", O::Database),
    ("prisma", "Prisma", O::Database),
    ("jwt", "JWT authentication", O::Authentication),
    ("oauth", "OAuth", O::Authentication),
    ("oauth2", "OAuth", O::Authentication),
    ("authentication", "authentication", O::Authentication),
    ("authorization", "authorization", O::Authentication),
    ("auth", "authentication", O::Authentication),
    ("login", "logging in", O::Authentication),
    ("log in", "logging in", O::Authentication),
    ("sign in", "logging in", O::Authentication),
    ("signup", "signing up", O::Authentication),
    ("sign up", "signing up", O::Authentication),
    ("anmeldung", "logging in", O::Authentication),
    ("authentification", "authentication", O::Authentication),
    ("autenticacion", "authentication", O::Authentication),
    ("autenticazione", "authentication", O::Authentication),
    ("autenticacao", "authentication", O::Authentication),
    ("role based", "roles and permissions", O::Authentication),
    ("stripe", "Stripe payments", O::Payments),
    ("paypal", "PayPal payments", O::Payments),
    ("payment processing", "payment processing", O::Payments),
    ("payment gateway", "a payment gateway", O::Payments),
    ("online payments", "online payments", O::Payments),
    ("credit card", "card payments", O::Payments),
    ("send email", "sending email", O::Mail),
    ("send emails", "sending email", O::Mail),
    ("sends email", "sending email", O::Mail),
    ("sends emails", "sending email", O::Mail),
    ("sending emails", "sending email", O::Mail),
    ("email notification", "email notifications", O::Mail),
    ("email notifications", "email notifications", O::Mail),
    ("email reminders", "email reminders", O::Mail),
    ("email alerts", "email alerts", O::Mail),
    ("email confirmation", "email confirmations", O::Mail),
    ("newsletter", "sending a newsletter", O::Mail),
    ("sms", "text messages", O::Mail),
    ("twilio", "text messages", O::Mail),
    ("file upload", "file uploads", O::Upload),
    ("file uploads", "file uploads", O::Upload),
    ("upload files", "file uploads", O::Upload),
    ("upload images", "image uploads", O::Upload),
    ("upload photos", "photo uploads", O::Upload),
    ("image upload", "image uploads", O::Upload),
    ("image uploads", "image uploads", O::Upload),
    ("video streaming", "video streaming", O::Upload),
    ("weather api", "a weather service", O::ThirdParty),
    ("google maps", "Google Maps", O::ThirdParty),
    ("exchange rates", "live exchange rates", O::ThirdParty),
    ("third party api", "another service", O::ThirdParty),
    ("external api", "another service", O::ThirdParty),
    ("discord bot", "a Discord bot", O::Bot),
    ("telegram bot", "a Telegram bot", O::Bot),
    ("slack bot", "a Slack bot", O::Bot),
    ("whatsapp", "WhatsApp", O::Bot),
    ("scraper", "web scraping", O::Scraping),
    ("scrape", "web scraping", O::Scraping),
    ("scrapes", "web scraping", O::Scraping),
    ("scraping", "web scraping", O::Scraping),
    ("crawler", "web crawling", O::Scraping),
    ("kubernetes", "Kubernetes manifests", O::Infrastructure),
    ("terraform", "Terraform", O::Infrastructure),
    ("aws lambda", "AWS Lambda", O::Infrastructure),
    ("kafka", "Kafka", O::Infrastructure),
    ("microservices", "several microservices", O::Infrastructure),
    ("rabbitmq", "RabbitMQ", O::Infrastructure),
    ("celery", "Celery", O::Infrastructure),
    ("smart contract", "a smart contract", O::Infrastructure),
    ("blockchain", "a blockchain", O::Infrastructure),
];

/// Words before a name that turn it away: `without React`, `no login`.
const DENIALS: &[&str] = &[
    "no", "not", "without", "never", "avoid", "dont", "skip", "ohne", "sans", "sin", "senza",
    "sem", "zonder", "kein", "keine",
];

/// Reads what a text asks for.
pub fn read(tokens: &[Token]) -> Reading {
    let phrases = Phrases::of(tokens);
    let mut weights = [0_u32; 4];
    for (phrase, added) in WEIGHTS {
        // A word said twice is not twice as true; a long brief must not win by length.
        let times = phrases.count(phrase).min(2) as u32;
        for (weight, add) in weights.iter_mut().zip(added) {
            *weight += add * times;
        }
    }
    let [service, command_line, typescript, python] = weights;
    let mut outside = outside(&phrases);
    let named = NAMED.iter().find(|(name, _)| phrases.count(name) > 0).map(|(_, choice)| *choice);
    let near = NEAR.iter().find(|(name, _, _)| phrases.count(name) > 0);
    for (name, asked, _) in NEAR {
        let known = outside.iter().any(|one| one.asked == *asked);
        if phrases.count(name) > 0 && !known {
            outside.insert(0, Outside { asked, kind: OutsideKind::Framework });
        }
    }
    let (choice, confidence) = match (named, near) {
        (Some(choice), _) => (choice, 1.0),
        (None, Some((_, _, choice))) if command_line < 8 => (*choice, 0.8),
        _ => weigh(service, command_line, typescript, python),
    };
    Reading { choice, confidence, service, command_line, typescript, python, outside }
}

fn weigh(service: u32, command_line: u32, typescript: u32, python: u32) -> (Choice, f32) {
    if command_line > service {
        let lead = command_line - service;
        return (Choice::CommandLine, (0.4 + 0.1 * lead as f32).min(0.95));
    }
    let said = service + typescript + python;
    let confidence = (0.1 * said as f32).min(0.9);
    if typescript > python {
        (Choice::ServiceTypescript, confidence)
    } else {
        (Choice::ServicePython, confidence)
    }
}

fn outside(phrases: &Phrases) -> Vec<Outside> {
    let mut found: Vec<Outside> = Vec::new();
    for (phrase, asked, kind) in OUTSIDE {
        if phrases.count(phrase) > 0 && !found.iter().any(|one| one.asked == *asked) {
            found.push(Outside { asked, kind: *kind });
        }
    }
    found
}

/// How often each run of up to three words occurs, but for those turned away.
struct Phrases {
    counts: std::collections::HashMap<String, usize>,
}

impl Phrases {
    fn of(tokens: &[Token]) -> Phrases {
        let mut counts = std::collections::HashMap::new();
        for at in 0..tokens.len() {
            if tokens[at].kind != Kind::Word || denied(tokens, at) {
                continue;
            }
            let mut phrase = String::new();
            for token in tokens[at..].iter().take(3) {
                if token.kind != Kind::Word {
                    break;
                }
                if !phrase.is_empty() {
                    phrase.push(' ');
                }
                phrase.push_str(&token.text);
                *counts.entry(phrase.clone()).or_insert(0) += 1;
            }
        }
        Phrases { counts }
    }

    fn count(&self, phrase: &str) -> usize {
        self.counts.get(phrase).copied().unwrap_or(0)
    }
}

fn denied(tokens: &[Token], at: usize) -> bool {
    tokens[at.saturating_sub(2)..at]
        .iter()
        .rev()
        .take_while(|token| token.kind == Kind::Word)
        .any(|token| DENIALS.contains(&token.text.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::tokens;

    fn choice(text: &str) -> Choice {
        read(&tokens(text)).choice
    }

    #[test]
    fn a_named_framework_decides() {
        assert_eq!(choice("a FastAPI backend for my TypeScript app"), Choice::ServicePython);
        assert_eq!(choice("Express server, not Python"), Choice::ServiceTypescript);
    }

    #[test]
    fn without_a_name_words_are_weighed() {
        assert_eq!(choice("a backend in Node.js"), Choice::ServiceTypescript);
        assert_eq!(choice("a command line tool in Python"), Choice::CommandLine);
        assert_eq!(choice("something for my bakery"), Choice::ServicePython);
    }

    #[test]
    fn what_is_outside_is_listed_unless_it_is_turned_away() {
        let asked = |text: &str| -> Vec<&str> {
            read(&tokens(text)).outside.into_iter().map(|one| one.asked).collect()
        };

        assert_eq!(asked("a Django app with a React page"), ["Django", "React"]);
        assert_eq!(asked("an API without authentication"), Vec::<&str>::new());
    }

    #[test]
    fn silence_has_no_confidence() {
        assert_eq!(read(&tokens("something for my bakery")).confidence, 0.0);
    }
}
