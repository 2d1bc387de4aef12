//! The table of paths, and the way of a request to its endpoint: origin, path, method, limit, token.

use std::borrow::Cow;

use super::answer::{Context, Refused, Reply};
use super::call::{Call, Handled, Next, Params, Turn};
use super::identity::{Identity, authenticate};
use super::{Method, Port, Request, account, events, messages, online, rooms, service, sessions, upgrade};
use crate::config::Config;
use crate::node::Node;
use crate::openapi::{Doc, endpoints};
use crate::wire::ErrorCode;

/// One method of one path.
pub(crate) struct Route {
    pub(crate) method: Method,
    /// Literal parts, and parts in braces that take anything.
    pub(crate) path: &'static str,
    pub(super) endpoint: Endpoint,
    /// What the OpenAPI document says of it.
    pub(crate) doc: &'static Doc,
}

/// What an endpoint is called with.
#[derive(Clone, Copy)]
pub(super) enum Endpoint {
    /// Anybody's, and unlimited: what monitors ask.
    Probe(fn(Call<'_, '_>) -> Handled),
    /// Anybody's.
    Open(fn(Call<'_, '_>) -> Handled),
    /// Needs an access token.
    Private(fn(Call<'_, '_>, Identity) -> Handled),
    /// Needs an access token, which an event stream may have in its address.
    Stream(fn(Call<'_, '_>, Identity) -> Handled),
    /// The token may stand in the address or a subprotocol, or come later.
    Socket(fn(Call<'_, '_>, Option<Identity>) -> Handled),
}

/// PROTOCOL.md section 2. Of two patterns that fit, the first counts.
pub(crate) static ROUTES: &[Route] = {
    use Endpoint::{Open, Private, Probe, Socket, Stream};
    use Method::{Delete, Get, Patch, Post};
    const fn route(method: Method, path: &'static str, endpoint: Endpoint, doc: &'static Doc) -> Route {
        Route { method, path, endpoint, doc }
    }
    &[
        route(Post, "/api/v1/auth/register", Open(account::register), &endpoints::REGISTER),
        route(Post, "/api/v1/auth/login", Open(account::login), &endpoints::LOGIN),
        route(Post, "/api/v1/auth/refresh", Open(account::refresh), &endpoints::REFRESH),
        route(Post, "/api/v1/auth/logout", Open(account::logout), &endpoints::LOGOUT),
        route(Post, "/api/v1/auth/password", Private(account::change_password), &endpoints::PASSWORD),
        route(Get, "/api/v1/sessions", Private(sessions::list), &endpoints::SESSIONS),
        route(
            Delete,
            "/api/v1/sessions/others",
            Private(sessions::end_others),
            &endpoints::END_OTHER_SESSIONS,
        ),
        route(Delete, "/api/v1/sessions/{id}", Private(sessions::end), &endpoints::END_SESSION),
        route(Get, "/api/v1/users/me", Private(account::me), &endpoints::ME),
        route(Get, "/api/v1/rooms", Private(rooms::list), &endpoints::ROOMS),
        route(Post, "/api/v1/rooms", Private(rooms::create), &endpoints::CREATE_ROOM),
        route(Get, "/api/v1/rooms/{id}", Private(rooms::show), &endpoints::ROOM),
        route(Get, "/api/v1/rooms/{id}/messages", Private(messages::page), &endpoints::MESSAGES),
        route(Post, "/api/v1/rooms/{id}/messages", Private(messages::send), &endpoints::SEND),
        route(Patch, "/api/v1/rooms/{id}/messages/{seq}", Private(messages::edit), &endpoints::EDIT),
        route(Delete, "/api/v1/rooms/{id}/messages/{seq}", Private(messages::delete), &endpoints::DELETE),
        route(Get, "/api/v1/rooms/{id}/events", Stream(events::show), &endpoints::EVENTS),
        route(Get, "/api/v1/rooms/{id}/online", Private(online::show), &endpoints::ONLINE),
        route(Get, "/api/v1/openapi.json", Open(service::openapi), &endpoints::OPENAPI),
        route(Get, "/api/v1/asyncapi.json", Open(service::asyncapi), &endpoints::ASYNCAPI),
        route(Get, "/docs", Open(service::docs), &endpoints::DOCS),
        route(Get, "/ws", Socket(upgrade::chat), &endpoints::SOCKET),
        route(Get, "/livez", Probe(service::livez), &endpoints::LIVEZ),
        route(Get, "/readyz", Probe(service::readyz), &endpoints::READYZ),
        route(Get, "/health", Probe(service::health), &endpoints::HEALTH),
        route(Get, "/metrics", Probe(service::metrics), &endpoints::METRICS),
        route(Get, "/debug/echo", Socket(upgrade::echo), &endpoints::ECHO_SOCKET),
        route(Post, "/debug/echo", Open(service::echo), &endpoints::ECHO),
    ]
};

/// Bring a request to its endpoint. What all answers to it have in common is known from the path on.
pub(super) fn dispatch(request: &Request<'_>, turn: &mut Turn<'_>) -> (Context, Handled) {
    let found = find(request);
    let context = Context::new(request, turn.node, found.as_ref().map_or("", |found| found.path));
    (context, admit(request, found, turn))
}

fn admit(request: &Request<'_>, found: Option<Found<'_>>, turn: &mut Turn<'_>) -> Handled {
    let Some(Found { path, params, endpoint }) = found else { return admit_unknown(request, turn) };
    if !is_served(path, request, turn.node) {
        return Err(no_such_path());
    }
    if let Some(Endpoint::Probe(endpoint)) = endpoint {
        return endpoint(Call { request, params, turn });
    }
    check_origin(request, turn.node)?;
    let who = identify(request, endpoint, turn);
    charge(request, endpoint, &who, turn)?;
    let call = Call { request, params, turn };
    match endpoint {
        Some(Endpoint::Probe(endpoint) | Endpoint::Open(endpoint)) => endpoint(call),
        Some(Endpoint::Private(endpoint) | Endpoint::Stream(endpoint)) => match who {
            Who::Known(identity) => endpoint(call, identity),
            Who::Stranger => Err(Refused::unauthorized()),
            Who::Refused(refused) => Err(refused),
        },
        Some(Endpoint::Socket(endpoint)) => match who {
            Who::Known(identity) => endpoint(call, Some(identity)),
            Who::Stranger => endpoint(call, None),
            Who::Refused(refused) => Err(refused),
        },
        None if request.method == Method::Options => Ok(options(request, path).into()),
        None => Err(Refused::new(ErrorCode::MethodNotAllowed).with_header("Allow", allow(path))),
    }
}

/// Outside the table: an unknown path of the API, or perhaps a page or asset of the web client.
fn admit_unknown(request: &Request<'_>, turn: &Turn<'_>) -> Handled {
    let is_api = matches!(request.path.first().map(|part| &**part), Some("api" | "ws" | "debug"));
    if is_api {
        // The page of a foreign site learns nothing, not even which paths there are.
        check_origin(request, turn.node)?;
        let who = identify(request, None, turn);
        charge(request, None, &who, turn)?;
        return Err(no_such_path());
    }
    match (request.port, request.method) {
        (Port::Admin, _) => Err(no_such_path()),
        (Port::App, Method::Get | Method::Head) => Ok(Next::Asset),
        (Port::App, Method::Options) => Ok(Reply::no_content().with_header("Allow", ALLOW_ASSET).into()),
        (Port::App, Method::Post | Method::Put | Method::Patch | Method::Delete | Method::Other) => {
            Err(Refused::new(ErrorCode::MethodNotAllowed).with_header("Allow", ALLOW_ASSET))
        }
    }
}

const ALLOW_ASSET: &str = "GET, HEAD, OPTIONS";

/// A path of the table, and the endpoint that the method has there.
struct Found<'a> {
    path: &'static str,
    params: Params<'a>,
    endpoint: Option<Endpoint>,
}

fn find<'a>(request: &Request<'a>) -> Option<Found<'a>> {
    let (path, params) =
        ROUTES.iter().find_map(|route| Some((route.path, match_path(route.path, request.path)?)))?;
    let endpoint = ROUTES.iter().find(|route| route.path == path && route.takes(request.method));
    Some(Found { path, params, endpoint: endpoint.map(|route| route.endpoint) })
}

/// What stands at the places in braces, if the path is one of the pattern.
fn match_path<'a>(pattern: &str, path: &'a [Cow<'a, str>]) -> Option<Params<'a>> {
    let mut params: Params<'a> = [""; 2];
    let mut free = params.iter_mut();
    let mut parts = pattern.split('/').skip(1);
    for actual in path {
        let part = parts.next()?;
        if part.starts_with('{') {
            *free.next()? = actual;
        } else if part != actual {
            return None;
        }
    }
    parts.next().is_none().then_some(params)
}

impl Route {
    /// Asked by monitors: no token, no limit, no origin.
    pub(crate) fn is_probe(&self) -> bool {
        matches!(self.endpoint, Endpoint::Probe(_))
    }

    pub(crate) fn is_socket(&self) -> bool {
        matches!(self.endpoint, Endpoint::Socket(_))
    }

    /// Nobody gets further without an access token.
    pub(crate) fn needs_token(&self) -> bool {
        matches!(self.endpoint, Endpoint::Private(_) | Endpoint::Stream(_))
    }

    pub(super) fn takes(&self, method: Method) -> bool {
        self.method == method
            || (method == Method::Head
                && self.method == Method::Get
                && !matches!(self.endpoint, Endpoint::Socket(_)))
    }
}

/// The methods of a path, for the header of that name.
fn allow(path: &'static str) -> String {
    let mut allow = String::new();
    for method in METHODS {
        if ROUTES.iter().any(|route| route.path == path && route.takes(method)) {
            allow.push_str(method.as_str());
            allow.push_str(", ");
        }
    }
    allow + "OPTIONS"
}

const METHODS: [Method; 6] =
    [Method::Get, Method::Head, Method::Post, Method::Put, Method::Patch, Method::Delete];

/// Which methods there are, and for a browser that asks on behalf of a page of an allowed origin, what it may send.
fn options(request: &Request<'_>, path: &'static str) -> Reply {
    let allow = allow(path);
    let reply = Reply::no_content();
    if !request.is_preflight {
        return reply.with_header("Allow", allow);
    }
    reply
        .with_header("Access-Control-Allow-Methods", allow.clone())
        .with_header("Access-Control-Allow-Headers", "Authorization, Content-Type, Last-Event-ID")
        // Two hours, the most that browsers keep it.
        .with_header("Access-Control-Max-Age", "7200")
        .with_header("Allow", allow)
}

/// PROTOCOL.md section 1: with `ADMIN_PORT` the metrics and `/debug/*` are there and only there, without it production
/// shows the metrics to this machine alone.
fn is_served(path: &'static str, request: &Request<'_>, node: &Node) -> bool {
    let is_debug = path.starts_with("/debug/");
    let is_admin = is_debug || path == METRICS_PATH;
    let has_admin_port = node.config.admin_port.is_some();
    if is_debug && !node.config.debug_echo {
        return false;
    }
    match request.port {
        Port::Admin => is_admin || PROBE_PATHS.contains(&path),
        Port::App if is_admin && has_admin_port => false,
        Port::App => path != METRICS_PATH || !node.config.is_production() || request.is_local,
    }
}

const METRICS_PATH: &str = "/metrics";
const PROBE_PATHS: [&str; 3] = ["/livez", "/readyz", "/health"];

/// The most bytes that the body of a request to this path may have.
pub fn body_bytes_max(path: &[Cow<'_, str>], config: &Config) -> usize {
    if config.debug_echo && path == ["debug", "echo"] { ECHO_BYTES_MAX } else { config.body_bytes_max }
}

/// PROTOCOL.md section 1, `DEBUG_ECHO`.
const ECHO_BYTES_MAX: usize = 1 << 20;

fn check_origin(request: &Request<'_>, node: &Node) -> Result<(), Refused> {
    if node.origins.allows(request.origin) {
        Ok(())
    } else {
        Err(Refused::new(ErrorCode::Forbidden).because("This origin may not use this server from a browser."))
    }
}

fn no_such_path() -> Refused {
    Refused::new(ErrorCode::NotFound).because("There is no such path.")
}

/// Who sent a request, as far as its tokens tell.
enum Who {
    /// There is no token.
    Stranger,
    Known(Identity),
    /// A token is not accepted.
    Refused(Refused),
}

fn identify(request: &Request<'_>, endpoint: Option<Endpoint>, turn: &Turn<'_>) -> Who {
    match presented_token(request, endpoint, turn.node) {
        Err(refused) => Who::Refused(refused),
        Ok(None) => Who::Stranger,
        Ok(Some(token)) => match authenticate(token, turn.node, turn.now) {
            Ok(identity) => Who::Known(identity),
            Err(code) => Who::Refused(Refused::bad_token(code)),
        },
    }
}

/// The one token of a request, from the places where this endpoint accepts one.
fn presented_token<'a>(
    request: &Request<'a>,
    endpoint: Option<Endpoint>,
    node: &Node,
) -> Result<Option<&'a str>, Refused> {
    let (in_query, in_subprotocol) = match endpoint {
        Some(Endpoint::Socket(_)) => (true, true),
        Some(Endpoint::Stream(_)) => (request.asks_for_stream(), false),
        Some(Endpoint::Probe(_) | Endpoint::Open(_) | Endpoint::Private(_)) | None => (false, false),
    };
    let mut tokens: Vec<&str> = request.bearer.into_iter().collect();
    if in_query {
        let before = tokens.len();
        tokens.extend(request.query.iter().filter(|(name, _)| name == "token").map(|(_, token)| &**token));
        if tokens.len() > before && !node.config.query_token {
            return Err(
                Refused::bad_token(ErrorCode::Unauthorized).because("A token may not stand in the address.")
            );
        }
    }
    if in_subprotocol {
        tokens.extend(request.subprotocols.iter().filter_map(|name| name.strip_prefix("bearer.")));
    }
    let first = tokens.first().copied();
    if tokens.iter().any(|token| Some(*token) != first) {
        return Err(Refused::new(ErrorCode::BadRequest).because("There are two different tokens."));
    }
    Ok(first)
}

/// Section 6: what is authenticated counts for its user alone, all else for its address. A WebSocket's handshake has
/// limits of its own, on connections.
fn charge(
    request: &Request<'_>,
    endpoint: Option<Endpoint>,
    who: &Who,
    turn: &Turn<'_>,
) -> Result<(), Refused> {
    let limits = &turn.node.limits;
    match who {
        Who::Known(_) if matches!(endpoint, Some(Endpoint::Socket(_))) => Ok(()),
        Who::Known(identity) => limits.check_user(&identity.record, turn.now),
        Who::Stranger | Who::Refused(_) => limits.check_request(request.client, turn.now),
    }
    .map_err(Refused::limited)
}
