// Which backends are listed, and in which order.

const text = new Intl.Collator("en", { numeric: true });

const byText = (value) => (a, b) => text.compare(value(a), value(b));
/** What is not known comes last, whichever way. */
const byNumber = (value) => (a, b, direction) => {
  const [left, right] = [value(a), value(b)];
  if (left === null || right === null) return ((left === null) - (right === null)) * direction;
  return left - right;
};
const nameOf = (backend) => `${backend.service}/${backend.name}`;

const COLUMNS = {
  name: byText(nameOf),
  state: byNumber((backend) => backend.severity),
  share: byNumber((backend) => backend.share),
  rate: byNumber((backend) => backend.rate),
  probe: byNumber((backend) => backend.last_probe?.rtt_us ?? null),
  weight: byNumber((backend) => backend.weight),
  since: byNumber((backend) => backend.since),
  address: byText((backend) => backend.address),
};

/** Columns whose greatest is what one looks for. */
const GREATEST_FIRST = ["share", "rate", "probe", "weight", "since"];

export class Order {
  column = "state";
  isAscending = true;

  /** Another column, or the same the other way round. */
  by(column) {
    this.isAscending = column === this.column ? !this.isAscending : !GREATEST_FIRST.includes(column);
    this.column = column;
  }

  /** A copy in order; equals stay as they were configured. */
  of(backends) {
    const direction = this.isAscending ? 1 : -1;
    const compare = COLUMNS[this.column];
    return [...backends].sort((a, b) => direction * compare(a, b, direction));
  }
}

/** Whether a backend has all words of a filter. */
export function filterOf(wanted) {
  const words = wanted.toLowerCase().split(/\s+/).filter((word) => word !== "");
  return (backend) => words.every((word) => backend.words.includes(word));
}
