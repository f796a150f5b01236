//! Which language a text is written in.
//!
//! Latin languages are told apart by their small words, others by their script. The answer is for
//! choosing a dictionary and for telling people what was not understood, not for linguistics.

use serde::Serialize;

use crate::words::{Kind, Token};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Language {
    English,
    German,
    French,
    Spanish,
    Italian,
    Portuguese,
    Dutch,
    /// A language written in Latin letters that we have no words for.
    OtherLatin,
    Cyrillic,
    Greek,
    Arabic,
    Hebrew,
    Chinese,
    Japanese,
    Korean,
    Devanagari,
    OtherScript,
}

impl Language {
    /// The language or script as people call it in English.
    pub fn name(self) -> &'static str {
        match self {
            Language::English => "English",
            Language::German => "German",
            Language::French => "French",
            Language::Spanish => "Spanish",
            Language::Italian => "Italian",
            Language::Portuguese => "Portuguese",
            Language::Dutch => "Dutch",
            Language::OtherLatin => "a language other than English",
            Language::Cyrillic => "Cyrillic script",
            Language::Greek => "Greek",
            Language::Arabic => "Arabic script",
            Language::Hebrew => "Hebrew",
            Language::Chinese => "Chinese",
            Language::Japanese => "Japanese",
            Language::Korean => "Korean",
            Language::Devanagari => "Devanagari script",
            Language::OtherScript => "another script",
        }
    }
}

/// A language and how sure it is, from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    pub language: Language,
    pub confidence: f32,
}

/// Small words of each language, folded. A word may stand in several lists; each list counts it.
const SMALL: &[(Language, &[&str])] = &[
    (
        Language::English,
        &[
            "the", "a", "an", "and", "of", "to", "for", "with", "that", "is", "are", "can",
            "should", "build", "create", "make", "me", "my", "i", "want", "need", "in", "on", "it",
            "which", "where", "app", "have", "has", "please", "be", "by", "from", "simple",
            "using", "users", "manage", "track", "write", "tool", "each", "their", "or", "this",
            "as", "at", "we", "our",
        ],
    ),
    (
        Language::German,
        &[
            "der",
            "die",
            "das",
            "und",
            "ein",
            "eine",
            "einen",
            "einer",
            "eines",
            "fur",
            "mit",
            "von",
            "zu",
            "zum",
            "zur",
            "ist",
            "sind",
            "soll",
            "sollen",
            "ich",
            "wir",
            "mein",
            "meine",
            "den",
            "dem",
            "des",
            "im",
            "auf",
            "bitte",
            "erstelle",
            "baue",
            "brauche",
            "mochte",
            "verwalten",
            "verwaltung",
            "kann",
            "konnen",
            "jede",
            "jeder",
            "jedes",
            "hat",
            "oder",
            "als",
            "auch",
            "nicht",
            "schreibe",
            "einem",
            "eigene",
            "werden",
            "unsere",
            "unser",
        ],
    ),
    (
        Language::French,
        &[
            "le",
            "la",
            "les",
            "et",
            "un",
            "une",
            "des",
            "du",
            "de",
            "pour",
            "avec",
            "qui",
            "est",
            "sont",
            "je",
            "nous",
            "mon",
            "ma",
            "mes",
            "dans",
            "sur",
            "creer",
            "cree",
            "creez",
            "gerer",
            "gestion",
            "peut",
            "peuvent",
            "chaque",
            "au",
            "aux",
            "ou",
            "veux",
            "voudrais",
            "besoin",
            "notre",
            "nos",
            "ses",
            "leurs",
            "construis",
            "faire",
            "application",
            "d'un",
            "d'une",
        ],
    ),
    (
        Language::Spanish,
        &[
            "el",
            "la",
            "los",
            "las",
            "y",
            "un",
            "una",
            "de",
            "del",
            "para",
            "con",
            "que",
            "es",
            "son",
            "yo",
            "mi",
            "mis",
            "en",
            "crear",
            "crea",
            "gestionar",
            "gestion",
            "puede",
            "pueden",
            "cada",
            "al",
            "o",
            "quiero",
            "necesito",
            "nuestra",
            "nuestro",
            "sus",
            "hacer",
            "aplicacion",
            "unos",
            "tiene",
            "por",
            "construye",
            "desarrolla",
            "hazme",
            "administrar",
        ],
    ),
    (
        Language::Italian,
        &[
            "il",
            "lo",
            "la",
            "i",
            "gli",
            "le",
            "e",
            "un",
            "una",
            "di",
            "del",
            "della",
            "dei",
            "delle",
            "per",
            "con",
            "che",
            "sono",
            "mio",
            "mia",
            "miei",
            "nel",
            "nella",
            "creare",
            "crea",
            "gestire",
            "gestione",
            "puo",
            "possono",
            "ogni",
            "al",
            "o",
            "voglio",
            "vorrei",
            "ho",
            "bisogno",
            "nostro",
            "nostra",
            "applicazione",
            "ha",
            "costruisci",
            "sviluppa",
            "degli",
        ],
    ),
    (
        Language::Portuguese,
        &[
            "o",
            "a",
            "os",
            "as",
            "e",
            "um",
            "uma",
            "de",
            "do",
            "da",
            "dos",
            "das",
            "para",
            "com",
            "que",
            "sao",
            "eu",
            "meu",
            "minha",
            "meus",
            "minhas",
            "no",
            "na",
            "em",
            "criar",
            "crie",
            "gerenciar",
            "gerir",
            "gestao",
            "pode",
            "podem",
            "cada",
            "ao",
            "ou",
            "quero",
            "preciso",
            "nosso",
            "nossa",
            "aplicativo",
            "aplicacao",
            "tem",
            "por",
            "construa",
            "desenvolva",
            "faca",
        ],
    ),
    (
        Language::Dutch,
        &[
            "de",
            "het",
            "een",
            "en",
            "van",
            "voor",
            "met",
            "dat",
            "die",
            "is",
            "zijn",
            "ik",
            "wij",
            "we",
            "mijn",
            "in",
            "op",
            "maak",
            "bouw",
            "beheren",
            "beheer",
            "kan",
            "kunnen",
            "elke",
            "elk",
            "of",
            "wil",
            "nodig",
            "onze",
            "ons",
            "te",
            "om",
            "heeft",
            "hebben",
            "applicatie",
            "bij",
            "naar",
            "ook",
            "schrijf",
            "waarmee",
        ],
    ),
];

/// Tells the language of a text by its tokens. Without a word to go by, English at confidence 0.
pub fn detect(tokens: &[Token]) -> Reading {
    let words: Vec<&str> = tokens
        .iter()
        .filter(|token| token.kind == Kind::Word)
        .map(|token| token.text.as_str())
        .collect();
    if words.is_empty() {
        return Reading { language: Language::English, confidence: 0.0 };
    }
    let foreign = words.iter().filter(|word| script(word).is_some()).count();
    if foreign * 2 >= words.len() {
        return by_script(&words, foreign);
    }
    let mut scores: Vec<(Language, usize)> = SMALL
        .iter()
        .map(|(language, small)| {
            (*language, words.iter().filter(|word| small.contains(word)).count())
        })
        .collect();
    // The sort is stable, so English wins a tie.
    scores.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let (language, best) = scores[0];
    let second = scores[1].1;
    if best == 0 {
        return Reading { language: Language::English, confidence: 0.2 };
    }
    let lead = (best - second) as f32 / best as f32;
    let density = (best as f32 / words.len() as f32 * 4.0).min(1.0);
    Reading { language, confidence: 0.3 + 0.7 * lead * density }
}

fn by_script(words: &[&str], foreign: usize) -> Reading {
    let mut counts: Vec<(Language, usize)> = Vec::new();
    for language in words.iter().filter_map(|word| script(word)) {
        match counts.iter_mut().find(|(known, _)| *known == language) {
            Some((_, count)) => *count += 1,
            None => counts.push((language, 1)),
        }
    }
    // Japanese mixes Chinese characters with its own; any of its own decides.
    let japanese = counts.iter().any(|(language, _)| *language == Language::Japanese);
    let most = counts.iter().max_by_key(|(_, count)| *count).map(|(language, _)| *language);
    let language =
        if japanese { Language::Japanese } else { most.unwrap_or(Language::OtherScript) };
    Reading { language, confidence: foreign as f32 / words.len() as f32 }
}

/// The script of a word's first letter outside Latin, if it has one.
fn script(word: &str) -> Option<Language> {
    let letter = word.chars().find(|ch| !ch.is_ascii() && ch.is_alphabetic())?;
    match letter {
        '\u{80}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}' => None,
        '\u{370}'..='\u{3ff}' | '\u{1f00}'..='\u{1fff}' => Some(Language::Greek),
        '\u{400}'..='\u{52f}' => Some(Language::Cyrillic),
        '\u{590}'..='\u{5ff}' => Some(Language::Hebrew),
        '\u{600}'..='\u{77f}' => Some(Language::Arabic),
        '\u{900}'..='\u{97f}' => Some(Language::Devanagari),
        '\u{3040}'..='\u{30ff}' => Some(Language::Japanese),
        '\u{3400}'..='\u{9fff}' => {
            let kana = word.chars().any(|ch| matches!(ch, '\u{3040}'..='\u{30ff}'));
            Some(if kana { Language::Japanese } else { Language::Chinese })
        }
        '\u{1100}'..='\u{11ff}' | '\u{ac00}'..='\u{d7af}' => Some(Language::Korean),
        _ => Some(Language::OtherScript),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::tokens;

    #[test]
    fn languages_are_told_apart_by_a_sentence() {
        let sentences = [
            ("Build a REST API for managing books", Language::English),
            ("Eine REST-API für eine Bibliothek mit Büchern und Autoren", Language::German),
            ("Créer une API pour gérer les livres et les auteurs", Language::French),
            ("Quiero una aplicación para gestionar los pedidos de mi tienda", Language::Spanish),
            ("Crea un'applicazione per gestire i libri della biblioteca", Language::Italian),
            ("Crie um aplicativo para gerenciar os pedidos da minha loja", Language::Portuguese),
            ("Maak een applicatie voor het beheren van boeken", Language::Dutch),
            ("Создай API для управления книгами", Language::Cyrillic),
            ("本の貸し出しを管理するAPI", Language::Japanese),
            ("创建 图书 管理 系统", Language::Chinese),
        ];
        for (sentence, language) in sentences {
            assert_eq!(detect(&tokens(sentence)).language, language, "{sentence}");
        }
    }

    #[test]
    fn a_text_without_words_is_not_sure_of_anything() {
        assert_eq!(detect(&tokens("??? 42")).confidence, 0.0);
    }
}
