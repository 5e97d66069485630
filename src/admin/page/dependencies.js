// The dependencies: what the last rounds of each probe found. The states come with each snapshot; the rounds of the last hour
// are asked for every few seconds while the page is seen. Names, targets and errors go in as text.

import { clock, el, svg } from "/charts.js";
import * as words from "/words.js";

const EVERY_MS = 10000, HOUR_MS = 3600000, BINS = 120, BIN_PX = 2, HEIGHT = 20;
// Worst first, which is also the order of the rows. Each has a mark of its own, so that none is told by its colour alone.
const STATES = {
  failed: { name: "failed", tone: "bad", mark: "M6 6l12 12M18 6L6 18" },
  degraded: { name: "degraded", tone: "wait", mark: "M12 4l9 16H3zM12 10v5M12 17.5v.1" },
  unknown: { name: "unknown", tone: "idle", mark: "M9 9a3 3 0 1 1 4 2.8c-.8.3-1 .9-1 1.7M12 17.5v.1" },
  ok: { name: "ok", tone: "good", mark: "M4 12.5l5 5L20 6.5" },
};
const ORDER = Object.keys(STATES);
// What a round came to: how high its mark stands. The worst round of a mark counts.
const ROUNDS = { well: [1, 4], unable: [2, 9], impaired: [3, 13], failed: [4, HEIGHT] };
const COLUMNS = ["Dependency", "State", "Now", "Usual", "Last hour"];

const ms = (value) => words.latency(Number.isFinite(value) ? value * 1000 : NaN);

export class Dependencies {
  constructor(root, fetcher) {
    Object.assign(this, { root, fetcher, list: [], history: new Map(), askedAt: 0, now: 0 });
    this.note = el("p", { class: "dim small" });
    this.body = el("tbody");
    const head = el("thead", {}, el("tr", {}, ...COLUMNS.map((name) => el("th", { scope: "col" }, name))));
    root.append(el("div", { class: "head" }, el("h2", { id: "h-dependencies" }, "Dependencies"), this.note),
      el("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": "Dependencies" }, el("table", { class: "routes probes" }, head, this.body)));
  }

  show(s) {
    this.list = [...(s.probes ?? [])].sort((a, b) => ORDER.indexOf(a.status) - ORDER.indexOf(b.status) || a.name.localeCompare(b.name));
    this.now = Date.parse(s.at);
    this.draw();
    this.refresh();
  }

  async refresh() {
    if (document.hidden || !this.list.length || Date.now() - this.askedAt < EVERY_MS) return;
    this.askedAt = Date.now();
    try {
      const response = await this.fetcher("/api/probes?history=1");
      if (!response.ok) throw new Error(`the agent answered ${response.status}`);
      this.history = new Map(((await response.json()).probes ?? []).map((p) => [p.name, p.history ?? []]));
      this.trouble = "";
    } catch (error) { this.trouble = `Not loaded: ${error.message}`; }
    this.draw();
  }

  draw() {
    const ill = this.list.filter((p) => p.status === "failed" || p.status === "degraded").length;
    const said = !this.list.length ? "" : ill ? `${ill} of ${this.list.length} not well` : this.list.length === 1 ? "asked by the agent itself" : `${this.list.length}, asked by the agent itself`;
    this.note.textContent = this.trouble || said;
    const rows = this.list.flatMap((p) => this.rows(p));
    if (!rows.length) rows.push(el("tr", {}, el("td", { colspan: COLUMNS.length, class: "empty" }, "No probe runs: no variable names a dependency, and none is configured.")));
    this.body.replaceChildren(...rows);
  }

  rows(p) {
    const state = STATES[p.status] ?? STATES.unknown, slow = p.latency_ms > 2 * p.usual_ms && p.latency_ms - p.usual_ms > 1;
    const title = [p.source && `by ${p.source}`, `asked every ${words.span(p.interval_ms / 1000)}`, p.at && `last ${words.when(p.at)}`].filter(Boolean).join(", ");
    const name = el("th", { scope: "row", title }, el("b", {}, p.name), p.critical ? el("span", { class: "pill t-idle", title: "the deep health page fails with it" }, "critical") : null,
      el("small", { class: "dim" }, p.name === p.kind ? "" : `${p.kind} · `, el("code", {}, p.target)));
    const mark = el("span", { class: `state t-${state.tone}` }, svg("svg", { viewBox: "0 0 24 24", "aria-hidden": "true" }, svg("path", { d: state.mark })), state.name);
    const row = el("tr", {}, name, el("td", {}, mark, el("small", { class: "dim" }, `since ${words.when(p.since)}`)),
      el("td", { class: slow ? "over" : null }, ms(p.latency_ms)), el("td", {}, ms(p.usual_ms)), el("td", {}, this.strip(p)));
    if (!p.error) return [row];
    const often = p.failed_in_a_row > 1 ? ` (${words.count(p.failed_in_a_row)} times in a row)` : "";
    row.classList.add("said");
    return [row, el("tr", { class: "words" }, el("td", { colspan: COLUMNS.length }, el("span", {}, p.error, often)))];
  }

  // One mark for half a minute: the worst round in it.
  strip(p) {
    const rounds = this.history.get(p.name);
    if (!rounds) return el("span", { class: "dim" }, "–");
    const bins = new Map(), counts = { well: 0, impaired: 0, failed: 0, unable: 0 };
    let first = null;
    for (const [t, found] of rounds) {
      const at = Math.floor((this.now - t) / (HOUR_MS / BINS));
      if (!(found in ROUNDS) || at < 0 || at >= BINS) continue;
      counts[found] += 1;
      if (ROUNDS[found][0] > 2) first ??= t;
      const known = bins.get(at);
      if (!known || ROUNDS[found][0] > ROUNDS[known][0]) bins.set(at, found);
    }
    const said = `Last hour: ${words.count(counts.well)} rounds well, ${words.count(counts.impaired)} impaired, ${words.count(counts.failed)} failed, ${words.count(counts.unable)} could not be asked${first ? `; the first not well at ${clock(first)}` : ""}`;
    const node = svg("svg", { class: "strip", viewBox: `0 0 ${BINS * BIN_PX} ${HEIGHT}`, width: BINS * BIN_PX, height: HEIGHT, role: "img", "aria-label": said }, svg("title", {}, said));
    node.append(svg("line", { class: "axis", x1: 0, x2: BINS * BIN_PX, y1: HEIGHT - 0.5, y2: HEIGHT - 0.5 }));
    for (const [at, found] of bins) {
      const high = ROUNDS[found][1];
      node.append(svg("rect", { class: found, x: (BINS - 1 - at) * BIN_PX, y: HEIGHT - high, width: BIN_PX - 0.4, height: high }));
    }
    return node;
  }
}
