// graphile.js - graphile-worker beside our jobs: adds N no-op jobs in bulk, runs them all, prints jobs a second of both.
const { makeWorkerUtils, run, Logger } = require("graphile-worker");
const [connectionString, n, mode] = [process.argv[2], Number(process.argv[3]), process.argv[4]];
const quiet = new Logger(() => () => {});
const batched = { localQueue: { size: 500 }, completeJobBatchDelay: 0, failJobBatchDelay: 0 };

async function main() {
  const utils = await makeWorkerUtils({ connectionString, logger: quiet });
  await utils.migrate();
  let start = process.hrtime.bigint();
  for (let i = 0; i < n; i += 1000) {
    await utils.addJobs(Array.from({ length: Math.min(1000, n - i) }, (_, k) => ({ identifier: "nothing", payload: { n: i + k } })));
  }
  const added = n / (Number(process.hrtime.bigint() - start) / 1e9);
  let left = n, done;
  const all = new Promise((resolve) => (done = resolve));
  start = process.hrtime.bigint();
  const runner = await run({
    connectionString, noHandleSignals: true, logger: quiet, concurrency: 24, maxPoolSize: 25,
    taskList: { nothing: async () => void (--left || done()) },
    preset: mode === "batched" ? { worker: batched } : {},
  });
  await all;
  const executed = n / (Number(process.hrtime.bigint() - start) / 1e9);
  await runner.stop();
  await utils.release();
  console.log(JSON.stringify({ added, executed }));
}
main().catch((e) => { console.error(e); process.exit(1); });
