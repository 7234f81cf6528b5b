// How numbers and times are written. No value is written as NaN, negative or empty: what is not
// known is a dash.

const UNKNOWN = "–";
const whole = new Intl.NumberFormat("en");
const tenth = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });

const isNumber = (value) => typeof value === "number" && Number.isFinite(value) && value >= 0;

export function count(value) {
  return isNumber(value) ? whole.format(Math.round(value)) : UNKNOWN;
}

/** Of something a second: a tenth where that says something. */
export function rate(value) {
  if (!isNumber(value)) return UNKNOWN;
  return value > 0 && value < 9.95 ? tenth.format(value) : whole.format(Math.round(value));
}

export function percent(part) {
  return isNumber(part) ? `${tenth.format(100 * part)} %` : UNKNOWN;
}

const inUnits = (value, units, step) => {
  let scaled = value;
  let unit = 0;
  while (scaled >= step - 0.5 && unit < units.length - 1) {
    scaled /= step;
    unit += 1;
  }
  const digits = unit === 0 || scaled >= 99.95 ? 0 : scaled >= 9.995 ? 1 : 2;
  return `${scaled.toFixed(digits)} ${units[unit]}`;
};

export function octets(value) {
  return isNumber(value) ? inUnits(value, ["B", "kB", "MB", "GB", "TB", "PB"], 1000) : UNKNOWN;
}

/** Of microseconds. */
export function duration(micros) {
  return isNumber(micros) ? inUnits(micros, ["µs", "ms", "s"], 1000) : UNKNOWN;
}

/** How long ago, of milliseconds: one unit, as it is said. */
export function age(milliseconds) {
  if (!Number.isFinite(milliseconds)) return UNKNOWN;
  const seconds = Math.max(0, milliseconds / 1000);
  if (seconds < 100) return `${Math.floor(seconds)} s`;
  if (seconds < 100 * 60) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 48 * 3600) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}

const two = (value) => String(value).padStart(2, "0");

/** The time of day here, with the day if it is another than `now`'s. */
export function clock(milliseconds, now = Date.now()) {
  if (!Number.isFinite(milliseconds)) return UNKNOWN;
  const date = new Date(milliseconds);
  const time = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  if (date.toDateString() === new Date(now).toDateString()) return time;
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${time}`;
}
