/** Opens the store that its argument names, says so, and keeps it until it is killed. */
import { systemChance, systemClock } from "../../../src/drivers/host/clock.ts";
import { openSqliteStore } from "../../../src/drivers/store/sqlite/store.ts";

openSqliteStore({ file: process.argv[2] ?? "", clock: systemClock, chance: systemChance });
process.stdout.write("open\n");
setInterval(() => {}, 60_000);
