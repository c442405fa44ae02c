//! The descriptions compiled in, through the whole engine.

use super::*;

#[test]
fn every_built_in_description_loads_without_a_problem() {
    let (catalog, problems) = Catalog::load(&Catalog::built_in_sources());
    assert_eq!(problems, []);
    assert_eq!(catalog.iter().count(), Catalog::built_in_sources().len());
}
