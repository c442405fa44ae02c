//! The table of causes of one service: which reply has which cause, how certain, and what settles an
//! ambiguous one. Generated from the description's rules, codes and probes.

use serde_json::{Value, json};

use crate::cli::dialects::render_table;
use crate::diagnosis::CauseCandidates;
use crate::dialect::{CauseTableRow, Dialect};
use crate::provider::probe::best_probe;
use crate::sms::{AttemptKind, Cause, Family};

/// The table for programs.
pub(crate) fn causes_json(dialect: &Dialect) -> Value {
    let rows = dialect.cause_table();
    let row = |shown: &CauseTableRow| {
        json!({
            "cause": shown.cause.as_str(),
            "kind": shown.kind.as_str(),
            "reply": shown.condition,
            "certainty": shown.certainty.as_str(),
            "alternatives": shown.alternatives.iter().map(|cause| cause.as_str()).collect::<Vec<_>>(),
            "settled_by": disambiguation_steps(dialect, shown),
        })
    };
    let unreported: Vec<&str> = unreported_causes(&rows).map(Cause::as_str).collect();
    json!({ "name": dialect.name, "causes": rows.iter().map(row).collect::<Vec<_>>(), "not_reported": unreported })
}

/// The table for people.
pub(crate) fn render_causes(dialect: &Dialect) -> String {
    let head = ["CAUSE", "CERTAINTY", "KIND", "REPLY"].map(str::to_owned);
    let rows = dialect.cause_table();
    let row = |shown: &CauseTableRow| {
        [
            shown.cause.to_string(),
            shown.certainty.as_str().to_owned(),
            shown.kind.to_string(),
            shown.condition.clone(),
        ]
    };
    let unreported: Vec<&str> = unreported_causes(&rows).map(Cause::as_str).collect();
    let table = render_table(
        &std::iter::once(head)
            .chain(rows.iter().map(row))
            .collect::<Vec<_>>(),
    );
    let details =
        std::iter::once(Vec::new()).chain(rows.iter().map(|shown| detail_lines(dialect, shown)));
    let lines: Vec<String> = table
        .lines()
        .zip(details)
        .flat_map(|(line, more)| std::iter::once(line.to_owned()).chain(more))
        .collect();
    let table = lines.join("\n");
    format!("{table}\n\nno reply shows: {}", unreported.join(" "))
}

/// The alternatives and what settles them, on lines of their own, because they are too wide for a
/// column.
fn detail_lines(dialect: &Dialect, shown: &CauseTableRow) -> Vec<String> {
    let alternatives: Vec<&str> = shown
        .alternatives
        .iter()
        .map(|cause| cause.as_str())
        .collect();
    let settled = disambiguation_steps(dialect, shown).join(", then ");
    let line = |label: &str, text: &str| (!text.is_empty()).then(|| format!("  {label} {text}"));
    line("or", &alternatives.join(" or "))
        .into_iter()
        .chain(line("settled by", &settled))
        .collect()
}

/// The account causes that no reply of this service shows.
fn unreported_causes(rows: &[CauseTableRow]) -> impl Iterator<Item = Cause> {
    let is_shown = |cause: &Cause| {
        rows.iter()
            .any(|shown| shown.cause == *cause || shown.alternatives.contains(cause))
    };
    Cause::ALL
        .iter()
        .copied()
        .filter(move |cause| cause.family() == Family::Account && !is_shown(cause))
}

/// What narrows an ambiguous reply, in order.
fn disambiguation_steps(dialect: &Dialect, shown: &CauseTableRow) -> Vec<String> {
    let candidates = CauseCandidates::new(shown.cause, shown.certainty, &shown.alternatives);
    if candidates.is_unambiguous() || shown.kind == AttemptKind::Probe {
        return Vec::new();
    }
    let all = candidates.causes();
    let has_token = dialect.requires_login();
    let date = all
        .contains(&Cause::ClockSkew)
        .then(|| "the reply's date".to_owned());
    let login =
        (has_token && all.contains(&Cause::CredentialExpired)).then(|| "a new login".to_owned());
    let probe = if has_token && candidates.includes_credential() {
        None
    } else {
        best_probe(dialect, &candidates, &[])
            .and_then(|index| dialect.probes().get(index))
            .map(|probe| format!("{}: {}", probe.about.as_str(), probe.endpoint()))
    };
    [date, login, probe].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::Catalog;

    const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/causes.md");
    const HEAD: &str = "# Which reply means what\n\n\
        Generated from the descriptions in `config/dialects`, whose rules classify every reply. For one service:\n\
        `sms-sidecar dialects show NAME --causes`. To explain one reply: `sms-sidecar diagnose --dialect NAME --status CODE < body`.\n\n\
        *Certain*: a source documents it. *Likely*: inferred, or never observed. *Ambiguous*: the reply has several possible causes;\n\
        the sidecar settles it with what it knows and with free probes in the background, never by sending again.\n\n\
        A reply that no line describes is classified by its HTTP status: 402 is balance-empty, 404, 405, 410 and 3xx are endpoint-wrong (*likely*);\n\
        429 is throttled, 503 provider-fault. A 401 is credential-rejected and a 403 permission-denied, both *ambiguous*: the words of the reply\n\
        (money, address, lock, expiry, test account, in English, Russian and Uzbek) put the cause that they suggest first. Under a literal 401 or 403\n\
        a line with a cause outside the family `account` adds only an alternative.\n";

    const MAX_WIDTH: usize = 180;

    fn certainty(shown: &CauseTableRow) -> String {
        let alternatives: Vec<&str> = shown
            .alternatives
            .iter()
            .map(|cause| cause.as_str())
            .collect();
        if alternatives.is_empty() {
            shown.certainty.as_str().to_owned()
        } else {
            format!(
                "{}, or {}",
                shown.certainty.as_str(),
                alternatives.join(" or ")
            )
        }
    }

    /// The table as `deploy/causes.md` has it.
    fn markdown(catalog: &Catalog) -> String {
        let cell = |text: &str| text.replace('|', "\\|");
        let section = |dialect: &std::sync::Arc<Dialect>| {
            let rows = dialect.cause_table();
            let line = |row: &CauseTableRow| {
                let settled = disambiguation_steps(dialect, row).join(", then ");
                let cells = [
                    row.cause.to_string(),
                    certainty(row),
                    row.kind.to_string(),
                    cell(&row.condition),
                    cell(&settled),
                ];
                format!("| {} |\n", cells.join(" | "))
            };
            let lines: String = rows.iter().map(line).collect();
            let unreported: Vec<&str> = unreported_causes(&rows).map(Cause::as_str).collect();
            let head = format!(
                "\n## {}\n\n| cause | how certain | kind | reply | settled by |\n| --- | --- | --- | --- | --- |\n",
                dialect.name
            );
            format!(
                "{head}{lines}\nNo reply shows: {}.\n",
                unreported.join(", ")
            )
        };
        std::iter::once(HEAD.to_owned())
            .chain(catalog.iter().map(section))
            .collect()
    }

    /// `UPDATE_GOLDENS=1` writes the file again.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "UPDATE_GOLDENS writes the file")]
    fn the_file_is_generated_from_the_descriptions() {
        let made = markdown(&Catalog::built_in());
        if std::env::var_os("UPDATE_GOLDENS").is_some() {
            std::fs::write(FILE, &made).unwrap();
        }
        let kept = std::fs::read_to_string(FILE).unwrap_or_default();
        assert!(
            made == kept,
            "deploy/causes.md is stale; write it again with UPDATE_GOLDENS=1"
        );
    }

    #[test]
    fn no_line_of_the_table_is_too_wide() {
        for dialect in Catalog::built_in().iter() {
            let widest = render_causes(dialect)
                .lines()
                .map(|line| line.chars().count())
                .max()
                .unwrap_or_default();
            assert!(widest <= MAX_WIDTH, "{}: {widest} columns", dialect.name);
        }
    }

    #[test]
    fn the_table_shows_certainty_and_what_settles_each_reply() {
        let catalog = Catalog::built_in();
        let shown = render_causes(catalog.get("twilio").unwrap());
        let lines: Vec<&str> = shown
            .lines()
            .skip_while(|line| !line.contains("`code` is 20003"))
            .take(3)
            .collect();
        let [row, or, settled] = lines[..] else {
            panic!("{shown}")
        };
        assert!(
            row.starts_with("credential-rejected") && row.contains("  ambiguous  "),
            "{row}"
        );
        assert!(
            or.starts_with("  or credential-expired or account-suspended"),
            "{or}"
        );
        assert!(
            settled.starts_with("  settled by account: GET /Accounts/"),
            "{settled}"
        );
        assert!(
            shown.ends_with("no reply shows: credential-missing ip-not-allowed clock-skew"),
            "{shown}"
        );
        let sayqal = causes_json(catalog.get("sayqal").unwrap());
        let row = &sayqal["causes"][0];
        assert_eq!(
            (&row["cause"], &row["settled_by"][0]),
            (&json!("credential-rejected"), &json!("the reply's date"))
        );
        let eskiz = causes_json(catalog.get("eskiz").unwrap());
        let rows = eskiz["causes"].as_array().unwrap();
        assert!(
            rows.iter()
                .any(|row| row["settled_by"] == json!(["a new login"])),
            "{eskiz}"
        );
    }
}
