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

use crate::cli::doctor::account::{self, Answers, Asked, Heard, Refusal};
use crate::cli::doctor::check::Check;
use crate::cli::doctor::patient::Patient;
use crate::cli::doctor::running::Running;
use crate::cli::doctor::{texts, vault, way};
use crate::clock::Clock;
use crate::config::Loaded;
use crate::diagnosis::{Learned, Suspects, narrowed};
use crate::dialect::{Account, Finding, Outgoing, Probe, Reply, Token};
use crate::net::upstream::{Client, Lost, Way};
use crate::proxy::{Mask, Provider};
use crate::secret::Credential;
use crate::sms::{Cause, Kind, Outcome, ProviderId};
use crate::vault::Keeper;

/// The longest that one provider is examined, whatever hangs.
pub(super) const WHOLE: Duration = Duration::from_mins(1);
/// One step waits no longer, however patient the provider's own `timeout` is.
const STEP: Duration = Duration::from_secs(10);

/// What every examination needs.
#[derive(Debug)]
pub(super) struct Examiner<'a> {
    pub(super) loaded: &'a Loaded,
    /// The config as the operator names it.
    pub(super) config: &'a str,
    pub(super) keeper: &'a Keeper,
    pub(super) clock: &'a dyn Clock,
    pub(super) running: &'a Running,
    /// Whose guessed probes may be used.
    pub(super) agreed: &'a BTreeSet<ProviderId>,
}

/// One provider's client and what it proves itself with.
struct Table<'a> {
    provider: &'a Provider,
    client: &'a Client,
    credential: &'a Credential,
    limit: Duration,
}

impl Examiner<'_> {
    /// Every check of one provider, in order.
    pub(super) async fn examine(&self, provider: &Provider) -> Vec<Check> {
        let checks = timeout(WHOLE, Box::pin(self.whole(provider))).await.unwrap_or_else(|_| {
            let patient = Patient::new(provider, self.loaded, self.config);
            vec![patient.ours("service", Cause::Timeout, &format!("the examination took longer than {} s", WHOLE.as_secs()))]
        });
        checks.into_iter().map(|check| check.of(provider.id.as_str())).collect()
    }

    async fn whole(&self, provider: &Provider) -> Vec<Check> {
        let mut patient = Patient::new(provider, self.loaded, self.config);
        let client = match Client::new(provider.upstream.clone(), self.loaded.limits.body) {
            Ok(client) => client,
            Err(error) => return vec![Check::failed("tls", error.to_string(), "mend what this provider's table names")],
        };
        let ((mut checks, credential), way) =
            tokio::join!(vault::look(&mut patient, self.keeper, self.age(provider)), looked(&client, &provider.base_url, limit(provider)),);
        checks.extend(way::steps(&patient, &way, self.clock.wall()).into_iter().map(|check| way::as_left(&patient, check)));
        let answers = if is_open(&way) {
            self.answers(&patient, &client, credential.as_deref()).await
        } else {
            Answers { not_asked: Some("there is no connection to ask over"), ..Answers::default() }
        };
        let steps: Vec<&str> = checks.iter().filter(|check| check.cause.is_some()).map(|check| check.name).collect();
        let judged = account::judge(&patient, &answers);
        let judged: Vec<Check> = judged.into_iter().filter(|check| !steps.contains(&check.name)).collect();
        checks.extend(judged);
        checks.push(texts::sender(&patient, &answers.sender));
        checks.push(texts::template(&patient, &self.loaded.proxy.templates, &answers.texts));
        checks.extend(self.running.standing(provider.id.as_str()));
        checks
    }

    fn age(&self, provider: &Provider) -> vault::Age {
        let written = || {
            let reference = provider.credential.as_ref();
            reference.map_or(vault::Age::Unknown, |reference| vault::written(self.loaded, reference, self.clock.wall()))
        };
        self.running.age(provider.id.as_str()).map_or_else(written, vault::Age::Seen)
    }

    async fn answers(&self, patient: &Patient<'_>, client: &Client, credential: Option<&Credential>) -> Answers {
        let provider = patient.provider;
        let mut answers = Answers { spent: self.running.spent(provider.id.as_str()), ..Answers::default() };
        match credential {
            Some(credential) => {
                let table = Table { provider, client, credential, limit: limit(provider) };
                self.ask_all(patient, &table, &mut answers).await;
            }
            None => answers.not_asked = Some("there is no credential to ask with"),
        }
        if answers.asked.is_empty() {
            let asked = self.knock(provider, client, &mut answers.skew).await;
            answers.asked.extend(asked);
        }
        answers
    }

    /// Login, then each probe, until one is refused.
    async fn ask_all(&self, patient: &Patient<'_>, table: &Table<'_>, answers: &mut Answers) {
        let dialect = &table.provider.dialect;
        let mut token = None;
        if dialect.has_token() {
            let (asked, brought) = self.log_in(table, &mut answers.skew).await;
            let alive = brought.is_some();
            answers.asked.push(asked);
            token = brought;
            if !alive {
                return;
            }
        }
        for probe in dialect.probes() {
            if probe.guess && !self.agreed.contains(&table.provider.id) {
                answers.left_out.push(probe.call());
                continue;
            }
            let asked = self.probe(table, probe, token.as_ref(), &mut answers.skew).await;
            let alive = matches!(asked.heard, Heard::Alive(_));
            answers.asked.push(asked);
            if !alive {
                return;
            }
        }
        let dialect = &table.provider.dialect;
        if let Some(sender) = table.provider.sender.as_deref() {
            let probe = dialect.sender_probe().filter(|probe| probe.covers(sender));
            let read = |probe: &Probe, reply: &Reply| dialect.lists_sender(probe, reply, sender);
            answers.sender = self.listed(table, (probe, token.as_ref()), &mut answers.skew, read).await;
        }
        let texts = texts::worded(patient, &self.loaded.proxy.templates);
        // Without a text to look for, the list says nothing; that there is none is told all the same.
        let probe = dialect.template_probe();
        if probe.is_none() || !texts.is_empty() {
            let read = |probe: &Probe, reply: &Reply| {
                texts.iter().map(|(name, text)| Some(((*name).to_owned(), dialect.approval(probe, reply, text)?))).collect()
            };
            answers.texts = self.listed(table, (probe, token.as_ref()), &mut answers.skew, read).await;
        }
    }

    /// Asks for a list and reads it. Whatever comes back instead settles nothing: a right to send is none to list.
    async fn listed<T>(
        &self,
        table: &Table<'_>,
        (probe, token): (Option<&Probe>, Option<&Token>),
        skew: &mut Option<i64>,
        read: impl Fn(&Probe, &Reply) -> Option<T>,
    ) -> texts::Heard<T> {
        let agreed = |probe: &&Probe| !probe.guess || self.agreed.contains(&table.provider.id);
        let Some(probe) = probe.filter(agreed) else { return texts::Heard::Untold };
        let silent = || texts::Heard::Silent(probe.call());
        let Ok(outgoing) = table.provider.dialect.probe(probe, &table.account(token), self.now()) else { return silent() };
        let Ok(reply) = self.exchange(table.client, outgoing, table.limit, skew).await else { return silent() };
        read(probe, &reply).map_or_else(silent, |told| texts::Heard::Told(told, probe.call()))
    }

    async fn log_in(&self, table: &Table<'_>, skew: &mut Option<i64>) -> (Asked, Option<Token>) {
        let dialect = &table.provider.dialect;
        let asked =
            |heard| Asked { kind: Kind::Login, asks: None, call: "the login".to_owned(), heard, tells_sandbox: false, guess: false };
        let written = dialect.login(&table.account(None), self.now());
        let Some(Ok(outgoing)) = written else { return (asked(unwritten("the login cannot be written")), None) };
        let reply = match self.exchange(table.client, outgoing, table.limit, skew).await {
            Err(lost) => return (asked(Heard::Lost(lost)), None),
            Ok(reply) => reply,
        };
        if let Ok(token) = dialect.read_login(&reply, self.now()) {
            return (asked(Heard::Alive(None)), Some(token));
        }
        // Read again without what it may echo.
        let reply = table.masked(reply, None);
        (asked(refused(dialect.classify(Kind::Login, &reply, ""), &reply, (None, *skew))), None)
    }

    async fn probe(&self, table: &Table<'_>, probe: &Probe, token: Option<&Token>, skew: &mut Option<i64>) -> Asked {
        let dialect = &table.provider.dialect;
        let tells_sandbox = probe.tells().iter().flatten().any(|cause| *cause == Cause::SandboxMismatch);
        let asked =
            |heard| Asked { kind: Kind::Probe, asks: Some(probe.asks), call: probe.call(), heard, tells_sandbox, guess: probe.guess };
        let outgoing = match dialect.probe(probe, &table.account(token), self.now()) {
            Ok(outgoing) => outgoing,
            Err(problem) => return asked(unwritten(&problem.why)),
        };
        match self.exchange(table.client, outgoing, table.limit, skew).await {
            Err(lost) => asked(Heard::Lost(lost)),
            Ok(reply) => asked(table.heard(probe, reply, (token, *skew))),
        }
    }

    /// Only whether somebody answers there, and the time; carries nothing of ours.
    async fn knock(&self, provider: &Provider, client: &Client, skew: &mut Option<i64>) -> Option<Asked> {
        let url: Uri = provider.base_url.parse().ok()?;
        let outgoing = Outgoing { method: Method::GET, url, headers: HeaderMap::new(), body: Bytes::new() };
        let began = self.clock.wall();
        let heard = match client.exchange_theirs(outgoing, limit(provider)).await {
            Err(lost) => Heard::Lost(lost),
            Ok(reply) => {
                *skew = way::skew(&reply.headers, began, self.clock.wall());
                Heard::Answers(reply.status.as_u16())
            }
        };
        Some(Asked { kind: Kind::Probe, asks: None, call: "a bare request".to_owned(), heard, tells_sandbox: false, guess: false })
    }

    async fn exchange(&self, client: &Client, outgoing: Outgoing, limit: Duration, skew: &mut Option<i64>) -> Result<Reply, Lost> {
        let began = self.clock.wall();
        let reply = client.exchange(outgoing, limit).await?;
        *skew = skew.or_else(|| way::skew(&reply.headers, began, self.clock.wall()));
        Ok(reply)
    }

    fn now(&self) -> Timestamp {
        Timestamp::try_from(self.clock.wall()).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

impl Table<'_> {
    fn account<'t>(&'t self, token: Option<&'t Token>) -> Account<'t> {
        Account {
            base_url: &self.provider.base_url,
            credential: self.credential,
            params: &self.provider.params,
            sender: self.provider.sender.as_deref(),
            token,
        }
    }

    /// Without what it may echo: its words are shown.
    fn masked(&self, reply: Reply, token: Option<&Token>) -> Reply {
        Mask::of(self.credential.maskable().chain(token.into_iter().flat_map(Token::maskable))).over(reply)
    }

    fn heard(&self, probe: &Probe, reply: Reply, beside: Beside<'_>) -> Heard {
        let dialect = &self.provider.dialect;
        let probed = dialect.read_probe(probe, &reply);
        if probed.alive == Some(true) {
            return Heard::Alive(probed.balance);
        }
        let reply = self.masked(reply, beside.0);
        let mut finding = dialect.classify(Kind::Probe, &reply, "");
        let said = probed.balance.map(|(left, unit)| format!("{left} {unit} left").replace("  ", " "));
        if let Some(cause) = probed.cause {
            (finding.outcome, finding.certainty, finding.alternatives) = (Outcome::Refused(cause), probed.certainty, probed.alternatives);
            finding.says = said.or(finding.says).or_else(|| Some(format!("so says the answer to {}", probe.call())));
        } else if finding.outcome.cause().is_none() {
            finding.outcome = Outcome::Unknown(Cause::ReplyUnreadable);
        }
        refused(finding, &reply, beside)
    }
}

/// What is known beside a reply: the token it was asked with, and how far our clock is ahead.
type Beside<'a> = (Option<&'a Token>, Option<i64>);

/// A refusal, narrowed by what is known at once, as the pipeline narrows its own.
fn refused(mut finding: Finding, reply: &Reply, (token, skew): Beside<'_>) -> Heard {
    let date = skew.map(|skew| Learned::date(Duration::from_secs(skew.unsigned_abs())));
    let address = Learned::address(&String::from_utf8_lossy(&reply.body));
    let claims = token.into_iter().flat_map(Token::claims).map(|claim| Learned::claim(claim.cause, claim.holds));
    let mut learned = Vec::new();
    if let Outcome::Refused(cause) = finding.outcome {
        let suspects = Suspects::new(cause, finding.certainty, &finding.alternatives);
        let (left, told) = narrowed(suspects, date.into_iter().chain(address).chain(claims));
        finding.outcome = Outcome::Refused(left.cause);
        (finding.certainty, finding.alternatives, learned) = (left.certainty, left.alternatives, told);
    }
    Heard::Refused(Box::new(Refusal { finding, status: reply.status.as_u16(), learned }))
}

fn unwritten(why: &str) -> Heard {
    Heard::Lost(Lost::Unsent { cause: Cause::CredentialMissing, detail: why.to_owned() })
}

async fn looked(client: &Client, base_url: &str, limit: Duration) -> Result<Way, Lost> {
    let wrong = |_| Lost::Unsent { cause: Cause::EndpointWrong, detail: "`base_url` is no URL".to_owned() };
    client.look(&base_url.parse::<Uri>().map_err(wrong)?, limit).await
}

fn limit(provider: &Provider) -> Duration {
    provider.timeout.min(STEP)
}

fn is_open(way: &Result<Way, Lost>) -> bool {
    way.as_ref().is_ok_and(|way| matches!(way.connected, Some(Ok(()))) && way.certificate.as_ref().is_none_or(Result::is_ok))
}
