//! Each diagnosis is one line: cause, evidence, and what to do where.

use super::*;

const FIELDS: &[&str] = &["username", "password"];

fn fields() -> Vec<String> {
    FIELDS.iter().map(|&field| field.to_owned()).collect()
}

fn evidence(cause: Cause) -> FailedAttempt<'static> {
    FailedAttempt {
        kind: AttemptKind::Send,
        cause,
        certainty: Certainty::Certain,
        alternatives: &[],
        status: Some(401),
        code: Some("102"),
        provider_message: Some("Account is not active"),
        evidence: &[],
    }
}

fn context(fields: &[String]) -> DiagnosisContext<'_> {
    DiagnosisContext {
        provider: "playmobile",
        dialect: "playmobile",
        base_url: "https://send.example/broker-api",
        entry: Some(VaultEntryRef {
            vault: "local",
            path: "sms/playmobile",
            fields,
            write_instructions: "`sms-sidecar vault set --config /etc/sms-sidecar/config.toml --vault local sms/playmobile username password`",
            is_reread: true,
        }),
        version: Version(3),
        credential_age: Some(Duration::from_hours(2)),
        last_accepted: None,
        sender: Some("3700"),
        timeout: Some(Duration::from_secs(3)),
        config_path: "/etc/sms-sidecar/config.toml",
        config_line: 23,
        console_pages: None,
        replacement_url: None,
        uses_outbound: false,
        presents: PresentedSecret::Credential,
        observed_variables: None,
        lacks_control_socket: false,
    }
}

#[test]
fn a_diagnosis_is_one_line_of_cause_evidence_and_remedy() {
    let fields = fields();
    let line = diagnose(&evidence(Cause::AccountSuspended), &context(&fields)).to_string();
    assert_eq!(
        line,
        "playmobile: account-suspended (certain). The send was answered 401 with code 102 (“Account is not active”); it used version 3 of \
         local:sms/playmobile, known for 2 h. → have the account behind local:sms/playmobile unlocked at the playmobile console, then `sms-sidecar resume playmobile`"
    );
}

#[test]
fn history_distinguishes_a_mistyped_credential_from_a_revoked_one() {
    let fields = fields();
    let with = |accepted| {
        diagnose(
            &evidence(Cause::CredentialRejected),
            &DiagnosisContext {
                last_accepted: accepted,
                ..context(&fields)
            },
        )
    };
    let never = with(None);
    assert!(
        never
            .remedy
            .contains("get username and password from the playmobile console"),
        "{never}"
    );
    assert!(
        never
            .remedy
            .contains("`sms-sidecar vault set --config /etc/sms-sidecar/config.toml --vault local sms/playmobile username password`;"),
        "{never}"
    );
    let mistyped = with(Some((Duration::from_mins(10), Version(2))));
    assert!(
        mistyped
            .evidence
            .contains("version 2 was accepted, version 3 never"),
        "{mistyped}"
    );
    assert!(mistyped.remedy.contains("mistyped"), "{mistyped}");
    let revoked = with(Some((Duration::from_mins(10), Version(3))));
    assert!(
        revoked
            .evidence
            .contains("the same version was accepted 10 min ago"),
        "{revoked}"
    );
    assert!(
        revoked
            .remedy
            .contains("somebody changed or revoked username and password at playmobile"),
        "{revoked}"
    );
    let later = with(Some((Duration::from_mins(10), Version(4))));
    assert_eq!(
        later.remedy, never.remedy,
        "an accepted newer version means nothing for this one"
    );
}

#[test]
fn an_ambiguous_rejection_names_the_alternatives() {
    let fields = fields();
    let alternatives = [
        Cause::AccountSuspended,
        Cause::CredentialRejected,
        Cause::EndpointWrong,
    ];
    let diagnosis = diagnose(
        &FailedAttempt {
            alternatives: &alternatives,
            ..evidence(Cause::CredentialRejected)
        },
        &context(&fields),
    );
    assert_eq!(
        (diagnosis.certainty, diagnosis.alternatives.len()),
        (Certainty::Ambiguous, 2)
    );
    assert!(
        diagnosis.to_string().starts_with(
            "playmobile: credential-rejected (ambiguous, or account-suspended or endpoint-wrong). "
        ),
        "{diagnosis}"
    );
    assert!(
        diagnosis
            .remedy
            .contains("if that is in order, the cause is account-suspended or endpoint-wrong"),
        "{diagnosis}"
    );
}

#[test]
fn the_vaults_own_instructions_follow_the_name_of_the_entry() {
    let fields = fields();
    let entry = VaultEntryRef {
        vault: "keys",
        path: "sms/a",
        fields: &fields,
        write_instructions: "`pass edit sms/a`",
        is_reread: true,
    };
    let remedy = |entry: VaultEntryRef<'_>| {
        let context = DiagnosisContext {
            entry: Some(entry),
            ..context(&fields)
        };
        diagnose(&evidence(Cause::CredentialMissing), &context).remedy
    };
    let reread = remedy(entry);
    let needs_restart = remedy(VaultEntryRef {
        is_reread: false,
        ..entry
    });
    assert!(
        reread.contains("into keys:sms/a: `pass edit sms/a`"),
        "{reread}"
    );
    assert!(
        reread.len() > needs_restart.len(),
        "{reread}\n{needs_restart}"
    );
}

#[test]
fn an_entry_that_cannot_be_sent_names_its_malformed_fields() {
    let fields = fields();
    let unsent = FailedAttempt {
        status: None,
        provider_message: Some("the vault's `password` contains a line break"),
        ..evidence(Cause::CredentialMissing)
    };
    assert_eq!(fields_to_change(&unsent, &fields), ["password"]);
    let rejected = FailedAttempt {
        status: Some(401),
        ..unsent
    };
    assert_eq!(fields_to_change(&rejected, &fields), fields);
}

#[test]
fn every_diagnosis_is_one_line_that_names_a_place() {
    let fields = fields();
    for &cause in Cause::ALL {
        let says = Some("first\r\nsecond\u{7}\tthird");
        let diagnosis = diagnose(
            &FailedAttempt {
                provider_message: says,
                ..evidence(cause)
            },
            &context(&fields),
        );
        let line = diagnosis.to_string();
        assert!(!line.chars().any(char::is_control), "{line}");
        assert!(line.contains("first second third"), "{line}");
        assert!(!line.contains('{') && !line.contains("  "), "{line}");
        assert!(
            !line.to_lowercase().contains("check your credentials"),
            "{line}"
        );
        let somewhere = [
            "playmobile",
            "/etc/sms-sidecar/config.toml",
            "`timedatectl",
            "`sms-sidecar",
        ];
        assert!(
            somewhere
                .iter()
                .any(|place| diagnosis.remedy.contains(place)),
            "{line}"
        );
    }
}

#[test]
fn a_sender_that_is_a_number_is_masked() {
    let fields = fields();
    let remedy_for = |sender| {
        diagnose(
            &evidence(Cause::SenderNotAllowed),
            &DiagnosisContext {
                sender,
                ..context(&fields)
            },
        )
        .remedy
    };
    assert!(remedy_for(Some("+12025550123")).contains(" (now it is +120*****23) to one that"));
    assert!(remedy_for(Some("Shop")).contains(" (now it is “Shop”) to one that"));
    assert!(remedy_for(None).contains(" (none is set, so the backend's own is used) to one that"));
}

#[test]
fn a_timeout_is_shown_as_it_was_set() {
    let fields = fields();
    let remedy_for = |timeout| {
        diagnose(
            &evidence(Cause::Timeout),
            &DiagnosisContext {
                timeout,
                ..context(&fields)
            },
        )
        .remedy
    };
    assert!(remedy_for(Some(Duration::from_secs(3))).contains("(now 3 s)"));
    assert!(remedy_for(Some(Duration::from_millis(2_500))).contains("(now 2500 ms)"));
    assert!(!remedy_for(None).contains("now"));
}

#[test]
fn without_a_reply_the_evidence_is_the_causes_meaning() {
    let fields = fields();
    let silent = FailedAttempt {
        status: None,
        code: None,
        provider_message: None,
        ..evidence(Cause::Unreachable)
    };
    let diagnosis = diagnose(
        &silent,
        &DiagnosisContext {
            version: Version(0),
            ..context(&fields)
        },
    );
    assert_eq!(
        diagnosis.evidence,
        "No connection to the service could be made"
    );
    let diagnosis = diagnose(
        &FailedAttempt {
            code: None,
            ..evidence(Cause::Unexplained)
        },
        &DiagnosisContext::default(),
    );
    assert_eq!(
        diagnosis.evidence,
        "The send was answered 401 (“Account is not active”)"
    );
    assert!(
        diagnosis
            .to_string()
            .starts_with("request: unexplained (certain). "),
        "{diagnosis}"
    );
}

#[test]
fn durations_have_one_unit() {
    let diagnosis = [0, 119, 120, 7_199, 7_200, 172_799, 172_800]
        .map(|seconds| format_duration(Duration::from_secs(seconds)));
    assert_eq!(
        diagnosis,
        ["0 s", "119 s", "2 min", "119 min", "2 h", "47 h", "2 days"]
    );
}

#[test]
fn evidence_settles_the_cause_and_is_shown() {
    let fields = fields();
    let alternatives = [Cause::AccountSuspended, Cause::BalanceEmpty];
    let learned = [Evidence {
        source: EvidenceSource::AccountProbe,
        implication: Implication::Indicates(vec![Cause::AccountSuspended], Certainty::Certain),
    }];
    let diagnosis = diagnose(
        &FailedAttempt {
            alternatives: &alternatives,
            evidence: &learned,
            ..evidence(Cause::CredentialRejected)
        },
        &context(&fields),
    );
    assert_eq!(
        (
            diagnosis.cause,
            diagnosis.certainty,
            diagnosis.alternatives.as_slice()
        ),
        (Cause::AccountSuspended, Certainty::Certain, [].as_slice())
    );
    assert!(
        diagnosis
            .evidence
            .ends_with("; its account probe reports account-suspended"),
        "{diagnosis}"
    );
    assert!(
        diagnosis
            .remedy
            .starts_with("have the account behind local:sms/playmobile unlocked"),
        "{diagnosis}"
    );
}

#[test]
fn each_evidence_is_a_clause() {
    let clause = |source, implication| {
        Evidence {
            source,
            implication,
        }
        .to_string()
    };
    let out = || Implication::RulesOut(vec![Cause::CredentialExpired]);
    assert_eq!(
        clause(EvidenceSource::FreshToken, out()),
        "a login with the same credential was accepted, and its new token rejected"
    );
    assert_eq!(
        clause(EvidenceSource::BalanceProbe, out()),
        "its balance probe found no fault"
    );
    assert_eq!(
        clause(EvidenceSource::CredentialProbe, Implication::Inconclusive),
        "a probe with the same credential is inconclusive"
    );
}

#[test]
fn a_remedy_names_the_page_the_line_and_the_address() {
    let fields = fields();
    let pages = BTreeMap::from([(
        Cause::IpNotAllowed,
        "https://cabinet.example/lists".to_owned(),
    )]);
    let remedy_for = |learned: &[Evidence], context: DiagnosisContext<'_>| {
        diagnose(
            &FailedAttempt {
                evidence: learned,
                ..evidence(Cause::IpNotAllowed)
            },
            &DiagnosisContext {
                console_pages: Some(&pages),
                ..context
            },
        )
        .remedy
    };
    let seen = Evidence::from_reported_address("203.0.113.7").unwrap();
    assert_eq!(
        remedy_for(&[seen], context(&fields)),
        "add 203.0.113.7 (the address that the service sees) to the account's allow-list at the playmobile console \
         (https://cabinet.example/lists), or send from an address that is on it: set providers.playmobile.outbound.source_address \
         (or .proxy) in /etc/sms-sidecar/config.toml:23, then `sms-sidecar reload`, then `sms-sidecar resume playmobile`"
    );
    let set = remedy_for(
        &[],
        DiagnosisContext {
            uses_outbound: true,
            config_line: 0,
            ..context(&fields)
        },
    );
    assert!(
        set.starts_with("add this server's public address to"),
        "{set}"
    );
    assert!(
        set.contains(
            "config.toml (the address of the present outbound setting is not on it either),"
        ),
        "{set}"
    );
}

#[test]
fn a_retired_address_is_named_where_the_address_can_be_the_cause() {
    let fields = fields();
    let old = DiagnosisContext {
        replacement_url: Some("https://send.example/new"),
        base_url: "http://192.0.2.1/old",
        ..context(&fields)
    };
    let diagnose_cause = |cause| diagnose(&evidence(cause), &old);
    let wrong = diagnose_cause(Cause::EndpointWrong);
    assert!(
        wrong.evidence.ends_with("playmobile has retired http://192.0.2.1/old; its current address is https://send.example/new"),
        "{wrong}"
    );
    assert!(
        wrong.remedy.starts_with("set providers.playmobile.base_url in /etc/sms-sidecar/config.toml:23 to https://send.example/new"),
        "{wrong}"
    );
    let lost = diagnose_cause(Cause::Unreachable);
    assert!(
        lost.remedy
            .contains("to playmobile's current address, https://send.example/new"),
        "{lost}"
    );
    assert!(
        !diagnose_cause(Cause::BalanceEmpty)
            .evidence
            .contains("192.0.2.1")
    );
}

#[test]
fn commands_name_the_config_if_it_is_not_the_default() {
    let fields = fields();
    let remedy_for =
        |cause, context: DiagnosisContext<'_>| diagnose(&evidence(cause), &context).remedy;
    let elsewhere = || DiagnosisContext {
        config_path: "/srv/sms.toml",
        ..context(&fields)
    };
    let ending = |cause, ending: &str| {
        let remedy = remedy_for(cause, elsewhere());
        assert!(remedy.ends_with(ending), "{remedy}");
    };
    ending(
        Cause::BalanceEmpty,
        ", then `sms-sidecar resume playmobile --config /srv/sms.toml`",
    );
    ending(
        Cause::EndpointWrong,
        ", then `sms-sidecar reload --config /srv/sms.toml`, then `sms-sidecar resume playmobile --config /srv/sms.toml`",
    );
    let send =
        "`sms-sidecar send --provider playmobile --to NUMBER --text TEXT --config /srv/sms.toml`";
    assert!(remedy_for(Cause::MessageInvalid, elsewhere()).contains(send));
    for cause in Cause::ALL {
        let remedy = remedy_for(
            *cause,
            DiagnosisContext {
                lacks_control_socket: true,
                ..elsewhere()
            },
        );
        for command in [
            "sms-sidecar resume",
            "sms-sidecar reload",
            "sms-sidecar send",
        ] {
            assert!(
                !remedy.contains(command),
                "needs a control socket: {remedy}"
            );
        }
    }
    let bare = |cause| {
        remedy_for(
            cause,
            DiagnosisContext {
                lacks_control_socket: true,
                ..context(&fields)
            },
        )
    };
    assert!(bare(Cause::BalanceEmpty).ends_with("; it recovers by itself within its `recheck`"));
    assert!(
        bare(Cause::EndpointWrong)
            .contains(", then reload the sidecar (`kill -HUP PID`); it recovers")
    );
}

#[test]
fn a_change_of_the_config_advises_a_reload() {
    let fields = fields();
    for cause in Cause::ALL {
        let remedy = diagnose(&evidence(*cause), &context(&fields)).remedy;
        let changes = [
            "base_url in",
            "outbound.",
            ".timeout in",
            "[[routes]]",
            "ca_file",
            ".sender in",
            "[templates.",
            "operations",
            "`dialects` names",
        ];
        assert_eq!(
            changes.iter().any(|key| remedy.contains(key)),
            remedy.contains("`sms-sidecar reload`"),
            "{cause}: {remedy}"
        );
    }
}

#[test]
fn a_malformed_entry_is_reported_as_not_sent() {
    let fields = fields();
    let says = Some("the vault's field `password` has a blank at its beginning or end");
    let unsent = FailedAttempt {
        status: None,
        code: None,
        provider_message: says,
        ..evidence(Cause::CredentialMissing)
    };
    let malformed = fields_to_change(&unsent, &fields);
    let mut diagnosis_context = context(&malformed);
    if let Some(entry) = &mut diagnosis_context.entry {
        entry.write_instructions = "`sms-sidecar vault set sms/playmobile password`";
    }
    let diagnosis = diagnose(&unsent, &diagnosis_context);
    assert_eq!(
        diagnosis.evidence,
        "Nothing was sent: the vault's field `password` has a blank at its beginning or end; it read version 3 of local:sms/playmobile, known for 2 h"
    );
    assert_eq!(
        diagnosis.remedy,
        "put password as the playmobile console shows it into local:sms/playmobile: `sms-sidecar vault set sms/playmobile password`; tried at once, no restart"
    );
    let older = diagnose(
        &unsent,
        &DiagnosisContext {
            last_accepted: Some((Duration::from_mins(1), Version(2))),
            ..diagnosis_context
        },
    );
    assert_eq!(older.remedy, diagnosis.remedy, "the service never saw it");
    let missing = FailedAttempt {
        provider_message: Some("no entry `sms/tk`"),
        ..unsent
    };
    let diagnosis = diagnose(
        &missing,
        &DiagnosisContext {
            version: Version(0),
            ..context(&fields)
        },
    );
    assert_eq!(diagnosis.evidence, "Nothing was sent: no entry `sms/tk`");
    assert!(
        diagnosis.remedy.starts_with(
            "put username and password into local:sms/playmobile: `sms-sidecar vault set"
        ),
        "{diagnosis}"
    );
}

#[test]
fn an_expired_login_token_means_a_new_login_and_not_a_new_credential() {
    let fields = fields();
    let with_login = DiagnosisContext {
        presents: PresentedSecret::LoginToken,
        ..context(&fields)
    };
    let expired = diagnose(&evidence(Cause::CredentialExpired), &with_login);
    assert_eq!(
        expired.remedy,
        "nothing to change: playmobile logs in again by itself with its next message; if that token is rejected as well, compare username and password in local:sms/playmobile with the playmobile console"
    );
    let observed = DiagnosisContext {
        observed_variables: Some(&[]),
        ..with_login
    };
    assert_eq!(
        diagnose(&evidence(Cause::CredentialExpired), &observed).remedy,
        "let the backend log in at playmobile again: the token that it sends has expired"
    );
    let at_login = FailedAttempt {
        kind: AttemptKind::Login,
        ..evidence(Cause::CredentialExpired)
    };
    for (failed, context) in [
        (at_login, with_login),
        (evidence(Cause::CredentialExpired), context(&fields)),
    ] {
        let remedy = diagnose(&failed, &context).remedy;
        assert!(remedy.starts_with("issue a new credential at"), "{remedy}");
    }
    let fresh = [Evidence {
        source: EvidenceSource::FreshToken,
        implication: Implication::RulesOut(vec![Cause::CredentialExpired]),
    }];
    let rejected = FailedAttempt {
        evidence: &fresh,
        ..evidence(Cause::CredentialRejected)
    };
    let remedy = diagnose(&rejected, &with_login).remedy;
    assert!(
        remedy.starts_with("playmobile accepts username and password at the login"),
        "{remedy}"
    );
}

#[test]
fn a_credential_that_the_backend_lacks_is_set_in_the_backend() {
    let names = [
        "PLAYMOBILE_LOGIN".to_owned(),
        "PLAYMOBILE_PASSWORD".to_owned(),
    ];
    let missing = [Evidence::from_backend_request(
        "the header Authorization is missing".to_owned(),
    )];
    let failed = FailedAttempt {
        evidence: &missing,
        ..evidence(Cause::CredentialMissing)
    };
    let observed = DiagnosisContext {
        entry: None,
        version: Version(0),
        observed_variables: Some(&names),
        ..context(&[])
    };
    let found = diagnose(&failed, &observed);
    assert_eq!(
        (found.cause, found.certainty),
        (Cause::CredentialMissing, Certainty::Certain)
    );
    assert!(
        found
            .evidence
            .ends_with("in the backend's own request the header Authorization is missing"),
        "{}",
        found.evidence
    );
    assert_eq!(
        found.remedy,
        "set the variable from which the backend reads its credential (backends usually call it PLAYMOBILE_LOGIN, PLAYMOBILE_PASSWORD), and restart the backend: its process does not have it, or has it without a value"
    );
}

#[test]
fn an_untrusted_certificate_is_not_one_of_the_401s() {
    assert_eq!(Cause::TlsUntrusted.family(), crate::sms::Family::Provider);
    assert!(
        Cause::TlsUntrusted.blocks_account(),
        "it is out until it is put right"
    );
}

#[test]
fn a_command_without_its_config_gets_it() {
    let complete = |text: &str| complete_commands(text, "/c.toml");
    for (text, expected) in [
        (
            "x; `sms-sidecar ca init` makes it, then `sms-sidecar run`",
            "x; `sms-sidecar ca init --config /c.toml` makes it, then `sms-sidecar run --config /c.toml`",
        ),
        (
            "`sms-sidecar wrap -- npm start`",
            "`sms-sidecar wrap --config /c.toml -- npm start`",
        ),
        (
            "`sms-sidecar ca show --config /d.toml`",
            "`sms-sidecar ca show --config /d.toml`",
        ),
        (
            "`sms-sidecar status --control /s`",
            "`sms-sidecar status --control /s`",
        ),
        (
            "`sms-sidecar dialects`, `chmod 600 x`",
            "`sms-sidecar dialects`, `chmod 600 x`",
        ),
        ("sms-sidecar run; an odd `", "sms-sidecar run; an odd `"),
    ] {
        assert_eq!(complete(text), expected);
        assert_eq!(
            complete(expected),
            expected,
            "completing again changes nothing"
        );
        assert_eq!(complete_commands(text, DEFAULT_CONFIG_PATH), text);
        assert_eq!(complete_commands(text, ""), text);
    }
    assert_eq!(
        complete_commands("`sms-sidecar vault list`", DEFAULT_CONFIG_PATH),
        "`sms-sidecar vault list --config /etc/sms-sidecar/config.toml`",
        "`vault` reads no config by itself"
    );
}

#[test]
fn the_path_of_a_config_is_one_word_of_a_shell() {
    for (path, expected) in [
        ("/etc/a-b_c.toml", "/etc/a-b_c.toml"),
        ("/srv/\u{20ac}/ü.toml", "'/srv/\u{20ac}/ü.toml'"),
        ("/home/a b/c.toml", "'/home/a b/c.toml'"),
        ("/home/$(id)/c.toml", "'/home/$(id)/c.toml'"),
        ("/o'brien/c;d.toml", r"'/o'\''brien/c;d.toml'"),
    ] {
        let command = format_command("reload", path);
        assert_eq!(command, format!("`sms-sidecar reload --config {expected}`"));
        assert_eq!(complete_commands("`sms-sidecar reload`", path), command);
        assert_eq!(complete_commands(&command, path), command);
        let step = remedy_steps(&format!("put it right, then {command}"));
        let step = step.last().and_then(|step| step.command.as_deref());
        assert_eq!(step, Some(command.trim_matches('`')));
    }
}
