use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, HashSet};

const STRONG: &str = "Zk3-vB9pQ7xL2mN8rT5wY1cF6hJ4dS0g";
const ALL_PARTS: Parts = Parts { tls: true, postgres: true, redis: true };

/// What a test sets.
#[derive(Clone, Default)]
struct Given {
    environment: Vec<(String, String)>,
    dotenv: Vec<(String, String)>,
    files: BTreeMap<&'static str, String>,
    parts: Option<Parts>,
}

impl Given {
    fn of(environment: &[(&str, &str)]) -> Given {
        Given { environment: owned(environment), ..Given::default() }
    }

    fn production() -> Given {
        Given::of(&[
            ("CHATROOM_APP_ENV", "production"),
            ("CHATROOM_JWT_SECRET", STRONG),
            ("CHATROOM_PUBLIC_URL", "https://chat.example"),
        ])
    }

    fn with(mut self, name: &str, value: &str) -> Given {
        self.environment.retain(|(other, _)| other != name);
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    fn without(mut self, name: &str) -> Given {
        self.environment.retain(|(other, _)| other != name);
        self
    }

    fn file(mut self, path: &'static str, text: &str) -> Given {
        self.files.insert(path, text.to_owned());
        self
    }

    fn load(&self) -> Result<Config, ConfigError> {
        Config::load(&Inputs {
            environment: self.environment.clone(),
            dotenv: self.dotenv.clone(),
            read_file: &|path| {
                let text = path.to_str().and_then(|path| self.files.get(path));
                text.cloned().ok_or_else(|| "No such file".to_owned())
            },
            parts: self.parts.unwrap_or(ALL_PARTS),
        })
    }

    /// The one line that it is refused with.
    fn refusal(&self) -> String {
        let line = self.load().expect_err("it should be refused").to_string();
        assert_eq!(line.lines().count(), 1, "{line}");
        line
    }
}

fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn listed(config: &Config, name: &str) -> String {
    let listed = config.listed().iter().find(|listed| listed.name == format!("CHATROOM_{name}"));
    listed.expect("every setting is listed").to_string()
}

#[test]
fn the_defaults_are_those_of_the_contract() {
    let config = Config::default();
    assert_eq!((config.app_port, config.app_host.to_string()), (8080, "127.0.0.1".to_owned()));
    assert_eq!(config.database, Dsn::Sqlite("data/chatroom.db".into()));
    assert_eq!(config.password_cost, PasswordCost::LEAST);
    assert_eq!((config.user_connections, config.rooms_per_day, config.rooms_per_connection), (64, 20, 256));
    assert_eq!((config.frame_bytes_max, config.frame_skip_bytes_max), (65_536, 1_048_576));
    assert_eq!((config.replay_max, config.content_chars_max, config.page_bytes_max), (1000, 4000, 262_144));
    assert_eq!(config.user_rest_rate, Rate::per_second(20, 40).unwrap());
    assert_eq!(config.address_connect_rate, Rate::per_second(50, 200).unwrap());
    assert_eq!(config.login_rate, Rate::per_minute(10, 10).unwrap());
    assert_eq!(
        (config.heartbeat_ms(), config.drain_ms(), config.auth_timeout_ms()),
        (25_000, 25_000, 10_000)
    );
    assert!(config.registration_open && config.query_token && config.rate_limit && !config.debug_echo);
    assert!(config.jwt_secret.is_none() && config.redis_url.is_none() && config.tls().is_none());
    assert_eq!(Given::production().load().unwrap().app_host.to_string(), "0.0.0.0");
}

#[test]
fn the_table_is_sound() {
    let names: HashSet<_> = SETTINGS.iter().map(|setting| setting.name).collect();
    assert_eq!(names.len(), SETTINGS.len(), "no name stands twice");
    assert_eq!(Config::default().listed().len(), SETTINGS.len());
    for setting in SETTINGS {
        assert!(
            setting.doc.trim_end().ends_with('.') || setting.doc.trim_end().ends_with('`'),
            "{setting:?}"
        );
        assert!(!names.contains(format!("{}_FILE", setting.name).as_str()), "{setting:?}");
    }
    let page = reference();
    assert!(SETTINGS.iter().all(|setting| page.contains(&format!("| `CHATROOM_{}` |", setting.name))));
    assert_eq!(page.lines().count(), SETTINGS.len() + 3);
}

#[test]
fn an_unknown_name_is_refused_with_the_nearest_one() {
    for (wrong, right) in [
        ("APP_PROT", "APP_PORT"),
        ("RATE_LIMITS", "RATE_LIMIT"),
        ("JWT_SECERT", "JWT_SECRET"),
        ("HEARTBEAT", "HEARTBEAT_S"),
        ("USER_CONECTIONS", "USER_CONNECTIONS"),
        ("DATABASE_DNS_FILE", "DATABASE_DSN_FILE"),
    ] {
        let line = Given::of(&[(&format!("CHATROOM_{wrong}"), "1")]).refusal();
        assert!(line.starts_with(&format!("CHATROOM_{wrong}: ")), "{line}");
        assert!(line.contains(&format!("CHATROOM_{right}?")), "{line}");
    }
    let line = Given::of(&[("CHATROOM_SOMETHING_ELSE_ENTIRELY", "1")]).refusal();
    assert!(!line.contains("did you mean"), "{line}");
    // Only secrets are read from files; lower case is not a name in the environment.
    Given::of(&[("CHATROOM_APP_PORT_FILE", "x")]).refusal();
    Given::of(&[("CHATROOM_app_port", "1")]).refusal();
}

#[test]
fn names_that_are_not_ours_do_not_count() {
    let given = Given::of(&[
        ("PATH", "/bin"),
        ("PORT", "x"),
        ("CHATROOM", "x"),
        ("RATE_LIMIT", "maybe"),
        ("CHATROOM_SERVICE_HOST", "10.0.0.1"),
        ("CHATROOM_PORT", "tcp://10.0.0.1:80"),
        ("CHATROOM_PORT_80_TCP_ADDR", "10.0.0.1"),
    ]);
    assert_eq!(given.load().unwrap().app_port, 8080);
}

#[test]
fn bare_names_are_accepted_unless_they_contradict() {
    assert_eq!(Given::of(&[("APP_PORT", "8099")]).load().unwrap().app_port, 8099);
    let same = Given::of(&[("APP_PORT", "8099"), ("CHATROOM_APP_PORT", "8099")]);
    assert_eq!(same.load().unwrap().app_port, 8099);
    let line = Given::of(&[("APP_PORT", "8098"), ("CHATROOM_APP_PORT", "8099")]).refusal();
    assert!(line.contains("APP_PORT"), "{line}");
    assert!(Given::of(&[("APP_PORT", "x")]).refusal().starts_with("APP_PORT: "));
}

#[test]
fn the_environment_wins_over_dotenv_and_that_over_the_file() {
    let mut given = Given::of(&[("CHATROOM_CONFIG", "c.toml"), ("APP_PORT", "1")])
        .file("c.toml", "app_port = 3\nuser_connections = 3\nreplay_max = 3\nrate_limit = false\ntrusted_proxies = [\"10.0.0.1\"]");
    given.dotenv = owned(&[("CHATROOM_APP_PORT", "2"), ("CHATROOM_USER_CONNECTIONS", "2")]);
    let config = given.load().unwrap();
    assert_eq!((config.app_port, config.user_connections, config.replay_max), (1, 2, 3));
    assert!(!config.rate_limit);
    assert_eq!(config.trusted_proxies, ["10.0.0.1/32".parse().unwrap()]);
    assert_eq!(listed(&config, "APP_PORT"), "CHATROOM_APP_PORT = 1    # environment");
    assert_eq!(listed(&config, "USER_CONNECTIONS"), "CHATROOM_USER_CONNECTIONS = 2    # .env");
    assert_eq!(listed(&config, "REPLAY_MAX"), "CHATROOM_REPLAY_MAX = 3    # c.toml");
    assert_eq!(listed(&config, "DRAIN_S"), "CHATROOM_DRAIN_S = 25    # default");
    assert_eq!(listed(&config, "TLS_KEY"), "CHATROOM_TLS_KEY = (none)    # default");
    given.dotenv = owned(&[("CHATROOM_USER_CONECTIONS", "2")]);
    assert!(given.refusal().starts_with("CHATROOM_USER_CONECTIONS: "));
}

#[test]
fn the_file_is_held_to_the_same_rules() {
    let file = |text: &str| Given::of(&[("CHATROOM_CONFIG", "c.toml")]).file("c.toml", text).refusal();
    for (text, parts) in [
        ("app_prot = 1", ["app_prot in c.toml", "app_port?"]),
        ("APP_PORT = 1", ["APP_PORT in c.toml", "app_port?"]),
        ("chatroom_app_port = 1", ["chatroom_app_port", "is unknown"]),
        ("heartbeat_s = \"often\"", ["heartbeat_s", "must be an integer"]),
        ("heartbeat_s = 1.5", ["heartbeat_s", "must be a text, an integer"]),
        ("[database]\ndsn = 1", ["database in c.toml", "is unknown"]),
        ("\nthis is not = = toml", ["CHATROOM_CONFIG", "c.toml line 2"]),
        ("drain_s = 1\ndrain_s = 1", ["CHATROOM_CONFIG", "line 2"]),
    ] {
        let line = file(text);
        assert!(parts.iter().all(|part| line.contains(part)), "{text}: {line}");
    }
    let missing = Given::of(&[("CHATROOM_CONFIG", "none.toml")]).refusal();
    assert_eq!(missing, "CHATROOM_CONFIG: none.toml: No such file");
}

#[test]
fn secrets_are_read_from_files() {
    let given = Given::of(&[("CHATROOM_JWT_SECRET_FILE", "/run/s")]).file("/run/s", "from a file\n");
    let config = given.load().unwrap();
    assert_eq!(config.jwt_secret.as_ref().map(Secret::expose), Some("from a file"));
    assert_eq!(listed(&config, "JWT_SECRET"), "CHATROOM_JWT_SECRET = ***    # /run/s");
    assert!(given.clone().with("JWT_SECRET", "from a file").load().is_ok());
    let line = given.with("JWT_SECRET", "another").refusal();
    assert!(line.contains("JWT_SECRET") && !line.contains("another"), "{line}");
    let missing = Given::of(&[("DATABASE_DSN_FILE", "/none")]).refusal();
    assert_eq!(missing, "DATABASE_DSN_FILE: /none: No such file");
}

#[test]
fn a_value_that_cannot_be_is_refused() {
    for (name, value) in [
        ("APP_PORT", "abc"),
        ("APP_PORT", "65536"),
        ("APP_PORT", "-1"),
        ("APP_PORT", "+1"),
        ("APP_PORT", ""),
        ("APP_HOST", "not a host"),
        ("APP_ENV", "staging"),
        ("DATABASE_DSN", "mysql://localhost/x"),
        ("DATABASE_DSN", "chatroom.db"),
        ("DATABASE_DSN", "sqlite://"),
        ("DATABASE_DSN", "sqlite://:memory:"),
        ("RATE_LIMIT", "maybe"),
        ("QUERY_TOKEN", "2"),
        ("REGISTRATION", "perhaps"),
        ("PASSWORD_COST", "19456"),
        ("PASSWORD_COST", "0,0,0"),
        ("TRUSTED_PROXIES", "banana"),
        ("TRUSTED_PROXIES", "10.0.0.0/33"),
        ("PUBLIC_URL", "chat.example"),
        ("PUBLIC_URL", "https://chat.example/path"),
        ("PUBLIC_URL", "https://user@chat.example"),
        ("ALLOWED_ORIGINS", "https://a.example/path"),
        ("ALLOWED_ORIGINS", "null"),
        ("ALLOWED_ORIGINS", "https://a.example:0"),
        ("USER_REST_RATE", "20"),
        ("USER_REST_RATE", "0/0"),
        ("LOGIN_RATE", "10/"),
        ("USER_CONNECTIONS", "-5"),
        ("HEARTBEAT_S", "0"),
        ("DRAIN_S", "1.5.2"),
        ("FRAME_BYTES_MAX", "64KiB?"),
        ("FRAME_BYTES_MAX", "99999999999999999GiB"),
        ("REACTORS", "0"),
        ("REDIS_URL", "http://x"),
        ("LOG_LEVEL", "loud"),
        ("LOG_LEVEL", "a b=info"),
        ("TLS_CERT", ""),
        ("JWT_SECRET", ""),
    ] {
        let line = Given::of(&[(&format!("CHATROOM_{name}"), value)]).refusal();
        assert!(line.starts_with(&format!("CHATROOM_{name}: ")), "{line}");
    }
}

#[test]
fn values_are_read_as_they_are_meant() {
    let config = Given::of(&[
        ("CHATROOM_FRAME_BYTES_MAX", "128KiB"),
        ("CHATROOM_BODY_BYTES_MAX", "4096"),
        ("CHATROOM_APP_HOST", "::"),
        ("CHATROOM_REACTORS", "3"),
        ("CHATROOM_PUBLIC_URL", "HTTPS://Chat.Example:443/"),
        ("CHATROOM_ALLOWED_ORIGINS", "http://localhost:5173, https://[2001:db8::1]:8443"),
        ("CHATROOM_TRUSTED_PROXIES", "10.1.2.3/8,2001:db8::/32"),
        ("CHATROOM_JWT_SECRET_PREVIOUS", "one, two,"),
        ("CHATROOM_LOG_LEVEL", "info,chatroom_core=debug"),
        ("DATABASE_DSN", "host=db dbname=chat user=x password=y"),
    ])
    .load()
    .unwrap();
    assert_eq!((config.frame_bytes_max, config.body_bytes_max), (131_072, 4096));
    assert_eq!((config.app_host.to_string().as_str(), config.reactors, config.lanes), ("::", Some(3), None));
    assert_eq!(config.public_url.as_deref(), Some("https://chat.example"));
    assert_eq!(config.allowed_origins, ["http://localhost:5173", "https://[2001:db8::1]:8443"]);
    assert_eq!(config.trusted_proxies, ["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()]);
    let previous: Vec<_> = config.jwt_secret_previous.iter().map(Secret::expose).collect();
    assert_eq!(previous, ["one", "two"]);
    assert!(matches!(config.database, Dsn::Postgres(_)));
    assert!(Given::of(&[("CHATROOM_TRUSTED_PROXIES", ""), ("CHATROOM_ALLOWED_ORIGINS", "")]).load().is_ok());
}

#[test]
fn contradictions_are_refused() {
    for (pairs, name) in [
        (&[("CHATROOM_TLS_CERT", "c.pem")] as &[_], "CHATROOM_TLS_KEY"),
        (&[("CHATROOM_TLS_KEY", "k.pem")], "CHATROOM_TLS_CERT"),
        (&[("CHATROOM_ADMIN_PORT", "8080")], "CHATROOM_ADMIN_PORT"),
        (&[("CHATROOM_FRAME_SKIP_BYTES_MAX", "4096")], "CHATROOM_FRAME_SKIP_BYTES_MAX"),
        (&[("CHATROOM_RECENT_BYTES_MAX", "1GiB")], "CHATROOM_RECENT_TOTAL_BYTES_MAX"),
    ] {
        let line = Given::of(pairs).refusal();
        assert!(line.starts_with(&format!("{name}: ")), "{line}");
    }
    assert!(Given::of(&[("CHATROOM_ADMIN_PORT", "0"), ("CHATROOM_APP_PORT", "0")]).load().is_ok());
    let both = Given::of(&[("CHATROOM_TLS_CERT", "c.pem"), ("CHATROOM_TLS_KEY", "k.pem")]);
    assert!(both.load().unwrap().tls().is_some());
}

#[test]
fn a_part_that_the_build_lacks_is_refused() {
    for (name, value) in [
        ("CHATROOM_TLS_CERT", "c.pem"),
        ("CHATROOM_TLS_KEY", "k.pem"),
        ("REDIS_URL", "redis://localhost"),
        ("DATABASE_DSN", "postgres://localhost/x"),
    ] {
        let mut given = Given::of(&[(name, value)]);
        given.parts = Some(Parts { tls: false, postgres: false, redis: false });
        let line = given.refusal();
        assert!(line.starts_with(&format!("{name}: this build has no ")), "{line}");
    }
}

#[test]
fn production_is_strict() {
    let production = Given::production();
    assert!(production.load().unwrap().is_production());
    let origins = production.clone().without("CHATROOM_PUBLIC_URL");
    assert!(origins.clone().with("CHATROOM_ALLOWED_ORIGINS", "https://a.example").load().is_ok());
    assert!(origins.refusal().starts_with("CHATROOM_PUBLIC_URL: "));
    assert!(production.clone().without("CHATROOM_JWT_SECRET").refusal().starts_with("CHATROOM_JWT_SECRET: "));
    for weak in ["short", &"a".repeat(40), "abcdefghabcdefghabcdefghabcdefgh"] {
        for name in ["CHATROOM_JWT_SECRET", "CHATROOM_JWT_SECRET_PREVIOUS"] {
            let line = production.clone().with(name, weak).refusal();
            assert!(line.starts_with(&format!("{name}: ")) && !line.contains(weak), "{line}");
        }
    }
    let cheap = production.with("CHATROOM_PASSWORD_COST", "1024,1,1").refusal();
    assert!(cheap.starts_with("CHATROOM_PASSWORD_COST: "), "{cheap}");
    // In development all of this is allowed.
    assert!(Given::of(&[("JWT_SECRET", "short"), ("CHATROOM_PASSWORD_COST", "64,1,1")]).load().is_ok());
}

#[test]
fn no_secret_is_shown() {
    let secrets = ["hunter2secret", "redispass9", STRONG];
    for (dsn, visible) in [
        (
            "postgres://someone:hunter2secret@db.example:5433/chat?sslmode=require",
            "db.example:5433/chat?sslmode=require",
        ),
        ("postgres://db.example/chat?user=x&password=hunter2secret", "db.example/chat"),
        ("postgresql://someone:hunter2secret/@db.example/chat", "db.example/chat"),
        ("postgres://someone:hunter2secret?x@db.example/chat", "postgres://"),
        ("postgres://someone:h?host=hunter2secret@db.example/chat", "postgres://"),
        ("host=db.example password=hunter2secret dbname=chat", "host=db.example"),
        ("host=db.example password='a host=hunter2secret'", "***"),
    ] {
        let given = Given::of(&[
            ("DATABASE_DSN", dsn),
            ("CHATROOM_JWT_SECRET", STRONG),
            ("CHATROOM_JWT_SECRET_PREVIOUS", STRONG),
            ("CHATROOM_REDIS_URL", "redis://:redispass9@cache.example"),
        ]);
        let config = given.load().unwrap();
        let shown: String = config.listed().iter().map(|listed| format!("{listed}\n")).collect();
        let debug = format!("{config:?}");
        let json = serde_json::to_string(config.listed()).unwrap();
        for secret in secrets {
            assert!(![&shown, &debug, &json].iter().any(|text| text.contains(secret)), "{secret} in {shown}");
        }
        assert!(listed(&config, "DATABASE_DSN").contains(visible), "{shown}");
        assert!(shown.contains("cache.example"));
    }
    let line = Given::of(&[("DATABASE_DSN", "hunter2secret")]).refusal();
    assert!(!line.contains("hunter2secret"), "{line}");
}

proptest! {
    #[test]
    fn no_value_makes_it_panic(at in 0..SETTINGS.len(), value: String, file: String) {
        let setting = SETTINGS[at].name;
        let given = Given::of(&[(&format!("CHATROOM_{setting}"), &value), ("CHATROOM_CONFIG", "c.toml")])
            .file("c.toml", &file);
        if let Err(error) = given.load() {
            prop_assert_eq!(error.to_string().lines().count().max(1), 1);
        }
    }
}
