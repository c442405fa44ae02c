//! One word per thing: no source file uses a word that the project has given up, neither in
//! a name nor in a comment nor in a text.

use crate::tree::files;

/// Each given-up word or phrase, in the singular, and the word that replaces it.
const GIVEN_UP: &[(&str, &str)] = &[
    ("door", "entrypoint"),
    ("verdict", "result"),
    ("standing", "state"),
    ("repeat window", "duplicate window"),
    ("carried", "passed through, or sent"),
];

/// The table that tells the user of an old config key what the new one is.
const OLD_KEYS: &str = "src/problem/renamed.rs";

#[test]
fn no_file_uses_a_word_that_was_given_up() {
    let found: Vec<String> = files()
        .iter()
        .filter(|file| file.name() != OLD_KEYS)
        .flat_map(|file| given_up(&file.name(), &file.text))
        .collect();
    assert!(
        found.is_empty(),
        "{} lines with words that were given up:\n{}",
        found.len(),
        found.join("\n")
    );
}

#[test]
fn a_word_that_was_given_up_is_found_in_every_spelling() {
    let text = "// The doors.\nlet repeat_window = 1;\nstruct UnixDoor;\nfn outstanding() {}\n\
                // an indoor window to repeat\n\"STANDING\"";
    let found = given_up("f.rs", text);
    let lines: Vec<&str> = found.iter().map(|line| &line[..6]).collect();
    assert_eq!(lines, ["f.rs:1", "f.rs:2", "f.rs:3", "f.rs:6"], "{found:?}");
}

/// The lines of a file that use a given-up word.
fn given_up(file: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        let words = format!(" {} ", words(line).join(" "));
        let used = GIVEN_UP.iter().filter(|(old, _)| {
            words.contains(&format!(" {old} ")) || words.contains(&format!(" {old}s "))
        });
        for (old, new) in used {
            found.push(format!(
                "{file}:{number}: `{old}` is now {new}: {}",
                line.trim()
            ));
        }
    }
    found
}

/// The words of a line in lower case; `UnixDoor` and `unix_door` are two words each.
fn words(line: &str) -> Vec<String> {
    let mut spaced = String::new();
    let mut after_lower = false;
    for c in line.chars() {
        if (c.is_uppercase() && after_lower) || !c.is_alphanumeric() {
            spaced.push(' ');
        }
        if c.is_alphanumeric() {
            spaced.extend(c.to_lowercase());
        }
        after_lower = c.is_lowercase();
    }
    spaced.split_whitespace().map(str::to_owned).collect()
}
