//! One name, one thing: no two types of the crate share a name.

use std::collections::BTreeMap;

use syn::visit::{self, Visit};

use crate::tree::{files, is_cfg_test};

/// Idioms that the module qualifies: `vault::Settings`, the `Args` of a subcommand.
const QUALIFIED_BY_MODULE: &[&str] = &["Args", "Settings", "Error"];
/// Idioms that may repeat as long as no other file can name them.
const PRIVATE_IDIOMS: &[&str] = &["State", "Raw"];

#[test]
fn every_type_name_is_unique() {
    let mut declared: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in files() {
        let mut types = Types::default();
        types.visit_file(&file.syntax);
        for name in types.found {
            declared.entry(name).or_default().push(file.name());
        }
    }
    let repeated: Vec<String> = declared
        .into_iter()
        .filter(|(_, places)| places.len() > 1)
        .map(|(name, places)| format!("{name}: {}", places.join(", ")))
        .collect();
    assert!(
        repeated.is_empty(),
        "types declared more than once:\n{}",
        repeated.join("\n")
    );
}

#[test]
fn a_repeated_name_is_found() {
    let syntax = syn::parse_file(
        "struct Args; pub struct State; struct State; enum A { B } trait C {} type D = u8;
         trait Clock { type Time; } #[cfg(test)] mod tests { struct InTests; }",
    );
    let mut types = Types::default();
    types.visit_file(&syntax.unwrap());
    assert_eq!(types.found, ["State", "A", "C", "D", "Clock"]);
}

/// The names of types that a file declares, without the exempt idioms and those of tests.
#[derive(Default)]
struct Types {
    found: Vec<String>,
}

impl Types {
    fn declare(&mut self, name: &syn::Ident, visibility: &syn::Visibility) {
        let name = name.to_string();
        let private = matches!(visibility, syn::Visibility::Inherited);
        let exempt = QUALIFIED_BY_MODULE.contains(&name.as_str())
            || (private && PRIVATE_IDIOMS.contains(&name.as_str()));
        if !exempt {
            self.found.push(name);
        }
    }
}

impl<'ast> Visit<'ast> for Types {
    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.declare(&item.ident, &item.vis);
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.declare(&item.ident, &item.vis);
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.declare(&item.ident, &item.vis);
    }

    fn visit_item_type(&mut self, item: &'ast syn::ItemType) {
        self.declare(&item.ident, &item.vis);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_cfg_test(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }
}
