//! Resolution with a resolver that answers, drops AAAA, hangs or fails, on a clock that the tests move.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

const LIMIT: Duration = Duration::from_secs(2);

/// What the resolver does with one lookup.
#[derive(Clone, Copy)]
enum Step {
    Found(&'static str),
    NotFound,
    Failed,
    Hangs,
    /// Finds the address after this many milliseconds.
    Late(u64, &'static str),
}

/// A resolver whose n-th pair of lookups runs the n-th pair of steps (A, AAAA); the last one repeats.
fn resolver(script: &'static [(Step, Step)]) -> Resolver {
    let counts = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
    Resolver::with_lookup(Arc::new(move |host, family| {
        let index = usize::from(family == AddressFamily::V6);
        let round = counts[index].fetch_add(1, Ordering::SeqCst);
        let (v4, v6) = script[round.min(script.len() - 1)];
        let step = if index == 0 { v4 } else { v6 };
        Box::pin(run(step, host))
    }))
}

async fn run(step: Step, host: String) -> Result<Vec<IpAddr>, ResolveError> {
    match step {
        Step::Found(address) => Ok(vec![address.parse().unwrap()]),
        Step::NotFound => Err(ResolveError::NotFound {
            host,
            detail: "no such name".to_owned(),
        }),
        Step::Failed => Err(ResolveError::Failed {
            host,
            detail: "server failure".to_owned(),
        }),
        Step::Hangs => std::future::pending().await,
        Step::Late(wait, address) => {
            tokio::time::sleep(Duration::from_millis(wait)).await;
            Ok(vec![address.parse().unwrap()])
        }
    }
}

async fn resolved(resolver: &Resolver) -> Result<Vec<String>, ResolveError> {
    let found = resolver.resolve("sms.test", LIMIT).await?;
    Ok(found.iter().map(ToString::to_string).collect())
}

#[tokio::test(start_paused = true)]
async fn an_ipv4_address_is_used_while_aaaa_is_missing() {
    for v6 in [Step::Hangs, Step::NotFound, Step::Failed] {
        let script = Box::leak(Box::new([(Step::Found("192.0.2.1"), v6)]));
        let start = Instant::now();
        assert_eq!(resolved(&resolver(script)).await.unwrap(), ["192.0.2.1"]);
        assert!(start.elapsed() <= RESOLUTION_DELAY);
    }
}

#[tokio::test(start_paused = true)]
async fn a_family_without_addresses_waits_for_the_other() {
    let slow = resolver(&[(Step::NotFound, Step::Late(900, "2001:db8::1"))]);
    assert_eq!(resolved(&slow).await.unwrap(), ["2001:db8::1"]);
    let both = resolver(&[(Step::Late(40, "192.0.2.1"), Step::Found("2001:db8::1"))]);
    let mut found = resolved(&both).await.unwrap();
    found.sort();
    assert_eq!(found, ["192.0.2.1", "2001:db8::1"]);
}

#[tokio::test(start_paused = true)]
async fn each_failure_has_its_own_words() {
    let missing = resolved(&resolver(&[(Step::NotFound, Step::NotFound)])).await;
    assert!(
        missing
            .unwrap_err()
            .to_string()
            .contains("does not exist in DNS")
    );
    let failed = resolved(&resolver(&[(Step::NotFound, Step::Failed)])).await;
    let failed = failed.unwrap_err().to_string();
    assert!(
        failed.contains("cannot resolve sms.test (server failure)"),
        "{failed}"
    );
    let start = Instant::now();
    let silent = resolved(&resolver(&[(Step::Hangs, Step::Hangs)])).await;
    let silent = silent.unwrap_err().to_string();
    assert!(
        silent.contains("did not answer for sms.test within 2 s"),
        "{silent}"
    );
    assert_eq!(start.elapsed(), LIMIT);
}

#[tokio::test(start_paused = true)]
async fn known_addresses_serve_while_the_resolver_fails() {
    let mut resolver = resolver(&[
        (Step::Found("192.0.2.1"), Step::NotFound),
        (Step::Hangs, Step::Hangs),
        (Step::Failed, Step::Failed),
        (Step::Found("192.0.2.9"), Step::NotFound),
    ]);
    let (report, mut changes) = tokio::sync::mpsc::unbounded_channel();
    resolver.set_observer(Arc::new(move |change| report.send(change).unwrap()));
    assert_eq!(resolved(&resolver).await.unwrap(), ["192.0.2.1"]);
    tokio::time::advance(Duration::from_mins(3)).await;

    let start = Instant::now();
    assert_eq!(resolved(&resolver).await.unwrap(), ["192.0.2.1"]);
    assert_eq!(start.elapsed(), PATIENCE_WITH_KNOWN_ADDRESSES);
    assert_eq!(
        changes.recv().await.unwrap(),
        ResolverChange::Failing {
            host: "sms.test".to_owned(),
            age: Duration::from_secs(181),
            detail: "the resolver did not answer for sms.test within 1 s; \
                     check the servers in /etc/resolv.conf"
                .to_owned(),
        }
    );

    let start = Instant::now();
    assert_eq!(resolved(&resolver).await.unwrap(), ["192.0.2.1"]);
    assert_eq!(
        start.elapsed(),
        Duration::ZERO,
        "no lookup within the retry interval"
    );
    tokio::time::advance(RETRY_INTERVAL).await;
    assert_eq!(resolved(&resolver).await.unwrap(), ["192.0.2.1"]);
    tokio::time::advance(RETRY_INTERVAL).await;
    assert_eq!(resolved(&resolver).await.unwrap(), ["192.0.2.9"]);
    let host = "sms.test".to_owned();
    assert_eq!(
        changes.recv().await.unwrap(),
        ResolverChange::Recovered { host }
    );
    assert!(changes.try_recv().is_err(), "a failure is reported once");
}

#[tokio::test(start_paused = true)]
async fn an_observer_holds_up_no_other_lookup() {
    let mut resolver = resolver(&[
        (Step::Found("192.0.2.1"), Step::NotFound),
        (Step::Failed, Step::Failed),
        (Step::Found("192.0.2.1"), Step::NotFound),
    ]);
    let (report, mut free) = tokio::sync::mpsc::unbounded_channel();
    let known = Arc::clone(&resolver.known);
    resolver.set_observer(Arc::new(move |_| {
        report.send(known.try_lock().is_ok()).unwrap();
    }));
    for _ in 0..3 {
        resolved(&resolver).await.unwrap();
        tokio::time::advance(RETRY_INTERVAL).await;
    }
    assert_eq!(
        (free.recv().await, free.recv().await),
        (Some(true), Some(true)),
        "at the failure, and at its end"
    );
}

#[tokio::test(start_paused = true)]
async fn known_addresses_expire_and_a_missing_name_is_believed() {
    let old = resolver(&[
        (Step::Found("192.0.2.1"), Step::NotFound),
        (Step::Failed, Step::Failed),
    ]);
    resolved(&old).await.unwrap();
    tokio::time::advance(MAX_AGE).await;
    assert!(matches!(
        resolved(&old).await,
        Err(ResolveError::Failed { .. })
    ));

    let gone = resolver(&[
        (Step::Found("192.0.2.1"), Step::NotFound),
        (Step::NotFound, Step::NotFound),
    ]);
    resolved(&gone).await.unwrap();
    assert!(matches!(
        resolved(&gone).await,
        Err(ResolveError::NotFound { .. })
    ));
}

#[tokio::test(start_paused = true)]
async fn a_reload_keeps_the_known_addresses() {
    let old = resolver(&[(Step::Found("192.0.2.1"), Step::NotFound)]);
    resolved(&old).await.unwrap();
    let mut new = resolver(&[(Step::Failed, Step::Failed)]);
    new.share_known_addresses(&old);
    assert_eq!(resolved(&new).await.unwrap(), ["192.0.2.1"]);
}

#[tokio::test(start_paused = true)]
async fn only_a_bounded_number_of_names_is_remembered() {
    let resolver = resolver(&[(Step::Found("192.0.2.1"), Step::NotFound)]);
    for number in 0..MAX_NAMES + 10 {
        resolver
            .resolve(&format!("host{number}.test"), LIMIT)
            .await
            .unwrap();
    }
    assert_eq!(resolver.known.lock().unwrap().len(), MAX_NAMES);
}

#[tokio::test]
async fn the_system_resolves_local_names_and_addresses() {
    let system = Resolver::default();
    let found = system.resolve("localhost", 5 * LIMIT).await.unwrap();
    assert!(found.contains(&IpAddr::from([127, 0, 0, 1])), "{found:?}");
    assert_eq!(
        system.resolve("2001:db8::7", LIMIT).await.unwrap(),
        ["2001:db8::7".parse::<IpAddr>().unwrap()]
    );
    assert!(
        system
            .resolve("no-such-host.invalid", 10 * LIMIT)
            .await
            .is_err()
    );
}
