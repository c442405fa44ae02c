//! `sms-sidecar check`: everything that is wrong with the config, in one go, before it serves.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use serde_json::json;

use crate::cli::output;
use crate::clock::SystemClock;
use crate::config::{self, Config, ConfigKey};
use crate::problem::{Problem, ProblemReport};
use crate::proxy::{CallerProof, Provider};
use crate::vault::{CredentialCache, ReadEvent, ReadOutcome};

/// Exits with 0 if the config is sound (warnings or not), 1 if it is not, 2 if it cannot be read.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The config file.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/etc/sms-sidecar/config.toml"
    )]
    config: PathBuf,
    /// The same, without the option's name.
    #[arg(value_name = "FILE", conflicts_with = "config")]
    file: Option<PathBuf>,
    /// Also read every credential, and say whether it is there and of the right shape.
    #[arg(long)]
    vault: bool,
    /// Print one JSON object: `ok`, `errors`, `warnings`, `problems`.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let config = args.file.as_ref().unwrap_or(&args.config);
    std::fs::metadata(config)
        .with_context(|| format!("the config {} cannot be read", config.display()))?;
    let report = check_config(config, args.vault)?;
    let errors = report.error_count();
    let warnings = report.problems.len() - errors;
    if args.json {
        output::line(
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

/// Everything there is to say about the file.
fn check_config(file: &Path, vault: bool) -> anyhow::Result<ProblemReport> {
    let loaded = match config::load(file) {
        Ok(loaded) => loaded,
        Err(report) => return Ok(report),
    };
    let mut report = loaded.warnings.clone();
    report.problems.extend(config::inspect(&loaded));
    if vault {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("no runtime to read the vaults with")?;
        report
            .problems
            .extend(runtime.block_on(check_credentials(&loaded)));
    }
    report.problems.sort_by_key(|problem| {
        (
            problem.severity,
            problem.span.as_ref().map(|span| span.start),
        )
    });
    Ok(report)
}

/// What is wrong with the credentials themselves; no value is named.
async fn check_credentials(loaded: &Config) -> Vec<Problem> {
    let noticed: Arc<Mutex<Vec<String>>> = Arc::default();
    let notes = Arc::clone(&noticed);
    let keeper = CredentialCache::new(
        &loaded.vault,
        Arc::new(SystemClock::start()),
        Box::new(move |event| record_warnings(&notes, &event)),
    );
    let mut problems = Vec::new();
    for provider in &loaded.proxy.providers {
        problems.extend(check_credential(loaded, &keeper, provider).await);
        let key = ConfigKey::Credential(provider.id.as_str().to_owned());
        let notes = std::mem::take(&mut *noticed.lock().unwrap_or_else(PoisonError::into_inner));
        problems.extend(notes.into_iter().map(|what| loaded.warning(&key, what)));
    }
    for caller in &loaded.proxy.callers {
        let CallerProof::Token(reference) = &caller.proof else {
            continue;
        };
        if let Err(error) = keeper.get(reference).await {
            problems.push(loaded.error(
                &ConfigKey::CallerToken(caller.name.clone()),
                error.to_string(),
            ));
        }
    }
    problems
}

async fn check_credential(
    loaded: &Config,
    keeper: &CredentialCache,
    provider: &Provider,
) -> Vec<Problem> {
    let Some(reference) = &provider.credential else {
        return Vec::new();
    };
    let key = ConfigKey::Credential(provider.id.as_str().to_owned());
    match keeper.get(reference).await {
        Err(error) => vec![loaded.error(&key, error.to_string())],
        Ok(credential) => {
            let wrong = provider.dialect.check_credential(&credential);
            wrong
                .into_iter()
                .map(|wrong| {
                    loaded.error(
                        &key,
                        format!(
                            "`{}` of provider `{}`: {}",
                            wrong.field, provider.id, wrong.problem
                        ),
                    )
                })
                .collect()
        }
    }
}

/// What the vault itself found odd.
fn record_warnings(notes: &Mutex<Vec<String>>, event: &ReadEvent<'_>) {
    let ReadOutcome::New(_, warnings) = &event.outcome else {
        return;
    };
    let said = warnings.iter().map(|warning| {
        format!(
            "vault `{}`, field `{}`: {}",
            event.vault, warning.field, warning.problem
        )
    });
    notes
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .extend(said);
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const CONFIG: &str = "[vaults.files]\ndirectory = { path = \"secrets\" }\n[providers.twilio]\ndialect = \"twilio\"\ncredential = { vault = \"files\", path = \"twilio\" }\n";

    fn said(folder: &Path, config: &str, vault: bool) -> (usize, String) {
        let file = folder.join("config.toml");
        fs::write(&file, config).unwrap();
        let report = check_config(&file, vault).unwrap();
        (
            report.error_count(),
            report.render(false) + &report.to_json().to_string(),
        )
    }

    fn secret(folder: &Path, name: &str, value: &str) {
        let entry = folder.join("secrets/twilio");
        fs::create_dir_all(&entry).unwrap();
        fs::write(entry.join(name), value).unwrap();
    }

    #[test]
    fn a_sound_config_with_its_credentials_in_place_is_sound() {
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
        assert_eq!(said(folder.path(), CONFIG, true), (0, "[]".to_owned()));
    }

    #[test]
    fn credentials_are_read_only_when_asked() {
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
        assert_eq!(said(folder.path(), CONFIG, false).0, 0);
        let (errors, said) = said(folder.path(), CONFIG, true);
        assert!(
            errors > 0 && said.contains("twilio") && said.contains(":5:14"),
            "{said}"
        );
        assert!(!said.contains("0123456789abcdef"), "{said}");
    }

    #[test]
    fn a_missing_credential_and_a_missing_vault_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let (errors, missing) = said(folder.path(), CONFIG, true);
        assert!(
            errors == 1 && missing.contains("does not exist: this vault is unavailable"),
            "{missing}"
        );
        fs::create_dir_all(folder.path().join("secrets")).unwrap();
        let (errors, entry) = said(folder.path(), CONFIG, true);
        assert!(errors == 1 && entry != missing, "{entry}");
    }

    #[test]
    fn files_that_the_config_names_are_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("secrets")).unwrap();
        let config = format!(
            "{CONFIG}ca_file = \"none.pem\"\n[intercept]\nca = {{ cert_file = \"ca.pem\", key_file = \"ca.key\" }}\n"
        );
        let (errors, said) = said(folder.path(), &config, false);
        assert!(
            errors == 1 && said.contains("ca init") && said.contains("config.toml:6:11"),
            "{said}"
        );
    }

    #[test]
    fn who_makes_what_a_vault_misses_depends_on_its_kind() {
        let folder = tempfile::tempdir().unwrap();
        let helped = |vault: &str| {
            let config = format!(
                "mode = \"observe\"\n[vaults.v]\n{vault}\n[providers.twilio]\ndialect = \"twilio\"\n"
            );
            let (errors, said) = said(folder.path(), &config, false);
            assert_eq!(errors, 0, "{said}");
            said
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
                "whoever mounts or fills the folder",
            ),
            ("env = { file = \"none.env\" }", "one NAME=value a line"),
        ] {
            let said = helped(vault);
            assert!(
                said.contains(help) && !said.contains("vault init"),
                "{said}"
            );
        }
    }

    /// Its making is the next step, as with a vault.
    #[test]
    fn a_ca_that_is_not_made_yet_is_a_warning_with_the_command() {
        let folder = tempfile::tempdir().unwrap();
        let config = "mode = \"observe\"\n[intercept]\nca = { cert_file = \"ca.pem\", key_file = \"ca.key\" }\n[providers.twilio]\ndialect = \"twilio\"\n";
        let (errors, missing) = said(folder.path(), config, false);
        let command = format!(
            "sms-sidecar ca init --config {}",
            folder.path().join("config.toml").display()
        );
        assert!(errors == 0 && missing.contains(&command), "{missing}");
        fs::write(folder.path().join("ca.key"), "no key").unwrap();
        let (errors, broken) = said(folder.path(), config, false);
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
    fn own_descriptions_are_loaded_and_their_mistakes_shown_in_their_file() {
        let folder = tempfile::tempdir().unwrap();
        let (config, file) = (
            format!("dialects = \"own\"\n{CONFIG}"),
            folder.path().join("own/twilio.toml"),
        );
        let (_, none) = said(folder.path(), &config, false);
        assert!(
            none.contains("folder of descriptions cannot be read"),
            "{none}"
        );
        fs::create_dir_all(folder.path().join("own")).unwrap();
        fs::write(&file, "dialect = \"twilio\"\nextends = \"twilio\"\nevidence = \"vendor\"\nbase_url = \"https://twilio.example\"\n")
            .unwrap();
        let (errors, over) = said(folder.path(), &config, false);
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
        let (errors, wrong) = said(folder.path(), &config, false);
        assert!(
            errors > 0 && wrong.contains("own/twilio.toml:4:1"),
            "{wrong}"
        );
    }

    /// The config's word for it is right: what is wrong with the description is told, once.
    #[test]
    fn a_description_with_a_mistake_is_not_called_unknown_as_well() {
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
        let (errors, told) = said(folder.path(), config, false);
        assert!(
            errors == 1 && told.contains("`digit` is not a filter"),
            "{told}"
        );
        let (errors, told) = said(
            folder.path(),
            &config.replace("\"pigeon\"", "\"pigeom\""),
            false,
        );
        assert!(errors == 2 && told.contains("unknown dialect"), "{told}");
    }

    #[test]
    fn numbers_are_counted_in_words() {
        let file = Path::new("c.toml");
        assert_eq!(summary(file, 0, 0), "c.toml: sound");
        assert_eq!(summary(file, 0, 1), "c.toml: sound, with 1 warning");
        assert_eq!(summary(file, 2, 1), "c.toml: 2 errors, 1 warning");
    }
}
