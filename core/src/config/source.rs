//! Where settings come from: the environment, a `.env`, a TOML file, files with secrets, the defaults.
//!
//! Names are checked here; what a value means is the table's.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

use super::value::{self, MASK, Parsed};
use super::{Parts, Preset, SETTINGS, Setting};

/// What [`super::Config::load`] works with.
pub struct Inputs<'a> {
    /// The variables of the process.
    pub environment: Vec<(String, String)>,
    /// Those of a `.env` in the working directory.
    pub dotenv: Vec<(String, String)>,
    /// Reads a file whole, or says why not.
    pub read_file: &'a dyn Fn(&Path) -> Result<String, String>,
    /// What this build has.
    pub parts: Parts,
}

impl Default for Inputs<'_> {
    /// Nothing is set, and this build has nothing that could be left out.
    fn default() -> Self {
        Inputs {
            environment: Vec::new(),
            dotenv: Vec::new(),
            read_file: &|_| Err("there are no files".into()),
            parts: Parts { tls: false, postgres: false, redis: false },
        }
    }
}

/// What is wrong with the settings: one line that names one of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {message}")]
pub struct ConfigError {
    /// The setting, as it was written.
    pub name: String,
    /// What is wrong; never holds a secret or a line break.
    pub message: String,
}

impl ConfigError {
    pub(super) fn new(name: impl Into<String>, message: impl Into<String>) -> ConfigError {
        ConfigError { name: name.into(), message: message.into().replace(['\n', '\r'], " ") }
    }
}

/// A setting as `check-config` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// The full name.
    pub name: String,
    /// As it was written, secrets masked; `None` where there is none.
    pub value: Option<String>,
    /// Where it came from.
    pub source: Source,
}

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.value.as_deref().unwrap_or("(none)");
        write!(f, "{} = {value}    # {}", self.name, self.source)
    }
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nobody set it.
    Default,
    /// A variable of the process.
    Environment,
    /// A variable in `.env`.
    DotEnv,
    /// The file that `CHATROOM_CONFIG` names.
    File(PathBuf),
    /// The file that a `…_FILE` setting names.
    SecretFile(PathBuf),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Default => f.write_str("default"),
            Source::Environment => f.write_str("environment"),
            Source::DotEnv => f.write_str(".env"),
            Source::File(path) | Source::SecretFile(path) => write!(f, "{}", path.display()),
        }
    }
}

impl Serialize for Source {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What was set, and what of it has been taken.
pub(super) struct Found<'a> {
    given: BTreeMap<&'static str, Given>,
    production: bool,
    listed: Vec<Listed>,
    inputs: &'a Inputs<'a>,
}

/// A value and how it was set.
struct Given {
    text: String,
    /// The name as it was written, for errors.
    written: String,
    source: Source,
}

impl<'a> Found<'a> {
    /// Reads all sources. The environment wins over `.env`, and that over the file.
    pub(super) fn gather(inputs: &'a Inputs<'a>) -> Result<Found<'a>, ConfigError> {
        let mut found = Found { given: BTreeMap::new(), production: false, listed: Vec::new(), inputs };
        let mut file = None;
        for (pairs, source) in [(&inputs.environment, Source::Environment), (&inputs.dotenv, Source::DotEnv)]
        {
            let (layer, config) = found.variables(pairs, &source)?;
            found.add(layer);
            file = file.or(config);
        }
        if let Some(path) = file {
            let layer = found.file(Path::new(&path))?;
            found.add(layer);
        }
        found.production = found.given.get("APP_ENV").is_some_and(|given| given.text == "production");
        Ok(found)
    }

    /// The value of a setting that always has one.
    pub(super) fn must<T>(
        &mut self,
        setting: &Setting,
        parse: impl FnOnce(&str) -> Parsed<T>,
    ) -> Result<T, ConfigError> {
        match self.may(setting, parse)? {
            Some(value) => Ok(value),
            None => Err(ConfigError::new(full_name(setting.name), "is needed")),
        }
    }

    /// The value of a setting that may have none.
    pub(super) fn may<T>(
        &mut self,
        setting: &Setting,
        parse: impl FnOnce(&str) -> Parsed<T>,
    ) -> Result<Option<T>, ConfigError> {
        self.take(setting, |text| if text.is_empty() { Err("is empty".into()) } else { parse(text) })
    }

    /// The values of a setting that may have many or none.
    pub(super) fn list<T: Default>(
        &mut self,
        setting: &Setting,
        parse: impl FnOnce(&str) -> Parsed<T>,
    ) -> Result<T, ConfigError> {
        Ok(self.take(setting, parse)?.unwrap_or_default())
    }

    fn take<T>(
        &mut self,
        setting: &Setting,
        parse: impl FnOnce(&str) -> Parsed<T>,
    ) -> Result<Option<T>, ConfigError> {
        let preset = match setting.default {
            Preset::Text(text) => Some(text),
            Preset::ByEnvironment(development, production) => {
                Some(if self.production { production } else { development })
            }
            Preset::Absent => None,
        };
        let given = self.given.get(setting.name);
        let text = given.map(|given| given.text.as_str()).or(preset);
        self.listed.push(Listed {
            name: full_name(setting.name),
            value: text.map(|text| shown(setting, text)),
            source: given.map_or(Source::Default, |given| given.source.clone()),
        });
        let Some(text) = text else { return Ok(None) };
        parse(text).map(Some).map_err(|mut message| {
            if !setting.secret && !text.is_empty() {
                message = format!("{message}, not {:?}", text.chars().take(60).collect::<String>());
            }
            ConfigError::new(self.written(setting.name), message)
        })
    }

    /// The name of a setting as it was written, for errors.
    pub(super) fn written(&self, name: &'static str) -> String {
        self.given.get(name).map_or_else(|| full_name(name), |given| given.written.clone())
    }

    pub(super) fn into_listed(self) -> Vec<Listed> {
        self.listed
    }

    /// What is set here and was not set by a layer before.
    fn add(&mut self, layer: BTreeMap<&'static str, Given>) {
        for (name, given) in layer {
            self.given.entry(name).or_insert(given);
        }
    }

    /// The settings among some variables, and the name of the TOML file if it is there.
    fn variables(
        &self,
        pairs: &[(String, String)],
        source: &Source,
    ) -> Result<(BTreeMap<&'static str, Given>, Option<String>), ConfigError> {
        let mut layer = Layer::default();
        let mut config = None;
        for (written, text) in pairs {
            let name = match written.strip_prefix(PREFIX) {
                Some("CONFIG") => {
                    config = Some(text.clone());
                    continue;
                }
                Some(name) if is_for_kubernetes(name) => continue,
                Some(name) => name,
                None if BARE.contains(&written.strip_suffix("_FILE").unwrap_or(written)) => written,
                None => continue,
            };
            let named = Named::find(name).ok_or_else(|| unknown(written, PREFIX, name))?;
            layer.set(named, self.given(named, written, text.clone(), source.clone())?)?;
        }
        Ok((layer.0, config))
    }

    /// The settings of the TOML file.
    fn file(&self, path: &Path) -> Result<BTreeMap<&'static str, Given>, ConfigError> {
        let config = full_name("CONFIG");
        let text = (self.inputs.read_file)(path)
            .map_err(|error| ConfigError::new(&config, format!("{}: {error}", path.display())))?;
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            let line = error.span().map_or(1, |span| line_of(&text, span.start));
            ConfigError::new(&config, format!("{} line {line}: {}", path.display(), error.message()))
        })?;
        let mut layer = Layer::default();
        for (key, value) in table {
            let written = format!("{key} in {}", path.display());
            let upper = key.to_ascii_uppercase();
            let named = Named::find(&upper).filter(|_| key == key.to_ascii_lowercase());
            let named = named.ok_or_else(|| unknown(&written, "", &upper))?;
            let text = plain(&value).ok_or_else(|| {
                ConfigError::new(&written, "must be a text, an integer, a boolean or a list of these")
            })?;
            layer.set(named, self.given(named, &written, text, Source::File(path.to_owned()))?)?;
        }
        Ok(layer.0)
    }

    /// A value, read from its file where it is the name of one.
    fn given(&self, named: Named, written: &str, text: String, source: Source) -> Result<Given, ConfigError> {
        let written = written.to_owned();
        if !named.is_file {
            return Ok(Given { text, written, source });
        }
        let path = PathBuf::from(&text);
        let content = (self.inputs.read_file)(&path)
            .map_err(|error| ConfigError::new(&written, format!("{}: {error}", path.display())))?;
        // Editors and `echo` end a file with a line break that is no part of the secret.
        let text = content.trim_end_matches(['\n', '\r']).to_owned();
        Ok(Given { text, written, source: Source::SecretFile(path) })
    }
}

/// The settings of one source.
#[derive(Default)]
struct Layer(BTreeMap<&'static str, Given>);

impl Layer {
    /// The same setting by two names must not say two things.
    fn set(&mut self, named: Named, given: Given) -> Result<(), ConfigError> {
        match self.0.get(named.setting.name) {
            Some(other) if other.text != given.text => {
                let message = format!("differs from {}, which means the same setting", other.written);
                Err(ConfigError::new(given.written, message))
            }
            Some(_) => Ok(()),
            None => {
                self.0.insert(named.setting.name, given);
                Ok(())
            }
        }
    }
}

/// What a name stands for.
#[derive(Clone, Copy)]
struct Named {
    setting: &'static Setting,
    /// The value is the name of a file that holds it.
    is_file: bool,
}

impl Named {
    /// Finds a name in upper case, without the prefix.
    fn find(name: &str) -> Option<Named> {
        let by_name = |name: &str| SETTINGS.iter().find(|setting| setting.name == name);
        let plain = by_name(name).map(|setting| Named { setting, is_file: false });
        plain.or_else(|| {
            let setting = by_name(name.strip_suffix("_FILE")?).filter(|setting| setting.secret)?;
            Some(Named { setting, is_file: true })
        })
    }
}

/// What all names in the environment begin with, but these.
const PREFIX: &str = "CHATROOM_";
const BARE: [&str; 5] = ["APP_PORT", "APP_ENV", "DATABASE_DSN", "JWT_SECRET", "REDIS_URL"];

pub(super) fn full_name(name: &str) -> String {
    format!("{PREFIX}{name}")
}

/// What Kubernetes sets in every container for a service that is called `chatroom`.
fn is_for_kubernetes(name: &str) -> bool {
    let port = |rest: &str| {
        let digits = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        digits.len() < rest.len() && digits.starts_with('_')
    };
    name == "PORT" || name.starts_with("SERVICE_") || name.strip_prefix("PORT_").is_some_and(port)
}

/// A name that no setting has, with the one that may have been meant.
fn unknown(written: &str, prefix: &str, name: &str) -> ConfigError {
    let files =
        SETTINGS.iter().filter(|setting| setting.secret).map(|setting| format!("{}_FILE", setting.name));
    let names = SETTINGS.iter().map(|setting| setting.name.to_owned()).chain(files);
    let nearest = names
        .map(|known| (distance(name, &known), known))
        .min()
        .filter(|(distance, known)| *distance <= (known.len() / 3).max(2));
    let message = match nearest {
        Some((_, known)) if prefix.is_empty() => {
            format!("is unknown; did you mean {}?", known.to_lowercase())
        }
        Some((_, known)) => format!("is unknown; did you mean {prefix}{known}?"),
        None => "is unknown".to_owned(),
    };
    ConfigError::new(written, message)
}

/// How many letters must be changed, added, left out or swapped with their neighbour to make one word the other (the
/// optimal string alignment).
fn distance(one: &str, other: &str) -> usize {
    // A name from outside may be of any length; beyond this it resembles nothing.
    let one: Vec<char> = one.chars().take(64).collect();
    let other: Vec<char> = other.chars().take(64).collect();
    let mut rows = vec![vec![0; other.len() + 1]; one.len() + 1];
    for i in 0..=one.len() {
        for j in 0..=other.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let changed = usize::from(one[i - 1] != other[j - 1]);
                let mut least =
                    (rows[i - 1][j] + 1).min(rows[i][j - 1] + 1).min(rows[i - 1][j - 1] + changed);
                if i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1] {
                    least = least.min(rows[i - 2][j - 2] + 1);
                }
                least
            };
        }
    }
    rows[one.len()][other.len()]
}

/// A value as it would be written in the environment.
fn plain(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(true) => Some("on".to_owned()),
        toml::Value::Boolean(false) => Some("off".to_owned()),
        toml::Value::Array(items) => {
            let texts: Option<Vec<String>> = items.iter().map(plain).collect();
            texts.map(|texts| texts.join(","))
        }
        toml::Value::Float(_) | toml::Value::Datetime(_) | toml::Value::Table(_) => None,
    }
}

fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}

/// A value as it may be shown.
fn shown(setting: &Setting, text: &str) -> String {
    match setting.name {
        "DATABASE_DSN" | "REDIS_URL" => value::masked(text),
        _ if setting.secret => MASK.to_owned(),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distance_counts_slips_of_the_finger() {
        for (one, other, expected) in [
            ("APP_PORT", "APP_PORT", 0),
            ("APP_PROT", "APP_PORT", 1),
            ("APP_POR", "APP_PORT", 1),
            ("RATE_LIMITS", "RATE_LIMIT", 1),
            ("", "ABC", 3),
            ("ABCD", "", 4),
            ("KITTEN", "SITTING", 3),
        ] {
            assert_eq!(distance(one, other), expected, "{one} {other}");
            assert_eq!(distance(other, one), expected, "{other} {one}");
        }
    }

    #[test]
    fn what_kubernetes_sets_is_told_apart() {
        for name in ["PORT", "SERVICE_HOST", "SERVICE_PORT_HTTP", "PORT_80_TCP", "PORT_8080_TCP_ADDR"] {
            assert!(is_for_kubernetes(name), "{name}");
        }
        for name in ["PORT_FILE", "PORT_", "PORT_80", "PORTS", "SERVICES", "ADMIN_PORT"] {
            assert!(!is_for_kubernetes(name), "{name}");
        }
    }
}
