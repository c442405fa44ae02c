//! Which dialect a request speaks and which operation it asks for: host, then method and
//! path, then the fields an operation insists on. What is not named does not pass.

use std::sync::Arc;

use http::Method;
use serde_json::Value;

use crate::dialect::model::endpoint::Endpoint;
use crate::dialect::wire::body::{self, ParsedBody};
use crate::dialect::{
    Dialect, MatchedOperation, RecognisedRequest, Recognition, Request, RequestTarget,
};
use crate::sms::Operation;

/// Says which dialect and which operation; `extra` are a provider's own `operations` ("GET /…") by dialect, which are carried.
pub fn recognise(
    among: &[Arc<Dialect>],
    place: RequestTarget<'_>,
    request: &Request,
    extra: &[(String, Vec<String>)],
) -> Recognition {
    let (candidates, named) = candidates(among, place);
    let mut fields = None;
    for (dialect, host) in &candidates {
        if let Some(seen) = dialect.match_operation(*host, request, &mut fields) {
            return seen;
        }
    }
    let carried = candidates
        .iter()
        .find_map(|(dialect, host)| dialect.match_provider_operation(*host, request, extra));
    match (carried, candidates.first()) {
        (Some(seen), _) => Recognition::Operation(seen),
        (None, Some((dialect, _))) if named => Recognition::UnlistedOperation(Arc::clone(dialect)),
        (None, _) => Recognition::Unrecognised,
    }
}

impl RecognisedRequest {
    /// Whether an account with these operations of its own may carry it: one that another account adds is not its.
    pub fn is_allowed_by(&self, operations: &[String]) -> bool {
        match &self.matched {
            MatchedOperation::ProviderOperation(call) => operations
                .iter()
                .filter_map(|text| Endpoint::parse(text).ok())
                .any(|own| own.to_string() == call.to_string()),
            MatchedOperation::Send | MatchedOperation::Login | MatchedOperation::Operation(_) => {
                true
            }
        }
    }
}

/// Which of a dialect's hosts a request is for.
#[derive(Clone, Copy, Debug)]
enum HostConstraint<'a> {
    Host(&'a str),
    Any,
}

type Candidate<'a> = (&'a Arc<Dialect>, HostConstraint<'a>);

/// The dialects to ask, and whether a miss means "not named" rather than "foreign".
fn candidates<'a>(
    among: &'a [Arc<Dialect>],
    place: RequestTarget<'a>,
) -> (Vec<Candidate<'a>>, bool) {
    match place {
        RequestTarget::Named(dialect) => (vec![(dialect, HostConstraint::Any)], true),
        RequestTarget::Unspecified => (
            among
                .iter()
                .map(|dialect| (dialect, HostConstraint::Any))
                .collect(),
            false,
        ),
        RequestTarget::Host(host) => {
            let host = host.strip_suffix('.').unwrap_or(host);
            (
                among
                    .iter()
                    .filter(|dialect| dialect.serves_host(host))
                    .map(|dialect| (dialect, HostConstraint::Host(host)))
                    .collect(),
                true,
            )
        }
    }
}

impl Dialect {
    /// Whether `host` is one of this dialect's, or of an operation of it.
    pub fn serves_host(&self, host: &str) -> bool {
        self.is_main_host(host)
            || self.endpoints().any(|call| {
                call.host()
                    .is_some_and(|own| own.eq_ignore_ascii_case(host))
            })
    }

    fn is_main_host(&self, host: &str) -> bool {
        self.base.host.eq_ignore_ascii_case(host)
            || self.hosts.iter().any(|pattern| pattern.is_match(host))
    }

    fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        let token = self.token.iter().map(|token| &token.endpoint);
        [&self.send.endpoint]
            .into_iter()
            .chain(token)
            .chain(self.operations.iter().map(|entry| &entry.endpoint))
    }

    /// How a backend says a message, with the whole path: `POST /broker-api/send`.
    pub fn send_endpoint(&self) -> String {
        let call = &self.send.endpoint;
        let methods: Vec<&str> = call.methods.iter().map(Method::as_str).collect();
        format!(
            "{} {}{}",
            methods.join("|"),
            if call.origin.is_none() {
                self.base.path.as_str()
            } else {
                ""
            },
            call.path
        )
    }

    /// Literal host names of this dialect: what a certificate authority may be limited to.
    pub fn literal_hosts(&self) -> Vec<String> {
        let hosts = self
            .hosts
            .iter()
            .filter(|pattern| pattern.is_literal())
            .map(|pattern| pattern.0.as_str());
        let mut all: Vec<&str> = hosts
            .chain([self.base.host.as_str()])
            .chain(self.endpoints().filter_map(Endpoint::host))
            .collect();
        all.sort_unstable();
        all.dedup();
        all.into_iter().map(str::to_owned).collect()
    }

    /// Whether nothing tells a send here from a send there.
    pub(crate) fn clashes_with(&self, other: &Self) -> bool {
        let shared = self
            .hosts
            .iter()
            .any(|pattern| pattern.is_literal() && other.is_main_host(&pattern.0))
            || other.is_main_host(&self.base.host);
        let call = |dialect: &Self| format!("{}{}", dialect.base.path, dialect.send.endpoint);
        shared
            && call(self) == call(other)
            && self.send.required_values == other.send.required_values
    }

    /// The path below the base, if the call may stand at this host.
    fn path_below_base<'p>(
        &self,
        call: &Endpoint,
        host: HostConstraint<'_>,
        path: &'p str,
    ) -> Option<&'p str> {
        match (call.host(), host) {
            (Some(own), HostConstraint::Host(host)) => {
                own.eq_ignore_ascii_case(host).then_some(path)
            }
            (Some(_), HostConstraint::Any) => Some(path),
            (None, HostConstraint::Host(host)) => self
                .is_main_host(host)
                .then(|| self.base.strip_base_path(path))?,
            (None, HostConstraint::Any) => self.base.strip_base_path(path),
        }
    }

    fn match_operation(
        self: &Arc<Self>,
        host: HostConstraint<'_>,
        request: &Request,
        fields: &mut Option<Value>,
    ) -> Option<Recognition> {
        let none: &[(String, String)] = &[];
        let send = (
            &self.send.endpoint,
            MatchedOperation::Send,
            Operation::Send,
            self.send.required_values.as_slice(),
        );
        let token = self.token.iter().map(|token| {
            (
                &token.endpoint,
                MatchedOperation::Login,
                Operation::Login,
                none,
            )
        });
        let others = |insisting: bool| {
            let wanted = self
                .operations
                .iter()
                .enumerate()
                .filter(move |(_, entry)| entry.required_values.is_empty() != insisting);
            wanted.map(|(at, entry)| {
                (
                    &entry.endpoint,
                    MatchedOperation::Operation(at),
                    entry.operation,
                    entry.required_values.as_slice(),
                )
            })
        };
        // Whoever insists on a field is asked first: a price is asked for at the very path of a message.
        for (call, entry, operation, matching) in
            others(true).chain([send]).chain(token).chain(others(false))
        {
            let Some(below) = self.path_below_base(call, host, &request.path) else {
                continue;
            };
            let Some(path) = call.match_path(&request.method, below) else {
                continue;
            };
            let needs: &[String] = if matches!(entry, MatchedOperation::Send) {
                &self.send.required_fields
            } else {
                &[]
            };
            let insists = !matching.is_empty() || !needs.is_empty();
            if insists
                && !has_required_fields(
                    request,
                    fields.get_or_insert_with(|| best_effort_fields(request)),
                    matching,
                    needs,
                )
            {
                continue;
            }
            if operation == Operation::Other {
                return Some(Recognition::UnlistedOperation(Arc::clone(self)));
            }
            return Some(Recognition::Operation(RecognisedRequest {
                dialect: Arc::clone(self),
                operation,
                matched: entry,
                path_params: path,
            }));
        }
        None
    }

    fn match_provider_operation(
        self: &Arc<Self>,
        host: HostConstraint<'_>,
        request: &Request,
        extra: &[(String, Vec<String>)],
    ) -> Option<RecognisedRequest> {
        let calls = extra
            .iter()
            .filter(|(name, _)| *name == self.name)
            .flat_map(|(_, calls)| calls)
            .filter_map(|text| Endpoint::parse(text).ok());
        calls.into_iter().find_map(|call| {
            let below = self.path_below_base(&call, host, &request.path)?;
            let path = call.match_path(&request.method, below)?;
            Some(RecognisedRequest {
                dialect: Arc::clone(self),
                operation: Operation::Passthrough,
                matched: MatchedOperation::ProviderOperation(Box::new(call)),
                path_params: path,
            })
        })
    }
}

/// Whether the fields and headers an operation insists on are there.
fn has_required_fields(
    request: &Request,
    fields: &Value,
    matching: &[(String, String)],
    needs: &[String],
) -> bool {
    let header = |name: &str| {
        request
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    // A field that is given twice says two things, so it says none of them. A header stands in only under a header's kind of
    // name: a `Cost` among them does not make a message the question what it costs.
    let stands_in = |name: &str| name.contains('-').then(|| header(name)).flatten();
    let is = |(name, wanted): &(String, String)| {
        fields
            .get(name)
            .map_or_else(|| stands_in(name), Value::as_str)
            == Some(wanted.as_str())
    };
    matching.iter().all(is) && needs.iter().all(|name| fields.get(name).is_some())
}

/// Query and body in one tree, for recognition only; what cannot be read has no fields.
pub(crate) fn best_effort_fields(request: &Request) -> Value {
    let tree = ParsedBody::parse(&request.headers, &request.body)
        .map(|body| body.tree)
        .unwrap_or_default();
    let (query, _) = body::parse_urlencoded(request.query.as_deref().unwrap_or_default());
    merge_query(tree, query)
}

/// The body's fields, and those of the query that it does not have.
pub(crate) fn merge_query(mut tree: Value, query: Value) -> Value {
    if !tree.is_object() {
        tree = Value::Object(serde_json::Map::new());
    }
    if let (Value::Object(tree), Value::Object(query)) = (&mut tree, query) {
        query.into_iter().for_each(|(name, value)| {
            tree.entry(name).or_insert(value);
        });
    }
    tree
}
