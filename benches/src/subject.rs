//! `Subject`: a process under load, started for one run and ended with it: the server on a database of its own, or the floor.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// Where the programs are.
#[derive(Clone, Debug)]
pub struct Programs {
    pub server: PathBuf,
    pub load: PathBuf,
    pub floor: PathBuf,
}

pub struct Subject {
    child: Child,
    address: String,
    /// The server's database, gone with the run.
    folder: Option<PathBuf>,
}

/// Known to the server and to the load, for the length of a run on 127.0.0.1.
const SECRET: &str = "bench-runs-only-4hT9-vKq2-Zx7m-Lw3p";
/// In steps of which a server is waited for, and how many.
const STEP: Duration = Duration::from_millis(20);
const STEPS_MAX: usize = 1000;

impl Programs {
    /// Those that lie beside this program.
    pub fn beside() -> Result<Programs> {
        let me = std::env::current_exe()?;
        let folder = me.parent().context("this program lies nowhere")?;
        Ok(Programs {
            server: folder.join("chatroom"),
            load: folder.join("chatroom-load"),
            floor: folder.join("chatroom-floor"),
        })
    }

    /// The server, durable on a new SQLite database in a folder beside the program: on a disk, not in memory.
    pub fn start_server(&self, settings: &[(String, String)]) -> Result<Subject> {
        let folder = self.load.with_file_name(format!("bench-data-{}", std::process::id()));
        remove(&folder)?;
        fs::create_dir_all(&folder)?;
        let port_file = folder.join("port");
        let log = fs::File::create(folder.join("log"))?;
        let mut command = clean(&self.server);
        command
            .arg("serve")
            .env("CHATROOM_APP_ENV", "development")
            .env("CHATROOM_APP_PORT", "0")
            .env("CHATROOM_PORT_FILE", &port_file)
            .env("CHATROOM_DATABASE_DSN", format!("sqlite://{}", folder.join("chatroom.db").display()))
            .env("CHATROOM_JWT_SECRET", SECRET)
            .env("CHATROOM_RATE_LIMIT", "off")
            .env("CHATROOM_PASSWORD_COST", "1024,1,1")
            .env("CHATROOM_LOG_LEVEL", "warn")
            .envs(settings.iter().map(|(name, value)| (format!("CHATROOM_{name}"), value)))
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let child = command.spawn().with_context(|| format!("cannot start {}", self.server.display()))?;
        let mut subject = Subject { child, address: String::new(), folder: Some(folder.clone()) };
        for _ in 0..STEPS_MAX {
            if let Ok(address) = fs::read_to_string(&port_file) {
                subject.address = address.trim().to_owned();
                return Ok(subject);
            }
            if let Some(status) = subject.child.try_wait()? {
                bail!("the server ended with {status}: {}", fs::read_to_string(folder.join("log"))?);
            }
            pause();
        }
        bail!("the server does not listen")
    }

    /// The floor, in one of its modes.
    pub fn start_floor(&self, send: &str) -> Result<Subject> {
        let mut child = clean(&self.floor)
            .args(["--send", send])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", self.floor.display()))?;
        let mut address = String::new();
        let stdout = child.stdout.as_mut().context("no standard output")?;
        BufReader::with_capacity(1, stdout).read_line(&mut address)?;
        Ok(Subject { child, address: address.trim().to_owned(), folder: None })
    }

    /// Put a load on it: the report.
    pub fn load(&self, subject: &Subject, arguments: &[String]) -> Result<Value> {
        let output = clean(&self.load)
            .args(["--json", "--server", &subject.address, "--pid", &subject.child.id().to_string()])
            .args(arguments)
            .env("JWT_SECRET", SECRET)
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("cannot start {}", self.load.display()))?;
        ensure!(output.status.success(), "the load failed: {}", subject.log());
        serde_json::from_slice(&output.stdout).context("the load's report")
    }
}

impl Subject {
    fn log(&self) -> String {
        let log = self
            .folder
            .as_ref()
            .and_then(|folder| fs::read_to_string(folder.join("log")).ok())
            .unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        // It may have ended by itself, and its folder is only worth the space it takes.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(folder) = &self.folder {
            let _ = remove(folder);
        }
    }
}

/// A program without the settings of whoever runs the benchmarks.
fn clean(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        let is_bare = ["APP_PORT", "APP_ENV", "DATABASE_DSN", "JWT_SECRET", "REDIS_URL"].contains(&&*name);
        if is_bare || name.starts_with("CHATROOM_") {
            command.env_remove(&*name);
        }
    }
    command
}

fn remove(folder: &Path) -> std::io::Result<()> {
    if folder.exists() { fs::remove_dir_all(folder) } else { Ok(()) }
}

#[expect(clippy::disallowed_methods, reason = "a driver that waits for a file to appear")]
fn pause() {
    std::thread::sleep(STEP);
}
