//! `sms-sidecar demo`: shows the sidecar at work on loopback, in seconds. The services are
//! simulated; the sidecar is the real one, in its own process, and the backend talks to it over
//! HTTP. `config/demo.toml` is the script; the demo fails if a scene does not end as it expects.

mod backend;
mod print;
mod script;
mod service;
mod sidecar;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, ensure};
use secrecy::ExposeSecret;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::output;
use crate::dialect::{Catalog, Dialect};
use crate::secret::SecretString;
use crate::vault::embedded::Embedded;
use backend::{BackendClient, BackendResponse};
use script::{DemoScript, Scene};
use service::{ServiceMode, SimulatedService};
use sidecar::SidecarProcess;

/// Runs a backend, simulated SMS services and the real sidecar on loopback, and prints each step.
/// Needs no keys and no network, and sends no SMS.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Keep everything running afterwards, with every account working, and print what to try.
    #[arg(long)]
    keep: bool,
}

/// Everything that the demo runs.
struct DemoEnvironment {
    script: DemoScript,
    folder: tempfile::TempDir,
    vault: Embedded,
    services: BTreeMap<String, Arc<SimulatedService>>,
    dialect: Arc<Dialect>,
    proxy: SocketAddr,
    admin: SocketAddr,
    sidecar: SidecarProcess,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(run_demo(args))?;
    Ok(ExitCode::SUCCESS)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the demo shows how long it takes on this machine"
)]
async fn run_demo(args: &Args) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut signals = ShutdownSignals::new()?;
    let mut demo = DemoEnvironment::start().await?;
    output::line(format_args!(
        "{}\n\n    sidecar ready on {} in {} ms, credentials in {}\n",
        demo.script.intro.trim_end(),
        demo.proxy,
        began.elapsed().as_millis(),
        demo.vault_path().display()
    ));
    let result = tokio::select! {
        result = demo.run_scenes() => result,
        () = signals.recv() => Err(anyhow::anyhow!("a signal ended the demo before its last scene")),
    };
    if result.is_ok() {
        let took = began.elapsed().as_secs_f64();
        output::line(format_args!(
            "All scenes ended as expected, in {took:.1} s."
        ));
        if args.keep {
            demo.restore_accounts().await?;
            demo.keep_running(&mut signals).await?;
        }
    }
    demo.sidecar.stop().await?;
    result
}

/// SIGINT and SIGTERM. The demo handles them, so that it can remove the folder with its vault.
struct ShutdownSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl ShutdownSignals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn recv(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

impl DemoEnvironment {
    async fn start() -> anyhow::Result<Self> {
        let script = DemoScript::built_in()?;
        let catalog = Catalog::built_in();
        let dialect = find_dialect(&catalog, &script.dialect)?;
        let folder = tempfile::Builder::new()
            .prefix("sms-sidecar-demo")
            .tempdir()?;
        let vault = Embedded::new(
            folder.path().join("vault.age"),
            folder.path().join("vault.key"),
        );
        vault.init()?;
        let services = open_services(&script, &catalog, &vault).await?;
        let proxy = sidecar::free_address().await?;
        let admin = sidecar::free_address().await?;
        let file = folder.path().join("config.toml");
        let config = render_config(&script, folder.path(), proxy, admin, &services);
        std::fs::write(&file, config)?;
        let sidecar = SidecarProcess::start(&file).await?;
        Ok(Self {
            script,
            folder,
            vault,
            services,
            dialect,
            proxy,
            admin,
            sidecar,
        })
    }

    fn backend(&self) -> BackendClient<'_> {
        BackendClient {
            proxy: self.proxy,
            dialect: &self.dialect,
            text: &self.script.text,
        }
    }

    async fn run_scenes(&mut self) -> anyhow::Result<()> {
        for number in 0..self.script.scenes.len() {
            self.run_scene(number).await?;
        }
        self.print_metrics().await
    }

    fn vault_path(&self) -> PathBuf {
        self.folder.path().join("vault.age")
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the demo shows how long each step takes on this machine"
    )]
    async fn run_scene(&mut self, number: usize) -> anyhow::Result<()> {
        let scene = self
            .script
            .scenes
            .get(number)
            .cloned()
            .context("no such scene")?;
        print::title(number + 1, &scene.title);
        self.prepare(&scene).await?;
        let request = self.backend().build_request(&scene.to, number)?;
        let began = Instant::now();
        let response = self.backend().send(request).await?;
        let took = began.elapsed();
        let log = self.sidecar.read_until("request ").await?;
        print::outcome(&response, took, &log);
        self.check_expectation(&scene, &response)?;
        for service in self.services.values() {
            service.set_mode(ServiceMode::Normal);
            service.take_texts();
        }
        Ok(())
    }

    /// Arranges what goes wrong in this scene.
    async fn prepare(&self, scene: &Scene) -> anyhow::Result<()> {
        if let Some(name) = &scene.resume {
            print::row("command", format_args!("sms-sidecar resume {name}"));
            self.resume(name).await?;
        }
        for (name, cause) in &scene.reject {
            let cause = cause
                .parse()
                .map_err(|()| anyhow::anyhow!("`{cause}` is not a cause"))?;
            self.service(name)?.set_mode(ServiceMode::Reject(cause));
        }
        if let Some(name) = &scene.drop_reply {
            self.service(name)?.set_mode(ServiceMode::DropReply);
        }
        if let Some(name) = &scene.rotate {
            self.rotate_credential(name)?;
        }
        for name in &scene.revoke {
            let unknown = BTreeMap::from([("unknown".to_owned(), "unknown".to_owned())]);
            self.service(name)?.set_credential(unknown, None);
        }
        Ok(())
    }

    /// Changes the credential at the service; the vault gets it at the first rejection.
    fn rotate_credential(&self, name: &str) -> anyhow::Result<()> {
        let rotated = self
            .script
            .accounts
            .get(name)
            .map(|account| account.rotated_credential.clone())
            .unwrap_or_default();
        let vault = self.vault.clone();
        let entry = name.to_owned();
        let fields = rotated.clone();
        let store = move || store_credential(&vault, &entry, &fields).unwrap_or_else(output::error);
        self.service(name)?
            .set_credential(rotated, Some(Box::new(store)));
        Ok(())
    }

    fn service(&self, name: &str) -> anyhow::Result<&Arc<SimulatedService>> {
        self.services
            .get(name)
            .with_context(|| format!("no simulated service {name}"))
    }

    /// Fails unless the scene ended as its script expects; prints the text of the SMS.
    fn check_expectation(&self, scene: &Scene, response: &BackendResponse) -> anyhow::Result<()> {
        let expect = &scene.expect;
        ensure!(
            response.status == expect.status,
            "expected status {}, got {}: {}",
            expect.status,
            response.status,
            response.body
        );
        ensure!(
            response.attempts == expect.attempts,
            "expected {} attempts, got {}",
            expect.attempts,
            response.attempts
        );
        if let Some(via) = &expect.via {
            ensure!(
                response.provider.as_ref() == Some(via),
                "expected {via}, got {:?}",
                response.provider
            );
            let texts = self.service(via)?.take_texts();
            ensure!(texts.len() == 1, "{via} took {} messages", texts.len());
            print::row("SMS", format_args!("\"{}\", sent by {via}", texts.concat()));
        }
        output::line("");
        Ok(())
    }

    async fn print_metrics(&self) -> anyhow::Result<()> {
        let page = backend::fetch(self.admin, "/metrics").await?;
        print::metrics(self.admin, &page);
        Ok(())
    }

    async fn resume(&self, name: &str) -> anyhow::Result<()> {
        let socket = self.folder.path().join("control.sock");
        crate::cli::control::exchange(
            &socket,
            http::Method::POST,
            &format!("/resume/{name}"),
            Vec::new(),
        )
        .await?;
        Ok(())
    }

    /// Makes every service accept the credential in the vault, and puts every provider back.
    async fn restore_accounts(&self) -> anyhow::Result<()> {
        let entries = self.vault.entries()?;
        for (name, service) in &self.services {
            let fields = entries.get(&format!("sms/{name}")).into_iter().flatten();
            service.set_credential(
                fields
                    .map(|(field, value)| (field.clone(), value.expose_secret().to_owned()))
                    .collect(),
                None,
            );
            self.resume(name).await?;
        }
        Ok(())
    }

    /// Prints what to try, and waits for a signal.
    async fn keep_running(&self, signals: &mut ShutdownSignals) -> anyhow::Result<()> {
        let request = self.backend().build_request("+998901234599", 99)?;
        print::try_it(&print::TryIt {
            proxy: self.proxy,
            admin: self.admin,
            config: &self.folder.path().join("config.toml"),
            path: &format!("/{}{}", self.dialect.name, request.url.path()),
            body: &String::from_utf8_lossy(&request.body),
        });
        signals.recv().await;
        Ok(())
    }
}

fn find_dialect(catalog: &Catalog, name: &str) -> anyhow::Result<Arc<Dialect>> {
    catalog
        .get(name)
        .cloned()
        .with_context(|| format!("no description of {name}"))
}

/// Opens a simulated service for each account, and stores the account's credential in the vault.
async fn open_services(
    script: &DemoScript,
    catalog: &Catalog,
    vault: &Embedded,
) -> anyhow::Result<BTreeMap<String, Arc<SimulatedService>>> {
    let mut services = BTreeMap::new();
    for (name, account) in &script.accounts {
        let dialect = find_dialect(catalog, name)?;
        let service = SimulatedService::open(dialect, account.credential.clone()).await?;
        services.insert(name.clone(), service);
        store_credential(vault, name, &account.credential)?;
    }
    Ok(services)
}

fn render_config(
    script: &DemoScript,
    folder: &Path,
    proxy: SocketAddr,
    admin: SocketAddr,
    services: &BTreeMap<String, Arc<SimulatedService>>,
) -> String {
    let fixed = [
        ("proxy", proxy.to_string()),
        ("admin", admin.to_string()),
        ("folder", folder.display().to_string()),
    ];
    let base_urls = services
        .iter()
        .map(|(name, service)| (name.as_str(), service.base_url()));
    fixed
        .into_iter()
        .chain(base_urls)
        .fold(script.sidecar.clone(), |text, (hole, value)| {
            text.replace(&format!("{{{hole}}}"), &value)
        })
}

fn store_credential(
    vault: &Embedded,
    name: &str,
    credential: &BTreeMap<String, String>,
) -> anyhow::Result<()> {
    let fields = credential
        .iter()
        .map(|(field, value)| (field.clone(), SecretString::from(value.clone())))
        .collect();
    vault.update(|entries| entries.insert(format!("sms/{name}"), fields))?;
    Ok(())
}
