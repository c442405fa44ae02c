//! When a login reads the vault first.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicUsize;

use prometheus::Registry;

use super::*;
use crate::clock::{Clock, SystemClock};
use crate::dialect::Catalog;
use crate::net::UpstreamSettings;
use crate::net::upstream::UpstreamClient;
use crate::provider::{Provider, SharedDeps};
use crate::sms::ProviderId;
use crate::telemetry::{MetricsSchema, Telemetry};
use crate::vault::{CredentialCache, CredentialRef, DirectorySettings, Settings, SourceSettings};

const LIMIT: Duration = Duration::from_secs(5);

/// An account whose service has a login and cannot be reached. Its vault counts its reads.
struct LoginAccount {
    runtime: ProviderRuntime,
    reads: Arc<AtomicUsize>,
    vault: tempfile::TempDir,
}

fn reference() -> CredentialRef {
    CredentialRef {
        vault: "v".to_owned(),
        path: "a".to_owned(),
        fields: BTreeMap::new(),
        aliases: [("email", "email"), ("password", "password")]
            .map(|(field, name)| (field.to_owned(), vec![name.to_owned()]))
            .into(),
    }
}

fn provider(credential: Option<CredentialRef>) -> Provider {
    Provider {
        id: ProviderId::new("a"),
        line: 1,
        dialect: Arc::clone(Catalog::built_in().get("eskiz").unwrap()),
        credential,
        sender: None,
        country: None,
        timeout: LIMIT,
        recheck: None,
        templates_only: false,
        operations: Vec::new(),
        // Nothing listens there.
        base_url: "http://127.0.0.1:1".to_owned(),
        params: BTreeMap::new(),
        upstream: UpstreamSettings {
            insecure_http: true,
            ..UpstreamSettings::default()
        },
    }
}

fn account(credential: Option<CredentialRef>) -> LoginAccount {
    let vault = tempfile::tempdir().unwrap();
    std::fs::create_dir(vault.path().join("a")).unwrap();
    for (field, value) in [("email", "a@example.test"), ("password", "password-1")] {
        std::fs::write(vault.path().join("a").join(field), value).unwrap();
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let reads = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&reads);
    let directory = DirectorySettings {
        path: vault.path().to_owned(),
    };
    let settings = Settings {
        sources: [("v".to_owned(), SourceSettings::Directory(directory))].into(),
    };
    let sink = Box::new(move |_: crate::vault::ReadEvent<'_>| {
        counted.fetch_add(1, Ordering::SeqCst);
    });
    let provider = provider(credential);
    let telemetry = Telemetry::new(
        &Registry::new(),
        &MetricsSchema::default(),
        Arc::clone(&clock),
    );
    let deps = SharedDeps {
        credential_cache: Arc::new(CredentialCache::new(&settings, Arc::clone(&clock), sink)),
        telemetry: Arc::new(telemetry.unwrap()),
        clock,
        config_path: "config.toml".into(),
        has_control: false,
    };
    let client = UpstreamClient::new(provider.upstream.clone(), 1 << 10).unwrap();
    LoginAccount {
        runtime: ProviderRuntime::new(provider, client, None, deps),
        reads,
        vault,
    }
}

impl LoginAccount {
    /// The service rejects the version that the vault has now.
    async fn reject_newest(&self) {
        let cache = &self.runtime.deps.credential_cache;
        let version = cache.get(&reference()).await.unwrap().version;
        let rejected = own_classification(Outcome::Rejected(Cause::CredentialExpired), None);
        let now = self.runtime.deps.now();
        self.runtime
            .token_cache()
            .record_rejection(version, rejected, now);
    }

    async fn lose_vault_entry(&self) {
        std::fs::remove_dir_all(self.vault.path().join("a")).unwrap();
        self.runtime.deps.credential_cache.poll(&reference()).await;
    }

    /// How often a login reads the vault before it is sent.
    async fn reads_for_login(&self) -> usize {
        let before = self.reads.load(Ordering::SeqCst);
        let login = self
            .runtime
            .authenticate(CredentialChoice::Newest, false, LIMIT)
            .await;
        assert!(login.is_err(), "the service cannot be reached");
        self.reads.load(Ordering::SeqCst) - before
    }
}

/// A version that was rejected a moment ago may have a successor; but a vault that fails would only delay the login.
#[tokio::test]
async fn a_login_reads_the_vault_first_only_after_a_rejection_and_if_the_vault_works() {
    for (is_rejected, is_failing, reads) in [
        (false, false, 0),
        (false, true, 0),
        (true, false, 1),
        (true, true, 0),
    ] {
        let account = account(Some(reference()));
        let cache = &account.runtime.deps.credential_cache;
        cache.get(&reference()).await.unwrap();
        if is_rejected {
            account.reject_newest().await;
        }
        if is_failing {
            account.lose_vault_entry().await;
        }
        assert_eq!(account.runtime.is_vault_failing(), is_failing);
        let case = format!("rejected: {is_rejected}, failing: {is_failing}");
        assert_eq!(account.reads_for_login().await, reads, "{case}");
    }
}

#[tokio::test]
async fn the_login_after_a_rejection_presents_what_the_vault_has_now() {
    let account = account(Some(reference()));
    account.reject_newest().await;
    std::fs::write(account.vault.path().join("a/password"), "password-2").unwrap();
    account.reads_for_login().await;
    let cache = &account.runtime.deps.credential_cache;
    let newest = cache.get(&reference()).await.unwrap();
    assert_eq!(newest.expose("password"), Some("password-2"));
}

#[test]
fn an_account_without_a_credential_has_no_vault_that_fails() {
    assert!(!account(None).runtime.is_vault_failing());
}
