//! Evidence gathered for `diagnosis`: what an attempt brought to light and what is known
//! around it, as plain values.

use std::time::Duration;

use crate::clock::Moment;
use crate::diagnosis::{Context, Diagnosis, Entry, Evidence, Kept, Learned, Suspects, diagnose, narrowed};
use crate::dialect::{Finding, Reply};
use crate::proxy::Proxy;
use crate::proxy::attempt::Tried;
use crate::proxy::link::Link;
use crate::proxy::login::Pass;
use crate::proxy::sending::Sending;
use crate::secret::Version;
use crate::sms::{Cause, Certainty, Kind, Outcome};
use crate::vault::{Kv, SourceSettings};

impl Proxy {
    /// Why an attempt failed and what to do; none: it did not fail.
    pub(super) fn diagnose(&self, tried: &Tried) -> Option<Diagnosis> {
        let evidence = evidence(tried.kind, &tried.finding, tried.status, &tried.learned)?;
        Some(about(&tried.link, tried.attempt.credential.version, &evidence, self.now()))
    }

    /// The same where no attempt was made: everybody was skipped or stood aside.
    pub(super) fn diagnose_bare(&self, sending: &Sending<'_>, cause: Cause) -> Diagnosis {
        let evidence = Evidence {
            kind: Kind::Send,
            cause,
            certainty: Certainty::Certain,
            alternatives: &[],
            status: None,
            code: None,
            says: None,
            learned: &[],
        };
        let around = sending.call.world.links.values().next().map(|link| &link.around);
        if let Some(link) = sending.concerned(cause) {
            return about(link, link.newest().version, &evidence, self.now());
        }
        let (config, uncontrolled) = around.map_or(("", false), |around| (&*around.config, !around.has_control));
        diagnose(&evidence, &Context { config, uncontrolled, ..Context::default() })
    }
}

/// A finding as evidence; none: nothing failed.
pub(super) fn evidence<'a>(kind: Kind, finding: &'a Finding, status: Option<u16>, learned: &'a [Learned]) -> Option<Evidence<'a>> {
    Some(Evidence {
        kind,
        cause: finding.outcome.cause()?,
        certainty: finding.certainty,
        alternatives: &finding.alternatives,
        status,
        code: finding.code.as_deref(),
        says: finding.says.as_deref(),
        learned,
    })
}

/// With what is known around it.
pub(super) fn about(link: &Link, version: Version, evidence: &Evidence<'_>, now: Moment) -> Diagnosis {
    let provider = &link.provider;
    let reference = provider.credential.as_ref();
    let seen = reference.and_then(|reference| link.around.keeper.seen(reference)).filter(|seen| seen.version == version);
    let fields: Vec<String> = provider.dialect.credential_fields().iter().map(|field| field.name.clone()).collect();
    let entry = reference.map(|reference| Entry { vault: &reference.vault, kept: &link.kept, path: &reference.path, fields: &fields });
    let context = Context {
        provider: provider.id.as_str(),
        dialect: &provider.dialect.name,
        base_url: &provider.base_url,
        entry,
        version,
        age: seen.map(|seen| now.since(seen.since)),
        accepted: link.last_accepted().map(|(at, version)| (now.since(at), version)),
        sender: provider.sender.as_deref(),
        timeout: Some(provider.timeout).filter(|timeout| *timeout > Duration::ZERO),
        config: &link.around.config,
        line: provider.line,
        pages: Some(provider.dialect.pages()),
        moved: provider.dialect.has_left(&provider.base_url).then(|| provider.dialect.base_url()),
        outbound: provider.upstream.proxy.is_some() || provider.upstream.source_address.is_some(),
        uncontrolled: !link.around.has_control,
    };
    diagnose(evidence, &context)
}

impl Link {
    /// What is known at once beside an ambiguous refusal, and narrows it: the reply's date, an address it names, the
    /// token's own words, what was accepted before, and what was asked after the same doubt earlier.
    pub(super) fn narrow(&self, finding: &mut Finding, reply: &Reply, pass: &Pass) -> Vec<Learned> {
        let Outcome::Refused(cause) = finding.outcome else { return Vec::new() };
        if finding.alternatives.is_empty() {
            return Vec::new();
        }
        let version = pass.credential.version;
        let claims = pass.token.iter().flat_map(|token| token.claims()).map(|claim| Learned::claim(claim.cause, claim.holds));
        let history = self.last_accepted().and_then(|(_, accepted)| Learned::history(accepted, version));
        let address = Learned::address(&String::from_utf8_lossy(&reply.body));
        let at_once = self.apart(reply).map(Learned::date).into_iter().chain(address).chain(claims).chain(self.lasts(pass)).chain(history);
        let (suspects, mut learned) = narrowed(Suspects::new(cause, finding.certainty, &finding.alternatives), at_once);
        let earlier = self.known(version, &suspects);
        let suspects = earlier.iter().fold(suspects, |suspects, learned| suspects.told(&learned.answer));
        learned.extend(earlier);
        finding.outcome = Outcome::Refused(suspects.cause);
        (finding.certainty, finding.alternatives) = (suspects.certainty, suspects.alternatives);
        learned
    }

    /// How long the token still lasts, by its own words or by the service's.
    fn lasts(&self, pass: &Pass) -> Option<Learned> {
        let left = pass.token.as_ref()?.expires?.duration_since(self.around.wall());
        Duration::try_from(left).ok().map(Learned::token_lasts)
    }

    /// How far the service's clock is from ours.
    fn apart(&self, reply: &Reply) -> Option<Duration> {
        let date = reply.headers.get(http::header::DATE)?.to_str().ok()?;
        let theirs = jiff::fmt::rfc2822::parse(date).ok()?.timestamp();
        Some(self.around.wall().duration_since(theirs).unsigned_abs())
    }
}

/// How a vault keeps its entries.
pub fn kept(source: Option<&SourceSettings>) -> Kept {
    match source {
        Some(SourceSettings::Env { .. }) => Kept::Env,
        Some(SourceSettings::Directory { .. }) => Kept::Directory,
        Some(SourceSettings::OpenBao(server)) => Kept::OpenBao {
            mount: server.mount.as_str().into(),
            namespace: server.namespace.as_deref().map(Into::into),
            versioned: server.kv != Some(Kv::One),
        },
        Some(SourceSettings::Exec { command, .. }) => {
            Kept::Exec { command: command.first().map(String::as_str).unwrap_or_default().into() }
        }
        Some(SourceSettings::Embedded { .. }) | None => Kept::Embedded,
    }
}
