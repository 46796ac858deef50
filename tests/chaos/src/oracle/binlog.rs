//! The row binary log, as `mariadb-binlog --base64-output=decode-rows -v` or
//! `mysqlbinlog` prints it: every committed change of every row, in the order of
//! the commits.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

/// A row: its columns in the order of the table's definition, as printed.
pub(crate) type Image = Vec<Option<String>>;

/// Change of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// The row was added.
    Insert(Image),
    /// The row was changed: old and new image.
    Update(Image, Image),
    /// The row was removed.
    Delete(Image),
}

/// A change of a row of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    /// The table, without its database.
    pub(crate) table: String,
    /// The change.
    pub(crate) change: Change,
}

/// A committed transaction, with its changes in order.
pub(crate) type Transaction = Vec<Event>;

/// Reads all of `files`, and passes the transactions that changed rows of `database` to `apply`,
/// in commit order. Returns the number of transactions without an end: the server died while it
/// wrote them, and rolled them back at its next start.
pub(crate) fn read(
    files: &[PathBuf],
    database: &str,
    mut apply: impl FnMut(&Transaction) -> Result<()>,
) -> Result<u64> {
    let mut torn_files = 0;
    for file in files {
        let mut parser = Parser::new(database);
        let mut reading = decoder()?
            .args(["--base64-output=decode-rows", "-v"])
            .arg(file)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting mariadb-binlog")?;
        let mut output = BufReader::new(reading.stdout.take().context("the output of mariadb-binlog")?);
        let mut bytes = Vec::new();
        while output.read_until(b'\n', &mut bytes)? > 0 {
            let line = String::from_utf8_lossy(&bytes);
            parser.line(line.trim_end_matches('\n')).with_context(|| format!("{}: {line}", file.display()))?;
            parser.done.drain(..).try_for_each(|transaction| apply(&transaction))?;
            bytes.clear();
        }
        let status = reading.wait()?;
        let (_, torn) = parser.finish();
        // A crash may leave a half-written event at the end of a file.
        ensure!(status.success() || torn, "mariadb-binlog {}: {status}", file.display());
        torn_files += u64::from(torn);
    }
    Ok(torn_files)
}

fn decoder() -> Result<Command> {
    for program in ["mariadb-binlog", "mysqlbinlog"] {
        let version = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if version.is_ok_and(|status| status.success()) {
            return Ok(Command::new(program));
        }
    }
    bail!("mariadb-binlog is missing: apt-get install mariadb-server")
}

/// Parses the lines of one file.
#[derive(Debug)]
struct Parser {
    /// Prefix of the table names in the database.
    prefix: String,
    done: Vec<Transaction>,
    open: Option<Transaction>,
    event: Option<Partial>,
}

/// An event whose lines are still being read.
#[derive(Debug)]
struct Partial {
    verb: Verb,
    /// `None` for tables of other databases.
    table: Option<String>,
    images: Vec<Image>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Insert,
    Update,
    Delete,
}

impl Parser {
    fn new(database: &str) -> Self {
        Self { prefix: format!("`{database}`."), done: Vec::new(), open: None, event: None }
    }

    fn line(&mut self, line: &str) -> Result<()> {
        let Some(row) = line.strip_prefix("### ") else {
            // A comment in between belongs to a statement or is about the next event.
            return match line {
                "START TRANSACTION" | "BEGIN" => self.begin(),
                "COMMIT/*!*/;" | "COMMIT" => self.commit(),
                "ROLLBACK/*!*/;" => {
                    self.end_event()?;
                    self.open = None;
                    Ok(())
                }
                _ => Ok(()),
            };
        };
        if let Some(column) = row.strip_prefix("  @") {
            return self.column(column);
        }
        match row {
            "WHERE" | "SET" => {
                let event = self.event.as_mut().context("an image without an event")?;
                event.images.push(Image::new());
                Ok(())
            }
            row => self.begin_event(row),
        }
    }

    fn begin(&mut self) -> Result<()> {
        ensure!(self.open.is_none() && self.event.is_none(), "a transaction within a transaction");
        self.open = Some(Transaction::new());
        Ok(())
    }

    fn commit(&mut self) -> Result<()> {
        self.end_event()?;
        let transaction = self.open.take().context("a commit without a transaction")?;
        if !transaction.is_empty() {
            self.done.push(transaction);
        }
        Ok(())
    }

    fn begin_event(&mut self, row: &str) -> Result<()> {
        self.end_event()?;
        ensure!(self.open.is_some(), "a change outside of a transaction");
        let (verb, table) = if let Some(table) = row.strip_prefix("INSERT INTO ") {
            (Verb::Insert, table)
        } else if let Some(table) = row.strip_prefix("UPDATE ") {
            (Verb::Update, table)
        } else if let Some(table) = row.strip_prefix("DELETE FROM ") {
            (Verb::Delete, table)
        } else {
            bail!("neither INSERT, UPDATE nor DELETE");
        };
        let table = table.strip_prefix(&self.prefix).map(|table| table.trim_matches('`').to_owned());
        self.event = Some(Partial { verb, table, images: Vec::new() });
        Ok(())
    }

    fn column(&mut self, column: &str) -> Result<()> {
        let image = self.event.as_mut().and_then(|event| event.images.last_mut()).context("a column without a row")?;
        let (number, value) = column.split_once('=').context("a column without a value")?;
        image.push(parse_value(value));
        ensure!(number.parse() == Ok(image.len()), "a column is missing: the log needs full row images");
        Ok(())
    }

    fn end_event(&mut self) -> Result<()> {
        let Some(Partial { verb, table, images }) = self.event.take() else { return Ok(()) };
        let Some(table) = table else { return Ok(()) };
        let mut images = images.into_iter();
        let change = match (verb, images.next(), images.next()) {
            (Verb::Insert, Some(new), None) => Change::Insert(new),
            (Verb::Update, Some(old), Some(new)) => Change::Update(old, new),
            (Verb::Delete, Some(old), None) => Change::Delete(old),
            (verb, ..) => bail!("the event before is an incomplete {verb:?}"),
        };
        let open = self.open.as_mut().context("a change outside of a transaction")?;
        open.push(Event { table, change });
        Ok(())
    }

    /// Returns the transactions, and whether the last one has no end.
    fn finish(self) -> (Vec<Transaction>, bool) {
        (self.done, self.open.is_some())
    }
}

/// Returns numbers unchanged and text without its quotes. A negative number is followed
/// by its unsigned reading, which is dropped.
fn parse_value(value: &str) -> Option<String> {
    if value == "NULL" {
        return None;
    }
    if let Some(text) = value.strip_prefix('\'') {
        return Some(text.strip_suffix('\'').unwrap_or(text).to_owned());
    }
    Some(value.split(' ').next().unwrap_or(value).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Printed by mariadb-binlog 10.11, shortened.
    const PRINTED: &str = r"
# at 2642
#261121 10:48:53 server id 1  end_log_pos 2684 CRC32 0x197d562e 	GTID 0-1-6 trans
/*M!100001 SET @@session.gtid_seq_no=6*//*!*/;
START TRANSACTION
/*!*/;
#Q> insert into `values` (id,value) values (3,-7)
### INSERT INTO `x`.`values`
### SET
###   @1=3
###   @2=-7 (18446744073709551609)
###   @3=NULL
### INSERT INTO `other`.`values`
### SET
###   @1=4
# Number of rows: 2
#261121 10:48:53 server id 1  end_log_pos 2990 CRC32 0x364303b7 	Xid = 9
COMMIT/*!*/;
START TRANSACTION
/*!*/;
### UPDATE `x`.`workers`
### WHERE
###   @1=1
###   @2='a = ''b'
### SET
###   @1=1
###   @2='draining'
# Number of rows: 1
### DELETE FROM `x`.`values`
### WHERE
###   @1=3
###   @2=0
###   @3=5
COMMIT/*!*/;
START TRANSACTION
/*!*/;
### DELETE FROM `other`.`values`
### WHERE
###   @1=3
COMMIT/*!*/;
";

    fn parse(text: &str) -> Result<(Vec<Transaction>, bool)> {
        let mut parser = Parser::new("x");
        text.lines().try_for_each(|line| parser.line(line))?;
        Ok(parser.finish())
    }

    fn image(columns: &[&str]) -> Image {
        columns.iter().map(|column| (*column != "NULL").then(|| (*column).to_owned())).collect()
    }

    fn event(table: &str, change: Change) -> Event {
        Event { table: table.to_owned(), change }
    }

    #[test]
    fn transactions_are_read_in_order() {
        let (transactions, torn) = parse(PRINTED).unwrap();
        assert!(!torn);
        let update = Change::Update(image(&["1", "a = ''b"]), image(&["1", "draining"]));
        assert_eq!(
            transactions,
            [
                vec![event("values", Change::Insert(image(&["3", "-7", "NULL"])))],
                vec![event("workers", update), event("values", Change::Delete(image(&["3", "0", "5"])))],
            ]
        );
    }

    #[test]
    fn a_transaction_without_an_end_is_left_out() {
        let cut = PRINTED.find("### DELETE FROM `x`").unwrap();
        let (transactions, torn) = parse(&PRINTED[..cut]).unwrap();
        assert!(torn);
        assert_eq!(transactions.len(), 1);
    }

    #[test]
    fn what_cannot_be_understood_is_an_error() {
        let missing = PRINTED.replacen("###   @2=0\n", "", 1);
        assert!(parse(&missing).unwrap_err().to_string().contains("full row images"));
        let lost = PRINTED.replacen("COMMIT/*!*/;\n", "", 1);
        assert!(parse(&lost).unwrap_err().to_string().contains("within a transaction"));
        let half = PRINTED.replacen("### SET\n###   @1=1\n###   @2='draining'\n", "", 1);
        assert!(parse(&half).unwrap_err().to_string().contains("incomplete Update"));
        assert!(parse("### INSERT INTO `x`.`values`").is_err());
    }
}
