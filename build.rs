//! Puts the commit into `--version`, and the descriptions of `config/dialects` into the binary.

use std::path::Path;
use std::process::Command;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo:rustc-env=SMS_SIDECAR_COMMIT={}", commit().as_deref().map_or("no commit known", str::trim));
    println!("cargo:rerun-if-changed=.git/HEAD");
    println!("cargo:rerun-if-changed=.git/refs/heads");
    println!("cargo:rerun-if-changed=config/dialects");
    fs::write(Path::new(&env::var("OUT_DIR").map_err(io::Error::other)?).join("dialects.rs"), dialects()?)
}

fn commit() -> Option<String> {
    let said = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output().ok()?;
    said.status.success().then(|| String::from_utf8(said.stdout).ok())?
}

/// An expression: every description's path with its text, in the order of names.
fn dialects() -> io::Result<String> {
    let root = env::var("CARGO_MANIFEST_DIR").map_err(io::Error::other)?;
    let mut files = Vec::new();
    for entry in fs::read_dir(Path::new(&root).join("config/dialects"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".toml") {
            files.push(format!("config/dialects/{name}"));
        }
    }
    files.sort();
    let entries = files.iter().map(|file| format!("({file:?}, include_str!({:?})),", format!("{root}/{file}")));
    Ok(format!("&[{}]", entries.collect::<String>()))
}
