// The dashboard: keeps the last snapshot and 15 minutes of points, and shows them. All text goes in as text, never as
// markup: releases, reasons and errors are other people's words.

import { Chart, clock, el } from "/charts.js";
import { Dependencies } from "/dependencies.js";
import { drawHost } from "/host.js";
import { alarms, parachute } from "/parachute.js";
import { Peers } from "/peers.js";
import { recordItem } from "/records.js";
import { Releases } from "/releases.js";
import { Routes } from "/routes.js";
import { bar, drawStreams } from "/streams.js";
import * as words from "/words.js";

const $ = (id) => document.getElementById(id);
const POINTS_MAX = 900, STALE_MS = 4000, RECORDS = 30;
const state = { snapshot: null, points: [], records: [], older: false, seenAt: 0, recordsKey: "", recordsAt: 0, link: "connecting" };

// ---- Talking to the agent ------------------------------------------------------------------------------------------

async function call(path, options = {}) {
  for (;;) {
    const token = sessionStorage.getItem("token");
    const headers = { ...options.headers, ...(token && { authorization: `Bearer ${token}` }) };
    const response = await fetch(path, { ...options, headers });
    if (response.status !== 401) return response;
    sessionStorage.removeItem("token");
    await askToken((await response.json().catch(() => ({}))).error);
  }
}

let asking = null;
function askToken(why) {
  asking ??= new Promise((resolve, reject) => {
    $("token-why").textContent = why ?? "The agent asks for its token.";
    $("token").value = "";
    const dialog = $("ask-token");
    dialog.returnValue = "";
    dialog.addEventListener("close", () => {
      asking = null;
      if (dialog.returnValue === "ok" && $("token").value) {
        sessionStorage.setItem("token", $("token").value);
        resolve();
      } else reject(new Error("no token was given"));
    }, { once: true });
    dialog.showModal();
  });
  return asking;
}

const problem = async (response) => (await response.json().catch(() => ({}))).error ?? `the agent answered ${response.status}`;

// EventSource cannot send a token, so the stream is read by hand.
async function follow() {
  const last = state.points.at(-1)?.t;
  const response = await call(`/api/stream${last ? `?after=${last}` : ""}`);
  if (!response.ok) throw new Error(await problem(response));
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let text = ""; ;) {
    const { done, value } = await reader.read();
    if (done) throw new Error("the stream ended");
    text += value;
    const events = text.split("\n\n");
    text = events.pop();
    for (const event of events) take(event);
    show();
  }
}

function take(event) {
  let name = "", data = "";
  for (const line of event.split("\n")) {
    if (line.startsWith("event: ")) name = line.slice(7);
    if (line.startsWith("data: ")) data += line.slice(6);
  }
  if (name === "snapshot") state.snapshot = JSON.parse(data);
  if (name === "point") state.points.push(JSON.parse(data));
  if (name) state.seenAt = Date.now();
  state.points.splice(0, Math.max(0, state.points.length - POINTS_MAX));
}

async function run() {
  for (let wait = 500; ; wait = Math.min(wait * 2, 8000)) {
    const began = Date.now();
    try { await follow(); } catch (error) { state.trouble = error.message; }
    if (Date.now() - began > 5000) wait = 500;
    linkState();
    await new Promise((resolve) => setTimeout(resolve, wait));
  }
}

async function loadRecords(before) {
  const response = await call(`/api/records?limit=${RECORDS}${before ? `&before=${encodeURIComponent(before)}` : ""}`);
  if (!response.ok) throw new Error(await problem(response));
  const list = (await response.json()).records ?? [];
  const known = new Map([...state.records, ...list].map((r) => [r.id, r]));
  state.records = [...known.values()].sort((a, b) => (b.at_ms ?? 0) - (a.at_ms ?? 0) || (b.id > a.id ? 1 : -1)).slice(0, 600);
  if (before || state.records.length <= RECORDS) state.older = list.length === RECORDS;
}

async function refreshRecords(before) {
  try {
    await loadRecords(before);
    $("timeline-note").textContent = "";
    timeline();
  } catch (error) { $("timeline-note").textContent = `Not loaded: ${error.message}`; }
}

async function act(path, body) {
  const response = await call(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
  if (!response.ok) throw new Error(await problem(response));
}

// ---- Showing -------------------------------------------------------------------------------------------------------

function text(id, value) { if ($(id).textContent !== value) $(id).textContent = value; }

function linkState() {
  const late = Date.now() - state.seenAt > STALE_MS;
  const next = !state.seenAt ? "connecting" : late ? "stale" : "live";
  $("link").dataset.state = document.body.dataset.link = next;
  text("link-text", next === "stale" ? `stale since ${clock(state.seenAt)}` : next === "connecting" && state.trouble ? state.trouble : next);
  document.title = `${next === "stale" ? "(stale) " : ""}${state.snapshot ? `${words.VERDICTS[state.snapshot.verdict.label]?.title ?? ""} · ${state.snapshot.service.name}` : "Outrigger"}`;
}

function facts(id, rows) {
  const nodes = rows.filter(Boolean).flatMap(([name, value, tone]) => [el("dt", {}, name), el("dd", { class: tone }, value)]);
  $(id).replaceChildren(...nodes);
}

function show() {
  const s = state.snapshot;
  linkState();
  if (!s) return;
  const now = Date.parse(s.at);
  header(s);
  hero(s, now);
  banners(s);
  text("against", s.baseline ? `against ${s.baseline.release}, ${words.count(s.baseline.requests)} requests` : "");
  $("evidence-note").hidden = !s.evidence.length;
  drawStreams($("evidence"), s);
  side(s, now);
  drawHost($("host"), $("host-facts"), s.host);
  charts(s);
  dependencies.show(s);
  peers.refresh();
  routes.refresh();
  releases.refresh(s.release);
  const key = [s.release, s.verdict.label, s.verdict.breach, s.diagnosis?.label, s.last_decision?.id, s.last_decision?.progress, s.pause?.since, s.lock?.since, s.readiness?.ready, s.app.phase, ...(s.probes ?? []).map((p) => p.status)].join("|");
  if (key !== state.recordsKey || Date.now() - state.recordsAt > 15000) {
    Object.assign(state, { recordsKey: key, recordsAt: Date.now() });
    refreshRecords();
  }
}

function header(s) {
  text("service", s.service.name);
  text("where", `${s.service.environment} · replica ${s.service.replica}`);
  text("release", s.release);
  text("standing", words.STANDINGS[s.standing] ?? words.plain(s.standing));
  text("mode", s.mode);
  $("mode").title = words.MODES[s.mode] ?? "";
  text("foot", `Outrigger ${s.service.outrigger} · agent up ${words.span(s.uptime_seconds)} · platform ${s.platform} · times are this browser's`);
}

function hero(s, now) {
  const verdict = words.VERDICTS[s.verdict.label] ?? { title: words.plain(s.verdict.label), mark: "" };
  $("hero").dataset.verdict = s.verdict.label;
  $("mark").setAttribute("d", verdict.mark);
  text("verdict", verdict.title);
  text("since", s.verdict.since ? `since ${words.when(s.verdict.since)}` : "");
  text("why", s.verdict.why);
  text("next", s.verdict.next);
  whose(s);
  text("changes", s.verdict.changes ?? "");
  text("outlook", s.outlook?.says ?? "");
  $("more-why").hidden = !s.verdict.changes && !s.outlook;
  $("score-box").hidden = !Number.isFinite(s.score);
  text("score", Number.isFinite(s.score) ? s.score.toFixed(2) : "");
  const w = s.watch;
  $("watch").hidden = !w;
  if (!w) return;
  bar($("watch-time"), w.judged_seconds / w.watch_seconds);
  text("watch-time-text", `${words.span(w.judged_seconds)} of ${words.span(w.watch_seconds)} judged`);
  bar($("watch-requests"), w.judged_requests / w.known_good_requests);
  text("watch-requests-text", `${words.count(w.judged_requests)} requests judged, ${words.count(w.known_good_requests)} needed`);
  const left = (Date.parse(w.ends_at) - now) / 1000;
  text("watch-end", w.passed ? "Passed: this release is known good." : left > 0 ? `Ends in ${words.span(left)}, if traffic allows.` : "Over time; it waits for enough requests.");
}

function whose(s) {
  const d = s.diagnosis;
  $("whose").hidden = !d;
  if (!d) return;
  text("diagnosis", `Diagnosis: ${words.plain(d.label)}`);
  text("diagnosis-why", d.why);
  $("whose").dataset.blames = d.blames_release ? "release" : "other";
}

function banners(s) {
  const list = [];
  if (s.pause) list.push(["wait", "Paused", `${s.pause.by} paused acting ${s.pause.until ? `until ${words.when(s.pause.until)}` : "until somebody resumes"}: ${s.pause.reason}`]);
  list.push(...alarms(s));
  if (s.app.phase === "gone") list.push(["bad", "App gone", s.app.detail ?? "the app does not run"]);
  if (s.store.failed || s.store.dropped) list.push(["bad", "Store", s.store.last_error ?? `${words.count(s.store.dropped)} writes were dropped`]);
  if (s.worse_dependencies?.length) list.push(["wait", "Dependency", `Worse than it used to be, by evidence of its own: ${s.worse_dependencies.join(", ")}`]);
  for (const warning of s.warnings) list.push(["wait", "Beware", warning]);
  const key = JSON.stringify(list);
  if (key === state.bannersKey) return;
  state.bannersKey = key;
  $("banners").replaceChildren(...list.map(([tone, title, more]) => el("div", { class: `banner t-${tone}` }, el("b", {}, title), el("span", {}, more))));
}

function side(s, now) {
  const cooling = s.cooldown_until && Date.parse(s.cooldown_until) > now ? (Date.parse(s.cooldown_until) - now) / 1000 : 0;
  facts("acting", [
    ["Mode", s.mode],
    ["State", s.pause ? "paused" : cooling ? "cooling down" : { enforce: "armed", recommend: "recommends only", observe: "observes only" }[s.mode] ?? s.mode, s.pause || cooling ? "wait" : s.mode === "enforce" ? "good" : null],
    s.pause && ["Paused by", s.pause.by],
    s.pause && ["Until", s.pause.until ? words.when(s.pause.until) : "resumed"],
    cooling > 0 && ["Cooldown left", words.span(cooling)],
    s.last_decision && ["Last decision", `${words.plain(s.last_decision.decision)}, ${words.plain(s.last_decision.progress)}`, ["failed", "interrupted"].includes(s.last_decision.progress) ? "bad" : null],
  ]);
  facts("parachute", parachute(s, state.records));
  text("brake", s.pause ? "Resume acting…" : "Pause acting…");
  facts("app", [
    ["State", s.app.phase, { ready: "good", gone: "bad", starting: "wait", draining: "wait" }[s.app.phase]],
    ["Since", words.when(s.app.since)],
    [s.app.supervised ? "Process" : "Supervised", s.app.supervised ? s.app.pid ?? "none" : "no"],
    ["Upstream", s.app.upstream],
    ["Restarts", words.count(s.app.restarts), s.app.restarts ? "wait" : null],
    s.app.detail && ["Detail", s.app.detail],
  ]);
  const others = s.totals.requests - s.totals.judged;
  facts("traffic", [
    ["Requests", words.count(s.totals.requests)],
    ["Failed by the app", words.count(s.totals.failed), s.totals.failed ? "wait" : null],
    others > 0 && ["Not the app's doing", words.count(others)],
    ["Open now", words.count(s.in_flight)],
    ...Object.entries(s.totals.by_status).map(([name, n]) => [name === "none" ? "no status" : name, words.count(n)]),
  ]);
  facts("store", [
    ["Kept", s.store.durable ? "on disk" : "in memory only", s.store.durable ? "good" : "wait"],
    s.store.path && ["File", s.store.path],
    ["Size", words.bytes(s.store.size_bytes)],
    ["Writes", words.count(s.store.written)],
    ["Dropped", words.count(s.store.dropped), s.store.dropped ? "bad" : null],
    ["Failed", words.count(s.store.failed), s.store.failed ? "bad" : null],
    s.store.last_error && ["Last error", s.store.last_error, "bad"],
  ]);
  compare(s);
  facts("policy", Object.entries(s.policy).map(([name, v]) => [words.plain(name.replace(/_seconds$/, "")), name.endsWith("_seconds") ? words.span(v) : typeof v === "boolean" ? (v ? "yes" : "no") : String(v)]));
}

function compare(s) {
  const rows = [["Requests", "requests", words.count], ["Error rate", "error_rate", words.percent], ["Mean", "mean_us", words.latency], ["p50", "p50_us", words.latency], ["p90", "p90_us", words.latency], ["p95", "p95_us", words.latency], ["p99", "p99_us", words.latency],
    ["CPU", "cpu_millicores", words.cores], ["Memory", "memory_bytes", words.bytes], ["Descriptors", "descriptors", words.count]];
  const names = [...new Set([s.own, s.baseline].flatMap((of) => (of?.dependencies ?? []).map((d) => d.name)))].sort();
  for (const name of names) rows.push([`${name} p50`, (of) => of.dependencies?.find((d) => d.name === name)?.p50_us, words.latency]);
  const read = (of, key) => (typeof key === "function" ? key(of) : of[key]) ?? null;
  const cell = (of, [, key, format]) => el("td", {}, of && read(of, key) !== null ? format(read(of, key)) : "–");
  $("compare").replaceChildren(
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }), el("th", { scope: "col" }, "this release"), el("th", { scope: "col" }, "baseline"))),
    el("tbody", {}, ...rows.map((r) => el("tr", {}, el("th", { scope: "row" }, r[0]), cell(s.own, r), cell(s.baseline, r)))));
}

// ---- Charts --------------------------------------------------------------------------------------------------------

const sum = (list, key) => list.reduce((total, p) => total + p[key], 0);
const ribbon = (point) => point.verdict;
const drawn = {
  rate: new Chart($("chart-rate"), { title: "Request rate", format: (v) => `${v >= 10 || Number.isInteger(v) ? words.count(v) : v.toFixed(1)}/s`, least: 1, ribbon,
    lines: [{ name: "requests", color: 0, area: true, of: (list) => sum(list, "requests") / (sum(list, "seconds") || 1) }] }),
  errors: new Chart($("chart-errors"), { title: "Error rate", format: words.percent, least: 0.002, ribbon,
    lines: [{ name: "failed", color: 3, area: true, of: (list) => { const judged = sum(list, "judged"); return judged ? sum(list, "failed") / judged : NaN; } }] }),
  latency: new Chart($("chart-latency"), { title: "Latency", scale: "log", format: words.latency, ribbon,
    lines: ["p50", "p90", "p99"].map((name, i) => ({ name, color: i, value: (p) => p[`${name}_us`] ?? NaN })) }),
  evidence: new Chart($("chart-evidence"), { title: "Evidence towards its limit", format: (v) => `${Math.round(v * 100)} %`, least: 1, ribbon,
    lines: [["errors", 3], ["latency", 0], ["statuses", 1], ["resources", 4], ["routes", 2]].map(([name, color]) => ({ name, color, of: (list) => list.at(-1).progress[name] ?? NaN })) }),
  score: new Chart($("chart-score"), { title: "Health score", format: (v) => v.toFixed(2), least: 1, ribbon,
    lines: [{ name: "score", color: 4, area: true, of: (list) => list.at(-1).score ?? NaN }] }),
};

function charts(s) {
  const points = state.points, limits = Object.fromEntries(s.evidence.map((e) => [e.stream, e.limit])), b = s.baseline;
  const edges = points.filter((p, i) => i > 0 && p.release !== points[i - 1].release).map((p) => ({ t: p.t, name: "new release" }));
  const suspect = s.verdict.stream?.startsWith("latency_") ? s.verdict.stream : "latency_p99", q = Math.max(0, ["latency_p50", "latency_p90", "latency_p95", "latency_p99"].indexOf(suspect));
  drawn.rate.set(points, [], edges);
  drawn.errors.set(points, [{ name: "limit", value: limits.errors, color: 3, limit: true }, b && { name: "baseline", value: b.error_rate, color: 4, line: 0 }].filter(Boolean), edges);
  const base = b ? ["p50", "p90", "p99"].map((name, i) => ({ name: "baseline", value: b[`${name}_us`] ?? NaN, color: i, line: i })) : [];
  drawn.latency.set(points, [{ name: `limit ${suspect.slice(8)}`, value: limits[`latency_p${[50, 90, 95, 99][q]}`], color: 3, limit: true }, ...base], edges);
  drawn.score.set(points, [{ name: "edge of a guard band", value: 0.5, color: 3, limit: false }], edges);
  drawn.evidence.set(points, s.evidence.length ? [{ name: "degraded at", value: 1, color: 3, limit: true }] : [], edges);
}

const dependencies = new Dependencies($("dependencies"), call);
const peers = new Peers($("peers"), call);
const routes = new Routes($("routes"), call);
const releases = new Releases($("releases"), call);

// ---- Timeline ------------------------------------------------------------------------------------------------------

function timeline() {
  const old = new Map([...$("timeline").children].map((node) => [node.dataset.id, node]));
  const items = state.records.map((r) => {
    const known = old.get(String(r.id)), body = JSON.stringify(r);
    if (known?.record === body) return known;
    const node = recordItem(r);
    node.record = body;
    node.firstElementChild.open = known?.firstElementChild.open ?? false;
    return node;
  });
  if (items.length) $("timeline").replaceChildren(...items);
  else $("timeline").replaceChildren(el("li", { class: "t-idle empty" }, "Nothing has been recorded yet."));
  $("more").hidden = !state.older;
  const linked = items.find((node) => node.dataset.id === location.hash.slice(1));
  if (linked && state.linked !== location.hash) {
    state.linked = location.hash;
    linked.firstElementChild.open = true;
    linked.scrollIntoView({ block: "center" });
  }
}

// ---- What people do ------------------------------------------------------------------------------------------------

$("more").addEventListener("click", () => refreshRecords(state.records.at(-1)?.id));
$("theme").addEventListener("click", () => {
  const dark = document.documentElement.dataset.theme ? document.documentElement.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = dark ? "light" : "dark";
  localStorage.setItem("theme", document.documentElement.dataset.theme);
});
const theme = new URLSearchParams(location.search).get("theme") ?? localStorage.getItem("theme");
if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;

$("brake").addEventListener("click", () => {
  const resuming = Boolean(state.snapshot?.pause);
  text("h-pause", resuming ? "Resume acting" : "Pause acting");
  for (const id of ["pause-reason", "pause-for"]) $(id).parentElement.hidden = resuming;
  $("pause-reason").required = !resuming;
  $("pause-why").hidden = resuming;
  $("ask-pause").querySelector("button.main").textContent = resuming ? "Resume" : "Pause";
  $("pause-error").textContent = "";
  $("ask-pause").resuming = resuming;
  $("ask-pause").returnValue = "";
  $("ask-pause").showModal();
});
$("ask-pause").addEventListener("close", async () => {
  const dialog = $("ask-pause");
  if (dialog.returnValue !== "ok") return;
  const by = $("pause-by").value, reason = $("pause-reason").value, length = $("pause-for").value;
  try {
    if (dialog.resuming) await act("/api/resume", { by });
    else await act("/api/pause", { by, reason, ...(length && { for: length }) });
  } catch (error) {
    dialog.showModal();
    $("pause-error").textContent = error.message;
  }
});

setInterval(linkState, 1000);
run();
