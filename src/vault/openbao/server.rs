//! A vault server as the rest sees it: asked by a few at a time, left alone while it is in trouble,
//! and every status that is about the server, not about the question, turned into its error here.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::clock::Clock;
use crate::vault::error::ReadError;
use crate::vault::openbao::http::{Answer, Ask, Http};
use crate::vault::openbao::pace::Pace;

/// Requests at one time. More entries than this wait for their turn.
const AT_ONCE: usize = 4;

/// One server.
#[derive(Debug)]
pub(super) struct Server {
    http: Http,
    limit: Duration,
    turns: Semaphore,
    pace: Mutex<Pace>,
    clock: Arc<dyn Clock>,
}

impl Server {
    pub(super) fn new(http: Http, limit: Duration, clock: Arc<dyn Clock>) -> Self {
        Self { http, limit, turns: Semaphore::new(AT_ONCE), pace: Mutex::default(), clock }
    }

    pub(super) fn place(&self) -> String {
        self.http.place()
    }

    /// Everything that belongs to one read, within the one time limit of a read.
    pub(super) async fn within<T>(&self, work: impl Future<Output = Result<T, ReadError>>) -> Result<T, ReadError> {
        let Ok(done) = tokio::time::timeout(self.limit, work).await else {
            let hint = "see how busy it is, and the way to it; `timeout` of the vault sets the limit";
            let error = ReadError::TooSlow { place: self.place().into(), limit: self.limit, hint };
            self.ill(&error);
            return Err(error);
        };
        done
    }

    /// Asks once.
    pub(super) async fn ask(&self, ask: &Ask) -> Result<Answer, ReadError> {
        // Not after the wait alone: who need not wait must not be told late what is known.
        self.refuse_ill()?;
        let turn = self.turns.acquire().await;
        turn.as_ref().map_err(|_| ReadError::Interrupted { place: self.place().into() })?;
        self.lock().admit(self.clock.now(), self.limit)?;
        match self.http.exchange(ask).await.and_then(|answer| self.served(answer)) {
            Ok(answer) => {
                self.lock().well();
                Ok(answer)
            }
            Err(error @ ReadError::BadReply { .. }) => {
                self.lock().well();
                Err(error)
            }
            Err(error) => {
                self.ill(&error);
                Err(error)
            }
        }
    }

    fn refuse_ill(&self) -> Result<(), ReadError> {
        self.lock().known(self.clock.now()).map_or(Ok(()), Err)
    }

    fn ill(&self, error: &ReadError) {
        self.lock().ill(error.clone(), self.clock.now(), self.clock.random_fraction());
    }

    fn lock(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers that say that this server cannot serve now. A standby of either product forwards requests by itself;
    /// one that redirects instead is an error, because a token follows no redirect.
    fn served(&self, answer: Answer) -> Result<Answer, ReadError> {
        let status = answer.status.as_u16();
        let why = match status {
            503 if says(&answer, "sealed") => return Err(ReadError::Sealed { place: self.place().into() }),
            300..=399 => {
                "it sends us on to another address, and a token follows no redirect; set `address` to the active server or to the cluster's own name"
            }
            429 => "it limits how often it is asked (a rate limit quota); raise the quota for this client",
            472 | 473 => "it is a standby that does not serve; set `address` to the active server or to the cluster's own name",
            500..=599 => "it cannot serve now; its own log says why, it is asked again by itself",
            _ => return Ok(answer),
        };
        Err(ReadError::Answered { place: self.place().into(), status, why })
    }
}

/// Whether one of the errors in an answer has this word.
fn says(answer: &Answer, word: &str) -> bool {
    let errors = answer.json().and_then(|json| json.get("errors").and_then(|errors| errors.as_array().cloned()));
    errors.is_some_and(|errors| errors.iter().filter_map(|error| error.as_str()).any(|error| error.contains(word)))
}
