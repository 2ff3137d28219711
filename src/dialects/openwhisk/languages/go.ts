import type { Language } from "./index.ts";

export const go: Language = {
  runtime: "go",
  convention: "actionloop",
  handler: ".",
  files: { "openwhisk_launcher.go": "go/openwhisk_launcher.go" },
  singleFile: ({ isBinary }) => (isBinary ? { path: "exec", executable: true } : { path: "action.go" }),
  // The launcher calls the action by one name, whatever its own is.
  generated: (main) => ({
    "openwhisk_main.go": { content: `package main\n\nvar openwhiskMain = ${exported(main)}\n` },
    ".virga/acknowledges": { content: "" },
  }),
};

/** `main` is Go's own; what OpenWhisk calls so is `Main`. */
function exported(main: string): string {
  const name = main.charAt(0).toUpperCase() + main.slice(1);
  return /^[A-Z]\w*$/.test(name) ? name : "Main";
}
