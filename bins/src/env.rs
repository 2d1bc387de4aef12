//! The one place that reads the environment, `.env` and the files that settings name.

use std::fs;
use std::path::Path;

use chatroom_core::config::{Config, ConfigError, Inputs, Parts};

/// What this build has.
pub const PARTS: Parts = Parts { tls: true, postgres: true, redis: false };

/// The configuration of this process.
pub fn load() -> Result<Config, ConfigError> {
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let dotenv = match dotenvy::from_path_iter(".env") {
        Ok(pairs) => pairs.collect::<Result<Vec<_>, _>>().map_err(|error| bad_dotenv(&error))?,
        Err(error) if error.not_found() => Vec::new(),
        Err(error) => return Err(bad_dotenv(&error)),
    };
    Config::load(&Inputs { environment, dotenv, read_file: &read_file, parts: PARTS })
}

fn bad_dotenv(error: &dotenvy::Error) -> ConfigError {
    // What a line of the file holds may be a secret: only its number is told.
    let message = if let dotenvy::Error::LineParse(_, at) = error {
        format!("cannot be read at position {at} of a line")
    } else {
        error.to_string()
    };
    ConfigError { name: ".env".to_owned(), message }
}

fn read_file(path: &Path) -> Result<String, String> {
    let size = fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size > FILE_BYTES_MAX {
        return Err(format!("has {size} bytes; {FILE_BYTES_MAX} are the most"));
    }
    fs::read_to_string(path).map_err(|error| error.to_string())
}

/// A settings file of this size was meant to be something else.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
