/**
 * The platform without a part of its metering, as no setting gives it: `metering-server.ts HOME METERING`.
 * Prints its address, token and process as JSON. Ends with its standard input.
 */
import { join } from "node:path";
import { startPlatform } from "../src/compose.ts";
import type { Metering } from "../src/gateway/metered-history.ts";

const [home = "", metering = "all"] = process.argv.slice(2);
const platform = await startPlatform({
  dataDirectory: join(home, "data"),
  configDirectory: join(home, "config"),
  host: "127.0.0.1",
  port: 0,
  openwhiskPort: 0,
  sandbox: "auto",
  logLevel: "error",
  metering: metering as Metering,
});
console.log(JSON.stringify({ url: platform.url, token: platform.adminToken, pid: process.pid }));
process.stdin.resume().once("end", () => void platform.close().then(() => process.exit(0)));
