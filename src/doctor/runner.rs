//! Runs the checks of one provider: its vault, its network path, and the probes that its service answers for
//! free. All waiting of `doctor` is here. Each step has a time limit and so has the whole; the other files
//! judge what came back.
//!
//! Stops probing once the service has rejected a probe or not answered: it does not repeat what was rejected.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, Method, Uri};
use jiff::Timestamp;
use tokio::time::timeout;

use crate::clock::Clock;
use crate::diagnosis::Evidence;
use crate::dialect::{Approval, Classification, Probe, ProviderRequest, Reply};
use crate::doctor::Setup;
use crate::doctor::account::{self, AccountProbes, ProbeOutcome, ProbeRun};
use crate::doctor::check::Check;
use crate::doctor::connectivity;
use crate::doctor::provider_check::{ProbeRejection, ProviderCheck};
use crate::doctor::running::RunningSidecar;
use crate::doctor::texts::{self, ListingOutcome};
use crate::doctor::vault;
use crate::net::upstream::{Connectivity, ExchangeError, UpstreamClient};
use crate::policy::CredentialRevision;
use crate::provider::auth::LoginRequest;
use crate::provider::auth_context::AuthContext;
use crate::provider::diagnose::{ReplyFacts, clock_skew, narrow, token_age};
use crate::provider::probe::ProbeRequest;
use crate::provider::{Provider, ProviderClient};
use crate::secret::Credential;
use crate::secret::redact::Redactor;
use crate::sms::{AttemptKind, Cause, Outcome, ProviderId};
use crate::vault::CredentialCache;

/// The time limit of all checks of one provider.
pub(crate) const PROVIDER_TIMEOUT: Duration = Duration::from_mins(1);
/// The time limit of one step, even if the provider's own `timeout` is longer.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);

/// What the checks of every provider need.
#[derive(Debug)]
pub(crate) struct Runner<'a> {
    pub(crate) setup: &'a Setup<'a>,
    pub(crate) credential_cache: &'a CredentialCache,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) running: &'a RunningSidecar,
    /// The providers whose inferred probes may run.
    pub(crate) confirmed: &'a BTreeSet<ProviderId>,
}

/// One account while its probes run.
struct ProbeContext<'a> {
    client: ProviderClient<'a>,
    auth: AuthContext,
    limit: Duration,
    /// What the probes have shown so far.
    probes: AccountProbes,
}

impl Runner<'_> {
    /// Every check of one provider, in order.
    pub(crate) async fn check_provider(&self, provider: &Provider) -> Vec<Check> {
        let checks = timeout(PROVIDER_TIMEOUT, Box::pin(self.run_checks(provider))).await;
        let checks = checks.unwrap_or_else(|_| {
            let limit = PROVIDER_TIMEOUT.as_secs();
            let detail = format!("the checks of this provider took longer than {limit} s");
            let check = ProviderCheck::new(provider, self.setup);
            vec![check.local_failure("service", Cause::Timeout, &detail)]
        });
        checks
            .into_iter()
            .map(|check| check.with_subject(provider.id.as_str()))
            .collect()
    }

    async fn run_checks(&self, provider: &Provider) -> Vec<Check> {
        let mut subject = ProviderCheck::new(provider, self.setup);
        let client = match UpstreamClient::new(provider.upstream.clone(), self.setup.max_body) {
            Ok(client) => client,
            Err(error) => {
                let remedy = format!("correct the files that providers.{} names", provider.id);
                return vec![Check::failed("tls", error.to_string(), remedy)];
            }
        };
        let ((mut checks, credential), connectivity) = tokio::join!(
            vault::check_vault(
                &mut subject,
                self.credential_cache,
                self.entry_age(provider)
            ),
            probe_connectivity(&client, &provider.base_url, step_timeout(provider)),
        );
        checks.extend(
            connectivity::connectivity_checks(&subject, &connectivity, self.clock.wall_clock())
                .into_iter()
                .map(|check| connectivity::as_retired_host(&subject, check)),
        );
        let client = ProviderClient {
            provider,
            client: &client,
        };
        let probes = if is_reachable(&connectivity) {
            self.probe_account(&subject, client, credential).await
        } else {
            AccountProbes {
                not_queried: Some("there is no connection to the service"),
                ..AccountProbes::default()
            }
        };
        let failed: Vec<&str> = checks
            .iter()
            .filter(|check| check.cause.is_some())
            .map(|check| check.name)
            .collect();
        let mut account_checks = account::check_account(&subject, &probes);
        account_checks.retain(|check| !failed.contains(&check.name));
        checks.extend(account_checks);
        let templates = &self.setup.proxy.templates;
        checks.push(texts::sender_check(&subject, &probes.sender));
        checks.push(texts::template_check(&subject, templates, &probes.texts));
        checks.extend(self.running.state_check(provider.id.as_str()));
        checks
    }

    /// How old the vault entry is: as the running sidecar saw it, else by the files it is kept in.
    fn entry_age(&self, provider: &Provider) -> vault::EntryAge {
        if let Some(age) = self.running.credential_age(provider.id.as_str()) {
            return vault::EntryAge::KnownFor(age);
        }
        let Some(reference) = &provider.credential else {
            return vault::EntryAge::Unknown;
        };
        vault::last_written(self.setup.vault, reference, self.clock.wall_clock())
    }

    async fn probe_account(
        &self,
        subject: &ProviderCheck<'_>,
        client: ProviderClient<'_>,
        credential: Option<Arc<Credential>>,
    ) -> AccountProbes {
        let provider = subject.provider;
        let probes = AccountProbes {
            daily_spend: self.running.daily_spend(provider.id.as_str()),
            ..AccountProbes::default()
        };
        let mut probes = match credential {
            Some(credential) => {
                let mut context = ProbeContext {
                    client,
                    auth: AuthContext::for_credential(credential),
                    limit: step_timeout(provider),
                    probes,
                };
                self.run_probes(subject, &mut context).await;
                context.probes
            }
            None => AccountProbes {
                not_queried: Some("there is no credential to probe with"),
                ..probes
            },
        };
        if probes.runs.is_empty() {
            let run = self
                .check_reachability(client, &mut probes.clock_skew)
                .await;
            probes.runs.extend(run);
        }
        probes
    }

    /// Login, then each probe until one is not healthy, then the lists. The balance is still read if the account was
    /// rejected for one of several causes, as in the pipeline.
    async fn run_probes(&self, subject: &ProviderCheck<'_>, context: &mut ProbeContext<'_>) {
        let dialect = &context.client.provider.dialect;
        if dialect.requires_login() && !self.log_in(context).await {
            return;
        }
        for probe in dialect.probes() {
            if probe.inferred && !self.is_confirmed(context.client.provider) {
                context.probes.skipped.push(probe.endpoint());
                continue;
            }
            if !context.probes.wants(probe) {
                continue;
            }
            let (outcome, evidence) = self.run_probe(context, probe).await;
            context.probes.add(probe_run(probe, outcome), evidence);
        }
        if context.probes.has_failed() {
            return;
        }
        self.query_sender(context).await;
        self.query_texts(subject, context).await;
    }

    fn is_confirmed(&self, provider: &Provider) -> bool {
        self.confirmed.contains(&provider.id)
    }

    /// Whether the login returned a token; the probes that follow use it.
    async fn log_in(&self, context: &mut ProbeContext<'_>) -> bool {
        let started = self.clock.wall_clock();
        let redactor = Redactor::for_auth(&context.client.provider.dialect, &context.auth);
        let login = LoginRequest {
            client: context.client,
            auth: &context.auth,
            now: self.clock.timestamp(),
            limit: context.limit,
        }
        .send(&redactor)
        .await;
        let outcome = match (login.reply, &login.token) {
            (Err(lost), _) => self.lost_outcome(login.classification, lost, context),
            (Ok(reply), Some(_)) => {
                self.note_skew(&mut context.probes.clock_skew, &reply, started);
                ProbeOutcome::Healthy(None)
            }
            (Ok(reply), None) => {
                self.note_skew(&mut context.probes.clock_skew, &reply, started);
                let facts = reply_facts(context, self.clock.timestamp());
                rejected_outcome(login.classification, &reply, &facts)
            }
        };
        context.probes.runs.push(ProbeRun {
            kind: AttemptKind::Login,
            subject: None,
            endpoint: "the login".to_owned(),
            outcome,
            detects_sandbox: false,
            inferred: false,
        });
        let Some(token) = login.token else {
            return false;
        };
        let revision = CredentialRevision::from(context.auth.credential.version);
        context.auth = context.auth.clone().with_token(Arc::new(token), revision);
        true
    }

    /// The outcome of a probe, and what its reply says about an earlier rejection.
    async fn run_probe(
        &self,
        context: &mut ProbeContext<'_>,
        probe: &Probe,
    ) -> (ProbeOutcome, Option<Evidence>) {
        let started = self.clock.wall_clock();
        let redactor = Redactor::for_auth(&context.client.provider.dialect, &context.auth);
        let request = ProbeRequest {
            client: context.client,
            probe,
            auth: &context.auth,
            now: self.clock.timestamp(),
            limit: context.limit,
        };
        let result = match request.send(&redactor).await {
            Ok(result) => result,
            Err(problem) => {
                let lost = ExchangeError::Unsent {
                    cause: problem.cause,
                    detail: problem.reason,
                };
                return (ProbeOutcome::Lost(lost), None);
            }
        };
        let is_healthy = result.is_healthy();
        let evidence = Some(result.evidence(probe.about));
        let reply = match result.reply {
            Ok(reply) => reply,
            Err(lost) => {
                return (
                    self.lost_outcome(result.classification, lost, context),
                    None,
                );
            }
        };
        self.note_skew(&mut context.probes.clock_skew, &reply, started);
        let outcome = if is_healthy {
            ProbeOutcome::Healthy(result.parsed.and_then(|parsed| parsed.balance))
        } else {
            let facts = reply_facts(context, self.clock.timestamp());
            rejected_outcome(result.classification, &reply, &facts)
        };
        (outcome, evidence)
    }

    async fn query_sender(&self, context: &mut ProbeContext<'_>) {
        let provider = context.client.provider;
        let Some(sender) = provider.sender.as_deref() else {
            return;
        };
        let probe = provider
            .dialect
            .sender_probe()
            .filter(|probe| probe.may_list_sender(sender));
        let read =
            |probe: &Probe, reply: &Reply| provider.dialect.lists_sender(probe, reply, sender);
        context.probes.sender = self.query_list(context, probe, read).await;
    }

    async fn query_texts(&self, subject: &ProviderCheck<'_>, context: &mut ProbeContext<'_>) {
        let dialect = &context.client.provider.dialect;
        let texts = texts::provider_texts(subject, &self.setup.proxy.templates);
        let probe = dialect.template_probe();
        // Without a text to look for, the list shows nothing; that there is no list is reported all the same.
        if probe.is_some() && texts.is_empty() {
            return;
        }
        let read = |probe: &Probe, reply: &Reply| -> Option<Vec<(String, Approval)>> {
            texts
                .iter()
                .map(|(name, text)| {
                    let approval = dialect.approval(probe, reply, text)?;
                    Some(((*name).to_owned(), approval))
                })
                .collect()
        };
        context.probes.texts = self.query_list(context, probe, read).await;
    }

    /// Requests a list and reads it. Any other reply settles nothing: the right to send is not the right to list.
    async fn query_list<T>(
        &self,
        context: &mut ProbeContext<'_>,
        probe: Option<&Probe>,
        read: impl Fn(&Probe, &Reply) -> Option<T>,
    ) -> ListingOutcome<T> {
        let provider = context.client.provider;
        let Some(probe) = probe.filter(|probe| !probe.inferred || self.is_confirmed(provider))
        else {
            return ListingOutcome::Unsupported;
        };
        match self.exchange_list(context, probe).await {
            Some(reply) => match read(probe, &reply) {
                Some(list) => ListingOutcome::Listed(list, probe.endpoint()),
                None => ListingOutcome::Unreadable(probe.endpoint()),
            },
            None => ListingOutcome::Unreadable(probe.endpoint()),
        }
    }

    async fn exchange_list(&self, context: &mut ProbeContext<'_>, probe: &Probe) -> Option<Reply> {
        let ProviderClient { provider, client } = context.client;
        let account = context.client.account(&context.auth);
        let request = provider
            .dialect
            .probe_request(probe, &account, self.clock.timestamp())
            .ok()?;
        let started = self.clock.wall_clock();
        let reply = client.exchange(request, context.limit).await.ok()?;
        self.note_skew(&mut context.probes.clock_skew, &reply, started);
        Some(reply)
    }

    /// Whether the service answers at all, and its clock; sends no credential.
    async fn check_reachability(
        &self,
        client: ProviderClient<'_>,
        skew: &mut Option<i64>,
    ) -> Option<ProbeRun> {
        let request = ProviderRequest {
            method: Method::GET,
            url: client.provider.base_url.parse::<Uri>().ok()?,
            headers: HeaderMap::new(),
            body: Bytes::new(),
        };
        let started = self.clock.wall_clock();
        let outcome = match client
            .client
            .exchange_without_credentials(request, step_timeout(client.provider), None)
            .await
        {
            Ok(reply) => self.reached(skew, &reply, started),
            Err(lost) => match lost.head() {
                Some(head) => self.reached(skew, head, started),
                None => ProbeOutcome::Lost(lost),
            },
        };
        Some(ProbeRun {
            kind: AttemptKind::Probe,
            subject: None,
            endpoint: "a bare request".to_owned(),
            outcome,
            detects_sandbox: false,
            inferred: false,
        })
    }

    /// Without a readable reply: a rejection if its status proves one.
    fn lost_outcome(
        &self,
        classification: Classification,
        lost: ExchangeError,
        context: &ProbeContext<'_>,
    ) -> ProbeOutcome {
        match lost.head() {
            Some(head) if matches!(classification.outcome, Outcome::Rejected(_)) => {
                let facts = reply_facts(context, self.clock.timestamp());
                rejected_outcome(classification, head, &facts)
            }
            Some(_) | None => ProbeOutcome::Lost(lost),
        }
    }

    fn reached(&self, skew: &mut Option<i64>, reply: &Reply, started: SystemTime) -> ProbeOutcome {
        self.note_skew(skew, reply, started);
        ProbeOutcome::Reachable(reply.status.as_u16())
    }

    /// Keeps the skew of the first reply that has a date.
    fn note_skew(&self, skew: &mut Option<i64>, reply: &Reply, started: SystemTime) {
        *skew = skew.or_else(|| clock_skew(&reply.headers, started, self.clock.wall_clock()));
    }
}

fn probe_run(probe: &Probe, outcome: ProbeOutcome) -> ProbeRun {
    let detects_sandbox = probe
        .possible_causes()
        .iter()
        .flatten()
        .any(|cause| *cause == Cause::SandboxMismatch);
    ProbeRun {
        kind: AttemptKind::Probe,
        subject: Some(probe.about),
        endpoint: probe.endpoint(),
        outcome,
        detects_sandbox,
        inferred: probe.inferred,
    }
}

/// A rejection, narrowed by what is known at once as in the pipeline.
fn rejected_outcome(
    mut classification: Classification,
    reply: &Reply,
    facts: &ReplyFacts<'_>,
) -> ProbeOutcome {
    let evidence = narrow(&mut classification, reply, facts);
    ProbeOutcome::Rejected(Box::new(ProbeRejection {
        classification,
        status: reply.status.as_u16(),
        evidence,
    }))
}

/// What is known beside the reply to a probe.
fn reply_facts<'a>(context: &'a ProbeContext<'_>, now: Timestamp) -> ReplyFacts<'a> {
    let token = context.auth.token.as_deref();
    let skew = context.probes.clock_skew;
    ReplyFacts {
        skew: skew.map(|seconds| Duration::from_secs(seconds.unsigned_abs())),
        token,
        token_age: token_age(token, now),
        ..ReplyFacts::default()
    }
}

async fn probe_connectivity(
    client: &UpstreamClient,
    base_url: &str,
    limit: Duration,
) -> Result<Connectivity, ExchangeError> {
    let url: Uri = base_url.parse().map_err(|_| ExchangeError::Unsent {
        cause: Cause::EndpointWrong,
        detail: "`base_url` is not a valid URL".to_owned(),
    })?;
    client.probe_connectivity(&url, limit).await
}

fn step_timeout(provider: &Provider) -> Duration {
    provider.timeout.min(STEP_TIMEOUT)
}

fn is_reachable(connectivity: &Result<Connectivity, ExchangeError>) -> bool {
    connectivity.as_ref().is_ok_and(|connectivity| {
        matches!(connectivity.connection, Some(Ok(())))
            && connectivity.certificate.as_ref().is_none_or(Result::is_ok)
    })
}
