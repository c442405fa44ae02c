//! The token that we read with: who gets it, how long it lasts, when it is renewed and when that no
//! longer helps. One login or renewal serves all who wait; a login that was refused is repeated only
//! after a pause that doubles, or with another proof. The token lives in memory only.

mod proof;

use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;
use serde_json::json;

use crate::clock::{Clock, Moment};
use crate::secret::SecretString;
use crate::vault::error::ReadError;
use crate::vault::openbao::http::Ask;
use crate::vault::openbao::reply::{self, Granted};
use crate::vault::openbao::server::Server;
use crate::vault::openbao::session::proof::{Proof, Wrapped};
use crate::vault::settings::Auth;

/// After a login that was refused.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// An old token that still works serves this long before the next try to get a newer one.
const RENEW_AGAIN: Duration = Duration::from_secs(5);
const NEVER: Moment = Moment(Duration::MAX);

/// Who we are to a server.
#[derive(Debug)]
pub(super) struct Session {
    auth: Auth,
    clock: Arc<dyn Clock>,
    state: tokio::sync::Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    held: Option<Held>,
    refused: Option<Refused>,
    wrapped: Option<Wrapped>,
    /// Tokens got so far.
    count: u64,
}

/// A token and its number.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) secret: Arc<SecretString>,
    pub(super) number: u64,
}

#[derive(Clone, Debug)]
struct Held {
    token: Token,
    /// Its life when it was new.
    life: Option<Duration>,
    renew_at: Moment,
    ends: Moment,
    renewable: bool,
}

/// A login that was refused.
#[derive(Debug)]
struct Refused {
    error: ReadError,
    proof: Proof,
    until: Moment,
    step: Duration,
}

impl Session {
    pub(super) fn new(auth: Auth, clock: Arc<dyn Clock>) -> Self {
        Self { auth, clock, state: tokio::sync::Mutex::default() }
    }

    pub(super) fn auth(&self) -> &Auth {
        &self.auth
    }

    /// A token with life in it.
    pub(super) async fn token(&self, server: &Server) -> Result<Token, ReadError> {
        let mut state = self.state.lock().await;
        self.freshen(server, &mut state).await
    }

    /// Which token is in use; none was got yet, or it is gone.
    pub(super) async fn number(&self) -> Option<u64> {
        self.state.lock().await.held.as_ref().map(|held| held.token.number)
    }

    /// Another than `dead`, which the server no longer knows.
    pub(super) async fn token_after(&self, server: &Server, dead: &Token) -> Result<Token, ReadError> {
        let mut state = self.state.lock().await;
        if state.held.as_ref().is_none_or(|held| held.token.number == dead.number) {
            state.held = None;
            let fresh = self.freshen(server, &mut state).await?;
            if fresh.secret.expose_secret() == dead.secret.expose_secret() {
                state.held = None;
                let why = "it has expired or was revoked; put a fresh one into the file, it is used at once";
                return Err(self.refusal(server, why.to_owned()));
            }
            return Ok(fresh);
        }
        self.freshen(server, &mut state).await
    }

    /// Renews a token that is due, so that it outlives the pauses between reads.
    pub(super) async fn tend(&self, server: &Server) {
        let mut state = self.state.lock().await;
        let due = state.held.as_ref().is_some_and(|held| self.clock.now() >= held.renew_at);
        if due {
            // Whoever reads next is told what is wrong.
            server.within(self.freshen(server, &mut state)).await.map(drop).unwrap_or_default();
        }
    }

    /// Whether the server still knows a token that was forbidden something.
    pub(super) async fn is_known(&self, server: &Server, token: &Token) -> Result<bool, ReadError> {
        let answer = server.ask(&Ask::get("auth/token/lookup-self".to_owned(), &token.secret)).await?;
        Ok(answer.status.is_success())
    }

    async fn freshen(&self, server: &Server, state: &mut State) -> Result<Token, ReadError> {
        if let Auth::TokenFile(file) = &self.auth {
            self.adopt(server, state, proof::line(file.clone()).await?).await?;
        }
        let now = self.clock.now();
        let due = match &state.held {
            Some(held) if now < held.renew_at => return Ok(held.token.clone()),
            Some(held) if held.renewable && now < held.ends => Some(held.clone()),
            Some(_) | None => None,
        };
        if let Some(held) = due
            && let Some(renewed) = self.renew(server, &held).await
        {
            let lasting = renewed.life.zip(held.life).is_none_or(|(now, first)| now >= first / 2);
            state.held = Some(Held { life: held.life, ..renewed });
            if lasting {
                return Ok(held.token);
            }
        }
        self.replace(server, state).await
    }

    /// A new login; while it cannot be had, the old token serves to its end.
    async fn replace(&self, server: &Server, state: &mut State) -> Result<Token, ReadError> {
        let error = match self.log_in(server, state).await {
            Ok(token) => return Ok(token),
            Err(error) => error,
        };
        let now = self.clock.now();
        match &mut state.held {
            Some(held) if now < held.ends => {
                held.renew_at = now.saturating_add(RENEW_AGAIN);
                Ok(held.token.clone())
            }
            Some(_) | None => Err(error),
        }
    }

    /// Takes a token that somebody else got; what is known of it is asked for once.
    async fn adopt(&self, server: &Server, state: &mut State, found: SecretString) -> Result<(), ReadError> {
        if state.held.as_ref().is_some_and(|held| held.token.secret.expose_secret() == found.expose_secret()) {
            return Ok(());
        }
        let secret = Arc::new(found);
        let looked = server.ask(&Ask::get("auth/token/lookup-self".to_owned(), &secret)).await?;
        // A token that may not look at itself may still read.
        let granted = reply::looked_up(looked.json().as_ref());
        state.held = Some(self.held(state, secret, &granted));
        Ok(())
    }

    async fn renew(&self, server: &Server, held: &Held) -> Option<Held> {
        let ask = Ask::post("auth/token/renew-self".to_owned(), Some(&held.token.secret), &json!({}));
        let answer = server.ask(&ask).await.ok().filter(|answer| answer.status.is_success())?;
        let granted = reply::granted(answer.json())?;
        Some(self.lasting(held.token.clone(), &granted))
    }

    async fn log_in(&self, server: &Server, state: &mut State) -> Result<Token, ReadError> {
        if matches!(self.auth, Auth::TokenFile(_)) {
            return Err(self.refusal(server, "it has run out; put a fresh one into the file, it is used at once".to_owned()));
        }
        let proof = proof::gather(&self.auth, server, &mut state.wrapped).await?;
        if let Some(refused) = state.refused.as_ref().filter(|refused| self.clock.now() < refused.until && refused.proof == proof) {
            return Err(refused.error.clone());
        }
        let ask = Ask::post(format!("auth/{}/login", proof::mount(&self.auth)), None, &proof.body());
        let answer = server.ask(&ask).await?;
        let json = answer.json();
        if !answer.status.is_success() {
            let said = reply::complaint(json.as_ref(), &proof.secrets());
            let why = format!(
                "status {}{}{said}; {}",
                answer.status.as_u16(),
                if said.is_empty() { "" } else { ", " },
                proof::remedy(&self.auth)
            );
            return Err(self.note(state, proof, self.refusal(server, why)));
        }
        let granted = reply::granted(json);
        let Some((secret, granted)) = granted.and_then(|mut granted| Some((granted.token.take()?, granted))) else {
            let what = "the answer to the login has no `auth.client_token`".into();
            return Err(ReadError::BadReply { path: ask.path.into(), place: server.place().into(), what });
        };
        state.refused = None;
        let held = self.held(state, Arc::new(secret), &granted);
        Ok(state.held.insert(held).token.clone())
    }

    /// Remembers a refusal, so that it is not asked for again and again.
    fn note(&self, state: &mut State, proof: Proof, error: ReadError) -> ReadError {
        let step = match &state.refused {
            Some(refused) if refused.proof == proof => refused.step.saturating_mul(2).min(LONGEST_PAUSE),
            Some(_) | None => FIRST_PAUSE,
        };
        let until = self.clock.now().saturating_add(step.mul_f64(0.75 + self.clock.random_fraction() / 4.0));
        state.refused = Some(Refused { error: error.clone(), proof, until, step });
        error
    }

    fn held(&self, state: &mut State, secret: Arc<SecretString>, granted: &Granted) -> Held {
        state.count = state.count.saturating_add(1);
        self.lasting(Token { secret, number: state.count }, granted)
    }

    /// Due at two thirds of its life, a little earlier by the dice.
    fn lasting(&self, token: Token, granted: &Granted) -> Held {
        let now = self.clock.now();
        let due = |life: Duration| now.saturating_add(life.mul_f64(2.0 / 3.0 - 0.06 * self.clock.random_fraction()));
        Held {
            token,
            life: granted.lasts,
            renew_at: granted.lasts.map_or(NEVER, due),
            ends: granted.lasts.map_or(NEVER, |life| now.saturating_add(life)),
            renewable: granted.renewable,
        }
    }

    fn refusal(&self, server: &Server, why: String) -> ReadError {
        ReadError::LoginRefused { place: server.place().into(), how: proof::name(&self.auth), why: why.into() }
    }
}
