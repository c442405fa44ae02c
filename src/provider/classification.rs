//! Classifications without a reply: the sidecar itself knows the outcome.

use crate::dialect::{Classification, Reply, classify_without_body};
use crate::net::upstream::ExchangeError;
use crate::secret::redact::Redactor;
use crate::sms::{Cause, Certainty, Outcome};

/// The classification of an attempt of which no byte was written.
pub(crate) fn unsent_classification(cause: Cause) -> Classification {
    own_classification(Outcome::Unsent(cause), None)
}

/// The classification of an exchange without a readable reply. `redactor` takes the credential out of the head, if
/// there is one.
pub(crate) fn lost_classification(lost: &ExchangeError, redactor: &Redactor) -> Classification {
    match lost {
        ExchangeError::Unsent { cause, detail } => {
            own_classification(Outcome::Unsent(*cause), Some(detail.clone()))
        }
        ExchangeError::Unknown { cause, detail } => {
            own_classification(Outcome::Unknown(*cause), Some(detail.clone()))
        }
        ExchangeError::BodyLost {
            head,
            cause,
            detail,
        } => {
            let head = redactor.redact_reply(Reply::clone(head));
            classify_without_body(&head, detail).unwrap_or_else(|| {
                own_classification(Outcome::Unknown(*cause), Some(detail.clone()))
            })
        }
    }
}

/// A certain classification without a code; `detail` takes the place of the provider's message.
pub(crate) fn own_classification(outcome: Outcome, detail: Option<String>) -> Classification {
    Classification {
        outcome,
        certainty: Certainty::Certain,
        alternatives: Vec::new(),
        code: None,
        provider_message: detail,
        retry_after: None,
    }
}

#[cfg(test)]
mod tests {
    use http::header::WWW_AUTHENTICATE;
    use http::{HeaderMap, HeaderValue, StatusCode};

    use super::*;
    use crate::sms::Family;

    fn body_lost(status: u16, cause: Cause, detail: &str) -> ExchangeError {
        let headers = HeaderMap::from_iter([(
            WWW_AUTHENTICATE,
            HeaderValue::from_static("Bearer error=\"invalid_token key-canary\""),
        )]);
        ExchangeError::BodyLost {
            head: Box::new(Reply {
                status: StatusCode::from_u16(status).unwrap(),
                headers,
                body: bytes::Bytes::new(),
            }),
            cause,
            detail: detail.to_owned(),
        }
    }

    fn rejects_account(found: &Classification) -> bool {
        matches!(&found.outcome, Outcome::Rejected(cause) if cause.family() == Family::Account)
    }

    #[test]
    fn a_401_or_403_is_about_the_account_whatever_happens_to_its_body() {
        let redactor = Redactor::new(["key-canary"]);
        for (defect, detail) in [
            (Cause::ReplyUnreadable, "it compressed its reply"),
            (Cause::ReplyUnreadable, "it sent more than 10 bytes"),
            (Cause::ReplyUnreadable, "it broke off its reply"),
            (Cause::ReplyUnreadable, "it sent chunks that are not valid"),
            (Cause::Timeout, "it did not finish its reply in time"),
            (Cause::DeniedByPolicy, "there was no memory for the reply"),
        ] {
            for status in [401, 403] {
                let lost = body_lost(status, defect, detail);
                let found = lost_classification(&lost, &redactor);
                assert!(rejects_account(&found), "{status} {detail}: {found:?}");
                assert_eq!(found.certainty, Certainty::Ambiguous, "{status} {detail}");
                let message = found.provider_message.unwrap_or_default();
                assert!(message.contains(detail), "{message}");
                assert!(!message.contains("canary"), "{message}");
            }
            // What another status means can depend on the body.
            for status in [200, 202, 204, 302, 400, 402, 404, 407, 429, 500, 503] {
                let lost = body_lost(status, defect, detail);
                let found = lost_classification(&lost, &redactor);
                assert_eq!(found.outcome, Outcome::Unknown(defect), "{status} {detail}");
                assert_eq!(found.provider_message.as_deref(), Some(detail));
            }
        }
    }
}
