// The table of routes: the last minutes, sorted by what the reader asks for. It is asked for anew every few seconds while
// the page is seen; labels go in as text.

import { el } from "/charts.js";
import * as words from "/words.js";

const EVERY_MS = 5000, SHOWN = 12, LIMIT = 100;
const COLUMNS = [
  { key: "route", name: "Route", of: (r) => `${r.route} ${r.method}`, text: true },
  { key: "requests", name: "Requests", of: (r) => r.requests, show: (r) => words.count(r.requests) },
  { key: "errors", name: "Errors", of: (r) => r.error_rate ?? -1, show: (r) => words.percent(r.error_rate ?? NaN), over: (r) => r.error_rate >= 0.01, title: (r) => `${words.count(r.failed)} of ${words.count(r.judged)} judged` },
  { key: "refused", name: "4xx", of: (r) => refused(r), show: (r) => (refused(r) ? words.count(refused(r)) : "–"), title: (r) => Object.entries(r.client_errors).map(([status, n]) => `${status}: ${words.count(n)}`).join(", ") },
  { key: "p50", name: "p50", of: (r) => r.p50_us ?? -1, show: (r) => words.latency(r.p50_us ?? NaN) },
  { key: "p95", name: "p95", of: (r) => r.p95_us ?? -1, show: (r) => words.latency(r.p95_us ?? NaN) },
  { key: "p99", name: "p99", of: (r) => r.p99_us ?? -1, show: (r) => words.latency(r.p99_us ?? NaN) },
];
const SPECIAL = { _other: "what has no route of its own: unknown paths, and new ones not learnt yet; never judged", _assets: "files, by their suffix", _preflight: "questions of browsers before they ask" };
const refused = (r) => Object.values(r.client_errors).reduce((sum, n) => sum + n, 0);

export class Routes {
  constructor(root, fetcher) {
    Object.assign(this, { root, fetcher, sort: "requests", up: false, all: false, data: null, askedAt: 0 });
    this.note = el("p", { class: "dim small" });
    this.heads = new Map(COLUMNS.map((c) => {
      const button = el("button", { type: "button", class: "sort" }, c.name);
      button.addEventListener("click", () => this.order(c));
      return [c.key, el("th", { scope: "col" }, button)];
    }));
    this.body = el("tbody");
    this.more = el("button", { type: "button", hidden: "" });
    this.more.addEventListener("click", () => { this.all = !this.all; this.draw(); });
    const table = el("table", { class: "routes" }, el("thead", {}, el("tr", {}, ...this.heads.values())), this.body);
    root.append(el("div", { class: "head" }, el("h2", { id: "h-routes" }, "Routes, the last 5 minutes"), this.note), el("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": "Routes" }, table), this.more);
    this.draw();
  }

  order(column) {
    this.up = this.sort === column.key ? !this.up : Boolean(column.text);
    this.sort = column.key;
    this.draw();
  }

  async refresh() {
    if (document.hidden || Date.now() - this.askedAt < EVERY_MS) return;
    this.askedAt = Date.now();
    try {
      const response = await this.fetcher(`/api/routes?limit=${LIMIT}`);
      if (!response.ok) throw new Error(`the agent answered ${response.status}`);
      this.data = await response.json();
      this.trouble = "";
    } catch (error) { this.trouble = `Not loaded: ${error.message}`; }
    this.draw();
  }

  draw() {
    const column = COLUMNS.find((c) => c.key === this.sort);
    for (const [key, head] of this.heads) {
      if (key === this.sort) head.setAttribute("aria-sort", this.up ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
    }
    const compare = (a, b) => (column.text ? column.of(a).localeCompare(column.of(b)) : column.of(a) - column.of(b)) || b.requests - a.requests;
    const list = [...(this.data?.routes ?? [])].sort((a, b) => (this.up ? compare(a, b) : compare(b, a)));
    const most = Math.max(1, ...list.map((r) => r.requests));
    const shown = this.all ? list : list.slice(0, SHOWN);
    this.body.replaceChildren(...shown.map((r) => this.row(r, most)));
    if (!list.length) this.body.append(el("tr", {}, el("td", { colspan: COLUMNS.length, class: "empty" }, this.data ? "No request ended in the last minutes." : "Not loaded yet.")));
    this.more.hidden = list.length <= SHOWN;
    this.more.textContent = this.all ? "Fewer" : `All ${list.length}`;
    const left = (this.data?.count ?? 0) - list.length;
    this.note.textContent = this.trouble || (left > 0 ? `the ${list.length} that were asked for most, of ${this.data.count}` : "");
  }

  row(r, most) {
    const share = el("i", { class: "share", "aria-hidden": "true" });
    share.style.setProperty("width", `${(r.requests / most) * 100}%`);
    const name = el("th", { scope: "row", title: SPECIAL[r.route] ?? r.route }, el("span", { class: "method" }, r.method), el("code", { class: SPECIAL[r.route] ? "dim" : null }, r.route), share);
    return el("tr", {}, name, ...COLUMNS.slice(1).map((c) => el("td", { class: c.over?.(r) ? "over" : null, title: c.title?.(r) || null }, c.show(r))));
  }
}
