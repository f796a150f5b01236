//! What is understood from text without a network or a key.
//!
//! Three questions, each answered by rules over words: what the words are (`words`), which language
//! they are in (`language`), and which of our stacks they ask for (`stack`). The rules are the
//! floor that always holds: each answer carries a confidence, so that a classifier may be asked
//! where the rules are unsure. Knows nothing of entities, plans or projects.

pub mod words;
pub mod inflect;
pub mod language;
pub mod stack;
