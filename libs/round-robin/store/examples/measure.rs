use kit_database::{
    Database, Options,
    mysql::{Scripts, text},
};
use round_robin_core::tables::Request;
use round_robin_core::turns::Quantum;
use round_robin_core::types::{ClientId, Range};
use round_robin_store::MIGRATIONS;
use std::time::{Duration, Instant};

fn cpu(pid: &str) -> f64 {
    let mut ns = 0.0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        let Ok(s) = std::fs::read_to_string(task.unwrap().path().join("schedstat")) else { continue };
        ns += s.split_whitespace().next().unwrap().parse::<f64>().unwrap();
    }
    ns / 1e6
}

struct M {
    t: Vec<f64>,
    cpu: f64,
}
fn report(name: &str, m: &mut M) -> f64 {
    let n = m.t.len();
    m.t.sort_by(f64::total_cmp);
    let mean = m.t.iter().sum::<f64>() / n as f64;
    println!(
        "{name:20} mean {mean:7.2} ms  median {:7.2}  min {:7.2}  server CPU {:6.2} ms",
        m.t[n / 2],
        m.t[0],
        m.cpu / n as f64
    );
    mean
}

#[tokio::main]
async fn main() {
    let url = std::env::var("URL").unwrap();
    let pid = std::env::var("PID").unwrap();
    let rounds: i64 = std::env::var("ROUNDS").map_or(60, |r| r.parse().unwrap());
    let clients: i64 = std::env::var("CLIENTS").map_or(8, |r| r.parse().unwrap());
    let batch: i64 = std::env::var("BATCH").map_or(1000, |r| r.parse().unwrap());
    let each = batch / clients;
    let options = Options { connections: 8, probe: false, acquire_timeout: Duration::from_secs(20) };
    let database = Database::open(&url, options).unwrap();
    let Database::MySql(pool) = &database else { panic!() };
    let scripts = Scripts::new(pool.clone());
    let t5 = Duration::from_secs(20);
    let _ = scripts.run("DROP VIEW IF EXISTS messages; DROP TABLE IF EXISTS replicas, turns, clients, received_messages, served_ranges, _round_robin_migrations, bare", t5).await;
    database.migrate(&MIGRATIONS).await.unwrap();
    scripts.run("CREATE TABLE bare LIKE received_messages", t5).await.unwrap();
    let store = round_robin_store::open(&database, Quantum::from_millis(1_000_000).unwrap());
    let name = |c: i64| ClientId::try_from(format!("client-{c}")).unwrap();
    let message = |n: i64| format!("message number {n} of a client");
    let bare: Vec<String> = (0..rounds)
        .map(|b| {
            let mut rows = Vec::new();
            for c in 0..clients {
                for k in 0..each {
                    let n = b * each + k + 1;
                    rows.push(format!("({},{n},{},1800000000000)", text(name(c).as_str()), text(&message(n))));
                }
            }
            format!("BEGIN; INSERT INTO bare (client_id,counter,message,received_at) VALUES {}; COMMIT", rows.join(","))
        })
        .collect();
    let requests: Vec<Vec<Request>> = (0..rounds)
        .map(|b| {
            let mut rows = Vec::new();
            for k in 0..each {
                for c in 0..clients {
                    let n = b * each + k + 1;
                    rows.push(Request { client: name(c), counter: n, message: message(n), epoch: None });
                }
            }
            rows
        })
        .collect();
    let ranges: Vec<Vec<Range>> = (0..rounds)
        .map(|b| (0..clients).map(|c| Range { client: name(c), first: b * each + 1, last: (b + 1) * each }).collect())
        .collect();
    let replica = store.register("rr-server-0").await.unwrap();
    let turn = store.beat(replica).await.unwrap().turn;
    let (mut mb, mut ma, mut ms) = (M { t: vec![], cpu: 0. }, M { t: vec![], cpu: 0. }, M { t: vec![], cpu: 0. });
    for b in 0..rounds as usize {
        let (c, t) = (cpu(&pid), Instant::now());
        scripts.run(&bare[b], t5).await.unwrap();
        mb.t.push(t.elapsed().as_secs_f64() * 1e3);
        mb.cpu += cpu(&pid) - c;
        let (c, t) = (cpu(&pid), Instant::now());
        let r = store.accept(&requests[b]).await.unwrap();
        ma.t.push(t.elapsed().as_secs_f64() * 1e3);
        ma.cpu += cpu(&pid) - c;
        assert_eq!(r.len(), requests[b].len());
        let (c, t) = (cpu(&pid), Instant::now());
        let s = store.serve(replica, turn, &ranges[b], (None, 64)).await.unwrap().unwrap();
        ms.t.push(t.elapsed().as_secs_f64() * 1e3);
        ms.cpu += cpu(&pid) - c;
        assert_eq!(s.0.ranges.len(), clients as usize);
        assert!(s.1.is_empty());
    }
    println!("batch {batch}, {clients} clients, one after the other, {rounds} rounds");
    let (b, a, s) = (report("bare insert", &mut mb), report("accept", &mut ma), report("serve", &mut ms));
    println!("accept/bare {:.2}   bare/(accept+serve) {:.2}", a / b, b / (a + s));
    // Both at once.
    let bare_start = Instant::now();
    scripts
        .run("TRUNCATE bare; TRUNCATE clients; TRUNCATE received_messages; TRUNCATE served_ranges", t5)
        .await
        .unwrap();
    drop(bare_start);
    let t = Instant::now();
    for sql in &bare {
        scripts.run(sql, t5).await.unwrap();
    }
    let bare_s = t.elapsed().as_secs_f64();
    let t = Instant::now();
    let store2 = store.clone();
    let total = rounds * clients * each;
    let server = tokio::spawn(async move {
        let (mut done, mut calls) = (0, 0);
        let mut waiting = store2.waiting(None, 256).await.unwrap();
        while done < total {
            if waiting.is_empty() {
                tokio::task::yield_now().await;
                waiting = store2.waiting(None, 256).await.unwrap();
                continue;
            }
            let ranges = round_robin_core::plan::plan(&waiting, 1024, 0);
            let (s, w) = store2.serve(replica, turn, &ranges, (None, 256)).await.unwrap().unwrap();
            done += s.ranges.iter().map(Range::count).sum::<i64>();
            calls += 1;
            waiting = w;
        }
        calls
    });
    for r in &requests {
        store.accept(r).await.unwrap();
    }
    let calls = server.await.unwrap();
    let both = t.elapsed().as_secs_f64();
    println!(
        "at once: bare {:.0} rows/s, accepted and served {:.0} rows/s, ratio {:.2}, {calls} serves",
        total as f64 / bare_s,
        total as f64 / both,
        bare_s / both
    );
}
