//! How an attempt gets its credential: the newest version in the vault and, where the service has a
//! login, one token that all attempts share. All attempts that wait for a login share its result, and
//! a credential that the login rejected is not sent again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use jiff::Timestamp;

use crate::dialect::{Classification, CredentialProblem, LoginToken, Reply, Untranslatable};
use crate::net::upstream::{ExchangeError, reply_status};
use crate::policy::{CredentialChoice, CredentialRevision};
use crate::provider::auth_context::{AuthContext, AuthError};
use crate::provider::classification::{lost_classification, own_classification};
use crate::provider::token_cache::ALL_GENERATIONS;
use crate::provider::{ProviderClient, ProviderRuntime};
use crate::secret::redact::Redactor;
use crate::secret::{Credential, Version};
use crate::sms::{AttemptKind, Cause, Outcome};
use crate::telemetry::{AttemptFinished, CredentialSuspicious, TokenExpiry};
use crate::vault::Error;

impl ProviderRuntime {
    /// The credential and token of the next attempt. Logs in if there is no token, within `limit`.
    /// A `trial` logs in even with a credential that was rejected before.
    pub(crate) async fn authenticate(
        &self,
        choice: CredentialChoice,
        trial: bool,
        limit: Duration,
    ) -> Result<AuthContext, Box<AuthError>> {
        let credential = self.read_credential(choice).await?;
        if let Some(auth) = self.cached_auth(&credential) {
            return Ok(auth);
        }
        // Its token was rejected a moment ago: the login uses the newest version of the vault, because the old one may
        // be dead too. If the vault is failing, the login uses the last good version without another read.
        if self.recent_rejection(credential.version).is_some() && !self.is_vault_failing() {
            self.reread_vault(credential.version).await;
        }
        self.shared_login(choice, trial, limit).await
    }

    /// The same for a message. If its version was rejected a moment ago, it waits for a read of the vault instead of
    /// sending that version again; only probes may use it meanwhile.
    pub(crate) async fn authenticate_for_attempt(
        &self,
        choice: CredentialChoice,
        trial: bool,
        limit: Duration,
    ) -> Result<AuthContext, Box<AuthError>> {
        let auth = self.authenticate(choice, trial, limit).await?;
        // A token in the cache is not one of the rejected ones.
        if trial || auth.token.is_some() || self.recent_rejection(auth.revision.version).is_none() {
            return Ok(auth);
        }
        self.reread_vault(auth.revision.version).await;
        let auth = self.authenticate(choice, trial, limit).await?;
        let Some(mut classification) = self.recent_rejection(auth.revision.version) else {
            return Ok(auth);
        };
        if let Some(cause) = classification.outcome.cause() {
            classification.outcome = Outcome::Unsent(cause);
        }
        Err(Box::new(AuthError {
            classification,
            revision: auth.revision,
            detail: None,
        }))
    }

    /// One read of the vault for all attempts that doubt this version.
    pub(crate) async fn reread_vault(&self, version: Version) {
        if let Some(reference) = &self.provider.credential {
            // A vault that cannot be read changes nothing here; its own event reports the error.
            self.deps
                .credential_cache
                .reread(reference, version)
                .await
                .ok();
        }
    }

    /// One login for all attempts that wait for it, with the version that is newest when it starts.
    async fn shared_login(
        &self,
        choice: CredentialChoice,
        trial: bool,
        limit: Duration,
    ) -> Result<AuthContext, Box<AuthError>> {
        let mut finished = self.login_queue.finished.subscribe();
        let finished_before = self.token_cache().finished_logins();
        loop {
            let turn = tokio::select! {
                biased;
                turn = self.login_queue.lock.lock() => Some(turn),
                Ok(()) = finished.changed() => None,
            };
            let credential = self.read_credential(choice).await?;
            if let Some(auth) = self.cached_auth(&credential) {
                return Ok(auth);
            }
            let known_failure =
                self.token_cache()
                    .known_failure(credential.version, trial, finished_before);
            if let Some(classification) = known_failure {
                return self.auth_without_login(credential, classification);
            }
            if turn.is_some() {
                // Boxed, because it is rare and large: every attempt would have room for it.
                return Box::pin(self.log_in(credential, limit)).await;
            }
        }
    }

    fn recent_rejection(&self, version: Version) -> Option<Classification> {
        self.token_cache()
            .recent_rejection(version, self.deps.now())
    }

    fn is_vault_failing(&self) -> bool {
        self.provider
            .credential
            .as_ref()
            .is_some_and(|reference| self.deps.credential_cache.last_failure(reference).is_some())
    }

    /// The chosen credential. The newest serves if there is no previous one any more.
    async fn read_credential(
        &self,
        choice: CredentialChoice,
    ) -> Result<Arc<Credential>, Box<AuthError>> {
        let newest = self.newest_revision().version;
        match choice {
            CredentialChoice::Previous => match self.previous_credential(newest) {
                Some(previous) => Ok(previous),
                None => self.read_newest_credential().await,
            },
            CredentialChoice::Newest => self.read_newest_credential().await,
        }
    }

    async fn read_newest_credential(&self) -> Result<Arc<Credential>, Box<AuthError>> {
        let Some(reference) = &self.provider.credential else {
            return Err(AuthError::local(
                Cause::CredentialMissing,
                CredentialRevision::default(),
                "this provider has no `credential`".to_owned(),
            ));
        };
        let credential = self
            .deps
            .credential_cache
            .get(reference)
            .await
            .map_err(|error| {
                let cause = vault_error_cause(&error);
                AuthError::local(cause, self.newest_revision(), error.to_string())
            })?;
        let problems = self.provider.dialect.check_credential(&credential);
        let Some(problem) = problems.iter().find(|problem| problem.is_unusable) else {
            self.warn_of_suspicions(credential.version, &problems);
            return Ok(credential);
        };
        let revision = if self.provider.dialect.requires_login() {
            CredentialRevision {
                version: credential.version,
                token_generation: ALL_GENERATIONS,
            }
        } else {
            CredentialRevision::from(credential.version)
        };
        Err(AuthError::local(
            Cause::CredentialMissing,
            revision,
            format!("the vault's field {problem}"),
        ))
    }

    /// Logs what looks wrong in a credential that is used all the same, once per version.
    fn warn_of_suspicions(&self, version: Version, problems: &[CredentialProblem]) {
        if problems.is_empty()
            || self.warned_version.swap(version.0, Ordering::Relaxed) == version.0
        {
            return;
        }
        CredentialSuspicious {
            provider: &self.provider.id,
            version,
            problem: &suspicion_text(problems),
        }
        .emit(&self.deps.telemetry);
    }

    /// What can be used without a login: the credential alone, or a cached token.
    fn cached_auth(&self, credential: &Arc<Credential>) -> Option<AuthContext> {
        let auth = AuthContext::for_credential(Arc::clone(credential));
        if !self.provider.dialect.requires_login() {
            return Some(auth);
        }
        let cached = self.token_cache().usable_token(
            credential.version,
            self.deps.clock.timestamp(),
            self.deps.now(),
        )?;
        Some(auth.with_token(cached.token, cached.revision))
    }

    async fn log_in(
        &self,
        credential: Arc<Credential>,
        limit: Duration,
    ) -> Result<AuthContext, Box<AuthError>> {
        let version = credential.version;
        let auth = AuthContext::for_credential(Arc::clone(&credential));
        let login = self.request_token(&auth, limit).await;
        let Some(token) = login.token.map(Arc::new) else {
            self.token_cache().record_login_failure(
                version,
                login.classification.clone(),
                self.deps.now(),
            );
            self.login_queue.finished.send_replace(());
            return self.auth_without_login(credential, login.classification);
        };
        TokenExpiry {
            provider: &self.provider.id,
            expires_at: token.expires_at.and_then(to_system_time),
        }
        .emit(&self.deps.telemetry);
        let revision = self.token_cache().record_login(
            Arc::clone(&token),
            version,
            self.deps.clock.timestamp(),
        );
        self.login_queue.finished.send_replace(());
        Ok(auth.with_token(token, revision))
    }

    /// Sends the login request and counts it.
    async fn request_token(&self, auth: &AuthContext, limit: Duration) -> LoginResult {
        let started_at = self.deps.now();
        let request = LoginRequest {
            client: self.as_client(),
            auth,
            now: self.deps.clock.timestamp(),
            limit: self.provider.timeout.min(limit),
        };
        let login = request.send(&self.redactor(auth)).await;
        AttemptFinished {
            provider: &self.provider.id,
            kind: AttemptKind::Login,
            outcome: &login.classification.outcome,
            status: reply_status(&login.reply),
            duration: self.deps.now().since(started_at),
        }
        .emit(&self.deps.telemetry);
        login
    }

    /// After a failed login: an old token that has not expired yet; otherwise the login's failure.
    fn auth_without_login(
        &self,
        credential: Arc<Credential>,
        classification: Classification,
    ) -> Result<AuthContext, Box<AuthError>> {
        let version = credential.version;
        match self
            .token_cache()
            .unexpired_token(version, self.deps.clock.timestamp())
        {
            Some(cached) => Ok(AuthContext::for_credential(credential)
                .with_token(Arc::clone(&cached.token), cached.revision)),
            None => Err(AuthError::login_failed(classification, version)),
        }
    }
}

/// One login that is to be sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LoginRequest<'a> {
    pub(crate) client: ProviderClient<'a>,
    pub(crate) auth: &'a AuthContext,
    pub(crate) now: Timestamp,
    pub(crate) limit: Duration,
}

/// The result of one login.
#[derive(Debug)]
pub(crate) struct LoginResult {
    pub(crate) classification: Classification,
    /// The redacted reply; without its body, which holds the token, if the login was accepted.
    pub(crate) reply: Result<Reply, ExchangeError>,
    pub(crate) token: Option<LoginToken>,
}

impl LoginRequest<'_> {
    /// Logs in once. `redactor` takes the credential out of a reply that rejects it.
    pub(crate) async fn send(&self, redactor: &Redactor) -> LoginResult {
        let reply = match self.exchange().await {
            Ok(reply) => reply,
            Err(lost) => {
                return LoginResult {
                    classification: lost_classification(&lost, redactor),
                    reply: Err(lost),
                    token: None,
                };
            }
        };
        let dialect = &self.client.provider.dialect;
        if let Ok(token) = dialect.read_login(&reply, self.now) {
            let body = Bytes::new();
            return LoginResult {
                classification: own_classification(Outcome::Accepted { id: String::new() }, None),
                reply: Ok(Reply { body, ..reply }),
                token: Some(token),
            };
        }
        // Classified again after redaction: the provider's message goes to the log.
        let reply = redactor.redact_reply_aside(reply, self.limit).await;
        LoginResult {
            classification: dialect.classify(AttemptKind::Login, &reply, ""),
            reply: Ok(reply),
            token: None,
        }
    }

    async fn exchange(&self) -> Result<Reply, ExchangeError> {
        let account = self.client.account(self.auth);
        let dialect = &self.client.provider.dialect;
        let request = dialect
            .login_request(&account, self.now)
            .unwrap_or_else(|| {
                Err(Untranslatable {
                    cause: Cause::NotTranslatable,
                    reason: format!("{} has no login", dialect.name),
                })
            })
            .map_err(|problem| ExchangeError::Unsent {
                cause: problem.cause,
                detail: problem.reason,
            })?;
        self.client.client.exchange(request, self.limit).await
    }
}

/// The cause of a credential that the vault did not return.
pub(crate) fn vault_error_cause(error: &Error) -> Cause {
    if matches!(error, Error::Read { error, .. } if error.is_missing()) {
        Cause::CredentialMissing
    } else {
        Cause::VaultUnavailable
    }
}

/// What looks wrong in a credential, in one clause.
pub(crate) fn suspicion_text(problems: &[CredentialProblem]) -> String {
    let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
    all.join("; ")
}

fn to_system_time(at: Timestamp) -> Option<SystemTime> {
    let seconds = u64::try_from(at.as_second()).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests;
