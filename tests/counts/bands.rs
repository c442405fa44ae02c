//! The committed figures, and how far a new one may be from them.

use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use toml::{Table, Value};

const FILE: &str = "tests/counts/bands.toml";
const HEAD: &str = "\
# What a message, a request and a process cost in the build that the tests use, and how far each kind may grow: by a
# share (\"3%\") or by a number. `UPDATE_GOLDENS=1 cargo test --test counts` writes the figures and keeps `may_grow`.

";
const UPDATE: &str = "UPDATE_GOLDENS=1 cargo test --test counts";
/// A figure that is better by this many times what it may grow by asks for a tighter band.
const TIGHTEN: f64 = 3.0;

/// Held while the file is read and written.
static WRITING: Mutex<()> = Mutex::new(());

/// A measured figure.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    /// What is counted: a table of the file.
    pub(crate) kind: &'static str,
    /// Of what: a key of that table.
    pub(crate) of: String,
    pub(crate) value: f64,
}

/// How far a figure may grow.
#[derive(Clone, Copy, Debug)]
enum Growth {
    Percent(f64),
    Number(f64),
}

/// What is wrong with a figure.
#[derive(Debug, PartialEq)]
enum Comparison {
    Within,
    Grown,
    Tighten,
}

/// Fails if a figure is outside its band; with `UPDATE_GOLDENS` it writes them instead.
pub(crate) fn hold(figures: &[Figure]) {
    let _alone = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    let path = Path::new(FILE);
    let mut bands: Table = fs::read_to_string(path).unwrap().parse().unwrap();
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        for figure in figures {
            figure.write(&mut bands);
        }
        fs::write(path, format!("{HEAD}{bands}")).unwrap();
        return;
    }
    let complaints: Vec<String> = figures
        .iter()
        .filter_map(|figure| figure.complaint(&bands))
        .collect();
    assert!(
        complaints.is_empty(),
        "\n{}\nAll figures that were measured:\n{}\n",
        complaints.join("\n"),
        listed(figures)
    );
}

impl Figure {
    fn write(&self, bands: &mut Table) {
        // No negative zero.
        let rounded = Value::Float((self.value * 10.0).round() / 10.0 + 0.0);
        let table = bands
            .entry(self.kind)
            .or_insert_with(|| Value::Table(Table::new()));
        let table = table.as_table_mut().unwrap();
        table.insert(self.of.clone(), rounded);
    }

    fn complaint(&self, bands: &Table) -> Option<String> {
        let Some(band) = number_at(bands, self.kind, &self.of) else {
            return Some(format!("{self}, and {FILE} has no band for it: {UPDATE}"));
        };
        let growth = Growth::read(bands, self.kind);
        let more = self.value - band;
        let share = if band > 0.0 {
            format!(" ({:+.1}%)", more / band * 100.0)
        } else {
            String::new()
        };
        match growth.compare(band, self.value) {
            Comparison::Within => None,
            Comparison::Grown => Some(format!(
                "{self}, where {band} may grow by {growth}: {more:+.1}{share}. Find what costs more, or, if it is \
                 worth that, write the new figure with {UPDATE}"
            )),
            Comparison::Tighten => Some(format!(
                "{self}, much better than its band of {band}{share}. Tighten the band, so that it stays so: {UPDATE}"
            )),
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}: {:.1}", self.kind, self.of, self.value)
    }
}

impl Growth {
    fn read(bands: &Table, kind: &str) -> Self {
        let text = bands
            .get("may_grow")
            .and_then(|growths| growths.get(kind)?.as_str());
        let read = text.and_then(|text| match text.strip_suffix('%') {
            Some(share) => share.parse().ok().map(Self::Percent),
            None => text.parse().ok().map(Self::Number),
        });
        read.unwrap_or_else(|| {
            panic!("{FILE} does not say in [may_grow] how far {kind} may grow: {kind} = \"10%\"")
        })
    }

    fn compare(self, band: f64, value: f64) -> Comparison {
        let room = match self {
            Self::Percent(share) => band * share / 100.0,
            Self::Number(number) => number,
        };
        if value > band + room {
            Comparison::Grown
        } else if value < band - room * TIGHTEN {
            Comparison::Tighten
        } else {
            Comparison::Within
        }
    }
}

impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percent(share) => write!(f, "{share}%"),
            Self::Number(number) => write!(f, "{number}"),
        }
    }
}

fn number_at(bands: &Table, kind: &str, of: &str) -> Option<f64> {
    bands.get(kind)?.get(of)?.as_float()
}

fn listed(figures: &[Figure]) -> String {
    let lines: Vec<String> = figures.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

#[test]
fn a_figure_outside_its_band_says_what_grew_and_by_how_much() {
    let bands: Table = "[may_grow]\napples = \"10%\"\npears = \"2\"\n\
                        [apples]\nred = 100.0\n[pears]\ngreen = 10.0\n"
        .parse()
        .unwrap();
    let complaint = |kind, of: &str, value| {
        let of = of.to_owned();
        Figure { kind, of, value }.complaint(&bands)
    };
    for within in [70.0, 100.0, 110.0] {
        assert_eq!(complaint("apples", "red", within), None);
    }
    for within in [4.0, 12.0] {
        assert_eq!(complaint("pears", "green", within), None);
    }
    for (found, said) in [
        (
            complaint("apples", "red", 110.1),
            "apples, red: 110.1, where 100 may grow by 10%: +10.1 (+10.1%)",
        ),
        (
            complaint("apples", "red", 69.9),
            "apples, red: 69.9, much better than its band of 100 (-30.1%)",
        ),
        (
            complaint("pears", "green", 12.5),
            "pears, green: 12.5, where 10 may grow by 2: +2.5 (+25.0%)",
        ),
        (
            complaint("pears", "yellow", 1.0),
            "pears, yellow: 1.0, and tests/counts/bands.toml has no band for it",
        ),
    ] {
        let found = found.unwrap();
        assert!(found.starts_with(said) && found.contains(UPDATE), "{found}");
    }
}
