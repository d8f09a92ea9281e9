// pgboss.js - pg-boss beside our jobs: adds N no-op jobs in bulk, 16 loops fetch and complete them, prints jobs a second of both.
const PgBoss = require("pg-boss");
const [connectionString, n, batchSize] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4])];

async function main() {
  const boss = new PgBoss({ connectionString, max: 20, supervise: false, schedule: false });
  boss.on("error", (e) => { console.error(e); process.exit(1); });
  await boss.start();
  await boss.createQueue("nothing");
  let start = process.hrtime.bigint();
  for (let i = 0; i < n; i += 1000) {
    await boss.insert(Array.from({ length: Math.min(1000, n - i) }, (_, k) => ({ name: "nothing", data: { n: i + k } })));
  }
  const added = n / (Number(process.hrtime.bigint() - start) / 1e9);
  let left = n;
  start = process.hrtime.bigint();
  await Promise.all(Array.from({ length: 16 }, async () => {
    while (left > 0) {
      const jobs = await boss.fetch("nothing", { batchSize });
      if (jobs.length === 0) { if (left > 0) await new Promise((r) => setTimeout(r, 5)); continue; }
      await boss.complete("nothing", jobs.map((j) => j.id));
      left -= jobs.length;
    }
  }));
  const executed = n / (Number(process.hrtime.bigint() - start) / 1e9);
  await boss.stop({ graceful: false });
  console.log(JSON.stringify({ added, executed }));
}
main().catch((e) => { console.error(e); process.exit(1); });
