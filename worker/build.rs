//! Tells the program which version of the generators it has: a number that changes whenever a file
//! of theirs does. Results of another version are not used again.

use std::{fs, path::Path};

fn main() -> std::io::Result<()> {
    let mut version = 0xcbf2_9ce4_8422_2325;
    for part in ["src/generate", "src/task/runner"] {
        println!("cargo:rerun-if-changed={part}");
        read(Path::new(part), &mut version)?;
    }
    println!("cargo:rustc-env=GENERATORS={version:016x}");
    Ok(())
}

fn read(path: &Path, version: &mut u64) -> std::io::Result<()> {
    if path.is_dir() {
        let mut paths = fs::read_dir(path)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<Vec<_>, _>>()?;
        paths.sort();
        return paths.iter().try_for_each(|path| read(path, version));
    }
    add(path.to_string_lossy().as_bytes(), version);
    add(&fs::read(path)?, version);
    Ok(())
}

/// FNV-1a: nobody makes files in order that two of them are taken for one.
fn add(bytes: &[u8], version: &mut u64) {
    for byte in bytes.iter().chain(&(bytes.len() as u64).to_le_bytes()) {
        *version = (*version ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
}
