//! What a config costs as it grows, in counts that no busy machine changes: the series and bytes of `/metrics` by
//! providers, and the allocations of a load by descriptions. The bands have some room; a figure above its band says
//! what grew.
#![expect(clippy::unwrap_used, reason = "a broken set-up is a failed test")]

use std::alloc::System;
use std::sync::Arc;

use prometheus::proto::MetricType;
use prometheus::{Encoder, Registry, TextEncoder};
use regex::Regex;
use sms_sidecar::clock::SystemClock;
use sms_sidecar::dialect::{Catalog, SourceFile};
use sms_sidecar::sms::ProviderId;
use sms_sidecar::telemetry::{ConfigSummary, MetricsSchema, RouteSummary, Telemetry};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Held by a test while it counts, because the counter is the process's.
static COUNTING: std::sync::Mutex<()> = std::sync::Mutex::new(());

/// The series, and the bytes of the page, of a sidecar with this many providers that has not sent anything.
fn metrics_at_start(providers: usize) -> (usize, usize) {
    let names = (0..providers).map(|number| format!("account-{number}"));
    let ids: Vec<ProviderId> = names.map(|name| ProviderId::new(&name)).collect();
    let dialects = ["playmobile", "twilio"];
    let schema = MetricsSchema {
        providers: ids
            .iter()
            .zip(dialects.into_iter().cycle())
            .map(|(id, dialect)| (id.clone(), dialect.to_owned()))
            .collect(),
        vaults: vec!["local".into()],
        dialects: Catalog::built_in()
            .names()
            .map(|name| (name.to_owned(), "built-in".to_owned()))
            .collect(),
        config: ConfigSummary {
            routes: vec![RouteSummary {
                name: "all".into(),
                providers: ids,
                recipients: Vec::new(),
                observe: false,
            }],
            ..ConfigSummary::default()
        },
        ..MetricsSchema::default()
    };
    let registry = Registry::new();
    let _telemetry = Telemetry::new(&registry, &schema, Arc::new(SystemClock::start())).unwrap();
    let families = registry.gather();
    let series = families.iter().map(|family| {
        assert_ne!(
            family.get_field_type(),
            MetricType::HISTOGRAM,
            "begins later"
        );
        family.get_metric().len()
    });
    let mut page = Vec::new();
    TextEncoder::new().encode(&families, &mut page).unwrap();
    (series.sum(), page.len())
}

#[test]
fn a_provider_that_sends_nothing_costs_few_series() {
    let _alone = COUNTING.lock();
    let (few_series, few_bytes) = metrics_at_start(1);
    let (many_series, many_bytes) = metrics_at_start(100);
    // 15 of attempts, 4 states, its version, its place in the route, and its possible duplicates. The second dialect
    // has 20 of requests, and the duplicates that it suppressed.
    let each = 22;
    assert_eq!(many_series - few_series, 99 * each + 21);
    assert!(few_series <= 200, "{few_series} series with one provider");
    assert!(few_bytes <= 24_000, "{few_bytes} bytes with one provider");
    assert!(
        many_bytes <= 300_000,
        "{many_bytes} bytes with 100 providers"
    );
}

/// The allocations of `work`.
fn allocations(work: impl FnOnce()) -> usize {
    let region = Region::new(ALLOCATOR);
    work();
    region.change().allocations
}

/// The built-in descriptions, and renamed copies of them as ops' files, so that there are this many.
fn descriptions(count: usize) -> Vec<SourceFile> {
    let mut sources = Catalog::built_in_sources();
    let built_in = sources.clone();
    let name = Regex::new("(?m)^dialect *= *\"").unwrap();
    for (number, source) in (built_in.len()..count).zip(built_in.iter().cycle()) {
        let renamed = name.replace(&source.text, format!("${{0}}copy-{number}-"));
        sources.push(SourceFile {
            name: format!("copy-{number}.toml"),
            text: renamed.into_owned(),
            built_in: false,
        });
    }
    sources
}

#[test]
fn descriptions_that_nobody_uses_are_not_compiled() {
    let _alone = COUNTING.lock();
    let sources = descriptions(0);
    let mut loaded = None;
    let load = allocations(|| loaded = Some(Catalog::load(&sources)));
    assert!(load <= 600, "{load} allocations to load {}", sources.len());
    let (catalog, problems) = loaded.unwrap();
    assert_eq!(problems, []);
    let first = allocations(|| drop(catalog.get("twilio").cloned().unwrap()));
    let second = allocations(|| drop(catalog.get("twilio").cloned().unwrap()));
    assert!(first > 1_000 && second == 0, "{first}, {second}");
}

#[test]
fn descriptions_of_ops_cost_a_bounded_number_of_allocations_each() {
    let _alone = COUNTING.lock();
    let sources = descriptions(200);
    let mut loaded = None;
    let load = allocations(|| loaded = Some(Catalog::load(&sources)));
    let (catalog, _) = loaded.unwrap();
    assert_eq!(catalog.names().count(), 200);
    let each = load / sources.len();
    assert!(each <= 12_000, "{each} allocations for each description");
}

#[test]
fn a_built_in_description_has_the_name_of_its_file() {
    for source in Catalog::built_in_sources() {
        let catalog = Catalog::load(std::slice::from_ref(&source)).0;
        let names: Vec<&str> = catalog.names().collect();
        let declared = format!("\"{}\"", names.concat());
        let line = source.text.lines().find(|it| it.starts_with("dialect"));
        assert!(line.unwrap().contains(&declared), "{}", source.name);
    }
}
