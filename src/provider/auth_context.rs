//! What an attempt presents to the service, and why there may be nothing to present.

use std::sync::Arc;

use crate::dialect::{Classification, LoginToken};
use crate::policy::CredentialRevision;
use crate::provider::classification::unsent_classification;
use crate::provider::token_cache::ALL_GENERATIONS;
use crate::secret::{Credential, Version};
use crate::sms::{Cause, Outcome};

/// The credential of one attempt and, for services with a login, its token.
#[derive(Clone, Debug)]
pub(crate) struct AuthContext {
    pub(crate) credential: Arc<Credential>,
    pub(crate) token: Option<Arc<LoginToken>>,
    pub(crate) revision: CredentialRevision,
}

impl AuthContext {
    /// The credential alone, without a token.
    pub(crate) fn for_credential(credential: Arc<Credential>) -> Self {
        Self {
            revision: CredentialRevision::from(credential.version),
            credential,
            token: None,
        }
    }

    /// The same credential with the token of a login; `revision` counts that login.
    pub(crate) fn with_token(self, token: Arc<LoginToken>, revision: CredentialRevision) -> Self {
        Self {
            credential: self.credential,
            token: Some(token),
            revision,
        }
    }
}

/// Why an attempt has nothing to present. No byte of the message was written.
#[derive(Clone, Debug)]
pub(crate) struct AuthError {
    pub(crate) classification: Classification,
    pub(crate) revision: CredentialRevision,
    /// For operators: what happened, without a value.
    pub(crate) detail: Option<String>,
}

impl AuthError {
    /// The service rejected the login or did not answer it.
    pub(crate) fn login_failed(mut classification: Classification, version: Version) -> Box<Self> {
        let cause = classification
            .outcome
            .cause()
            .unwrap_or(Cause::ReplyUnreadable);
        classification.outcome = Outcome::Unsent(cause);
        Box::new(Self {
            classification,
            revision: CredentialRevision {
                version,
                token_generation: ALL_GENERATIONS,
            },
            detail: Some("the login failed".to_owned()),
        })
    }

    /// The sidecar itself has no credential that could be sent.
    pub(crate) fn local(cause: Cause, revision: CredentialRevision, detail: String) -> Box<Self> {
        Box::new(Self {
            classification: unsent_classification(cause),
            revision,
            detail: Some(detail),
        })
    }
}
