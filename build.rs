//! Puts the commit into `--version`, and the descriptions of `config/dialects` into the binary.

use std::path::Path;
use std::process::Command;
use std::{env, fs, io};

#[expect(
    clippy::disallowed_methods,
    reason = "Cargo sets OUT_DIR and CARGO_MANIFEST_DIR"
)]
fn main() -> io::Result<()> {
    println!(
        "cargo:rustc-env=SMS_SIDECAR_COMMIT={}",
        commit().as_deref().map_or("unknown commit", str::trim)
    );
    println!("cargo:rerun-if-changed=.git/HEAD");
    println!("cargo:rerun-if-changed=.git/refs/heads");
    println!("cargo:rerun-if-changed=config/dialects");
    let out = env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?;
    // at run time: a build directory that two checkouts share may hold the other's build script
    let root = env::var("CARGO_MANIFEST_DIR").map_err(|_| io::ErrorKind::NotFound)?;
    fs::write(Path::new(&out).join("dialects.rs"), dialects(&root)?)
}

fn commit() -> Option<String> {
    let output = Command::new("git")
        .args(["rev-parse", "--short=12", "HEAD"])
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8(output.stdout).ok())?
}

/// A Rust expression: the path and text of every description, sorted by name.
fn dialects(root: &str) -> io::Result<String> {
    let mut files = Vec::new();
    for entry in fs::read_dir(Path::new(root).join("config/dialects"))? {
        let path = entry?.path();
        if let Some(name) = path
            .file_stem()
            .filter(|_| path.extension().is_some_and(|ending| ending == "toml"))
        {
            files.push(format!("config/dialects/{}.toml", name.to_string_lossy()));
        }
    }
    files.sort();
    let entries = files
        .iter()
        .map(|file| format!("({file:?}, include_str!({:?})),", format!("{root}/{file}")));
    Ok(format!("&[{}]", entries.collect::<String>()))
}
