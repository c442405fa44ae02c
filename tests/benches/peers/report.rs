//! The tables: medians with their range, and ratios to other peers of the same run.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::Options;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Figure {
    /// CPU time of a request in the closed loop, in µs.
    ClosedCpu,
    /// Requests a second in the closed loop.
    Throughput,
    /// CPU time of a request at a fixed rate, in µs.
    OpenCpu(u32),
    /// Median latency at a fixed rate, in µs.
    Median(u32),
    /// 99th percentile of the latency at a fixed rate, in µs.
    Tail(u32),
    /// Memory before and after all loads, in MiB.
    IdleMemory,
    LoadedMemory,
    /// Memory of an idle connection, in KiB.
    IdleConnection,
    /// What remains of it when the connections have closed, in MiB.
    Returned,
    /// From exec to the first answered request, in ms.
    Start,
    /// The program, in MB.
    Size,
}

/// The figures of one peer, one value for each time it was measured.
pub(crate) struct Row {
    name: &'static str,
    values: BTreeMap<Figure, Vec<f64>>,
}

impl Row {
    /// A row without figures.
    pub(crate) const fn new(name: &'static str) -> Self {
        Self {
            name,
            values: BTreeMap::new(),
        }
    }

    /// Adds a value.
    pub(crate) fn push(&mut self, figure: Figure, value: f64) {
        self.values.entry(figure).or_default().push(value);
    }

    fn median(&self, figure: Figure) -> Option<f64> {
        let mut values = self.values.get(&figure)?.clone();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    }

    /// The median, and the range of several values.
    fn cell(&self, figure: Figure) -> String {
        let Some(median) = self.median(figure) else {
            return "–".to_owned();
        };
        let values = self.values.get(&figure).map_or(&[][..], Vec::as_slice);
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(0.0, f64::max);
        let shown = |value: f64| {
            if value < 100.0 {
                format!("{value:.1}")
            } else {
                format!("{value:.0}")
            }
        };
        if values.len() > 1 {
            format!("{} ({}–{})", shown(median), shown(least), shown(most))
        } else {
            shown(median)
        }
    }
}

/// The tables in Markdown.
pub(crate) fn tables(rows: &[Row], options: &Options) -> String {
    let mut text = String::new();
    let mut cpu = vec![("CPU µs a request, closed loop", Figure::ClosedCpu)];
    let labels: Vec<(u32, [String; 3])> = options
        .rates
        .iter()
        .map(|rate| {
            (
                *rate,
                [
                    format!("CPU µs at {rate}/s"),
                    format!("p50 µs at {rate}/s"),
                    format!("p99 µs at {rate}/s"),
                ],
            )
        })
        .collect();
    cpu.extend(
        labels
            .iter()
            .map(|(rate, [cpu, _, _])| (cpu.as_str(), Figure::OpenCpu(*rate))),
    );
    cpu.push(("requests/s", Figure::Throughput));
    write_table(&mut text, rows, &cpu);
    let mut rest: Vec<(&str, Figure)> = labels
        .iter()
        .flat_map(|(rate, [_, median, tail])| {
            [
                (median.as_str(), Figure::Median(*rate)),
                (tail.as_str(), Figure::Tail(*rate)),
            ]
        })
        .collect();
    write_table(&mut text, rows, &rest);
    rest = vec![
        ("Pss MiB idle", Figure::IdleMemory),
        ("after load", Figure::LoadedMemory),
        ("KiB an idle connection", Figure::IdleConnection),
        ("MiB kept when they close", Figure::Returned),
        ("ms to the first answer", Figure::Start),
        ("binary MB", Figure::Size),
    ];
    write_table(&mut text, rows, &rest);
    write_ratios(&mut text, rows, &cpu);
    text
}

fn write_table(text: &mut String, rows: &[Row], columns: &[(&str, Figure)]) {
    let heads: Vec<&str> = columns.iter().map(|(head, _)| *head).collect();
    write_line(text, "peer", &heads);
    write_line(text, "---", &vec!["---"; heads.len()]);
    for row in rows {
        let cells: Vec<String> = columns
            .iter()
            .map(|(_, figure)| row.cell(*figure))
            .collect();
        write_line(text, row.name, &cells);
    }
    text.push('\n');
}

/// The CPU time of each row as a multiple of each other proxy's, and of our plainest way of working.
fn write_ratios(text: &mut String, rows: &[Row], columns: &[(&str, Figure)]) {
    let bases: Vec<&Row> = rows
        .iter()
        .filter(|row| ["minimal", "nginx", "haproxy", "envoy", "native"].contains(&row.name))
        .collect();
    for (head, figure) in columns {
        let heads: Vec<String> = bases
            .iter()
            .map(|base| format!("× {}", base.name))
            .collect();
        write_line(text, head, &heads);
        write_line(text, "---", &vec!["---"; heads.len()]);
        for row in rows {
            let cells: Vec<String> = bases
                .iter()
                .map(|base| {
                    row.median(*figure).unwrap_or_default()
                        / base.median(*figure).unwrap_or_default()
                })
                .map(|ratio| format!("{ratio:.2}"))
                .collect();
            write_line(text, row.name, &cells);
        }
        text.push('\n');
    }
}

fn write_line(text: &mut String, first: &str, cells: &[impl AsRef<str>]) {
    let cells: Vec<&str> = cells.iter().map(AsRef::as_ref).collect();
    // Writing to a String does not fail.
    writeln!(text, "| {first} | {} |", cells.join(" | ")).unwrap_or_default();
}
