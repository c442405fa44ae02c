//! The webhook of `[notify]`: whether its URL can be read, whether its receiver can be reached, and on
//! request whether it accepts a notification.

use std::sync::Arc;

use crate::doctor::check::Check;
use crate::net::upstream::Connectivity;
use crate::notify::{Notifier, PostError, Settings};
use crate::status::Notification;
use crate::vault::CredentialCache;

/// The name of the check.
const NAME: &str = "webhook";

/// Checks the webhook. `test` is posted to it; without one nothing is posted.
pub(crate) async fn check_webhook(
    settings: &Settings,
    credential_cache: &Arc<CredentialCache>,
    test: Option<&Notification>,
) -> Check {
    let version = env!("CARGO_PKG_VERSION");
    let notifier = match Notifier::new(settings.clone(), Arc::clone(credential_cache), version) {
        Ok(notifier) => notifier,
        Err(error) => return failed(&error.to_string()),
    };
    match test {
        Some(test) => test_check(notifier.post(test, "").await),
        None => probe_check(notifier.probe().await),
    }
}

fn test_check(posted: Result<(), PostError>) -> Check {
    match posted {
        Ok(()) => Check::ok(NAME, "the receiver accepted a test notification"),
        Err(error) => failed(&error.message),
    }
}

fn probe_check(probed: Result<Connectivity, PostError>) -> Check {
    let connectivity = match probed {
        Ok(connectivity) => connectivity,
        Err(error) => return failed(&error.message),
    };
    let steps = [
        connectivity.addresses.err(),
        connectivity.connection.and_then(Result::err),
        connectivity.certificate.and_then(Result::err),
    ];
    match steps.into_iter().flatten().next() {
        Some(error) => failed(error.detail()),
        None => Check::ok(
            NAME,
            "the receiver of notifications can be reached; `--notify-test` posts one",
        ),
    }
}

/// Messages do not need the webhook, so a failure is a warning.
fn failed(problem: &str) -> Check {
    Check::warning(
        NAME,
        format!("no notification would arrive: {problem}"),
        "correct `[notify]`, then try it with `--notify-test`",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::check::CheckResult;
    use crate::net::upstream::ExchangeError;
    use crate::sms::Cause;

    fn reached() -> Connectivity {
        Connectivity {
            first_hop: "chat.example:443".to_owned(),
            via_proxy: false,
            addresses: Ok(Vec::new()),
            connection: Some(Ok(())),
            certificate: None,
        }
    }

    #[test]
    fn the_first_step_that_fails_is_named() {
        assert_eq!(probe_check(Ok(reached())).result, CheckResult::Ok);
        let lost = |detail: &str| ExchangeError::Unsent {
            cause: Cause::Unreachable,
            detail: detail.to_owned(),
        };
        let refused = Connectivity {
            connection: Some(Err(lost("chat.example:443 refuses"))),
            certificate: Some(Err(lost("later"))),
            ..reached()
        };
        let check = probe_check(Ok(refused));
        assert_eq!(check.result, CheckResult::Warning);
        assert_eq!(
            check.evidence,
            "no notification would arrive: chat.example:443 refuses"
        );
    }
}
