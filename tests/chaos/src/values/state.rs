//! State of the tables at an instant.

use sqlx::{FromRow, MySqlConnection};

/// Counts from one consistent read.
#[derive(Debug, Clone, FromRow)]
pub(crate) struct State {
    pub(crate) ids: i64,
    /// Rows with `value − initial_value ≠ last_tick − first_tick`.
    pub(crate) broken: i64,
    /// Rows more than two seconds behind.
    pub(crate) behind: i64,
    /// Seconds by which the most delayed row is behind.
    pub(crate) lateness: i64,
    /// Rows that have counted neither the current second nor the previous one.
    pub(crate) not_ticking: i64,
    /// Rows without an owner.
    pub(crate) unowned: i64,
    /// Rows whose owner is dead, unknown, or has sent no heartbeat for two seconds.
    pub(crate) ghosts: i64,
    /// Active workers.
    pub(crate) active: i64,
    /// Workers that are not dead and have sent no heartbeat for a second.
    pub(crate) silent: i64,
    /// Active workers with more ids than their capacity.
    pub(crate) overfull: i64,
    pub(crate) least_load: i64,
    pub(crate) largest_load: i64,
}

/// One statement reads all tables from one snapshot.
const SQL: &str = "
    WITH now AS (SELECT UNIX_TIMESTAMP() AS s, UNIX_TIMESTAMP(NOW(3)) * 1000 AS ms),
    loads AS (
        SELECT incarnation, capacity, COUNT(id) AS load_ FROM workers LEFT JOIN `values` ON owner = incarnation
        WHERE state = 'active' GROUP BY incarnation, capacity),
    ids AS (
        SELECT COUNT(*) AS ids,
            COALESCE(SUM(value - initial_value <> last_tick - first_tick), 0) AS broken,
            COALESCE(SUM(last_tick < s - 2), 0) AS behind,
            COALESCE(MAX(s - last_tick), 0) AS lateness,
            COALESCE(SUM(last_tick < s - 1), 0) AS not_ticking,
            COALESCE(SUM(owner IS NULL), 0) AS unowned,
            COALESCE(SUM(owner IS NOT NULL
                AND (state IS NULL OR state = 'dead' OR heartbeat < ms - 2000)), 0) AS ghosts
        FROM now JOIN `values` LEFT JOIN workers ON owner = incarnation),
    fleet AS (
        SELECT COALESCE(SUM(state = 'active'), 0) AS active,
            COALESCE(SUM(state <> 'dead' AND heartbeat < ms - 1000), 0) AS silent
        FROM now JOIN workers),
    load_ AS (
        SELECT COALESCE(SUM(load_ > capacity), 0) AS overfull,
            COALESCE(MIN(load_), 0) AS least_load, COALESCE(MAX(load_), 0) AS largest_load
        FROM loads)
    SELECT CAST(ids AS SIGNED) AS ids, CAST(broken AS SIGNED) AS broken, CAST(behind AS SIGNED) AS behind,
        CAST(lateness AS SIGNED) AS lateness, CAST(not_ticking AS SIGNED) AS not_ticking,
        CAST(unowned AS SIGNED) AS unowned, CAST(ghosts AS SIGNED) AS ghosts,
        CAST(active AS SIGNED) AS active, CAST(silent AS SIGNED) AS silent,
        CAST(overfull AS SIGNED) AS overfull, CAST(least_load AS SIGNED) AS least_load,
        CAST(largest_load AS SIGNED) AS largest_load
    FROM ids, fleet, load_";

impl State {
    /// Reads the state.
    pub(crate) async fn read(connection: &mut MySqlConnection) -> sqlx::Result<Self> {
        sqlx::query_as(SQL).fetch_one(connection).await
    }

    /// Whether every id has an owner and ticks, and `workers` workers are active.
    pub(crate) const fn is_steady(&self, workers: i64) -> bool {
        self.active == workers
            && self.silent == 0
            && self.unowned == 0
            && self.ghosts == 0
            && self.not_ticking == 0
            && self.largest_load - self.least_load <= 1
    }
}
