//! The table of causes of one service: which reply shows which, how certain, what settles a doubt.
//! Made from the description's own rules, codes and probes; nothing is listed here.

use serde_json::{Value, json};

use crate::cli::dialects::render_table;
use crate::diagnosis::{CandidateProbe, CauseCandidates};
use crate::dialect::{CauseTableRow, Dialect};
use crate::proxy::probe_question;
use crate::sms::{AttemptKind, Cause, Family};

/// For programs.
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
    let untold: Vec<&str> = unreported_causes(&rows).map(Cause::as_str).collect();
    json!({ "name": dialect.name, "causes": rows.iter().map(row).collect::<Vec<_>>(), "not_reported": untold })
}

/// For people.
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
    let untold: Vec<&str> = unreported_causes(&rows).map(Cause::as_str).collect();
    let table = render_table(
        &std::iter::once(head)
            .chain(rows.iter().map(row))
            .collect::<Vec<_>>(),
    );
    let beneath =
        std::iter::once(Vec::new()).chain(rows.iter().map(|shown| detail_lines(dialect, shown)));
    let lines: Vec<String> = table
        .lines()
        .zip(beneath)
        .flat_map(|(line, more)| std::iter::once(line.to_owned()).chain(more))
        .collect();
    let table = lines.join("\n");
    format!("{table}\n\nno reply of theirs says: {}", untold.join(" "))
}

/// What a doubt is between and what settles it, on lines of their own: a table that holds both fits no terminal.
fn detail_lines(dialect: &Dialect, shown: &CauseTableRow) -> Vec<String> {
    let or: Vec<&str> = shown
        .alternatives
        .iter()
        .map(|cause| cause.as_str())
        .collect();
    let settled = disambiguation_steps(dialect, shown).join(", then ");
    let line = |words: &str, what: &str| (!what.is_empty()).then(|| format!("  {words} {what}"));
    line("or", &or.join(" or "))
        .into_iter()
        .chain(line("settled by", &settled))
        .collect()
}

/// What the account can be refused for without this service having a word for it.
fn unreported_causes(rows: &[CauseTableRow]) -> impl Iterator<Item = Cause> {
    let told = |cause: &Cause| {
        rows.iter()
            .any(|shown| shown.cause == *cause || shown.alternatives.contains(cause))
    };
    Cause::ALL
        .iter()
        .copied()
        .filter(move |cause| cause.family() == Family::Account && !told(cause))
}

/// What is looked at or asked to tell a doubt apart, in that order.
fn disambiguation_steps(dialect: &Dialect, shown: &CauseTableRow) -> Vec<String> {
    let suspects = CauseCandidates::new(shown.cause, shown.certainty, &shown.alternatives);
    if suspects.is_unambiguous() || shown.kind == AttemptKind::Probe {
        return Vec::new();
    }
    let (all, token) = (suspects.causes(), dialect.requires_login());
    let date = all
        .contains(&Cause::ClockSkew)
        .then(|| "the reply's date".to_owned());
    let login =
        (token && all.contains(&Cause::CredentialExpired)).then(|| "a new login".to_owned());
    let asked = if token && suspects.includes_credential() {
        None
    } else {
        best_probe(dialect, &suspects)
    };
    [date, login, asked].into_iter().flatten().collect()
}

fn best_probe(dialect: &Dialect, suspects: &CauseCandidates) -> Option<String> {
    let probes: Vec<_> = dialect
        .probes()
        .iter()
        .filter(|probe| !probe.inferred)
        .collect();
    let questions: Vec<CandidateProbe> = probes.iter().map(|probe| probe_question(probe)).collect();
    let probe = probes.get(suspects.best_probe(&questions)?)?;
    Some(format!("{}: {}", probe.about.as_str(), probe.endpoint()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::Catalog;

    const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/causes.md");
    const HEAD: &str = "# Which reply means what\n\n\
        Made from the descriptions in `config/dialects`: the same rules judge every reply. One service alone:\n\
        `sms-sidecar dialects show NAME --causes`. A pasted reply explained: `sms-sidecar diagnose --dialect NAME --status CODE < body`.\n\n\
        *Certain*: a source says so. *Likely*: inferred, or never seen on the wire. *Ambiguous*: one reply, several causes; what settles it\n\
        is looked at or asked for free in the background, never by sending again.\n\n\
        A reply that no line knows is judged by its HTTP status alone, as *likely*: 401 credential-rejected, 402 balance-empty,\n\
        403 permission-denied, 404, 405, 410 and 3xx endpoint-wrong; 429 is throttled, 503 provider-fault.\n";

    const WIDEST: usize = 180;

    fn certainty(shown: &CauseTableRow) -> String {
        let or: Vec<&str> = shown
            .alternatives
            .iter()
            .map(|cause| cause.as_str())
            .collect();
        if or.is_empty() {
            shown.certainty.as_str().to_owned()
        } else {
            format!("{}, or {}", shown.certainty.as_str(), or.join(" or "))
        }
    }

    /// The docs' own form of the table.
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
            let untold: Vec<&str> = unreported_causes(&rows).map(Cause::as_str).collect();
            let head = format!(
                "\n## {}\n\n| cause | how certain | kind | reply | settled by |\n| --- | --- | --- | --- | --- |\n",
                dialect.name
            );
            format!(
                "{head}{lines}\nNo reply of theirs says: {}.\n",
                untold.join(", ")
            )
        };
        std::iter::once(HEAD.to_owned())
            .chain(catalog.iter().map(section))
            .collect()
    }

    /// `UPDATE_GOLDENS=1` writes it anew.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "UPDATE_GOLDENS writes the file")]
    fn the_docs_are_made_from_the_descriptions() {
        let made = markdown(&Catalog::built_in());
        if std::env::var_os("UPDATE_GOLDENS").is_some() {
            std::fs::write(FILE, &made).unwrap();
        }
        let kept = std::fs::read_to_string(FILE).unwrap_or_default();
        assert!(
            made == kept,
            "deploy/causes.md is not what the descriptions say; write it anew with UPDATE_GOLDENS=1"
        );
    }

    #[test]
    fn the_table_has_no_line_that_nobody_can_read() {
        for dialect in Catalog::built_in().iter() {
            let widest = render_causes(dialect)
                .lines()
                .map(|line| line.chars().count())
                .max()
                .unwrap_or_default();
            assert!(widest <= WIDEST, "{}: {widest} columns", dialect.name);
        }
    }

    #[test]
    fn the_table_says_how_certain_each_reply_is_and_what_settles_it() {
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
        assert!(shown.ends_with("no reply of theirs says: credential-missing ip-not-allowed clock-skew tls-untrusted"), "{shown}");
        let told = causes_json(catalog.get("sayqal").unwrap());
        let row = &told["causes"][0];
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
