//! A proxy that gives requests to servers one after the other.

use std::fmt::Write as _;
use std::net::SocketAddr;

use testkit::{Folder, Launch, Process, eventually_ok, free_port};
use tokio::net::TcpStream;

use super::DEADLINE;

/// nginx, with one worker.
pub(super) struct Proxy {
    pub(super) url: String,
    _process: Process,
    _folder: Folder,
}

impl Proxy {
    /// Starts nginx in front of these servers.
    pub(super) async fn start(servers: impl IntoIterator<Item = SocketAddr>) -> anyhow::Result<Self> {
        let (folder, port) = (Folder::new("nginx"), free_port());
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, configuration(port, servers)?)?;
        let prefix = folder.path().display().to_string();
        let launch = Launch::new("nginx").args(["-p", &prefix, "-c"]).arg(&file).args(["-e", "stderr"]);
        let process = launch.spawn();
        eventually_ok(DEADLINE, "nginx to listen", async || TcpStream::connect(("127.0.0.1", port)).await).await;
        Ok(Self { url: format!("http://127.0.0.1:{port}/messages"), _process: process, _folder: folder })
    }
}

/// Connections to the servers are kept open where a server allows it.
fn configuration(port: u16, servers: impl IntoIterator<Item = SocketAddr>) -> anyhow::Result<String> {
    let mut list = String::new();
    for server in servers {
        // A server that refuses a connection is asked again at once.
        write!(list, "server {server} max_fails=0; ")?;
    }
    let folders = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let folders: Vec<String> = folders.iter().map(|name| format!("{name}_temp_path {name};")).collect();
    Ok(format!(
        "daemon off; pid pid; worker_processes 1; error_log stderr crit;
         events {{ worker_connections 8192; }}
         http {{
             access_log off; {}
             upstream servers {{ {list} keepalive 512; }}
             server {{
                 listen 127.0.0.1:{port} backlog=4096;
                 keepalive_requests 1000000;
                 location / {{
                     proxy_pass http://servers; proxy_http_version 1.1; proxy_set_header Connection \"\";
                 }}
             }}
         }}",
        folders.join(" ")
    ))
}
