//! Configuration: flags, environment variables, and files for secrets.

use std::ffi::OsString;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Args, Command, Id, Parser};

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
        /// Name of the environment variable, or names of several.
        variable: String,
        /// The reason, without the value if it may be secret.
        reason: String,
    },
    /// Flags that do not exist or do not fit together.
    #[error("{0}")]
    Flags(String),
    /// An address on which a listener cannot be opened.
    #[error("{0}")]
    Listener(String),
    /// `--help` and `--version`, which are not errors.
    #[error(transparent)]
    Help(clap::Error),
}

/// Reads a configuration from command-line arguments and the environment, in which
/// `environment` looks up a variable.
///
/// An empty variable counts as not set. The exception is a secret (`hide_env_values`) that
/// may be left out: its parser decides, since an empty key is not the same as no key.
///
/// A variable `X` that is not set may be read from the file that `X_FILE` names, as
/// Secrets are mounted; line breaks at its end are cut off. Setting both is an error.
pub fn parse<C: Parser>(
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<C, Invalid> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let command = with_variables(C::command(), &environment)?;
    let parsed = command.try_get_matches_from(&arguments).and_then(|mut found| C::from_arg_matches_mut(&mut found));
    parsed.map_err(|error| match error.kind() {
        // The help names all variables, also the empty ones.
        ErrorKind::DisplayHelp => Invalid::Help(C::command().try_get_matches_from(&arguments).err().unwrap_or(error)),
        ErrorKind::DisplayVersion => Invalid::Help(error),
        _ => explain(error, &C::command()),
    })
}

/// Removes empty variables from `command`, and sets the content of the file that `X_FILE` names as
/// the default of each variable `X`.
fn with_variables(mut command: Command, environment: &impl Fn(&str) -> Option<String>) -> Result<Command, Invalid> {
    let settings: Vec<(Id, String, bool)> = command
        .get_arguments()
        .filter_map(|arg| Some((arg.get_id().clone(), variable(arg)?, may_be_empty(arg))))
        .collect();
    for (id, variable, may_be_empty) in settings {
        let value = environment(&variable);
        let is_empty = value.as_ref().is_some_and(String::is_empty);
        let file = from_file(&variable, environment)?;
        if file.is_some() && value.is_some() && !is_empty {
            return Err(invalid(&variable, format!("set together with {variable}_FILE; set one of them")));
        }
        if is_empty && (file.is_some() || !may_be_empty) {
            command = command.mut_arg(&id, |arg| arg.env(Resettable::Reset));
        }
        if let Some(content) = file.filter(|content| may_be_empty || !content.is_empty()) {
            command = command.mut_arg(&id, |arg| arg.default_value(content).hide_default_value(true).required(false));
        }
    }
    Ok(command)
}

/// The content of the file that `X_FILE` names for the variable `X`.
fn from_file(variable: &str, environment: &impl Fn(&str) -> Option<String>) -> Result<Option<String>, Invalid> {
    let name = format!("{variable}_FILE");
    let Some(path) = environment(&name).filter(|path| !path.is_empty()) else { return Ok(None) };
    let content =
        std::fs::read_to_string(&path).map_err(|error| invalid(&name, format!("cannot read {path}: {error}")))?;
    Ok(Some(content.trim_end_matches(['\r', '\n']).to_owned()))
}

/// Whether the parser of `arg` receives an empty variable.
fn may_be_empty(arg: &Arg) -> bool {
    arg.is_hide_env_values_set() && !arg.is_required_set()
}

fn variable(arg: &Arg) -> Option<String> {
    arg.get_env()?.to_str().map(ToOwned::to_owned)
}

/// Creates an error for a variable that is well formed and still cannot be used.
#[must_use]
pub fn invalid(variable: &str, reason: impl Into<String>) -> Invalid {
    Invalid::Variable { variable: variable.to_owned(), reason: reason.into() }
}

/// Turns an error of clap into one line that begins with the variable.
fn explain(mut error: clap::Error, command: &Command) -> Invalid {
    let arguments = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(argument)) => vec![argument.clone()],
        Some(ContextValue::Strings(arguments)) => arguments.clone(),
        _ => Vec::new(),
    };
    // clap writes the flag as `--flag <VALUE>`.
    let flags: Vec<&str> = arguments.iter().filter_map(|argument| argument.split_whitespace().next()).collect();
    let settings: Vec<&Arg> = command
        .get_arguments()
        .filter(|arg| arg.get_long().is_some_and(|long| flags.contains(&&*format!("--{long}"))))
        .collect();
    if settings.iter().any(|arg| arg.is_hide_env_values_set()) {
        error.insert(ContextKind::InvalidValue, ContextValue::String("(hidden)".to_owned()));
    }
    let variables: Vec<String> = settings.iter().filter_map(|arg| variable(arg)).collect();
    let reason = match error.kind() {
        ErrorKind::MissingRequiredArgument => "not set".to_owned(),
        _ => one_line(&error),
    };
    if variables.is_empty() { Invalid::Flags(reason) } else { invalid(&variables.join(", "), reason) }
}

/// The message of clap and its tips, without the usage.
fn one_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let is_message = |line: &&str| !line.starts_with("Usage:") && !line.starts_with("For more information");
    let lines = text.strip_prefix("error: ").unwrap_or(&text).lines().map(str::trim).take_while(is_message);
    let parts: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    parts.join(" ").replace(" tip: ", "; ")
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use clap::builder::NonEmptyStringValueParser;
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    struct Example {
        #[command(flatten)]
        common: Common,
        #[arg(long, env = "EXAMPLE_SECRET_FOR_TESTS", hide_env_values = true, value_parser = parse_secret)]
        secret: String,
        #[arg(long, env = "KEY_FOR_TESTS", hide_env_values = true, value_parser = parse_secret)]
        key: Option<String>,
        #[arg(long, env = "NAME_FOR_TESTS", default_value = "anonymous", value_parser = NonEmptyStringValueParser::new())]
        name: String,
        #[arg(long, conflicts_with = "name")]
        nameless: bool,
    }

    fn parse_secret(text: &str) -> Result<String, String> {
        if text.len() > 3 { Ok(text.to_owned()) } else { Err("too short".to_owned()) }
    }

    fn try_parse(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Example, String> {
        let arguments = std::iter::once("example").chain(arguments.iter().copied()).map(Into::into);
        parse(arguments, lookup(environment)).map_err(|error| error.to_string())
    }

    fn lookup(environment: &[(&str, &str)]) -> impl Fn(&str) -> Option<String> {
        |name| environment.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
    }

    #[test]
    fn errors_are_one_line_that_names_the_variable() {
        for (arguments, line) in [
            (
                ["--admin-listen=nowhere"].as_slice(),
                "ADMIN_LISTEN: invalid value 'nowhere' for '--admin-listen <ADMIN_LISTEN>': invalid socket address syntax",
            ),
            (
                &["--log-format=xml"],
                "LOG_FORMAT: invalid value 'xml' for '--log-format <LOG_FORMAT>' [possible values: auto, text, json]",
            ),
            (
                &["--log-format=jsn"],
                "LOG_FORMAT: invalid value 'jsn' for '--log-format <LOG_FORMAT>' [possible values: auto, text, json]; \
                 a similar value exists: 'json'",
            ),
            (
                &["--log-format="],
                "LOG_FORMAT: a value is required for '--log-format <LOG_FORMAT>' but none was supplied \
                 [possible values: auto, text, json]",
            ),
            (&["--name="], "NAME_FOR_TESTS: a value is required for '--name <NAME>' but none was supplied"),
            (&["--health=yes"], "unexpected value 'yes' for '--health' found; no more were expected"),
            (&["--name=a", "--name=b"], "NAME_FOR_TESTS: the argument '--name <NAME>' cannot be used multiple times"),
            (&["--nameless", "--name=a"], "the argument '--nameless' cannot be used with '--name <NAME>'"),
            (
                &["--log-fromat=json"],
                "unexpected argument '--log-fromat' found; a similar argument exists: '--log-format'",
            ),
            (&["--nonsense"], "unexpected argument '--nonsense' found"),
            (&["nonsense"], "unexpected argument 'nonsense' found"),
        ] {
            let arguments = [&["--secret=long enough"], arguments].concat();
            assert_eq!(try_parse(&arguments, &[]).unwrap_err(), line);
        }
        let error = try_parse(&["--secret=long enough", "--shutdown-grace=soon"], &[]).unwrap_err();
        assert!(error.starts_with("SHUTDOWN_GRACE: invalid value 'soon'"), "{error}");
        assert_eq!(try_parse(&[], &[]).unwrap_err(), "EXAMPLE_SECRET_FOR_TESTS: not set");
    }

    #[test]
    fn secrets_are_not_repeated() {
        let error = try_parse(&["--secret=abc"], &[]).unwrap_err();
        assert_eq!(error, "EXAMPLE_SECRET_FOR_TESTS: invalid value '(hidden)' for '--secret <SECRET>': too short");
    }

    #[test]
    fn empty_variables_are_not_set_and_the_parser_of_an_optional_secret_decides() {
        // clap reads the real environment, so this checks which variables clap would read.
        let read = |environment: &[(&str, &str)]| {
            let command = with_variables(Example::command(), &lookup(environment)).unwrap();
            command.get_arguments().filter_map(variable).collect::<Vec<_>>()
        };
        let all = read(&[("LOG_FORMAT", "json")]);
        assert!(all.contains(&"LOG_FORMAT".to_owned()));
        for name in all.iter().filter(|name| *name != "KEY_FOR_TESTS") {
            assert!(!read(&[(name, "")]).contains(name), "{name}");
        }
        assert_eq!(read(&[("KEY_FOR_TESTS", "")]), all);
    }

    #[test]
    fn the_help_names_empty_variables_too() {
        let help = try_parse(&["--help"], &[("LOG_FORMAT", "")]).unwrap_err();
        assert!(help.contains("LOG_FORMAT"), "{help}");
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
        let empty = [from_file[0], ("EXAMPLE_SECRET_FOR_TESTS", "")];
        assert_eq!(try_parse(&[], &empty).unwrap().secret, "from a file");
        let nowhere = [("EXAMPLE_SECRET_FOR_TESTS_FILE", "")];
        assert_eq!(try_parse(&[], &nowhere).unwrap_err(), "EXAMPLE_SECRET_FOR_TESTS: not set");
        let missing = [("EXAMPLE_SECRET_FOR_TESTS_FILE", "/does/not/exist")];
        assert!(try_parse(&[], &missing).unwrap_err().starts_with("EXAMPLE_SECRET_FOR_TESTS_FILE: cannot read"));
    }

    #[test]
    fn an_empty_file_is_an_empty_variable() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        assert_eq!(try_parse(&["--secret=long enough"], &[("NAME_FOR_TESTS_FILE", path)]).unwrap().name, "anonymous");
        let error = try_parse(&[], &[("EXAMPLE_SECRET_FOR_TESTS_FILE", path)]).unwrap_err();
        assert_eq!(error, "EXAMPLE_SECRET_FOR_TESTS: not set");
        let error = try_parse(&["--secret=long enough"], &[("KEY_FOR_TESTS_FILE", path)]).unwrap_err();
        assert!(error.starts_with("KEY_FOR_TESTS: "), "{error}");
    }

    #[test]
    fn defaults_are_those_of_the_contract() {
        let common = try_parse(&["--secret=long enough"], &[]).unwrap().common;
        assert_eq!(common.admin_address().port(), 9090);
        assert_eq!(common.shutdown_grace.0, Duration::from_secs(20));
        assert_eq!(common.log_format, LogFormat::Auto);
    }
}
