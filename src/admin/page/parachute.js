// Whether a rollback would be possible, what the last one led to, and the lock on deployments.

import * as words from "/words.js";

const said = (list, title, tone) => (list ?? []).map((text) => [title, String(text), tone]);

// Rows for the card: name, value, tone.
export function parachute(s, records) {
  const r = s.readiness, last = records.find((record) => record.kind === "verified"), outcome = last && words.outcomeWords(last);
  return [
    r ? ["Rollback", r.ready ? "possible" : "would fail", r.ready ? "good" : "bad"] : ["Rollback", "not looked into, or the platform cannot tell"],
    ["Would put back", s.target ?? "nothing"],
    r?.target && ["On the platform", r.target],
    ...said(r?.faults, "In the way", "bad"),
    ...said(r?.warnings, "Beware", "wait"),
    ["Deployments", s.lock ? `locked by ${s.lock.by}` : "not locked", s.lock ? "wait" : null],
    s.lock && ["Locked for", s.lock.reason],
    s.lock && ["Until", s.lock.until ? words.when(s.lock.until) : "unlocked"],
    outcome && ["Last rollback", outcome.title, outcome.tone],
    outcome?.more && ["Found by", outcome.more],
  ];
}

// A line above everything else, for what somebody must know.
export function alarms(s) {
  const list = [];
  if (s.lock) list.push(["wait", "Locked", `${s.lock.by} locked deployments ${s.lock.until ? `until ${words.when(s.lock.until)}` : "until somebody unlocks them"}: ${s.lock.reason}`]);
  if (s.readiness && !s.readiness.ready) list.push(["bad", "No parachute", `A rollback would fail: ${s.readiness.faults.join("; ")}`]);
  return list;
}
