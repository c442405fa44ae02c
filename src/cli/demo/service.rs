//! A simulated SMS service: a real HTTP server on loopback, played by the same description
//! that the sidecar reads. It knows its account's credential and refuses any other.

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
    /// It takes what is right.
    #[default]
    Normal,
    /// It refuses for this cause.
    Reject(Cause),
    /// It takes the message and hangs up.
    DropReply,
}

/// Run when a credential is refused.
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
    /// Given to whoever logged in; forgotten when the credential changes.
    logged_in: bool,
    on_rejected: Option<RejectionHook>,
    texts: Vec<String>,
}

impl SimulatedService {
    /// Opens it on a free port of the loopback.
    pub(super) async fn open(
        dialect: Arc<Dialect>,
        credential: BTreeMap<String, String>,
    ) -> anyhow::Result<Arc<Self>> {
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .await
            .context("no port on 127.0.0.1 is free")?;
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

    /// Where the sidecar finds it: the description's own base path on our address.
    pub(super) fn base_url(&self) -> String {
        let path = self
            .dialect
            .base_url()
            .parse::<http::Uri>()
            .map(|uri| uri.path().trim_end_matches('/').to_owned());
        format!("http://{}{}", self.address, path.unwrap_or_default())
    }

    pub(super) fn set_mode(&self, mood: ServiceMode) {
        self.lock().mode = mood;
    }

    /// From now on only this credential is right; `refused` runs when another one comes.
    pub(super) fn set_credential(
        &self,
        credential: BTreeMap<String, String>,
        refused: Option<RejectionHook>,
    ) {
        let mut state = self.lock();
        (state.credential, state.logged_in, state.on_rejected) = (credential, false, refused);
    }

    /// The texts it took since it was last asked.
    pub(super) fn take_texts(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().texts)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it says; none: it hangs up.
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
            Operation::Status | Operation::Passthrough | Operation::Other => {
                Some(empty_reply(StatusCode::NOT_FOUND))
            }
        }
    }

    /// Its own credential, or the token that a login with it brought.
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
        let mood = self.lock().mode.clone();
        if let ServiceMode::Reject(cause) = mood {
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
        (!matches!(mood, ServiceMode::DropReply)).then_some(reply)
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
            // Hanging up on the sidecar is part of the story.
            http1::Builder::new()
                .serve_connection(TokioIo::new(stream), handler)
                .await
                .unwrap_or_default();
        });
    }
}

/// The service hung up without an answer.
#[derive(Debug, thiserror::Error)]
#[error("hung up")]
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
    let (path, query) = (
        parts.uri.path().to_owned(),
        parts.uri.query().map(str::to_owned),
    );
    let reply = service
        .respond(&Request {
            method: parts.method,
            path,
            query,
            headers: parts.headers,
            body,
        })
        .ok_or(ConnectionDropped)?;
    let mut response = Response::new(Full::new(reply.body));
    (*response.status_mut(), *response.headers_mut()) = (reply.status, reply.headers);
    Ok(response)
}

fn empty_reply(status: StatusCode) -> Reply {
    Reply {
        status,
        headers: http::HeaderMap::new(),
        body: Bytes::new(),
    }
}
