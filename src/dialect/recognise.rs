//! Which dialect a request speaks and which operation it asks for: host, then method and
//! path, then the fields an operation insists on. What is not named does not pass.

use std::sync::Arc;

use http::Method;
use serde_json::Value;

use crate::dialect::body::{self, Body};
use crate::dialect::call::Call;
use crate::dialect::{Dialect, Entry, Place, Recognised, Recognition, Request};
use crate::sms::Operation;

/// Says which dialect and which operation; `extra` are a provider's own `operations` ("GET /…") by dialect, which are carried.
pub fn recognise(among: &[Arc<Dialect>], place: Place<'_>, request: &Request, extra: &[(String, Vec<String>)]) -> Recognition {
    let (candidates, named) = candidates(among, place);
    let mut fields = None;
    for (dialect, host) in &candidates {
        if let Some(seen) = dialect.operation(*host, request, &mut fields) {
            return seen;
        }
    }
    let carried = candidates.iter().find_map(|(dialect, host)| dialect.extra(*host, request, extra));
    match (carried, candidates.first()) {
        (Some(seen), _) => Recognition::Operation(seen),
        (None, Some((dialect, _))) if named => Recognition::NotNamed(Arc::clone(dialect)),
        (None, _) => Recognition::Foreign,
    }
}

impl Recognised {
    /// Whether an account with these operations of its own may carry it: one that another account adds is not its.
    pub fn is_allowed_by(&self, operations: &[String]) -> bool {
        match &self.entry {
            Entry::Extra(call) => {
                operations.iter().filter_map(|text| Call::parse(text).ok()).any(|own| own.to_string() == call.to_string())
            }
            Entry::Send | Entry::Login | Entry::Operation(_) => true,
        }
    }
}

/// Which of a dialect's hosts a request is for.
#[derive(Clone, Copy, Debug)]
enum At<'a> {
    Host(&'a str),
    Any,
}

type Candidate<'a> = (&'a Arc<Dialect>, At<'a>);

/// The dialects to ask, and whether a miss means "not named" rather than "foreign".
fn candidates<'a>(among: &'a [Arc<Dialect>], place: Place<'a>) -> (Vec<Candidate<'a>>, bool) {
    match place {
        Place::Named(dialect) => (vec![(dialect, At::Any)], true),
        Place::Nowhere => (among.iter().map(|dialect| (dialect, At::Any)).collect(), false),
        Place::Host(host) => {
            let host = host.strip_suffix('.').unwrap_or(host);
            (among.iter().filter(|dialect| dialect.hosts_match(host)).map(|dialect| (dialect, At::Host(host))).collect(), true)
        }
    }
}

impl Dialect {
    /// Whether `host` is one of this dialect's, or of an operation of it.
    pub fn hosts_match(&self, host: &str) -> bool {
        self.is_main_host(host) || self.calls().any(|call| call.host().is_some_and(|own| own.eq_ignore_ascii_case(host)))
    }

    fn is_main_host(&self, host: &str) -> bool {
        self.base.host.eq_ignore_ascii_case(host) || self.hosts.iter().any(|pattern| pattern.fits(host))
    }

    fn calls(&self) -> impl Iterator<Item = &Call> {
        let token = self.token.iter().map(|token| &token.call);
        [&self.send.call].into_iter().chain(token).chain(self.operations.iter().map(|entry| &entry.call))
    }

    /// How a backend says a message, with the whole path: `POST /broker-api/send`.
    pub fn whole_send(&self) -> String {
        let call = &self.send.call;
        let methods: Vec<&str> = call.methods.iter().map(Method::as_str).collect();
        format!("{} {}{}", methods.join("|"), if call.origin.is_none() { self.base.path.as_str() } else { "" }, call.path)
    }

    /// Literal host names of this dialect: what a certificate authority may be limited to.
    pub fn host_patterns(&self) -> Vec<String> {
        let hosts = self.hosts.iter().filter(|pattern| pattern.is_literal()).map(|pattern| pattern.0.as_str());
        let mut all: Vec<&str> = hosts.chain([self.base.host.as_str()]).chain(self.calls().filter_map(Call::host)).collect();
        all.sort_unstable();
        all.dedup();
        all.into_iter().map(str::to_owned).collect()
    }

    /// Whether nothing tells a send here from a send there.
    pub(crate) fn clashes(&self, other: &Self) -> bool {
        let shared =
            self.hosts.iter().any(|pattern| pattern.is_literal() && other.is_main_host(&pattern.0)) || other.is_main_host(&self.base.host);
        let call = |dialect: &Self| format!("{}{}", dialect.base.path, dialect.send.call);
        shared && call(self) == call(other) && self.send.matching == other.send.matching
    }

    /// The path below the base, if the call may stand at this host.
    fn below<'p>(&self, call: &Call, host: At<'_>, path: &'p str) -> Option<&'p str> {
        match (call.host(), host) {
            (Some(own), At::Host(host)) => own.eq_ignore_ascii_case(host).then_some(path),
            (Some(_), At::Any) => Some(path),
            (None, At::Host(host)) => self.is_main_host(host).then(|| self.base.strip(path))?,
            (None, At::Any) => self.base.strip(path),
        }
    }

    fn operation(self: &Arc<Self>, host: At<'_>, request: &Request, fields: &mut Option<Value>) -> Option<Recognition> {
        let none: &[(String, String)] = &[];
        let send = (&self.send.call, Entry::Send, Operation::Send, self.send.matching.as_slice());
        let token = self.token.iter().map(|token| (&token.call, Entry::Login, Operation::Login, none));
        let others = |insisting: bool| {
            let wanted = self.operations.iter().enumerate().filter(move |(_, entry)| entry.matching.is_empty() != insisting);
            wanted.map(|(at, entry)| (&entry.call, Entry::Operation(at), entry.does, entry.matching.as_slice()))
        };
        // Whoever insists on a field is asked first: a price is asked for at the very path of a message.
        for (call, entry, operation, matching) in others(true).chain([send]).chain(token).chain(others(false)) {
            let Some(below) = self.below(call, host, &request.path) else { continue };
            let Some(path) = call.matches(&request.method, below) else { continue };
            let needs: &[String] = if matches!(entry, Entry::Send) { &self.send.needs } else { &[] };
            let insists = !matching.is_empty() || !needs.is_empty();
            if insists && !holds(request, fields.get_or_insert_with(|| loose_fields(request)), matching, needs) {
                continue;
            }
            if operation == Operation::Other {
                return Some(Recognition::NotNamed(Arc::clone(self)));
            }
            return Some(Recognition::Operation(Recognised { dialect: Arc::clone(self), operation, entry, path }));
        }
        None
    }

    fn extra(self: &Arc<Self>, host: At<'_>, request: &Request, extra: &[(String, Vec<String>)]) -> Option<Recognised> {
        let calls =
            extra.iter().filter(|(name, _)| *name == self.name).flat_map(|(_, calls)| calls).filter_map(|text| Call::parse(text).ok());
        calls.into_iter().find_map(|call| {
            let below = self.below(&call, host, &request.path)?;
            let path = call.matches(&request.method, below)?;
            Some(Recognised { dialect: Arc::clone(self), operation: Operation::Carry, entry: Entry::Extra(Box::new(call)), path })
        })
    }
}

/// Whether the fields and headers an operation insists on are there.
fn holds(request: &Request, fields: &Value, matching: &[(String, String)], needs: &[String]) -> bool {
    let header = |name: &str| request.headers.get(name).and_then(|value| value.to_str().ok());
    // A field that is given twice says two things, so it says none of them. A header stands in only under a header's kind of
    // name: a `Cost` among them does not make a message the question what it costs.
    let stands_in = |name: &str| name.contains('-').then(|| header(name)).flatten();
    let is = |(name, wanted): &(String, String)| fields.get(name).map_or_else(|| stands_in(name), Value::as_str) == Some(wanted.as_str());
    matching.iter().all(is) && needs.iter().all(|name| fields.get(name).is_some())
}

/// Query and body in one tree, for recognition only; what cannot be read has no fields.
pub(crate) fn loose_fields(request: &Request) -> Value {
    let tree = Body::read(&request.headers, &request.body).map(|body| body.tree).unwrap_or_default();
    let (query, _) = body::flat(request.query.as_deref().unwrap_or_default());
    merged(tree, query)
}

/// The body's fields, and those of the query that it does not have.
pub(crate) fn merged(mut tree: Value, query: Value) -> Value {
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
