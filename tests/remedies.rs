//! Every remedy, checked for readability: each cause, at each service, for a provider of
//! the config, for one that the sidecar only watches, and for a reply pasted without a config.

use std::time::Duration;

use sms_sidecar::diagnosis::{
    DiagnosisContext, FailedAttempt, VaultEntryRef, diagnose, remedy_steps,
};
use sms_sidecar::dialect::{Catalog, Dialect};
use sms_sidecar::secret::Version;
use sms_sidecar::sms::{AttemptKind, Cause, Certainty};

const CONFIG: &str = "/etc/sms-sidecar/config.toml";

/// Where the reply came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// A provider with a vault entry.
    Whole,
    /// The same, where no command can reach the sidecar.
    Uncontrolled,
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
        Known::Uncontrolled => DiagnosisContext {
            entry: Some(entry),
            version: Version(1),
            lacks_control_socket: true,
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
    [
        Known::Whole,
        Known::Uncontrolled,
        Known::Watched,
        Known::Nothing,
    ]
    .into_iter()
    .flat_map(each)
    .collect()
}

#[test]
fn remedies_are_well_formed_and_concrete() {
    let remedies = all();
    let dialects = Catalog::built_in().iter().count();
    assert_eq!(remedies.len(), 4 * dialects * Cause::ALL.len());
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
            Known::Whole | Known::Uncontrolled => {
                assert!(!remedy.contains("vault entry that"), "{at}");
            }
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

/// What is in backticks in a remedy and is no command.
const INLINE_CODE: [&str; 6] = [
    "recipients",
    "callers",
    "dialects",
    "recheck",
    "credential",
    "base_url",
];

#[test]
fn every_command_of_a_remedy_is_alone_in_its_step() {
    for (dialect, cause, known, remedy) in all() {
        let at = format!("{dialect} {cause} {known:?}: {remedy}");
        let steps = remedy_steps(&remedy);
        let in_text: Vec<&str> = remedy.split('`').skip(1).step_by(2).collect();
        let (code, commands): (Vec<&str>, Vec<&str>) = in_text
            .into_iter()
            .partition(|code| INLINE_CODE.contains(code));
        let alone: Vec<&str> = steps
            .iter()
            .filter_map(|step| step.command.as_deref())
            .collect();
        assert_eq!(alone, commands, "{at}");
        let texts: String = steps.iter().map(|step| step.text.as_str()).collect();
        let left: Vec<&str> = texts.split('`').skip(1).step_by(2).collect();
        assert_eq!(left, code, "{at}");
    }
}

#[test]
fn steps_say_all_that_the_remedy_says() {
    let words = |text: &str| {
        let plain = text.replace("the command below", "");
        plain
            .split(|c: char| !c.is_alphanumeric())
            .filter(|word| !["", "then", "run"].contains(word))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    for (dialect, cause, known, remedy) in all() {
        let mut said: Vec<String> = remedy_steps(&remedy)
            .iter()
            .flat_map(|step| {
                words(&format!(
                    "{} {}",
                    step.text,
                    step.command.as_deref().unwrap_or_default()
                ))
            })
            .collect();
        let mut expected = words(&remedy);
        said.sort_unstable();
        expected.sort_unstable();
        assert_eq!(said, expected, "{dialect} {cause} {known:?}: {remedy}");
    }
}

#[test]
fn no_step_is_empty_or_ends_in_the_middle() {
    for (dialect, cause, known, remedy) in all() {
        let steps = remedy_steps(&remedy);
        let at = format!("{dialect} {cause} {known:?}: {steps:#?}");
        assert!((1..=4).contains(&steps.len()), "{at}");
        for step in steps {
            let last = step.text.rsplit(' ').next().unwrap();
            assert!(
                !["", "or", "and", "the", "if", "then"].contains(&last),
                "{at}"
            );
            assert!(!step.text.ends_with([':', ',', ';', '(']), "{at}");
            assert_eq!(
                step.text.matches('(').count(),
                step.text.matches(')').count(),
                "{at}"
            );
        }
    }
}
