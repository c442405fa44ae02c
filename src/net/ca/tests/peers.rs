//! What OpenSSL, Node and rustls accept from the CA.

use std::net::TcpListener;
use std::process::Command;

use rcgen::{CidrSubnet, GeneralSubtree, NameConstraints, SanType};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::{RootCertStore, ServerConnection, StreamOwned};
use rustls_pki_types::{ServerName, UnixTime};

use super::*;

/// The hosts of the CA that the peers see, one of them below the other.
const HOSTS: [&str; 3] = ["api.one.test", "open.test", "x.open.test"];

fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

/// The names for which no certificate of the CA may be accepted.
fn denied_names() -> Vec<SanType> {
    let mut denied: Vec<_> = [
        "bank.test",
        "one.test",
        "evilapi.one.test",
        "x.api.one.test",
        "a.b.api.one.test",
        "*.api.one.test",
        "*.one.test",
        "y.x.open.test",
    ]
    .map(dns)
    .into();
    denied
        .extend(["127.0.0.1", "10.1.2.3", "::1"].map(|ip| SanType::IpAddress(ip.parse().unwrap())));
    denied.extend(
        ["me@bank.test", "me@api.one.test", "me@x.open.test"]
            .map(|name| SanType::Rfc822Name(name.try_into().unwrap())),
    );
    denied.extend(
        [
            "https://bank.test/",
            "https://api.one.test/",
            "spiffe://open.test/x",
        ]
        .map(|name| SanType::URI(name.try_into().unwrap())),
    );
    denied
}

/// A leaf that the CA itself does not issue.
struct RogueLeaf {
    der: CertificateDer<'static>,
    pem: String,
    key: KeyPair,
}

impl RogueLeaf {
    fn sign(ca: &Ca, names: &[SanType]) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name("rogue");
        params.subject_alt_names = names.to_vec();
        params.not_after = (clock().wall_clock() + BACKDATE).into();
        let cert = params.signed_by(&key, &ca.issuer).unwrap();
        let (der, pem) = (cert.der().clone(), cert.pem());
        Self { der, pem, key }
    }

    fn server_config(&self) -> Arc<ServerConfig> {
        let key = PrivateKeyDer::Pkcs8(self.key.serialize_der().into());
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.der.clone()], key);
        Arc::new(config.unwrap())
    }
}

/// Whether a client accepts a leaf, and its words if it does not.
type LeafCheck = Result<(), String>;

fn openssl(folder: &TempDir, args: &[&str]) -> LeafCheck {
    let done = Command::new("openssl")
        .args(args)
        .current_dir(folder.path())
        .output()
        .expect("openssl is installed");
    let text = [done.stdout, done.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    done.status.success().then_some(()).ok_or(text.concat())
}

fn openssl_verifies(folder: &TempDir, leaf: &RogueLeaf) -> LeafCheck {
    fs::write(folder.path().join("rogue.pem"), &leaf.pem).unwrap();
    openssl(folder, &["verify", "-CAfile", "ca.pem", "rogue.pem"])
}

fn rustls_verifies(ca: &Ca, leaf: &RogueLeaf) -> LeafCheck {
    let mut roots = RootCertStore::empty();
    roots.add(ca.cert.clone()).unwrap();
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
    let host = ServerName::try_from("api.one.test").unwrap();
    let now = UnixTime::now();
    let checked = verifier
        .build()
        .unwrap()
        .verify_server_cert(&leaf.der, &[], &host, &[], now);
    checked.map(drop).map_err(|error| error.to_string())
}

const NODE: &str = r"
const [port, servername] = process.argv.slice(1);
const socket = require('tls').connect({ host: '127.0.0.1', port, servername, checkServerIdentity: () => undefined }, () => { console.log('accepted'); socket.destroy(); });
socket.on('error', (error) => console.log(error.code + ' ' + error.message));
";

/// Node's result in a real handshake. It checks the chain, not whether the name is the one it asked for.
fn node_verifies(folder: &TempDir, config: Arc<ServerConfig>) -> LeafCheck {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let server = std::thread::spawn(move || {
        let (tcp, _) = listener.accept().unwrap();
        let connection = ServerConnection::new(config).unwrap();
        // Ends when the client closes; a client that rejects sends an alert.
        let end = std::io::Read::read(&mut StreamOwned::new(connection, tcp), &mut [0; 16]);
        end.is_ok()
    });
    let done = Command::new("node")
        .args(["-e", NODE, &port, "api.one.test"])
        .env("NODE_EXTRA_CA_CERTS", folder.path().join("ca.pem"))
        .output()
        .expect("node is installed");
    server.join().unwrap();
    let said = String::from_utf8_lossy(&done.stdout).trim().to_owned();
    if said == "accepted" {
        Ok(())
    } else {
        Err(said)
    }
}

#[test]
fn openssl_and_rustls_accept_it_for_its_hosts_only() {
    let (folder, _, ca) = made(&HOSTS);
    for good in [
        "api.one.test",
        "open.test",
        "x.open.test",
        "other.open.test",
    ] {
        let leaf = RogueLeaf::sign(&ca, &[dns("api.one.test"), dns(good)]);
        assert_eq!(openssl_verifies(&folder, &leaf), Ok(()), "{good}");
        assert_eq!(rustls_verifies(&ca, &leaf), Ok(()), "{good}");
    }
    for bad in denied_names() {
        // A permitted name beside it does not help.
        let leaf = RogueLeaf::sign(&ca, &[dns("api.one.test"), bad.clone()]);
        let error = openssl_verifies(&folder, &leaf).unwrap_err();
        assert!(error.contains("subtree violation"), "{bad:?}: {error}");
        let error = rustls_verifies(&ca, &leaf).unwrap_err();
        assert!(
            error.contains("NameConstraintViolation"),
            "{bad:?}: {error}"
        );
    }
}

#[test]
fn node_accepts_it_for_its_hosts_only() {
    let (folder, _, ca) = made(&HOSTS);
    let issued = ca.server_config_for("api.one.test").unwrap();
    assert_eq!(node_verifies(&folder, issued), Ok(()));
    for bad in denied_names() {
        let leaf = RogueLeaf::sign(&ca, &[dns("api.one.test"), bad.clone()]);
        let error = node_verifies(&folder, leaf.server_config()).unwrap_err();
        assert!(error.contains("subtree violation"), "{bad:?}: {error}");
    }
}

/// A server that trusts the CA, and asks its clients for certificates, must not take one that the CA's key signed.
#[test]
fn openssl_accepts_no_client_certificate() {
    let (folder, settings, ca) = made(&HOSTS);
    let leaf = RogueLeaf::sign(&ca, &[dns("api.one.test")]);
    let as_client = ["-purpose", "sslclient", "-CAfile", "ca.pem", "rogue.pem"];
    let verify = [["verify"].as_slice(), &as_client].concat();
    assert_eq!(openssl_verifies(&folder, &leaf), Ok(()));
    let error = openssl(&folder, &verify).unwrap_err();
    assert!(error.contains("unsuitable certificate purpose"), "{error}");
    make_broad(&settings);
    assert_eq!(openssl(&folder, &verify), Ok(()), "an older CA did");
}

#[test]
fn openssl_shows_every_constraint() {
    let (folder, _, _) = made(&HOSTS);
    let shown = ["x509", "-in", "ca.pem", "-noout", "-text", "-out", "shown"];
    openssl(&folder, &shown).unwrap();
    let text = fs::read_to_string(folder.path().join("shown")).unwrap();
    for line in [
        "Name Constraints: critical",
        "DNS:api.one.test",
        "DNS:.api.one.test",
        "DNS:.x.open.test",
        "email:sms-sidecar.invalid",
        "URI:sms-sidecar.invalid",
        "IP:0.0.0.0/0.0.0.0",
        "pathlen:0",
        "Basic Constraints: critical",
        "TLS Web Server Authentication",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    assert!(!text.contains("DNS:.open.test"), "a host lies below it");
}

/// Replaces the certificate by one as releases before the exclusions made it.
fn make_broad(settings: &CaSettings) -> Ca {
    let key = files::read_key(&settings.key_file).unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name("sms-sidecar local CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let permitted = HOSTS.map(|host| GeneralSubtree::DnsName(host.to_owned()));
    let excluded = [
        CidrSubnet::V4([0; 4], [0; 4]),
        CidrSubnet::V6([0; 16], [0; 16]),
    ];
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: permitted.into(),
        excluded_subtrees: excluded.map(GeneralSubtree::IpAddress).into(),
    });
    fs::write(&settings.cert_file, params.self_signed(&key).unwrap().pem()).unwrap();
    Ca::load(settings, clock()).unwrap()
}

#[test]
fn a_broad_ca_works_is_named_and_is_narrowed_with_the_same_key() {
    let (folder, settings, _) = made(&HOSTS);
    let broad = make_broad(&settings);
    let issued = broad.server_config_for("api.one.test").unwrap();
    assert_eq!(node_verifies(&folder, issued), Ok(()));
    assert!(broad.covers("x.api.one.test"));
    let needed = limited_to(&HOSTS);
    assert_eq!(
        broad.constraints.excess_over(&needed),
        [
            "e-mail addresses",
            "URIs",
            "client certificates",
            "sub-domains of api.one.test, x.open.test"
        ]
    );
    let trusted = fs::read(&settings.cert_file).unwrap();
    let now = clock().wall_clock();
    create(&settings, &needed, YEAR, now, CaCreateMode::KeepKey).unwrap();
    let narrow = Ca::load(&settings, clock()).unwrap();
    assert_eq!(narrow.constraints, needed);
    assert!(narrow.constraints.excess_over(&needed).is_empty());
    // A backend that has not been restarted trusts the old certificate.
    fs::write(&settings.cert_file, trusted).unwrap();
    let issued = narrow.server_config_for("api.one.test").unwrap();
    assert_eq!(node_verifies(&folder, issued), Ok(()));
}
