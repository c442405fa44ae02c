//! The rooms inside one module form no import cycle, even where their files do not: if
//! `dialect::reply` uses `dialect::wire`, no file of `wire` uses a file of `reply`.

use std::collections::{BTreeMap, BTreeSet};

use crate::cycles::{cycles, imports};
use crate::tree::{SourceFile, files};

#[test]
fn sibling_rooms_do_not_import_each_other_in_a_circle() {
    let files = files();
    let edges = imports(&files);
    let has_files = |room: &Room| {
        files
            .iter()
            .filter(|file| !file.is_test())
            .any(|file| file.module.starts_with(room) && file.module.len() > room.len())
    };
    let found: Vec<String> = cycles(&room_edges(&files, &edges))
        .iter()
        .filter(|cycle| cycle.iter().any(has_files))
        .map(|cycle| describe(cycle, &files, &edges))
        .collect();
    assert!(
        found.is_empty(),
        "sibling rooms that import each other in a circle:\n{}",
        found.join("\n")
    );
}

/// A module inside another, with the modules below it, as a path: `["dialect", "expr"]`.
/// A cycle of modules that are single files is a cycle of files, which another test finds.
type Room = Vec<String>;

/// Which room imports from which of its siblings. The top level is left out: its order is
/// that of the layers.
fn room_edges(
    files: &[SourceFile],
    edges: &BTreeMap<usize, BTreeSet<usize>>,
) -> BTreeMap<Room, BTreeSet<Room>> {
    let mut between: BTreeMap<Room, BTreeSet<Room>> = BTreeMap::new();
    for (from, targets) in edges {
        for target in targets {
            if let Some((room, sibling)) = siblings(&files[*from].module, &files[*target].module) {
                between.entry(room).or_default().insert(sibling);
            }
        }
    }
    between
}

/// The two rooms that an import connects: where the paths of its two modules part.
fn siblings(from: &[String], target: &[String]) -> Option<(Room, Room)> {
    let shared = from
        .iter()
        .zip(target)
        .take_while(|(one, other)| one == other)
        .count();
    let is_below_top = shared > 0 && from.len() > shared && target.len() > shared;
    is_below_top.then(|| (from[..=shared].to_vec(), target[..=shared].to_vec()))
}

/// The rooms of a cycle, and the imports among them.
fn describe(
    cycle: &BTreeSet<Room>,
    files: &[SourceFile],
    edges: &BTreeMap<usize, BTreeSet<usize>>,
) -> String {
    let rooms: Vec<String> = cycle.iter().map(|room| room.join("::")).collect();
    let mut text = rooms.join(", ");
    for (from, targets) in edges {
        for target in targets {
            let rooms = siblings(&files[*from].module, &files[*target].module);
            if rooms.is_some_and(|(a, b)| cycle.contains(&a) && cycle.contains(&b)) {
                text.push_str("\n    ");
                text.push_str(&files[*from].name());
                text.push_str(" -> ");
                text.push_str(&files[*target].name());
            }
        }
    }
    text
}
