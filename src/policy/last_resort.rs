//! If every provider of a route is quarantined, one request every ten seconds tries the first one
//! whose credential is not in doubt, and the others are answered at once. The trial notices that the
//! account works again; more trials would only make more requests wait for the same rejection. A
//! credential that may be the cause is sent by half-open trials only, because services lock accounts
//! that present a wrong one repeatedly.

use std::time::Duration;

use crate::clock::Moment;
use crate::policy::{AccountSnapshot, CredentialStatus, DeliveryPlan, SendAdmission};
use crate::sms::Concern;

/// The time from one last-resort trial of a route to the next.
pub const LAST_RESORT_INTERVAL: Duration = Duration::from_secs(10);

/// When a route last made its last-resort trial.
#[derive(Clone, Copy, Debug, Default)]
pub struct LastResortTrial {
    last_trial: Option<Moment>,
}

impl LastResortTrial {
    /// The quarantined account that this request may try. None if any account can be used or
    /// recovers by time, if the credential of every account is suspected or none may ever be
    /// rechecked, and within ten seconds of the last trial.
    pub fn admit(
        &mut self,
        plan: &DeliveryPlan,
        view: impl Fn(usize) -> AccountSnapshot,
        now: Moment,
    ) -> Option<usize> {
        let mut first = None;
        for (account, _) in plan
            .accounts
            .iter()
            .enumerate()
            .filter(|(_, terms)| terms.skip_cause.is_none())
        {
            let snapshot = view(account);
            match snapshot.admission {
                SendAdmission::Blocked {
                    cause,
                    reopens_in: Some(_),
                } if matches!(cause.concern(), Concern::Credential | Concern::Account) => {
                    let is_suspected = snapshot.credential_status == CredentialStatus::Suspected;
                    first = first.or((!is_suspected).then_some(account));
                }
                SendAdmission::Blocked {
                    reopens_in: None, ..
                } => {}
                SendAdmission::Allowed
                | SendAdmission::Trial
                | SendAdmission::Blocked {
                    reopens_in: Some(_),
                    ..
                } => return None,
            }
        }
        let due = self
            .last_trial
            .is_none_or(|last| now.since(last) >= LAST_RESORT_INTERVAL);
        let account = first.filter(|_| due)?;
        self.last_trial = Some(now);
        Some(account)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{CredentialRevision, OnUnknown, PlannedAccount};
    use crate::sms::Cause;

    fn plan(skips: &[Option<Cause>]) -> DeliveryPlan {
        let accounts = skips
            .iter()
            .map(|&skip| PlannedAccount {
                timeout: Duration::from_secs(3),
                has_idempotency_key: false,
                skip_cause: skip,
            })
            .collect();

        DeliveryPlan {
            accounts,
            max_attempts_per_account: 2,
            max_sends: 6,
            deadline: Duration::from_secs(8),
            retry_delay: Duration::from_millis(200),
            on_unknown: OnUnknown::Failover,
        }
    }

    fn blocked(cause: Cause, wait: Option<u64>) -> SendAdmission {
        SendAdmission::Blocked {
            cause,
            reopens_in: wait.map(Duration::from_secs),
        }
    }

    fn at(seconds: u64) -> Moment {
        Moment(Duration::from_secs(seconds))
    }

    fn admit(
        resort: &mut LastResortTrial,
        skips: &[Option<Cause>],
        admissions: &[SendAdmission],
        now: u64,
    ) -> Option<usize> {
        let view = |account: usize| AccountSnapshot {
            admission: admissions[account],
            credential: CredentialRevision::default(),
            can_retry: true,
            is_silent: false,
            credential_status: match admissions[account] {
                SendAdmission::Blocked { cause, .. } if cause.concern() == Concern::Credential => {
                    CredentialStatus::Suspected
                }
                SendAdmission::Allowed | SendAdmission::Trial | SendAdmission::Blocked { .. } => {
                    CredentialStatus::Usable
                }
            },
        };
        resort.admit(&plan(skips), view, at(now))
    }

    #[test]
    fn one_request_in_ten_seconds_tries_the_first_account() {
        let quarantined = [
            blocked(Cause::AccountSuspended, Some(60)),
            blocked(Cause::BalanceEmpty, Some(5)),
        ];
        let mut resort = LastResortTrial::default();
        let tries: Vec<_> = [0, 1, 9, 10, 19, 20]
            .iter()
            .map(|&now| admit(&mut resort, &[None, None], &quarantined, now))
            .collect();
        assert_eq!(tries, [Some(0), None, None, Some(0), None, Some(0)]);
    }

    #[test]
    fn any_usable_account_prevents_the_trial() {
        let quarantined = blocked(Cause::IpNotAllowed, Some(60));
        for other in [
            SendAdmission::Allowed,
            SendAdmission::Trial,
            blocked(Cause::Throttled, Some(1)),
            blocked(Cause::ProviderFault, Some(9)),
        ] {
            assert_eq!(
                admit(
                    &mut LastResortTrial::default(),
                    &[None, None],
                    &[quarantined, other],
                    0
                ),
                None,
                "{other:?}"
            );
        }
        let skipped = Some(Cause::NotTranslatable);
        assert_eq!(
            admit(
                &mut LastResortTrial::default(),
                &[skipped, None],
                &[SendAdmission::Allowed, quarantined],
                0
            ),
            Some(1)
        );
        assert_eq!(
            admit(
                &mut LastResortTrial::default(),
                &[skipped],
                &[quarantined],
                0
            ),
            None
        );
    }

    #[test]
    fn a_suspected_credential_is_never_tried() {
        let rejected = blocked(Cause::CredentialRejected, Some(60));
        let expired = blocked(Cause::CredentialExpired, Some(60));
        let empty = blocked(Cause::BalanceEmpty, Some(60));
        let tries = |accounts: &[SendAdmission]| {
            let mut resort = LastResortTrial::default();
            admit(&mut resort, &[None, None], accounts, 0)
        };
        assert_eq!(tries(&[rejected, expired]), None);
        assert_eq!(tries(&[rejected, empty]), Some(1), "the next one in order");
    }

    #[test]
    fn paused_accounts_and_those_never_rechecked_are_not_tried() {
        let never = blocked(Cause::CredentialRejected, None);
        let paused = blocked(Cause::DeniedByPolicy, None);
        assert_eq!(
            admit(
                &mut LastResortTrial::default(),
                &[None, None],
                &[never, paused],
                0
            ),
            None
        );
        let quarantined = blocked(Cause::BalanceEmpty, Some(3));
        assert_eq!(
            admit(
                &mut LastResortTrial::default(),
                &[None, None],
                &[paused, quarantined],
                0
            ),
            Some(1)
        );
    }
}
