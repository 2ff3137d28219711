/** Tells about the host. The body "verbose" asks for its processors and network interfaces too. */
"use strict";

const os = require("node:os");
const { readFileSync } = require("node:fs");
const { inspect } = require("node:util");

const lines = [
  `Hostname: ${os.hostname()}`,
  "",
  `Arch: ${os.arch()}`,
  `CPUs: ${os.cpus().length}`,
  `Total mem: ${Math.ceil(os.totalmem() / 2 ** 20)}MB`,
  `Platform: ${os.platform()}`,
  `Uptime: ${os.uptime()}`,
];
if (readFileSync(0, "utf8").trim() === "verbose") {
  const whole = { depth: null, maxArrayLength: null };
  lines.push("", "CPU details:", inspect(os.cpus(), whole));
  lines.push("", "Network interfaces:", inspect(networkInterfaces(), whole));
}
process.stdout.write(`${lines.join("\n")}\n`);

/** A sandbox may forbid to look. */
function networkInterfaces() {
  try {
    return os.networkInterfaces();
  } catch {
    return {};
  }
}
