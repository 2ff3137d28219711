/** Builds and installs every client, so that it does not count as a test's time. */
import { goClient, npmClients } from "./clients.ts";

for (const name of ["wsk", "wskdeploy"] as const) console.log(await goClient(name));
for (const name of ["openwhisk-js", "serverless"] as const) console.log(await npmClients(name));
