/** Builds and installs every client, so that it does not count as a test's time. */
import { goClient, npmClients } from "./clients.ts";

const goClients = ["wsk", "wskdeploy", "faas-cli", "openfaas-sdk", "openfaas-connector", "openfaas-provider"] as const;
for (const name of goClients) console.log(await goClient(name));
for (const name of ["openwhisk-js", "serverless"] as const) console.log(await npmClients(name));
