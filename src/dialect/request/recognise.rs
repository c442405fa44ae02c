//! Finds the dialect and the operation of a request: by host, then method and path, then the
//! fields that an operation requires. An operation that no dialect names does not pass.

use std::sync::Arc;

use http::Method;
use serde_json::Value;

use crate::dialect::model::SendSpec;
use crate::dialect::model::endpoint::Endpoint;
use crate::dialect::request::match_fields::{FieldMatch, FieldPlace, PlacedFields, named_places};
use crate::dialect::wire::body::{self, ParsedBody};
use crate::dialect::{
    Dialect, MatchedOperation, OperationFault, RecognisedRequest, Recognition, Request,
    RequestReadError, RequestTarget, UnlistedRequest,
};
use crate::sms::Operation;

/// The dialect and operation of a request. `extra` has the providers' own `operations` ("GET /…") by dialect; they are passthrough.
pub fn recognise(
    dialects: &[Arc<Dialect>],
    target: RequestTarget<'_>,
    request: &Request,
    extra: &[(String, Vec<String>)],
) -> Recognition {
    let (candidates, named) = candidates(dialects, target);
    let mut seen = SeenRequest::default();
    for (dialect, host) in &candidates {
        if let Some(recognition) = dialect.match_operation(*host, request, &mut seen) {
            return recognition;
        }
    }
    let passthrough = candidates
        .iter()
        .find_map(|(dialect, host)| dialect.match_provider_operation(*host, request, extra));
    match (passthrough, candidates.first()) {
        (Some(seen), _) => Recognition::Operation(seen),
        (None, Some((dialect, _))) if named => dialect.unlisted(seen.fault),
        (None, _) => Recognition::Unrecognised,
    }
}

/// What the comparison with the operations has found out about a request.
#[derive(Default)]
struct SeenRequest {
    /// Read when they are first needed.
    fields: Option<PlacedFields>,
    /// Why an operation at this path did not match.
    fault: Option<OperationFault>,
}

impl RecognisedRequest {
    /// Whether a provider with these `operations` may take it: those of another provider do not count.
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

/// The dialects to compare, and whether a miss means "unlisted" and not "unrecognised".
fn candidates<'a>(
    dialects: &'a [Arc<Dialect>],
    target: RequestTarget<'a>,
) -> (Vec<Candidate<'a>>, bool) {
    match target {
        RequestTarget::Named(dialect) => (vec![(dialect, HostConstraint::Any)], true),
        RequestTarget::Unspecified => (
            dialects
                .iter()
                .map(|dialect| (dialect, HostConstraint::Any))
                .collect(),
            false,
        ),
        RequestTarget::Host(host) => {
            let host = host.strip_suffix('.').unwrap_or(host);
            (
                dialects
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

    /// The endpoint of a send with the whole path: `POST /broker-api/send`.
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

    /// The literal host names of this dialect, to which a certificate authority can be limited.
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

    /// The host names of this dialect that have a wildcard.
    pub fn host_patterns(&self) -> Vec<String> {
        let patterns = self.hosts.iter().filter(|pattern| !pattern.is_literal());
        patterns
            .map(|pattern| pattern.0.to_ascii_lowercase())
            .collect()
    }

    /// Whether a send of one cannot be distinguished from a send of the other.
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

    /// The path below the base path, if the endpoint can be at this host.
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
        seen: &mut SeenRequest,
    ) -> Option<Recognition> {
        let mut fault = None;
        let found = self.operation_patterns().find_map(|pattern| {
            let below = self.path_below_base(pattern.endpoint, host, &request.path)?;
            let path_params =
                pattern
                    .endpoint
                    .match_path(&request.method, below, self.path_case)?;
            match self.match_pattern(&pattern, request, seen) {
                PatternMatch::Different => None,
                PatternMatch::Unreadable(error) => {
                    fault.get_or_insert(OperationFault::Unreadable(error));
                    None
                }
                PatternMatch::Denied(denied) => Some(self.unlisted(Some(denied))),
                // It could be the operation whose fields could not be read.
                PatternMatch::Same if fault.is_some() => Some(self.unlisted(fault.take())),
                PatternMatch::Same if pattern.operation == Operation::Other => {
                    Some(self.unlisted(None))
                }
                PatternMatch::Same => Some(Recognition::Operation(RecognisedRequest {
                    dialect: Arc::clone(self),
                    operation: pattern.operation,
                    matched: pattern.matched,
                    path_params,
                })),
            }
        });
        seen.fault = seen.fault.take().or(fault);
        found
    }

    /// Whether the request is the operation, with the fields that the operation names.
    fn match_pattern(
        &self,
        pattern: &OperationPattern<'_>,
        request: &Request,
        seen: &mut SeenRequest,
    ) -> PatternMatch {
        let found = pattern.match_fields(request, &self.send, &mut seen.fields);
        let operation = match (&found, &pattern.matched) {
            (PatternMatch::Same, MatchedOperation::Operation(at)) => self.operations.get(*at),
            _ => None,
        };
        let Some(operation) = operation else {
            return found;
        };
        let fields = seen
            .fields
            .get_or_insert_with(|| PlacedFields::read(request));
        match operation.check_fields(request, &self.send, fields) {
            Ok(()) => found,
            Err(fault) => PatternMatch::Denied(fault),
        }
    }

    fn unlisted(self: &Arc<Self>, fault: Option<OperationFault>) -> Recognition {
        Recognition::UnlistedOperation(UnlistedRequest {
            dialect: Arc::clone(self),
            fault,
        })
    }

    /// The operations in the order of comparison. Those with `where` come first: the path of a
    /// send can also serve the question what it costs.
    fn operation_patterns(&self) -> impl Iterator<Item = OperationPattern<'_>> {
        let send = OperationPattern {
            endpoint: &self.send.endpoint,
            matched: MatchedOperation::Send,
            operation: Operation::Send,
            required_values: &self.send.required_values,
            required_fields: &self.send.required_fields,
        };
        let login = self.token.iter().map(|token| OperationPattern {
            endpoint: &token.endpoint,
            matched: MatchedOperation::Login,
            operation: Operation::Login,
            required_values: &[],
            required_fields: &[],
        });
        let others = |has_where: bool| {
            let all = self.operations.iter().enumerate();
            let such = all.filter(move |(_, entry)| entry.required_values.is_empty() != has_where);
            such.map(|(at, entry)| OperationPattern {
                endpoint: &entry.endpoint,
                matched: MatchedOperation::Operation(at),
                operation: entry.operation,
                required_values: &entry.required_values,
                required_fields: &[],
            })
        };
        others(true).chain([send]).chain(login).chain(others(false))
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
            let path = call.match_path(&request.method, below, self.path_case)?;
            Some(RecognisedRequest {
                dialect: Arc::clone(self),
                operation: Operation::Passthrough,
                matched: MatchedOperation::ProviderOperation(Box::new(call)),
                path_params: path,
            })
        })
    }
}

/// What a request must have to be an operation.
#[derive(Clone)]
struct OperationPattern<'d> {
    endpoint: &'d Endpoint,
    matched: MatchedOperation,
    operation: Operation,
    required_values: &'d [(String, String)],
    required_fields: &'d [String],
}

/// Whether a request is the operation of a pattern.
enum PatternMatch {
    Same,
    Different,
    /// The body that has its fields cannot be read; another operation may match.
    Unreadable(RequestReadError),
    /// A field that selects it is not where the service has it, or another one is not named.
    Denied(OperationFault),
}

impl OperationPattern<'_> {
    /// Whether the request has the fields of this operation in their places. Reads the request's fields into `fields`
    /// when they are first needed.
    fn match_fields(
        &self,
        request: &Request,
        send: &SendSpec,
        fields: &mut Option<PlacedFields>,
    ) -> PatternMatch {
        if self.required_values.is_empty() && self.required_fields.is_empty() {
            return PatternMatch::Same;
        }
        let fields = fields.get_or_insert_with(|| PlacedFields::read(request));
        if self.has_body_fields()
            && let Err(error) = fields.check_body(request, &send.accepts)
        {
            return PatternMatch::Unreadable(error);
        }
        let places = named_places(&request.method, send.fields.encoding, &send.accepts);
        for (name, wanted) in self.required_values {
            match fields.compare(name, wanted, places) {
                FieldMatch::Same => {}
                FieldMatch::Different => return PatternMatch::Different,
                FieldMatch::Ambiguous => {
                    return PatternMatch::Denied(OperationFault::Ambiguous {
                        field: name.clone(),
                        place: place_of(name, places).as_str(),
                    });
                }
            }
        }
        let mut names = self.required_fields.iter();
        if names.all(|name| fields.has(name, places)) {
            PatternMatch::Same
        } else {
            PatternMatch::Different
        }
    }

    /// Whether a field other than a header selects it.
    fn has_body_fields(&self) -> bool {
        let mut names = self.required_values.iter().map(|(name, _)| name);
        !self.required_fields.is_empty() || names.any(|name| !name.contains('-'))
    }
}

fn place_of(name: &str, places: &[FieldPlace]) -> FieldPlace {
    if name.contains('-') {
        return FieldPlace::Header;
    }
    places.first().copied().unwrap_or(FieldPlace::Query)
}

/// Query and body in one tree, for recognition only; an unreadable body has no fields.
pub(crate) fn best_effort_fields(request: &Request) -> Value {
    let tree = ParsedBody::parse(&request.headers, &request.body)
        .map(|body| body.tree.into_tree())
        .unwrap_or_default();
    let query = body::parse_urlencoded(request.query.as_deref().unwrap_or_default())
        .map_or(Value::Null, |(query, _)| query);
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

#[cfg(test)]
mod tests;
