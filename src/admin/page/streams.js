// The evidence, stream by stream and group by group: where each figure stands between the baseline and the edge of its guard
// band, and how much of the evidence that "degraded" takes there is.

import { el, svg } from "/charts.js";
import * as words from "/words.js";

const GROUPS = [
  { key: "all", name: "All requests", joint: true },
  { key: "statuses", name: "4xx statuses", note: "shares of answers on known routes" },
  { key: "resources", name: "Crashes, resources", note: "by ticks and by minutes" },
  { key: "routes", name: "Routes", note: "those that have come farthest" },
];
// Groups that the reader opened or closed. One that is in doubt opens by itself until then.
const chosen = new Map();
const DOUBT = 0.5;

export function bar(node, share) {
  const value = Math.max(0, Math.min(1, Number.isFinite(share) ? share : 0));
  node.firstElementChild.style.setProperty("width", `${value * 100}%`);
  node.setAttribute("aria-valuenow", Math.round(value * 100));
}

export function drawStreams(root, s) {
  if (!s.evidence.length) {
    root.replaceChildren(el("p", { class: "empty" }, "No evidence is weighed: there is no baseline to weigh it against. The figures below are this release's own."));
    return;
  }
  const focused = root.contains(document.activeElement) ? document.activeElement.dataset.group : null;
  root.replaceChildren(...GROUPS.map((group) => groupNode(group, s)).filter(Boolean));
  if (focused) root.querySelector(`summary[data-group="${focused}"]`)?.focus();
}

function groupNode(group, s) {
  const list = s.evidence.filter((e) => (e.group ?? "all") === group.key);
  if (!list.length) return null;
  const rows = list.map((e) => streamRow(e));
  if (group.joint) {
    rows.push(row("All latency", el("span", { class: "says" }, "the four together: this is what decides"), s.latency_progress, "joint"));
    return el("div", { class: "group" }, ...rows);
  }
  const farthest = list.reduce((best, e) => (e.progress > best.progress ? e : best));
  const summary = el("summary", { "data-group": group.key }, el("b", {}, group.name), el("span", { class: "dim small" }, farthest.progress >= 0.01 ? `foremost: ${name(farthest)}` : group.note),
    meter(group.name, farthest.progress), el("output", {}, part(farthest.progress)));
  const node = el("details", { class: "group", "data-heat": heat(farthest.progress) }, summary, ...rows);
  node.open = chosen.get(group.key) ?? farthest.progress >= DOUBT;
  summary.addEventListener("click", () => chosen.set(group.key, !node.open));
  return node;
}

const name = (e) => (e.route ? `${words.stream(e.stream)} · ${e.route}` : words.stream(e.stream));
const part = (progress) => `${Math.floor(Math.min(1, progress) * 100)} %`;
const heat = (progress) => (progress >= 1 ? "full" : progress >= DOUBT ? "mid" : "low");

function streamRow(e) {
  const over = e.recent_value > e.limit, shown = (value) => words.figure(e.stream, value);
  // Of a route's latency only the share of requests beyond the limit is known.
  const known = Number.isFinite(e.recent_value), now = known || !Number.isFinite(e.recent_share) ? shown(e.recent_value) : `${words.percent(e.recent_share)} slow`;
  const says = el("span", { class: "says" }, el("em", { class: over || (!known && e.recent_share > e.p0) ? "over" : null }, now), ` now · limit ${shown(e.limit)} · baseline ${shown(e.baseline)}`);
  const levels = e.progress_ticks === null ? `evidence ${part(e.progress_requests)}` : `evidence by request ${part(e.progress_requests)}, by tick ${part(e.progress_ticks)}`;
  const title = `${e.guard} ${words.count(e.bad)} bad of ${words.count(e.requests)} weighed; ${levels} of what is needed.`;
  const label = e.route ? [words.stream(e.stream), el("code", { title: e.route }, e.route)] : [words.stream(e.stream)];
  return row(name(e), el("div", { title }, bullet(e), says), e.progress, null, title, label);
}

function meter(label, progress, title) {
  const node = el("div", { class: "bar", role: "meter", "aria-label": `Evidence, ${label}`, "aria-valuemin": 0, "aria-valuemax": 100, title }, el("i"));
  bar(node, progress);
  return node;
}

function row(label, middle, progress, kind, title, shown = [label]) {
  return el("div", { class: `stream ${kind ?? ""}`, "data-heat": heat(progress) }, el("b", {}, ...shown), middle, meter(label, progress, title), el("output", {}, part(progress)));
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
