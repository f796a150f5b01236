//! The scripts that run inside Redis, each in one step. Their files say what they do.

use redis::Script;

#[derive(Debug)]
pub(super) struct Scripts {
    pub(super) push: Script,
    pub(super) take: Script,
    pub(super) take_over: Script,
    pub(super) put_back: Script,
}

macro_rules! script {
    ($name:literal) => {
        Script::new(concat!(
            include_str!("scripts/lane.lua"),
            include_str!(concat!("scripts/", $name, ".lua"))
        ))
    };
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            push: script!("push"),
            take: script!("take"),
            take_over: script!("take_over"),
            put_back: script!("put_back"),
        }
    }
}
