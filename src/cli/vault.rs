//! `sms-sidecar vault`: the embedded vault by hand. A value never stands on a command line, where
//! every user of the host and the shell's history would see it: it is prompted for without echo,
//! or comes from standard input or a file. Values are shown with `--show` only.

mod import;
mod set;
mod value;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use secrecy::ExposeSecret;
use serde_json::json;

use crate::cli::output;
use crate::config::{self, Config};
use crate::diagnosis::format_command;
use crate::secret::SecretFields;
use crate::vault::SourceSettings;
use crate::vault::embedded::{Embedded, EmbeddedEntries};

pub(in crate::cli) use value::confirm;

const VAULT_FILE: &str = "/var/lib/sms-sidecar/vault.age";
const KEY_FILE: &str = "/etc/sms-sidecar/vault.key";

/// Exit code: 0 done; 1 the entry or field does not exist; 2 failed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    location: VaultLocation,
    #[command(subcommand)]
    action: VaultAction,
}

/// Which vault.
#[derive(Debug, clap::Args)]
struct VaultLocation {
    /// The encrypted file.
    #[arg(long, global = true, value_name = "FILE", default_value = VAULT_FILE)]
    vault_file: PathBuf,
    /// The key that opens it.
    #[arg(long, global = true, value_name = "FILE", default_value = KEY_FILE)]
    key_file: PathBuf,
    /// Take both from `[vaults.NAME]` of this config instead.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        value_parser = crate::cli::absolute_path,
        conflicts_with_all = ["vault_file", "key_file"]
    )]
    config: Option<PathBuf>,
    /// Which of the config's vaults; needed if it has several embedded ones.
    #[arg(
        long = "vault",
        global = true,
        value_name = "NAME",
        requires = "config"
    )]
    name: Option<String>,
}

#[derive(Debug, clap::Subcommand)]
enum VaultAction {
    /// Create an empty vault and, unless it exists, its key.
    Init,
    /// Set fields of one entry, all in one write; each value is prompted for without echo.
    Set(set::Args),
    /// Show which fields an entry has; with --show, their values.
    Get {
        /// The entry.
        path: String,
        /// One field only.
        field: Option<String>,
        /// Print the values.
        #[arg(long)]
        show: bool,
        /// Print one JSON object: `path`, `fields` (an array of names; with --show an object).
        #[arg(long)]
        json: bool,
    },
    /// List entries and the names of their fields.
    List {
        /// Print a JSON array of objects: `path`, `fields`.
        #[arg(long)]
        json: bool,
    },
    /// Remove an entry, or one field of it.
    Rm {
        /// The entry.
        path: String,
        /// One field only.
        field: Option<String>,
    },
    /// Encrypt the vault to a new key and remove the old one; a running sidecar needs no restart.
    RotateKey,
    /// Import the credentials from a backend's `.env`.
    ImportEnv(import::Args),
}

impl Args {
    /// The config that it was given. None: the vault was named by its files.
    pub(crate) fn config(&self) -> Option<&Path> {
        self.location.config.as_deref()
    }
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let loaded = args.location.load_config()?;
    let vault = args.location.open(loaded.as_ref())?;
    match &args.action {
        VaultAction::Init => init(&vault),
        VaultAction::Set(args) => set::run(&vault, args, loaded.as_ref()),
        VaultAction::Get {
            path,
            field,
            show,
            json,
        } => get(
            &vault,
            path,
            field.as_deref(),
            GetOptions {
                values: *show,
                json: *json,
            },
        ),
        VaultAction::List { json } => list(&vault, *json),
        VaultAction::Rm { path, field } => remove(&vault, path, field.as_deref()),
        VaultAction::RotateKey => {
            vault.rotate_key()?;
            output::line(format_args!(
                "{} is encrypted to a new key; the old key opens only older backups",
                vault.file().display()
            ));
            Ok(ExitCode::SUCCESS)
        }
        VaultAction::ImportEnv(args) => import::run(
            &vault,
            args,
            &import::known_fields(loaded.as_ref()),
            loaded.as_ref(),
        ),
    }
}

impl VaultLocation {
    fn load_config(&self) -> anyhow::Result<Option<Config>> {
        let Some(file) = &self.config else {
            return Ok(None);
        };
        match config::load(file) {
            Ok(loaded) => Ok(Some(loaded)),
            Err(report) => {
                bail!(
                    "{} is not sound; see {}\n{}",
                    file.display(),
                    format_command("check", &file.display().to_string()),
                    report.render(false)
                )
            }
        }
    }

    fn open(&self, loaded: Option<&Config>) -> anyhow::Result<Embedded> {
        match (loaded, &self.config) {
            (Some(loaded), Some(file)) => self.select_embedded(&loaded.vault.sources, file),
            (_, _) => Ok(Embedded::new(
                self.vault_file.clone(),
                self.key_file.clone(),
            )),
        }
    }

    fn select_embedded(
        &self,
        sources: &BTreeMap<String, SourceSettings>,
        config: &Path,
    ) -> anyhow::Result<Embedded> {
        let mut found: Vec<(&str, Embedded)> = sources
            .iter()
            .filter_map(|(name, source)| {
                Some((name.as_str(), Embedded::from(source.as_embedded()?)))
            })
            .collect();
        if let Some(wanted) = &self.name {
            found.retain(|(name, _)| name == wanted);
        }
        let names: Vec<&str> = found.iter().map(|(name, _)| *name).collect();
        match (found.as_slice(), &self.name) {
            ([(_, vault)], _) => Ok(vault.clone()),
            ([], Some(name)) => bail!("{} has no embedded vault `{name}`", config.display()),
            ([], None) => bail!(
                "{} has no embedded vault; add `[vaults.local]` with `embedded = {{ file, key_file }}`",
                config.display()
            ),
            (_, _) => bail!(
                "{} has several embedded vaults; choose one with --vault: {}",
                config.display(),
                names.join(", ")
            ),
        }
    }
}

fn init(vault: &Embedded) -> anyhow::Result<ExitCode> {
    vault.init()?;
    output::line(format_args!(
        "created {}, encrypted to the key {}",
        vault.file().display(),
        vault.key_file().display()
    ));
    output::note(
        "Back up the key, but not beside the vault: anybody who has both can read the credentials. If you lose the key, the vault cannot be recovered.",
    );
    output::note("Only the user of the sidecar may read both files.");
    Ok(ExitCode::SUCCESS)
}

#[derive(Clone, Copy)]
struct GetOptions {
    values: bool,
    json: bool,
}

fn get(
    vault: &Embedded,
    path: &str,
    field: Option<&str>,
    shown: GetOptions,
) -> anyhow::Result<ExitCode> {
    let mut entries = vault.entries()?;
    let Some(mut fields) = entries.remove(path) else {
        return Ok(report_absent(vault, path, None));
    };
    if let Some(field) = field {
        fields.retain(|name, _| name == field);
        if fields.is_empty() {
            return Ok(report_absent(vault, path, Some(field)));
        }
    }
    match (shown.json, field) {
        (true, _) => {
            output::verbatim(json!({ "path": path, "fields": fields_json(&fields, shown.values) }));
        }
        (false, Some(field)) if shown.values => {
            let value = fields
                .get(field)
                .context("the field disappeared while it was read")?;
            output::verbatim(value.expose_secret());
        }
        (false, _) => output::verbatim(render_fields(&fields, shown.values)),
    }
    Ok(ExitCode::SUCCESS)
}

fn fields_json(fields: &SecretFields, values: bool) -> serde_json::Value {
    if values {
        fields
            .iter()
            .map(|(name, value)| (name.clone(), json!(value.expose_secret())))
            .collect()
    } else {
        json!(field_names(fields))
    }
}

fn render_fields(fields: &SecretFields, values: bool) -> String {
    let line = |(name, value): (&String, &crate::secret::SecretString)| {
        if values {
            format!("{name} = {}", value.expose_secret())
        } else {
            format!("{name}  (--show prints it)")
        }
    };
    fields.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn field_names(fields: &SecretFields) -> Vec<&str> {
    fields.keys().map(String::as_str).collect()
}

fn list(vault: &Embedded, as_json: bool) -> anyhow::Result<ExitCode> {
    let entries = vault.entries()?;
    if as_json {
        let all: Vec<_> = entries
            .iter()
            .map(|(path, fields)| json!({ "path": path, "fields": field_names(fields) }))
            .collect();
        output::verbatim(json!(all));
        return Ok(ExitCode::SUCCESS);
    }
    if entries.is_empty() {
        output::note("the vault is empty; `sms-sidecar vault set PATH FIELD…` adds to it");
    }
    for (path, fields) in &entries {
        output::line(format_args!("{path}: {}", field_names(fields).join(", ")));
    }
    Ok(ExitCode::SUCCESS)
}

fn remove(vault: &Embedded, path: &str, field: Option<&str>) -> anyhow::Result<ExitCode> {
    let there = |entries: &EmbeddedEntries| {
        entries
            .get(path)
            .is_some_and(|fields| field.is_none_or(|field| fields.contains_key(field)))
    };
    if !there(&vault.entries()?) {
        return Ok(report_absent(vault, path, field));
    }
    vault.update(|entries| remove_from(entries, path, field))?;
    output::line(format_args!(
        "{path}{}: removed",
        field.map(|field| format!(" {field}")).unwrap_or_default()
    ));
    Ok(ExitCode::SUCCESS)
}

fn remove_from(entries: &mut EmbeddedEntries, path: &str, field: Option<&str>) {
    let emptied = match (entries.get_mut(path), field) {
        (Some(fields), Some(field)) => {
            fields.remove(field);
            fields.is_empty()
        }
        (_, _) => true,
    };
    if emptied {
        entries.remove(path);
    }
}

fn report_absent(vault: &Embedded, path: &str, field: Option<&str>) -> ExitCode {
    let what = field.map_or_else(
        || format!("entry `{path}`"),
        |field| format!("field `{field}` in `{path}`"),
    );
    output::error(format_args!(
        "{} has no {what}; `sms-sidecar vault list` lists what it has",
        vault.file().display()
    ));
    ExitCode::from(1)
}
