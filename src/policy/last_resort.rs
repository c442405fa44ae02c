//! When every provider of a route stands aside, one call every ten seconds tries the
//! first all the same and the others are answered at once: somebody has to notice that
//! the account was paid, and nobody gains from all of them waiting for a refusal.

use std::time::Duration;

use crate::clock::Moment;
use crate::policy::{AccountSnapshot, DeliveryPlan, SendAdmission};
use crate::sms::Concern;

const TRIAL_INTERVAL: Duration = Duration::from_secs(10);

/// When a route last took its last resort.
#[derive(Clone, Copy, Debug, Default)]
pub struct LastResortTrial {
    last_trial: Option<Moment>,
}

impl LastResortTrial {
    /// The account that this call may try as a trial although it stands aside. None while any account
    /// is open or comes back by itself, for accounts never to be rechecked, and more than once in ten seconds.
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
            match view(account).admission {
                SendAdmission::Blocked {
                    cause,
                    reopens_in: Some(_),
                } if matches!(cause.concern(), Concern::Credential | Concern::Account) => {
                    first = first.or(Some(account));
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
            .is_none_or(|last| now.since(last) >= TRIAL_INTERVAL);
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
        let (deadline, pause) = (Duration::from_secs(8), Duration::from_millis(200));
        DeliveryPlan {
            accounts,
            max_attempts_per_account: 2,
            max_sends: 6,
            deadline,
            retry_delay: pause,
            on_unknown: OnUnknown::Failover,
        }
    }

    fn closed(cause: Cause, wait: Option<u64>) -> SendAdmission {
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
        stand: &[SendAdmission],
        now: u64,
    ) -> Option<usize> {
        let view = |account: usize| AccountSnapshot {
            admission: stand[account],
            credential: CredentialRevision::default(),
            can_retry: true,
        };
        resort.admit(&plan(skips), view, at(now))
    }

    #[test]
    fn one_call_in_ten_seconds_tries_the_first() {
        let aside = [
            closed(Cause::CredentialRejected, Some(60)),
            closed(Cause::BalanceEmpty, Some(5)),
        ];
        let mut resort = LastResortTrial::default();
        let tries: Vec<_> = [0, 1, 9, 10, 19, 20]
            .iter()
            .map(|&now| admit(&mut resort, &[None, None], &aside, now))
            .collect();
        assert_eq!(tries, [Some(0), None, None, Some(0), None, Some(0)]);
    }

    #[test]
    fn it_is_the_last_resort_only() {
        let aside = closed(Cause::CredentialRejected, Some(60));
        for other in [
            SendAdmission::Allowed,
            SendAdmission::Trial,
            closed(Cause::Throttled, Some(1)),
            closed(Cause::ProviderFault, Some(9)),
        ] {
            assert_eq!(
                admit(
                    &mut LastResortTrial::default(),
                    &[None, None],
                    &[aside, other],
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
                &[SendAdmission::Allowed, aside],
                0
            ),
            Some(1)
        );
        assert_eq!(
            admit(&mut LastResortTrial::default(), &[skipped], &[aside], 0),
            None
        );
    }

    #[test]
    fn paused_and_never_are_respected() {
        let never = closed(Cause::CredentialRejected, None);
        let paused = closed(Cause::DeniedByPolicy, None);
        assert_eq!(
            admit(
                &mut LastResortTrial::default(),
                &[None, None],
                &[never, paused],
                0
            ),
            None
        );
        let aside = closed(Cause::BalanceEmpty, Some(3));
        assert_eq!(
            admit(
                &mut LastResortTrial::default(),
                &[None, None],
                &[paused, aside],
                0
            ),
            Some(1)
        );
    }
}
