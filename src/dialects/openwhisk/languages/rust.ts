import type { Language } from "./index.ts";

const launcher = ".openwhisk-launcher";

export const rust: Language = {
  runtime: "rust",
  convention: "actionloop",
  handler: `${launcher}/Cargo.toml`,
  files: { [`${launcher}/src/main.rs`]: "rust/main.rs" },
  singleFile: ({ isBinary }) => (isBinary ? { path: "exec", executable: true } : { path: "src/lib.rs" }),
  generated: (_main, isArchive) => ({
    [`${launcher}/Cargo.toml`]: {
      content: manifest("openwhisk-launcher", ['actions = { path = ".." }', 'serde_json = "1"'], "\n[workspace]\n"),
    },
    ".virga/acknowledges": { content: "" },
    ...(isArchive
      ? {}
      : {
          "Cargo.toml": {
            content: manifest("actions", [
              'serde_json = "1"',
              'serde = { version = "1", features = ["derive"] }',
              'serde_derive = "1"',
            ]),
          },
        }),
  }),
};

function manifest(name: string, dependencies: readonly string[], more = ""): string {
  return `[package]\nname = "${name}"\nversion = "0.1.0"\nedition = "2018"\n\n[dependencies]\n${dependencies.join("\n")}\n${more}`;
}
