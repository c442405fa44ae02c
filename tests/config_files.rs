//! The annotated examples load without a complaint, and every complaint there is looks as
//! its golden file says: `tests/config/{valid,invalid}/NAME.toml` beside `NAME.txt`.
//! Write the goldens anew with `UPDATE_GOLDENS=1`, then read the difference.

use std::fs;
use std::path::{Path, PathBuf};

use sms_sidecar::config::{Loaded, check_text};
use sms_sidecar::dialect::Catalog;
use sms_sidecar::problem::{Report, Text};

/// Stands in the invalid files wherever somebody might put a secret by mistake.
const CANARY: &str = "CANARY";

fn toml_files(folder: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|kind| kind == "toml"));
    files.sort();
    assert!(!files.is_empty(), "{folder} has no files");
    files
}

fn judged(file: &Path) -> (Option<Loaded>, Report) {
    let (catalog, problems) = Catalog::load(&Catalog::built_in_sources());
    assert!(problems.is_empty(), "{problems:?}");
    let name = file.file_name().unwrap().to_str().unwrap().to_owned();
    let text = fs::read_to_string(file).unwrap();
    let (loaded, problems) = check_text(&name, &text, &catalog);
    (loaded, Report { problems, texts: vec![Text { file: name, text, description: false }] })
}

fn golden(file: &Path, said: &str) {
    let beside = file.with_extension("txt");
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        fs::write(&beside, said).unwrap();
    }
    let wanted = fs::read_to_string(&beside).unwrap_or_default();
    assert!(said == wanted, "{} says otherwise:\n{said}", beside.display());
}

#[test]
fn every_example_loads_without_a_complaint() {
    for file in toml_files("config") {
        let (loaded, report) = judged(&file);
        assert!(loaded.is_some() && report.problems.is_empty(), "{}:\n{report}", file.display());
    }
}

#[test]
fn valid_files_load_and_warn_as_written() {
    for file in toml_files("tests/config/valid") {
        let (loaded, report) = judged(&file);
        assert!(loaded.is_some(), "{}:\n{report}", file.display());
        golden(&file, &format!("{report}\n"));
    }
}

#[test]
fn invalid_files_are_refused_with_every_complaint() {
    for file in toml_files("tests/config/invalid") {
        let (loaded, report) = judged(&file);
        assert!(loaded.is_none() && report.errors() > 0, "{}", file.display());
        golden(&file, &format!("{report}\n"));
        assert!(!report.render(true).contains(CANARY) && !report.json().to_string().contains(CANARY), "{}:\n{report}", file.display());
    }
}
