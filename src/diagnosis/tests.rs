//! Each diagnosis is one line that says what, on what evidence, and what to do where.

use super::*;

const FIELDS: &[&str] = &["username", "password"];

fn fields() -> Vec<String> {
    FIELDS.iter().map(|&field| field.to_owned()).collect()
}

fn evidence(cause: Cause) -> FailedAttempt<'static> {
    let (status, code) = (Some(401), Some("102"));
    FailedAttempt {
        kind: AttemptKind::Send,
        cause,
        certainty: Certainty::Certain,
        alternatives: &[],
        status,
        code,
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
            storage: &VaultStorage::Embedded,
            path: "sms/playmobile",
            fields,
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
        lacks_control_socket: false,
    }
}

#[test]
fn one_line_says_what_with_what_and_what_to_do() {
    let fields = fields();
    let line = diagnose(&evidence(Cause::AccountSuspended), &context(&fields)).to_string();
    assert_eq!(
        line,
        "playmobile: account-suspended (certain). The send was answered 401 with code 102 (“Account is not active”); it used version 3 of \
         local:sms/playmobile, known for 2 h. → have the account behind local:sms/playmobile unlocked at the playmobile console, then `sms-sidecar resume playmobile`"
    );
}

#[test]
fn history_tells_a_mistyped_credential_from_a_revoked_one() {
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
        "a newer one that works says nothing about this one"
    );
}

#[test]
fn an_ambiguous_refusal_names_what_else_it_can_be() {
    let fields = fields();
    let alternatives = [
        Cause::AccountSuspended,
        Cause::CredentialRejected,
        Cause::EndpointWrong,
    ];
    let told = diagnose(
        &FailedAttempt {
            alternatives: &alternatives,
            ..evidence(Cause::CredentialRejected)
        },
        &context(&fields),
    );
    assert_eq!(
        (told.certainty, told.alternatives.len()),
        (Certainty::Ambiguous, 2)
    );
    assert!(
        told.to_string().starts_with(
            "playmobile: credential-rejected (ambiguous, or account-suspended or endpoint-wrong). "
        ),
        "{told}"
    );
    assert!(
        told.remedy
            .contains("if that is in order, it is account-suspended or endpoint-wrong"),
        "{told}"
    );
}

#[test]
fn each_vault_is_changed_in_its_own_way() {
    let fields = fields();
    let server = |versioned, namespace| VaultStorage::OpenBao {
        mount: "secret".into(),
        namespace,
        versioned,
    };
    let (plain, inside, old) = (
        server(true, None),
        server(true, Some("team".into())),
        server(false, None),
    );
    let exec = VaultStorage::Exec {
        command: "/usr/bin/pass".into(),
    };
    let with = |kept, path| {
        let entry = Some(VaultEntryRef {
            vault: "keys",
            storage: kept,
            path,
            fields: &fields,
        });
        diagnose(
            &evidence(Cause::CredentialMissing),
            &DiagnosisContext {
                entry,
                ..context(&fields)
            },
        )
        .remedy
    };
    let patch = "`bao kv patch -mount=secret sms/a username=-`, then password=- (each value on standard input)";
    assert!(with(&plain, "sms/a").contains(&format!("into keys:sms/a: {patch}")));
    assert!(with(&inside, "sms/a").contains("bao kv patch -namespace=team -mount=secret sms/a"));
    assert!(
        with(&old, "sms/a").contains("`bao kv put -mount=secret sms/a @FILE`"),
        "version 1 has no patch"
    );
    assert!(
        with(&exec, "sms/a")
            .contains("change username and password where /usr/bin/pass reads it for `sms/a`")
    );
    assert!(
        with(&VaultStorage::Env, "")
            .contains("into vault keys: set username and password in the variables of vault keys")
    );
    assert!(
        with(&VaultStorage::Directory, "sms").contains(
            "write the files username and password under sms in the folder of vault keys"
        )
    );
    assert!(
        with(&VaultStorage::Directory, "")
            .contains("write the files username and password in the folder of vault keys")
    );
    let command = "`sms-sidecar vault set --config /etc/sms-sidecar/config.toml --vault keys sms/a username password`;";
    assert!(
        with(&VaultStorage::Embedded, "sms/a").contains(&format!("into keys:sms/a: {command}"))
    );
    for (fields, told) in [
        (vec![], "sms/a FIELD`;"),
        (vec!["key".to_owned()], "sms/a key`;"),
    ] {
        let entry = Some(VaultEntryRef {
            vault: "keys",
            storage: &VaultStorage::Embedded,
            path: "sms/a",
            fields: &fields,
        });
        let remedy = diagnose(
            &evidence(Cause::CredentialMissing),
            &DiagnosisContext {
                entry,
                config_path: "a.toml",
                ..context(&[])
            },
        )
        .remedy;
        assert!(
            remedy.contains(&format!("--config a.toml --vault keys {told}")),
            "{remedy}"
        );
    }
}

#[test]
fn every_cause_is_one_line_that_names_where_to_go() {
    let fields = fields();
    for &cause in Cause::ALL {
        let says = Some("first\r\nsecond\u{7}\tthird");
        let told = diagnose(
            &FailedAttempt {
                provider_message: says,
                ..evidence(cause)
            },
            &context(&fields),
        );
        let line = told.to_string();
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
            somewhere.iter().any(|place| told.remedy.contains(place)),
            "{line}"
        );
    }
}

#[test]
fn a_sender_that_is_a_number_is_masked() {
    let fields = fields();
    let told = |sender| {
        diagnose(
            &evidence(Cause::SenderNotAllowed),
            &DiagnosisContext {
                sender,
                ..context(&fields)
            },
        )
        .remedy
    };
    assert!(told(Some("+12025550123")).ends_with("; now it is +120*****23"));
    assert!(told(Some("Shop")).ends_with("; now it is “Shop”"));
    assert!(told(None).ends_with("; none is set, so what the backend writes goes"));
}

#[test]
fn a_time_limit_is_told_as_it_was_set() {
    let fields = fields();
    let told = |timeout| {
        diagnose(
            &evidence(Cause::Timeout),
            &DiagnosisContext {
                timeout,
                ..context(&fields)
            },
        )
        .remedy
    };
    assert!(told(Some(Duration::from_secs(3))).contains("(now 3 s)"));
    assert!(told(Some(Duration::from_millis(2_500))).contains("(now 2500 ms)"));
    assert!(!told(None).contains("now"));
}

#[test]
fn without_a_reply_the_meaning_is_told() {
    let fields = fields();
    let silent = FailedAttempt {
        status: None,
        code: None,
        provider_message: None,
        ..evidence(Cause::Unreachable)
    };
    let told = diagnose(
        &silent,
        &DiagnosisContext {
            version: Version(0),
            ..context(&fields)
        },
    );
    assert_eq!(told.evidence, "No connection to the service could be made");
    let told = diagnose(
        &FailedAttempt {
            code: None,
            ..evidence(Cause::Unexplained)
        },
        &DiagnosisContext::default(),
    );
    assert_eq!(
        told.evidence,
        "The send was answered 401 (“Account is not active”)"
    );
    assert!(
        told.to_string()
            .starts_with("call: unexplained (certain). "),
        "{told}"
    );
}

#[test]
fn times_are_told_in_the_unit_that_says_enough() {
    let told = [0, 119, 120, 7_199, 7_200, 172_799, 172_800]
        .map(|seconds| format_duration(Duration::from_secs(seconds)));
    assert_eq!(
        told,
        ["0 s", "119 s", "2 min", "119 min", "2 h", "47 h", "2 days"]
    );
}

#[test]
fn what_was_learned_settles_the_cause_and_stands_in_the_evidence() {
    let fields = fields();
    let alternatives = [Cause::AccountSuspended, Cause::BalanceEmpty];
    let learned = [Evidence {
        source: EvidenceSource::AccountProbe,
        implication: Implication::Indicates(vec![Cause::AccountSuspended], Certainty::Certain),
    }];
    let told = diagnose(
        &FailedAttempt {
            alternatives: &alternatives,
            evidence: &learned,
            ..evidence(Cause::CredentialRejected)
        },
        &context(&fields),
    );
    assert_eq!(
        (told.cause, told.certainty, told.alternatives.as_slice()),
        (Cause::AccountSuspended, Certainty::Certain, [].as_slice())
    );
    assert!(
        told.evidence
            .ends_with("; its account call says account-suspended"),
        "{told}"
    );
    assert!(
        told.remedy
            .starts_with("have the account behind local:sms/playmobile unlocked"),
        "{told}"
    );
}

#[test]
fn each_witness_is_a_clause_of_its_own() {
    let told = |witness, answer| {
        Evidence {
            source: witness,
            implication: answer,
        }
        .to_string()
    };
    let out = || Implication::RulesOut(vec![Cause::CredentialExpired]);
    assert_eq!(
        told(EvidenceSource::FreshToken, out()),
        "a login with the same credential was accepted, and its fresh token refused"
    );
    assert_eq!(
        told(EvidenceSource::BalanceProbe, out()),
        "its balance call was answered as if all were in order"
    );
    assert_eq!(
        told(EvidenceSource::CredentialProbe, Implication::Inconclusive),
        "a free call with the same credential says nothing about it"
    );
}

#[test]
fn a_remedy_names_the_page_the_line_and_the_address() {
    let fields = fields();
    let pages = BTreeMap::from([(
        Cause::IpNotAllowed,
        "https://cabinet.example/lists".to_owned(),
    )]);
    let told = |learned: &[Evidence], context: DiagnosisContext<'_>| {
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
        told(&[seen], context(&fields)),
        "have 203.0.113.7, the address they see us come from, added to the account's list at the playmobile console \
         (https://cabinet.example/lists), or let attempts leave from one that is on it: set providers.playmobile.outbound.source_address \
         (or .proxy) in /etc/sms-sidecar/config.toml:23, then `sms-sidecar reload`, then `sms-sidecar resume playmobile`"
    );
    let set = told(
        &[],
        DiagnosisContext {
            uses_outbound: true,
            config_line: 0,
            ..context(&fields)
        },
    );
    assert!(
        set.starts_with("have this server's public address added"),
        "{set}"
    );
    assert!(
        set.contains("config.toml (the way out that is set there now is not on it either),"),
        "{set}"
    );
}

#[test]
fn an_address_that_the_service_has_left_is_told_where_the_address_can_be_it() {
    let fields = fields();
    let old = DiagnosisContext {
        replacement_url: Some("https://send.example/new"),
        base_url: "http://192.0.2.1/old",
        ..context(&fields)
    };
    let told = |cause| diagnose(&evidence(cause), &old);
    let wrong = told(Cause::EndpointWrong);
    assert!(
        wrong.evidence.ends_with("http://192.0.2.1/old is an address that playmobile has left for https://send.example/new"),
        "{wrong}"
    );
    assert!(
        wrong.remedy.starts_with("set providers.playmobile.base_url in /etc/sms-sidecar/config.toml:23 to https://send.example/new"),
        "{wrong}"
    );
    let lost = told(Cause::Unreachable);
    assert!(
        lost.remedy
            .contains("to playmobile's address of today, https://send.example/new"),
        "{lost}"
    );
    assert!(!told(Cause::BalanceEmpty).evidence.contains("192.0.2.1"));
}

#[test]
fn commands_run_as_printed_wherever_the_config_is() {
    let fields = fields();
    let told = |cause, context: DiagnosisContext<'_>| diagnose(&evidence(cause), &context).remedy;
    let elsewhere = || DiagnosisContext {
        config_path: "/srv/sms.toml",
        ..context(&fields)
    };
    let ending = |cause, ending: &str| {
        let said = told(cause, elsewhere());
        assert!(said.ends_with(ending), "{said}");
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
    assert!(told(Cause::MessageInvalid, elsewhere()).contains(send));
    for cause in Cause::ALL {
        let said = told(
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
            assert!(!said.contains(command), "no socket takes it: {said}");
        }
    }
    let bare = |cause| {
        told(
            cause,
            DiagnosisContext {
                lacks_control_socket: true,
                ..context(&fields)
            },
        )
    };
    assert!(bare(Cause::BalanceEmpty).ends_with("; it comes back by itself within its `recheck`"));
    assert!(
        bare(Cause::EndpointWrong)
            .contains(", then send the sidecar a HUP (`kill -HUP PID`); it comes back")
    );
}

#[test]
fn whatever_changes_the_config_says_that_it_must_be_read_again() {
    let fields = fields();
    for cause in Cause::ALL {
        let said = diagnose(&evidence(*cause), &context(&fields)).remedy;
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
            changes.iter().any(|key| said.contains(key)),
            said.contains("`sms-sidecar reload`"),
            "{cause}: {said}"
        );
    }
}

#[test]
fn an_entry_that_cannot_be_right_is_told_as_ours_and_not_as_the_services_word() {
    let fields = fields();
    let says = Some("the vault's field `password` has a blank at its beginning or end");
    let unsent = FailedAttempt {
        status: None,
        code: None,
        provider_message: says,
        ..evidence(Cause::CredentialRejected)
    };
    let told = diagnose(&unsent, &context(&fields));
    assert_eq!(
        told.evidence,
        "Nothing was sent: the vault's field `password` has a blank at its beginning or end; it read version 3 of local:sms/playmobile, known for 2 h"
    );
    assert_eq!(
        told.remedy,
        "put password as the playmobile console shows it into local:sms/playmobile: `sms-sidecar vault set --config /etc/sms-sidecar/config.toml \
         --vault local sms/playmobile password`; tried at once, no restart"
    );
    let older = diagnose(
        &unsent,
        &DiagnosisContext {
            last_accepted: Some((Duration::from_mins(1), Version(2))),
            ..context(&fields)
        },
    );
    assert_eq!(older.remedy, told.remedy, "it never came to the service");
    let missing = FailedAttempt {
        cause: Cause::CredentialMissing,
        provider_message: Some("no entry `sms/tk`"),
        ..unsent
    };
    let told = diagnose(
        &missing,
        &DiagnosisContext {
            version: Version(0),
            ..context(&fields)
        },
    );
    assert_eq!(told.evidence, "Nothing was sent: no entry `sms/tk`");
    assert!(
        told.remedy.starts_with(
            "put username and password into local:sms/playmobile: `sms-sidecar vault set"
        ),
        "{told}"
    );
}
