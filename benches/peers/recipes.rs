//! How each process is configured: as its manual says for one core and kept connections on both sides, without an access
//! log. nginx and HAProxy add `X-Forwarded-For` and `-Proto`, as they commonly do. What outrigger adds beyond, such as an
//! `X-Request-Id`, is its own cost and is left to count: nginx's `$request_id` alone costs a third of its instructions.

use std::net::SocketAddr;
use std::path::Path;

use crate::load::Traffic;

const NGINX_HEAD: &str = "daemon off; master_process off; worker_processes 1; error_log stderr error;";

fn nginx(folder: &Path, connections_max: usize, inside: &str) -> String {
    let place = folder.display();
    format!(
        "{NGINX_HEAD}
pid {place}/pid;
events {{ worker_connections {connections_max}; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  keepalive_timeout 300s;
  client_body_temp_path {place}/b; proxy_temp_path {place}/p; fastcgi_temp_path {place}/f;
  uwsgi_temp_path {place}/u; scgi_temp_path {place}/s;
{inside}
}}
"
    )
}

/// The upstream of all: it has the replies at hand and reads no file.
pub(crate) fn upstream(folder: &Path, listen: SocketAddr, connections_max: usize) -> String {
    let place = |traffic: Traffic| {
        // A text in the file has 4 KiB at most; a variable may stand often.
        let (bytes, piece) = (traffic.reply_bytes(), 512);
        let rest = "y".repeat(bytes % piece);
        format!(
            "    location {} {{ set $piece \"{}\"; return 200 \"{}{rest}\"; }}",
            traffic.path(),
            "x".repeat(piece),
            "$piece".repeat(bytes / piece)
        )
    };
    let places = Traffic::ALL.map(place).join("\n");
    nginx(folder, connections_max, &format!("  server {{\n    listen {listen} backlog=4096;\n{places}\n  }}"))
}

pub(crate) fn nginx_proxy(
    folder: &Path,
    listen: SocketAddr,
    upstream: SocketAddr,
    connections_max: usize,
) -> String {
    nginx(
        folder,
        // Each request holds two.
        connections_max * 2,
        &format!(
            "  upstream app {{ server {upstream}; keepalive 64; keepalive_requests 1000000000; }}
  server {{
    listen {listen} backlog=4096;
    location / {{
      proxy_pass http://app;
      proxy_http_version 1.1;
      proxy_set_header Connection \"\";
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
    }}
  }}"
        ),
    )
}

pub(crate) fn haproxy(listen: SocketAddr, upstream: SocketAddr, connections_max: usize) -> String {
    format!(
        "global
  nbthread 1
  maxconn {connections_max}
defaults
  mode http
  timeout connect 5s
  timeout client 300s
  timeout server 300s
  timeout http-keep-alive 300s
  option forwardfor
frontend public
  bind {listen} backlog 4096
  http-request set-header X-Forwarded-Proto http
  default_backend app
backend app
  server app {upstream}
"
    )
}
