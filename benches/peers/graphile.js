// Graphile Worker as its documentation shows it; batched, if asked, as its page on performance says.

import { Logger, makeWorkerUtils, run, runMigrations } from "graphile-worker";
import pg from "pg";
import { Count, beside, kind, now, options, say, sleep } from "./clock.js";

// It writes a line about each job otherwise.
const logger = new Logger(() => () => {});
const pgPool = new pg.Pool({ connectionString: options.url, max: options.connections ?? 10 });
// It warns of pools without.
pgPool.on("error", () => {});
pgPool.on("connect", (client) => client.on("error", () => {}));
const common = { pgPool, logger };

const LEFT = "select exists (select from graphile_worker._private_jobs) as some";

const kinds = {
  prepare: async () => {
    await runMigrations(common);
    say({});
  },

  add: async () => {
    const utils = await makeWorkerUtils(common);
    const begun = now();
    const batches = Math.ceil(options.jobs / options.bulk);
    await beside(batches, options.producers, (batch) => {
      const from = batch * options.bulk;
      const many = Math.min(options.bulk, options.jobs - from);
      const jobs = Array.from({ length: many }, (_, at) => ({
        identifier: "job",
        payload: { id: from + at },
      }));
      return utils.addJobs(jobs);
    });
    say({ seconds: (now() - begun) / 1000 });
    await utils.release();
  },

  serve: async () => {
    const count = new Count();
    const batched = {
      localQueue: { size: 500, refetchDelay: { durationMs: 10 } },
      completeJobBatchDelay: 0,
      failJobBatchDelay: 0,
    };
    const runner = await run({
      ...common,
      taskList: { job: async () => count.began() },
      noHandleSignals: true,
      concurrency: options.slots,
      pollInterval: 1000,
      preset: { worker: options.batched ? batched : {} },
    });
    runner.events.on("job:complete", () => count.ended());
    // A job is told to be complete before the database has heard of it.
    await count.saidUntilUnwanted(async () => {
      while ((await pgPool.query(LEFT)).rows[0].some) await sleep(2);
    });
    await runner.stop();
  },
};

await kinds[kind]();
await pgPool.end();
process.exit(0);
