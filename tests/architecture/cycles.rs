//! No import cycles among the files of the crate. A `mod.rs` may use its children and they
//! may use what it defines: that is one room. Every other loop of imports is a fault, with
//! the one exception named below.

use std::collections::{BTreeMap, BTreeSet};

use syn::visit::{self, Visit};

use crate::tree::{SourceFile, files, is_cfg_test, modules};

/// The recursive grammar: a template has holes, a hole has filters and paths, and a path has
/// templates again.
const RECURSIVE_GRAMMAR: &[&str] = &[
    "src/dialect/expr/filter.rs",
    "src/dialect/expr/path.rs",
    "src/dialect/expr/scope.rs",
    "src/dialect/expr/template.rs",
];

#[test]
fn files_do_not_import_each_other_in_a_circle() {
    let files = files();
    let found: Vec<String> = cycles(&imports(&files))
        .into_iter()
        .map(|cycle| {
            cycle
                .into_iter()
                .map(|index| files[index].name())
                .collect::<Vec<_>>()
        })
        .filter(|cycle| cycle != RECURSIVE_GRAMMAR)
        .map(|cycle| cycle.join(", "))
        .collect();
    assert!(
        found.is_empty(),
        "files that import each other in a circle:\n{}",
        found.join("\n")
    );
}

#[test]
fn a_circle_is_found() {
    let edges = BTreeMap::from([
        (0, BTreeSet::from([1])),
        (1, BTreeSet::from([2, 3])),
        (2, BTreeSet::from([0])),
        (3, BTreeSet::from([1, 4])),
    ]);
    assert_eq!(cycles(&edges), [BTreeSet::from([0, 1, 2, 3])]);
    assert!(cycles(&BTreeMap::from([(0, BTreeSet::from([1]))])).is_empty());
}

/// Which files each file imports from; a parent's use of its own children is left out.
pub(crate) fn imports(files: &[SourceFile]) -> BTreeMap<usize, BTreeSet<usize>> {
    let modules = modules(files);
    let tree = Tree {
        files,
        modules: &modules,
    };
    let mut edges: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for (index, file) in files.iter().enumerate().filter(|(_, file)| !file.is_test()) {
        let mut paths = Paths {
            module: &file.module,
            found: Vec::new(),
        };
        paths.visit_file(&file.syntax);
        for target in paths.found.iter().filter_map(|path| tree.resolve(path, 0)) {
            let is_descendant = files[target].module.starts_with(&file.module);
            if target != index && !is_descendant && !files[target].is_test() {
                edges.entry(index).or_default().insert(target);
            }
        }
    }
    edges
}

/// The files, by module, and how a path finds the file that defines what it names.
struct Tree<'a> {
    files: &'a [SourceFile],
    modules: &'a BTreeMap<&'a [String], usize>,
}

impl Tree<'_> {
    /// The file that defines the item at an absolute path; re-exports are followed.
    fn resolve(&self, path: &[String], depth: usize) -> Option<usize> {
        let split = (0..=path.len())
            .rev()
            .find(|length| self.modules.contains_key(&path[..*length]))?;
        let index = self.modules[&path[..split]];
        let Some(name) = path.get(split).filter(|_| depth < 8) else {
            return Some(index);
        };
        match self.reexported(index, name) {
            Some(target) => self.resolve(&target, depth + 1),
            None => Some(index),
        }
    }

    /// The absolute path that a file re-exports under `name`.
    fn reexported(&self, index: usize, name: &str) -> Option<Vec<String>> {
        let file = &self.files[index];
        let exports = file.syntax.items.iter().filter_map(|item| match item {
            syn::Item::Use(item) if !matches!(item.vis, syn::Visibility::Inherited) => Some(item),
            _ => None,
        });
        let mut leaves = Vec::new();
        exports.for_each(|item| flatten(&item.tree, &mut Vec::new(), &mut leaves));
        let leaf = leaves
            .into_iter()
            .find(|leaf| leaf.last().is_some_and(|last| last == name))?;
        absolute(&leaf, &file.module)
    }
}

/// The paths inside the crate that a file names outside its tests.
struct Paths<'a> {
    module: &'a [String],
    found: Vec<Vec<String>>,
}

impl<'ast> Visit<'ast> for Paths<'_> {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let mut leaves = Vec::new();
        if matches!(item.vis, syn::Visibility::Inherited) && !is_cfg_test(&item.attrs) {
            flatten(&item.tree, &mut Vec::new(), &mut leaves);
        }
        self.found
            .extend(leaves.iter().filter_map(|leaf| absolute(leaf, self.module)));
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path
            .segments
            .iter()
            .map(|segment| segment.ident.to_string())
            .collect();
        if segments
            .first()
            .is_some_and(|first| first == "crate" || first == "super")
        {
            self.found.extend(absolute(&segments, self.module));
        }
        visit::visit_path(self, path);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_cfg_test(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }
}

/// Each path of a `use`, from its first segment to the name it brings in.
fn flatten(tree: &syn::UseTree, prefix: &mut Vec<String>, leaves: &mut Vec<Vec<String>>) {
    match tree {
        syn::UseTree::Path(path) => {
            prefix.push(path.ident.to_string());
            flatten(&path.tree, prefix, leaves);
            prefix.pop();
        }
        syn::UseTree::Group(group) => {
            group
                .items
                .iter()
                .for_each(|item| flatten(item, prefix, leaves));
        }
        syn::UseTree::Name(name) if name.ident == "self" => leaves.push(prefix.clone()),
        syn::UseTree::Name(name) => leaves.push([&prefix[..], &[name.ident.to_string()]].concat()),
        syn::UseTree::Rename(rename) => {
            leaves.push([&prefix[..], &[rename.ident.to_string()]].concat());
        }
        syn::UseTree::Glob(_) => leaves.push(prefix.clone()),
    }
}

/// A path as it is from the crate's root; none for one of another crate. A path that begins
/// with neither `crate` nor `super` begins at a child of `module`, as re-exports do.
fn absolute(path: &[String], module: &[String]) -> Option<Vec<String>> {
    match path.first()?.as_str() {
        "crate" => Some(path[1..].to_vec()),
        "super" => Some([&module[..module.len() - 1], &path[1..]].concat()),
        "self" => Some([module, &path[1..]].concat()),
        "std" | "core" | "alloc" => None,
        _ => Some([module, path].concat()),
    }
}

/// The strongly connected groups of two nodes or more.
pub(crate) fn cycles<N: Ord + Clone>(edges: &BTreeMap<N, BTreeSet<N>>) -> Vec<BTreeSet<N>> {
    let reach: BTreeMap<&N, BTreeSet<N>> = edges
        .keys()
        .map(|start| (start, reachable(edges, start)))
        .collect();
    let mut found: Vec<BTreeSet<N>> = Vec::new();
    for (node, from_node) in reach
        .iter()
        .filter(|(node, targets)| targets.contains(*node))
    {
        let returns = |other: &&N| reach.get(other).is_some_and(|back| back.contains(*node));
        let cycle: BTreeSet<N> = from_node.iter().filter(returns).cloned().collect();
        if !found.contains(&cycle) {
            found.push(cycle);
        }
    }
    found
}

/// The nodes that can be reached from `start` by one edge or more.
fn reachable<N: Ord + Clone>(edges: &BTreeMap<N, BTreeSet<N>>, start: &N) -> BTreeSet<N> {
    let mut seen = BTreeSet::new();
    let mut open = vec![start.clone()];
    while let Some(node) = open.pop() {
        for next in edges.get(&node).into_iter().flatten() {
            if seen.insert(next.clone()) {
                open.push(next.clone());
            }
        }
    }
    seen
}
