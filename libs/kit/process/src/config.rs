//! Configuration: flags, environment variables, and files for secrets.

use std::error::Error as _;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, Command, Parser};

/// The flags of every service.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// Address of the admin listener: /livez, /readyz, /metrics; port 9090 by default.
    #[arg(long, env = "ADMIN_LISTEN")]
    pub admin_listen: Option<SocketAddr>,

    /// How log lines are written; auto is text on a terminal and json elsewhere.
    #[arg(long, env = "LOG_FORMAT", value_enum, default_value = "auto")]
    pub log_format: LogFormat,

    /// Which log lines are written, such as info or worker=debug,info.
    #[arg(long, env = "RUST_LOG", default_value = "info")]
    pub log: String,

    /// How long the service may take to finish its work after SIGTERM.
    #[arg(long, env = "SHUTDOWN_GRACE", default_value = "20s")]
    pub shutdown_grace: HumanDuration,

    /// How long the service goes on accepting after SIGTERM while it is already
    /// unready, so that load balancers notice first.
    #[arg(long, env = "SHUTDOWN_DELAY", default_value = "0s")]
    pub shutdown_delay: HumanDuration,

    /// Where traces go by OTLP over HTTP, such as `http://collector:4318`; nowhere if unset.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    pub otlp_endpoint: Option<String>,

    /// Ask the service running on this machine whether it is ready, and exit with 0 if so.
    #[arg(long)]
    pub health: bool,
}

impl Common {
    /// The address of the admin listener. In a pod, the default is reachable for probes.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_listen.unwrap_or(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 9090)))
    }
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// A span of time as people write it: `500ms`, `20s`, `1m 30s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HumanDuration(pub Duration);

impl HumanDuration {
    /// In milliseconds.
    #[must_use]
    pub fn as_millis(self) -> i64 {
        i64::try_from(self.0.as_millis()).unwrap_or(i64::MAX)
    }
}

impl FromStr for HumanDuration {
    type Err = humantime::DurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        humantime::parse_duration(text).map(Self)
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

/// The name of this process: in a container the host name, which is the pod's name in
/// Kubernetes; elsewhere `kind` and the process id.
#[must_use]
pub fn process_name(kind: &str) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let (host, id) = (host.trim(), std::process::id());
    if id == 1 && !host.is_empty() { host.to_owned() } else { format!("{kind}-{id}") }
}

/// An unusable configuration. The message is one line that names the variable.
#[derive(Debug, thiserror::Error)]
pub enum Invalid {
    /// A value is missing, malformed or out of range.
    #[error("{variable}: {reason}")]
    Variable {
        /// The environment variable, or the flag if there is none.
        variable: String,
        /// The reason, without the value if it may be secret.
        reason: String,
    },
    /// An address on which a listener cannot be opened.
    #[error("{0}")]
    Listener(String),
    /// `--help` and `--version`, which are not errors, and unknown flags.
    #[error(transparent)]
    Clap(#[from] clap::Error),
}

/// Reads a configuration from command-line arguments and a lookup of
/// environment variables.
///
/// A variable `X` that is not set may be read from the file that `X_FILE` names,
/// as Secrets are mounted; line breaks at its end are cut off. Setting both is
/// an error.
pub fn parse<C: Parser>(
    arguments: impl IntoIterator<Item = std::ffi::OsString>,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<C, Invalid> {
    let command = with_files(C::command(), &environment)?;
    let variables = command.clone();
    let parsed = command.try_get_matches_from(arguments).and_then(|mut matches| C::from_arg_matches_mut(&mut matches));
    parsed.map_err(|error| explain(error, &variables))
}

/// Sets the content of `X_FILE` as the default of each variable `X` of `command`.
fn with_files(mut command: Command, environment: &impl Fn(&str) -> Option<String>) -> Result<Command, Invalid> {
    let variables: Vec<(String, String)> = command
        .get_arguments()
        .filter_map(|arg| Some((arg.get_id().to_string(), arg.get_env()?.to_str()?.to_owned())))
        .collect();
    for (id, variable) in variables {
        let file_variable = format!("{variable}_FILE");
        let Some(path) = environment(&file_variable) else { continue };
        if environment(&variable).is_some() {
            return Err(invalid(&variable, format!("set together with {file_variable}; set one of them")));
        }
        let content = std::fs::read_to_string(&path)
            .map_err(|error| invalid(&file_variable, format!("cannot read {path}: {error}")))?;
        let content = content.trim_end_matches(['\r', '\n']).to_owned();
        command = command.mut_arg(id, |arg| arg.default_value(content).hide_default_value(true).required(false));
    }
    Ok(command)
}

/// Creates an error for a variable that is well formed and still cannot be used.
#[must_use]
pub fn invalid(variable: &str, reason: impl Into<String>) -> Invalid {
    Invalid::Variable { variable: variable.to_owned(), reason: reason.into() }
}

/// Converts clap's paragraph into one line that names the variable.
fn explain(error: clap::Error, command: &Command) -> Invalid {
    let argument = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(argument)) => argument.clone(),
        Some(ContextValue::Strings(arguments)) => arguments.join(", "),
        _ => return Invalid::Clap(error),
    };
    let flag = argument.split_whitespace().next().unwrap_or_default().trim_start_matches('-');
    let argument_definition = command.get_arguments().find(|arg| arg.get_long() == Some(flag));
    let secret = argument_definition.is_some_and(clap::Arg::is_hide_env_values_set);
    let variable =
        argument_definition.and_then(|arg| arg.get_env()?.to_str()).map_or_else(|| argument.clone(), ToOwned::to_owned);
    let value = match error.get(ContextKind::InvalidValue) {
        Some(ContextValue::String(value)) if !secret && !value.is_empty() => format!("{value:?} "),
        _ => String::new(),
    };
    let reason = match (error.kind(), error.source()) {
        (ErrorKind::MissingRequiredArgument, _) => "not set".to_owned(),
        (ErrorKind::UnknownArgument, _) => "no such flag".to_owned(),
        (_, Some(source)) => format!("{value}is not valid: {source}"),
        (ErrorKind::InvalidValue, None) => match error.get(ContextKind::ValidValue) {
            Some(ContextValue::Strings(valid)) => format!("{value}is not one of {}", valid.join(", ")),
            _ => format!("{value}is not valid"),
        },
        (kind, None) => format!("{value}is not valid: {kind}"),
    };
    invalid(&variable, reason)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Example {
        #[command(flatten)]
        common: Common,
        #[arg(long, env = "EXAMPLE_SECRET_FOR_TESTS", hide_env_values = true, value_parser = parse_secret)]
        secret: String,
    }

    fn parse_secret(text: &str) -> Result<String, String> {
        if text.len() > 3 { Ok(text.to_owned()) } else { Err("too short".to_owned()) }
    }

    fn try_parse(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Example, String> {
        let arguments = std::iter::once("example").chain(arguments.iter().copied()).map(Into::into);
        let lookup =
            |name: &str| environment.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        parse(arguments, lookup).map_err(|error| error.to_string())
    }

    #[test]
    fn errors_are_one_line_that_names_the_variable() {
        let error = try_parse(&["--secret=long enough", "--admin-listen=nowhere"], &[]).unwrap_err();
        assert_eq!(error, "ADMIN_LISTEN: \"nowhere\" is not valid: invalid socket address syntax");
        let error = try_parse(&["--secret=long enough", "--log-format=xml"], &[]).unwrap_err();
        assert_eq!(error, "LOG_FORMAT: \"xml\" is not one of auto, text, json");
        let error = try_parse(&["--secret=long enough", "--shutdown-grace=soon"], &[]).unwrap_err();
        assert!(error.starts_with("SHUTDOWN_GRACE: \"soon\" is not valid"), "{error}");
        assert_eq!(try_parse(&[], &[]).unwrap_err(), "EXAMPLE_SECRET_FOR_TESTS: not set");
        assert_eq!(try_parse(&["--nonsense"], &[]).unwrap_err(), "--nonsense: no such flag");
    }

    #[test]
    fn secrets_are_not_repeated() {
        let error = try_parse(&["--secret=abc"], &[]).unwrap_err();
        assert_eq!(error, "EXAMPLE_SECRET_FOR_TESTS: is not valid: too short");
    }

    #[test]
    fn variables_are_read_from_files() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "from a file").unwrap();
        let path = file.path().to_str().unwrap();
        let from_file = [("EXAMPLE_SECRET_FOR_TESTS_FILE", path)];
        assert_eq!(try_parse(&[], &from_file).unwrap().secret, "from a file");
        assert_eq!(try_parse(&["--secret=a flag wins"], &from_file).unwrap().secret, "a flag wins");

        let both = [from_file[0], ("EXAMPLE_SECRET_FOR_TESTS", "direct")];
        assert!(try_parse(&[], &both).unwrap_err().contains("set together with EXAMPLE_SECRET_FOR_TESTS_FILE"));
        let missing = [("EXAMPLE_SECRET_FOR_TESTS_FILE", "/does/not/exist")];
        assert!(try_parse(&[], &missing).unwrap_err().starts_with("EXAMPLE_SECRET_FOR_TESTS_FILE: cannot read"));
    }

    #[test]
    fn defaults_are_those_of_the_contract() {
        let common = try_parse(&["--secret=long enough"], &[]).unwrap().common;
        assert_eq!(common.admin_address().port(), 9090);
        assert_eq!(common.shutdown_grace.0, Duration::from_secs(20));
        assert_eq!(common.log_format, LogFormat::Auto);
    }
}
