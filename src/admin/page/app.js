// The dashboard: keeps the last snapshot and 15 minutes of points, and shows them. All text goes in as text, never as
// markup: releases, reasons and errors are other people's words.

import { Chart, clock, el, svg } from "/charts.js";
import { Routes } from "/routes.js";
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
  evidence(s);
  side(s, now);
  charts(s);
  routes.refresh();
  const key = [s.release, s.verdict.label, s.verdict.breach, s.last_decision?.id, s.last_decision?.progress, s.pause?.since, s.app.phase].join("|");
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

function bar(node, share) {
  const value = Math.max(0, Math.min(1, Number.isFinite(share) ? share : 0));
  node.firstElementChild.style.setProperty("width", `${value * 100}%`);
  node.setAttribute("aria-valuenow", Math.round(value * 100));
}

function banners(s) {
  const list = [];
  if (s.pause) list.push(["wait", "Paused", `${s.pause.by} paused acting ${s.pause.until ? `until ${words.when(s.pause.until)}` : "until somebody resumes"}: ${s.pause.reason}`]);
  if (s.app.phase === "gone") list.push(["bad", "App gone", s.app.detail ?? "the app does not run"]);
  if (s.store.failed || s.store.dropped) list.push(["bad", "Store", s.store.last_error ?? `${words.count(s.store.dropped)} writes were dropped`]);
  for (const warning of s.warnings) list.push(["wait", "Beware", warning]);
  const key = JSON.stringify(list);
  if (key === state.bannersKey) return;
  state.bannersKey = key;
  $("banners").replaceChildren(...list.map(([tone, title, more]) => el("div", { class: `banner t-${tone}` }, el("b", {}, title), el("span", {}, more))));
}

function evidence(s) {
  text("against", s.baseline ? `against ${s.baseline.release}, ${words.count(s.baseline.requests)} requests` : "");
  $("evidence-note").hidden = !s.evidence.length;
  if (!s.evidence.length) {
    $("evidence").replaceChildren(el("p", { class: "empty" }, "No evidence is weighed: there is no baseline to weigh it against. The figures below are this release's own."));
    return;
  }
  const rows = s.evidence.map((e) => streamRow(e));
  rows.push(row("All latency", el("span", { class: "says" }, "the three together: this is what decides"), s.latency_progress, "joint"));
  $("evidence").replaceChildren(...rows);
}

function streamRow(e) {
  const name = words.STREAMS[e.stream] ?? words.plain(e.stream), over = e.recent_value > e.limit;
  const says = el("span", { class: "says" }, el("em", { class: over ? "over" : null }, words.figure(e.stream, e.recent_value)),
    ` now · limit ${words.figure(e.stream, e.limit)} · baseline ${words.figure(e.stream, e.baseline)}`);
  const title = `${words.count(e.requests)} requests weighed, ${words.count(e.bad)} bad. Requests: ${e.ln_requests.toFixed(1)} of ${e.ln_requests_limit.toFixed(1)}; ticks: ${e.ln_ticks.toFixed(1)} of ${e.ln_ticks_limit.toFixed(1)} (natural logarithms).`;
  return row(name, el("div", { title }, bullet(e), says), e.progress, null, title);
}

function row(name, middle, progress, kind, title) {
  const heat = progress >= 1 ? "full" : progress >= 0.5 ? "mid" : "low";
  const meter = el("div", { class: "bar", role: "meter", "aria-label": `Evidence, ${name}`, "aria-valuemin": 0, "aria-valuemax": 100, title }, el("i"));
  bar(meter, progress);
  return el("div", { class: `stream ${kind ?? ""}`, "data-heat": heat }, el("b", {}, name), middle, meter, el("output", {}, `${Math.floor(Math.min(1, progress) * 100)} %`));
}

// Where a figure stands: up to the baseline, from there to the limit, and beyond it.
function bullet(e) {
  const top = Math.max(e.limit * 1.5, (e.recent_value ?? 0) * 1.08) || 1, x = (v) => `${Math.min(100, (v / top) * 100)}%`, w = (a, b) => `${(Math.max(0, b - a) / top) * 100}%`;
  const node = svg("svg", { class: "bullet", "aria-hidden": "true" },
    svg("rect", { class: "ok", x: 0, y: 4, height: 8, width: w(0, e.baseline) }),
    svg("rect", { class: "band", x: x(e.baseline), y: 4, height: 8, width: w(e.baseline, e.limit) }),
    svg("rect", { class: "beyond", x: x(e.limit), y: 4, height: 8, width: w(e.limit, top) }));
  if (Number.isFinite(e.recent_value)) node.append(svg("circle", { class: "now", cx: x(e.recent_value), cy: 8, r: 6 }));
  return node;
}

function side(s, now) {
  const cooling = s.cooldown_until && Date.parse(s.cooldown_until) > now ? (Date.parse(s.cooldown_until) - now) / 1000 : 0;
  facts("acting", [
    ["Mode", s.mode],
    ["State", s.pause ? "paused" : cooling ? "cooling down" : { enforce: "armed", recommend: "recommends only", observe: "observes only" }[s.mode] ?? s.mode, s.pause || cooling ? "wait" : s.mode === "enforce" ? "good" : null],
    s.pause && ["Paused by", s.pause.by],
    s.pause && ["Until", s.pause.until ? words.when(s.pause.until) : "resumed"],
    cooling > 0 && ["Cooldown left", words.span(cooling)],
    ["Would put back", s.target ?? "nothing"],
    s.last_decision && ["Last decision", `${words.plain(s.last_decision.decision)}, ${words.plain(s.last_decision.progress)}`, ["failed", "interrupted"].includes(s.last_decision.progress) ? "bad" : null],
  ]);
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
  const rows = [["Requests", "requests", words.count], ["Error rate", "error_rate", words.percent], ["Mean", "mean_us", words.latency], ["p50", "p50_us", words.latency], ["p90", "p90_us", words.latency], ["p95", "p95_us", words.latency], ["p99", "p99_us", words.latency]];
  const cell = (of, [, key, format]) => el("td", {}, of && of[key] !== null ? format(of[key]) : "–");
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
    lines: [{ name: "errors", color: 3, of: (list) => list.at(-1).progress.errors }, { name: "latency", color: 0, of: (list) => list.at(-1).progress.latency }] }),
};

function charts(s) {
  const points = state.points, limits = Object.fromEntries(s.evidence.map((e) => [e.stream, e.limit])), b = s.baseline;
  const edges = points.filter((p, i) => i > 0 && p.release !== points[i - 1].release).map((p) => ({ t: p.t, name: "new release" }));
  const suspect = s.verdict.stream ?? "latency_p99", q = Math.max(0, ["latency_p50", "latency_p90", "latency_p99"].indexOf(suspect));
  drawn.rate.set(points, [], edges);
  drawn.errors.set(points, [{ name: "limit", value: limits.errors, color: 3, limit: true }, b && { name: "baseline", value: b.error_rate, color: 4, line: 0 }].filter(Boolean), edges);
  const base = b ? ["p50", "p90", "p99"].map((name, i) => ({ name: "baseline", value: b[`${name}_us`] ?? NaN, color: i, line: i })) : [];
  drawn.latency.set(points, [{ name: `limit ${suspect.slice(8)}`, value: limits[`latency_p${[50, 90, 99][q]}`], color: 3, limit: true }, ...base], edges);
  drawn.evidence.set(points, s.evidence.length ? [{ name: "degraded at", value: 1, color: 3, limit: true }] : [], edges);
}

const routes = new Routes($("routes"), call);

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

function recordItem(r) {
  const said = words.recordWords(r), at = new Date(r.at_ms ?? r.at);
  const summary = el("summary", {}, el("time", { datetime: r.at ?? "", title: String(r.at ?? "") }, words.when(at)), el("code", { class: "of" }, String(r.release ?? "")), el("b", {}, said.title), el("span", {}, said.more));
  return el("li", { class: `t-${said.tone}`, "data-id": String(r.id) }, el("details", {}, summary, recordMore(r)));
}

function recordMore(r) {
  const more = el("div", { class: "more small" });
  if (Array.isArray(r.reasons) && r.reasons.length) more.append(el("p", {}, "Because:"), el("ul", {}, ...r.reasons.map((reason) => el("li", {}, words.reasonWords(reason)))));
  if (r.kind === "decided" && r.verdict) more.append(el("p", {}, `Verdict: ${words.verdictWords(r.verdict)}${r.verdict.since ? `, since ${words.when(r.verdict.since)}` : ""}.`));
  if (r.until) more.append(el("p", {}, `Until ${words.when(r.until)}.`));
  if (Array.isArray(r.evidence) && r.evidence.length) more.append(el("div", { class: "scroll" }, evidenceTable(r.evidence)));
  if (r.baseline?.release) more.append(el("p", {}, `Weighed against ${r.baseline.release}: ${words.count(r.baseline.requests)} requests, ${words.percent(r.baseline.error_rate)} failed.`));
  more.append(el("p", { class: "dim" }, "Release ", el("code", {}, String(r.release ?? "unknown")), " · record ", el("a", { href: `#${encodeURIComponent(r.id ?? "")}` }, el("code", {}, String(r.id ?? "unknown")))));
  return more;
}

function evidenceTable(list) {
  const share = (e) => Math.max(0, Math.min(1, e.ln_requests / e.ln_requests_limit, e.ln_ticks / e.ln_ticks_limit));
  const head = ["Stream", "Last minute", "Limit", "Baseline", "Bad", "Weighed", "Evidence"];
  return el("table", {}, el("thead", {}, el("tr", {}, ...head.map((name) => el("th", { scope: "col" }, name)))),
    el("tbody", {}, ...list.map((e) => el("tr", {}, el("th", { scope: "row" }, words.STREAMS[e.stream] ?? words.plain(e.stream)),
      el("td", { class: e.recent_value > e.limit ? "over" : null }, words.figure(e.stream, e.recent_value)), el("td", {}, words.figure(e.stream, e.limit)), el("td", {}, words.figure(e.stream, e.baseline)),
      el("td", {}, words.count(e.bad)), el("td", {}, words.count(e.requests)), el("td", {}, Number.isFinite(share(e)) ? words.percent(share(e)) : "–")))));
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
