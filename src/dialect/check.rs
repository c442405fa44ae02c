//! From pieces to a compiled description, with every complaint at once: the pieces
//! compile one by one, then the whole is held against the rules no piece can break alone.

use std::ops::Range;

use toml::Spanned;
use toml::de::DeTable;

use crate::dialect::Dialect;
use crate::dialect::check_send;
use crate::dialect::code::Codes;
use crate::dialect::compile;
use crate::dialect::console;
use crate::dialect::host::{BaseUrl, HostPattern};
use crate::dialect::laws;
use crate::dialect::load::{Section, Sink};
use crate::dialect::place::Flat;
use crate::dialect::raw;
use crate::dialect::shape::{Asks, Encode, Fields, Judge, OperationEntry, Probe, Sign, TokenCall, Told};
use crate::dialect::template::Source;
use crate::dialect::{Evidence, FieldSpec, ParamSpec};
use crate::sms::{Cause, Operation};

/// Compiles the laid-over table; none if the sink has a complaint that leaves nothing to work with.
pub(crate) fn compile(table: DeTable<'_>, sink: &mut Sink) -> Option<Dialect> {
    let mut top = Section::new("", table);
    let name: Option<Spanned<String>> = top.take("dialect", sink);
    let like: Option<Spanned<String>> = top.take("like", sink);
    let base_url: Option<Spanned<String>> = top.take("base_url", sink);
    let facts: Option<Spanned<String>> = top.take("facts", sink);
    let sources: Option<Spanned<Vec<String>>> = top.take("sources", sink);
    let evidence: Option<Spanned<raw::Evidence>> = top.take("evidence", sink);
    let hosts: Option<Spanned<Vec<Spanned<String>>>> = top.take("hosts", sink);
    let test_senders: Option<Spanned<Vec<String>>> = top.take("test_senders", sink);
    let left: Option<Spanned<Vec<Spanned<String>>>> = top.take("left", sink);
    let console = top.entries("console", sink).into_iter().filter_map(|(cause, page)| console::page(&cause, &page, sink)).collect();
    let credential: Vec<_> = top
        .entries("credential", sink)
        .into_iter()
        .map(|(name, raw)| (sink.inherited(&name.span()), field_spec(&name, &raw, sink)))
        .collect();
    let params = top.entries("param", sink).into_iter().map(|(name, raw): (_, raw::Param)| param_spec(&name, &raw)).collect();
    let sign = top.take("sign", sink).and_then(|raw: Spanned<raw::Sign>| sign(raw.get_ref(), sink));
    let token = top.take("token", sink).and_then(|raw: Spanned<raw::Token>| token(raw.get_ref(), sink));
    let (send, spans) = check_send::send(&mut top, sink);
    let operations = top.list("operations", sink).into_iter().filter_map(|raw| operation(&raw, sink)).collect();
    let probes: Vec<Probe> = top.list("probes", sink).into_iter().filter_map(|raw| probe(&raw, sink)).collect();
    let (lists, probes) = probes.into_iter().partition(|probe| matches!(probe.asks, Asks::Sender | Asks::Template));
    let _report: Option<Spanned<raw::Report>> = top.take("report", sink);
    top.end(sink);

    let mut dialect = Dialect {
        name: named(name.as_ref(), sink)?,
        like: like.map(Spanned::into_inner),
        origin: String::new(),
        built_in: false,
        overrides: None,
        base: base(base_url.as_ref(), sink)?,
        facts: facts.map(Spanned::into_inner),
        sources: sources.map(Spanned::into_inner).unwrap_or_default(),
        evidence: evidence.map(|word| evidence_of(*word.get_ref())).unwrap_or_default(),
        hosts: hosts.map(Spanned::into_inner).unwrap_or_default().iter().filter_map(|text| host(text, sink)).collect(),
        test_senders: test_senders.map(Spanned::into_inner).unwrap_or_default(),
        left: left.map(Spanned::into_inner).unwrap_or_default().into_iter().map(Spanned::into_inner).collect(),
        pages: console::pages(console),
        credential: Vec::new(),
        params,
        sign,
        token,
        send: send?,
        operations,
        probes,
        lists,
    };
    // A file that signs in another way needs not say which of the inherited fields it leaves.
    let used = laws::used(&dialect);
    let kept = |inherited: bool, spec: &FieldSpec| !inherited || used.contains(&Source::Credential(spec.name.clone()));
    dialect.credential = credential.into_iter().filter(|(inherited, spec)| kept(*inherited, spec)).map(|(_, spec)| spec).collect();
    laws::hold(&dialect, &spans, sink);
    Some(dialect)
}

fn named(name: Option<&Spanned<String>>, sink: &mut Sink) -> Option<String> {
    let Some(name) = name else {
        sink.error(None, "`dialect` is missing", Some("name the description: dialect = \"…\"".into()));
        return None;
    };
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.get_ref().is_empty() || !name.get_ref().chars().all(plain) {
        sink.error(Some(name.span()), "a dialect's name is made of a-z, 0-9 and -", Some("it is a path segment and a metric label".into()));
        return None;
    }
    Some(name.get_ref().clone())
}

fn base(url: Option<&Spanned<String>>, sink: &mut Sink) -> Option<BaseUrl> {
    let Some(url) = url else {
        sink.error(
            None,
            "`base_url` is missing",
            Some("where attempts go, unless the provider says otherwise: base_url = \"https://…\"".into()),
        );
        return None;
    };
    let base = BaseUrl::parse(url.get_ref());
    if base.is_none() {
        sink.error(Some(url.span()), "no base URL", Some("like \"https://api.example.com/v1\", without query".into()));
    }
    base
}

fn host(text: &Spanned<String>, sink: &mut Sink) -> Option<HostPattern> {
    let host = HostPattern::parse(text.get_ref());
    if host.is_none() {
        sink.error(
            Some(text.span()),
            "no host pattern",
            Some("a host name or address; `*` stands for one whole label, at least two labels follow it".into()),
        );
    }
    host
}

fn evidence_of(raw: raw::Evidence) -> Evidence {
    match raw {
        raw::Evidence::Vendor => Evidence::Vendor,
        raw::Evidence::Clients => Evidence::Clients,
        raw::Evidence::Memory => Evidence::Memory,
    }
}

fn field_spec(name: &Spanned<String>, raw: &raw::Field, sink: &mut Sink) -> FieldSpec {
    FieldSpec {
        name: name.get_ref().clone(),
        public: raw.public,
        pattern: raw.pattern.as_ref().and_then(|text| compile::regex(text, sink)),
        placeholder: raw.placeholder.clone(),
        env: raw.env.clone(),
        required: !raw.optional,
    }
}

fn param_spec(name: &Spanned<String>, raw: &raw::Param) -> ParamSpec {
    let default = raw.default.as_ref().map(|value| crate::dialect::template::text_of(&compile::json(value)));
    ParamSpec { name: name.get_ref().clone(), default, integer: raw.integer }
}

fn sign(raw: &raw::Sign, sink: &mut Sink) -> Option<Sign> {
    let mut template = |text: &Spanned<String>| compile::template(text, sink);
    match raw {
        raw::Sign::Basic { user, password } => Some(Sign::Basic { user: template(user)?, password: template(password)? }),
        raw::Sign::Bearer(value) => template(value).map(Sign::Bearer),
        raw::Sign::Header { name, value } => Some(Sign::Header { name: name.get_ref().clone(), value: template(value)? }),
        raw::Sign::Sigv4 { service, region, access_key, secret_key } => Some(Sign::Sigv4 {
            service: template(service)?,
            region: template(region)?,
            access_key: template(access_key)?,
            secret_key: template(secret_key)?,
        }),
    }
}

fn token(raw: &raw::Token, sink: &mut Sink) -> Option<TokenCall> {
    let rules = raw.rules.iter().filter_map(|rule| compile::rule(rule, sink)).collect();
    Some(TokenCall {
        fields: request_fields(&raw::Table::new(), &raw::Table::new(), &raw.form, &raw.json, sink),
        base_url: raw.base_url.as_ref().map(|url| url.get_ref().clone()),
        reads: raw.reads.iter().filter_map(|(name, text)| Some((name.clone(), compile::place(text, Flat(false), sink)?))).collect(),
        expires: compile::expires(raw.expires.as_ref(), sink),
        judge: Judge { rules, codes: Codes::default() },
        claims: raw.claims.iter().filter_map(|claim| compile::claim(claim.get_ref(), sink)).collect(),
        answer: compile::told(&raw.answer, sink),
        call: compile::call(&raw.call, sink)?,
    })
}

pub(crate) fn request_fields(query: &raw::Table, header: &raw::Table, form: &raw::Table, json: &raw::Table, sink: &mut Sink) -> Fields {
    if let (false, Some((key, _))) = (form.is_empty(), json.first_key_value()) {
        sink.error(Some(key.span()), "a body is a form or JSON, not both", None);
    }
    let (body, encode) = match (form.is_empty(), json.is_empty()) {
        (false, _) => (compile::fields(form, Flat(true), true, sink), Encode::Form),
        (true, false) => (compile::fields(json, Flat(false), true, sink), Encode::Json),
        (true, true) => (Vec::new(), Encode::Nothing),
    };
    let (query, header) = (compile::fields(query, Flat(true), true, sink), compile::fields(header, Flat(true), true, sink));
    Fields { query, header, body, encode }
}

fn operation(raw: &Spanned<raw::Operation>, sink: &mut Sink) -> Option<OperationEntry> {
    let raw = raw.get_ref();
    let does = match raw.does {
        raw::Does::Carry => Operation::Carry,
        raw::Does::Status => Operation::Status,
        raw::Does::Login => Operation::Login,
        raw::Does::Refuse => Operation::Other,
    };
    Some(OperationEntry {
        does,
        matching: raw.matching.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        id: raw.id.as_ref().and_then(|text| compile::place(text, Flat(false), sink)),
        answer: raw.answer.as_ref().map(|told| compile::told(told, sink)),
        call: compile::call(&raw.call, sink)?,
    })
}

fn probe(raw: &Spanned<raw::Probe>, sink: &mut Sink) -> Option<Probe> {
    let span = raw.span();
    let raw = raw.get_ref();
    let dead = raw.dead.iter().filter_map(|dead| compile::dead(dead, &span, sink)).collect();
    listing(raw, &span, sink);
    Some(Probe {
        asks: match raw.asks {
            raw::Asks::Credential => Asks::Credential,
            raw::Asks::Account => Asks::Account,
            raw::Asks::Balance => Asks::Balance,
            raw::Asks::Sender => Asks::Sender,
            raw::Asks::Template => Asks::Template,
        },
        guess: raw.guess,
        fields: request_fields(&raw.query, &raw.header, &raw.form, &raw.json, sink),
        alive: raw.alive.as_ref().map(|test| compile::test(test, sink)),
        dead,
        balance: raw.balance.as_ref().and_then(|text| compile::place(text, Flat(false), sink)),
        unit: raw.unit.clone(),
        senders: raw.senders.as_ref().and_then(|text| compile::place(text, Flat(false), sink)),
        shared: raw.shared.clone(),
        numbers: matches!(raw.only, Some(raw::Only::Numbers)),
        texts: raw.templates.as_ref().and_then(|texts| compile::texts(texts, sink)),
        call: compile::call(&raw.call, sink)?,
    })
}

/// What a question about a list must say, and may say only there.
fn listing(raw: &raw::Probe, span: &Range<usize>, sink: &mut Sink) {
    let mut goes = |holds: bool, what: &str| {
        if !holds {
            sink.error(Some(span.clone()), what, None);
        }
    };
    goes(
        matches!(raw.asks, raw::Asks::Sender) == raw.senders.is_some(),
        "`asks = \"sender\"` and `senders`, the place that lists them, go together",
    );
    goes(
        matches!(raw.asks, raw::Asks::Template) == raw.templates.is_some(),
        "`asks = \"template\"` and `templates`, which says where they are listed, go together",
    );
    let about_senders = !raw.shared.is_empty() || raw.only.is_some();
    goes(raw.senders.is_some() || !about_senders, "`shared` and `only` say something about a list of `senders`");
    let lists = [raw.senders.as_ref(), raw.templates.as_ref().map(|texts| &texts.at)];
    for place in lists.into_iter().flatten().filter(|place| !place.get_ref().contains("[]")) {
        sink.error(Some(place.span()), "this is no list", Some("a place in a list has `[]` in it, like \"result[].name\"".into()));
    }
}

/// The causes of a table's lines, for the laws.
pub(crate) fn is_message_cause(cause: Cause) -> bool {
    use crate::sms::Family;
    matches!(cause.family(), Family::Message) || cause == Cause::Throttled
}

/// An empty reply is none.
pub(crate) fn says_nothing(told: &Told) -> bool {
    told.json.is_empty() && told.text.is_none()
}
