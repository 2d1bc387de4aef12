//! `Server`: where everything meets: mailboxes are made, threads get theirs, listeners open, and all of it ends in order.

use std::io;
use std::net::SocketAddr;
use std::panic;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};
use chatroom_core::api::Port;
use chatroom_core::config::Config;
use chatroom_core::id::ReactorId;
use chatroom_core::lane::{Lane, LaneLimits};
use chatroom_core::mail::{Effect, ReactorMail};
use chatroom_core::mailbox::{Post, Receiver, Sender, mailbox, mailbox_with_wake};
use chatroom_core::metrics::Metrics;
use chatroom_core::node::Node;
use chatroom_core::origin::OriginRules;
use chatroom_core::password::Hasher;
use chatroom_core::room::RoomLimits;
use chatroom_core::room::worker::RoomWorker;
use chatroom_core::token::Keys;
use chatroom_storage::Stores;
use chatroom_transports::poll::{Accepted, Clock, Door, Driver, Hand, waker};
use chatroom_transports::reactor::{Reactor, ReactorLimits};
use chatroom_transports::tcp::{SocketLimits, TcpListener};
use chatroom_transports::tls::{Identity, TlsListener};
use mio::Poll;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::assets::WebClient;
use crate::threads;
use crate::transport::{AnyListener, AnyStream};

/// A running server.
pub struct Server {
    address: SocketAddr,
    post: Post,
    node: Arc<Node>,
    /// The certificate that the port speaks TLS with.
    identity: Option<Arc<Identity>>,
    reactors: Mutex<Vec<JoinHandle<io::Result<()>>>>,
}

/// Clients of a draining server come back spread over this time.
const DRAIN_SPREAD_MS: u64 = 5000;
/// A room that nobody has used for this long is let go; its newest events are kept that long for who comes back.
const ROOM_IDLE_MS: u64 = 5 * 60 * 1000;
/// Accepted sockets on their way to a reactor.
const SOCKETS_MAX: usize = 1024;

impl Server {
    /// Start all threads and open the listeners.
    pub fn start(config: Config, keys: Keys, mut stores: Stores, clock: Clock) -> Result<Server> {
        end_the_process_with_a_panicking_thread();
        let limits = SocketLimits {
            send_buffer_bytes: config.send_buffer_bytes,
            receive_buffer_bytes: config.receive_buffer_bytes,
            notsent_lowat_bytes: config.notsent_lowat_bytes,
        };
        let app =
            TcpListener::bind(SocketAddr::new(config.app_host, config.app_port), config.backlog, limits)
                .with_context(|| {
                    format!("APP_PORT: cannot listen on {}:{}", config.app_host, config.app_port)
                })?;
        let address = app.local_address()?;
        let identity = match config.tls() {
            Some((certificate, key)) => Some(Arc::new(Identity::load(certificate, key)?)),
            None => None,
        };
        let app = match &identity {
            Some(identity) => AnyListener::Tls(TlsListener::new(app, Arc::clone(identity))),
            None => AnyListener::Tcp(app),
        };
        let mut doors = vec![Door { listener: app, port: Port::App }];
        if let Some(port) = config.admin_port {
            let admin = TcpListener::bind(SocketAddr::new(config.app_host, port), config.backlog, limits)
                .with_context(|| format!("ADMIN_PORT: cannot listen on port {port}"))?;
            doors.push(Door { listener: AnyListener::Tcp(admin), port: Port::Admin });
        }
        if let Some(path) = &config.app_socket {
            let socket = chatroom_transports::unix::UnixListener::bind(path)
                .with_context(|| format!("APP_SOCKET: cannot listen on {}", path.display()))?;
            doors.push(Door { listener: AnyListener::Unix(socket), port: Port::App });
        }

        let cores = thread::available_parallelism().map_or(1, usize::from);
        let reactors = config.reactors.map_or(cores, usize::from);
        let workers = config.room_workers.map_or(cores.div_ceil(2), usize::from);
        let hashers = config.hashers.map_or(cores.min(4), usize::from);
        let metrics = Metrics::new();
        let origins = OriginRules::of(&config, address);
        let gauges: Arc<OnceLock<Gauges>> = Arc::default();
        let (text, sampled) = (Arc::clone(&metrics), Arc::clone(&gauges));
        let shown = Box::new(move || {
            if let Some(gauges) = sampled.get() {
                gauges.sample(&text);
            }
            text.text()
        });
        let mut node = Node::new(config, keys, origins, u16::try_from(reactors).unwrap_or(u16::MAX), shown);
        node.counters = Arc::clone(&metrics);
        let node = Arc::new(node);
        let config = &node.config;
        if let Some(reader) = stores.readers.first_mut() {
            threads::recall_ended(reader.as_mut(), &node, clock.now())
                .context("the database does not answer")?;
        }

        let polls = (0..reactors).map(|_| Poll::new()).collect::<io::Result<Vec<_>>>()?;
        let (mut mail_tx, mut mail_rx, mut socket_rx, mut hands) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for poll in &polls {
            let wake = Arc::new(waker(poll.registry())?);
            let wake_too = Arc::clone(&wake);
            let (tx, rx) = mailbox_with_wake(config.reactor_mailbox_max, move || wake());
            let (sockets, taken) = mailbox_with_wake::<Accepted<AnyStream>>(SOCKETS_MAX, move || wake_too());
            mail_tx.push(tx);
            mail_rx.push(rx);
            socket_rx.push(taken);
            hands.push(Hand { sockets, load: Arc::new(AtomicUsize::new(0)) });
        }
        let (worker_tx, worker_rx) = mailboxes(workers, config.worker_mailbox_max);
        let (lane_tx, lane_rx) = mailboxes(stores.writers.len(), config.lane_mailbox_max);
        let (reader_tx, reader_rx) = mailbox(config.reader_mailbox_max);
        let (hasher_tx, hasher_rx) = mailbox(config.hash_queue_max);
        let post = Post {
            reactors: mail_tx,
            workers: worker_tx,
            lanes: lane_tx,
            readers: reader_tx,
            hashers: hasher_tx,
        };

        let room_limits = RoomLimits {
            recent_events_max: config.recent_events_max,
            recent_bytes_max: config.recent_bytes_max,
            recent_total_bytes_max: config.recent_total_bytes_max / workers,
            replay_max: config.replay_max,
            idle_ms: ROOM_IDLE_MS,
        };
        for (index, mail) in worker_rx.into_iter().enumerate() {
            let worker = RoomWorker::new(room_limits, Arc::clone(&node.online));
            let (post, metrics) = (post.clone(), Arc::clone(&metrics));
            let bound = room_limits.recent_total_bytes_max;
            let of = format!("recent_bytes_{index}");
            let note = move |worker: &RoomWorker| metrics.set_fill(&of, worker.recent_bytes(), bound);
            spawn(format!("room-worker-{index}"), move || {
                threads::run_worker(worker, &mail, &post, clock, note)
            })?;
        }
        let lane_limits = LaneLimits {
            batch_events_max: config.batch_events_max,
            batch_bytes_max: config.batch_bytes_max,
            queue_max: config.lane_mailbox_max,
        };
        for (index, (store, mail)) in stores.writers.into_iter().zip(lane_rx).enumerate() {
            let lane = Lane::new(store, lane_limits);
            let (post, node, metrics) = (post.clone(), Arc::clone(&node), Arc::clone(&metrics));
            spawn(format!("lane-{index}"), move || {
                threads::run_lane(lane, &mail, &post, clock, &node, &metrics)
            })?;
        }
        let is_shared = stores.kind == chatroom_storage::Kind::Postgres;
        for (index, store) in stores.readers.into_iter().enumerate() {
            let (mail, post, node) = (reader_rx.clone(), post.clone(), Arc::clone(&node));
            spawn(format!("reader-{index}"), move || {
                threads::run_reader(store, &mail, &post, clock, &node, index == 0, is_shared)
            })?;
        }
        for index in 0..hashers {
            let hasher = Hasher::new(config.password_cost);
            let (mail, post) = (hasher_rx.clone(), post.clone());
            spawn(format!("hasher-{index}"), move || threads::run_hasher(hasher, &mail, &post, clock))?;
        }
        let reactor_limits = ReactorLimits {
            view_frames_max: config.view_frames_max,
            view_bytes_max: config.view_bytes_max,
            stall_ms: config.stall_timeout_ms(),
            asks_max: config.catch_up_max,
            drain_spread_ms: DRAIN_SPREAD_MS,
        };
        let loads: Vec<_> = hands.iter().map(|hand| Arc::clone(&hand.load)).collect();
        let mut threads = Vec::new();
        let inputs = polls.into_iter().zip(mail_rx).zip(socket_rx).zip(loads.clone()).enumerate();
        for (index, (((poll, mail), sockets), load)) in inputs {
            let id = ReactorId(u16::try_from(index).unwrap_or(u16::MAX));
            let reactor = Reactor::new(
                id,
                Arc::clone(&node),
                reactor_limits,
                Arc::new(WebClient),
                random()?,
                clock.now(),
            );
            // The first accepts for all.
            let (doors, hands) = if index == 0 {
                (std::mem::take(&mut doors), std::mem::take(&mut hands))
            } else {
                (Vec::new(), Vec::new())
            };
            let driver = Driver {
                reactor,
                poll,
                clock,
                mail,
                sockets,
                post: post.clone(),
                doors,
                hands,
                load,
                connections_max: config.connections_max,
            };
            let drain_ms = config.drain_ms();
            threads.push(spawn(format!("reactor-{index}"), move || driver.run(drain_ms))?);
        }
        // Set once, here: before, `/metrics` shows no gauges.
        let _ = gauges.set(Gauges { post: post.clone(), loads, connections_max: config.connections_max });
        node.health.set_started();
        // The stores' lock on their file is held to the end of the process.
        std::mem::forget(stores.guard);
        Ok(Server { address, post, node, identity, reactors: Mutex::new(threads) })
    }

    /// The bound address of `APP_PORT`.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Read the certificate and key again, where the port speaks TLS.
    pub fn reload(&self) {
        let Some(identity) = &self.identity else { return };
        match identity.reload() {
            Ok(()) => tracing::info!(target: "chatroom", "the certificate was read again"),
            Err(error) => tracing::error!(target: "chatroom", %error, "the old certificate stays in use"),
        }
    }

    /// The port speaks TLS.
    pub fn is_secure(&self) -> bool {
        self.identity.is_some()
    }

    /// Begin to see clients off. [`Server::wait`] returns when they are gone, `DRAIN_S` later at the latest.
    pub fn drain(&self) {
        self.node.health.set_draining();
        for index in 0..self.post.reactors.len() {
            self.post.post(Effect::Reactor(
                ReactorId(u16::try_from(index).unwrap_or(u16::MAX)),
                ReactorMail::Drain,
            ));
        }
    }

    /// Wait for the reactors' end.
    pub fn wait(&self) -> Result<()> {
        let reactors = std::mem::take(&mut *self.reactors.lock().unwrap_or_else(PoisonError::into_inner));
        for reactor in reactors {
            match reactor.join() {
                Ok(ended) => ended.context("a reactor failed")?,
                Err(_) => anyhow::bail!("a reactor panicked"),
            }
        }
        Ok(())
    }
}

/// What is looked at when `/metrics` is asked for.
struct Gauges {
    post: Post,
    loads: Vec<Arc<AtomicUsize>>,
    connections_max: usize,
}

impl Gauges {
    fn sample(&self, metrics: &Metrics) {
        let connections = self.loads.iter().map(|load| load.load(Ordering::Relaxed)).sum();
        metrics.set_fill("connections", connections, self.connections_max);
        metrics.connections.set(i64::try_from(connections).unwrap_or(i64::MAX));
        let Post { reactors, workers, lanes, readers, hashers } = &self.post;
        fill(metrics, "reactor_mailboxes", reactors);
        fill(metrics, "worker_mailboxes", workers);
        fill(metrics, "lane_mailboxes", lanes);
        fill(metrics, "reader_mailbox", std::slice::from_ref(readers));
        fill(metrics, "hasher_mailbox", std::slice::from_ref(hashers));
    }
}

/// The fullest of equal mailboxes.
fn fill<T>(metrics: &Metrics, of: &str, mailboxes: &[Sender<T>]) {
    let fullest = mailboxes.iter().map(Sender::len).max().unwrap_or(0);
    metrics.set_fill(of, fullest, mailboxes.first().map_or(0, Sender::capacity));
}

fn mailboxes<T>(count: usize, capacity: usize) -> (Vec<Sender<T>>, Vec<Receiver<T>>) {
    (0..count).map(|_| mailbox(capacity)).unzip()
}

fn spawn<T: Send + 'static>(name: String, run: impl FnOnce() -> T + Send + 'static) -> Result<JoinHandle<T>> {
    thread::Builder::new().name(name).stack_size(STACK_BYTES).spawn(run).context("cannot start a thread")
}

/// Nothing here recurses deeply: JSON is parsed with a limit of its own.
const STACK_BYTES: usize = 1024 * 1024;

fn random() -> Result<ChaCha8Rng> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)
        .map_err(|error| anyhow::anyhow!("the system gives no random bytes: {error}"))?;
    Ok(ChaCha8Rng::from_seed(seed))
}

/// A broken invariant is logged by the panic itself, and ends the process: the promises make a restart cheap, and going on
/// with a wrong room would not be (ARCHITECTURE.md, invariants).
fn end_the_process_with_a_panicking_thread() {
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        report(info);
        std::process::abort();
    }));
}
