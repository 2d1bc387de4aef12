//! Which web pages may use this server from a browser (PROTOCOL.md section 1, `PUBLIC_URL` and `ALLOWED_ORIGINS`).
//!
//! A browser names the page that a request comes from in `Origin`; whoever is no browser leaves it out and is
//! accepted. An origin is compared byte for byte with the serialised form that browsers send (RFC 6454 section 6.2).

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::config::Config;

/// Scheme, host and port, as a browser writes them: lower case, without the scheme's default port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(Box<str>);

impl Origin {
    /// The origin of an `http` or `https` URL. `None` when the text is no such URL, names a user, or has a host that
    /// is not in ASCII (browsers send such a host in Punycode, so it has to be configured like that).
    pub fn of_url(url: &str) -> Option<Origin> {
        let (scheme, rest) = url.split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        let default_port = match scheme.as_str() {
            "http" => 80,
            "https" => 443,
            _ => return None,
        };
        let authority = rest.split(['/', '?', '#']).next()?;
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, Some(port)),
            Some(_) | None => (authority, None),
        };
        if !is_host(host) {
            return None;
        }
        let host = host.to_ascii_lowercase();
        let port = match port {
            // `http://host:` is allowed by RFC 3986 and means the default.
            None | Some("") => default_port,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse::<u16>().ok()?,
            Some(_) => return None,
        };
        Some(Self::from_parts(&scheme, &host, port, default_port))
    }

    /// The text that a browser sends.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn from_parts(scheme: &str, host: &str, port: u16, default_port: u16) -> Origin {
        if port == default_port {
            Origin(format!("{scheme}://{host}").into())
        } else {
            Origin(format!("{scheme}://{host}:{port}").into())
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The origins from which this server may be used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OriginRules {
    allowed: Vec<Origin>,
}

impl OriginRules {
    /// What a server with this configuration allows that is bound to this address.
    pub fn of(config: &Config, bound: SocketAddr) -> OriginRules {
        let configured = config.public_url.iter().chain(&config.allowed_origins);
        let rules = OriginRules::only(configured.filter_map(|url| Origin::of_url(url)));
        if config.is_production() { rules } else { rules.with_bound_address(bound, config.tls().is_some()) }
    }

    /// These origins and no others.
    pub fn only(origins: impl IntoIterator<Item = Origin>) -> OriginRules {
        OriginRules { allowed: origins.into_iter().collect() }
    }

    /// Adds what counts as own in development: the bound address, and the three names of this machine with the bound
    /// port.
    #[must_use]
    fn with_bound_address(mut self, bound: SocketAddr, tls: bool) -> OriginRules {
        let (scheme, default_port) = if tls { ("https", 443) } else { ("http", 80) };
        let own = (!bound.ip().is_unspecified()).then(|| match bound.ip() {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        });
        let hosts = ["localhost", "127.0.0.1", "[::1]"].into_iter().chain(own.as_deref());
        for host in hosts {
            let origin = Origin::from_parts(scheme, host, bound.port(), default_port);
            if !self.allowed.contains(&origin) {
                self.allowed.push(origin);
            }
        }
        self
    }

    /// Whether a request with this `Origin` header is let in; without the header it does not come from a browser's
    /// page.
    pub fn allows(&self, origin: Option<&str>) -> bool {
        origin.is_none_or(|origin| self.allowed.iter().any(|allowed| allowed.as_str() == origin))
    }
}

/// A name or an IPv4 address of the characters that a serialised host may have, or an IPv6 address in brackets.
fn is_host(host: &str) -> bool {
    match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').is_some_and(|ip| ip.parse::<std::net::Ipv6Addr>().is_ok()),
        None => {
            !host.is_empty()
                && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Inputs;

    #[test]
    fn a_url_has_the_origin_that_browsers_send() {
        for (url, expected) in [
            ("https://chat.example.org", Some("https://chat.example.org")),
            ("HTTPS://Chat.Example.org:443/app/?x#y", Some("https://chat.example.org")),
            ("http://localhost:8080/", Some("http://localhost:8080")),
            ("http://h:80", Some("http://h")),
            ("http://h:", Some("http://h")),
            ("https://h:80", Some("https://h:80")),
            ("http://[::1]:8080", Some("http://[::1]:8080")),
            ("http://[::1]", Some("http://[::1]")),
            ("http://[::1", None),
            ("http://h:65536", None),
            ("http://h:+80", None),
            ("http://user@h", None),
            ("http://user:word@h", None),
            ("ftp://h", None),
            ("http://", None),
            ("http://hö.example", None),
            ("chat.example.org", None),
            ("null", None),
            ("", None),
        ] {
            assert_eq!(Origin::of_url(url).as_ref().map(Origin::as_str), expected, "{url}");
        }
    }

    #[test]
    fn only_configured_pages_and_programs_are_let_in() {
        let rules = OriginRules::only(Origin::of_url("https://chat.example.org/"));
        assert!(rules.allows(None));
        assert!(rules.allows(Some("https://chat.example.org")));
        for foreign in [
            "",
            "null",
            "http://chat.example.org",
            "https://chat.example.org:8443",
            "https://chat.example.org.evil.example",
            "https://evil.example",
            "https://chat.example.org/",
        ] {
            assert!(!rules.allows(Some(foreign)), "{foreign:?}");
        }
    }

    #[test]
    fn in_development_this_machine_is_own() {
        let rules = OriginRules::default().with_bound_address("192.0.2.7:8080".parse().unwrap(), false);
        for own in
            ["http://localhost:8080", "http://127.0.0.1:8080", "http://[::1]:8080", "http://192.0.2.7:8080"]
        {
            assert!(rules.allows(Some(own)), "{own}");
        }
        assert!(!rules.allows(Some("http://localhost:5173")));
        assert!(!rules.allows(Some("https://localhost:8080")));
        let everywhere = OriginRules::default().with_bound_address("0.0.0.0:80".parse().unwrap(), false);
        assert!(everywhere.allows(Some("http://localhost")));
        assert!(!everywhere.allows(Some("http://0.0.0.0")));
    }

    #[test]
    fn the_bound_address_counts_in_development_only() {
        let config = |settings: &[(&str, &str)]| {
            let environment = settings.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
            Config::load(&Inputs { environment: environment.collect(), ..Inputs::default() }).unwrap()
        };
        let bound = "127.0.0.1:8080".parse().unwrap();
        let named = ("CHATROOM_PUBLIC_URL", "https://Chat.example/");
        let more = ("CHATROOM_ALLOWED_ORIGINS", "https://a.example, https://b.example:8443");
        let secret = ("JWT_SECRET", "8Yd-core-tests-hN3pQ5vX7z-2kLm9-wRt4");
        for (settings, own) in
            [(&[named, more][..], true), (&[named, more, secret, ("APP_ENV", "production")], false)]
        {
            let rules = OriginRules::of(&config(settings), bound);
            for origin in ["https://chat.example", "https://a.example", "https://b.example:8443"] {
                assert!(rules.allows(Some(origin)), "{origin}");
            }
            assert_eq!(rules.allows(Some("http://localhost:8080")), own);
            assert!(!rules.allows(Some("http://localhost:80")));
        }
    }
}
