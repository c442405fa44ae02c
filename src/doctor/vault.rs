//! The credential before any request: whether the vault gives it, whether it has every field the
//! service needs in a shape that can be right, and how old it is. Shows names and ages, never a value.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::diagnosis::format_duration;
use crate::dialect::CredentialProblem;
use crate::doctor::check::Check;
use crate::doctor::provider_check::ProviderCheck;
use crate::provider::Provider;
use crate::provider::auth::{suspicion_text, vault_error_cause};
use crate::secret::Credential;
use crate::sms::Cause;
use crate::vault::{CredentialCache, CredentialRef, Error, Settings, usable_value};

/// The age of a version and its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryAge {
    /// The running sidecar saw it come.
    KnownFor(Duration),
    /// Nobody wrote there since; another entry may share the file.
    LastWritten(Duration),
    /// The vault does not say.
    Unknown,
}

/// The checks, and the credential if it can be sent.
pub(crate) async fn check_vault(
    subject: &mut ProviderCheck<'_>,
    credential_cache: &CredentialCache,
    age: EntryAge,
) -> (Vec<Check>, Option<Arc<Credential>>) {
    let provider = subject.provider;
    let Some(reference) = &provider.credential else {
        return (
            vec![Check::skipped(
                "vault",
                "this provider has no `credential`: the backend's own credential is used",
            )],
            None,
        );
    };
    let credential = match credential_cache.get(reference).await {
        Err(error) => return (vec![read_failure(subject, &error)], None),
        Ok(credential) => credential,
    };
    subject.version = credential.version;
    let found = provider.dialect.check_credential(&credential);
    let (problems, suspicions): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|problem| problem.is_unusable);
    let twins = duplicate_values(provider, &credential);
    let mut checks = vec![Check::ok(
        "vault",
        format!("{} was read", reference_label(reference)),
    )];
    let usable = problems.is_empty();
    let mut odd: Vec<String> = suspicions.iter().map(ToString::to_string).collect();
    odd.extend(twins);
    odd.extend(odd_values(&credential));
    checks.push(check_fields(subject, &problems, &odd));
    checks.push(age_check(age));
    (checks, usable.then_some(credential))
}

fn read_failure(subject: &ProviderCheck<'_>, error: &Error) -> Check {
    subject.local_failure("vault", vault_error_cause(error), &error.to_string())
}

/// `vault:path`.
fn reference_label(reference: &CredentialRef) -> String {
    if reference.path.is_empty() {
        format!("vault {}", reference.vault)
    } else {
        format!("{}:{}", reference.vault, reference.path)
    }
}

/// An error fails the check; an oddity is a warning.
fn check_fields(
    subject: &ProviderCheck<'_>,
    problems: &[CredentialProblem],
    odd: &[String],
) -> Check {
    let names: Vec<&str> = subject
        .provider
        .dialect
        .credential_fields()
        .iter()
        .map(|field| field.name.as_str())
        .collect();
    match (problems, odd) {
        ([], []) => Check::ok("fields", describe_fields(&names)),
        ([], odd) => Check::warning(
            "fields",
            odd.join("; "),
            "compare these fields with the service's console; the sidecar uses them anyway, because a service may change the format of its keys",
        ),
        (problems, _) => {
            let says = suspicion_text(problems);
            subject.local_failure("fields", Cause::CredentialMissing, &says)
        }
    }
}

fn describe_fields(names: &[&str]) -> String {
    let verb = if names.len() == 1 { "is" } else { "are" };
    format!("{} {verb} present, in a plausible format", names.join(", "))
}

/// Values that are sent although they look like a mistake: those in quotes.
fn odd_values(credential: &Credential) -> Vec<String> {
    let warning = |field: &str| {
        let value = usable_value(credential.expose(field)?).ok()?;
        Some(format!("`{field}` {}", value.warning?))
    };
    credential.field_names().filter_map(warning).collect()
}

/// Two fields with the same value: a likely paste error.
fn duplicate_values(provider: &Provider, credential: &Credential) -> Option<String> {
    let values: Vec<(&str, &str)> = provider
        .dialect
        .credential_fields()
        .iter()
        .filter_map(|field| {
            credential
                .expose(&field.name)
                .map(|value| (field.name.as_str(), value))
        })
        .collect();
    let twin = values.iter().enumerate().find_map(|(at, one)| {
        Some((
            one,
            values.iter().skip(at + 1).find(|other| other.1 == one.1)?,
        ))
    });
    twin.map(|(one, other)| format!("`{}` and `{}` hold the same value", one.0, other.0))
}

fn age_check(age: EntryAge) -> Check {
    match age {
        EntryAge::KnownFor(age) => Check::ok(
            "age",
            format!(
                "the running sidecar has used this version for {}",
                format_duration(age)
            ),
        ),
        EntryAge::LastWritten(age) => Check::ok(
            "age",
            format!("its vault was last written {} ago", format_duration(age)),
        ),
        EntryAge::Unknown => Check::skipped(
            "age",
            "this vault does not record the age of a version, and no sidecar is running that has seen it change",
        ),
    }
}

/// How old the entry can be at most, by the files it is kept in.
pub(crate) fn last_written(
    settings: &Settings,
    reference: &CredentialRef,
    now: SystemTime,
) -> EntryAge {
    let source = settings.sources.get(&reference.vault);
    let newest = source
        .into_iter()
        .flat_map(|source| source.as_kind().entry_files(reference))
        .filter_map(|file| file.metadata().ok()?.modified().ok())
        .max();
    newest.map_or(EntryAge::Unknown, |at| {
        EntryAge::LastWritten(now.duration_since(at).unwrap_or_default())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::check::CheckResult;

    #[test]
    fn verbs_agree_with_the_number_of_fields() {
        assert_eq!(
            describe_fields(&["key"]),
            "key is present, in a plausible format"
        );
        assert_eq!(
            describe_fields(&["user", "key"]),
            "user, key are present, in a plausible format"
        );
    }

    #[test]
    fn an_age_names_its_source() {
        assert_eq!(
            age_check(EntryAge::KnownFor(Duration::from_secs(90))).evidence,
            "the running sidecar has used this version for 90 s"
        );
        assert_eq!(
            age_check(EntryAge::LastWritten(Duration::from_hours(96))).evidence,
            "its vault was last written 4 days ago"
        );
        assert_eq!(age_check(EntryAge::Unknown).result, CheckResult::Skipped);
    }
}
