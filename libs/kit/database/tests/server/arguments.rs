//! The command line.

use clap::Parser;
use kit_database::DatabaseArgs;

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    _database: DatabaseArgs,
}

#[test]
fn a_url_that_is_not_supported_ends_the_program_with_2_and_names_the_parameter() {
    for (url, named) in [
        ("mysql://u:secret@host/db?charset=utf8", "parameter charset"),
        ("mysql://u:secret@host/db?charset=latin1", "parameter charset"),
        ("mariadb://u:secret@host/db?ssl-mode=required&time-zone=SYSTEM", "parameter time-zone"),
        ("mysql://u:secret@host/db?sslMode=required", "parameter sslMode"),
        ("mysql://u:secret@host", "names no database"),
        ("postgres://u:secret@host/db", "expected mysql://"),
    ] {
        let error = Cli::try_parse_from(["program", "--database-url", url]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        let said = error.to_string();
        assert!(said.contains(named), "{url}: {said}");
    }
    Cli::try_parse_from(["program", "--database-url", "mysql://u:p@[::1]/db?charset=utf8mb4"]).unwrap();
}
