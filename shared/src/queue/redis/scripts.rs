//! The scripts that run inside Redis, each in one step. Their files say what they do.

use redis::Script;

#[derive(Debug)]
pub(super) struct Scripts {
    pub(super) push: Script,
    pub(super) done: Script,
    pub(super) put_back: Script,
    pub(super) depth: Script,
    pub(super) tidy: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            push: Script::new(concat!(
                include_str!("scripts/waiting.lua"),
                include_str!("scripts/push.lua")
            )),
            done: Script::new(include_str!("scripts/done.lua")),
            put_back: Script::new(concat!(
                include_str!("scripts/waiting.lua"),
                include_str!("scripts/put_back.lua")
            )),
            depth: Script::new(include_str!("scripts/depth.lua")),
            tidy: Script::new(include_str!("scripts/tidy.lua")),
        }
    }
}
