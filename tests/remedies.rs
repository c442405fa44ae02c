//! Every remedy, checked for readability: each cause, at each service, for a provider of
//! the config, for one that the sidecar only watches, and for a reply pasted without a config.

use std::time::Duration;

use sms_sidecar::diagnosis::{DiagnosisContext, FailedAttempt, VaultEntryRef, diagnose};
use sms_sidecar::dialect::{Catalog, Dialect};
use sms_sidecar::secret::Version;
use sms_sidecar::sms::{AttemptKind, Cause, Certainty};

const CONFIG: &str = "/etc/sms-sidecar/config.toml";

/// Where the reply came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// A provider with a vault entry.
    Whole,
    /// A provider in observe mode, which has none.
    Watched,
    /// No provider: `diagnose --dialect NAME`.
    Nothing,
}

fn remedy(dialect: &Dialect, cause: Cause, known: Known) -> String {
    let fields: Vec<String> = dialect
        .credential_fields()
        .iter()
        .map(|field| field.name.clone())
        .collect();
    let entry = VaultEntryRef {
        vault: "local",
        path: "sms/mine",
        fields: &fields,
        write_instructions: "`sms-sidecar vault set --vault local sms/mine`",
        is_reread: true,
    };
    let base = DiagnosisContext {
        dialect: &dialect.name,
        base_url: dialect.base_url(),
        console_pages: Some(dialect.console_urls()),
        ..DiagnosisContext::default()
    };
    let mine = DiagnosisContext {
        provider: "mine",
        config_path: CONFIG,
        config_line: 23,
        timeout: Some(Duration::from_secs(3)),
        ..base
    };
    let context = match known {
        Known::Whole => DiagnosisContext {
            entry: Some(entry),
            version: Version(1),
            ..mine
        },
        Known::Watched => mine,
        Known::Nothing => base,
    };
    let (kind, certainty, alternatives) = (AttemptKind::Send, Certainty::Certain, &[][..]);
    let evidence = FailedAttempt {
        kind,
        cause,
        certainty,
        alternatives,
        status: Some(401),
        code: None,
        provider_message: None,
        evidence: &[],
    };
    diagnose(&evidence, &context).remedy
}

fn all() -> Vec<(String, Cause, Known, String)> {
    let catalog = Catalog::built_in();
    let each = |known| {
        catalog.iter().flat_map(move |dialect| {
            Cause::ALL.iter().map(move |&cause| {
                (
                    dialect.name.clone(),
                    cause,
                    known,
                    remedy(dialect, cause, known),
                )
            })
        })
    };
    [Known::Whole, Known::Watched, Known::Nothing]
        .into_iter()
        .flat_map(each)
        .collect()
}

#[test]
fn remedies_are_well_formed_and_concrete() {
    let remedies = all();
    let dialects = Catalog::built_in().iter().count();
    assert_eq!(remedies.len(), 3 * dialects * Cause::ALL.len());
    for (dialect, cause, known, remedy) in remedies {
        let at = format!("{dialect} {cause} {known:?}: {remedy}");
        let bare = remedy.to_lowercase();
        for advice in [
            "check your",
            "check the credential",
            "please",
            "contact support",
            "try again later",
            "make sure",
            "unset",
        ] {
            assert!(!bare.contains(advice), "{advice} says nothing: {at}");
        }
        for mistake in [
            "{", "  ", ") (", "; ;", ";;", " ,", " ;", "()", "``", "(now )", ": ;", "the the ",
        ] {
            assert!(!remedy.contains(mistake), "`{mistake}` in {at}");
        }
        assert_eq!(remedy.matches('`').count() % 2, 0, "{at}");
        assert_eq!(
            remedy.matches('(').count(),
            remedy.matches(')').count(),
            "{at}"
        );
        assert!(
            remedy.chars().next().unwrap().is_lowercase() || remedy.starts_with("PROVIDER"),
            "it follows an arrow: {at}"
        );
        assert!(!remedy.ends_with('.'), "{at}");
        assert!(remedy.len() > 30, "{at}");
    }
}

#[test]
fn remedies_name_known_facts_and_invent_none() {
    for (dialect, cause, known, remedy) in all() {
        let at = format!("{dialect} {cause} {known:?}: {remedy}");
        assert!(
            known == Known::Nothing || !remedy.contains("PROVIDER"),
            "{at}"
        );
        match known {
            Known::Whole => assert!(!remedy.contains("vault entry that"), "{at}"),
            Known::Watched => assert!(
                !["vault entry", "vault set", "no restart"]
                    .iter()
                    .any(|word| remedy.contains(word)),
                "{at}"
            ),
            Known::Nothing => assert!(
                !remedy.contains("mine") && !remedy.contains("vault set"),
                "{at}"
            ),
        }
    }
}

#[test]
fn pronouns_agree_with_the_number_of_fields() {
    let catalog = Catalog::built_in();
    let rejected =
        |name: &str, known| remedy(catalog.get(name).unwrap(), Cause::CredentialRejected, known);
    for (remedy, words) in [
        (
            rejected("infobip", Known::Whole),
            "get api_key from the infobip console (https://portal.infobip.com) and put it into local:sms/mine: `sms-sidecar vault set",
        ),
        (
            rejected("twilio", Known::Whole),
            "get account_sid and auth_token from the twilio console (https://console.twilio.com) and put them into local:sms/mine: `",
        ),
        (
            rejected("plain", Known::Whole),
            "get token from the plain service and put it into local:sms/mine: `",
        ),
        (
            rejected("twilio", Known::Nothing),
            "get the credential from the twilio console (https://console.twilio.com) and put it into the vault entry that providers.PROVIDER.credential names in /etc/sms-sidecar/config.toml; tried at once",
        ),
        (
            rejected("twilio", Known::Watched),
            "get the credential from the twilio console (https://console.twilio.com) and put it into the backend's own settings (mine has no `credential`",
        ),
    ] {
        assert!(remedy.starts_with(words), "{remedy}");
    }
}
