import type { Language } from "./index.ts";

export const ruby: Language = {
  runtime: "ruby",
  convention: "actionloop",
  handler: "openwhisk_launcher.rb",
  files: { "openwhisk_launcher.rb": "ruby/openwhisk_launcher.rb" },
  singleFile: () => ({ path: "main.rb" }),
  archiveEntry: "main.rb",
  generated: () => ({ ".virga/acknowledges": { content: "" } }),
};
