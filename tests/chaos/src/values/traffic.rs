//! Clients that add and remove ids by the API and by SQL, and keep a ledger.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Value as Json, json};
use sqlx::{AssertSqlSafe, Connection, Executor, MySqlConnection};
use tokio::sync::watch;

use super::cluster::Cluster;
use super::ledger::Ledger;
use crate::rng::Rng;

/// Upper bound of the ids that clients choose themselves, in descending order. They are
/// far above the first `AUTO_INCREMENT` values. After the first of them, `AUTO_INCREMENT`
/// continues above them all.
const CHOSEN: i64 = 1_000_000;

/// Time after which an abandoned request to remove ids has selected them: it does so
/// first, and no fault delays that for longer.
const CHOSEN_BY: Duration = Duration::from_secs(12);

/// Time limit of a request.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the clients did, and which answers they received.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) ledger: Ledger,
    /// For each kind of request: number of answered and of unanswered ones.
    pub(crate) counts: BTreeMap<&'static str, (u64, u64)>,
    /// Answers that the API or the database must never give.
    pub(crate) wrong: Vec<String>,
}

/// Lowest and highest number of ids between which the clients keep the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) least: usize,
    pub(crate) most: usize,
}

#[derive(Debug, Clone, Copy)]
enum Deed {
    ApiAddCount,
    ApiAddChosen,
    ApiRemove,
    ApiRemoveLargest,
    SqlAdd,
    SqlRemove,
}

/// Result of a request.
enum Answer {
    Done(Json),
    Unknown,
    Wrong(String),
}

struct Person {
    cluster: Arc<Cluster>,
    http: reqwest::Client,
    sql: Option<MySqlConnection>,
    rng: Rng,
    traffic: Traffic,
    next_chosen: i64,
    ids: usize,
    /// Time until which an unanswered removal of the largest ids may still remove new
    /// ids.
    doubtful_until: Option<Instant>,
}

/// Adds and removes ids until `stop` is set, pausing between half and one and a half
/// times `pause` after each request.
pub(crate) async fn run(
    cluster: Arc<Cluster>,
    rng: Rng,
    bounds: Bounds,
    pause: Duration,
    mut stop: watch::Receiver<bool>,
) -> Result<Traffic> {
    let http = testkit::http_client_builder().timeout(PATIENCE).build()?;
    let mut person = Person {
        ids: cluster.shape.ids,
        cluster,
        http,
        sql: None,
        rng,
        traffic: Traffic::default(),
        next_chosen: CHOSEN,
        doubtful_until: None,
    };
    person.open_books().await?;
    loop {
        let pause = person.rng.duration(pause / 2, pause * 3 / 2);
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return Ok(person.traffic),
            () = tokio::time::sleep(pause) => {}
        }
        person.act(bounds).await;
    }
}

impl Person {
    async fn open_books(&mut self) -> Result<()> {
        let mut connection = self.cluster.database.connect().await;
        let ids: Vec<i64> = sqlx::query_scalar("SELECT id FROM `values`").fetch_all(&mut connection).await?;
        self.traffic.ledger.added(&ids);
        self.sql = Some(connection);
        Ok(())
    }

    async fn act(&mut self, bounds: Bounds) {
        let number = self.rng.between(1, 4);
        if let Some(ids) = self.count().await {
            self.ids = ids;
        }
        let may_add = self.ids + number <= bounds.most;
        let may_remove = self.ids >= bounds.least + number;
        let deeds: &[Deed] = match (may_add, may_remove) {
            (true, false) => &[Deed::ApiAddCount, Deed::ApiAddChosen, Deed::SqlAdd],
            (false, _) => &[Deed::ApiRemove, Deed::ApiRemove, Deed::ApiRemoveLargest, Deed::SqlRemove],
            (true, true) => &[
                Deed::ApiAddCount,
                Deed::ApiAddChosen,
                Deed::SqlAdd,
                Deed::ApiRemove,
                Deed::ApiRemoveLargest,
                Deed::SqlRemove,
            ],
        };
        let Some(deed) = self.rng.pick(deeds).copied() else { return };
        match deed {
            Deed::ApiAddCount => self.api_add_count(number).await,
            Deed::ApiAddChosen => self.api_add_chosen(number).await,
            Deed::ApiRemove => self.api_remove().await,
            Deed::ApiRemoveLargest => self.api_remove_largest(number).await,
            Deed::SqlAdd => self.sql_add(number).await,
            Deed::SqlRemove => self.sql_remove(number).await,
        }
    }

    async fn api_add_count(&mut self, number: usize) {
        let request = self.http.post(self.url("/values")).json(&json!({ "count": number }));
        match self.ask("API: add so many", request).await {
            Some(body) => {
                let ids = ids(&body);
                if ids.len() != number {
                    self.traffic.wrong.push(format!("{number} ids asked for, answered {body}"));
                }
                self.note_added(&ids);
            }
            None => self.traffic.ledger.unanswered_count(number),
        }
    }

    async fn api_add_chosen(&mut self, number: usize) {
        let chosen = self.choose(number);
        let values: Vec<Json> = chosen.iter().map(|id| json!({ "id": id, "value": id % 7 - 3 })).collect();
        let request = self.http.post(self.url("/values")).json(&json!({ "values": values }));
        match self.ask("API: add these", request).await {
            Some(_) => self.note_added(&chosen),
            None => self.traffic.ledger.unanswered(&chosen),
        }
    }

    async fn api_remove(&mut self) {
        let present = self.traffic.ledger.present();
        let Some(id) = self.rng.pick(&present).copied() else { return };
        let request = self.http.delete(self.url(&format!("/values/{id}")));
        match self.ask("API: remove this", request).await {
            Some(_) => self.traffic.ledger.removed(&[id]),
            None => self.traffic.ledger.unanswered(&[id]),
        }
    }

    async fn api_remove_largest(&mut self, number: usize) {
        let request = self.http.delete(self.url(&format!("/values?count={number}")));
        if let Some(body) = self.ask("API: remove the largest", request).await {
            self.traffic.ledger.removed(&ids(&body));
        } else {
            self.traffic.ledger.unanswered_removal_of_largest(number);
            self.doubtful_until = Some(Instant::now() + CHOSEN_BY);
        }
    }

    async fn sql_add(&mut self, number: usize) {
        let chosen = self.choose(number);
        let rows: Vec<String> = chosen.iter().map(|id| format!("({id})")).collect();
        let sql = format!("INSERT INTO `values` (id) VALUES {}", rows.join(","));
        if self.execute("SQL: insert", &sql).await {
            self.note_added(&chosen);
        } else {
            self.traffic.ledger.unanswered(&chosen);
        }
    }

    async fn sql_remove(&mut self, number: usize) {
        let mut present = self.traffic.ledger.present();
        self.rng.shuffle(&mut present);
        present.truncate(number);
        // The order in which all transactions lock rows.
        present.sort_unstable();
        let list: Vec<String> = present.iter().map(i64::to_string).collect();
        let sql = format!("DELETE FROM `values` WHERE id IN ({})", list.join(","));
        if present.is_empty() {
            return;
        }
        if self.execute("SQL: delete", &sql).await {
            self.traffic.ledger.removed(&present);
        } else {
            self.traffic.ledger.unanswered(&present);
        }
    }

    /// Chooses ids that do not exist: up to half of them existed before.
    fn choose(&mut self, number: usize) -> Vec<i64> {
        let mut absent = self.traffic.ledger.absent();
        self.rng.shuffle(&mut absent);
        let again = number.div_ceil(2).min(absent.len());
        let mut chosen = absent.split_off(absent.len() - again);
        while chosen.len() < number {
            self.next_chosen -= 1;
            chosen.push(self.next_chosen);
        }
        chosen
    }

    fn note_added(&mut self, ids: &[i64]) {
        if self.doubtful_until.is_some_and(|until| Instant::now() < until) {
            self.traffic.ledger.unanswered(ids);
        } else {
            self.traffic.ledger.added(ids);
        }
    }

    /// Sends a request. Returns the body if it succeeds.
    async fn ask(&mut self, deed: &'static str, request: reqwest::RequestBuilder) -> Option<Json> {
        let answer = answer(request).await;
        self.tally(deed, matches!(answer, Answer::Done(_)));
        match answer {
            Answer::Done(body) => Some(body),
            Answer::Unknown => None,
            Answer::Wrong(text) => {
                self.traffic.wrong.push(format!("{deed}: {text}"));
                None
            }
        }
    }

    async fn execute(&mut self, deed: &'static str, sql: &str) -> bool {
        let mut done = false;
        if let Some(mut connection) = self.connection().await
            && connection.execute(AssertSqlSafe(sql.to_owned())).await.is_ok()
        {
            self.sql = Some(connection);
            done = true;
        }
        self.tally(deed, done);
        done
    }

    async fn count(&mut self) -> Option<usize> {
        let mut connection = self.connection().await?;
        let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM `values`").fetch_one(&mut connection).await.ok()?;
        self.sql = Some(connection);
        usize::try_from(count).ok()
    }

    async fn connection(&mut self) -> Option<MySqlConnection> {
        match self.sql.take() {
            Some(connection) => Some(connection),
            None => MySqlConnection::connect(self.cluster.database.url()).await.ok(),
        }
    }

    fn tally(&mut self, deed: &'static str, answered: bool) {
        let (done, unknown) = self.traffic.counts.entry(deed).or_default();
        *if answered { done } else { unknown } += 1;
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.cluster.api_url)
    }
}

/// 503 leaves open whether the request was carried out. Any other failure is wrong, since
/// the clients send valid requests only.
async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let Ok(response) = request.send().await else { return Answer::Unknown };
    let status = response.status();
    let Ok(body) = response.text().await else { return Answer::Unknown };
    match status.as_u16() {
        200 | 201 | 204 => Answer::Done(serde_json::from_str(&body).unwrap_or(Json::Null)),
        503 => Answer::Unknown,
        _ => Answer::Wrong(format!("{status} {body}")),
    }
}

fn ids(body: &Json) -> Vec<i64> {
    body["ids"].as_array().into_iter().flatten().filter_map(Json::as_i64).collect()
}
