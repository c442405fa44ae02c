//! How an attempt gets what it proves itself with: the vault's newest credential and, where
//! the service wants a login first, one shared token. One login serves all who wait for it,
//! whatever came of it, and what was refused is not asked for again with the same credential.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use crate::dialect::{Finding, Token};
use crate::policy::Held;
use crate::proxy::link::{Link, bare, lost_finding, unsent};
use crate::proxy::session::EVERY_LOGIN;
use crate::secret::{Credential, Version};
use crate::sms::{Cause, Kind, Outcome};
use crate::telemetry::{AttemptEnded, TokenExpiry};
use crate::vault::Error;

/// What one attempt proves itself with.
#[derive(Clone, Debug)]
pub(super) struct Pass {
    pub(super) credential: Arc<Credential>,
    pub(super) token: Option<Arc<Token>>,
    pub(super) held: Held,
}

/// No pass could be had: nothing of the message was written.
#[derive(Clone, Debug)]
pub(super) struct NoPass {
    pub(super) finding: Finding,
    pub(super) held: Held,
    /// For ops: what happened, never a value.
    pub(super) detail: Option<String>,
}

impl Link {
    /// The credential and token to send with; logs in, within `limit`, if there is none. `trial`: somebody must
    /// try what was refused before.
    pub(super) async fn pass(&self, trial: bool, limit: Duration) -> Result<Pass, Box<NoPass>> {
        let credential = self.credential().await?;
        if let Some(pass) = self.ready(&credential) {
            return Ok(pass);
        }
        // Its token was refused a moment ago: a login shows the newest that the vault has, not what may be dead as well. A
        // vault that could not say is not waited for once more: the last good one is what there is.
        if self.doubted(credential.version).is_some() && !self.vault_fails() {
            self.ask_vault(credential.version).await;
        }
        self.shared_login(trial, limit).await
    }

    /// One login for all who wait for it, with what is newest when its turn comes.
    async fn shared_login(&self, trial: bool, limit: Duration) -> Result<Pass, Box<NoPass>> {
        let mut ended = self.login.ended.subscribe();
        let before = self.session().ended();
        loop {
            let turn = tokio::select! {
                biased;
                turn = self.login.gate.lock() => Some(turn),
                Ok(()) = ended.changed() => None,
            };
            let credential = self.credential().await?;
            if let Some(pass) = self.ready(&credential) {
                return Ok(pass);
            }
            let known = self.session().known_failure(credential.version, trial, before);
            if let Some(finding) = known {
                return self.without_login(credential, finding);
            }
            if turn.is_some() {
                return self.log_in(credential, limit).await;
            }
        }
    }

    /// The pass of a message. One whose version was refused a moment ago waits for what the vault says of it,
    /// instead of being sent once more; only probes may use it meanwhile.
    pub(super) async fn pass_undoubted(&self, trial: bool, limit: Duration) -> Result<Pass, Box<NoPass>> {
        let pass = self.pass(trial, limit).await?;
        // A token that is ready is none of those that were refused.
        if trial || pass.token.is_some() || self.doubted(pass.held.version).is_none() {
            return Ok(pass);
        }
        self.ask_vault(pass.held.version).await;
        let pass = self.pass(trial, limit).await?;
        let Some(mut finding) = self.doubted(pass.held.version) else { return Ok(pass) };
        finding.outcome = finding.outcome.cause().map_or(finding.outcome.clone(), Outcome::Unsent);
        Err(Box::new(NoPass { finding, held: pass.held, detail: None }))
    }

    fn doubted(&self, version: Version) -> Option<Finding> {
        self.session().doubted(version, self.around.now())
    }

    fn vault_fails(&self) -> bool {
        self.provider.credential.as_ref().is_some_and(|reference| self.around.keeper.failure(reference).is_some())
    }

    /// One read of the vault for all who doubt this version.
    pub(super) async fn ask_vault(&self, version: Version) {
        if let Some(reference) = &self.provider.credential {
            // A vault that cannot be read leaves things as they are; its own event says so.
            self.around.keeper.reread(reference, version).await.ok();
        }
    }

    async fn credential(&self) -> Result<Arc<Credential>, Box<NoPass>> {
        let Some(reference) = &self.provider.credential else {
            return Err(NoPass::ours(Cause::CredentialMissing, Held::default(), "this provider has no `credential`".to_owned()));
        };
        let read = self.around.keeper.get(reference).await;
        let credential = read.map_err(|error| {
            let cause = if matches!(&error, Error::Read { error, .. } if error.is_missing()) {
                Cause::CredentialMissing
            } else {
                Cause::VaultUnavailable
            };
            NoPass::ours(cause, self.newest(), error.to_string())
        })?;
        let held = Held { version: credential.version, logins: EVERY_LOGIN };
        match self.provider.dialect.check_credential(&credential).first() {
            None => Ok(credential),
            Some(shape) => {
                let held = if self.provider.dialect.has_token() { held } else { Held::from(credential.version) };
                let missing = credential.expose(&shape.field).is_none();
                let cause = if missing { Cause::CredentialMissing } else { Cause::CredentialRejected };
                Err(NoPass::ours(cause, held, format!("the vault's field `{}` {}", shape.field, shape.what)))
            }
        }
    }

    /// What can be used without a login: the credential alone, or a token.
    fn ready(&self, credential: &Arc<Credential>) -> Option<Pass> {
        let pass = |token, held| Pass { credential: Arc::clone(credential), token, held };
        if !self.provider.dialect.has_token() {
            return Some(pass(None, Held::from(credential.version)));
        }
        let bearer = self.session().ready(credential.version, self.around.wall(), self.around.now())?;
        Some(pass(Some(bearer.token), bearer.held))
    }

    async fn log_in(&self, credential: Arc<Credential>, limit: Duration) -> Result<Pass, Box<NoPass>> {
        let began = self.around.now();
        let bare = Pass { credential: Arc::clone(&credential), token: None, held: Held::from(credential.version) };
        let (finding, status, token) = self.ask_for_token(&bare, limit).await;
        let now = self.around.now();
        AttemptEnded { provider: &self.provider.id, kind: Kind::Login, outcome: &finding.outcome, status, took: now.since(began) }
            .emit(&self.around.telemetry);
        let Some(token) = token else {
            self.session().not_logged_in(credential.version, finding.clone(), now);
            self.login.ended.send_replace(());
            return self.without_login(credential, finding);
        };
        let token = Arc::new(token);
        TokenExpiry { provider: &self.provider.id, at: token.expires.and_then(wall_time) }.emit(&self.around.telemetry);
        let held = self.session().logged_in(Arc::clone(&token), credential.version, self.around.wall());
        self.login.ended.send_replace(());
        Ok(Pass { credential, token: Some(token), held })
    }

    /// The login failed: an old token that still has time left serves on; else the credential is what was refused.
    fn without_login(&self, credential: Arc<Credential>, finding: Finding) -> Result<Pass, Box<NoPass>> {
        match self.session().alive(credential.version, self.around.wall()) {
            Some(bearer) => Ok(Pass { token: Some(Arc::clone(&bearer.token)), held: bearer.held, credential }),
            None => Err(NoPass::refused(finding, credential.version)),
        }
    }

    async fn ask_for_token(&self, pass: &Pass, limit: Duration) -> (Finding, Option<u16>, Option<Token>) {
        let dialect = &self.provider.dialect;
        let now = self.around.wall();
        let outgoing = match dialect.login(&self.account(pass), now) {
            Some(Ok(outgoing)) => outgoing,
            Some(Err(problem)) => return (unsent(problem.cause), None, None),
            None => return (unsent(Cause::NotTranslatable), None, None),
        };
        let reply = match self.client.exchange(outgoing, self.provider.timeout.min(limit)).await {
            Err(lost) => return (lost_finding(&lost), None, None),
            Ok(reply) => reply,
        };
        let status = Some(reply.status.as_u16());
        if let Ok(token) = dialect.read_login(&reply, now) {
            return (bare(Outcome::Accepted { id: String::new() }, None), status, Some(token));
        }
        // Read again without what it may echo: its words go to the log.
        (dialect.classify(Kind::Login, &self.without_secrets(reply, pass), ""), status, None)
    }
}

impl NoPass {
    /// The service refused the login, or did not answer it: of the message, no byte was written.
    fn refused(mut finding: Finding, version: Version) -> Box<Self> {
        let cause = finding.outcome.cause().unwrap_or(Cause::ReplyUnreadable);
        finding.outcome = Outcome::Unsent(cause);
        Box::new(Self { finding, held: Held { version, logins: EVERY_LOGIN }, detail: Some("the login failed".to_owned()) })
    }

    fn ours(cause: Cause, held: Held, detail: String) -> Box<Self> {
        Box::new(Self { finding: unsent(cause), held, detail: Some(detail) })
    }
}

fn wall_time(at: Timestamp) -> Option<SystemTime> {
    let seconds = u64::try_from(at.as_second()).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}
