//! `sms-sidecar demo`: the main job on loopback, in seconds. Simulated services, an embedded
//! vault, the real sidecar as a process of its own, and a backend's calls over real HTTP. What
//! happens is a script (`config/demo.toml`); a scene that ends otherwise than it says is a failure.

mod backend;
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
use http::Request;
use http_body_util::Full;
use secrecy::ExposeSecret;
use serde_json::Value;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::output;
use crate::dialect::{Catalog, Dialect};
use crate::secret::SecretString;
use crate::vault::embedded::Embedded;
use backend::BackendResponse;
use script::{DemoScript, Scene};
use service::{ServiceMode, SimulatedService};
use sidecar::SidecarProcess;

/// What to leave behind.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Stay up afterwards, with every account healed, and print addresses and what to try.
    #[arg(long)]
    keep: bool,
}

/// Everything on the stage.
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
    reason = "the demo tells how long each step took on this machine"
)]
async fn run_demo(args: &Args) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut ending = ShutdownSignals::new()?;
    let mut stage = DemoEnvironment::start().await?;
    output::line(format_args!("{}\n", stage.script.intro));
    output::line(format_args!(
        "    sidecar up on {} in {} ms, credentials in {}\n",
        stage.proxy,
        began.elapsed().as_millis(),
        stage.vault_path().display()
    ));
    let played = tokio::select! {
        played = stage.run_scenes() => played,
        () = ending.recv() => Err(anyhow::anyhow!("the demo was ended before its last scene")),
    };
    if played.is_ok() {
        output::line(format_args!(
            "All of it in {:.1} s.",
            began.elapsed().as_secs_f64()
        ));
    }
    if played.is_ok() && args.keep {
        stage.restore_accounts().await?;
        stage.keep_running(&mut ending).await?;
    }
    stage.sidecar.stop().await?;
    played
}

/// Ctrl-C and what a service manager says: heard, so that the folder with its vault goes with us.
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
        let (catalog, problems) = Catalog::load(&Catalog::built_in_sources());
        ensure!(
            problems.is_empty(),
            "the built-in descriptions have errors: {problems:?}"
        );
        let dialect = |name: &str| {
            catalog
                .get(name)
                .cloned()
                .with_context(|| format!("no description of {name}"))
        };
        let folder = tempfile::Builder::new()
            .prefix("sms-sidecar-demo")
            .tempdir()?;
        let vault = Embedded::new(
            folder.path().join("vault.age"),
            folder.path().join("vault.key"),
        );
        vault.init()?;
        let mut services = BTreeMap::new();
        for (name, account) in &script.accounts {
            services.insert(
                name.clone(),
                SimulatedService::open(dialect(name)?, account.credential.clone()).await?,
            );
            store_credential(&vault, name, &account.credential)?;
        }
        let (proxy, admin) = (
            sidecar::free_address().await?,
            sidecar::free_address().await?,
        );
        let config = render_config(&script, folder.path(), proxy, admin, &services);
        let file = folder.path().join("config.toml");
        std::fs::write(&file, config)?;
        let spoken = dialect(&script.dialect)?;
        let sidecar = SidecarProcess::start(&file).await?;
        Ok(Self {
            script,
            folder,
            vault,
            services,
            dialect: spoken,
            proxy,
            admin,
            sidecar,
        })
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
        reason = "the demo tells how long each step took on this machine"
    )]
    async fn run_scene(&mut self, number: usize) -> anyhow::Result<()> {
        let scene = self
            .script
            .scenes
            .get(number)
            .cloned()
            .context("no such scene")?;
        let bold = anstyle::Style::new().bold();
        output::line(format_args!(
            "{bold} {}  {}{bold:#}",
            number + 1,
            scene.title
        ));
        self.prepare(&scene).await?;
        let request = backend::build_request(&self.dialect, &scene.to, &self.script.text, number)?;
        let began = Instant::now();
        let got = backend::send_request(self.proxy, &self.dialect, request).await?;
        let took = began.elapsed();
        let said = self.sidecar.read_until("request ").await?;
        print_outcome(&got, took.as_millis(), &said);
        self.check_expectation(&scene, &got)?;
        for service in self.services.values() {
            service.set_mode(ServiceMode::Normal);
            service.take_texts();
        }
        Ok(())
    }

    /// What goes wrong in this scene.
    async fn prepare(&self, scene: &Scene) -> anyhow::Result<()> {
        if let Some(name) = &scene.resume {
            output::line(format_args!("    $ sms-sidecar resume {name}"));
            self.resume(name).await?;
        }
        for (name, cause) in &scene.reject {
            let cause = cause
                .parse()
                .map_err(|()| anyhow::anyhow!("`{cause}` is no cause"))?;
            self.service(name)?.set_mode(ServiceMode::Reject(cause));
        }
        if let Some(name) = &scene.drop_reply {
            self.service(name)?.set_mode(ServiceMode::DropReply);
        }
        if let Some(name) = &scene.rotate {
            let renewed = self
                .script
                .accounts
                .get(name)
                .map(|account| account.rotated_credential.clone())
                .unwrap_or_default();
            let (vault, entry, fields) = (self.vault.clone(), name.clone(), renewed.clone());
            let into_vault =
                move || store_credential(&vault, &entry, &fields).unwrap_or_else(output::error);
            self.service(name)?
                .set_credential(renewed, Some(Box::new(into_vault)));
        }
        for name in &scene.revoke {
            let other = BTreeMap::from([("nobody".to_owned(), "knows it".to_owned())]);
            self.service(name)?.set_credential(other, None);
        }
        Ok(())
    }

    fn service(&self, name: &str) -> anyhow::Result<&Arc<SimulatedService>> {
        self.services
            .get(name)
            .with_context(|| format!("no simulated service {name}"))
    }

    fn check_expectation(&self, scene: &Scene, got: &BackendResponse) -> anyhow::Result<()> {
        let expect = &scene.expect;
        ensure!(
            got.status == expect.status,
            "expected status {}, got {}: {}",
            expect.status,
            got.status,
            got.body
        );
        ensure!(
            got.attempts == expect.attempts,
            "expected {} attempts, got {}",
            expect.attempts,
            got.attempts
        );
        let Some(via) = &expect.via else {
            output::line("");
            return Ok(());
        };
        ensure!(
            got.provider.as_ref() == Some(via),
            "expected {via}, got {:?}",
            got.provider
        );
        let took = self.service(via)?.take_texts();
        ensure!(took.len() == 1, "{via} took {} messages", took.len());
        output::line(format_args!("    {via} was given: {}\n", took.concat()));
        Ok(())
    }

    /// What Grafana would draw.
    async fn print_metrics(&self) -> anyhow::Result<()> {
        let request = Request::builder()
            .uri("/metrics")
            .header("host", self.admin.to_string())
            .body(Full::default())?;
        let got = backend::exchange(self.admin, request).await?;
        let bold = anstyle::Style::new().bold();
        output::line(format_args!(
            "\n{bold}    What Grafana would draw (http://{}/metrics){bold:#}",
            self.admin
        ));
        let shown = [
            "requests_total",
            "attempts_total",
            "upstream_responses_total",
            "failovers_total",
            "possible_duplicates_total",
            "provider_state",
        ];
        let counts = |line: &&str| {
            shown.iter().any(|name| {
                line.strip_prefix("sms_sidecar_")
                    .is_some_and(|rest| rest.starts_with(name))
            }) && !line.ends_with(" 0")
        };
        got.body
            .lines()
            .filter(counts)
            .for_each(|line| output::line(format_args!("    {line}")));
        output::line("");
        Ok(())
    }

    async fn resume(&self, name: &str) -> anyhow::Result<()> {
        let socket = self.folder.path().join("control.sock");
        crate::cli::control::exchange(
            &socket,
            http::Method::POST,
            &format!("/resume/{name}"),
            &Value::Null,
        )
        .await?;
        Ok(())
    }

    /// Every service takes what the vault holds again, and no provider stands aside: what is tried from here on is delivered.
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

    /// Stays until it is asked to end.
    async fn keep_running(&self, ending: &mut ShutdownSignals) -> anyhow::Result<()> {
        let request =
            backend::build_request(&self.dialect, "+998901234599", &self.script.text, 99)?;
        let (door, dialect, path) = (self.proxy, &self.dialect.name, request.url.path());
        let config = self.folder.path().join("config.toml");
        output::line(format_args!(
            "Still up, every account healed. Entrypoints on http://{door}, config {}\nThe status page, for a browser: http://{}/",
            config.display(),
            self.admin
        ));
        let body = String::from_utf8_lossy(&request.body).into_owned();
        output::line(format_args!(
            "Try:\n  curl -i http://{door}/{dialect}{path} -H 'Content-Type: application/json' -d '{body}'\n  sms-sidecar status --config {}\nCtrl-C ends it.",
            config.display()
        ));
        ending.recv().await;
        Ok(())
    }
}

/// What the backend got, and what the sidecar says about it.
fn print_outcome(got: &BackendResponse, took: u128, said: &[Value]) {
    let retry = got
        .retry_after
        .as_ref()
        .map(|after| format!(", Retry-After {after}"))
        .unwrap_or_default();
    output::line(format_args!(
        "    backend got {}{retry} in {took} ms: {}",
        got.status, got.body
    ));
    for line in said {
        let word = |key: &str| line.get(key).and_then(Value::as_str).unwrap_or_default();
        if let Some(attempts) = line.get("attempts") {
            let attempts = attempts
                .as_str()
                .map_or_else(|| attempts.to_string(), str::to_owned);
            output::line(format_args!(
                "    sidecar says: {} — {attempts}",
                word("result")
            ));
        } else if line.get("state").is_some() && !word("cause").is_empty() {
            output::line(format_args!(
                "    {} is {}: {} → {}",
                word("provider"),
                word("state"),
                word("cause"),
                word("remedy")
            ));
        }
    }
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
    let places = services
        .iter()
        .map(|(name, service)| (name.as_str(), service.base_url()));
    fixed
        .into_iter()
        .chain(places)
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
