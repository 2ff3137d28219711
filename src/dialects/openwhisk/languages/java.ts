import type { Language } from "./index.ts";

export const java: Language = {
  runtime: "java",
  convention: "actionloop",
  handler: "OpenWhiskLauncher",
  files: { "OpenWhiskLauncher.java": "java/OpenWhiskLauncher.java" },
  singleFile: ({ isBinary, main }) => ({ path: isBinary ? "action.jar" : `${classOf(main)}.java` }),
  // A .jar is a zip: it is put on the class path as it is.
  isWhole: true,
  generated: () => ({ ".virga/acknowledges": { content: "" } }),
};

/** `Hello` of `org.example.Hello#main`. */
function classOf(main: string): string {
  return /(\w+)(?:#\w+)?$/.exec(main)?.[1] ?? "Main";
}
