//! Classifications without a reply: the sidecar itself knows the outcome.

use crate::dialect::Classification;
use crate::net::upstream::ExchangeError;
use crate::sms::{Cause, Certainty, Outcome};

/// The classification of an attempt of which no byte was written.
pub(crate) fn unsent_classification(cause: Cause) -> Classification {
    own_classification(Outcome::Unsent(cause), None)
}

/// The classification of an exchange without a readable reply.
pub(crate) fn lost_classification(lost: &ExchangeError) -> Classification {
    match lost {
        ExchangeError::Unsent { cause, detail } => {
            own_classification(Outcome::Unsent(*cause), Some(detail.clone()))
        }
        ExchangeError::Unknown { cause, detail } => {
            own_classification(Outcome::Unknown(*cause), Some(detail.clone()))
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
