// Runs in the build's sandbox, with the flags that instances will have: loads the function once, as they will, so that the
// byte code of its modules and the index of them are kept. Arguments: the folder, the handler, the environment as JSON.
import * as nodeModule from "node:module";
import { join } from "node:path";
import { byteCodeFolder, loadHandler } from "./loader.mjs";
import { recordModules } from "./module-index.mjs";

const [directory, handler, environment] = process.argv.slice(2);
const exit = process.reallyExit.bind(process);
if (nodeModule.enableCompileCache === undefined) exit(0); // Node 20 keeps nothing
process.chdir(directory);
Object.assign(process.env, JSON.parse(environment));
process.argv.length = 1;
process.argv[1] = handler;
nodeModule.enableCompileCache(join(directory, byteCodeFolder));
let recorded;
await loadHandler(directory, handler, (folder) => {
  recorded = recordModules(folder);
  return () => recorded?.stop();
});
nodeModule.flushCompileCache();
try {
  recorded?.save();
} catch (error) {
  console.error(String(error));
  exit(77); // as build.ts knows it
}
exit(0);
