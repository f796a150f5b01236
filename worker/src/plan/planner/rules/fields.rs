//! What a field holds, told from its name and from the hints beside it.

use models::words::snake;

use crate::generate::reserved::is_reserved_field;
use crate::generate::spec::{Field, Kind};

/// A field of the lexicon, which may give way to relations.
#[derive(Debug, Clone)]
pub struct Given {
    pub field: Field,
    /// Nouns whose presence makes the field needless.
    pub unless: Vec<String>,
}

/// Longer than any line of a form; enough for names and titles.
const TEXT_MAX: u32 = 200;

/// Reads an entry of the lexicon: `isbn^ text 20 -edition`.
pub fn given(entry: &str) -> Given {
    let mut words = entry.split_whitespace().peekable();
    let marked = words.next().unwrap_or_default();
    let name = marked.trim_end_matches(['!', '^']).to_owned();
    let mut kind_words = Vec::new();
    let mut unless = Vec::new();
    for word in words {
        match word.strip_prefix('-') {
            Some(noun) if !noun.starts_with(|ch: char| ch.is_ascii_digit()) => {
                unless.push(noun.to_owned());
            }
            _ => kind_words.push(word),
        }
    }
    let kind = kind_of_words(&kind_words).unwrap_or_else(|| kind_of_name(&name));
    let field = Field { required: marked.contains('!'), unique: marked.contains('^'), name, kind };
    Given { field, unless }
}

fn kind_of_words(words: &[&str]) -> Option<Kind> {
    let number = |at: usize| words.get(at).and_then(|word| word.parse::<i64>().ok());
    Some(match *words.first()? {
        "text" => Kind::Text {
            max: number(1).and_then(|max| u32::try_from(max).ok()).unwrap_or(TEXT_MAX),
        },
        "long" => Kind::LongText,
        "int" => Kind::Integer { min: number(1), max: number(2) },
        "money" => Kind::Decimal { min: Some(0) },
        "decimal" => Kind::Decimal { min: None },
        "bool" => Kind::Boolean,
        "date" => Kind::Date,
        "datetime" => Kind::Datetime,
        "email" => Kind::Email,
        "url" => Kind::Url,
        "choice" => Kind::Choice { options: words.get(1)?.split('|').map(str::to_owned).collect() },
        _ => return None,
    })
}

/// Names whose last word tells the kind, by the words.
const MONEY: &[&str] = &[
    "price", "cost", "amount", "total", "fee", "salary", "balance", "budget", "rent", "subtotal",
    "wage", "income", "revenue", "payment", "deposit", "tax", "discount", "tip", "spend", "paid",
    "money",
];
const DECIMALS: &[&str] = &[
    "weight",
    "height",
    "width",
    "length",
    "depth",
    "distance",
    "temperature",
    "humidity",
    "area",
    "size",
    "latitude",
    "longitude",
    "lat",
    "lng",
    "lon",
    "volume",
    "speed",
    "percentage",
    "gpa",
    "pressure",
    "altitude",
    "rate",
    "ratio",
    "value",
    "radius",
    "voltage",
    "score",
    "dose",
];
const INTEGERS: &[&str] = &[
    "quantity",
    "qty",
    "count",
    "stock",
    "age",
    "capacity",
    "seats",
    "bedrooms",
    "bathrooms",
    "pages",
    "minutes",
    "hours",
    "seconds",
    "days",
    "calories",
    "points",
    "level",
    "floor",
    "duration",
    "number",
    "position",
    "servings",
    "mileage",
    "views",
    "clicks",
    "sets",
    "reps",
    "repetitions",
    "copies",
    "episodes",
    "seasons",
    "steps",
    "streak",
    "inventory",
    "units",
    "credits",
    "votes",
    "likes",
    "members",
    "rooms",
    "beds",
    "population",
    "attendees",
    "rank",
    "protein",
    "carbs",
    "fat",
    "interval",
    "percent",
    "vintage",
];
const LONG: &[&str] = &[
    "description",
    "content",
    "body",
    "notes",
    "note",
    "biography",
    "bio",
    "comment",
    "comments",
    "remarks",
    "instructions",
    "text",
    "details",
    "summary",
    "message",
    "abstract",
    "synopsis",
    "ingredients",
    "steps_text",
    "feedback",
    "agenda",
    "lyrics",
    "address_notes",
    "allergies",
];
const BOOLEANS: &[&str] = &[
    "active",
    "done",
    "completed",
    "complete",
    "enabled",
    "available",
    "paid_up",
    "finished",
    "archived",
    "published",
    "favorite",
    "favourite",
    "verified",
    "read_flag",
    "public",
    "private",
    "urgent",
    "featured",
    "checked",
    "watched",
    "pinned",
    "visible",
    "approved",
    "confirmed",
    "returned",
    "in_stock",
    "availability",
    "vaccinated",
    "completion",
    "billable",
];
const DATES: &[&str] =
    &["date", "birthday", "deadline", "dob", "due", "expiry", "expiration", "birthdate", "day"];
const INSTANTS: &[&str] =
    &["at", "time", "timestamp", "datetime", "start", "end", "departure", "arrival", "schedule"];
const SHORT: &[(&str, u32)] = &[
    ("phone", 40),
    ("mobile", 40),
    ("isbn", 20),
    ("sku", 40),
    ("code", 40),
    ("color", 40),
    ("colour", 40),
    ("plate", 20),
    ("barcode", 40),
    ("zip", 20),
    ("postcode", 20),
    ("vin", 40),
    ("unit", 40),
    ("currency", 3),
    ("serial", 80),
    ("species", 80),
    ("breed", 80),
    ("city", 120),
    ("address", 300),
];

/// The kind that a field's name tells; a line of text where it tells nothing.
pub fn kind_of_name(name: &str) -> Kind {
    // `price_per_night` is a price.
    let name = name.split("_per_").next().unwrap_or(name);
    let last = name.rsplit('_').next().unwrap_or(name);
    let first = name.split('_').next().unwrap_or(name);
    let is = |list: &[&str]| list.contains(&last) || list.contains(&name);
    if matches!(first, "is" | "has" | "can") || is(BOOLEANS) {
        return Kind::Boolean;
    }
    if name.contains("check_in") || name.contains("check_out") || name.contains("checkin") {
        return Kind::Date;
    }
    if last == "email" || name == "mail" {
        return Kind::Email;
    }
    if matches!(last, "url" | "link" | "website" | "homepage" | "uri") {
        return Kind::Url;
    }
    if name.contains("phone") {
        return Kind::Text { max: 40 };
    }
    if matches!(last, "rating" | "stars") {
        return Kind::Integer { min: Some(1), max: Some(5) };
    }
    if last == "year" {
        return Kind::Integer { min: Some(0), max: Some(2100) };
    }
    if matches!(name, "status" | "state") {
        return choice(&["open", "in_progress", "done"]);
    }
    if name == "priority" {
        return choice(&["medium", "low", "high"]);
    }
    if is(DATES) || last == "on" {
        return Kind::Date;
    }
    if is(INSTANTS) && !matches!(first, "prep" | "cook" | "cooking" | "preparation" | "reading") {
        return Kind::Datetime;
    }
    if is(INSTANTS) {
        return Kind::Integer { min: Some(0), max: None };
    }
    if matches!(last, "number" | "no")
        && [
            "phone",
            "serial",
            "invoice",
            "license",
            "account",
            "order",
            "tracking",
            "passport",
            "room",
            "flight",
            "table",
            "registration",
            "plate",
            "model",
            "card",
            "chip",
            "policy",
            "id",
            "tax",
            "vat",
            "apartment",
            "house",
        ]
        .contains(&first)
        && name.contains('_')
    {
        return Kind::Text { max: 40 };
    }
    if is(MONEY) {
        return Kind::Decimal { min: Some(0) };
    }
    if is(DECIMALS) {
        let below_zero =
            ["temperature", "latitude", "longitude", "lat", "lng", "lon", "altitude", "value"];
        let min = if below_zero.contains(&last) { None } else { Some(0) };
        return Kind::Decimal { min };
    }
    if is(INTEGERS) {
        return Kind::Integer { min: Some(0), max: None };
    }
    if is(LONG) {
        return Kind::LongText;
    }
    let short = SHORT.iter().find(|(word, _)| *word == last || *word == first);
    Kind::Text { max: short.map_or(TEXT_MAX, |(_, max)| *max) }
}

/// Words that are names of fields far more often than of records.
const KNOWN: &[&str] = &[
    "name",
    "title",
    "first_name",
    "last_name",
    "surname",
    "full_name",
    "username",
    "nickname",
    "slug",
    "type",
    "kind",
    "location",
    "country",
    "language",
    "gender",
    "format",
    "brand",
    "make",
    "model",
    "species",
    "breed",
    "symptoms",
    "dosage",
    "medium",
    "source",
    "symbol",
    "category",
    "genre",
    "role",
    "avatar",
    "photo",
    "image",
    "picture",
    "thumbnail",
    "status",
    "state",
    "priority",
    "email",
    "mail",
    "year",
    "rating",
    "rank",
    "password",
    "website",
    "url",
    "link",
    "identifier",
    "id",
    "reference",
    "severity",
    "mood",
    "difficulty",
    "material",
    "currency",
    "manufacturer",
    "version",
    "condition",
    "destination",
    "origin",
    "subject",
    "author",
    "publisher",
    "director",
    "artist",
    "owner",
    "label",
    "nationality",
    "frequency",
    "recipient",
    "sender",
    "question",
    "answer",
    "payment_method",
    "shipping_address",
    "position",
    "season",
    "expiry_date",
    "due_date",
    "stars",
    "specialty",
    "specialization",
    "industry",
    "company",
    "job_title",
    "hours",
    "term",
    "definition",
    "translation",
    "front",
    "back",
    "unit",
];

/// Whether a name is one that fields have.
pub fn is_known_name(name: &str) -> bool {
    let last = name.rsplit('_').next().unwrap_or(name);
    let lists: [&[&str]; 7] = [MONEY, DECIMALS, INTEGERS, LONG, BOOLEANS, DATES, INSTANTS];
    KNOWN.contains(&name)
        || lists.iter().any(|list| list.contains(&name) || list.contains(&last))
        || SHORT.iter().any(|(word, _)| *word == last)
        || name.contains("phone")
        || matches!(last, "name" | "email" | "url" | "on" | "year" | "number" | "id" | "code")
}

/// The kind that the words of a hint name: `decimal`, `required string`, `1-5`.
pub fn kind_of_hint(words: &[String], numbers: &[i64]) -> Option<Kind> {
    let said = |wanted: &[&str]| words.iter().any(|word| wanted.contains(&word.as_str()));
    if let [low, high] = numbers
        && low < high
        && !said(&["text", "string", "chars", "characters"])
    {
        return Some(Kind::Integer { min: Some(*low), max: Some(*high) });
    }
    if said(&["boolean", "bool", "flag", "checkbox"]) {
        Some(Kind::Boolean)
    } else if said(&["decimal", "float", "double", "money", "numeric"]) {
        Some(Kind::Decimal { min: None })
    } else if said(&["integer", "int", "whole", "number", "bigint"]) {
        Some(Kind::Integer { min: None, max: None })
    } else if said(&["datetime", "timestamp", "instant"]) {
        Some(Kind::Datetime)
    } else if said(&["date", "day"]) {
        Some(Kind::Date)
    } else if said(&["email"]) {
        Some(Kind::Email)
    } else if said(&["url", "link", "uri"]) {
        Some(Kind::Url)
    } else if said(&["longtext", "markdown", "paragraph", "multiline"]) {
        Some(Kind::LongText)
    } else if said(&["string", "varchar", "char", "str"]) {
        Some(Kind::Text { max: TEXT_MAX })
    } else if said(&["text"]) {
        Some(Kind::LongText)
    } else {
        None
    }
}

/// A choice of words in snake case; `None` where fewer than two remain.
pub fn choice_of(words: &[String]) -> Option<Kind> {
    let mut options: Vec<String> = Vec::new();
    for word in words {
        let option = snake(word, 40);
        if !option.is_empty() && !options.contains(&option) && options.len() < 12 {
            options.push(option);
        }
    }
    (options.len() >= 2).then_some(Kind::Choice { options })
}

fn choice(options: &[&str]) -> Kind {
    Kind::Choice { options: options.iter().map(|one| (*one).to_owned()).collect() }
}

/// A name that a field may have, for what a brief calls it; `None` where every entity has it
/// anyway or nothing is left to call it by.
pub fn safe_name(said: &str, entity: &str) -> Option<String> {
    let name = snake(said, 36);
    let name = match name.as_str() {
        "" | "id" | "ids" | "created_at" | "updated_at" | "created" | "updated" | "password"
        | "created_date" | "creation_date" | "created_on" | "timestamps" | "unique_id"
        | "identifier" | "uuid" => {
            return None;
        }
        "type" => "kind".to_owned(),
        "date" | "time" | "datetime" | "timestamp" | "day" => {
            let short: String =
                entity.rsplit('_').next().unwrap_or(entity).chars().take(30).collect();
            match name.as_str() {
                "date" | "day" => format!("{short}_date"),
                _ => format!("{short}_time"),
            }
        }
        "start" | "start_time" => "starts_at".to_owned(),
        "end" | "end_time" => "ends_at".to_owned(),
        "start_date" => "starts_on".to_owned(),
        "end_date" => "ends_on".to_owned(),
        "text" => "content".to_owned(),
        "order" => "position".to_owned(),
        "class" => "class_name".to_owned(),
        "user" => "user_name".to_owned(),
        "done" | "completed" | "active" | "enabled" | "available" | "published" | "archived"
        | "favorite" | "public" | "verified" | "watched" | "featured" | "pinned" | "urgent"
        | "billable" => {
            format!("is_{name}")
        }
        "completion" | "completion_status" => "is_done".to_owned(),
        "checkin" | "checkin_date" => "check_in_date".to_owned(),
        "checkout" | "checkout_date" => "check_out_date".to_owned(),
        "emails" | "mail" | "email_address" => "email".to_owned(),
        "phone_numbers" | "phones" => "phone".to_owned(),
        other => match other.strip_prefix("model_") {
            Some(rest) => format!("{rest}_of_model"),
            None => name,
        },
    };
    let name = match name.strip_suffix("_id") {
        Some(of) => format!("{of}_reference"),
        None => name,
    };
    let name = if is_reserved_field(&name) { format!("{name}_value") } else { name };
    (!name.is_empty() && !is_reserved_field(&name)).then_some(name)
}

/// What is kept of a thing that only its name is known of.
pub fn generic(name: &str) -> Vec<Field> {
    let last = name.rsplit('_').next().unwrap_or(name);
    let lines: &[&str] = match last {
        "log" | "entry" | "record" | "history" | "visit" => {
            &["title!", "happened_on! date", "remarks long"]
        }
        "request" | "application" | "claim" | "proposal" => {
            &["title!", "description long", "status choice pending|approved|rejected"]
        }
        "schedule" | "session" | "slot" | "activity" => {
            &["title!", "starts_at! datetime", "ends_at datetime", "remarks long"]
        }
        "manager" | "owner" | "worker" | "operator" | "officer" | "keeper" | "maker" | "holder"
        | "parent" | "instructor" | "voter" => &["name!", "email", "phone"],
        "type" | "kind" | "group" | "level" => &["name^!", "description long"],
        "website" | "site" | "feed" | "page" => &["name!", "url^! url", "remarks long"],
        "score" => &["points! int 0", "achieved_at datetime"],
        "company" | "carrier" | "courier" => &["name^!", "email", "phone", "website"],
        "respondent" | "volunteer" | "donor" | "freelancer" => &["name!", "email", "phone"],
        "report" => &["title!", "content long", "reported_on date"],
        "fee" | "price" | "cost" | "tax" => &["name!", "amount! money", "due_on date"],
        _ => &["name!", "description long", "is_active"],
    };
    lines.iter().map(|line| given(line).field).collect()
}
