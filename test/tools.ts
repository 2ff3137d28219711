import { spawnSync } from "node:child_process";
import { join } from "node:path";

/** Programs of the host that some suites need, and how to see that they are there. */
const tools = {
  bwrap: { try: ["bwrap", "--ro-bind", "/", "/", "--unshare-user", "true"], package: "bubblewrap" },
  python: { try: ["/usr/bin/python3", "--version"], package: "python3" },
  pip: { try: ["/usr/bin/python3", "-m", "pip", "--version"], package: "python3-pip" },
  cc: { try: ["cc", "--version"], package: "gcc" },
  // New enough for what is to be built, which its module file says.
  yosys: { try: ["yosys", "-V"], package: "yosys" },
  java: { try: ["javac", "-version"], package: "default-jdk-headless maven" },
  php: { try: ["php", "--version"], package: "php-cli" },
  ruby: { try: ["ruby", "--version"], package: "ruby" },
  rust: { try: ["rustc", "--version"], package: "cargo" },
  redis: { try: ["redis-server", "--version"], package: "redis-server" },
  go: { try: ["go", "-C", join(import.meta.dirname, "clients/kpa"), "list", "-m"], package: "golang (1.25 or newer)" },
} as const;

/**
 * For the `skip` option of a suite: false where the tools are there, else the reason.
 * With `VIRGA_TEST_REQUIRE_TOOLS=1`, as in CI, a missing tool is an error: there nothing may skip for that.
 */
export function missingTools(...names: (keyof typeof tools)[]): string | false {
  const missing = names.filter((name) => {
    const [program, ...parameters] = tools[name].try;
    return spawnSync(program, parameters, { stdio: "ignore" }).status !== 0;
  });
  if (missing.length === 0) return false;
  const reason = `needs ${missing.join(", ")}: apt-get install ${missing.map((name) => tools[name].package).join(" ")}`;
  if (process.env["VIRGA_TEST_REQUIRE_TOOLS"] === "1") throw new Error(reason);
  return reason;
}
