//! `sms-sidecar check`: reports every problem of the config at once, before it is used.

mod running;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, bail};
use serde_json::json;

use crate::cli::output;
use crate::clock::SystemClock;
use crate::config::{self, Config, ConfigKey};
use crate::dialect::CredentialProblem;
use crate::file_error::describe_read_error;
use crate::notify::read_webhook;
use crate::problem::{Problem, ProblemReport};
use crate::provider::Provider;
use crate::proxy::CallerProof;
use crate::vault::{CredentialCache, ReadEvent, ReadOutcome};

/// Exits with 0 if the config is sound, with or without warnings; 1 if it has errors; 2 if it cannot be read.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The config file.
    #[arg(
        long,
        value_name = "FILE",
        value_parser = crate::cli::absolute_path,
        default_value = "/etc/sms-sidecar/config.toml"
    )]
    config: PathBuf,
    /// The config file, without `--config`.
    #[arg(value_name = "FILE", value_parser = crate::cli::absolute_path, conflicts_with = "config")]
    file: Option<PathBuf>,
    /// Also read every credential and check its form.
    #[arg(long)]
    vault: bool,
    /// Print one JSON object: `ok`, `errors`, `warnings`, `problems`.
    #[arg(long)]
    json: bool,
}

impl Args {
    /// The config that it was given.
    pub(crate) fn config(&self) -> &Path {
        self.file.as_ref().unwrap_or(&self.config)
    }
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let config = args.config();
    if let Err(error) = std::fs::metadata(config) {
        bail!(
            "the config cannot be used: {}",
            describe_read_error(config, &error)
        );
    }
    let report = check_config(config, args.vault)?;
    let errors = report.error_count();
    let warnings = report.problems.len() - errors;
    if args.json {
        output::verbatim(
            json!({ "ok": errors == 0, "errors": errors, "warnings": warnings, "problems": report.to_json() }),
        );
    } else {
        if !report.problems.is_empty() {
            output::line(format_args!("{}\n", report.render(true)));
        }
        output::line(summary(config, errors, warnings));
    }
    Ok(ExitCode::from(u8::from(errors > 0)))
}

fn summary(file: &Path, errors: usize, warnings: usize) -> String {
    let count = |number: usize, word: &str| {
        if number == 1 {
            format!("1 {word}")
        } else {
            format!("{number} {word}s")
        }
    };
    match (errors, warnings) {
        (0, 0) => format!("{}: sound", file.display()),
        (0, _) => format!(
            "{}: sound, with {}",
            file.display(),
            count(warnings, "warning")
        ),
        _ => format!(
            "{}: {}, {}",
            file.display(),
            count(errors, "error"),
            count(warnings, "warning")
        ),
    }
}

/// Every problem of the file and of the files that it names.
fn check_config(file: &Path, vault: bool) -> anyhow::Result<ProblemReport> {
    let loaded = match config::load(file) {
        Ok(loaded) => loaded,
        Err(report) => return Ok(report),
    };
    let mut report = loaded.warnings.clone();
    report.problems.extend(config::inspect(&loaded));
    report.problems.extend(running::waiting_parts(&loaded));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start a runtime to read the vaults")?;
    let found = if vault {
        runtime.block_on(check_credentials(&loaded))
    } else {
        runtime.block_on(check_plain_credentials(&loaded))
    };
    report.problems.extend(found);
    report.problems.sort_by_key(|problem| {
        (
            problem.severity,
            problem.span.as_ref().map(|span| span.start),
        )
    });
    Ok(report)
}

/// The problems of the credentials; no value is quoted.
async fn check_credentials(loaded: &Config) -> Vec<Problem> {
    let (credential_cache, warnings) = warning_cache(loaded);
    let mut problems = Vec::new();
    for provider in &loaded.proxy.providers {
        problems.extend(check_credential(loaded, &credential_cache, provider).await);
        let key = ConfigKey::Credential(provider.id.as_str().to_owned());
        let notes = warnings.take();
        problems.extend(notes.into_iter().map(|what| loaded.warning(&key, what)));
    }
    for caller in &loaded.proxy.callers {
        let CallerProof::Token(reference) = &caller.proof else {
            continue;
        };
        if let Err(error) = credential_cache.get(reference).await {
            problems.push(loaded.error(
                &ConfigKey::CallerToken(caller.name.clone()),
                error.to_string(),
            ));
        }
    }
    problems.extend(check_webhook(loaded, &credential_cache).await);
    problems
}

/// The problem of a webhook whose URL is in a vault.
async fn check_webhook(loaded: &Config, credential_cache: &CredentialCache) -> Option<Problem> {
    let settings = loaded.notify.as_ref()?;
    let error = read_webhook(settings, credential_cache).await.err()?;
    Some(loaded.error(&ConfigKey::Webhook, error.message))
}

/// The credentials in files that need no key, as warnings: without `--vault` they are not a condition of the start. An
/// entry that cannot be read here may be readable for the sidecar's user.
async fn check_plain_credentials(loaded: &Config) -> Vec<Problem> {
    let (credential_cache, warnings) = warning_cache(loaded);
    let mut problems = Vec::new();
    for provider in &loaded.proxy.providers {
        let Some(reference) = &provider.credential else {
            continue;
        };
        let source = loaded.vault.sources.get(&reference.vault);
        if !source.is_some_and(|source| source.as_kind().is_plain_file()) {
            continue;
        }
        let key = ConfigKey::Credential(provider.id.as_str().to_owned());
        let found = match credential_cache.get(reference).await {
            Ok(credential) => provider
                .dialect
                .check_credential(&credential)
                .iter()
                .map(|wrong| credential_text(provider, wrong))
                .collect(),
            Err(error) if error.is_about_entry() => vec![error.to_string()],
            Err(_) => Vec::new(),
        };
        let notes = warnings.take();
        let all = notes.into_iter().chain(found);
        problems.extend(all.map(|what| loaded.warning(&key, what)));
    }
    problems
}

async fn check_credential(
    loaded: &Config,
    credential_cache: &CredentialCache,
    provider: &Provider,
) -> Vec<Problem> {
    let Some(reference) = &provider.credential else {
        return Vec::new();
    };
    let key = ConfigKey::Credential(provider.id.as_str().to_owned());
    match credential_cache.get(reference).await {
        Err(error) => vec![loaded.error(&key, error.to_string())],
        Ok(credential) => {
            let wrong = provider.dialect.check_credential(&credential);
            wrong
                .into_iter()
                .map(|wrong| credential_problem(loaded, &key, provider, &wrong))
                .collect()
        }
    }
}

/// A value that cannot be sent is an error; one that only looks wrong is used, with a warning.
fn credential_problem(
    loaded: &Config,
    key: &ConfigKey,
    provider: &Provider,
    wrong: &CredentialProblem,
) -> Problem {
    let text = credential_text(provider, wrong);
    if wrong.is_unusable {
        loaded.error(key, text)
    } else {
        loaded.warning(key, text)
    }
}

fn credential_text(provider: &Provider, wrong: &CredentialProblem) -> String {
    let used = if wrong.is_unusable {
        ""
    } else {
        "; it is used anyway: compare it with the service's console"
    };
    format!(
        "`{}` of provider `{}`: {}{used}",
        wrong.field, provider.id, wrong.problem
    )
}

/// What the vaults warn of while a cache reads them; clones share it.
#[derive(Clone, Default)]
struct VaultWarnings(Arc<Mutex<Vec<String>>>);

impl VaultWarnings {
    fn record(&self, event: &ReadEvent<'_>) {
        let ReadOutcome::New(_, warnings) = &event.outcome else {
            return;
        };
        let messages = warnings.iter().map(|warning| {
            format!(
                "vault `{}`, field `{}`: {}",
                event.vault, warning.field, warning.problem
            )
        });
        self.lock().extend(messages);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A cache for the vaults of a config, and what they warn of.
fn warning_cache(loaded: &Config) -> (CredentialCache, VaultWarnings) {
    let warnings = VaultWarnings::default();
    let recorded = warnings.clone();
    let cache = CredentialCache::new(
        &loaded.vault,
        Arc::new(SystemClock::start()),
        Box::new(move |event| recorded.record(&event)),
    );
    (cache, warnings)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const CONFIG: &str = "[vaults.files]\ndirectory = { path = \"secrets\" }\n[providers.twilio]\ndialect = \"twilio\"\ncredential = { vault = \"files\", path = \"twilio\" }\n";

    /// The number of errors, and the report as text and JSON.
    fn report(folder: &Path, config: &str, vault: bool) -> (usize, String) {
        let file = folder.join("config.toml");
        fs::write(&file, config).unwrap();
        let found = check_config(&file, vault).unwrap();
        (
            found.error_count(),
            found.render(false) + &found.to_json().to_string(),
        )
    }

    fn secret(folder: &Path, name: &str, value: &str) {
        let entry = folder.join("secrets/twilio");
        fs::create_dir_all(&entry).unwrap();
        fs::write(entry.join(name), value).unwrap();
    }

    #[test]
    fn a_config_with_its_credentials_is_sound() {
        let folder = tempfile::tempdir().unwrap();
        secret(
            folder.path(),
            "account_sid",
            "AC0123456789abcdef0123456789abcdef\n",
        );
        secret(
            folder.path(),
            "auth_token",
            "0123456789abcdef0123456789abcdef\n",
        );
        assert_eq!(report(folder.path(), CONFIG, true), (0, "[]".to_owned()));
    }

    #[test]
    fn a_value_in_quotes_is_a_warning_with_and_without_the_option() {
        let folder = tempfile::tempdir().unwrap();
        let sid = "AC0123456789abcdef0123456789abcdef";
        secret(folder.path(), "account_sid", sid);
        secret(
            folder.path(),
            "auth_token",
            "\"0123456789abcdef0123456789abcdef\"\n",
        );
        for vault in [true, false] {
            let (_, shown) = report(folder.path(), CONFIG, vault);
            assert!(
                shown.contains("field `auth_token`: is in quotes"),
                "{vault}: {shown}"
            );
            assert!(!shown.contains("0123456789abcdef"), "{shown}");
        }
    }

    #[test]
    fn credentials_are_read_only_with_the_option() {
        let folder = tempfile::tempdir().unwrap();
        secret(
            folder.path(),
            "account_sid",
            "0123456789abcdef0123456789abcdef",
        );
        secret(
            folder.path(),
            "auth_token",
            "AC0123456789abcdef0123456789abcdef",
        );
        assert_eq!(report(folder.path(), CONFIG, false).0, 0);
        let (errors, shown) = report(folder.path(), CONFIG, true);
        assert!(
            errors > 0 && shown.contains("twilio") && shown.contains(":5:14"),
            "{shown}"
        );
        assert!(!shown.contains("0123456789abcdef"), "{shown}");
    }

    /// What lies in files that anyone here can read needs no option; each finding is a warning.
    #[test]
    fn values_in_plain_files_are_checked_without_the_option() {
        let folder = tempfile::tempdir().unwrap();
        let sid = "AC0123456789abcdef0123456789abcdef";
        secret(folder.path(), "account_sid", sid);
        for (token, found) in [
            ("0123456789abcdef0123456789abcdef", None),
            (
                "0123456789abcdef0123456789abcde",
                Some("does not look like one"),
            ),
            (sid, Some("`auth_token` of provider `twilio`")),
            (
                "0123456789abcdef\n0123456789abcdef",
                Some("contains a newline"),
            ),
            ("", Some("`auth_token` of provider `twilio`")),
        ] {
            secret(folder.path(), "auth_token", token);
            let (errors, shown) = report(folder.path(), CONFIG, false);
            assert_eq!(errors, 0, "{shown}");
            match found {
                None => assert_eq!(shown, "[]"),
                Some(found) => assert!(shown.contains(found), "{token}: {shown}"),
            }
            assert!(!shown.contains("0123456789"), "{shown}");
        }
        fs::remove_dir_all(folder.path().join("secrets/twilio")).unwrap();
        let (errors, shown) = report(folder.path(), CONFIG, false);
        assert!(
            errors == 0 && shown.contains("there is no entry `twilio`"),
            "{shown}"
        );
    }

    #[test]
    fn a_path_that_no_entry_can_have_is_found_without_the_option() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(".env"), "").unwrap();
        fs::create_dir(folder.path().join("secrets")).unwrap();
        for (vault, path, help) in [
            ("env = { file = \".env\" }", "sms/x", "leave `path` out"),
            ("env = {}", "sms/x", "leave `path` out"),
            (
                "directory = { path = \"secrets\" }",
                "../x",
                "lead downwards",
            ),
            (
                "openbao = { address = \"http://127.0.0.1:9\", token_file = \"t\" }",
                "/sms/x",
                "below the mount",
            ),
        ] {
            let config = format!(
                "[vaults.v]\n{vault}\n[providers.twilio]\ndialect = \"twilio\"\ncredential = {{ vault = \"v\", path = \"{path}\" }}\n"
            );
            let (errors, shown) = report(folder.path(), &config, false);
            assert_eq!(errors, 1, "{vault}: {shown}");
            assert!(
                shown.contains("is not a path of vault `v`") && shown.contains(help),
                "{vault}: {shown}"
            );
        }
    }

    #[test]
    fn a_missing_entry_and_a_missing_vault_differ() {
        let folder = tempfile::tempdir().unwrap();
        let (errors, missing) = report(folder.path(), CONFIG, true);
        assert!(
            errors == 1 && missing.contains("does not exist: this vault is unavailable"),
            "{missing}"
        );
        fs::create_dir_all(folder.path().join("secrets")).unwrap();
        let (errors, entry) = report(folder.path(), CONFIG, true);
        assert!(errors == 1 && entry != missing, "{entry}");
    }

    #[test]
    fn files_that_the_config_names_are_checked() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("secrets")).unwrap();
        let config = format!(
            "{CONFIG}ca_file = \"none.pem\"\n[intercept]\nca = {{ cert_file = \"ca.pem\", key_file = \"ca.key\" }}\n"
        );
        let (errors, shown) = report(folder.path(), &config, false);
        assert!(
            errors == 1 && shown.contains("ca init") && shown.contains("config.toml:6:11"),
            "{shown}"
        );
    }

    #[test]
    fn help_for_a_missing_vault_depends_on_its_kind() {
        let folder = tempfile::tempdir().unwrap();
        let helped = |vault: &str| {
            let config = format!(
                "mode = \"observe\"\n[vaults.v]\n{vault}\n[providers.twilio]\ndialect = \"twilio\"\n"
            );
            let (errors, shown) = report(folder.path(), &config, false);
            assert_eq!(errors, 0, "{shown}");
            shown
        };
        let embedded = "embedded = { file = \"v.age\", key_file = \"v.key\" }";
        assert!(
            helped(embedded).contains("vault init --config"),
            "{}",
            helped(embedded)
        );
        fs::write(folder.path().join("v.age"), "").unwrap();
        assert!(
            helped(embedded).contains("restore the key from its backup"),
            "{}",
            helped(embedded)
        );
        for (vault, help) in [
            (
                "exec = { command = [\"/nowhere/ex.sh\"] }",
                "install the program",
            ),
            (
                "directory = { path = \"none\" }",
                "create or mount the folder",
            ),
            ("env = { file = \"none.env\" }", "one NAME=value per line"),
        ] {
            let shown = helped(vault);
            assert!(
                shown.contains(help) && !shown.contains("vault init"),
                "{shown}"
            );
        }
    }

    #[test]
    fn a_ca_that_does_not_exist_yet_is_a_warning_with_the_command() {
        let folder = tempfile::tempdir().unwrap();
        let config = "mode = \"observe\"\n[intercept]\nca = { cert_file = \"ca.pem\", key_file = \"ca.key\" }\n[providers.twilio]\ndialect = \"twilio\"\n";
        let (errors, missing) = report(folder.path(), config, false);
        let command = format!(
            "sms-sidecar ca init --config {}",
            folder.path().join("config.toml").display()
        );
        assert!(errors == 0 && missing.contains(&command), "{missing}");
        fs::write(folder.path().join("ca.key"), "no key").unwrap();
        let (errors, broken) = report(folder.path(), config, false);
        assert!(errors == 1 && !broken.contains(&command), "{broken}");
    }

    #[test]
    fn the_file_is_named_with_the_option_or_without() {
        use clap::Parser;
        #[derive(clap::Parser)]
        struct CheckCommandLine {
            #[command(flatten)]
            args: Args,
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("c.toml");
        fs::write(
            &file,
            "mode = \"observe\"\n[providers.twilio]\ndialect = \"twilio\"\n",
        )
        .unwrap();
        let name = file.to_str().unwrap();
        for words in [&["check", name][..], &["check", "--config", name]] {
            assert_eq!(
                run(&CheckCommandLine::try_parse_from(words).unwrap().args).unwrap(),
                ExitCode::SUCCESS
            );
        }
        assert!(
            CheckCommandLine::try_parse_from(["check", name, "--config", name]).is_err(),
            "one file at a time"
        );
    }

    #[test]
    fn problems_of_descriptions_are_shown_in_their_file() {
        let folder = tempfile::tempdir().unwrap();
        let config = format!("dialects = \"own\"\n{CONFIG}");
        let file = folder.path().join("own/twilio.toml");
        let (_, none) = report(folder.path(), &config, false);
        assert!(
            none.contains("folder of descriptions cannot be used"),
            "{none}"
        );
        fs::create_dir_all(folder.path().join("own")).unwrap();
        fs::write(&file, "dialect = \"twilio\"\nextends = \"twilio\"\nevidence = \"vendor\"\nbase_url = \"https://twilio.example\"\n")
            .unwrap();
        let (errors, over) = report(folder.path(), &config, false);
        assert!(
            errors == 0
                && over.contains("overridden here: base_url")
                && over.contains("own/twilio.toml:1:11"),
            "{over}"
        );
        fs::write(
            &file,
            "dialect = \"twilio\"\nextends = \"twilio\"\n[send]\ncal = \"POST /x\"\n",
        )
        .unwrap();
        let (errors, wrong) = report(folder.path(), &config, false);
        assert!(
            errors > 0 && wrong.contains("own/twilio.toml:4:1"),
            "{wrong}"
        );
    }

    /// The config is right: only the description's own error is reported.
    #[test]
    fn a_description_with_an_error_is_not_reported_as_unknown_too() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("own")).unwrap();
        let like = "dialect = \"pigeon\"\nextends = \"twilio\"\nbase_url = \"https://pigeon.example\"\nhosts = []\nsources = []\nevidence = \"vendor\"\n";
        fs::write(
            folder.path().join("own/pigeon.toml"),
            like.to_owned() + "[send.form]\nTo = \"{to | digit}\"\n",
        )
        .unwrap();
        let config =
            "mode = \"observe\"\ndialects = \"own\"\n[providers.pigeon]\ndialect = \"pigeon\"\n";
        let (errors, shown) = report(folder.path(), config, false);
        assert!(
            errors == 1 && shown.contains("`digit` is not a filter"),
            "{shown}"
        );
        let (errors, shown) = report(
            folder.path(),
            &config.replace("\"pigeon\"", "\"pigeom\""),
            false,
        );
        assert!(errors == 2 && shown.contains("unknown dialect"), "{shown}");
    }

    /// A syntax error can hide the name, the base and every key that follows.
    #[test]
    fn a_syntax_error_in_a_description_is_reported_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("own")).unwrap();
        let config =
            "mode = \"observe\"\ndialects = \"own\"\n[providers.gull]\ndialect = \"gull\"\n";
        fs::write(
            folder.path().join("own/gull.toml"),
            "dialect = \"gull\"\nextends = \"pigeon\"\n",
        )
        .unwrap();
        for broken in [
            "dialect = \"pigeon\"\n[send\nendpoint = \"POST /x\"\n",
            "dialect = \"pigeon\n[send]\n",
            "[send\ndialect = \"pigeon\"\n",
        ] {
            fs::write(folder.path().join("own/pigeon.toml"), broken).unwrap();
            let (errors, shown) = report(folder.path(), config, false);
            assert!(
                errors == 1 && shown.contains("own/pigeon.toml") && !shown.contains("gull.toml"),
                "{broken}: {shown}"
            );
        }
    }

    #[test]
    fn the_summary_counts_errors_and_warnings() {
        let file = Path::new("c.toml");
        assert_eq!(summary(file, 0, 0), "c.toml: sound");
        assert_eq!(summary(file, 0, 1), "c.toml: sound, with 1 warning");
        assert_eq!(summary(file, 2, 1), "c.toml: 2 errors, 1 warning");
    }
}
