//! English nouns, one and many.
//!
//! Rules with a list of exceptions. Both directions take the last word of a snake case name, so
//! that
//! `order_items` becomes `order_item`.

const IRREGULAR: &[(&str, &str)] = &[
    ("person", "people"),
    ("child", "children"),
    ("man", "men"),
    ("woman", "women"),
    ("foot", "feet"),
    ("tooth", "teeth"),
    ("goose", "geese"),
    ("mouse", "mice"),
    ("ox", "oxen"),
    ("leaf", "leaves"),
    ("shelf", "shelves"),
    ("knife", "knives"),
    ("life", "lives"),
    ("wife", "wives"),
    ("half", "halves"),
    ("loaf", "loaves"),
    ("wolf", "wolves"),
    ("beehive", "beehives"),
    ("movie", "movies"),
    ("cookie", "cookies"),
    ("selfie", "selfies"),
    ("calorie", "calories"),
    ("tie", "ties"),
    ("pie", "pies"),
    ("criterion", "criteria"),
    ("analysis", "analyses"),
    ("diagnosis", "diagnoses"),
    ("thesis", "theses"),
    ("basis", "bases"),
    ("crisis", "crises"),
    ("quiz", "quizzes"),
    ("cactus", "cacti"),
    ("curriculum", "curricula"),
    ("medium", "media"),
    ("index", "indexes"),
    ("axis", "axes"),
    ("status", "statuses"),
    ("bus", "buses"),
    ("virus", "viruses"),
    ("campus", "campuses"),
    ("bonus", "bonuses"),
    ("menu", "menus"),
    ("lens", "lenses"),
    ("alias", "aliases"),
    ("canvas", "canvases"),
    ("gas", "gases"),
    ("house", "houses"),
    ("warehouse", "warehouses"),
    ("greenhouse", "greenhouses"),
    ("course", "courses"),
    ("horse", "horses"),
    ("nurse", "nurses"),
    ("purchase", "purchases"),
    ("purpose", "purposes"),
    ("database", "databases"),
    ("case", "cases"),
    ("use", "uses"),
    ("release", "releases"),
    ("response", "responses"),
    ("license", "licenses"),
    ("expense", "expenses"),
    ("exercise", "exercises"),
    ("phrase", "phrases"),
    ("vase", "vases"),
    ("lease", "leases"),
    ("cause", "causes"),
    ("clause", "clauses"),
    ("franchise", "franchises"),
    ("cheese", "cheeses"),
    ("rose", "roses"),
    ("dose", "doses"),
    ("verse", "verses"),
    ("showcase", "showcases"),
    ("cache", "caches"),
    ("niche", "niches"),
    ("hero", "heroes"),
    ("potato", "potatoes"),
    ("tomato", "tomatoes"),
    ("echo", "echoes"),
    ("veto", "vetoes"),
    ("cargo", "cargoes"),
    ("shoe", "shoes"),
    ("canoe", "canoes"),
    ("staff_member", "staff_members"),
    ("passerby", "passersby"),
];

/// Words that are the same for one and many, or have no many.
const UNCOUNTABLE: &[&str] = &[
    "equipment",
    "furniture",
    "feedback",
    "information",
    "software",
    "hardware",
    "money",
    "music",
    "weather",
    "news",
    "series",
    "species",
    "sheep",
    "fish",
    "deer",
    "aircraft",
    "staff",
    "stock",
    "inventory",
    "luggage",
    "baggage",
    "homework",
    "laundry",
    "livestock",
    "merchandise",
    "data",
    "metadata",
    "traffic",
    "mail",
    "wildlife",
    "jewelry",
    "clothing",
    "food",
    "rice",
    "water",
    "electricity",
    "energy",
    "content",
    "knowledge",
    "research",
    "attendance",
    "maintenance",
    "access",
    "progress",
    "process",
    "business",
    "address",
    "class",
    "glass",
    "mattress",
    "dress",
    "actress",
    "boss",
    "mess",
    "pass",
    "cross",
    "loss",
    "compass",
    "fitness",
    "wellness",
    "always",
    "this",
    "is",
    "was",
    "has",
    "does",
    "its",
    "us",
    "gas",
    "yes",
    "plus",
    "express",
    "less",
    "nodejs",
    "sms",
    "gps",
    "css",
    "https",
    "ios",
    "aws",
    "os",
    "js",
    "ts",
    "cms",
    "pos",
    "rss",
    "dns",
    "mathematics",
    "physics",
    "politics",
    "economics",
    "statistics",
    "analytics",
    "sales",
    "logistics",
    "athletics",
    "gymnastics",
    "lens",
    "status",
    "bus",
    "virus",
    "campus",
    "bonus",
    "canvas",
    "alias",
    "focus",
    "bonsai",
    "menus",
    "various",
    "previous",
    "tennis",
    "chess",
    "headquarters",
    "means",
    "analysis",
    "diagnosis",
    "thesis",
    "basis",
    "crisis",
    "axis",
    "tax",
    "cactus",
    "previews",
    "genus",
    "corpus",
    "nexus",
    "census",
    "consensus",
    "radius",
    "iris",
    "christmas",
    "perhaps",
    "thanks",
    "across",
    "unless",
    "towards",
    "sometimes",
    "besides",
    "nevertheless",
    "regardless",
    "wireless",
    "stress",
    "success",
    "illness",
    "happiness",
    "excess",
    "goods",
    "savings",
    "earnings",
    "belongings",
];

/// One of what a word names many of; the word itself where it is not a plural.
pub fn singular(word: &str) -> String {
    let (head, last) = split_last(word);
    let one = singular_word(last);
    format!("{head}{one}")
}

fn singular_word(word: &str) -> String {
    if let Some((one, _)) = IRREGULAR.iter().find(|(_, many)| *many == word) {
        return (*one).to_owned();
    }
    if UNCOUNTABLE.contains(&word) || word.len() < 3 || !word.is_ascii() {
        return word.to_owned();
    }
    let cut = |ending: &str, by: &str| {
        word.strip_suffix(ending).map(|stem| format!("{stem}{by}")).unwrap_or_default()
    };
    if word.ends_with("ies") && word.len() > 4 {
        return cut("ies", "y");
    }
    let hissing = ["sses", "shes", "ches", "xes", "zzes"];
    if hissing.iter().any(|ending| word.ends_with(ending)) {
        return cut("es", "");
    }
    if ["ss", "us", "is"].iter().any(|ending| word.ends_with(ending)) || !word.ends_with('s') {
        return word.to_owned();
    }
    cut("s", "")
}

/// Many of what a word names one of. Differs from `singular` for every word.
pub fn plural(word: &str) -> String {
    let (head, last) = split_last(word);
    let many = plural_word(last);
    format!("{head}{many}")
}

fn plural_word(word: &str) -> String {
    if let Some((_, many)) = IRREGULAR.iter().find(|(one, _)| *one == word) {
        return (*many).to_owned();
    }
    if word == "inventory" {
        return "inventories".to_owned();
    }
    if UNCOUNTABLE.contains(&word) && !word.ends_with("ss") && !word.ends_with('x') {
        return format!("{word}_items");
    }
    let vowel_before = |ending: char| {
        word.strip_suffix(ending)
            .and_then(|stem| stem.chars().next_back())
            .is_some_and(|ch| "aeiou".contains(ch))
    };
    if word.ends_with('y') && !vowel_before('y') && word.len() > 1 {
        return format!("{}ies", &word[..word.len() - 1]);
    }
    if ["s", "x", "z", "sh", "ch"].iter().any(|ending| word.ends_with(ending)) {
        return format!("{word}es");
    }
    format!("{word}s")
}

/// Whether a word names many.
pub fn is_plural(word: &str) -> bool {
    singular(word) != word
}

fn split_last(word: &str) -> (&str, &str) {
    match word.rfind(['_', ' ']) {
        Some(at) => word.split_at(at + 1),
        None => ("", word),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_and_many_are_inverse_for_common_nouns() {
        let pairs = [
            ("book", "books"),
            ("category", "categories"),
            ("person", "people"),
            ("child", "children"),
            ("class", "classes"),
            ("box", "boxes"),
            ("dish", "dishes"),
            ("match", "matches"),
            ("quiz", "quizzes"),
            ("expense", "expenses"),
            ("course", "courses"),
            ("address", "addresses"),
            ("status", "statuses"),
            ("movie", "movies"),
            ("leaf", "leaves"),
            ("invoice", "invoices"),
            ("order_item", "order_items"),
            ("survey", "surveys"),
            ("recipe", "recipes"),
            ("analysis", "analyses"),
            ("tax", "taxes"),
            ("shoe", "shoes"),
            ("business", "businesses"),
        ];
        for (one, many) in pairs {
            assert_eq!(plural(one), many);
            assert_eq!(singular(many), one);
            assert_eq!(singular(one), one, "{one} is no plural");
        }
    }

    #[test]
    fn what_cannot_be_counted_still_has_a_plural_of_its_own() {
        for word in UNCOUNTABLE {
            assert_ne!(plural(word), *word);
        }
    }
}
