//! From settings to the options of the parts: checks that need more than one value or a range, and the default
//! of where to listen.
//!
//! The sentences about wrong values are memcached's wherever it has one.

use super::cli::CommandLine;
use super::error::{EX_USAGE, Error, FAILURE};
use super::layers::{Layers, Origin};
use super::logging::{Format, Level};
use super::settings::Settings;
use super::{Config, Outcome};
use crate::command::auth::Credentials;
use crate::command::options::BindingProtocol;
use crate::engine::PolicyKind;
use crate::persist::Startup;
use crate::server::{Listen, Port, process};
use crate::units::{ByteSize, Span};
use crate::{command, engine, http, persist, server};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Smallest limit on an item's size, in bytes.
const ITEM_SIZE_LEAST: u64 = 1 << 10;

/// Largest limit on an item's size, in bytes.
const ITEM_SIZE_MOST: u64 = 1 << 30;

/// More threads than this and memcached warns.
const THREADS_SENSIBLE: u32 = 64;

/// Where Volt listens when nobody says.
const LOOPBACK: &str = "127.0.0.1";

/// What memcached's `int` holds above 0.
const POSITIVE: RangeInclusive<i64> = 1..=i32::MAX as i64;

/// How the process was called, as far as it matters here.
pub(super) struct Caller {
    /// Started under memcached's name.
    pub(super) as_memcached: bool,
    /// Where to write the ports (`MEMCACHED_PORT_FILENAME`).
    pub(super) port_file: Option<PathBuf>,
}

/// Checks the settings in `layers` and gives each part its options.
pub(super) fn assemble(
    layers: &Layers,
    line: CommandLine,
    caller: Caller,
) -> Result<Outcome, Error> {
    let settings = layers.settings()?;
    let check = Check { layers, settings: &settings };
    let mut notices = line.notices.clone();
    let engine = check.engine()?;
    let server = check.server(&line, caller, &mut notices)?;
    let http = check.http()?;
    let command = check.command(&line, &server, &engine, &http)?;
    let persist = check.persist()?;
    let process = check.process(&line);
    let log = choice(layers, "log.level", &settings.log.level, &Level::NAMES)?;
    let log_format = choice(layers, "log.format", &settings.log.format, &Format::NAMES)?;
    let settings = layers.to_string();
    Ok(Outcome::Run(Box::new(Config {
        engine,
        server,
        command,
        http,
        persist,
        process,
        log,
        log_format,
        settings,
        notices,
    })))
}

/// The settings with their origins, for messages.
struct Check<'a> {
    layers: &'a Layers,
    settings: &'a Settings,
}

impl Check<'_> {
    fn engine(&self) -> Result<engine::Options, Error> {
        let memory = &self.settings.memory;
        Ok(engine::Options {
            memory_limit: self.bytes("memory.limit", memory.limit)?,
            item_size_max: self.item_size_max()?,
            evictions: memory.evictions,
            policy: choice(self.layers, "memory.policy", &memory.policy, &POLICIES)?,
            hash_power: self.hash_power()?,
            use_cas: self.settings.commands.cas,
        })
    }

    fn item_size_max(&self) -> Result<usize, Error> {
        let (key, memory) = ("memory.item_size_max", &self.settings.memory);
        let size = memory.item_size_max;
        if size.0 < ITEM_SIZE_LEAST {
            return Err(self.layers.error(
                key,
                EX_USAGE,
                "Item max size cannot be less than 1024 bytes.",
            ));
        }
        if size.0 > memory.limit.0 / 2 {
            return Err(Error::usage(format!(
                "Cannot set item size limit higher than 1/2 of memory max. ({}, {})",
                self.layers.describe(key),
                self.layers.describe("memory.limit")
            )));
        }
        if size.0 > ITEM_SIZE_MOST {
            return Err(self.layers.error(
                key,
                EX_USAGE,
                "Cannot set item size limit higher than a gigabyte.",
            ));
        }
        self.bytes(key, size)
    }

    fn hash_power(&self) -> Result<u32, Error> {
        let power = self.settings.memory.hash_power;
        let wrong = match power {
            i64::MIN..12 => "low",
            33.. => "high",
            _ => {
                let power = self.whole("memory.hash_power", power, 12..=32, "")?;
                if 8_u64 << power > self.settings.memory.limit.0 / 2 {
                    let text = format!(
                        "a table of 2^{power} buckets takes {} MiB, more than half of {}",
                        (8_u64 << power) >> 20,
                        self.layers.describe("memory.limit")
                    );
                    return Err(self.layers.error("memory.hash_power", FAILURE, text));
                }
                return Ok(power);
            }
        };
        let wrong = format!("Initial hashtable multiplier of {power} is too {wrong}");
        Err(self.layers.error("memory.hash_power", FAILURE, wrong))
    }

    fn server(
        &self,
        line: &CommandLine,
        caller: Caller,
        notices: &mut Vec<String>,
    ) -> Result<server::Options, Error> {
        let server = &self.settings.server;
        let threads = self.whole(
            "server.threads",
            server.threads,
            POSITIVE,
            "Number of threads must be greater than 0",
        )?;
        if threads > THREADS_SENSIBLE {
            notices.push(format!(
                "{threads} worker threads are not recommended: more than there are cores gain nothing"
            ));
        }
        let max_connections = self.whole(
            "server.conn_limit",
            server.conn_limit,
            POSITIVE,
            "Maximum connections must be greater than 0",
        )?;
        Ok(server::Options {
            threads: threads as usize,
            listen: self.listen(line, &caller, notices)?,
            port: self.port("server.port", server.port)?,
            udp_port: self.port("server.udp_port", server.udp_port)?,
            unix_path: path(&server.unix_socket),
            unix_mode: self.unix_mode()?,
            backlog: self.whole(
                "server.backlog",
                server.backlog,
                0..=i32::MAX.into(),
                "The backlog must not be negative",
            )?,
            max_connections: max_connections as usize,
            maxconns_fast: server.maxconns_fast,
            idle_timeout_s: self.seconds("server.idle_timeout", server.idle_timeout)?,
            port_file: caller.port_file,
        })
    }

    /// The addresses that were given; failing that, all of them for whoever replaces a memcached, and this machine
    /// alone for everybody else: a cache asks nobody for a password.
    fn listen(
        &self,
        line: &CommandLine,
        caller: &Caller,
        notices: &mut Vec<String>,
    ) -> Result<Vec<Listen>, Error> {
        let (key, server) = ("server.listen", &self.settings.server);
        let mut listen = Listen::parse_list(&server.listen)
            .map_err(|wrong| self.layers.error(key, EX_USAGE, wrong.to_string()))?;
        let as_memcached = caller.as_memcached || line.port_given();
        if listen.is_empty() && !as_memcached {
            listen.push(Listen { host: Some(LOOPBACK.to_owned()), port: None });
        }
        let everywhere = listen.is_empty() || listen.iter().any(|listen| listen.host.is_none());
        let network = server.unix_socket.is_empty() && (server.port, server.udp_port) != (0, 0);
        if everywhere && network {
            notices
                .push("listening on every address; -l 127.0.0.1 keeps to this machine".to_owned());
        }
        Ok(listen)
    }

    fn port(&self, key: &str, number: i64) -> Result<Port, Error> {
        let wrong =
            || self.layers.error(key, EX_USAGE, format!("ERROR: Invalid port number {number}."));
        Port::from_flag(number).ok_or_else(wrong)
    }

    fn unix_mode(&self) -> Result<u32, Error> {
        let mode = u32::from_str_radix(&self.settings.server.unix_mask, 8).ok();
        let wrong = "expected permissions in octal, such as 700 or 770, up to 777";
        mode.filter(|mode| *mode <= 0o777)
            .ok_or_else(|| self.layers.error("server.unix_mask", EX_USAGE, wrong))
    }

    fn command(
        &self,
        line: &CommandLine,
        listening: &server::Options,
        engine: &engine::Options,
        http: &http::Options,
    ) -> Result<command::options::Options, Error> {
        let (server, commands) = (&self.settings.server, &self.settings.commands);
        let auth_file = path(&server.auth_file);
        let given = *self.layers.origin("memory.hash_power") != Origin::Default;
        Ok(command::options::Options {
            maxconns: u32::try_from(listening.max_connections).unwrap_or(u32::MAX),
            tcpport: i32::try_from(server.port).unwrap_or_default(),
            udpport: i32::try_from(server.udp_port).unwrap_or_default(),
            inter: inter(&server.listen, listening),
            domain_socket: listening.unix_path.clone(),
            umask: listening.unix_mode,
            num_threads: u32::try_from(listening.threads).unwrap_or(u32::MAX),
            tcp_backlog: listening.backlog,
            binding_protocol: self.binding_protocol(auth_file.is_some())?,
            maxconns_fast: server.maxconns_fast,
            idle_timeout_s: listening.idle_timeout_s,
            verbosity: line.verbosity,
            shutdown_command: commands.shutdown,
            flush_enabled: commands.flush_all,
            durable_deletes: self.settings.persist.durable_deletes,
            dump_enabled: commands.dump,
            watch_enabled: commands.watch,
            debug_commands: line.debug_commands,
            auth: auth_file.as_deref().map(|file| self.credentials(file)).transpose()?,
            auth_file,
            reqs_per_event: self.whole(
                "server.max_reqs_per_event",
                server.max_reqs_per_event,
                POSITIVE,
                "Number of requests per event must be greater than 0",
            )?,
            stat_key_prefix: self.prefix_delimiter()?,
            detail_enabled: commands.stats_detail,
            track_sizes: commands.track_sizes,
            hot_keys: commands.hot_keys,
            latency: self.settings.metrics.latency && http.listen.is_some(),
            watcher_logbuf_size_bytes: self
                .bytes("commands.watcher_logbuf_size", commands.watcher_logbuf_size)?,
            worker_logbuf_size_bytes: self
                .bytes("commands.worker_logbuf_size", commands.worker_logbuf_size)?,
            hashpower_init: if given { engine.hash_power } else { 0 },
            ..line.shown.clone()
        })
    }

    /// The default address is nobody's wish: it may be taken.
    fn http(&self) -> Result<http::Options, Error> {
        let key = "metrics.listen";
        let listen = http::Listen::parse(&self.settings.metrics.listen)
            .map_err(|wrong| self.layers.error(key, EX_USAGE, wrong.to_string()))?;
        Ok(http::Options {
            listen,
            required: *self.layers.origin(key) != Origin::Default,
            hot_key_names: self.settings.metrics.hot_key_names,
        })
    }

    /// With passwords the protocol is text, unless a flag asked for another.
    fn binding_protocol(&self, with_passwords: bool) -> Result<BindingProtocol, Error> {
        let key = "server.protocol";
        let protocol = choice(self.layers, key, &self.settings.server.protocol, &PROTOCOLS)?;
        if !with_passwords || protocol == BindingProtocol::Ascii {
            return Ok(protocol);
        }
        match self.layers.origin(key) {
            Origin::Flag(_) => Err(Error::usage(
                "ERROR: You cannot allow the BINARY protocol while using ascii authentication tokens.",
            )),
            _ => Ok(BindingProtocol::Ascii),
        }
    }

    /// Reads the file of users and passwords.
    fn credentials(&self, file: &Path) -> Result<Credentials, Error> {
        if self.settings.server.udp_port != 0 {
            return Err(Error::usage(
                "Cannot use UDP with ascii authentication enabled (-U 0 to disable)",
            ));
        }
        let shown = file.display();
        let text = std::fs::read(file).map_err(|error| {
            Error::AuthFile(format!("Could not open authfile [{shown}] for reading, error {error}"))
        })?;
        let malformed = "has a malformed entry. Should be 'user:password'";
        Credentials::parse(&text)
            .ok_or_else(|| Error::AuthFile(format!("Authfile [{shown}] {malformed}")))
    }

    fn prefix_delimiter(&self) -> Result<u8, Error> {
        match self.settings.commands.prefix_delimiter.as_bytes() {
            [one] => Ok(*one),
            _ => Err(self.layers.error(
                "commands.prefix_delimiter",
                EX_USAGE,
                "expected one ASCII character",
            )),
        }
    }

    fn persist(&self) -> Result<Option<persist::Options>, Error> {
        let persist = &self.settings.persist;
        let options = persist::Options {
            commit_interval: self.span(
                "persist.commit_interval",
                persist.commit_interval,
                Duration::from_secs(1),
            )?,
            fsync_interval: self.span(
                "persist.fsync_interval",
                persist.fsync_interval,
                Duration::from_secs(60),
            )?,
            startup: choice(self.layers, "persist.startup", &persist.startup, &STARTUPS)?,
            load_limit: self.span(
                "persist.load_limit",
                persist.load_limit,
                Duration::from_secs(3600),
            )?,
            required: persist.required,
            ..persist::Options::new(PathBuf::from(&persist.directory))
        };
        Ok(path(&persist.directory).map(|_| options))
    }

    /// A time from a millisecond up to `most`.
    fn span(&self, key: &str, span: Span, most: Duration) -> Result<Duration, Error> {
        let range = Duration::from_millis(1)..=most;
        Some(span.0).filter(|span| range.contains(span)).ok_or_else(|| {
            let wrong = format!("expected 1ms to {}", Span(most));
            self.layers.error(key, EX_USAGE, wrong)
        })
    }

    fn process(&self, line: &CommandLine) -> process::Options {
        let process = &self.settings.process;
        process::Options {
            daemonize: process.daemon,
            pid_file: path(&process.pid_file),
            user: Some(process.user.clone()).filter(|user| !user.is_empty()),
            core_dumps: process.core_dumps,
            lock_memory: process.lock_memory,
            verbosity: line.verbosity,
        }
    }

    /// A number within `range`, or the complaint about one below it.
    fn whole(
        &self,
        key: &str,
        number: i64,
        range: RangeInclusive<i64>,
        wrong: &str,
    ) -> Result<u32, Error> {
        if number > *range.end() {
            let wrong = format!("expected at most {}", range.end());
            return Err(self.layers.error(key, FAILURE, wrong));
        }
        let number = Some(number).filter(|number| range.contains(number));
        number
            .and_then(|number| u32::try_from(number).ok())
            .ok_or_else(|| self.layers.error(key, FAILURE, wrong))
    }

    fn bytes(&self, key: &str, size: ByteSize) -> Result<usize, Error> {
        usize::try_from(size.0)
            .map_err(|_| self.layers.error(key, EX_USAGE, "more than can be addressed"))
    }

    fn seconds(&self, key: &str, span: Span) -> Result<u32, Error> {
        if span.0.subsec_nanos() > 0 {
            return Err(self.layers.error(key, EX_USAGE, "expected whole seconds"));
        }
        u32::try_from(span.0.as_secs()).map_err(|_| {
            let wrong = format!("expected at most {} seconds", u32::MAX);
            self.layers.error(key, EX_USAGE, wrong)
        })
    }
}

/// Names of the policies.
const POLICIES: [(&str, PolicyKind); 3] =
    [("s3fifo", PolicyKind::S3Fifo), ("lru", PolicyKind::Lru), ("lfu", PolicyKind::Lfu)];

/// Names of the ways to start.
const STARTUPS: [(&str, Startup); 2] = [("wait", Startup::Wait), ("serve", Startup::Serve)];

/// Names of the protocols.
const PROTOCOLS: [(&str, BindingProtocol); 2] =
    [("auto", BindingProtocol::Negotiating), ("ascii", BindingProtocol::Ascii)];

/// The one of `choices` that is meant.
fn choice<T: Copy>(
    layers: &Layers,
    key: &str,
    text: &str,
    choices: &[(&str, T)],
) -> Result<T, Error> {
    match choices.iter().find(|(name, _)| *name == text) {
        Some((_, choice)) => Ok(*choice),
        None => {
            let names: Vec<String> = choices.iter().map(|(name, _)| format!("{name:?}")).collect();
            Err(layers.error(key, EX_USAGE, format!("expected {}", names.join(" or "))))
        }
    }
}

/// An empty text is no path.
fn path(text: &str) -> Option<PathBuf> {
    (!text.is_empty()).then(|| PathBuf::from(text))
}

/// The addresses as `stats settings` shows them: as given, or the one taken for want of them.
fn inter(given: &str, listening: &server::Options) -> Option<String> {
    match listening.listen.as_slice() {
        [] => None,
        _ if given.is_empty() => Some(LOOPBACK.to_owned()),
        _ => Some(given.to_owned()),
    }
}
