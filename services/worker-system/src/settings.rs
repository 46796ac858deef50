//! The settings of the services, in one command line.

use clap::{Arg, ArgMatches, Args, Command, Error, FromArgMatches};

/// The settings of all services. Each setting has the same flag, variable and default as
/// in the program of its service, except those of [`RENAMED`]. Services with the same setting
/// share its value.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The settings of each worker.
    pub worker: worker::Config,
    /// The settings of worker-manager.
    pub manager: worker_manager::Config,
    /// The settings of values-api.
    pub values_api: values_api::Config,
    /// The settings of main-app.
    pub main_app: main_app::Config,
    /// The settings of service-app.
    pub service_app: service_app::Config,
    /// The settings of visit-counter.
    pub visits: visit_counter::Config,
    /// The settings of each replica of round-robin-server.
    pub round_robin_server: round_robin_server::Config,
    /// The settings of round-robin-client.
    pub round_robin_client: round_robin_client::Config,
    /// The settings of counting-server.
    pub counting_server: counting_server::Config,
    /// The settings of both clients of counting-server.
    pub counting_client: counting_client::Config,
}

/// Settings that this process sets itself.
const CHOSEN: [&str; 9] = [
    "worker_name",
    "manager_name",
    "runner_name",
    "drain_timeout",
    "kinds",
    "replica_name",
    "server_url",
    "until",
    "role",
];

/// Minimum number of workers: enough to show ids moving between them.
const MIN_WORKERS: &str = "3";

/// Name of the client: the same in each run, so that it resumes.
const CLIENT_ID: &str = "client";

/// Settings that have the same flag and variable in another service, and another meaning:
/// their id, flag and variable here.
const RENAMED: [(&str, &str, &str); 2] = [
    ("message_retention", "message-retention", "MESSAGE_RETENTION"),
    ("number_interval", "number-interval", "NUMBER_INTERVAL"),
];

impl Args for Settings {
    fn augment_args(command: Command) -> Command {
        let command = add::<worker::Config>(command, "worker");
        let command = add::<worker_manager::Config>(command, "worker-manager");
        let command = add::<values_api::Config>(command, "values-api, main-app, visit-counter, round-robin-server and counting-server");
        let command = add::<main_app::Config>(command, "main-app");
        let command = add::<service_app::Config>(command, "service-app");
        let command = add::<visit_counter::Config>(command, "visit-counter");
        let command = add::<round_robin_server::Config>(command, "round-robin-server");
        let command = add::<round_robin_client::Config>(command, "round-robin-client");
        let command = add::<counting_server::Config>(command, "counting-server");
        let command = add::<counting_client::Config>(command, "counting-client");
        let command = CHOSEN.iter().fold(command, |command, id| command.mut_arg(id, |arg| arg.hide(true)));
        let command = command.mut_arg("min_workers", |arg| arg.default_value(MIN_WORKERS));
        command.mut_arg("client_id", |arg| arg.default_value(CLIENT_ID).hide_default_value(false))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

/// Adds the settings of `C` that `command` does not have yet, under a heading of the
/// help.
fn add<C: Args>(command: Command, heading: &'static str) -> Command {
    let own = C::augment_args(Command::new("own"));
    own.get_arguments().fold(command, |command, arg| {
        let is_known = command.get_arguments().any(|known| known.get_id() == arg.get_id());
        if is_known { command } else { command.arg(renamed(arg.clone()).help_heading(heading)) }
    })
}

fn renamed(arg: Arg) -> Arg {
    match RENAMED.iter().find(|(id, ..)| arg.get_id() == id) {
        Some((_, flag, variable)) => arg.long(*flag).env(*variable),
        None => arg,
    }
}

impl FromArgMatches for Settings {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let mut settings = Self {
            worker: worker::Config::from_arg_matches(matches)?,
            manager: worker_manager::Config::from_arg_matches(matches)?,
            values_api: values_api::Config::from_arg_matches(matches)?,
            main_app: main_app::Config::from_arg_matches(matches)?,
            service_app: service_app::Config::from_arg_matches(matches)?,
            visits: visit_counter::Config::from_arg_matches(matches)?,
            round_robin_server: round_robin_server::Config::from_arg_matches(matches)?,
            round_robin_client: round_robin_client::Config::from_arg_matches(matches)?,
            counting_server: counting_server::Config::from_arg_matches(matches)?,
            counting_client: counting_client::Config::from_arg_matches(matches)?,
        };
        settings.choose();
        Ok(settings)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Settings {
    fn choose(&mut self) {
        // A holder of a lease has a name that no other process has.
        let process = kit_process::config::process_name("worker-system");
        self.manager.name.clone_from(&process);
        self.service_app.jobs.name = process;
        // A worker is stopped when it has no ids, or together with all other workers.
        self.worker.drain_timeout.0 = std::time::Duration::ZERO;
        self.service_app.jobs.drain_timeout.0 = std::time::Duration::from_secs(2);
        let kinds = service_app::registry(&self.service_app, &self.service_app.client());
        self.main_app.kinds = kinds.kinds().map(str::to_owned).collect();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        settings: Settings,
    }

    fn parse(arguments: &[&str]) -> Settings {
        Cli::parse_from(std::iter::once("test").chain(arguments.iter().copied())).settings
    }

    #[test]
    fn defaults_are_those_of_the_programs() {
        #[derive(Debug, Parser)]
        struct MainApp {
            #[command(flatten)]
            config: main_app::Config,
        }
        let (settings, alone) = (parse(&[]), MainApp::parse_from(["main-app"]).config);
        assert_eq!(settings.main_app.backlog_limit, alone.backlog_limit);
        assert_eq!(settings.main_app.retention, alone.retention);
        assert_eq!(settings.main_app.kinds, ["http", "user-request"], "those that service-app runs");
        assert_eq!((settings.manager.min_workers, settings.manager.spare), (3, 1));
    }

    #[test]
    fn services_share_what_has_one_name() {
        let settings = parse(&["--capacity=7", "--allowed-hosts=example.com"]);
        assert_eq!((settings.worker.capacity, settings.manager.capacity), (7, 7));
        assert_eq!(settings.main_app.allowed_hosts.to_string(), "example.com");
        assert_eq!(settings.service_app.allowed_hosts.to_string(), "example.com");
    }

    /// main-app deletes jobs after a week by default, round-robin-server keeps messages.
    #[test]
    fn messages_have_a_retention_of_their_own() {
        let settings = parse(&["--retention=2days"]);
        assert_eq!(settings.main_app.retention.0, Duration::from_hours(48));
        assert_eq!(settings.round_robin_server.retention, None);
        let settings = parse(&["--message-retention=3days"]);
        assert_eq!(settings.round_robin_server.retention.map(|time| time.0), Some(Duration::from_hours(72)));
    }

    /// Two settings with the same name and a different meaning need different ids.
    #[test]
    fn shared_settings_are_the_same_in_each_service() {
        let services = [
            worker::Config::augment_args(Command::new("worker")),
            worker_manager::Config::augment_args(Command::new("worker-manager")),
            values_api::Config::augment_args(Command::new("values-api")),
            main_app::Config::augment_args(Command::new("main-app")),
            service_app::Config::augment_args(Command::new("service-app")),
            visit_counter::Config::augment_args(Command::new("visit-counter")),
            round_robin_server::Config::augment_args(Command::new("round-robin-server")),
            round_robin_client::Config::augment_args(Command::new("round-robin-client")),
            counting_server::Config::augment_args(Command::new("counting-server")),
            counting_client::Config::augment_args(Command::new("counting-client")),
        ];
        let mut known = BTreeMap::new();
        let is_shared = |arg: &&Arg| !CHOSEN.contains(&arg.get_id().as_str());
        for arg in services.iter().flat_map(Command::get_arguments).filter(is_shared) {
            let meaning = (arg.get_long(), arg.get_env(), arg.get_default_values());
            assert_eq!(*known.entry(arg.get_id()).or_insert(meaning), meaning, "{}", arg.get_id());
        }
    }
}
