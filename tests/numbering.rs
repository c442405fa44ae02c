//! The table of calling codes, and how numbers are read with it, against a port of Google's libphonenumber. The library
//! itself is not part of the binary: the head of `src/lib.rs` has the measurements.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use phonenumber::metadata::{DATABASE, Descriptor, Descriptors, Metadata};
use phonenumber::{Mode, country};
use sms_sidecar::sms::{NumberReading, NumberingPlan};

const TABLE: &str = "src/sms/calling_codes.tsv";

#[derive(Default)]
struct Row {
    trunk_prefixes: BTreeSet<String>,
    mobile: BTreeSet<u16>,
    all: BTreeSet<u16>,
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "UPDATE_GOLDENS writes the goldens"
)]
fn the_table_is_the_librarys() {
    let mut rows: BTreeMap<u16, Row> = BTreeMap::new();
    for region in DATABASE.iter() {
        let row = rows.entry(region.country_code()).or_default();
        row.trunk_prefixes.extend(trunk_prefixes(region));
        let mobile = region.descriptors().mobile();
        row.mobile
            .extend(mobile.into_iter().flat_map(Descriptor::possible_length));
        row.all.extend(all_lengths(region.descriptors()));
    }
    // Codes of no country and no phone: satellites, toll-free, conferences.
    rows.retain(|_, row| !row.mobile.is_empty());
    let table: String = rows.iter().map(|(code, row)| line(*code, row)).collect();
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        fs::write(TABLE, &table).unwrap();
    }
    let current = fs::read_to_string(TABLE).unwrap();
    assert!(
        current == table,
        "{TABLE} is out of date: UPDATE_GOLDENS=1 cargo test --test numbering"
    );
}

fn line(code: u16, row: &Row) -> String {
    let mut prefixes: Vec<&str> = row.trunk_prefixes.iter().map(String::as_str).collect();
    prefixes.sort_by_key(|prefix| std::cmp::Reverse(prefix.len()));
    let lengths = |set: &BTreeSet<u16>| {
        let texts: Vec<String> = set.iter().map(ToString::to_string).collect();
        texts.join(" ")
    };
    format!(
        "{code}\t{}\t{}\t{}\n",
        prefixes.join(" "),
        lengths(&row.mobile),
        lengths(&row.all)
    )
}

/// The prefix of national calls, and what else may be dialled in its place: `0|80?` is 0, 8 and 80. Carrier codes and
/// rewritten local numbers are patterns of their own, and not in the table.
fn trunk_prefixes(region: &Metadata) -> BTreeSet<String> {
    let mut found: BTreeSet<String> = region
        .national_prefix()
        .map(str::to_owned)
        .into_iter()
        .collect();
    let pattern = region
        .national_prefix_for_parsing()
        .map(|regex| regex.as_str().to_owned());
    for part in pattern.iter().flat_map(|pattern| pattern.split('|')) {
        let digits = part.trim_matches(['[', ']', '?']);
        if !digits.bytes().all(|b| b.is_ascii_digit()) || digits.len() > 2 || digits.is_empty() {
            continue;
        }
        if part.starts_with('[') {
            found.extend(digits.chars().map(String::from));
        } else {
            found.insert(digits.to_owned());
            if part.ends_with('?') {
                found.extend(digits.get(..1).map(str::to_owned));
            }
        }
    }
    found
}

/// The kinds that a person may have. Services and call centres have numbers of other lengths.
fn all_lengths(kinds: &Descriptors) -> BTreeSet<u16> {
    [
        kinds.fixed_line(),
        kinds.mobile(),
        kinds.personal_number(),
        kinds.voip(),
        kinds.pager(),
    ]
    .into_iter()
    .flatten()
    .flat_map(|kind| kind.possible_length().to_vec())
    .collect()
}

/// Where this port of the library takes the first digits of the number for the country code, or for a carrier's.
const LIBRARY_FAULTS: [&str; 2] = [
    "KZ 7710009998: +77710009998, not +7710009998",
    "CO 03211234567: +573211234567, not +57211234567",
];

/// The library's mobile number of every region, in each way that people write it, is read as the library reads it.
#[test]
fn mobile_numbers_are_read_as_the_library_reads_them() {
    let (mut regions, mut compared) = (0, 0);
    let mut differences = Vec::new();
    for region in DATABASE.iter() {
        let Some(plan) = NumberingPlan::of(&region.country_code().to_string()) else {
            continue;
        };
        let Ok(id) = region.id().parse::<country::Id>() else {
            continue;
        };
        regions += 1;
        let descriptors = region.descriptors();
        let Some(example) = descriptors.mobile().and_then(|kind| kind.example()) else {
            continue;
        };
        let international = format!("{}{example}", region.country_code());
        let trunk = region.national_prefix().unwrap_or_default();
        for text in [
            example.to_owned(),
            format!("{trunk}{example}"),
            international.clone(),
            format!("+{international}"),
            format!("00{international}"),
        ] {
            let ours = match plan.read(&text) {
                NumberReading::National(number) => number.to_e164(),
                NumberReading::AsWritten => {
                    format!("+{}", text.trim_start_matches("00").trim_start_matches('+'))
                }
                NumberReading::Unfit(unfit) => panic!("{}: {text}: {unfit}", region.id()),
            };
            // It takes `00` for the prefix of calls abroad only where it is that.
            let theirs = phonenumber::parse(
                Some(id),
                text.replacen("00", "+", usize::from(text.starts_with("00"))),
            )
            .unwrap();
            let theirs = theirs.format().mode(Mode::E164).to_string();
            if ours != theirs {
                differences.push(format!("{} {text}: {ours}, not {theirs}", region.id()));
            }
            compared += 1;
        }
    }
    assert_eq!(differences, LIBRARY_FAULTS);
    assert!(
        compared > 1_000,
        "{compared} numbers of {regions} regions were compared"
    );
}
