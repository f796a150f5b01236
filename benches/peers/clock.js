// What all scripts here share: options in, one JSON object a line out, and instants that several
// processes of one machine can compare.

export const [, , kind, given] = process.argv;
export const options = JSON.parse(given);

/** Milliseconds since 1970, in fractions. */
export const now = () => performance.timeOrigin + performance.now();

export const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);

/** Jobs in a second, of a piece of work that is awaited. */
export const rate = async (jobs, work) => {
  const begun = now();
  await work();
  return (jobs * 1000) / (now() - begun);
};

/** Calls `work` with 0, 1, ... below `times`, so many at once. */
export const beside = async (times, atOnce, work) => {
  let next = 0;
  const one = async () => {
    while (next < times) {
      next += 1;
      await work(next - 1);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, one));
};

/** What a worker has done: the first start, the last end, and how many. */
export class Count {
  first = null;
  last = null;
  count = 0;

  began() {
    this.first ??= now();
  }

  ended() {
    this.last = now();
    this.count += 1;
  }

  /** Says how far it is, many times a second, until nobody wants to know any more. `settled` waits for
   * what is still on its way then. */
  async saidUntilUnwanted(settled = null) {
    let said = -1;
    const timer = setInterval(() => {
      if (said !== this.count) {
        said = this.count;
        say({ count: this.count });
      }
    }, 10);
    process.stdin.resume();
    await new Promise((unwanted) => process.stdin.once("end", unwanted));
    clearInterval(timer);
    if (settled !== null) {
      await settled();
      this.last = now();
    }
    say({ first: this.first, last: this.last, count: this.count });
  }
}

/** The value below which a share of all values lies. */
export const quantile = (values, share) => {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.round(share * (sorted.length - 1))];
};

export const sleep = (ms) => new Promise((over) => setTimeout(over, ms));
