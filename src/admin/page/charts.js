// Time charts as inline SVG. Knows points and lines, nothing of verdicts or APIs. Text goes in as text only.

const NS = "http://www.w3.org/2000/svg";
// The chart shows the shortest of these that holds all points; what is older than the last is not shown.
const SPANS_MIN = [2, 5, 15];
const HEIGHT = 168, LEFT = 46, RIGHT = 6, TOP = 8, BOTTOM = 20;

export function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

export const clock = (ms, seconds = true) => new Date(ms).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", ...(seconds && { second: "2-digit" }), hour12: false });

// Round figures from 0 to a little above `max`, at most five.
function steps(max) {
  const raw = max / 4, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((s) => s >= raw * 0.999);
  const list = [];
  for (let v = 0; v <= max * 1.0001 + step * 0.999 && list.length < 6; v += step) list.push(v);
  return list;
}

// Figures 1, 2, 5 of each power of ten that lie between `low` and `high`, thinned to at most six.
function logSteps(low, high) {
  const list = [];
  for (let power = 10 ** Math.floor(Math.log10(low)); power <= high; power *= 10) {
    for (const m of [1, 2, 5]) if (m * power >= low && m * power <= high) list.push(m * power);
  }
  return list.length > 6 ? list.filter((v) => /^1(0|\.|e|$)/.test(String(v)) || /^0\.0*1$/.test(String(v))) : list;
}

const charts = [];
let hoverAt = null;

// All charts share one cross-hair in time.
function hover(t) {
  hoverAt = t;
  for (const chart of charts) chart.cross();
}

export class Chart {
  // lines: [{name, value(point), area?}]; scale: "linear" | "log"; format(v) gives text; ribbon(point) a verdict's name.
  constructor(root, { title, lines, scale = "linear", format, least = 0, ribbon = null, bin = 5, how = "mean" }) {
    Object.assign(this, { root, title, lines, scale, format, least, ribbon, bin, how, marks: [], bins: [], edges: [] });
    root.classList.add("chart");
    this.readout = el("span", { class: "read" });
    this.legend = el("div", { class: "legend" });
    this.canvas = svg("svg", { role: "img", tabindex: "0", "aria-label": title });
    root.append(el("h2", {}, title, this.readout), this.canvas, this.legend);
    this.canvas.addEventListener("pointermove", (event) => hover(this.timeAt(event)));
    this.canvas.addEventListener("pointerleave", () => hover(null));
    this.canvas.addEventListener("blur", () => hover(null));
    this.canvas.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.draw()).observe(root);
    charts.push(this);
  }

  set(points, marks, edges = []) {
    this.marks = marks.filter((mark) => Number.isFinite(mark.value) && (this.scale === "linear" || mark.value > 0));
    this.edges = edges;
    this.now = points.length ? points[points.length - 1].t : Date.now();
    const age = points.length ? this.now - points[0].t : 0;
    this.minutes = SPANS_MIN.find((minutes) => age <= minutes * 60000) ?? SPANS_MIN[SPANS_MIN.length - 1];
    this.span = this.minutes * 60000;
    this.bins = this.binned(points);
    this.draw();
  }

  // One figure for some seconds: the mean of what is a rate, the middle of what is a quantile.
  binned(points) {
    const width = this.bin * 1000, bins = new Map();
    for (const point of points) {
      if (point.t < this.now - this.span) continue;
      const key = Math.ceil(point.t / width) * width;
      if (!bins.has(key)) bins.set(key, []);
      bins.get(key).push(point);
    }
    return [...bins].map(([t, members]) => ({
      t: Math.min(t, this.now), last: members[members.length - 1],
      values: this.lines.map((line) => line.of ? line.of(members) : middle(members.map(line.value))),
    }));
  }

  x(t) { return LEFT + (1 - (this.now - t) / this.span) * (this.width - LEFT - RIGHT); }

  y(v) {
    const share = this.scale === "log" ? Math.log(Math.max(v, this.low) / this.low) / Math.log(this.high / this.low) : v / this.high;
    return HEIGHT - BOTTOM - Math.min(share, 1.02) * (HEIGHT - BOTTOM - TOP);
  }

  timeAt(event) {
    const box = this.canvas.getBoundingClientRect();
    const share = (event.clientX - box.left - LEFT) / (this.width - LEFT - RIGHT);
    return this.now - (1 - Math.max(0, Math.min(1, share))) * this.span;
  }

  key(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || !this.bins.length) return;
    event.preventDefault();
    hover(Math.max(this.bins[0].t, Math.min(this.now, (hoverAt ?? this.now) + step * this.bin * 1000)));
    this.readout.setAttribute("aria-live", "polite");
  }

  range() {
    const seen = this.bins.flatMap((bin) => bin.values).concat(this.marks.map((mark) => mark.value)).filter((v) => Number.isFinite(v) && v >= 0);
    if (this.scale === "log") {
      const above = seen.filter((v) => v > 0);
      this.low = above.length ? Math.min(...above) / 1.3 : 1;
      this.high = above.length ? Math.max(...above) * 1.25 : 100;
      return logSteps(this.low, this.high);
    }
    const list = steps(Math.max(this.least, ...seen, 1e-9));
    this.high = list[list.length - 1];
    return list;
  }

  draw() {
    this.width = this.root.clientWidth - parseFloat(getComputedStyle(this.root).paddingLeft) * 2;
    if (!(this.width > 80) || this.now === undefined) return;
    const bottom = HEIGHT - BOTTOM, parts = [];
    for (const v of this.range()) {
      const y = Math.round(this.y(v)) + 0.5;
      parts.push(svg("line", { class: "axis", x1: LEFT, x2: this.width - RIGHT, y1: y, y2: y }));
      parts.push(svg("text", { x: LEFT - 7, y: y + 3.5, "text-anchor": "end" }, this.format(v)));
    }
    const intervals = this.minutes === 2 ? 4 : this.minutes === 5 || this.width >= 600 ? 5 : 3;
    for (let i = 0; i <= intervals; i++) {
      const minutes = this.minutes * i / intervals;
      const x = this.x(this.now - minutes * 60000), anchor = i === 0 ? "end" : i === intervals ? "start" : "middle";
      const name = i === 0 ? "now" : minutes % 1 ? `−${minutes * 60} s` : `−${minutes} min`;
      parts.push(svg("text", { x, y: HEIGHT - 3, "text-anchor": anchor }, name));
    }
    this.drawRibbon(parts, bottom);
    for (const mark of this.marks) this.drawMark(parts, mark);
    for (const edge of this.edges) {
      const x = this.x(edge.t);
      if (x < LEFT) continue;
      parts.push(svg("line", { class: "edge", x1: x, x2: x, y1: TOP, y2: bottom }), svg("text", { x: x - 4, y: TOP + 9, "text-anchor": "end" }, edge.name));
    }
    this.lines.forEach((line, i) => this.drawLine(parts, line, i, bottom));
    this.over = svg("g");
    this.canvas.setAttribute("viewBox", `0 0 ${this.width} ${HEIGHT}`);
    this.canvas.replaceChildren(...parts, this.over);
    this.cross();
  }

  drawMark(parts, mark) {
    const y = this.y(mark.value);
    if (mark.limit) parts.push(svg("rect", { class: "beyond", x: LEFT, y: TOP, width: this.width - LEFT - RIGHT, height: Math.max(0, y - TOP) }));
    parts.push(svg("line", { class: `mark c${mark.color}${mark.limit ? " limit" : ""}`, x1: LEFT, x2: this.width - RIGHT, y1: y, y2: y }));
  }

  drawRibbon(parts, bottom) {
    if (!this.ribbon) return;
    const group = svg("g", { class: "ribbon" });
    let from = null;
    this.bins.forEach((bin, i) => {
      from ??= bin;
      const next = this.bins[i + 1];
      if (next && this.ribbon(next.last) === this.ribbon(from.last)) return;
      const x = this.x(from.t - this.bin * 1000), end = this.x(bin.t);
      group.append(svg("rect", { "data-verdict": this.ribbon(from.last), x: Math.max(x, LEFT), y: bottom + 2, width: Math.max(1, end - Math.max(x, LEFT)), height: 4 }));
      from = null;
    });
    parts.push(group);
  }

  drawLine(parts, line, i, bottom) {
    let path = "", run = [];
    const areas = [];
    const close = () => { if (line.area && run.length > 1) areas.push(`M${run[0][0]},${bottom}L${run.map((p) => p.join(",")).join("L")}L${run[run.length - 1][0]},${bottom}Z`); run = []; };
    let before = null;
    for (const bin of this.bins) {
      const v = bin.values[i], gap = before !== null && bin.t - before > this.bin * 2500;
      if (!Number.isFinite(v) || gap) close();
      if (!Number.isFinite(v)) continue;
      const at = [this.x(bin.t).toFixed(1), this.y(v).toFixed(1)];
      path += `${run.length ? "L" : "M"}${at.join(",")}`;
      run.push(at);
      before = bin.t;
    }
    close();
    if (areas.length) parts.push(svg("path", { class: `area c${line.color}`, d: areas.join("") }));
    parts.push(svg("path", { class: `line c${line.color}`, d: path }));
  }

  // The cross-hair, its read-out, and the legend with the figures at that time.
  cross() {
    const at = hoverAt ?? this.now;
    const bin = this.bins.reduce((best, b) => (!best || Math.abs(b.t - at) < Math.abs(best.t - at) ? b : best), null);
    if (!this.over) return;
    this.over.replaceChildren();
    if (hoverAt !== null && bin) {
      const x = this.x(bin.t);
      this.over.append(svg("line", { class: "cross", x1: x, x2: x, y1: TOP, y2: HEIGHT - BOTTOM }));
      bin.values.forEach((v, i) => Number.isFinite(v) && this.over.append(svg("circle", { class: `dot c${this.lines[i].color}`, cx: x, cy: this.y(v), r: 3.2 })));
    }
    this.readout.textContent = !bin ? "" : hoverAt !== null ? clock(bin.t) : this.lines.length === 1 && Number.isFinite(bin.values[0]) ? this.format(bin.values[0]) : "";
    const text = (v) => (Number.isFinite(v) ? this.format(v) : "–");
    this.legend.replaceChildren(
      ...this.lines.map((line, i) => el("span", { class: `c${line.color}` }, el("i"), `${line.name} `, el("b", {}, bin ? text(bin.values[i]) : "–"),
        ...this.marks.filter((mark) => mark.line === i).map((mark) => el("small", {}, `${mark.name} ${text(mark.value)}`)))),
      ...this.marks.filter((mark) => mark.line === undefined).map((mark) => el("span", { class: `limit c${mark.color}` }, el("i"), `${mark.name} `, el("b", {}, text(mark.value)))),
    );
    const said = this.lines.map((line, i) => `${line.name} ${bin ? text(bin.values[i]) : "unknown"}`).join(", ");
    this.canvas.setAttribute("aria-label", `${this.title}, last 15 minutes. ${hoverAt !== null && bin ? clock(bin.t) : "Now"}: ${said}. Arrow keys move through time.`);
  }
}

function middle(values) {
  const list = values.filter(Number.isFinite).sort((a, b) => a - b);
  return list.length ? list[Math.floor(list.length / 2)] : NaN;
}
