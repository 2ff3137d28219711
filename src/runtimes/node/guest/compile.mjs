// Runs in the build's sandbox, with the flags that instances will have: loads the function once, so that the byte code of
// its modules is kept beside them. Arguments: the folder, the handler.
import { enableCompileCache, flushCompileCache } from "node:module";
import { join } from "node:path";
import { byteCodeFolder, loadHandler } from "./loader.mjs";

const [directory, handler] = process.argv.slice(2);
process.chdir(directory);
enableCompileCache(join(directory, byteCodeFolder));
await loadHandler(directory, handler);
flushCompileCache();
process.reallyExit(0);
