// BullMQ as its documentation shows it, with finished jobs removed, as buildfleet removes them.

import { FlowProducer, Queue, Worker } from "bullmq";
import { Count, beside, kind, now, options, quantile, rate, say, sleep } from "./clock.js";

const connection = { host: "127.0.0.1", port: options.port, maxRetriesPerRequest: null };
const QUEUE = "bench";
const leave = { removeOnComplete: true };
const job = (id) => ({ name: "job", data: { id }, opts: leave });

const addBulk = async (queue, jobs, atOnce) => {
  for (let at = 0; at < jobs; at += atOnce) {
    const many = Math.min(atOnce, jobs - at);
    await queue.addBulk(Array.from({ length: many }, (_, index) => job(at + index)));
  }
};

const push = async (add) => {
  const queue = new Queue(QUEUE, { connection });
  await queue.waitUntilReady();
  const perSecond = await rate(options.jobs, () => add(queue));
  await queue.close();
  say({ rate: perSecond });
};

const worker = async (handler) => {
  const it = new Worker(QUEUE, handler, {
    connection,
    concurrency: options.slots,
    autorun: false,
  });
  await it.waitUntilReady();
  return it;
};

const kinds = {
  "push-each": () =>
    push(async (queue) => {
      for (let at = 0; at < options.jobs; at += 1) {
        await queue.add("job", { id: at }, leave);
      }
    }),

  "push-beside": () =>
    push((queue) =>
      beside(options.jobs, options.producers, (at) => queue.add("job", { id: at }, leave)),
    ),

  "push-bulk": () => push((queue) => addBulk(queue, options.jobs, options.bulk)),

  work: async () => {
    const queue = new Queue(QUEUE, { connection });
    await addBulk(queue, options.jobs, 500);
    const it = await worker(async () => {});
    const perSecond = await rate(options.jobs, async () => {
      let left = options.jobs;
      const all = new Promise((done) => it.on("completed", () => (left -= 1) === 0 && done()));
      it.run();
      await all;
    });
    await it.close();
    await queue.close();
    say({ rate: perSecond });
  },

  pickup: async () => {
    const queue = new Queue(QUEUE, { connection });
    let arrived;
    const it = await worker(async () => arrived(now()));
    it.run();
    const took = [];
    for (let at = 0; at < options.warm + options.jobs; at += 1) {
      await sleep(2 + (at % 7));
      const arrival = new Promise((resolve) => (arrived = resolve));
      const begun = now();
      await queue.add("job", { id: at }, leave);
      const pickup = (await arrival) - begun;
      if (at >= options.warm) took.push(pickup);
    }
    await it.close();
    await queue.close();
    say({ p50: quantile(took, 0.5), p99: quantile(took, 0.99) });
  },

  // One parent that waits for its children: the parent runs last.
  "add-flows": async () => {
    const producer = new FlowProducer({ connection });
    await producer.waitUntilReady();
    const flow = (at) => ({
      name: "parent",
      queueName: QUEUE,
      data: { id: at },
      opts: leave,
      children: Array.from({ length: options.children }, (_, child) => ({
        name: "child",
        queueName: QUEUE,
        data: { id: `${at}-${child}` },
        opts: leave,
      })),
    });
    const begun = now();
    const batches = Math.ceil(options.flows / options.bulk);
    await beside(batches, options.producers, (batch) => {
      const from = batch * options.bulk;
      const many = Math.min(options.bulk, options.flows - from);
      return producer.addBulk(Array.from({ length: many }, (_, at) => flow(from + at)));
    });
    const seconds = (now() - begun) / 1000;
    await producer.close();
    say({ seconds });
  },

  "add-jobs": async () => {
    const queue = new Queue(QUEUE, { connection });
    await queue.waitUntilReady();
    const begun = now();
    await addBulk(queue, options.jobs, options.bulk);
    say({ seconds: (now() - begun) / 1000 });
    await queue.close();
  },

  // One of several processes that work until they are told to end.
  serve: async () => {
    const count = new Count();
    const it = await worker(async () => count.began());
    it.on("completed", () => count.ended());
    it.run();
    await count.saidUntilUnwanted();
    await it.close();
  },
};

await kinds[kind]();
process.exit(0);
