//! The key for tokens: the configured one, or in development one that is made once and kept beside the database.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use chatroom_core::config::{Config, Dsn};
use chatroom_core::token::Keys;

/// The keys of this configuration.
pub fn keys(config: &Config) -> Result<Keys> {
    let previous: Vec<Vec<u8>> =
        config.jwt_secret_previous.iter().map(|secret| secret.expose().as_bytes().to_vec()).collect();
    let current = match &config.jwt_secret {
        Some(secret) => secret.expose().as_bytes().to_vec(),
        None => made_once(&path(config))?,
    };
    Ok(Keys::new(&current, &previous))
}

/// Beside the database, or in the working directory where that is no file.
fn path(config: &Config) -> PathBuf {
    match &config.database {
        Dsn::Sqlite(database) => database.with_file_name("jwt-secret"),
        Dsn::Postgres(_) => PathBuf::from("data/jwt-secret"),
    }
}

fn made_once(path: &Path) -> Result<Vec<u8>> {
    match fs::read(path) {
        Ok(key) if key.len() >= KEY_BYTES => return Ok(key),
        Ok(_) => anyhow::bail!(
            "JWT_SECRET: {} is too short to be a key; remove it or set JWT_SECRET",
            path.display()
        ),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("JWT_SECRET: {}", path.display())),
    }
    let mut key = [0; KEY_BYTES];
    getrandom::fill(&mut key)
        .map_err(|error| anyhow::anyhow!("the system gives no random bytes: {error}"))?;
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("JWT_SECRET: {}", folder.display()))?;
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    match file {
        Ok(mut file) => {
            file.write_all(&key)
                .and_then(|()| file.sync_all())
                .with_context(|| format!("JWT_SECRET: {}", path.display()))?;
            Ok(key.to_vec())
        }
        // Another process was faster: its key counts.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => made_once(path),
        Err(error) => Err(error).with_context(|| format!("JWT_SECRET: {}", path.display())),
    }
}

/// As long as an HS256 key should be (RFC 7518 3.2).
const KEY_BYTES: usize = 32;
