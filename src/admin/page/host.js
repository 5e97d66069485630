// The container and the agent itself, each figure against its limit. What is not known is not shown.

import { el } from "/charts.js";
import { bar } from "/streams.js";
import * as words from "/words.js";

const MID = 0.8, FULL = 0.95;
const known = (value) => value !== null && value !== undefined;

// name, used, limit, format; share where it is not used by limit.
function row(name, used, limit, format, share = used / limit) {
  if (!known(used)) return null;
  const limited = known(limit) && Number.isFinite(share);
  const shown = limited ? `${format(used)} of ${format(limit)}` : format(used);
  const meter = el("div", { class: "bar", role: "meter", "aria-label": name, "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuetext": shown }, el("i"));
  if (limited) bar(meter, share);
  const heat = !limited ? "none" : share >= FULL ? "full" : share >= MID ? "mid" : "low";
  return el("div", { class: "use", "data-heat": heat }, el("b", {}, name), el("span", {}, shown, limited ? el("output", {}, ` ${Math.floor(share * 100)} %`) : null), limited ? meter : null);
}

export function drawHost(root, facts, host) {
  if (!host) {
    root.replaceChildren(el("p", { class: "empty" }, "Not sampled yet."));
    facts.replaceChildren();
    return;
  }
  const { cpu, memory, disk, descriptors: open, pids, sockets, agent } = host;
  const taken = known(disk.total_bytes) && known(disk.used_share) ? disk.total_bytes * disk.used_share : null;
  const rows = [
    row("CPU", cpu.used_millicores, cpu.limit_millicores, words.cores),
    row(memory.limited_by === "machine" ? "Memory, machine" : "Memory", memory.working_set_bytes, memory.limit_bytes, words.bytes),
    row("Data disk", taken, disk.total_bytes, words.bytes, disk.used_share),
    disk.inodes_used_share >= 0.5 && row("Inodes", disk.inodes_used_share, 1, words.percent),
    open.app && row(`Descriptors, process ${open.app_pid}`, open.app.used, open.app.limit, words.count),
    open.agent && row("Descriptors, agent", open.agent.used, open.agent.limit, words.count),
    pids && row("Processes and threads", pids.used, pids.limit, words.count),
  ];
  root.replaceChildren(...rows.filter(Boolean));
  const more = [
    known(cpu.throttled_time) && ["Stopped by the quota", words.percent(cpu.throttled_time), cpu.throttled_time >= 0.25 ? "bad" : cpu.throttled_time >= 0.05 ? "wait" : null],
    known(cpu.pressure) && ["Waiting for CPU", words.percent(cpu.pressure)],
    known(memory.pressure) && memory.pressure > 0 && ["Waiting for memory", words.percent(memory.pressure), "wait"],
    memory.oom_kills > 0 && ["Killed for want of memory", words.count(memory.oom_kills) + (memory.oom_killed_at ? `, last ${words.when(memory.oom_killed_at)}` : ""), memory.oom_killed_at ? "bad" : "wait"],
    memory.swap_bytes > 0 && ["Swap", words.bytes(memory.swap_bytes)],
    known(sockets.tcp_in_use) && ["TCP sockets", words.count(sockets.tcp_in_use)],
    sockets.tcp_time_wait > 0 && ["In time-wait", words.count(sockets.tcp_time_wait)],
    known(host.uptime_seconds) && ["Container up", words.span(host.uptime_seconds)],
    known(agent.cpu_millicores) && ["Agent's CPU", words.cores(agent.cpu_millicores)],
    known(agent.resident_bytes) && ["Agent's memory", words.bytes(agent.resident_bytes)],
    known(agent.threads) && ["Agent's threads", words.count(agent.threads)],
    known(agent.loop_lag_us) && ["Agent's loop late by", words.latency(agent.loop_lag_us), agent.loop_lag_us >= 500000 ? "bad" : null],
  ];
  facts.replaceChildren(...more.filter(Boolean).flatMap(([name, value, tone]) => [el("dt", {}, name), el("dd", { class: tone }, value)]));
}
