// One record of the timeline, with all that it rested on. What came from elsewhere goes in as text.

import { el } from "/charts.js";
import * as words from "/words.js";

export function recordItem(r) {
  const said = words.recordWords(r), at = new Date(r.at_ms ?? r.at);
  const summary = el("summary", {}, el("time", { datetime: r.at ?? "", title: String(r.at ?? "") }, words.when(at)), el("code", { class: "of" }, String(r.release ?? "")), el("b", {}, said.title), el("span", {}, said.more));
  return el("li", { class: `t-${said.tone}`, "data-id": String(r.id) }, el("details", {}, summary, recordMore(r)));
}

function recordMore(r) {
  const more = el("div", { class: "more small" });
  if (Array.isArray(r.reasons) && r.reasons.length) more.append(el("p", {}, "Because:"), el("ul", {}, ...r.reasons.map((reason) => el("li", {}, words.reasonWords(reason)))));
  if (r.kind === "decided" && r.verdict) more.append(el("p", {}, `Verdict: ${words.verdictWords(r.verdict)}${r.verdict.since ? `, since ${words.when(r.verdict.since)}` : ""}.`));
  const whose = r.kind === "diagnosed" ? r.whose : r.diagnosis;
  if (whose) more.append(el("p", {}, `Whose fault: ${words.diagnosisWords(whose)}.`));
  if (r.certificate) more.append(el("p", {}, words.agreedWords(r.certificate)));
  if (Array.isArray(r.steps) && r.steps.length) more.append(el("p", {}, "Steps:"), el("ol", {}, ...r.steps.map(stepItem)));
  for (const [key, title] of [["faults", "In the way:"], ["warnings", "Beware:"]]) {
    if (Array.isArray(r[key]) && r[key].length) more.append(el("p", {}, title), el("ul", {}, ...r[key].map((said) => el("li", {}, String(said)))));
  }
  if (r.until) more.append(el("p", {}, `Until ${words.when(r.until)}.`));
  if (Array.isArray(r.evidence) && r.evidence.length) more.append(el("div", { class: "scroll" }, evidenceTable(r.evidence)));
  if (r.baseline?.release) more.append(el("p", {}, `Weighed against ${r.baseline.release}: ${words.count(r.baseline.requests)} requests, ${words.percent(r.baseline.error_rate)} failed.`));
  more.append(el("p", { class: "dim" }, "Release ", el("code", {}, String(r.release ?? "unknown")), " · record ", el("a", { href: `#${encodeURIComponent(r.id ?? "")}` }, el("code", {}, String(r.id ?? "unknown")))));
  return more;
}

function stepItem(step) {
  const said = words.stepWords(step);
  return el("li", { class: `t-${said.tone}` }, el("time", { datetime: step?.at ?? "" }, words.when(step?.at)), ` ${said.text}`);
}

const name = (e) => `${words.stream(words.kind(e))}${e.route ? ` of ${e.route}` : ""}`;

// A level that needs nothing (its limit is no number) is no level.
function progress(e) {
  const level = (key) => (Number.isFinite(e[`${key}_limit`]) ? Math.max(0, Math.min(1, (Number.isFinite(e[key]) ? e[key] : 0) / e[`${key}_limit`])) : 1);
  return Math.min(level("ln_requests"), level("ln_ticks"));
}

function evidenceTable(list) {
  const head = ["Stream", "Last minute", "Limit", "Baseline", "Bad", "Weighed", "Evidence"];
  const shown = (e, value) => words.figure(words.kind(e), value);
  return el("table", {}, el("thead", {}, el("tr", {}, ...head.map((title) => el("th", { scope: "col" }, title)))),
    el("tbody", {}, ...list.map((e) => el("tr", {}, el("th", { scope: "row" }, name(e)),
      el("td", { class: e.recent_value > e.limit ? "over" : null }, shown(e, e.recent_value)), el("td", {}, shown(e, e.limit)), el("td", {}, shown(e, e.baseline)),
      el("td", {}, words.count(e.bad)), el("td", {}, words.count(e.requests)), el("td", {}, words.percent(progress(e)))))));
}
