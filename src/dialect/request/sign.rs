//! Signatures: Basic, bearer, a header of the service's own, AWS Signature Version 4; and
//! digests over templates. Each kind has a service that needs it and a test vector.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use hmac::{Hmac, Mac};
use http::HeaderMap;
use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use jiff::Timestamp;
use md5::Md5;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};

use crate::dialect::ProviderRequest;
use crate::dialect::expr::filter::hex_encode;
use crate::dialect::expr::scope::Scope;
use crate::dialect::expr::template::StringTemplate;
use crate::dialect::model::{DigestSpec, HashAlgorithm, SigningScheme};
use crate::dialect::wire::body;

/// The digests of the description, by name, without those whose input has no value.
pub(crate) fn digests(specs: &[DigestSpec], scope: &Scope<'_>) -> BTreeMap<String, String> {
    specs
        .iter()
        .filter_map(|spec| Some((spec.name.clone(), compute_digest(spec, scope)?)))
        .collect()
}

fn compute_digest(spec: &DigestSpec, scope: &Scope<'_>) -> Option<String> {
    let text = spec.input.render(scope)?;
    let bytes = match &spec.algorithm {
        HashAlgorithm::Md5 => Md5::digest(text).to_vec(),
        HashAlgorithm::Sha256 => Sha256::digest(text).to_vec(),
        HashAlgorithm::HmacSha256(key) => {
            hmac_sha256(key.render(scope)?.as_bytes(), text.as_bytes())
        }
    };
    Some(if spec.base64 {
        BASE64_STANDARD.encode(bytes)
    } else {
        hex_encode(&bytes)
    })
}

/// Signs the finished request; none if a field for the signature is missing.
pub(crate) fn sign(
    sign: &SigningScheme,
    request: &mut ProviderRequest,
    scope: &Scope<'_>,
) -> Option<()> {
    let text = |template: &StringTemplate| template.render(scope);
    match sign {
        SigningScheme::Basic { user, password } => {
            let mut pair = text(user)?;
            pair.push(':');
            pair.push_str(&text(password)?);
            let mut value = "Basic ".to_owned();
            BASE64_STANDARD.encode_string(pair, &mut value);
            insert_secret_header(&mut request.headers, AUTHORIZATION, value)
        }
        SigningScheme::Bearer(value) => insert_secret_header(
            &mut request.headers,
            AUTHORIZATION,
            format!("Bearer {}", text(value)?),
        ),
        SigningScheme::Header { name, value } => {
            insert_secret_header(&mut request.headers, name.parse().ok()?, text(value)?)
        }
        SigningScheme::Sigv4 {
            service,
            region,
            access_key,
            secret_key,
        } => {
            let keys = SigV4Signer {
                service: &text(service)?,
                region: &text(region)?,
                access_key: &text(access_key)?,
                secret_key: &text(secret_key)?,
            };
            keys.sign(request, scope.now?)
        }
    }
}

fn insert_secret_header(headers: &mut HeaderMap, name: HeaderName, value: String) -> Option<()> {
    let mut value = HeaderValue::from_maybe_shared(Bytes::from(value)).ok()?;
    value.set_sensitive(true);
    headers.insert(name, value);
    Some(())
}

fn hmac_sha256(key: &[u8], text: &[u8]) -> Vec<u8> {
    // HMAC takes a key of any length, so there is no error
    Hmac::<Sha256>::new_from_slice(key)
        .map(|mac| mac.chain_update(text).finalize().into_bytes().to_vec())
        .unwrap_or_default()
}

struct SigV4Signer<'a> {
    service: &'a str,
    region: &'a str,
    access_key: &'a str,
    secret_key: &'a str,
}

/// The characters that AWS does not encode.
const SIGV4_ENCODE_SET: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

impl SigV4Signer<'_> {
    fn sign(&self, request: &mut ProviderRequest, now: Timestamp) -> Option<()> {
        let now = now.to_zoned_datetime(jiff::tz::TimeZone::UTC);
        let stamp = now.strftime("%Y%m%dT%H%M%SZ").to_string();
        let day = now.strftime("%Y%m%d").to_string();
        request
            .headers
            .insert("x-amz-date", HeaderValue::from_str(&stamp).ok()?);
        let canonical = CanonicalRequest::of(request)?;
        let scope = format!("{day}/{}/{}/aws4_request", self.region, self.service);
        let to_sign = format!(
            "AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{}",
            hex_encode(&Sha256::digest(&canonical.text))
        );
        let start = format!("AWS4{}", self.secret_key).into_bytes();
        let key = [day.as_str(), self.region, self.service, "aws4_request"]
            .iter()
            .fold(start, |key, part| hmac_sha256(&key, part.as_bytes()));
        let signature = hex_encode(&hmac_sha256(&key, to_sign.as_bytes()));
        let value = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={}, Signature={signature}",
            self.access_key, canonical.signed_headers
        );
        insert_secret_header(&mut request.headers, AUTHORIZATION, value)
    }
}

/// A request in the form that Signature Version 4 signs.
struct CanonicalRequest {
    /// The names of the signed headers, separated by `;`.
    signed_headers: String,
    text: String,
}

impl CanonicalRequest {
    fn of(request: &ProviderRequest) -> Option<Self> {
        let headers = signed_headers(request)?;
        let names: Vec<&str> = headers.keys().map(String::as_str).collect();
        let names = names.join(";");
        let lines: Vec<String> = headers
            .iter()
            .map(|(name, value)| format!("{name}:{value}\n"))
            .collect();
        let lines = lines.concat();
        let path: Vec<String> = request
            .url
            .path()
            .split('/')
            .map(|segment| utf8_percent_encode(segment, SIGV4_ENCODE_SET).to_string())
            .collect();
        let text = format!(
            "{}\n{}\n{}\n{lines}\n{names}\n{}",
            request.method,
            path.join("/"),
            canonical_query(request.url.query().unwrap_or_default())?,
            hex_encode(&Sha256::digest(&request.body)),
        );
        Some(Self {
            signed_headers: names,
            text,
        })
    }
}

/// `host`, `content-type` and the headers of AWS, in the order of their names.
fn signed_headers(request: &ProviderRequest) -> Option<BTreeMap<String, String>> {
    let mut headers: BTreeMap<String, String> = BTreeMap::new();
    headers.insert("host".into(), request.url.authority()?.as_str().to_owned());
    for (name, value) in &request.headers {
        if name == "content-type" || name.as_str().starts_with("x-amz-") {
            let words: Vec<&str> = value.to_str().ok()?.split_whitespace().collect();
            headers.insert(name.to_string(), words.join(" "));
        }
    }
    Some(headers)
}

/// The pairs of a query, encoded as AWS does it and sorted.
fn canonical_query(query: &str) -> Option<String> {
    let encode = |text: &str| {
        body::decode_component(text)
            .map(|text| utf8_percent_encode(&text, SIGV4_ENCODE_SET).to_string())
    };
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let mut pairs: Vec<(String, String)> = pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((encode(name)?, encode(value)?))
        })
        .collect::<Option<_>>()?;
    pairs.sort();
    let pairs: Vec<String> = pairs
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    Some(pairs.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::{Credential, SecretFields, Version};

    fn scope_with<R>(fields: &[(&str, &str)], run: impl FnOnce(&Scope<'_>) -> R) -> R {
        let fields: SecretFields = fields
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).into()))
            .collect();
        let (credential, params) = (Credential::new(Version(1), fields), BTreeMap::new());
        let account = crate::dialect::Account {
            base_url: "",
            credential: &credential,
            params: &params,
            sender: None,
            token: None,
        };
        run(&Scope {
            account: Some(&account),
            now: Some("2026-01-02T03:04:05Z".parse().unwrap()),
            ..Scope::default()
        })
    }

    fn signed(
        url: &str,
        headers: &[(&'static str, &str)],
        body: &'static str,
        service: &str,
    ) -> String {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect();
        let mut request = ProviderRequest {
            method: http::Method::POST,
            url: url.parse().unwrap(),
            headers,
            body: body.into(),
        };
        let template = |text: &str| StringTemplate::parse(text).unwrap();
        let aws = SigningScheme::Sigv4 {
            service: template(service),
            region: template("eu-central-1"),
            access_key: template("{credential.id}"),
            secret_key: template("{credential.key}"),
        };
        scope_with(
            &[
                ("id", "AKIDEXAMPLE"),
                ("key", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
            ],
            |scope| sign(&aws, &mut request, scope),
        )
        .unwrap();
        assert!(request.headers["authorization"].is_sensitive());
        request.headers["authorization"]
            .to_str()
            .unwrap()
            .to_owned()
    }

    #[test]
    fn signature_version_4_gives_botocores_signatures() {
        let sns = signed(
            "https://sns.eu-central-1.amazonaws.com/",
            &[(
                "content-type",
                "application/x-www-form-urlencoded; charset=utf-8",
            )],
            "Action=Publish&Version=2010-03-31&PhoneNumber=%2B998901234567&Message=code+123456",
            "sns",
        );
        assert!(
            sns.contains("Credential=AKIDEXAMPLE/20260102/eu-central-1/sns/aws4_request, SignedHeaders=content-type;host;x-amz-date,"),
            "{sns}"
        );
        assert!(
            sns.ends_with(
                "Signature=b9a19f1e782c4d5d83ee4f2124f1cc6fc3643e10467f31ea20fe6215b6d539d4"
            ),
            "{sns}"
        );
        let eum = signed(
            "https://sms-voice.eu-central-1.amazonaws.com/",
            &[
                ("content-type", "application/x-amz-json-1.0"),
                ("x-amz-target", "PinpointSMSVoiceV2.SendTextMessage"),
            ],
            r#"{"DestinationPhoneNumber":"+998901234567","MessageBody":"code 123456"}"#,
            "sms-voice",
        );
        assert!(
            eum.ends_with(
                "Signature=0bc238883011c09c68a502a67daa59eae8eb02dec832a4ac8f2c65dfe1ac32d8"
            ),
            "{eum}"
        );
    }

    #[test]
    fn digests_give_the_published_values() {
        let spec = |of: &str, with, base64| DigestSpec {
            name: "x".into(),
            input: StringTemplate::parse(of).unwrap(),
            algorithm: with,
            base64,
        };
        scope_with(&[("s", "topsecret"), ("u", "partner")], |scope| {
            // RFC 1321 and FIPS 180 vectors, then one with holes
            assert_eq!(
                compute_digest(&spec("abc", HashAlgorithm::Md5, false), scope).unwrap(),
                "900150983cd24fb0d6963f7d28e17f72"
            );
            assert_eq!(
                compute_digest(&spec("abc", HashAlgorithm::Sha256, true), scope).unwrap(),
                "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="
            );
            let base =
                "&api_key=abcd1234&from=Acme&text=hello&timestamp=1767323045&to=998001234567";
            let key = HashAlgorithm::HmacSha256(StringTemplate::parse("{credential.s}").unwrap());
            assert_eq!(
                compute_digest(&spec(base, key, false), scope)
                    .unwrap()
                    .len(),
                64
            );
            let sayqal = compute_digest(
                &spec(
                    "TransmitSMS {credential.u} {credential.s} {now | unix}",
                    HashAlgorithm::Md5,
                    false,
                ),
                scope,
            )
            .unwrap();
            assert_eq!(
                sayqal,
                hex_encode(&Md5::digest("TransmitSMS partner topsecret 1767323045"))
            );
        });
    }

    #[test]
    fn the_hmac_is_the_one_of_the_reference() {
        let base = "&api_key=abcd1234&from=Acme&text=hello&timestamp=1767323045&to=998901234567";
        assert_eq!(
            hex_encode(&hmac_sha256(b"topsecret", base.as_bytes())),
            "7171f34ab409e60d8f061824dfd0ea930a39f033c1370091f5ccf23d081342e0"
        );
    }
}
