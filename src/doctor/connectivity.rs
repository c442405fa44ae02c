//! The way to a service, judged step by step: name, connection, certificate, clock, address.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::DATE;

use crate::doctor::check::{Check, CheckResult, format_duration};
use crate::doctor::provider_check::ProviderCheck;
use crate::net::upstream::{Connectivity, ExchangeError, PeerCertificate};
use crate::sms::Cause;

/// A certificate with less time left is worth a word: the service has to act, and may not know.
const MIN_CERTIFICATE_LIFETIME: u64 = 7 * 86_400;
/// Beyond this a clock is worth a word …
const TOLERATED_SKEW: u64 = 30;
/// … and from here on signatures and tokens are refused by some service or other.
const MAX_SKEW: u64 = 300;

/// DNS, TCP, TLS; none: the URL names nothing that can be gone to.
pub(crate) fn connectivity_checks(
    patient: &ProviderCheck<'_>,
    way: &Result<Connectivity, ExchangeError>,
    now: SystemTime,
) -> Vec<Check> {
    let way = match way {
        Ok(way) => way,
        Err(lost) => return vec![exchange_failure(patient, "endpoint", lost)],
    };
    let addresses = match &way.addresses {
        Err(lost) => return vec![exchange_failure(patient, "dns", lost)],
        Ok(addresses) => addresses,
    };
    let listed = addresses
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ");
    let hop = if way.via_proxy {
        format!("{} (the proxy of `outbound`)", way.first_hop)
    } else {
        way.first_hop.clone()
    };
    let mut checks = vec![Check::ok("dns", format!("{hop} is at {listed}"))];
    match &way.connection {
        None => {}
        Some(Err(lost)) => checks.push(exchange_failure(patient, "tcp", lost)),
        Some(Ok(())) => {
            checks.push(Check::ok("tcp", format!("{hop} takes connections")));
            checks.push(certificate_check(patient, way.certificate.as_ref(), now));
        }
    }
    checks
}

fn certificate_check(
    patient: &ProviderCheck<'_>,
    found: Option<&Result<PeerCertificate, ExchangeError>>,
    now: SystemTime,
) -> Check {
    match found {
        None => Check::skipped(
            "tls",
            "this provider is spoken to in clear, as `insecure_http` allows",
        ),
        Some(Err(lost)) => exchange_failure(patient, "tls", lost),
        Some(Ok(PeerCertificate { expires })) => {
            let left = expires.duration_since(now).map_or(0, |left| left.as_secs());
            let evidence = format!(
                "its certificate is trusted and has {} left",
                format_duration(left)
            );
            if left < MIN_CERTIFICATE_LIFETIME {
                return Check::warning(
                    "tls",
                    evidence,
                    format!(
                        "see that {} renews it in time",
                        patient.provider.dialect.name
                    ),
                );
            }
            Check::ok("tls", evidence)
        }
    }
}

/// A way that leads nowhere because the service has left the address is no fault of the network.
pub(crate) fn as_retired_host(patient: &ProviderCheck<'_>, check: Check) -> Check {
    if check.result == CheckResult::Failed && patient.has_retired_host() {
        return patient.local_failure("endpoint", Cause::EndpointWrong, &check.evidence);
    }
    check
}

/// What was lost on the way, under the check that it concerns.
pub(crate) fn exchange_failure(
    patient: &ProviderCheck<'_>,
    name: &'static str,
    lost: &ExchangeError,
) -> Check {
    let (ExchangeError::Unsent { cause, detail } | ExchangeError::Unknown { cause, detail }) = lost;
    patient.local_failure(name, *cause, detail)
}

/// How far our clock is ahead of a reply's `Date`, in seconds; the time the exchange took counts for neither side.
pub(crate) fn clock_skew(headers: &HeaderMap, began: SystemTime, ended: SystemTime) -> Option<i64> {
    let text = headers.get(DATE)?.to_str().ok()?;
    let theirs = jiff::fmt::rfc2822::parse(text)
        .ok()?
        .timestamp()
        .as_second();
    let seconds = |at: SystemTime| {
        at.duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since: Duration| since.as_secs().cast_signed())
    };
    let (began, ended) = (seconds(began), seconds(ended));
    Some(if theirs < began {
        began - theirs
    } else {
        ended.min(theirs) - theirs
    })
}

/// Whether signatures and tokens are likely to be refused for it.
pub(crate) fn is_excessive(skew: i64) -> bool {
    skew.unsigned_abs() >= MAX_SKEW
}

pub(crate) fn clock_check(patient: &ProviderCheck<'_>, skew: Option<i64>) -> Check {
    let Some(skew) = skew else {
        return Check::skipped("clock", "no reply with a `Date` came to compare ours with");
    };
    let off = skew.unsigned_abs();
    let side = if skew > 0 { "ahead of" } else { "behind" };
    let evidence = format!(
        "our clock is {} {side} the service's `Date`",
        format_duration(off)
    );
    match off {
        0..=2 => Check::ok("clock", "our clock agrees with the service's `Date`"),
        3..=TOLERATED_SKEW => Check::ok("clock", evidence),
        _ if is_excessive(skew) => patient.local_failure("clock", Cause::ClockSkew, &evidence),
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
    fn a_skew_is_what_the_exchange_itself_cannot_explain() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let dated = |text: &str| HeaderMap::from_iter([(DATE, text.parse().unwrap())]);
        let noon = "Fri, 02 Jan 2026 03:04:05 GMT"; // 1767323045
        assert_eq!(
            clock_skew(&dated(noon), at(1_767_323_045), at(1_767_323_046)),
            Some(0)
        );
        assert_eq!(
            clock_skew(&dated(noon), at(1_767_323_040), at(1_767_323_050)),
            Some(0),
            "it lies within a slow exchange"
        );
        assert_eq!(
            clock_skew(&dated(noon), at(1_767_323_645), at(1_767_323_646)),
            Some(600),
            "ours is ahead"
        );
        assert_eq!(
            clock_skew(&dated(noon), at(1_767_322_000), at(1_767_322_045)),
            Some(-1_000),
            "ours is behind"
        );
        assert_eq!(clock_skew(&dated("yesterday"), at(0), at(1)), None);
        assert_eq!(clock_skew(&HeaderMap::new(), at(0), at(1)), None);
    }

    #[test]
    fn only_a_skew_that_signatures_do_not_bear_is_wrong() {
        assert!(
            !is_excessive(299) && !is_excessive(-299) && is_excessive(300) && is_excessive(-300)
        );
    }
}
