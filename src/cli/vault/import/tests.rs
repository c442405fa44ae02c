//! Which variables of an `.env` file are imported, and that no value is ever shown.

use secrecy::ExposeSecret;

use super::report::commented_lines;
use super::*;

fn known() -> Vec<KnownField> {
    let field = |dialect: &str, field: &str, names: &[&str], placeholder: &str| KnownField {
        dialect: dialect.to_owned(),
        field: field.to_owned(),
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        placeholder: placeholder.to_owned(),
        required: true,
        extra_config: String::new(),
    };
    vec![
        field(
            "alpha",
            "username",
            &["ALPHA_LOGIN", "ALPHA_USER"],
            "sms-sidecar",
        ),
        field("alpha", "password", &["ALPHA_PASSWORD"], "sms-sidecar"),
        field("beta", "sid", &["BETA_SID"], "AC00"),
        field("beta", "token", &["BETA_TOKEN", "BETA_AUTH_TOKEN"], "0000"),
    ]
}

fn proposed(text: &str) -> Vec<Proposal> {
    propose(&dotenv::parse(text), &known())
}

const TEXT: &str = "PORT=3000\nALPHA_USER=canary-u\nALPHA_PASSWORD='canary p#1'\n# BETA_TOKEN=canary-old\nBETA_TOKEN=canary-t # live\n";

fn args(file: PathBuf) -> Args {
    Args {
        file,
        yes: true,
        replace_with_placeholders: true,
        take: Vec::new(),
        only: Vec::new(),
        prefix: "sms".to_owned(),
        json: false,
    }
}

#[test]
fn variables_are_matched_by_the_names_of_the_dialects() {
    let proposals = proposed(TEXT);
    assert_eq!(proposals.len(), 2);
    assert_eq!(
        proposals[0].fields,
        BTreeMap::from(
            [("username", "ALPHA_USER"), ("password", "ALPHA_PASSWORD")]
                .map(|(a, b)| (a.to_owned(), b.to_owned()))
        )
    );
    assert_eq!(proposals[0].missing, Vec::<String>::new());
    assert_eq!(proposals[1].fields.len(), 1);
    assert_eq!(proposals[1].missing, ["sid"]);
    assert_eq!(proposed("PORT=3000\nHOME=/root\n"), []);
}

#[test]
fn the_dialects_of_one_service_make_one_entry() {
    let mut known = known();
    let password = known.remove(1);
    known.extend([
        KnownField {
            dialect: "alpha-v2".to_owned(),
            names: password.names.clone(),
            field: password.field.clone(),
            placeholder: password.placeholder.clone(),
            extra_config: String::new(),
            required: true,
        },
        password,
    ]);
    let found = propose(&dotenv::parse(TEXT), &known);
    let names = |proposals: &[Proposal]| -> Vec<String> {
        proposals
            .iter()
            .map(|proposal| proposal.dialect.clone())
            .collect()
    };
    assert_eq!(names(&found), ["alpha", "alpha-v2", "beta"]);
    let only = found
        .into_iter()
        .filter(|proposal| proposal.dialect == "alpha-v2")
        .collect();
    assert_eq!(
        names(&without_repeats(only)),
        ["alpha-v2"],
        "`--only alpha-v2`"
    );
    assert_eq!(
        names(&without_repeats(propose(&dotenv::parse(TEXT), &known))),
        ["alpha", "beta"]
    );
}

#[test]
fn blanks_and_placeholders_are_not_credentials() {
    assert_eq!(proposed("ALPHA_LOGIN=\nALPHA_PASSWORD=\n"), []);
    let held =
        proposed("ALPHA_LOGIN=\nALPHA_PASSWORD=sms-sidecar\nBETA_SID=AC00\nBETA_TOKEN=0000\n");
    assert!(
        held.iter().all(|proposal| proposal.fields.is_empty()),
        "{held:?}"
    );
    assert_eq!(
        (&held[0].placeholders, &held[1].placeholders),
        (
            &vec!["ALPHA_PASSWORD".to_owned()],
            &vec!["BETA_SID".to_owned(), "BETA_TOKEN".to_owned()]
        )
    );
    assert_eq!(held[0].missing, ["username"]);
}

#[test]
fn what_stands_for_a_value_is_named_and_not_imported() {
    let text = "ALPHA_LOGIN=${LOGIN}\nALPHA_USER=canary-u\nALPHA_PASSWORD=undefined\nBETA_SID=\nBETA_TOKEN='<your token>'\nBETA_AUTH_TOKEN=0000\n";
    let proposals = proposed(text);
    assert_eq!(proposals[0].fields.len(), 1);
    assert_eq!(
        proposals[0].fields["username"], "ALPHA_USER",
        "the name with a value"
    );
    assert_eq!(proposals[0].missing, Vec::<String>::new());
    assert_eq!(proposals[1].fields, BTreeMap::new());
    assert_eq!(proposals[1].missing, ["sid"], "an empty one holds nothing");
    assert_eq!(proposals[1].placeholders, ["BETA_AUTH_TOKEN"]);
    let unusable = unusable_variables(&proposals);
    let notes: Vec<String> = unusable_notes(&unusable).collect();
    assert_eq!(
        notes,
        [
            "ALPHA_PASSWORD is `undefined`, which programs write for a variable that is not set; it is not imported: write the real value into the file, or use `sms-sidecar vault set`",
            "BETA_TOKEN is the placeholder of an example; the real value belongs there; it is not imported: write the real value into the file, or use `sms-sidecar vault set`",
        ]
    );
    assert_eq!(left_in_clear(text, &proposals, &known()), []);
    let args = args(".env".into());
    let json = import_json(&proposals, &[], &unusable, &args, ImportStatus::Proposed);
    assert_eq!(
        json["unusable"],
        serde_json::json!(["ALPHA_PASSWORD", "BETA_TOKEN"])
    );
}

#[test]
fn a_second_name_with_a_different_value_is_reported() {
    assert_eq!(
        proposed("BETA_TOKEN=a\nBETA_AUTH_TOKEN=b\n")[0].differing,
        ["BETA_AUTH_TOKEN"]
    );
    assert_eq!(
        proposed("BETA_TOKEN=a\nBETA_AUTH_TOKEN=a\n")[0].differing,
        Vec::<String>::new()
    );
}

#[test]
fn the_report_shows_no_value() {
    let proposals = proposed(TEXT);
    let args = args(".env".into());
    let text = format!(
        "{} {} {proposals:?}",
        render_proposals(&proposals, &EmbeddedEntries::new(), &args),
        import_json(
            &proposals,
            &[],
            &BTreeMap::new(),
            &args,
            ImportStatus::Replaced
        )
    );
    assert!(
        text.contains("sms/alpha username = ALPHA_USER")
            && text.contains("sms/beta sid: no variable contains it"),
        "{text}"
    );
    assert!(!text.contains("canary"), "{text}");
}

#[test]
fn imported_values_are_in_the_vault_and_out_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let vault = Embedded::new(folder.path().join("v.age"), folder.path().join("v.key"));
    vault.init().unwrap();
    let file = folder.path().join(".env");
    std::fs::write(&file, TEXT).unwrap();
    run(&vault, &args(file.clone()), &known(), None).unwrap();
    let entries = vault.entries().unwrap();
    let value = |path: &str, field: &str| entries[path][field].expose_secret().to_owned();
    assert_eq!(value("sms/alpha", "username"), "canary-u");
    assert_eq!(value("sms/alpha", "password"), "canary p#1");
    assert_eq!(value("sms/beta", "token"), "canary-t");
    let left = std::fs::read_to_string(&file).unwrap();
    assert_eq!(
        left,
        "PORT=3000\nALPHA_USER=sms-sidecar\nALPHA_PASSWORD='sms-sidecar'\n# BETA_TOKEN=canary-old\nBETA_TOKEN=0000 # live\n"
    );
    assert_eq!(commented_lines(&left, &proposed(TEXT)), [4]);
    run(&vault, &args(file), &known(), None).unwrap();
    assert_eq!(
        vault.entries().unwrap()["sms/alpha"]["username"].expose_secret(),
        "canary-u",
        "placeholders are never taken for credentials"
    );
}

#[test]
fn a_file_that_cannot_hold_the_placeholder_is_not_changed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(".env");
    std::fs::write(&file, TEXT).unwrap();
    let mut known = known();
    known[3].placeholder = "a # b".to_owned();
    assert!(write_placeholders(&args(file.clone()), TEXT, &proposed(TEXT), &known).is_err());
    assert!(
        write_placeholders(
            &args(file.clone()),
            "EDITED=1\n",
            &proposed(TEXT),
            &self::known()
        )
        .is_err(),
        "it changed meanwhile"
    );
    assert_eq!(std::fs::read_to_string(&file).unwrap(), TEXT);
}

#[test]
fn every_variable_that_looks_like_a_credential_is_accounted_for() {
    let text = format!(
        "{TEXT}ALPHA_API_KEY=canary-key\nSMS_API_KEY=canary-sms\nSMS_API_SECRET=canary-secret\nDB_PASSWORD=canary-db\nBETA_SID=AC00\n"
    );
    let all = proposed(&text);
    let left = left_in_clear(&text, &all, &known());
    let names: Vec<&str> = left.iter().map(|variable| variable.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "ALPHA_API_KEY",
            "DB_PASSWORD",
            "SMS_API_KEY",
            "SMS_API_SECRET"
        ]
    );
    let lines = left_lines(&left, &known());
    assert_eq!(
        lines,
        [
            "ALPHA_API_KEY looks like a credential of alpha and is left in clear: is it its username or password? `--take ALPHA_API_KEY=alpha.username` takes it",
            "SMS_API_KEY looks like a credential and is left in clear: whose is it? `--take SMS_API_KEY=DIALECT.FIELD` takes it",
            "SMS_API_SECRET looks like a credential and is left in clear: whose is it? `--take SMS_API_SECRET=DIALECT.FIELD` takes it",
            "left in clear, because no SMS service is in the name: DB_PASSWORD",
        ]
    );
    let nothing = args(PathBuf::from("x"));
    let json = import_json(
        &all,
        &left,
        &BTreeMap::new(),
        &nothing,
        ImportStatus::Replaced,
    );
    assert_eq!(json["left_in_clear"], serde_json::json!(names));
    assert!(!format!("{json}{lines:?}").contains("canary"));
}

#[test]
fn a_variable_can_be_named_for_a_field() {
    let taken = parse_take("ALPHA_API_KEY=alpha.password").unwrap();
    let known = with_taken(&known(), &[taken]).unwrap();
    let text = "ALPHA_USER=canary-u\nALPHA_API_KEY=canary-key\n";
    let proposals = propose(&dotenv::parse(text), &known);
    assert_eq!(proposals[0].fields["password"], "ALPHA_API_KEY");
    assert_eq!(left_in_clear(text, &proposals, &known), []);
    let values = placeholder_values(&proposals, &known);
    assert_eq!(values["ALPHA_API_KEY"], "sms-sidecar");

    for wrong in ["", "A", "A=b", "A=.c", "=b.c", "A=b."] {
        assert!(parse_take(wrong).is_err(), "{wrong}");
    }
    let unknown = parse_take("A=alpha.key").unwrap();
    let error = with_taken(&known, &[unknown]).unwrap_err().to_string();
    assert_eq!(
        error,
        "no field `alpha.key`; use `alpha.username` or `alpha.password`"
    );
}
