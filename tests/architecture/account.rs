//! The account of the architecture at the head of `src/lib.rs`: its layers are the enforced ones,
//! and every file that it names exists.

use std::fs;
use std::path::Path;

use crate::layers::LAYERS;

#[test]
fn the_layer_table_is_the_enforced_one() {
    let mut drawn: Vec<Vec<String>> = Vec::new();
    for line in account().lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let Some((layer, module)) = cells.get(1).zip(cells.get(2)) else {
            continue;
        };
        let Ok(layer) = layer.parse::<usize>() else {
            continue;
        };
        drawn.resize(drawn.len().max(layer + 1), Vec::new());
        drawn[layer].push(module.trim_matches(['[', ']', '`']).to_owned());
    }
    assert_eq!(drawn, LAYERS);
}

#[test]
fn every_named_file_exists() {
    let account = account();
    let named: Vec<&str> = account
        .split('`')
        .filter(|code| {
            ["src/", "tests/", "config/", "deploy/"]
                .iter()
                .any(|root| code.starts_with(root))
        })
        .collect();
    let missing: Vec<&&str> = named
        .iter()
        .filter(|path| !Path::new(path).exists())
        .collect();
    assert!(
        missing.is_empty(),
        "src/lib.rs names files that do not exist: {missing:?}"
    );
    assert!(named.len() > 20, "too few files are named: {named:?}");
}

/// The documentation of the crate.
fn account() -> String {
    let text = fs::read_to_string("src/lib.rs").unwrap();
    let lines = text.lines().map_while(|line| line.strip_prefix("//!"));
    lines.flat_map(|line| [line, "\n"]).collect()
}
