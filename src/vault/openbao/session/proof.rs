//! What we prove ourselves with at a login, read from its files each time so that a change needs no
//! restart. A wrapped secret id is unwrapped once, because the server does it once; it is then kept
//! in memory, and after a restart the file must hold a new one.

use std::path::PathBuf;
use std::sync::Arc;

use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::secret::SecretString;
use crate::vault::error::ReadError;
use crate::vault::file;
use crate::vault::openbao::http::Ask;
use crate::vault::openbao::reply;
use crate::vault::openbao::server::Server;
use crate::vault::settings::Auth;
use crate::vault::source::blocking;

/// A secret id, and the wrapping token that it was taken out of.
#[derive(Debug)]
pub(super) struct Wrapped {
    wrapping: SecretString,
    id: SecretString,
}

/// The fields of a login.
#[derive(Debug)]
pub(super) struct Proof {
    fields: [(&'static str, SecretString); 2],
}

impl PartialEq for Proof {
    fn eq(&self, other: &Self) -> bool {
        self.fields.iter().zip(&other.fields).all(|((_, one), (_, other))| one.expose_secret() == other.expose_secret())
    }
}

impl Proof {
    pub(super) fn body(&self) -> Value {
        self.fields.iter().map(|(name, value)| ((*name).to_owned(), Value::from(value.expose_secret()))).collect()
    }

    pub(super) fn secrets(&self) -> Vec<&str> {
        self.fields.iter().map(|(_, value)| value.expose_secret()).collect()
    }
}

/// Reads what a login needs.
pub(super) async fn gather(auth: &Auth, server: &Server, wrapped: &mut Option<Wrapped>) -> Result<Proof, ReadError> {
    match auth {
        Auth::TokenFile(file) => Ok(Proof { fields: [("token", line(file.clone()).await?), ("", SecretString::from(""))] }),
        Auth::Jwt { role, jwt_file, .. } => {
            Ok(Proof { fields: [("role", SecretString::from(role.as_str())), ("jwt", line(jwt_file.clone()).await?)] })
        }
        Auth::AppRole { role_id_file, secret_id_file, wrapped: is_wrapped, .. } => {
            let (role, given) = (line(role_id_file.clone()).await?, line(secret_id_file.clone()).await?);
            let secret = if *is_wrapped { unwrap(auth, server, given, wrapped).await? } else { given };
            Ok(Proof { fields: [("role_id", role), ("secret_id", secret)] })
        }
    }
}

async fn unwrap(auth: &Auth, server: &Server, wrapping: SecretString, known: &mut Option<Wrapped>) -> Result<SecretString, ReadError> {
    if let Some(known) = known.as_ref().filter(|known| known.wrapping.expose_secret() == wrapping.expose_secret()) {
        return Ok(known.id.clone());
    }
    let token = Arc::new(wrapping.clone());
    let answer = server.ask(&Ask::post("sys/wrapping/unwrap".to_owned(), Some(&token), &json!({}))).await?;
    let Some(id) = reply::unwrapped(answer.json()).filter(|_| answer.status.is_success()) else {
        let why = "the wrapped secret id was used already or has run out: by us before a restart, or by somebody else, in which case revoke it; put a new one into `secret_id_file` (`bao write -f -wrap-ttl=5m auth/approle/role/NAME/secret-id`)";
        return Err(ReadError::LoginRefused { place: server.place().into(), how: name(auth), why: why.into() });
    };
    *known = Some(Wrapped { wrapping, id: id.clone() });
    Ok(id)
}

/// The one line of a file.
pub(super) async fn line(path: PathBuf) -> Result<SecretString, ReadError> {
    blocking(path.display().to_string(), move || {
        let text = file::read_text(&path, "the vault's login needs it; let the service's user read it")?;
        let line = text.trim();
        if line.is_empty() || line.contains(char::is_whitespace) {
            return Err(ReadError::Malformed { file: path.into(), what: "it must hold one line and no blank".into() });
        }
        Ok(SecretString::from(line))
    })
    .await
}

/// What the login is called.
pub(super) fn name(auth: &Auth) -> &'static str {
    match auth {
        Auth::TokenFile(_) => "token",
        Auth::AppRole { .. } => "AppRole login",
        Auth::Jwt { kubernetes: true, .. } => "Kubernetes login",
        Auth::Jwt { kubernetes: false, .. } => "JWT login",
    }
}

/// Where it is mounted.
pub(super) fn mount(auth: &Auth) -> &str {
    match auth {
        Auth::TokenFile(_) => "token",
        Auth::AppRole { mount, .. } | Auth::Jwt { mount, .. } => mount,
    }
}

/// What to do if it is refused.
pub(super) fn remedy(auth: &Auth) -> &'static str {
    match auth {
        Auth::TokenFile(_) => "put a fresh token into `token_file`",
        Auth::AppRole { .. } => {
            "put a role id and a secret id of one role into the files (`bao read auth/approle/role/NAME/role-id`, `bao write -f auth/approle/role/NAME/secret-id`)"
        }
        Auth::Jwt { kubernetes: true, .. } => "compare `role` with the service account and namespace that it is bound to",
        Auth::Jwt { kubernetes: false, .. } => "compare `role` with its bound audience, subject and claims, and the token's end",
    }
}
