//! One provider, asked: vault, way, and the questions its service answers for free. All waiting is
//! here, each step with a limit of its own and the whole with another; the judgement is elsewhere.
//!
//! Asks no further once the service has refused or gone silent: what was refused is not repeated.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Uri};
use jiff::Timestamp;
use tokio::time::timeout;

use crate::clock::Clock;
use crate::diagnosis::{CauseCandidates, Evidence, narrow_candidates};
use crate::dialect::{Account, Classification, LoginToken, Probe, ProviderRequest, Reply};
use crate::doctor::Setup;
use crate::doctor::account::{self, AccountProbes, ProbeOutcome, ProbeRejection, ProbeRun};
use crate::doctor::check::Check;
use crate::doctor::connectivity;
use crate::doctor::provider_check::ProviderCheck;
use crate::doctor::running::RunningSidecar;
use crate::doctor::texts;
use crate::doctor::vault;
use crate::net::upstream::{Connectivity, ExchangeError, UpstreamClient};
use crate::proxy::{Provider, Redactor};
use crate::secret::Credential;
use crate::sms::{AttemptKind, Cause, Outcome, ProviderId};
use crate::vault::CredentialCache;

/// The longest that one provider is examined, whatever hangs.
pub(crate) const PROVIDER_TIMEOUT: Duration = Duration::from_mins(1);
/// One step waits no longer, however patient the provider's own `timeout` is.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);

/// What every examination needs.
#[derive(Debug)]
pub(crate) struct Runner<'a> {
    pub(crate) setup: &'a Setup<'a>,
    pub(crate) keeper: &'a CredentialCache,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) running: &'a RunningSidecar,
    /// Whose guessed probes may be used.
    pub(crate) confirmed: &'a BTreeSet<ProviderId>,
}

/// One provider's client and what it proves itself with.
struct ProbeContext<'a> {
    provider: &'a Provider,
    client: &'a UpstreamClient,
    credential: &'a Credential,
    timeout: Duration,
}

impl Runner<'_> {
    /// Every check of one provider, in order.
    pub(crate) async fn check_provider(&self, provider: &Provider) -> Vec<Check> {
        let checks = timeout(PROVIDER_TIMEOUT, Box::pin(self.run_checks(provider)))
            .await
            .unwrap_or_else(|_| {
                let patient = ProviderCheck::new(provider, self.setup);
                vec![patient.local_failure(
                    "service",
                    Cause::Timeout,
                    &format!(
                        "the examination took longer than {} s",
                        PROVIDER_TIMEOUT.as_secs()
                    ),
                )]
            });
        checks
            .into_iter()
            .map(|check| check.with_subject(provider.id.as_str()))
            .collect()
    }

    async fn run_checks(&self, provider: &Provider) -> Vec<Check> {
        let mut patient = ProviderCheck::new(provider, self.setup);
        let client = match UpstreamClient::new(provider.upstream.clone(), self.setup.max_body) {
            Ok(client) => client,
            Err(error) => {
                return vec![Check::failed(
                    "tls",
                    error.to_string(),
                    "mend what this provider's table names",
                )];
            }
        };
        let ((mut checks, credential), way) = tokio::join!(
            vault::check_vault(&mut patient, self.keeper, self.entry_age(provider)),
            probe_connectivity(&client, &provider.base_url, step_timeout(provider)),
        );
        checks.extend(
            connectivity::connectivity_checks(&patient, &way, self.clock.wall_clock())
                .into_iter()
                .map(|check| connectivity::as_retired_host(&patient, check)),
        );
        let answers = if is_reachable(&way) {
            self.probe_account(&patient, &client, credential.as_deref())
                .await
        } else {
            AccountProbes {
                not_queried: Some("there is no connection to ask over"),
                ..AccountProbes::default()
            }
        };
        let steps: Vec<&str> = checks
            .iter()
            .filter(|check| check.cause.is_some())
            .map(|check| check.name)
            .collect();
        let judged = account::check_account(&patient, &answers);
        let judged: Vec<Check> = judged
            .into_iter()
            .filter(|check| !steps.contains(&check.name))
            .collect();
        checks.extend(judged);
        checks.push(texts::sender_check(&patient, &answers.sender));
        checks.push(texts::template_check(
            &patient,
            &self.setup.proxy.templates,
            &answers.texts,
        ));
        checks.extend(self.running.state_check(provider.id.as_str()));
        checks
    }

    fn entry_age(&self, provider: &Provider) -> vault::EntryAge {
        let written = || {
            let reference = provider.credential.as_ref();
            reference.map_or(vault::EntryAge::Unknown, |reference| {
                vault::last_written(self.setup.vault, reference, self.clock.wall_clock())
            })
        };
        self.running
            .credential_age(provider.id.as_str())
            .map_or_else(written, vault::EntryAge::KnownFor)
    }

    async fn probe_account(
        &self,
        patient: &ProviderCheck<'_>,
        client: &UpstreamClient,
        credential: Option<&Credential>,
    ) -> AccountProbes {
        let provider = patient.provider;
        let mut answers = AccountProbes {
            daily_spend: self.running.daily_spend(provider.id.as_str()),
            ..AccountProbes::default()
        };
        match credential {
            Some(credential) => {
                let table = ProbeContext {
                    provider,
                    client,
                    credential,
                    timeout: step_timeout(provider),
                };
                self.run_probes(patient, &table, &mut answers).await;
            }
            None => answers.not_queried = Some("there is no credential to ask with"),
        }
        if answers.runs.is_empty() {
            let asked = self
                .check_reachability(provider, client, &mut answers.clock_skew)
                .await;
            answers.runs.extend(asked);
        }
        answers
    }

    /// Login, then each probe, until one is refused.
    async fn run_probes(
        &self,
        patient: &ProviderCheck<'_>,
        table: &ProbeContext<'_>,
        answers: &mut AccountProbes,
    ) {
        let dialect = &table.provider.dialect;
        let mut token = None;
        if dialect.requires_login() {
            let (asked, brought) = self.log_in(table, &mut answers.clock_skew).await;
            let alive = brought.is_some();
            answers.runs.push(asked);
            token = brought;
            if !alive {
                return;
            }
        }
        for probe in dialect.probes() {
            if probe.inferred && !self.confirmed.contains(&table.provider.id) {
                answers.skipped.push(probe.endpoint());
                continue;
            }
            let asked = self
                .run_probe(table, probe, token.as_ref(), &mut answers.clock_skew)
                .await;
            let alive = matches!(asked.outcome, ProbeOutcome::Healthy(_));
            answers.runs.push(asked);
            if !alive {
                return;
            }
        }
        let dialect = &table.provider.dialect;
        if let Some(sender) = table.provider.sender.as_deref() {
            let probe = dialect
                .sender_probe()
                .filter(|probe| probe.may_list_sender(sender));
            let read = |probe: &Probe, reply: &Reply| dialect.lists_sender(probe, reply, sender);
            answers.sender = self
                .query_list(
                    table,
                    (probe, token.as_ref()),
                    &mut answers.clock_skew,
                    read,
                )
                .await;
        }
        let texts = texts::provider_texts(patient, &self.setup.proxy.templates);
        // Without a text to look for, the list says nothing; that there is none is told all the same.
        let probe = dialect.template_probe();
        if probe.is_none() || !texts.is_empty() {
            let read = |probe: &Probe, reply: &Reply| {
                texts
                    .iter()
                    .map(|(name, text)| {
                        Some(((*name).to_owned(), dialect.approval(probe, reply, text)?))
                    })
                    .collect()
            };
            answers.texts = self
                .query_list(
                    table,
                    (probe, token.as_ref()),
                    &mut answers.clock_skew,
                    read,
                )
                .await;
        }
    }

    /// Asks for a list and reads it. Whatever comes back instead settles nothing: a right to send is none to list.
    async fn query_list<T>(
        &self,
        table: &ProbeContext<'_>,
        (probe, token): (Option<&Probe>, Option<&LoginToken>),
        skew: &mut Option<i64>,
        read: impl Fn(&Probe, &Reply) -> Option<T>,
    ) -> texts::ListingOutcome<T> {
        let agreed =
            |probe: &&Probe| !probe.inferred || self.confirmed.contains(&table.provider.id);
        let Some(probe) = probe.filter(agreed) else {
            return texts::ListingOutcome::Unsupported;
        };
        let silent = || texts::ListingOutcome::Unreadable(probe.endpoint());
        let Ok(outgoing) =
            table
                .provider
                .dialect
                .probe_request(probe, &table.account(token), self.now())
        else {
            return silent();
        };
        let Ok(reply) = self
            .exchange(table.client, outgoing, table.timeout, skew)
            .await
        else {
            return silent();
        };
        read(probe, &reply).map_or_else(silent, |told| {
            texts::ListingOutcome::Listed(told, probe.endpoint())
        })
    }

    async fn log_in(
        &self,
        table: &ProbeContext<'_>,
        skew: &mut Option<i64>,
    ) -> (ProbeRun, Option<LoginToken>) {
        let dialect = &table.provider.dialect;
        let asked = |heard| ProbeRun {
            kind: AttemptKind::Login,
            subject: None,
            endpoint: "the login".to_owned(),
            outcome: heard,
            detects_sandbox: false,
            inferred: false,
        };
        let written = dialect.login_request(&table.account(None), self.now());
        let Some(Ok(outgoing)) = written else {
            return (asked(unsendable("the login cannot be written")), None);
        };
        let reply = match self
            .exchange(table.client, outgoing, table.timeout, skew)
            .await
        {
            Err(lost) => return (asked(ProbeOutcome::Lost(lost)), None),
            Ok(reply) => reply,
        };
        if let Ok(token) = dialect.read_login(&reply, self.now()) {
            return (asked(ProbeOutcome::Healthy(None)), Some(token));
        }
        // Read again without what it may echo.
        let reply = table.redacted(reply, None);
        (
            asked(rejected_outcome(
                dialect.classify(AttemptKind::Login, &reply, ""),
                &reply,
                (None, *skew),
            )),
            None,
        )
    }

    async fn run_probe(
        &self,
        table: &ProbeContext<'_>,
        probe: &Probe,
        token: Option<&LoginToken>,
        skew: &mut Option<i64>,
    ) -> ProbeRun {
        let dialect = &table.provider.dialect;
        let tells_sandbox = probe
            .possible_causes()
            .iter()
            .flatten()
            .any(|cause| *cause == Cause::SandboxMismatch);
        let asked = |heard| ProbeRun {
            kind: AttemptKind::Probe,
            subject: Some(probe.about),
            endpoint: probe.endpoint(),
            outcome: heard,
            detects_sandbox: tells_sandbox,
            inferred: probe.inferred,
        };
        let outgoing = match dialect.probe_request(probe, &table.account(token), self.now()) {
            Ok(outgoing) => outgoing,
            Err(problem) => return asked(unsendable(&problem.reason)),
        };
        match self
            .exchange(table.client, outgoing, table.timeout, skew)
            .await
        {
            Err(lost) => asked(ProbeOutcome::Lost(lost)),
            Ok(reply) => asked(table.classify(probe, reply, (token, *skew))),
        }
    }

    /// Only whether somebody answers there, and the time; carries nothing of ours.
    async fn check_reachability(
        &self,
        provider: &Provider,
        client: &UpstreamClient,
        skew: &mut Option<i64>,
    ) -> Option<ProbeRun> {
        let url: Uri = provider.base_url.parse().ok()?;
        let outgoing = ProviderRequest {
            method: Method::GET,
            url,
            headers: HeaderMap::new(),
            body: Bytes::new(),
        };
        let began = self.clock.wall_clock();
        let heard = match client
            .exchange_without_credentials(outgoing, step_timeout(provider))
            .await
        {
            Err(lost) => ProbeOutcome::Lost(lost),
            Ok(reply) => {
                *skew = connectivity::clock_skew(&reply.headers, began, self.clock.wall_clock());
                ProbeOutcome::Reachable(reply.status.as_u16())
            }
        };
        Some(ProbeRun {
            kind: AttemptKind::Probe,
            subject: None,
            endpoint: "a bare request".to_owned(),
            outcome: heard,
            detects_sandbox: false,
            inferred: false,
        })
    }

    async fn exchange(
        &self,
        client: &UpstreamClient,
        outgoing: ProviderRequest,
        limit: Duration,
        skew: &mut Option<i64>,
    ) -> Result<Reply, ExchangeError> {
        let began = self.clock.wall_clock();
        let reply = client.exchange(outgoing, limit).await?;
        *skew = skew
            .or_else(|| connectivity::clock_skew(&reply.headers, began, self.clock.wall_clock()));
        Ok(reply)
    }

    fn now(&self) -> Timestamp {
        Timestamp::try_from(self.clock.wall_clock()).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

impl ProbeContext<'_> {
    fn account<'t>(&'t self, token: Option<&'t LoginToken>) -> Account<'t> {
        Account {
            base_url: &self.provider.base_url,
            credential: self.credential,
            params: &self.provider.params,
            sender: self.provider.sender.as_deref(),
            token,
        }
    }

    /// Without what it may echo: its words are shown.
    fn redacted(&self, reply: Reply, token: Option<&LoginToken>) -> Reply {
        Redactor::new(
            self.credential
                .maskable_values()
                .chain(token.into_iter().flat_map(LoginToken::maskable)),
        )
        .redact_reply(reply)
    }

    fn classify(&self, probe: &Probe, reply: Reply, beside: ReplyContext<'_>) -> ProbeOutcome {
        let dialect = &self.provider.dialect;
        let probed = dialect.read_probe(probe, &reply);
        if probed.healthy == Some(true) {
            return ProbeOutcome::Healthy(probed.balance);
        }
        let reply = self.redacted(reply, beside.0);
        let mut finding = dialect.classify(AttemptKind::Probe, &reply, "");
        let said = probed
            .balance
            .map(|(left, unit)| format!("{left} {unit} left").replace("  ", " "));
        if let Some(cause) = probed.cause {
            (finding.outcome, finding.certainty, finding.alternatives) = (
                Outcome::Rejected(cause),
                probed.certainty,
                probed.alternatives,
            );
            finding.provider_message = said
                .or(finding.provider_message)
                .or_else(|| Some(format!("so says the answer to {}", probe.endpoint())));
        } else if finding.outcome.cause().is_none() {
            finding.outcome = Outcome::Unknown(Cause::ReplyUnreadable);
        }
        rejected_outcome(finding, &reply, beside)
    }
}

/// What is known beside a reply: the token it was asked with, and how far our clock is ahead.
type ReplyContext<'a> = (Option<&'a LoginToken>, Option<i64>);

/// A refusal, narrowed by what is known at once, as the pipeline narrows its own.
fn rejected_outcome(
    mut finding: Classification,
    reply: &Reply,
    (token, skew): ReplyContext<'_>,
) -> ProbeOutcome {
    let date = skew.map(|skew| Evidence::from_reply_date(Duration::from_secs(skew.unsigned_abs())));
    let address = Evidence::from_reported_address(&String::from_utf8_lossy(&reply.body));
    let claims = token
        .into_iter()
        .flat_map(LoginToken::claims)
        .map(|claim| Evidence::from_token_claim(claim.cause, claim.holds));
    let mut learned = Vec::new();
    if let Outcome::Rejected(cause) = finding.outcome {
        let suspects = CauseCandidates::new(cause, finding.certainty, &finding.alternatives);
        let (left, told) =
            narrow_candidates(suspects, date.into_iter().chain(address).chain(claims));
        finding.outcome = Outcome::Rejected(left.cause);
        (finding.certainty, finding.alternatives, learned) =
            (left.certainty, left.alternatives, told);
    }
    ProbeOutcome::Rejected(Box::new(ProbeRejection {
        classification: finding,
        status: reply.status.as_u16(),
        evidence: learned,
    }))
}

fn unsendable(why: &str) -> ProbeOutcome {
    ProbeOutcome::Lost(ExchangeError::Unsent {
        cause: Cause::CredentialMissing,
        detail: why.to_owned(),
    })
}

async fn probe_connectivity(
    client: &UpstreamClient,
    base_url: &str,
    limit: Duration,
) -> Result<Connectivity, ExchangeError> {
    let wrong = |_| ExchangeError::Unsent {
        cause: Cause::EndpointWrong,
        detail: "`base_url` is no URL".to_owned(),
    };
    client
        .probe_connectivity(&base_url.parse::<Uri>().map_err(wrong)?, limit)
        .await
}

fn step_timeout(provider: &Provider) -> Duration {
    provider.timeout.min(STEP_TIMEOUT)
}

fn is_reachable(way: &Result<Connectivity, ExchangeError>) -> bool {
    way.as_ref().is_ok_and(|way| {
        matches!(way.connection, Some(Ok(()))) && way.certificate.as_ref().is_none_or(Result::is_ok)
    })
}
