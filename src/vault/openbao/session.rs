//! The token for reads: its login, lifetime, renewal and replacement. All waiting reads share one
//! login or renewal. A rejected login is repeated only after a pause that doubles, or with another
//! proof. The token is kept in memory only.

mod proof;

use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;
use serde_json::json;

use crate::clock::{Clock, Moment};
use crate::secret::SecretString;
use crate::vault::error::ReadError;
use crate::vault::openbao::http::VaultRequest;
use crate::vault::openbao::reply::{self, TokenGrant};
use crate::vault::openbao::server::VaultServer;
use crate::vault::openbao::session::proof::{LoginProof, UnwrappedSecretId};
use crate::vault::openbao::settings::OpenBaoAuth;

/// The first pause after a rejected login.
const MIN_LOGIN_BACKOFF: Duration = Duration::from_secs(1);
const MAX_LOGIN_BACKOFF: Duration = Duration::from_mins(1);
/// How long to use an old token that still works before the next try to replace it.
const RENEWAL_RETRY_DELAY: Duration = Duration::from_secs(5);
const NEVER: Moment = Moment(Duration::MAX);

/// The sidecar's login at a server.
#[derive(Debug)]
pub(super) struct VaultSession {
    auth: OpenBaoAuth,
    clock: Arc<dyn Clock>,
    state: tokio::sync::Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    held_token: Option<HeldToken>,
    rejected_login: Option<RejectedLogin>,
    wrapped: Option<UnwrappedSecretId>,
    /// The number of tokens so far.
    token_count: u64,
}

/// A token and its number.
#[derive(Clone, Debug)]
pub(super) struct VaultToken {
    pub(super) secret: Arc<SecretString>,
    pub(super) generation: u64,
}

#[derive(Clone, Debug)]
struct HeldToken {
    token: VaultToken,
    /// Its full lifetime.
    initial_ttl: Option<Duration>,
    renew_at: Moment,
    expires_at: Moment,
    renewable: bool,
}

/// A rejected login.
#[derive(Debug)]
struct RejectedLogin {
    error: ReadError,
    proof: LoginProof,
    until: Moment,
    delay: Duration,
}

impl VaultSession {
    pub(super) fn new(auth: OpenBaoAuth, clock: Arc<dyn Clock>) -> Self {
        Self {
            auth,
            clock,
            state: tokio::sync::Mutex::default(),
        }
    }

    pub(super) fn auth(&self) -> &OpenBaoAuth {
        &self.auth
    }

    /// A token that has not expired.
    pub(super) async fn token(&self, server: &VaultServer) -> Result<VaultToken, ReadError> {
        let mut state = self.state.lock().await;
        self.ensure_fresh(server, &mut state).await
    }

    /// The generation of the current token; none if there is no token.
    pub(super) async fn token_generation(&self) -> Option<u64> {
        self.state
            .lock()
            .await
            .held_token
            .as_ref()
            .map(|held| held.token.generation)
    }

    /// A token other than `dead`, which the server no longer accepts.
    pub(super) async fn replace_token(
        &self,
        server: &VaultServer,
        dead: &VaultToken,
    ) -> Result<VaultToken, ReadError> {
        let mut state = self.state.lock().await;
        if state
            .held_token
            .as_ref()
            .is_none_or(|held| held.token.generation == dead.generation)
        {
            state.held_token = None;
            let fresh = self.ensure_fresh(server, &mut state).await?;
            if fresh.secret.expose_secret() == dead.secret.expose_secret() {
                state.held_token = None;
                let why = "it has expired or was revoked; put a fresh one into the file, it is used at once";
                return Err(self.login_error(server, why.to_owned()));
            }
            return Ok(fresh);
        }
        self.ensure_fresh(server, &mut state).await
    }

    /// Renews a token that is due, so that it outlives the pauses between reads.
    pub(super) async fn renew_due(&self, server: &VaultServer) {
        let mut state = self.state.lock().await;
        let due = state
            .held_token
            .as_ref()
            .is_some_and(|held| self.clock.now() >= held.renew_at);
        if due {
            // The next read returns the error.
            server
                .with_timeout(self.ensure_fresh(server, &mut state))
                .await
                .map(drop)
                .unwrap_or_default();
        }
    }

    /// Whether a token that got "permission denied" is still valid.
    pub(super) async fn is_known(
        &self,
        server: &VaultServer,
        token: &VaultToken,
    ) -> Result<bool, ReadError> {
        let answer = server
            .send(&VaultRequest::get(
                "auth/token/lookup-self".to_owned(),
                &token.secret,
            ))
            .await?;
        Ok(answer.status.is_success())
    }

    async fn ensure_fresh(
        &self,
        server: &VaultServer,
        state: &mut State,
    ) -> Result<VaultToken, ReadError> {
        if let OpenBaoAuth::TokenFile(file) = &self.auth {
            self.adopt_token(server, state, proof::read_single_line(file.clone()).await?)
                .await?;
        }
        let now = self.clock.now();
        let due = match &state.held_token {
            Some(held) if now < held.renew_at => return Ok(held.token.clone()),
            Some(held) if held.renewable && now < held.expires_at => Some(held.clone()),
            Some(_) | None => None,
        };
        if let Some(held) = due
            && let Some(renewed) = self.renew(server, &held).await
        {
            let lasting = renewed
                .initial_ttl
                .zip(held.initial_ttl)
                .is_none_or(|(now, first)| now >= first / 2);
            state.held_token = Some(HeldToken {
                initial_ttl: held.initial_ttl,
                ..renewed
            });
            if lasting {
                return Ok(held.token);
            }
        }
        self.relogin(server, state).await
    }

    /// Logs in again; if that fails, the old token stays in use until it expires.
    async fn relogin(
        &self,
        server: &VaultServer,
        state: &mut State,
    ) -> Result<VaultToken, ReadError> {
        let error = match self.log_in(server, state).await {
            Ok(token) => return Ok(token),
            Err(error) => error,
        };
        let now = self.clock.now();
        match &mut state.held_token {
            Some(held) if now < held.expires_at => {
                held.renew_at = now.saturating_add(RENEWAL_RETRY_DELAY);
                Ok(held.token.clone())
            }
            Some(_) | None => Err(error),
        }
    }

    /// Uses a token from a file; looks up its lifetime once.
    async fn adopt_token(
        &self,
        server: &VaultServer,
        state: &mut State,
        found: SecretString,
    ) -> Result<(), ReadError> {
        if state
            .held_token
            .as_ref()
            .is_some_and(|held| held.token.secret.expose_secret() == found.expose_secret())
        {
            return Ok(());
        }
        let secret = Arc::new(found);
        let looked = server
            .send(&VaultRequest::get(
                "auth/token/lookup-self".to_owned(),
                &secret,
            ))
            .await?;
        // A token that may not look itself up may still read.
        let granted = reply::token_lookup(looked.json().as_ref());
        state.held_token = Some(self.hold_token(state, secret, &granted));
        Ok(())
    }

    async fn renew(&self, server: &VaultServer, held: &HeldToken) -> Option<HeldToken> {
        let ask = VaultRequest::post(
            "auth/token/renew-self".to_owned(),
            Some(&held.token.secret),
            &json!({}),
        );
        let answer = server
            .send(&ask)
            .await
            .ok()
            .filter(|answer| answer.status.is_success())?;
        let granted = reply::token_grant(answer.json())?;
        Some(self.held_token(held.token.clone(), &granted))
    }

    async fn log_in(
        &self,
        server: &VaultServer,
        state: &mut State,
    ) -> Result<VaultToken, ReadError> {
        if matches!(self.auth, OpenBaoAuth::TokenFile(_)) {
            return Err(self.login_error(
                server,
                "it has run out; put a fresh one into the file, it is used at once".to_owned(),
            ));
        }
        let proof = proof::read_proof(&self.auth, server, &mut state.wrapped).await?;
        if let Some(refused) = state
            .rejected_login
            .as_ref()
            .filter(|refused| self.clock.now() < refused.until && refused.proof == proof)
        {
            return Err(refused.error.clone());
        }
        let ask = VaultRequest::post(
            format!("auth/{}/login", proof::login_mount(&self.auth)),
            None,
            &proof.body(),
        );
        let answer = server.send(&ask).await?;
        let json = answer.json();
        if !answer.status.is_success() {
            let summary = reply::error_summary(json.as_ref(), &proof.secrets());
            let why = format!(
                "status {}{}{summary}; {}",
                answer.status.as_u16(),
                if summary.is_empty() { "" } else { ", " },
                proof::remedy(&self.auth)
            );
            return Err(self.record_rejection(state, proof, self.login_error(server, why)));
        }
        let granted = reply::token_grant(json);
        let Some((secret, granted)) =
            granted.and_then(|mut granted| Some((granted.token.take()?, granted)))
        else {
            let what = "the answer to the login has no `auth.client_token`".into();
            return Err(ReadError::InvalidReply {
                path: ask.path.into(),
                location: server.location().into(),
                what,
            });
        };
        state.rejected_login = None;
        let held = self.hold_token(state, Arc::new(secret), &granted);
        Ok(state.held_token.insert(held).token.clone())
    }

    /// Records a rejection, so that the same login is not repeated at once.
    fn record_rejection(
        &self,
        state: &mut State,
        proof: LoginProof,
        error: ReadError,
    ) -> ReadError {
        let step = match &state.rejected_login {
            Some(refused) if refused.proof == proof => {
                refused.delay.saturating_mul(2).min(MAX_LOGIN_BACKOFF)
            }
            Some(_) | None => MIN_LOGIN_BACKOFF,
        };
        let until = self
            .clock
            .now()
            .saturating_add(step.mul_f64(0.75 + self.clock.random_fraction() / 4.0));
        state.rejected_login = Some(RejectedLogin {
            error: error.clone(),
            proof,
            until,
            delay: step,
        });
        error
    }

    fn hold_token(
        &self,
        state: &mut State,
        secret: Arc<SecretString>,
        granted: &TokenGrant,
    ) -> HeldToken {
        state.token_count = state.token_count.saturating_add(1);
        self.held_token(
            VaultToken {
                secret,
                generation: state.token_count,
            },
            granted,
        )
    }

    /// Due at two thirds of its lifetime, a little earlier by jitter.
    fn held_token(&self, token: VaultToken, granted: &TokenGrant) -> HeldToken {
        let now = self.clock.now();
        let due = |life: Duration| {
            now.saturating_add(life.mul_f64(2.0 / 3.0 - 0.06 * self.clock.random_fraction()))
        };
        HeldToken {
            token,
            initial_ttl: granted.ttl,
            renew_at: granted.ttl.map_or(NEVER, due),
            expires_at: granted.ttl.map_or(NEVER, |life| now.saturating_add(life)),
            renewable: granted.renewable,
        }
    }

    fn login_error(&self, server: &VaultServer, why: String) -> ReadError {
        ReadError::LoginRejected {
            location: server.location().into(),
            login_method: proof::login_name(&self.auth),
            why: why.into(),
        }
    }
}
