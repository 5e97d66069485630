// Figures and records in plain words. Knows the API's names; draws nothing. What it does not know it shows as it came.

export const percent = (share) => {
  if (!Number.isFinite(share)) return "–";
  const p = share * 100;
  return `${p === 0 ? "0" : p >= 10 ? p.toFixed(0) : p >= 1 ? p.toFixed(1) : p.toFixed(2)} %`;
};
export const latency = (us) => {
  if (!Number.isFinite(us)) return "–";
  if (us >= 1e6) return `${(us / 1e6).toFixed(us >= 1e7 ? 0 : 2)} s`;
  return us >= 1e4 ? `${(us / 1e3).toFixed(0)} ms` : us >= 1e3 ? `${(us / 1e3).toFixed(1)} ms` : `${us.toFixed(0)} µs`;
};
export const count = (n) => (Number.isFinite(n) ? Math.round(n).toLocaleString("en") : "–");
export const bytes = (n) => (!Number.isFinite(n) ? "–" : n >= 2 ** 30 ? `${(n / 2 ** 30).toFixed(2)} GiB` : n >= 1 << 20 ? `${(n / (1 << 20)).toFixed(1)} MiB` : n >= 1024 ? `${(n / 1024).toFixed(0)} KiB` : `${n} B`);
export const span = (seconds) => {
  const s = Math.max(0, Math.round(seconds)), d = Math.floor(s / 86400), h = Math.floor((s % 86400) / 3600), m = Math.floor((s % 3600) / 60);
  if (d) return `${d} d ${h} h`;
  if (h) return `${h} h ${m} min`;
  return m ? (s % 60 ? `${m} min ${s % 60} s` : `${m} min`) : `${s} s`;
};
export const when = (text) => {
  const date = new Date(text);
  if (Number.isNaN(date.getTime())) return String(text ?? "–");
  const time = date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
  return date.toDateString() === new Date().toDateString() ? time : `${date.toLocaleDateString([], { day: "numeric", month: "short" })}, ${time}`;
};
export const plain = (name) => String(name ?? "unknown").replaceAll("_", " ");

export const cores = (millicores) => (Number.isFinite(millicores) ? `${(millicores / 1000).toFixed(2)} CPU` : "–");

const STREAMS = {
  errors: "Errors", latency_p50: "Latency p50", latency_p90: "Latency p90", latency_p95: "Latency p95", latency_p99: "Latency p99",
  route_errors: "Errors", route_p50: "p50", route_p95: "p95", crashes: "Crashes", cpu: "CPU", memory: "Memory", descriptors: "File descriptors",
};
// A record may write a status as { status: 404 }.
export const kind = (e) => (typeof e.stream === "object" && e.stream !== null ? `status_${e.stream.status ?? "unknown"}` : String(e.stream));
export const stream = (name) => STREAMS[name] ?? (String(name).startsWith("status_") ? `Status ${name.slice(7)}` : plain(name));
export const figure = (name, value) => {
  if (!Number.isFinite(value)) return "–";
  const format = { cpu: cores, memory: bytes, descriptors: count }[name] ?? (/^latency|^route_p/.test(name) ? latency : percent);
  return format(value);
};
export const VERDICTS = {
  healthy: { title: "Healthy", mark: "M4 12.5l5 5L20 6.5" },
  degraded: { title: "Degraded", mark: "M12 3l10 18H2zM12 10v5M12 18v.1" },
  undecided: { title: "Undecided", mark: "M12 3a9 9 0 1 0 9 9M12 7v5l3.5 2" },
  not_judgeable: { title: "Not judgeable", mark: "M12 3a9 9 0 1 0 0 18a9 9 0 1 0 0-18M8 12h8" },
};
export const STANDINGS = { on_trial: "on trial", known_good: "known good", rolled_back: "rolled back" };
export const MODES = { observe: "observe: judges only", recommend: "recommend: a person acts", enforce: "enforce: rolls back by itself" };

const BREACHES = {
  errors: "too many requests fail", latency: "requests are too slow", catastrophe_errors: "mass failure",
  catastrophe_latency: "extreme slowness", catastrophe_hang: "requests hang", catastrophe_crashes: "crash loop",
  route_errors: "a route fails too often", route_latency: "a route is too slow", status: "too many answers of one status", crashes: "more crashes than there used to be",
  resource: "uses too much", cpu: "uses too much processor time", memory: "holds too much memory", descriptors: "holds too many file descriptors open",
};
const DIAGNOSES = {
  deployment: "The release is to blame", replica: "One replica is to blame", dependency: "A dependency is to blame", shared: "What is shared is to blame",
  network: "The network or platform is to blame", observer: "What was seen is doubtful",
};
const GROUNDS = { nothing_else: "nothing else got worse", control_is_well: "the stable release beside it was well", overloads: "it asked far more of a dependency" };
const UNDECIDED = { starting: "the app is starting", warming_up: "warming up", no_traffic: "no traffic", gathering: "gathering evidence", shared: "the stable release suffers, too" };
const PROGRESS = {
  nothing_to_do: "nothing to do", intended: "written down, about to be ordered", accepted: "ordered, waiting for the target to be live",
  succeeded: "the target is live", dry_run: "dry run: nothing was done", failed: "failed: a person must act", interrupted: "interrupted: a person must act",
};

export function verdictWords(v) {
  if (typeof v !== "object" || v === null) return plain(v);
  const detail = v.breach ? BREACHES[v.breach.breach ?? v.breach] ?? plain(v.breach.breach ?? v.breach) : UNDECIDED[v.because ?? v.undecided ?? v.why ?? v.reason] ?? "";
  const name = (VERDICTS[v.verdict]?.title ?? plain(v.verdict)).toLowerCase();
  return detail ? `${name} (${detail})` : name;
}

export function diagnosisWords(d) {
  const name = d?.diagnosis ?? d?.label, said = DIAGNOSES[name] ?? plain(name);
  const more = [GROUNDS[d?.ground], d?.probe ?? d?.dependency, d?.replica, d?.until && `hold until ${when(d.until)}`, d?.hold_ended && "the hold ended", d?.by_the_release && "perhaps by this release"].filter(Boolean).join(", ");
  return more ? `${said} (${more})` : said;
}

export function progressWords(p) {
  const name = typeof p === "object" && p !== null ? p.progress : p;
  const more = p?.reason ?? p?.detail;
  return (PROGRESS[name] ?? plain(name)) + (more ? ` – ${more}` : "");
}

export function reasonWords(r) {
  const until = r?.until ? when(r.until) : "its end";
  const known = {
    degraded: "The verdict is degraded.",
    on_trial: "The release is still on trial.",
    watch_has_passed: "The release's watch has passed, and the policy does not act after that.",
    mode_observe: "The mode is observe: nothing is recommended.",
    mode_recommend: "The mode is recommend: a person must act.",
    mode_enforce: "The mode is enforce: Outrigger may act.",
    paused: `Acting is paused by ${r?.by ?? r?.pause?.by ?? "somebody"}${r?.reason_text || r?.why || r?.pause?.reason ? `: ${r.reason_text ?? r.why ?? r.pause.reason}` : ""}.`,
    cooling_down: `The rest after the last act lasts until ${until}.`,
    no_target: "No other release is known good, so there is nothing to put back.",
    last_known_good: "The target is the last release that was known good.",
    was_put_back: "This release was itself put back by a rollback, and is not rolled back in turn.",
    several_replicas: `${r?.replicas ?? "Several"} replicas run, and one agent alone does not act.`,
    acted_before: `A decision on this release was carried out before (record ${r?.record ?? "unknown"}).`,
    blamed: "The release is to blame, so putting the former one back helps.",
    not_blamed: "Something else is to blame, so putting the former release back would not help.",
    holding: `A dependency is worse, too: the release is not blamed until ${until}.`,
    hold_ended_young: "A dependency is worse, too, but the hold is over and the release is young: putting it back is the smaller harm.",
    hold_ended_old: "A dependency is worse, too, and the release is not young: a person decides.",
    not_recorded: "The intent could not be written down, so nothing was done.",
    elected: `Enough agents agreed: ${r?.yes} votes for it${r?.down ? `, ${r.down} for replicas that the platform reports down` : ""}, and ${r?.needed} are enough.`,
    not_elected: `Too few agents agreed: ${r?.yes} votes for it, and ${r?.needed} are needed.`,
    left_to_others: "This agent may not call the platform: it votes and leaves the call to another.",
    platform_unread: `The platform could not say what is live, and without that nothing is done${r?.why ? `: ${r.why}` : ""}.`,
    no_longer_live: `The platform says that ${r?.live ?? "another release"} is live by now, so there is nothing to put back.`,
    decided_elsewhere: `Another agent has decided already (record ${r?.record ?? "unknown"}).`,
    refused: `The platform refused the order, and nothing was done: ${r?.why ?? "it did not say why"}.`,
    too_many_voters: `${r?.met} agents with a vote are met and there should be ${r?.votes}: a majority would mean nothing. Set service.replicas.`,
    budget_spent: `${r?.acts ?? "Several"} rollbacks were made of late; the budget allows the next one at ${until}.`,
    schema_moved: `The schema that ${r?.probe ?? "a probe"} sees was ${r?.was} when the target ran and is ${r?.is} now: the target may not work with it.`,
    all_down: `The platform reports all ${r?.down ?? ""} replicas of the release down, and none of their agents is met: nobody is left to vote.`,
    asked_by: `${r?.by ?? "Somebody"} asked for it${r?.why ? `: ${r.why}` : ""}.`,
    lease_over: "The time for which the others had agreed was over before the order could be given.",
  };
  const name = typeof r === "object" && r !== null ? r.reason : r;
  if (known[name]) return known[name];
  const more = Object.entries(r ?? {}).filter(([key]) => key !== "reason" && typeof r === "object").map(([key, value]) => `${plain(key)} ${value}`).join(", ");
  return plain(name) + (more ? ` (${more})` : "");
}

const STEPS = {
  cancel_queued: "Cancel what is queued or being built", stop_auto_deploy: "Stop the platform from deploying by itself",
  read: "Read once more what is live, and choose the deployment", call: "Call the platform", find: "Find the new deployment",
};

// A step of an act: its tone, and how far it came.
export function stepWords(step) {
  const name = STEPS[step?.step] ?? plain(step?.step), said = step?.detail || step?.reason;
  const came = { begun: "begun", done: "done", failed: "failed" }[step?.outcome] ?? plain(step?.outcome);
  return { tone: { done: "good", failed: "bad" }[step?.outcome] ?? "idle", text: `${name}: ${came}${said ? ` – ${said}` : ""}` };
}

const OUTCOMES = {
  recovered: ["good", "The rollback helped: the service recovered"], no_change: ["bad", "The rollback changed nothing: the deployment was not the cause"],
  worse: ["bad", "After the rollback it is worse"], unclear: ["wait", "It cannot be told what the rollback led to"],
};

export function outcomeWords(r) {
  const [tone, title] = OUTCOMES[r?.outcome] ?? ["idle", plain(r?.outcome)];
  return { tone, title, more: [r?.from && `${r.from} was rolled back`, r?.detail].filter(Boolean).join(": ") };
}

// Who agreed to a decision, from its certificate.
export function agreedWords(c) {
  const roster = c?.roster ?? {}, votes = roster.replicas + (roster.watcher && roster.replicas % 2 === 0 ? 1 : 0);
  const names = (c?.voters ?? []).map((voter) => voter.replica);
  return `${names.length} of ${votes} agreed: ${names.join(", ")}${roster.down ? `; ${roster.down} more that the platform reported down count with them` : ""}. Called by ${c?.ask?.candidate?.replica ?? "an agent that is not known"}, epoch ${c?.ask?.epoch ?? "?"}.`;
}

// A record in one line: its tone, what happened, and the figure that matters.
export function recordWords(r) {
  switch (r.kind) {
    case "started": return { tone: "idle", title: "Agent started", more: r.known ? "this release has run here before" : "a release not seen before" };
    case "ready": return { tone: "act", title: "App ready", more: "the watch begins" };
    case "exited": return { tone: r.code === 0 ? "idle" : "bad", title: "App ended", more: Number.isFinite(r.signal) ? `by signal ${r.signal}` : `with code ${r.code ?? "unknown"}` };
    case "verdict_changed": {
      const name = r.to?.verdict;
      const tone = { healthy: "good", degraded: "bad", undecided: "wait" }[name] ?? "idle";
      return { tone, title: `Verdict: ${verdictWords(r.to)}`, more: r.from ? `was ${verdictWords(r.from)}` : "" };
    }
    case "diagnosed": return r.whose ? { tone: r.whose.diagnosis === "deployment" ? "bad" : "wait", title: "Diagnosis", more: diagnosisWords(r.whose) } : { tone: "good", title: "Diagnosis", more: "nothing is wrong any more" };
    case "health_changed": return { tone: { ok: "good", failed: "bad", degraded: "wait" }[r.to] ?? "idle", title: `Dependency ${r.probe ?? ""}: ${plain(r.to)}`, more: r.why || `was ${plain(r.from)}` };
    case "watch_passed": return { tone: "good", title: "Watch passed: known good", more: `${count(r.requests)} requests judged${{ proof: ", by proof", not_contradicted: ", not contradicted", time_cap: ", by the time cap" }[r.by] ?? ""}` };
    case "paused": return { tone: "wait", title: `Acting paused by ${r.by ?? r.pause?.by ?? "somebody"}`, more: r.reason ?? r.pause?.reason ?? "" };
    case "locked": return { tone: "wait", title: `Deployments locked by ${r.by ?? "somebody"}`, more: r.reason ?? "" };
    case "unlocked": return { tone: "act", title: `Deployments unlocked by ${r.by ?? "somebody"}`, more: "" };
    case "verified": return outcomeWords(r);
    case "readied": return r.ready
      ? { tone: (r.warnings ?? []).length ? "wait" : "good", title: "A rollback would be possible", more: [r.target, ...(r.warnings ?? [])].filter(Boolean).join("; ") }
      : { tone: "bad", title: "A rollback would fail", more: (r.faults ?? []).join("; ") };
    case "resumed": return { tone: "act", title: `Acting resumed by ${r.by ?? "somebody"}`, more: "" };
    case "decided": {
      const back = r.decision === "roll_back", name = r.progress?.progress ?? r.progress;
      const tone = ["failed", "interrupted"].includes(name) ? "bad" : name === "succeeded" ? "good" : back ? "act" : "wait";
      return { tone, title: back ? `Decided: roll back to ${r.target ?? "the last good release"}` : "Decided: hold", more: progressWords(r.progress) };
    }
    default: return { tone: "idle", title: plain(r.kind), more: "" };
  }
}
