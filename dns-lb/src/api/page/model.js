// What the status document means for who looks at it: what each backend's state is called and why, how
// bad that is, and what is wrong altogether. Knows the JSON, and nothing of how it is shown.

import { STEERED } from "./endings.js";
import { age, count } from "./format.js";

/** How bad a backend's state is; what is worse has the lower number. */
export const SEVERITY = { down: 0, doubtful: 1, out: 2, fine: 3 };

/**
 * The document with what follows from it. `now` is the agent's time in milliseconds; `rates` measures
 * what the document has no rate for.
 */
export function read(document, now, rates) {
  const services = document.services.map((service) => readService(service, now, rates));
  const backends = services.flatMap((service) => service.backends);
  const told = (document.recent_transitions ?? []).map((transition) => ({
    ...transition,
    at: Date.parse(transition.at),
    key: keyOf(transition.service, transition.backend),
  }));
  const state = { document, now, services, backends, transitions: told };
  return { ...state, ...judge(state) };
}

export const keyOf = (service, backend) => JSON.stringify([service, backend]);

function readService(service, now, rates) {
  const key = JSON.stringify([service.name]);
  const backends = service.backends.map((backend) => readBackend(service, backend, now, rates));
  const notSteered = Object.entries(service.endings)
    .filter(([name]) => !STEERED.includes(name))
    .reduce((sum, [, packets]) => sum + packets, 0);
  return {
    ...service,
    key,
    backends,
    rate: service.packets_per_second ?? rates.of(key, service.packets),
    notSteered,
    notSteeredRate: rates.of(`${key} not steered`, notSteered),
    isServed: backends.some((backend) => backend.share > 0),
  };
}

function readBackend(service, backend, now, rates) {
  const key = keyOf(service.name, backend.name);
  const isOut = backend.admin !== "enabled" || backend.weight === 0;
  const why = reasons(backend, isOut, now);
  const since = Date.parse(backend.since);
  const words = [service.name, "/", backend.name, " ", backend.address, " ", backend.health, " "];
  return {
    ...backend,
    key,
    service: service.name,
    isOut,
    severity: severity(backend, isOut),
    why,
    since,
    rate: backend.packets_per_second ?? rates.of(key, backend.packets),
    // What the filter looks at.
    words: words.concat(backend.admin, " ", why.join(" ")).join("").toLowerCase(),
  };
}

function severity(backend, isOut) {
  if (isOut) return SEVERITY.out;
  if (backend.health === "down") return SEVERITY.down;
  const isDoubtful = backend.health !== "up" || backend.frozen || backend.unresolved;
  return isDoubtful || backend.share === 0 ? SEVERITY.doubtful : SEVERITY.fine;
}

/** Why a backend is as it is, the most important first. */
function reasons(backend, isOut, now) {
  const why = [];
  if (backend.health === "down") why.push(backend.reason ?? "down since before the agent started");
  if (backend.health === "unknown") why.push("no verdict yet");
  if (backend.unresolved) why.push(`not found on the link: ${backend.unresolved}`);
  if (backend.frozen) why.push(`the verdict stays, nothing can be found out: ${backend.frozen}`);
  if (backend.set_by) {
    const { by, at, reason } = backend.set_by;
    why.push(`${reason ? `“${reason}”` : `by ${by}`}, ${age(now - Date.parse(at))} ago`);
  }
  if (backend.weight !== backend.configured_weight) {
    why.push(`weight ${backend.weight} instead of ${backend.configured_weight}`);
  }
  const takesNothing = backend.health === "up" && backend.share === 0 && !isOut && !backend.unresolved;
  if (takesNothing) why.push("takes no queries yet");
  const probe = backend.last_probe;
  const failsNow = backend.health === "up" && probe && probe.cause !== "passed";
  if (failsNow && !backend.frozen) why.push(`last probe: ${probe.outcome}`);
  return why;
}

/** What is wrong, the worst first, and the headline. */
function judge({ document, services, backends }) {
  const problems = [];
  const worst = (text, detail = "") => problems.push({ level: "bad", sign: "down", text, detail });
  if (document.dataplane.interfaces.length === 0) {
    worst("The program is attached to no interface", "no packet is steered");
  }
  if (document.generation === 0) worst("No steering table has been written yet");
  for (const service of services) {
    if (service.failed_open) {
      const rule = "too few backends are up, so probes are not believed and all that are enabled take queries";
      worst(`Service ${service.name} has failed open`, rule);
    } else if (!service.isServed) {
      worst(`Service ${service.name} has no backend that takes queries`);
    }
  }
  const of = (severity) => backends.filter((backend) => backend.severity === severity);
  const [down, doubtful, out] = [of(SEVERITY.down), of(SEVERITY.doubtful), of(SEVERITY.out)];
  for (const backend of down) problems.push(about(backend, "bad", "down"));
  for (const backend of doubtful) problems.push(about(backend, "doubtful", "warning"));
  for (const backend of out) problems.push(about(backend, "note", "out"));
  const enabled = backends.length - out.length;
  const farm = problems.find((problem) => problem.level === "bad" && !problem.backend);
  const level = problems.some((problem) => problem.level === "bad") ? "bad"
    : doubtful.length > 0 ? "doubtful" : "fine";
  const headline = [];
  if (farm) headline.push(farm.text);
  if (down.length > 0) headline.push(`${count(down.length)} of ${backendsOf(backends.length)} down`);
  if (doubtful.length > 0) headline.push(`${count(doubtful.length)} in doubt`);
  if (headline.length === 0) {
    const inUse = out.length > 0 ? " in use" : "";
    headline.push(enabled === 1 ? `The one backend${inUse} is up` : `All ${backendsOf(enabled)}${inUse} are up`);
  }
  if (out.length > 0) headline.push(`${count(out.length)} taken out by hand`);
  return { problems, level, headline: headline.join(", "), down: down.length };
}

const backendsOf = (number) => `${count(number)} backend${number === 1 ? "" : "s"}`;

function about(backend, level, signName) {
  return { level, sign: signName, backend, text: stateOf(backend), detail: backend.why.join("; ") };
}

/** A backend's state in words: what the probes say, and what the operator wants if that is less. */
export function stateOf(backend) {
  const wanted = backend.admin !== "enabled" ? backend.admin : backend.weight === 0 ? "weight 0" : null;
  return wanted ? `${wanted}, ${backend.health}` : backend.health;
}

/** The sign that goes with it. */
export function signOf(backend) {
  if (backend.severity === SEVERITY.out) return "out";
  if (backend.severity === SEVERITY.down) return "down";
  if (backend.health === "unknown") return "unknown";
  return backend.severity === SEVERITY.doubtful ? "warning" : "up";
}
