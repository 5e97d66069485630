// The set-up of docs/RAILWAY.md as a file: put it at .railway/railway.ts, change the names, and see with
// `railway config plan` what it would do before `railway config apply` does it. It was never applied on a live account.
//
// Make the services, the watcher's volume and the secrets in the dashboard first: volumes cannot be made from here yet, and
// preserve() leaves a value as it is. A sealed value cannot be read again: keep a copy of each.

import { defineRailway, github, image, preserve, project, service } from "railway/iac";

const replicas = 3;

// The same at both, or the agents do not agree with one another.
const common = {
  OUTRIGGER_PEER_KEY: preserve(),
  // Who is told; leave it out at both if nobody is.
  OUTRIGGER_SLACK_WEBHOOK: preserve(),
  OUTRIGGER__SERVICE__REPLICAS: String(replicas),
  OUTRIGGER__SERVICE__WATCHER: "true",
  // "enforce" once you trust what is recommended, at both at once.
  OUTRIGGER__ROLLBACK__MODE: "recommend",
};

export default defineRailway(() => {
  const app = service("app", {
    source: github("YOU/app", { branch: "main" }),
    // Leave this out where the image's ENTRYPOINT says it. For what Railpack builds, with the binary in the repository:
    // "exec ./bin/outrigger run -- node server.js".
    start: "outrigger run -- node server.js",
    healthcheck: "/api/health",
    healthcheckTimeout: 300,
    replicas,
    deploy: {
      overlapSeconds: 30,
      drainingSeconds: 30,
      restartPolicyType: "ON_FAILURE",
      restartPolicyMaxRetries: 10,
      sleepApplication: false,
    },
    env: {
      ...common,
      // Each service has its own: what `openssl rand -hex 32` prints.
      OUTRIGGER_TOKEN: preserve(),
      PORT: "8080",
      RAILWAY_DEPLOYMENT_OVERLAP_SECONDS: "30",
      RAILWAY_DEPLOYMENT_DRAINING_SECONDS: "30",
      RAILWAY_HEALTHCHECK_TIMEOUT_SEC: "300",
    },
  });
  const watcher = service("watcher", {
    source: image("ghcr.io/YOU/outrigger-watcher:1"),
    replicas: 1,
    env: {
      ...common,
      // Another one than the app's; this is the one that CI asks the gate with.
      OUTRIGGER_TOKEN: preserve(),
      // A project token, for this environment. Nobody but the watcher has it.
      RAILWAY_TOKEN: preserve(),
      RAILWAY_DEPLOYMENT_DRAINING_SECONDS: "10",
      OUTRIGGER__PEERS__NAME: app.env.RAILWAY_PRIVATE_DOMAIN,
      OUTRIGGER__PLATFORM__KIND: "railway",
      OUTRIGGER__PLATFORM__SERVICE: app.env.RAILWAY_SERVICE_ID,
    },
  });
  return project("shop", { resources: [app, watcher] });
});
