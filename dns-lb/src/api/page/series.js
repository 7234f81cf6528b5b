// What was measured a moment ago: rates of counters, and the last minute of a rate, a value a second.

import { draw, mark } from "./dom.js";

const SECONDS = 60;

/** Counters as they last were, and when. */
export class Rates {
  #last = new Map();
  #next = new Map();
  #elapsed = 0;
  #at = null;

  /** Begins a new measurement, at a time in milliseconds. */
  begin(at) {
    this.#elapsed = this.#at === null ? 0 : (at - this.#at) / 1000;
    this.#at = at;
    this.#last = this.#next;
    this.#next = new Map();
  }

  /** How much a counter has grown a second; null if that is not known, or it went back. */
  of(key, value) {
    this.#next.set(key, value);
    const last = this.#last.get(key);
    const isKnown = last !== undefined && value >= last && this.#elapsed > 0;
    return isKnown ? (value - last) / this.#elapsed : null;
  }

  forget() {
    this.#next = new Map();
    this.#at = null;
  }
}

/** A rate's last minute. A second that is not known is null, and is not drawn. */
export class Series {
  values = [];
  #at = null;

  /** Takes the place of all that was: oldest first, the last of them of now. */
  seed(values, at) {
    this.values = values.slice(-SECONDS);
    this.#at = at;
  }

  push(value, at) {
    if (this.#at !== null) {
      const missed = Math.min(SECONDS, Math.round((at - this.#at) / 1000) - 1);
      for (let second = 0; second < missed; second += 1) this.values.push(null);
    }
    this.values.push(value);
    if (this.values.length > SECONDS) this.values.splice(0, this.values.length - SECONDS);
    this.#at = at;
  }

  get highest() {
    return this.values.reduce((highest, value) => Math.max(highest, value ?? 0), 0);
  }
}

const HEIGHT = 24;

/** A line for a series. The number beside it says the same, so it is for the eye only. */
export function line(className = "line") {
  const area = draw("path", { class: "area" });
  const stroke = draw("path", { class: "stroke" });
  const attributes = {
    class: className,
    viewBox: `0 0 ${SECONDS - 1} ${HEIGHT}`,
    preserveAspectRatio: "none",
    "aria-hidden": "true",
  };
  return { element: draw("svg", attributes, area, stroke), area, stroke };
}

/** Draws a series on a scale from 0 to `highest`, the newest value at the right. */
export function drawLine(view, series, highest) {
  const { values } = series;
  const first = SECONDS - values.length;
  const scale = highest > 0 ? (HEIGHT - 2) / highest : 0;
  let stroke = "";
  let area = "";
  let start = null;
  values.forEach((value, index) => {
    const x = first + index;
    if (value !== null) {
      const y = (HEIGHT - 1 - value * scale).toFixed(1);
      if (start === null) {
        start = x;
        stroke += `M${x} ${y}`;
        area += `M${x} ${HEIGHT}V${y}`;
      } else {
        stroke += `L${x} ${y}`;
        area += `L${x} ${y}`;
      }
    }
    const isLast = index === values.length - 1 || values[index + 1] === null;
    if (start !== null && isLast) {
      area += `V${HEIGHT}Z`;
      start = null;
    }
  });
  mark(view.stroke, "d", stroke);
  mark(view.area, "d", area);
}
