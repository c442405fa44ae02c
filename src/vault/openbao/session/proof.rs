//! The proof of a login, read from its files each time so that a change needs no restart. A wrapped
//! secret id is unwrapped once, because the server allows it once. It is then kept in memory, and
//! after a restart the file must hold a new one.

use std::path::PathBuf;
use std::sync::Arc;

use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::secret::SecretString;
use crate::vault::entry::usable_value;
use crate::vault::error::ReadError;
use crate::vault::file;
use crate::vault::openbao::http::VaultRequest;
use crate::vault::openbao::reply;
use crate::vault::openbao::server::VaultServer;
use crate::vault::openbao::settings::OpenBaoAuth;
use crate::vault::source::read_blocking;

/// A secret id, and the wrapping token that it comes from.
#[derive(Debug)]
pub(super) struct UnwrappedSecretId {
    wrapping_token: SecretString,
    secret_id: SecretString,
}

/// The fields of a login.
#[derive(Debug)]
pub(super) struct LoginProof {
    fields: [(&'static str, SecretString); 2],
}

impl PartialEq for LoginProof {
    fn eq(&self, other: &Self) -> bool {
        self.fields
            .iter()
            .zip(&other.fields)
            .all(|((_, one), (_, other))| one.expose_secret() == other.expose_secret())
    }
}

impl LoginProof {
    pub(super) fn body(&self) -> Value {
        self.fields
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Value::from(value.expose_secret())))
            .collect()
    }

    pub(super) fn secrets(&self) -> Vec<&str> {
        self.fields
            .iter()
            .map(|(_, value)| value.expose_secret())
            .collect()
    }
}

/// Reads what a login needs.
pub(super) async fn read_proof(
    auth: &OpenBaoAuth,
    server: &VaultServer,
    wrapped: &mut Option<UnwrappedSecretId>,
) -> Result<LoginProof, ReadError> {
    match auth {
        OpenBaoAuth::TokenFile(file) => Ok(LoginProof {
            fields: [
                ("token", read_single_line(file.clone()).await?),
                ("", SecretString::from("")),
            ],
        }),
        OpenBaoAuth::Jwt { role, jwt_file, .. } => Ok(LoginProof {
            fields: [
                ("role", SecretString::from(role.as_str())),
                ("jwt", read_single_line(jwt_file.clone()).await?),
            ],
        }),
        OpenBaoAuth::AppRole {
            role_id_file,
            secret_id_file,
            wrapped: is_wrapped,
            ..
        } => {
            let role = read_single_line(role_id_file.clone()).await?;
            let given = read_single_line(secret_id_file.clone()).await?;
            let secret = if *is_wrapped {
                unwrap_secret_id(auth, server, given, wrapped).await?
            } else {
                given
            };
            Ok(LoginProof {
                fields: [("role_id", role), ("secret_id", secret)],
            })
        }
    }
}

async fn unwrap_secret_id(
    auth: &OpenBaoAuth,
    server: &VaultServer,
    wrapping: SecretString,
    known: &mut Option<UnwrappedSecretId>,
) -> Result<SecretString, ReadError> {
    if let Some(known) = known
        .as_ref()
        .filter(|known| known.wrapping_token.expose_secret() == wrapping.expose_secret())
    {
        return Ok(known.secret_id.clone());
    }
    let token = Arc::new(wrapping.clone());
    let answer = server
        .send(&VaultRequest::post(
            "sys/wrapping/unwrap".to_owned(),
            Some(&token),
            &json!({}),
        ))
        .await?;
    let Some(id) = reply::unwrapped_secret_id(answer.json()).filter(|_| answer.status.is_success())
    else {
        let why = "the wrapped secret id was used already or has run out: by us before a restart, or by somebody else, in which case revoke it; put a new one into `secret_id_file` (`bao write -f -wrap-ttl=5m auth/approle/role/NAME/secret-id`)";
        return Err(ReadError::LoginRejected {
            location: server.location().into(),
            login_method: login_name(auth),
            why: why.into(),
        });
    };
    *known = Some(UnwrappedSecretId {
        wrapping_token: wrapping,
        secret_id: id.clone(),
    });
    Ok(id)
}

/// The one line of a file.
pub(super) async fn read_single_line(path: PathBuf) -> Result<SecretString, ReadError> {
    read_blocking(path.display().to_string(), move || {
        let text = file::read_text(
            &path,
            "the vault's login needs it; let the service's user read it",
        )?;
        let malformed = |what: &str| ReadError::Malformed {
            file: path.as_path().into(),
            what: what.into(),
        };
        let line = usable_value(&text)
            .map_err(|what| malformed(&format!("its text {what}")))?
            .text;
        if line.contains(' ') {
            return Err(malformed("it must hold one line and no blank"));
        }
        Ok(SecretString::from(line))
    })
    .await
}

/// The name of the login method.
pub(super) fn login_name(auth: &OpenBaoAuth) -> &'static str {
    match auth {
        OpenBaoAuth::TokenFile(_) => "token",
        OpenBaoAuth::AppRole { .. } => "AppRole login",
        OpenBaoAuth::Jwt {
            kubernetes: true, ..
        } => "Kubernetes login",
        OpenBaoAuth::Jwt {
            kubernetes: false, ..
        } => "JWT login",
    }
}

/// The mount of the login method.
pub(super) fn login_mount(auth: &OpenBaoAuth) -> &str {
    match auth {
        OpenBaoAuth::TokenFile(_) => "token",
        OpenBaoAuth::AppRole { mount, .. } | OpenBaoAuth::Jwt { mount, .. } => mount,
    }
}

/// What to do if the server rejects it.
pub(super) fn remedy(auth: &OpenBaoAuth) -> &'static str {
    match auth {
        OpenBaoAuth::TokenFile(_) => "put a fresh token into `token_file`",
        OpenBaoAuth::AppRole { .. } => {
            "put a role id and a secret id of one role into the files (`bao read auth/approle/role/NAME/role-id`, `bao write -f auth/approle/role/NAME/secret-id`)"
        }
        OpenBaoAuth::Jwt {
            kubernetes: true, ..
        } => "compare `role` with the service account and namespace that it is bound to",
        OpenBaoAuth::Jwt {
            kubernetes: false, ..
        } => "compare `role` with its bound audience, subject and claims, and the token's end",
    }
}
