import { access, constants, mkdir, statfs } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { asVirgaError } from "../../core/errors.ts";
import { command, outputOption } from "../command.ts";
import { exit } from "../exit.ts";
import { dataDirectory, type Environment } from "../locations.ts";
import { type Column, printData, table } from "../output.ts";
import { examineHost, sandboxes } from "../platform.ts";
import { formatSize } from "../units.ts";

interface Finding {
  readonly subject: string;
  readonly state: "ok" | "enforced" | "watched" | "absent" | "missing";
  readonly how: string;
  readonly fix?: string;
}

export const doctor = command({
  name: "doctor",
  summary: "try what this machine can do: isolation, runtimes, tools, disk, clock",
  arguments: {},
  options: {
    data: { kind: "text", placeholder: "folder", summary: "where the state lies" },
    sandbox: { kind: "text", summary: "the one to try", choices: sandboxes },
    output: outputOption,
  },
  async run({ terminal }, _given, options) {
    const { environment } = terminal;
    const examination = await examineHost(options, environment);
    const promises: Finding[] = [];
    try {
      for await (const { promise, holds, how, fix } of examination.promises) {
        terminal.status(`  tried: ${promise}`);
        promises.push({ subject: promise, state: holds, how, ...(fix === undefined ? {} : { fix }) });
      }
    } finally {
      terminal.status("");
      await examination.close();
    }
    const host = [
      node(),
      ...examination.runtimes.map(({ name, versions, fix }): Finding => ({
        subject: `runtime ${name}`,
        state: versions.length > 0 ? "ok" : "missing",
        how: versions.length > 0 ? versions.join(", ") : "not on this machine",
        ...(fix === undefined ? {} : { fix }),
      })),
      ...(await tools(environment)),
      await disk(options.data ?? dataDirectory(environment)),
      clock(),
    ];
    const absent = promises.some(({ state }) => state === "absent");
    if (options.output === "json" || options.output === "yaml") {
      await printData(terminal, options.output, { sandbox: examination.sandbox, promises, host });
      return absent ? exit.failed : exit.ok;
    }
    terminal.print(terminal.style("bold", `Isolation by ${examination.sandbox}`));
    for (const line of table(terminal, promises, columns("PROMISE", "HOLDS"))) terminal.print(line);
    terminal.print(`\n${terminal.style("bold", "This machine")}`);
    for (const line of table(terminal, host, columns("SUBJECT", "STATE"))) terminal.print(line);
    const fixes = [...promises, ...host].filter(({ fix, state }) => fix !== undefined && !fine.has(state));
    if (fixes.length > 0) {
      terminal.print(`\n${terminal.style("bold", "What would help")}`);
      for (const { subject, fix } of fixes) terminal.print(`  ${subject}: ${fix}`);
    }
    return absent ? exit.failed : exit.ok;
  },
});

const fine: ReadonlySet<string> = new Set(["ok", "enforced"]);

function columns(subject: string, state: string): Column<Finding>[] {
  return [
    { title: subject, value: (finding) => finding.subject },
    { title: state, value: (finding) => finding.state },
    { title: "HOW", value: ({ how }) => how },
  ];
}

function node(): Finding {
  const major = Number(process.versions.node.split(".")[0]);
  const how = `${process.versions.node} at ${process.execPath}`;
  return major >= 24
    ? { subject: "node", state: "ok", how }
    : { subject: "node", state: "missing", how, fix: "install Node 24 or newer" };
}

/** What builds and the sandbox call, and the Debian package that has it. */
const wanted: readonly (readonly [string, string, string])[] = [
  ["bwrap", "bubblewrap", "encloses functions"],
  ["npm", "npm", "installs packages for node functions"],
  ["pip3", "python3-pip", "installs packages for python functions"],
  ["cc", "gcc", "compiles what build.sh of a binary function asks for, and OpenFaaS's fork server"],
];

async function tools(environment: Environment): Promise<Finding[]> {
  return Promise.all(
    wanted.map(async ([program, debianPackage, use]): Promise<Finding> => {
      const found = await which(program, environment);
      return found === undefined
        ? { subject: program, state: "missing", how: use, fix: `apt-get install ${debianPackage}` }
        : { subject: program, state: "ok", how: `${found}, ${use}` };
    }),
  );
}

async function which(program: string, environment: Environment): Promise<string | undefined> {
  for (const folder of (environment["PATH"] ?? "").split(delimiter).filter((part) => part !== "")) {
    const file = join(folder, program);
    if (
      await access(file, constants.X_OK).then(
        () => true,
        () => false,
      )
    )
      return file;
  }
  return undefined;
}

/** Artifacts, records and builds need room; with less than a gibibyte the first `npm ci` may fill the disk. */
const roomBytes = 2 ** 30;

async function disk(folder: string): Promise<Finding> {
  try {
    await mkdir(folder, { recursive: true });
    const { bavail, bsize } = await statfs(folder);
    const free = bavail * bsize;
    const how = `${formatSize(free)} free at ${folder}`;
    return free >= roomBytes
      ? { subject: "disk", state: "ok", how }
      : { subject: "disk", state: "missing", how, fix: `free some space, or use another folder with --data` };
  } catch (error) {
    const { message } = asVirgaError(error);
    return { subject: "disk", state: "missing", how: message, fix: "use another folder with --data" };
  }
}

/** A clock before this program was written breaks the expiry of tokens and the order of records. */
const writtenAt = Date.UTC(2026, 0, 1);

function clock(): Finding {
  const how = new Date().toISOString();
  return Date.now() >= writtenAt
    ? { subject: "clock", state: "ok", how }
    : { subject: "clock", state: "missing", how, fix: "set the clock, for example with timedatectl set-ntp true" };
}
