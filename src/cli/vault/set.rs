//! `vault set PATH FIELD…`: sets several fields of an entry in one write. A running sidecar sees
//! every write: between two writes it would send a new user name with the old password. A field
//! that no provider of the config reads is a warning only, because a vault may hold other fields.

use std::process::ExitCode;

use anyhow::bail;
use secrecy::ExposeSecret;

use crate::cli::output;
use crate::cli::vault::value;
use crate::config::Config;
use crate::dialect::FieldSpec;
use crate::problem::suggest;
use crate::provider::Provider;
use crate::secret::SecretString;
use crate::vault::embedded::Embedded;
use crate::vault::{CredentialRef, SourceSettings};

/// Which entry, which of its fields, and where their values come from.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The entry, as a provider's `credential.path` names it: sms/playmobile
    path: String,
    /// The fields: username password. What belongs together is best set together: it is one write.
    #[arg(value_name = "FIELD", required = true)]
    fields: Vec<String>,
    #[command(flatten)]
    from: value::ValueInput,
}

pub(super) fn run(
    vault: &Embedded,
    args: &Args,
    loaded: Option<&Config>,
) -> anyhow::Result<ExitCode> {
    let Args { path, fields, from } = args;
    std::iter::once(path)
        .chain(fields)
        .try_for_each(|name| check_name(name))?;
    if let Some(twice) = fields
        .iter()
        .enumerate()
        .find_map(|(at, field)| fields.iter().take(at).find(|before| *before == field))
    {
        bail!("the field `{twice}` is given twice, so nothing was changed; give each field once");
    }
    // Before the prompt, so that nobody types a secret for a vault that does not open.
    vault.entries()?;
    let providers = loaded
        .map(|loaded| entry_readers(loaded, vault, path))
        .unwrap_or_default();
    for what in fields
        .iter()
        .filter_map(|field| unknown_field_warning(field, &providers))
    {
        output::note(format_args!("warning: {what}"));
    }
    let values = from.read_values(path, fields)?;
    reject_placeholders(fields, &values, &providers)?;
    let done = vault.update(|entries| {
        let entry = entries.entry(path.clone()).or_default();
        let set = |(field, value): (&String, &SecretString)| {
            change_label(entry.insert(field.clone(), value.clone()), value)
        };
        fields.iter().zip(&values).map(set).collect::<Vec<_>>()
    })?;
    for (field, done) in fields.iter().zip(done) {
        output::line(format_args!("{path} {field}: {done}"));
    }
    Ok(ExitCode::SUCCESS)
}

fn change_label(before: Option<SecretString>, now: &SecretString) -> &'static str {
    match before {
        None => "set",
        Some(old) if old.expose_secret() == now.expose_secret() => "unchanged",
        Some(_) => "replaced",
    }
}

/// Rejects names that do not fit into config files and listings.
fn check_name(name: &str) -> anyhow::Result<()> {
    let sound = !name.is_empty()
        && name
            .chars()
            .all(|char| char.is_ascii_alphanumeric() || "_-./".contains(char));
    if sound {
        Ok(())
    } else {
        bail!(
            "`{}` is not a valid name of an entry or field; use letters, digits and _ - . /",
            name.escape_debug()
        )
    }
}

/// A provider that reads the entry, and how it refers to it.
type EntryReader<'a> = (&'a Provider, &'a CredentialRef);

fn entry_readers<'a>(loaded: &'a Config, vault: &Embedded, path: &str) -> Vec<EntryReader<'a>> {
    let here = |name: &str| {
        loaded
            .vault
            .sources
            .get(name)
            .and_then(SourceSettings::as_embedded)
            .is_some_and(|other| other.file == vault.file())
    };
    let all = loaded
        .proxy
        .providers
        .iter()
        .filter_map(|provider| Some((provider, provider.credential.as_ref()?)));
    all.filter(|(_, reference)| reference.path == path && here(&reference.vault))
        .collect()
}

/// The dialect's field for a name in the vault; a field that the config maps has its mapped name only.
fn field_spec<'a>(field: &str, (provider, reference): &EntryReader<'a>) -> Option<&'a FieldSpec> {
    provider.dialect.credential_fields().iter().find(|spec| {
        match reference.fields.get(&spec.name) {
            Some(mapped) => mapped == field,
            None => spec.name == field || spec.env.iter().any(|name| name == field),
        }
    })
}

/// The warning about a field that no provider reads.
fn unknown_field_warning(field: &str, readers: &[EntryReader<'_>]) -> Option<String> {
    let (provider, reference) = readers.first().filter(|_| {
        readers
            .iter()
            .all(|reader| field_spec(field, reader).is_none())
    })?;
    let own = provider.dialect.credential_fields().iter();
    let known: Vec<&str> = own
        .map(|spec| {
            reference
                .fields
                .get(&spec.name)
                .unwrap_or(&spec.name)
                .as_str()
        })
        .collect();
    Some(format!(
        "provider `{}` reads no field `{field}` of this entry; {}",
        provider.id,
        suggest(field, &known)
    ))
}

/// Rejects a value that belongs in a backend's `.env` only: its provider would not use it.
fn reject_placeholders(
    fields: &[String],
    values: &[SecretString],
    readers: &[EntryReader<'_>],
) -> anyhow::Result<()> {
    for (field, value) in fields.iter().zip(values) {
        let holds = |reader: &&EntryReader<'_>| {
            field_spec(field, reader)
                .is_some_and(|spec| spec.placeholder.as_deref() == Some(value.expose_secret()))
        };
        if let Some((provider, _)) = readers.iter().find(holds) {
            bail!(
                "the value of `{field}` is the placeholder of the backend's `.env`, so nothing was changed; give the value that the service of provider `{}` issued",
                provider.id
            );
        }
    }
    Ok(())
}
