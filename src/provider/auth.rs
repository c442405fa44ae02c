//! How an attempt gets what it proves itself with: the vault's newest credential and, where
//! the service wants a login first, one shared token. One login serves all who wait for it,
//! whatever came of it, and what was refused is not asked for again with the same credential.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use crate::dialect::{Classification, LoginToken};
use crate::policy::CredentialRevision;
use crate::provider::token_cache::ALL_GENERATIONS;
use crate::provider::{
    ProviderRuntime, lost_classification, own_classification, unsent_classification,
};
use crate::secret::{Credential, Version};
use crate::sms::{AttemptKind, Cause, Outcome};
use crate::telemetry::{AttemptFinished, TokenExpiry};
use crate::vault::Error;

/// What one attempt proves itself with.
#[derive(Clone, Debug)]
pub(crate) struct AuthContext {
    pub(crate) credential: Arc<Credential>,
    pub(crate) token: Option<Arc<LoginToken>>,
    pub(crate) revision: CredentialRevision,
}

/// No pass could be had: nothing of the message was written.
#[derive(Clone, Debug)]
pub(crate) struct AuthError {
    pub(crate) classification: Classification,
    pub(crate) revision: CredentialRevision,
    /// For ops: what happened, never a value.
    pub(crate) detail: Option<String>,
}

impl ProviderRuntime {
    /// The credential and token to send with; logs in, within `limit`, if there is none. `trial`: somebody must
    /// try what was refused before.
    pub(crate) async fn authenticate(
        &self,
        trial: bool,
        limit: Duration,
    ) -> Result<AuthContext, Box<AuthError>> {
        let credential = self.read_credential().await?;
        if let Some(pass) = self.cached_auth(&credential) {
            return Ok(pass);
        }
        // Its token was refused a moment ago: a login shows the newest that the vault has, not what may be dead as well. A
        // vault that could not say is not waited for once more: the last good one is what there is.
        if self.recent_rejection(credential.version).is_some() && !self.is_vault_failing() {
            self.reread_vault(credential.version).await;
        }
        self.shared_login(trial, limit).await
    }

    /// One login for all who wait for it, with what is newest when its turn comes.
    async fn shared_login(
        &self,
        trial: bool,
        limit: Duration,
    ) -> Result<AuthContext, Box<AuthError>> {
        let mut ended = self.login_queue.finished.subscribe();
        let before = self.token_cache().finished_logins();
        loop {
            let turn = tokio::select! {
                biased;
                turn = self.login_queue.lock.lock() => Some(turn),
                Ok(()) = ended.changed() => None,
            };
            let credential = self.read_credential().await?;
            if let Some(pass) = self.cached_auth(&credential) {
                return Ok(pass);
            }
            let known = self
                .token_cache()
                .known_failure(credential.version, trial, before);
            if let Some(finding) = known {
                return self.auth_without_login(credential, finding);
            }
            if turn.is_some() {
                return self.log_in(credential, limit).await;
            }
        }
    }

    /// The pass of a message. One whose version was refused a moment ago waits for what the vault says of it,
    /// instead of being sent once more; only probes may use it meanwhile.
    pub(crate) async fn authenticate_for_attempt(
        &self,
        trial: bool,
        limit: Duration,
    ) -> Result<AuthContext, Box<AuthError>> {
        let pass = self.authenticate(trial, limit).await?;
        // A token that is ready is none of those that were refused.
        if trial || pass.token.is_some() || self.recent_rejection(pass.revision.version).is_none() {
            return Ok(pass);
        }
        self.reread_vault(pass.revision.version).await;
        let pass = self.authenticate(trial, limit).await?;
        let Some(mut finding) = self.recent_rejection(pass.revision.version) else {
            return Ok(pass);
        };
        finding.outcome = finding
            .outcome
            .cause()
            .map_or(finding.outcome.clone(), Outcome::Unsent);
        Err(Box::new(AuthError {
            classification: finding,
            revision: pass.revision,
            detail: None,
        }))
    }

    fn recent_rejection(&self, version: Version) -> Option<Classification> {
        self.token_cache()
            .recent_rejection(version, self.deps.now())
    }

    fn is_vault_failing(&self) -> bool {
        self.provider
            .credential
            .as_ref()
            .is_some_and(|reference| self.deps.keeper.last_failure(reference).is_some())
    }

    /// One read of the vault for all who doubt this version.
    pub(crate) async fn reread_vault(&self, version: Version) {
        if let Some(reference) = &self.provider.credential {
            // A vault that cannot be read leaves things as they are; its own event says so.
            self.deps.keeper.reread(reference, version).await.ok();
        }
    }

    async fn read_credential(&self) -> Result<Arc<Credential>, Box<AuthError>> {
        let Some(reference) = &self.provider.credential else {
            return Err(AuthError::local(
                Cause::CredentialMissing,
                CredentialRevision::default(),
                "this provider has no `credential`".to_owned(),
            ));
        };
        let read = self.deps.keeper.get(reference).await;
        let credential = read.map_err(|error| {
            let cause = if matches!(&error, Error::Read { error, .. } if error.is_missing()) {
                Cause::CredentialMissing
            } else {
                Cause::VaultUnavailable
            };
            AuthError::local(cause, self.newest_revision(), error.to_string())
        })?;
        let held = CredentialRevision {
            version: credential.version,
            token_generation: ALL_GENERATIONS,
        };
        match self.provider.dialect.check_credential(&credential).first() {
            None => Ok(credential),
            Some(shape) => {
                let held = if self.provider.dialect.requires_login() {
                    held
                } else {
                    CredentialRevision::from(credential.version)
                };
                let missing = credential.expose(&shape.field).is_none();
                let cause = if missing {
                    Cause::CredentialMissing
                } else {
                    Cause::CredentialRejected
                };
                Err(AuthError::local(
                    cause,
                    held,
                    format!("the vault's field `{}` {}", shape.field, shape.problem),
                ))
            }
        }
    }

    /// What can be used without a login: the credential alone, or a token.
    fn cached_auth(&self, credential: &Arc<Credential>) -> Option<AuthContext> {
        let pass = |token, held| AuthContext {
            credential: Arc::clone(credential),
            token,
            revision: held,
        };
        if !self.provider.dialect.requires_login() {
            return Some(pass(None, CredentialRevision::from(credential.version)));
        }
        let bearer = self.token_cache().usable_token(
            credential.version,
            self.deps.wall(),
            self.deps.now(),
        )?;
        Some(pass(Some(bearer.token), bearer.revision))
    }

    async fn log_in(
        &self,
        credential: Arc<Credential>,
        limit: Duration,
    ) -> Result<AuthContext, Box<AuthError>> {
        let began = self.deps.now();
        let bare = AuthContext {
            credential: Arc::clone(&credential),
            token: None,
            revision: CredentialRevision::from(credential.version),
        };
        let (finding, status, token) = self.request_token(&bare, limit).await;
        let now = self.deps.now();
        AttemptFinished {
            provider: &self.provider.id,
            kind: AttemptKind::Login,
            outcome: &finding.outcome,
            status,
            duration: now.since(began),
        }
        .emit(&self.deps.telemetry);
        let Some(token) = token else {
            self.token_cache()
                .record_login_failure(credential.version, finding.clone(), now);
            self.login_queue.finished.send_replace(());
            return self.auth_without_login(credential, finding);
        };
        let token = Arc::new(token);
        TokenExpiry {
            provider: &self.provider.id,
            expires_at: token.expires_at.and_then(to_system_time),
        }
        .emit(&self.deps.telemetry);
        let held = self.token_cache().record_login(
            Arc::clone(&token),
            credential.version,
            self.deps.wall(),
        );
        self.login_queue.finished.send_replace(());
        Ok(AuthContext {
            credential,
            token: Some(token),
            revision: held,
        })
    }

    /// The login failed: an old token that still has time left serves on; else the credential is what was refused.
    fn auth_without_login(
        &self,
        credential: Arc<Credential>,
        finding: Classification,
    ) -> Result<AuthContext, Box<AuthError>> {
        match self
            .token_cache()
            .unexpired_token(credential.version, self.deps.wall())
        {
            Some(bearer) => Ok(AuthContext {
                token: Some(Arc::clone(&bearer.token)),
                revision: bearer.revision,
                credential,
            }),
            None => Err(AuthError::login_failed(finding, credential.version)),
        }
    }

    async fn request_token(
        &self,
        pass: &AuthContext,
        limit: Duration,
    ) -> (Classification, Option<u16>, Option<LoginToken>) {
        let dialect = &self.provider.dialect;
        let now = self.deps.wall();
        let outgoing = match dialect.login_request(&self.account(pass), now) {
            Some(Ok(outgoing)) => outgoing,
            Some(Err(problem)) => return (unsent_classification(problem.cause), None, None),
            None => return (unsent_classification(Cause::NotTranslatable), None, None),
        };
        let reply = match self
            .client
            .exchange(outgoing, self.provider.timeout.min(limit))
            .await
        {
            Err(lost) => return (lost_classification(&lost), None, None),
            Ok(reply) => reply,
        };
        let status = Some(reply.status.as_u16());
        if let Ok(token) = dialect.read_login(&reply, now) {
            return (
                own_classification(Outcome::Accepted { id: String::new() }, None),
                status,
                Some(token),
            );
        }
        // Read again without what it may echo: its words go to the log.
        (
            dialect.classify(AttemptKind::Login, &self.redact(reply, pass), ""),
            status,
            None,
        )
    }
}

impl AuthError {
    /// The service refused the login, or did not answer it: of the message, no byte was written.
    fn login_failed(mut finding: Classification, version: Version) -> Box<Self> {
        let cause = finding.outcome.cause().unwrap_or(Cause::ReplyUnreadable);
        finding.outcome = Outcome::Unsent(cause);
        Box::new(Self {
            classification: finding,
            revision: CredentialRevision {
                version,
                token_generation: ALL_GENERATIONS,
            },
            detail: Some("the login failed".to_owned()),
        })
    }

    fn local(cause: Cause, held: CredentialRevision, detail: String) -> Box<Self> {
        Box::new(Self {
            classification: unsent_classification(cause),
            revision: held,
            detail: Some(detail),
        })
    }
}

fn to_system_time(at: Timestamp) -> Option<SystemTime> {
    let seconds = u64::try_from(at.as_second()).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}
