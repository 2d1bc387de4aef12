//! `chatroom serve`.

use std::fs;

use anyhow::Context;
use chatroom_transports::poll::Clock;

use super::{Failure, storage_dsn};
use crate::server::Server;
use crate::signals::Signal;
use crate::{env, logging, secret, signals};

pub(super) fn serve() -> Result<(), Failure> {
    let config = env::load()?;
    logging::start(&config);
    let clock = Clock::start();
    let keys = secret::keys(&config).map_err(|error| Failure::Usage(format!("{error:#}")))?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let options = chatroom_storage::Options {
        lanes: config.lanes.map_or(LANES, usize::from),
        readers: config.readers.map_or(cores.clamp(2, 4), usize::from),
        serving: true,
        ..chatroom_storage::Options::default()
    };
    let stores = chatroom_storage::open(&storage_dsn(&config), &options, clock.now().timestamp())?;
    let (port_file, kind) = (config.port_file.clone(), stores.kind);
    let server =
        Server::start(config, keys, stores, clock).map_err(|error| Failure::Usage(format!("{error:#}")))?;
    let address = server.address();
    if let Some(path) = port_file {
        // Written whole or not at all: whoever waits for it must not read half an address.
        let temporary = path.with_extension("new");
        fs::write(&temporary, format!("{address}\n"))
            .and_then(|()| fs::rename(&temporary, &path))
            .with_context(|| format!("PORT_FILE: {}", path.display()))?;
    }
    let scheme = if server.is_secure() { "https" } else { "http" };
    tracing::info!(target: "chatroom", version = env!("CARGO_PKG_VERSION"), %address, store = ?kind, "serving on {scheme}://{address}");
    let server = std::sync::Arc::new(server);
    let watched = std::sync::Arc::clone(&server);
    signals::watch(move |signal| match signal {
        Signal::Reload => watched.reload(),
        Signal::End => {
            tracing::info!(target: "chatroom", "draining");
            watched.drain();
        }
    })?;
    server.wait()?;
    tracing::info!(target: "chatroom", "ended");
    Ok(())
}

/// Lanes of a PostgreSQL store: enough that one slow commit does not hold all rooms.
const LANES: usize = 4;
