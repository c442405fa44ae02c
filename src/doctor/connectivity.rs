//! The network path to a service, judged step by step: name, connection, certificate, clock, address.

use std::time::{Duration, SystemTime};

use crate::diagnosis::format_duration;
use crate::doctor::check::{Check, CheckResult};
use crate::doctor::provider_check::ProviderCheck;
use crate::net::upstream::{Connectivity, ExchangeError, PeerCertificate};
use crate::sms::Cause;

/// A certificate with less time left is a warning: the service may not know.
const MIN_CERTIFICATE_LIFETIME: Duration = Duration::from_hours(7 * 24);
/// A larger skew, in seconds, is a warning …
const TOLERATED_SKEW: u64 = 30;
/// … and from this one on some services reject signatures and tokens.
const MAX_SKEW: u64 = 300;

/// The checks of DNS, TCP and TLS, or of the URL if it is wrong.
pub(crate) fn connectivity_checks(
    subject: &ProviderCheck<'_>,
    connectivity: &Result<Connectivity, ExchangeError>,
    now: SystemTime,
) -> Vec<Check> {
    let connectivity = match connectivity {
        Ok(connectivity) => connectivity,
        Err(lost) => return vec![exchange_failure(subject, "endpoint", lost)],
    };
    let addresses = match &connectivity.addresses {
        Err(lost) => return vec![exchange_failure(subject, "dns", lost)],
        Ok(addresses) => addresses,
    };
    let listed = addresses
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ");
    let hop = if connectivity.via_proxy {
        format!("{} (the proxy of `outbound`)", connectivity.first_hop)
    } else {
        connectivity.first_hop.clone()
    };
    let mut checks = vec![Check::ok("dns", format!("{hop} is at {listed}"))];
    match &connectivity.connection {
        None => {}
        Some(Err(lost)) => checks.push(exchange_failure(subject, "tcp", lost)),
        Some(Ok(())) => {
            checks.push(Check::ok("tcp", format!("{hop} accepts connections")));
            checks.push(certificate_check(
                subject,
                connectivity.certificate.as_ref(),
                now,
            ));
        }
    }
    checks
}

fn certificate_check(
    subject: &ProviderCheck<'_>,
    found: Option<&Result<PeerCertificate, ExchangeError>>,
    now: SystemTime,
) -> Check {
    match found {
        None => Check::skipped(
            "tls",
            "this provider is reached without TLS, as `insecure_http` allows",
        ),
        Some(Err(lost)) => exchange_failure(subject, "tls", lost),
        Some(Ok(PeerCertificate { expires })) => {
            let left = expires.duration_since(now).unwrap_or_default();
            let evidence = format!(
                "its certificate is trusted and has {} left",
                format_duration(left)
            );
            if left < MIN_CERTIFICATE_LIFETIME {
                return Check::warning(
                    "tls",
                    evidence,
                    format!("ask {} to renew it in time", subject.provider.dialect.name),
                );
            }
            Check::ok("tls", evidence)
        }
    }
}

/// A failed check at a host that the service has left is not the network's fault.
pub(crate) fn as_retired_host(subject: &ProviderCheck<'_>, check: Check) -> Check {
    if check.result == CheckResult::Failed && subject.provider.has_retired_host() {
        return subject.local_failure("endpoint", Cause::EndpointWrong, &check.evidence);
    }
    check
}

/// A failed exchange, under the check that it concerns.
pub(crate) fn exchange_failure(
    subject: &ProviderCheck<'_>,
    name: &'static str,
    lost: &ExchangeError,
) -> Check {
    subject.local_failure(name, lost.cause(), lost.detail())
}

/// Whether services are likely to reject signatures and tokens because of it.
pub(crate) fn is_excessive(skew: i64) -> bool {
    skew.unsigned_abs() >= MAX_SKEW
}

pub(crate) fn clock_check(subject: &ProviderCheck<'_>, skew: Option<i64>) -> Check {
    let Some(skew) = skew else {
        return Check::skipped(
            "clock",
            "no reply had a `Date` header to compare the clock with",
        );
    };
    let off = skew.unsigned_abs();
    let side = if skew > 0 { "ahead of" } else { "behind" };
    let evidence = format!(
        "the clock of this machine is {} {side} the service's `Date`",
        format_duration(Duration::from_secs(off))
    );
    match off {
        0..=2 => Check::ok(
            "clock",
            "the clock of this machine agrees with the service's `Date`",
        ),
        3..=TOLERATED_SKEW => Check::ok("clock", evidence),
        _ if is_excessive(skew) => subject.local_failure("clock", Cause::ClockSkew, &evidence),
        _ => Check::warning(
            "clock",
            evidence,
            "set this machine's clock: `timedatectl set-ntp true`",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skew_is_excessive_from_five_minutes_on() {
        assert!(
            !is_excessive(299) && !is_excessive(-299) && is_excessive(300) && is_excessive(-300)
        );
    }
}
