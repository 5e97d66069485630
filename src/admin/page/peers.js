// The agents of other replicas: who is met, what they share, the vote as it stands. Asked for every few seconds while the page
// is seen. Names go in as text.

import { el } from "/charts.js";
import * as words from "/words.js";

const EVERY_MS = 5000;
const COLUMNS = ["Replica", "Role", "Release", "Ready", "Heard", "Vote"];

function vote(p) {
  if (p.differs?.length) return `other ${p.differs.join(", ")}`;
  const opinion = p.answer;
  return opinion ? `${opinion.says}${opinion.why ? `: ${opinion.why}` : ""}` : "–";
}

export class Peers {
  constructor(root, fetcher) {
    Object.assign(this, { root, fetcher, askedAt: 0 });
    root.hidden = true;
    this.note = el("p", { class: "dim small" });
    this.body = el("tbody");
    this.more = el("ul", { class: "small" });
    const head = el("thead", {}, el("tr", {}, ...COLUMNS.map((name) => el("th", { scope: "col" }, name))));
    root.append(el("div", { class: "head" }, el("h2", { id: "h-peers" }, "Replicas"), this.note),
      el("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": "Replicas" }, el("table", { class: "routes" }, head, this.body)), this.more);
  }

  async refresh() {
    if (document.hidden || Date.now() - this.askedAt < EVERY_MS) return;
    this.askedAt = Date.now();
    try {
      const response = await this.fetcher("/api/peers");
      if (!response.ok) throw new Error(`the agent answered ${response.status}`);
      this.draw(await response.json());
    } catch (error) { this.note.textContent = `Not loaded: ${error.message}`; }
  }

  draw(s) {
    const q = s.quorum ?? {};
    this.root.hidden = !s.on && !(q.replicas > 1);
    this.note.textContent = q.reachable ? `${q.voters.length} of ${q.votes} could vote, ${q.needed} needed` : "no quorum can be reached";
    const own = s.own ? [{ ...s.own, answer: null, heard_ago_seconds: null, self: true }] : [];
    const rows = [...own, ...(s.peers ?? [])].map((p) => el("tr", {}, el("th", { scope: "row", title: p.address ?? "" }, p.self ? `${p.replica} (this one)` : p.replica),
      el("td", {}, p.may_call ? `${p.role}, may act` : p.role), el("td", {}, el("code", {}, p.release)),
      el("td", {}, p.leaving ? "leaving" : p.role === "watcher" ? "–" : p.ready ? "yes" : "no"),
      el("td", {}, Number.isFinite(p.heard_ago_seconds) ? `${p.heard_ago_seconds.toFixed(1)} s ago` : "–"), el("td", {}, p.self ? "–" : vote(p))));
    if (!rows.length) rows.push(el("tr", {}, el("td", { colspan: COLUMNS.length, class: "empty" }, "No other agent is met.")));
    this.body.replaceChildren(...rows);
    this.more.replaceChildren(...this.lines(s, q).map((line) => el("li", {}, line)));
  }

  lines(s, q) {
    const lines = [...(q.missing ?? []), ...(q.warnings ?? [])].map((of) => of.says);
    if (s.shared) lines.push(`Evidence of the slot that ended ${words.when(s.shared.slot_end)} came from ${s.shared.by.join(", ") || "nobody"}.`);
    const { standing, granted } = s.ballot ?? {};
    if (standing) lines.push(standing.ask ? `This agent asks for votes: epoch ${standing.ask.epoch}, ${standing.needed} needed.` : "This agent stands for election and waits for its turn.");
    if (granted) lines.push(`This agent agreed with ${granted.candidate} (epoch ${granted.epoch}); that binds it for ${granted.binds_seconds.toFixed(0)} s.`);
    if (s.unmet?.length) lines.push(`Nobody answers at ${s.unmet.join(", ")}.`);
    return lines;
  }
}
