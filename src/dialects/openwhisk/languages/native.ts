import type { Language } from "./index.ts";

/** What `wsk action create --native` sends: any program, run once for each call. */
export const native: Language = {
  runtime: "python",
  convention: "native",
  handler: "openwhisk_native.py",
  files: { "openwhisk_native.py": "native/openwhisk_native.py" },
  singleFile: () => ({ path: "exec", executable: true }),
};
