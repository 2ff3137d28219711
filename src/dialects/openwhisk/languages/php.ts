import type { Language } from "./index.ts";

export const php: Language = {
  runtime: "php",
  convention: "actionloop",
  handler: "openwhisk-launcher.php",
  files: { "openwhisk-launcher.php": "php/openwhisk-launcher.php" },
  singleFile: () => ({ path: "index.php" }),
  archiveEntry: "index.php",
  generated: () => ({ ".virga/acknowledges": { content: "" } }),
};
