// The table of releases: what each has shown, and small trends from the oldest to the newest. Asked for anew every quarter of a
// minute while the page is seen, and at once when another release runs.

import { el, svg } from "/charts.js";
import * as words from "/words.js";

const EVERY_MS = 15000, SHOWN = 8, WIDTH = 84, HEIGHT = 24, PAD = 3;
const figures = (key) => (r) => r.figures?.requests ? r.figures[key] ?? NaN : NaN;
const COLUMNS = [
  { name: "Score", of: (r) => r.score ?? NaN, show: (v) => v.toFixed(2), most: 1 },
  { name: "Errors", of: figures("error_rate"), show: words.percent },
  { name: "p50", of: figures("p50_us"), show: words.latency },
  { name: "p95", of: figures("p95_us"), show: words.latency },
  { name: "p99", of: figures("p99_us"), show: words.latency },
  { name: "CPU", of: figures("cpu_millicores"), show: words.cores },
  { name: "Memory", of: figures("memory_bytes"), show: words.bytes },
];

export class Releases {
  constructor(root, fetcher) {
    Object.assign(this, { root, fetcher, all: false, list: [], askedAt: 0, release: null });
    this.note = el("p", { class: "dim small" });
    this.table = el("table", { class: "routes releases" });
    this.more = el("button", { type: "button", hidden: "" });
    this.more.addEventListener("click", () => { this.all = !this.all; this.draw(); });
    root.append(el("div", { class: "head" }, el("h2", { id: "h-releases" }, "Releases"), this.note),
      el("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": "Releases" }, this.table), this.more);
    this.draw();
  }

  async refresh(release) {
    if (document.hidden || (this.release === release && Date.now() - this.askedAt < EVERY_MS)) return;
    Object.assign(this, { askedAt: Date.now(), release });
    try {
      const response = await this.fetcher("/api/releases");
      if (!response.ok) throw new Error(`the agent answered ${response.status}`);
      this.list = (await response.json()).releases ?? [];
      this.note.textContent = "newest first; trends run from the oldest to the newest";
    } catch (error) { this.note.textContent = `Not loaded: ${error.message}`; }
    this.draw();
  }

  draw() {
    const head = el("tr", {}, el("th", { scope: "col" }, "Release"), ...COLUMNS.map((c) => el("th", { scope: "col" }, c.name)));
    const trends = el("tr", { class: "trends" }, el("th", { scope: "row" }, "Trend"), ...COLUMNS.map((c) => el("td", {}, this.trend(c))));
    const shown = this.all ? this.list : this.list.slice(0, SHOWN);
    const rows = shown.map((r) => this.row(r));
    if (!rows.length) rows.push(el("tr", {}, el("td", { colspan: COLUMNS.length + 1, class: "empty" }, "Not loaded yet.")));
    this.table.replaceChildren(el("thead", {}, head), el("tbody", {}, ...(this.list.length > 1 ? [trends] : []), ...rows));
    this.more.hidden = this.list.length <= SHOWN;
    this.more.textContent = this.all ? "Fewer" : `All ${this.list.length}`;
  }

  row(r) {
    const standing = words.STANDINGS[r.standing] ?? words.plain(r.standing), tone = { known_good: "good", rolled_back: "bad", on_trial: "wait" }[r.standing];
    const seen = r.first_ready ? `ready ${words.when(r.first_ready)}` : "not ready yet";
    const title = [r.release, seen, `last seen ${words.when(r.last_seen)}`, r.crashes ? `${r.crashes} crashes` : "", r.put_back_by ? `put back by ${r.put_back_by}` : "",
      ...(r.figures?.dependencies ?? []).filter((d) => d.p50_us !== null).map((d) => `${d.name} ${words.latency(d.p50_us)}`)].filter(Boolean).join(", ");
    return el("tr", { class: r.running ? "running" : null }, el("th", { scope: "row", title }, el("code", {}, r.release), " ", el("span", { class: `pill t-${tone}` }, standing), el("small", { class: "dim" }, r.running ? "running" : seen)),
      ...COLUMNS.map((c) => el("td", {}, Number.isFinite(c.of(r)) ? c.show(c.of(r)) : "–")));
  }

  // Oldest to newest, from zero up, so that a small change looks small; the last point is the running release.
  trend(column) {
    const values = [...this.list].reverse().map(column.of), known = values.filter(Number.isFinite);
    if (known.length < 2) return el("span", { class: "dim" }, "–");
    const top = Math.max(column.most ?? 0, ...known) * 1.05 || 1, step = (WIDTH - 2 * PAD) / (values.length - 1);
    const points = values.map((v, i) => [PAD + i * step, HEIGHT - PAD - (v / top) * (HEIGHT - 2 * PAD), v]).filter(([, , v]) => Number.isFinite(v));
    const said = `${column.name} over ${known.length} releases: from ${column.show(known[0])} to ${column.show(known.at(-1))}`;
    const node = svg("svg", { class: "spark", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, width: WIDTH, height: HEIGHT, role: "img", "aria-label": said }, svg("title", {}, said),
      svg("path", { d: points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)},${y.toFixed(1)}`).join("") }));
    const [x, y] = points.at(-1);
    node.append(svg("circle", { cx: x, cy: y, r: 2.6 }));
    return node;
  }
}
