//! A simulated SMS service: an HTTP server on loopback that follows the same description as the
//! sidecar. It accepts the credential of its account and rejects any other.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use tokio::net::TcpListener;

use crate::dialect::recognise;
use crate::dialect::{
    Dialect, MessageResult, RecognisedRequest, Recognition, Reply, Request, RequestFields,
    RequestTarget,
};
use crate::sms::{Cause, Operation};

/// How a service behaves.
#[derive(Clone, Debug, Default)]
pub(super) enum ServiceMode {
    /// It accepts valid messages.
    #[default]
    Normal,
    /// It rejects messages for this cause.
    Reject(Cause),
    /// It accepts the message and closes the connection without a reply.
    DropReply,
}

/// Runs at the first rejection of a credential.
type RejectionHook = Box<dyn FnOnce() + Send>;

/// One service.
pub(super) struct SimulatedService {
    dialect: Arc<Dialect>,
    pub(super) address: SocketAddr,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    mode: ServiceMode,
    credential: BTreeMap<String, String>,
    /// Whether a client has logged in since the credential last changed.
    logged_in: bool,
    on_rejected: Option<RejectionHook>,
    texts: Vec<String>,
}

impl SimulatedService {
    /// Opens the service on a free port of the loopback.
    pub(super) async fn open(
        dialect: Arc<Dialect>,
        credential: BTreeMap<String, String>,
    ) -> anyhow::Result<Arc<Self>> {
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .await
            .context("cannot listen on 127.0.0.1")?;
        let state = Mutex::new(State {
            credential,
            ..State::default()
        });
        let service = Arc::new(Self {
            dialect,
            address: listener.local_addr()?,
            state,
        });
        tokio::spawn(serve(listener, Arc::clone(&service)));
        Ok(service)
    }

    /// The service's base URL: the path of the description's base URL at the local address.
    pub(super) fn base_url(&self) -> String {
        let path = self
            .dialect
            .base_url()
            .parse::<http::Uri>()
            .map(|uri| uri.path().trim_end_matches('/').to_owned());
        format!("http://{}{}", self.address, path.unwrap_or_default())
    }

    pub(super) fn set_mode(&self, mode: ServiceMode) {
        self.lock().mode = mode;
    }

    /// Accepts only this credential from now on; `on_rejected` runs at the first other one.
    pub(super) fn set_credential(
        &self,
        credential: BTreeMap<String, String>,
        on_rejected: Option<RejectionHook>,
    ) {
        let mut state = self.lock();
        state.credential = credential;
        state.logged_in = false;
        state.on_rejected = on_rejected;
    }

    /// The texts accepted since this was last called.
    pub(super) fn take_texts(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().texts)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The reply; none if it closes the connection.
    fn respond(&self, request: &Request) -> Option<Reply> {
        let seen = match recognise(
            std::slice::from_ref(&self.dialect),
            RequestTarget::Named(&self.dialect),
            request,
            &[],
        ) {
            Recognition::Operation(seen) => seen,
            Recognition::UnlistedOperation(_) | Recognition::Unrecognised => {
                return Some(empty_reply(StatusCode::NOT_FOUND));
            }
        };
        if !self.is_authorized(&seen, request) {
            if let Some(hook) = { self.lock().on_rejected.take() } {
                hook();
            }
            return Some(self.rejection(Cause::CredentialRejected));
        }
        match seen.operation {
            Operation::Login => {
                self.lock().logged_in = true;
                Some(
                    self.dialect
                        .render_login(&seen, &RequestFields::default(), Timestamp::now()),
                )
            }
            Operation::Send => self.accept_message(&seen, request),
            Operation::Status | Operation::Local | Operation::Passthrough | Operation::Other => {
                Some(empty_reply(StatusCode::NOT_FOUND))
            }
        }
    }

    /// Whether the request has the service's credential, or follows a login.
    fn is_authorized(&self, seen: &RecognisedRequest, request: &Request) -> bool {
        let state = self.lock();
        if self.dialect.requires_login() && seen.operation != Operation::Login {
            return state.logged_in;
        }
        let given = self.dialect.extract_credential(seen, request);
        !given.is_empty()
            && given
                .iter()
                .all(|(field, value)| state.credential.get(field) == Some(value))
    }

    fn accept_message(&self, seen: &RecognisedRequest, request: &Request) -> Option<Reply> {
        let mode = self.lock().mode.clone();
        if let ServiceMode::Reject(cause) = mode {
            return Some(self.rejection(cause));
        }
        let Ok(reading) = self.dialect.read(seen, request, "demo") else {
            return Some(empty_reply(StatusCode::BAD_REQUEST));
        };
        if let Some(message) = &reading.message {
            self.lock().texts.push(message.text.expose().to_owned());
        }
        let answer = MessageResult::Accepted { id: "demo-1" };
        let reply = self.dialect.render_result(
            &reading.fields,
            reading.message.as_ref(),
            &answer,
            Timestamp::now(),
        );
        (!matches!(mode, ServiceMode::DropReply)).then_some(reply)
    }

    fn rejection(&self, cause: Cause) -> Reply {
        self.dialect
            .simulate_rejection(cause)
            .unwrap_or_else(|| empty_reply(StatusCode::UNAUTHORIZED))
    }
}

async fn serve(listener: TcpListener, service: Arc<SimulatedService>) {
    while let Ok((stream, _)) = listener.accept().await {
        let service = Arc::clone(&service);
        tokio::spawn(async move {
            let handler = service_fn(|request| handle_request(Arc::clone(&service), request));
            // Some scenes close the connection without a reply.
            http1::Builder::new()
                .serve_connection(TokioIo::new(stream), handler)
                .await
                .unwrap_or_default();
        });
    }
}

/// The service closes the connection without a reply.
#[derive(Debug, thiserror::Error)]
#[error("connection dropped")]
struct ConnectionDropped;

async fn handle_request(
    service: Arc<SimulatedService>,
    request: http::Request<Incoming>,
) -> Result<Response<Full<Bytes>>, ConnectionDropped> {
    let (parts, body) = request.into_parts();
    let body = body
        .collect()
        .await
        .map_err(|_| ConnectionDropped)?
        .to_bytes();
    let reply = service
        .respond(&Request {
            method: parts.method,
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().map(str::to_owned),
            headers: parts.headers,
            body,
        })
        .ok_or(ConnectionDropped)?;
    let mut response = Response::new(Full::new(reply.body));
    *response.status_mut() = reply.status;
    *response.headers_mut() = reply.headers;
    Ok(response)
}

fn empty_reply(status: StatusCode) -> Reply {
    Reply {
        status,
        headers: http::HeaderMap::new(),
        body: Bytes::new(),
    }
}
