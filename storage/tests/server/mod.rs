//! The PostgreSQL server of the tests, as `scripts/with-postgres` starts it, and ways to trouble it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use chatroom_core::time::Timestamp;
use chatroom_storage::{Dsn, OpenError, Options, Stores};

pub const NOW: Timestamp = Timestamp::from_ms(1_795_428_000_000);

/// The DSN of the server; the tests make no sense without.
pub fn dsn() -> String {
    variable("CHATROOM_TEST_POSTGRES")
}

/// The file of the authority that certified the server.
pub fn authority() -> String {
    variable("CHATROOM_TEST_POSTGRES_CA")
}

#[expect(clippy::disallowed_methods, reason = "a test is told where its server is")]
fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run these tests by `make store-tests`"))
}

pub fn open(dsn: &str, options: &Options) -> Result<Stores, OpenError> {
    chatroom_storage::open(&Dsn::parse(dsn)?, options, NOW)
}

/// Runs statements on a connection of their own; the first column of the last row, if there is one.
pub fn run(dsn: &str, sql: &str) -> Option<String> {
    Session::open(dsn).run(sql)
}

/// A connection that stays open.
pub struct Session {
    runtime: tokio::runtime::Runtime,
    client: tokio_postgres::Client,
}

impl Session {
    pub fn open(dsn: &str) -> Session {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let config: tokio_postgres::Config = dsn.parse().unwrap();
        let (client, connection) =
            runtime.block_on(config.connect(tokio_postgres::NoTls)).expect("the server of the tests answers");
        runtime.spawn(connection);
        Session { runtime, client }
    }

    pub fn run(&self, sql: &str) -> Option<String> {
        let rows = self
            .runtime
            .block_on(self.client.simple_query(sql))
            .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        rows.into_iter().rev().find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_owned()),
            _ => None,
        })
    }
}

/// A schema of its own, gone with the value.
pub struct Schema {
    pub name: String,
}

impl Schema {
    pub fn new() -> Schema {
        let name = fresh("schema");
        run(&dsn(), &format!("CREATE SCHEMA {name}"));
        Schema { name }
    }

    pub fn dsn(&self) -> String {
        with_setting(&dsn(), &format!("options=-csearch_path%3D{}", self.name))
    }

    pub fn open(&self, options: &Options) -> Stores {
        open(&self.dsn(), options).unwrap()
    }
}

impl Drop for Schema {
    fn drop(&mut self) {
        run(&dsn(), &format!("SET client_min_messages = error; DROP SCHEMA {} CASCADE", self.name));
    }
}

/// A name that no other test has.
pub fn fresh(what: &str) -> String {
    static LAST: AtomicU32 = AtomicU32::new(0);
    format!("test_{what}_{}_{}", std::process::id(), LAST.fetch_add(1, Ordering::Relaxed))
}

pub fn with_setting(dsn: &str, setting: &str) -> String {
    let mark = if dsn.contains('?') { '&' } else { '?' };
    format!("{dsn}{mark}{setting}")
}

/// The same server on another host name and port.
pub fn at(dsn: &str, address: &str) -> String {
    let (head, tail) = dsn.split_once('@').expect("the test DSN has a user");
    let (_, path) = tail.split_once('/').expect("the test DSN has a database");
    format!("{head}@{address}/{path}")
}

fn address(dsn: &str) -> String {
    let (_, tail) = dsn.split_once('@').expect("the test DSN has a user");
    tail.split_once('/').expect("the test DSN has a database").0.to_owned()
}

/// What to do with the next thing that a client says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    None,
    /// Cut before it reaches the server.
    LoseRequest,
    /// Cut once the server has answered, before the client hears it.
    LoseAnswer,
    /// As `LoseRequest` and `LoseAnswer`, at the next thing said that holds COMMIT.
    LoseCommit,
    LoseCommitAnswer,
}

/// Sits between a store and the server, and cuts the line when it is told to.
pub struct Proxy {
    port: u16,
    state: Arc<Mutex<ProxyState>>,
}

struct ProxyState {
    server: String,
    trouble: Trouble,
    refuses: bool,
    lines: Vec<TcpStream>,
}

impl Proxy {
    pub fn new() -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(ProxyState {
            server: address(&dsn()),
            trouble: Trouble::None,
            refuses: false,
            lines: Vec::new(),
        }));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let mut state = shared.lock().unwrap();
                if state.refuses {
                    continue;
                }
                let server = TcpStream::connect(&state.server).unwrap();
                for stream in [&client, &server] {
                    stream.set_nodelay(true).unwrap();
                    state.lines.push(stream.try_clone().unwrap());
                }
                drop(state);
                carry(client, server, &shared);
            }
        });
        Proxy { port, state }
    }

    /// The DSN by way of the proxy, without TLS, so that it can be listened to.
    pub fn dsn(&self, dsn: &str) -> String {
        with_setting(&at(dsn, &format!("127.0.0.1:{}", self.port)), "sslmode=disable")
    }

    pub fn arm(&self, trouble: Trouble) {
        self.state.lock().unwrap().trouble = trouble;
    }

    /// Whether what was armed has happened.
    pub fn is_spent(&self) -> bool {
        self.state.lock().unwrap().trouble == Trouble::None
    }

    /// Cuts every line.
    pub fn cut(&self) {
        for line in self.state.lock().unwrap().lines.drain(..) {
            let _ = line.shutdown(Shutdown::Both);
        }
    }

    /// Cuts every line and lets nobody in, or lets them in again.
    pub fn refuse(&self, refuses: bool) {
        self.state.lock().unwrap().refuses = refuses;
        self.cut();
    }
}

fn carry(client: TcpStream, server: TcpStream, state: &Arc<Mutex<ProxyState>>) {
    // Set while the server's answer is to be swallowed.
    let swallow = Arc::new(Mutex::new(false));
    let (mut from_client, mut to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let (state, swallowing) = (Arc::clone(state), Arc::clone(&swallow));
    std::thread::spawn(move || {
        let mut buffer = vec![0; 1 << 20];
        while let Ok(n @ 1..) = from_client.read(&mut buffer) {
            let said = &buffer[..n];
            let commits = said.windows(6).any(|window| window == b"COMMIT");
            let mut shared = state.lock().unwrap();
            let trouble = shared.trouble;
            let happens = match trouble {
                Trouble::None => false,
                Trouble::LoseRequest | Trouble::LoseAnswer => true,
                Trouble::LoseCommit | Trouble::LoseCommitAnswer => commits,
            };
            if happens {
                shared.trouble = Trouble::None;
                match trouble {
                    Trouble::LoseAnswer | Trouble::LoseCommitAnswer => *swallowing.lock().unwrap() = true,
                    Trouble::None | Trouble::LoseRequest | Trouble::LoseCommit => {
                        let _ = from_client.shutdown(Shutdown::Both);
                        let _ = to_server.shutdown(Shutdown::Both);
                        return;
                    }
                }
            }
            drop(shared);
            if to_server.write_all(said).is_err() {
                return;
            }
        }
        let _ = to_server.shutdown(Shutdown::Both);
    });
    let (mut from_server, mut to_client) = (server, client);
    std::thread::spawn(move || {
        let mut buffer = vec![0; 1 << 20];
        while let Ok(n @ 1..) = from_server.read(&mut buffer) {
            if *swallow.lock().unwrap() {
                // Only the end of the answer says that the server is done: "ready for query, no transaction".
                if buffer[..n].ends_with(b"Z\0\0\0\x05I") {
                    let _ = from_server.shutdown(Shutdown::Both);
                    break;
                }
                continue;
            }
            if to_client.write_all(&buffer[..n]).is_err() {
                break;
            }
        }
        let _ = to_client.shutdown(Shutdown::Both);
    });
}
