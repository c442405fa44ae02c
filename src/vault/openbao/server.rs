//! A vault server: limits concurrent requests, backs off while the server fails, and turns every
//! status about the server rather than the request into an error.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::clock::Clock;
use crate::vault::error::ReadError;
use crate::vault::openbao::backoff::ServerBackoff;
use crate::vault::openbao::http::{VaultHttpClient, VaultRequest, VaultResponse};

/// The most concurrent requests; further ones wait.
const MAX_CONCURRENT_REQUESTS: usize = 4;

/// One server.
#[derive(Debug)]
pub(super) struct VaultServer {
    http: VaultHttpClient,
    timeout: Duration,
    permits: Semaphore,
    backoff: Mutex<ServerBackoff>,
    clock: Arc<dyn Clock>,
}

impl VaultServer {
    pub(super) fn new(http: VaultHttpClient, timeout: Duration, clock: Arc<dyn Clock>) -> Self {
        Self {
            http,
            timeout,
            permits: Semaphore::new(MAX_CONCURRENT_REQUESTS),
            backoff: Mutex::default(),
            clock,
        }
    }

    pub(super) fn location(&self) -> String {
        self.http.location()
    }

    /// Runs all steps of one read within the time limit of a read.
    pub(super) async fn with_timeout<T>(
        &self,
        work: impl Future<Output = Result<T, ReadError>>,
    ) -> Result<T, ReadError> {
        let Ok(done) = tokio::time::timeout(self.timeout, work).await else {
            let hint =
                "see how busy it is, and the way to it; `timeout` of the vault sets the limit";
            let error = ReadError::Timeout {
                location: self.location().into(),
                limit: self.timeout,
                hint,
            };
            self.record_failure(&error);
            return Err(error);
        };
        done
    }

    /// Sends a request once.
    pub(super) async fn send(&self, ask: &VaultRequest) -> Result<VaultResponse, ReadError> {
        // Checked before the wait for a permit too, so that a known error returns at once.
        self.check_backoff()?;
        let turn = self.permits.acquire().await;
        turn.as_ref().map_err(|_| ReadError::Interrupted {
            location: self.location().into(),
        })?;
        self.lock().admit(self.clock.now(), self.timeout)?;
        match self
            .http
            .exchange(ask)
            .await
            .and_then(|answer| self.check_status(answer))
        {
            Ok(answer) => {
                self.lock().record_success();
                Ok(answer)
            }
            Err(error @ ReadError::InvalidReply { .. }) => {
                self.lock().record_success();
                Err(error)
            }
            Err(error) => {
                self.record_failure(&error);
                Err(error)
            }
        }
    }

    fn check_backoff(&self) -> Result<(), ReadError> {
        self.lock()
            .active_error(self.clock.now())
            .map_or(Ok(()), Err)
    }

    fn record_failure(&self, error: &ReadError) {
        self.lock().record_failure(
            error.clone(),
            self.clock.now(),
            self.clock.random_fraction(),
        );
    }

    fn lock(&self) -> MutexGuard<'_, ServerBackoff> {
        self.backoff.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Statuses of a server that cannot serve now. A standby of either product forwards requests by itself; a
    /// redirect is an error, because the sidecar does not send a token to another address.
    fn check_status(&self, answer: VaultResponse) -> Result<VaultResponse, ReadError> {
        let status = answer.status.as_u16();
        let why = match status {
            503 if has_error_containing(&answer, "sealed") => {
                return Err(ReadError::Sealed {
                    location: self.location().into(),
                });
            }
            300..=399 => {
                "it sends us on to another address, and a token follows no redirect; set `address` to the active server or to the cluster's own name"
            }
            429 => {
                "it limits how often it is asked (a rate limit quota); raise the quota for this client"
            }
            472 | 473 => {
                "it is a standby that does not serve; set `address` to the active server or to the cluster's own name"
            }
            500..=599 => "it cannot serve now; its own log says why, it is asked again by itself",
            _ => return Ok(answer),
        };
        Err(ReadError::ServerError {
            location: self.location().into(),
            status,
            why,
        })
    }
}

/// Whether one of the errors in a response contains this word.
fn has_error_containing(answer: &VaultResponse, word: &str) -> bool {
    let errors = answer.json().and_then(|json| {
        json.get("errors")
            .and_then(|errors| errors.as_array().cloned())
    });
    errors.is_some_and(|errors| {
        errors
            .iter()
            .filter_map(|error| error.as_str())
            .any(|error| error.contains(word))
    })
}
