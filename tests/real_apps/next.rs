//! Next.js as its users start it: npx, which runs a shell, which runs the server. Told to end, the first two end at once
//! and leave the server behind, which holds the port; so it is the agent's to end the whole family, in order.

use std::time::Duration;

use http::StatusCode;

use crate::agent::Agent;
use crate::client::Client;
use crate::family::offspring;
use crate::kit::App;
use crate::process::eventually_is;
use crate::run;

/// As the agent is configured, with a moment for what is not draining.
const DRAIN: Duration = Duration::from_secs(25);

/// The page names scripts that are its own; each is there.
#[tokio::test]
async fn a_page_its_assets_and_an_api_route_are_served() {
    run(App::Next, async |app| {
        let agent = Agent::start(app).await;
        let client = Client::of(agent.public);
        let (status, page) = client.get("/").await;
        let page = String::from_utf8(page.to_vec()).expect("a page is UTF-8");
        assert!(status == 200 && page.contains("hello from next"), "{status}: {page}");
        let scripts: Vec<&str> =
            page.split("src=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert!(scripts.len() >= 3, "{scripts:?}");
        for script in scripts {
            let (status, body) = client.get(script).await;
            assert!(status == 200 && !body.is_empty(), "{script}: {status}, {} bytes", body.len());
        }
        assert_eq!(client.get("/asset.txt").await.1.len(), 94_000);
        assert_eq!(client.get("/api/hello").await.0, 200);
        assert_eq!(client.get("/no/such/page").await.0, StatusCode::NOT_FOUND);
    })
    .await;
}

#[tokio::test]
async fn it_ends_in_order_and_leaves_no_process() {
    run(App::Next, async |app| {
        let mut agent = Agent::start(app).await;
        let family = offspring(agent.id());
        assert!(family.0.len() >= 3, "npx, a shell and the server: {family:?}");
        let slow = tokio::spawn(Client::of(agent.public).get("/api/hello?ms=2000"));
        let in_flight = async || agent.metric("outrigger_requests_in_flight").await;
        eventually_is("requests that the agent holds", 1.0, in_flight).await;
        agent.terminate();
        assert_eq!(slow.await.expect("a request in flight is answered").0, 200);
        let code = tokio::time::timeout(DRAIN, agent.ended()).await.expect("it ends within the drain");
        assert_ne!(code, 128 + 9, "nobody had to be killed");
        family.has_ended().await;
    })
    .await;
}
