//! Renders the project of a spec into a folder, without a fleet: `render SPEC.json STACK FOLDER`.
//!
//! STACK is `fastapi`, `express` or `python_cli` and replaces the one in the spec. For those who
//! work on templates.

use std::{env, fs, path::Path};

use anyhow::{Context, bail};
use worker::generate::{self, spec::Spec};

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    let [spec, stack, folder] = args.as_slice() else {
        bail!("wanted: render SPEC.json STACK FOLDER");
    };
    let text = fs::read_to_string(spec).with_context(|| format!("reading {spec}"))?;
    let mut spec: Spec = serde_json::from_str(&text).with_context(|| format!("parsing {spec}"))?;
    spec.stack = serde_json::from_value(serde_json::Value::String(stack.clone()))
        .with_context(|| format!("{stack} is no stack"))?;
    for part in generate::parts(&spec) {
        println!("{} <- {}", part.key, part.needs.join(", "));
        for file in generate::render(&spec, &part.key)? {
            println!("    {}", file.path);
            let path = Path::new(folder).join(&file.path);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::write(&path, file.content)?;
        }
    }
    Ok(())
}
