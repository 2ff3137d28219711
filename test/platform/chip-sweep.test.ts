import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { loadProject } from "../../src/cli/project.ts";
import { missingTools } from "../tools.ts";
import { type Files, Platform } from "./harness.ts";

const folder = resolve(import.meta.dirname, "../../examples/chip-sweep");
const { functions } = loadProject(folder, { from: folder });

interface Row {
  readonly design: string;
  readonly parameters: Record<string, number>;
  readonly cells: number;
  readonly flip_flops: number;
  readonly transistors: number;
  readonly depth: number;
  readonly error?: { message: string; file?: string | null; line?: number | null; code?: string };
}

describe(
  "chip-sweep: Yosys over parameter points, function to function",
  { skip: missingTools("python", "yosys") },
  () => {
    let platform: Platform;
    before(async () => {
      platform = await Platform.start();
      for (const { name, source, settings } of functions)
        // So that going back to zero is not waited for.
        await platform.deploy(name, filesOf(source), { ...settings, scaling: { keepAliveMs: 1000 } });
    });
    after(() => platform.stop());

    test("area grows with width, and the adders' depths are those of the textbook", async () => {
      const WIDTH = [8, 16, 32, 64];
      const { rows, points, failed } = await sweep({
        designs: {
          adder_ripple: { WIDTH },
          adder_select: { BLOCK: [8], WIDTH },
          adder_prefix: { KOGGE_STONE: [0, 1], WIDTH },
        },
      });
      assert.deepEqual([points, failed, rows.length], [16, 0, 16]);
      const ripple = rows.filter(({ design }) => design === "adder_ripple");
      const select = rows.filter(({ design }) => design === "adder_select");
      const brentKung = rows.filter(({ parameters }) => parameters["KOGGE_STONE"] === 0);
      const koggeStone = rows.filter(({ parameters }) => parameters["KOGGE_STONE"] === 1);
      for (const series of [ripple, select, brentKung, koggeStone]) {
        assert.deepEqual(
          series.map(({ parameters }) => parameters["WIDTH"]),
          WIDTH,
        );
        for (const [index, row] of series.slice(1).entries()) {
          assert.ok(row.transistors > series[index]!.transistors && row.cells > series[index]!.cells);
          assert.ok(row.depth > series[index]!.depth);
        }
        assert.ok(series.every(({ flip_flops }) => flip_flops === 0));
      }
      // Two gates a bit.
      assert.deepEqual(steps(ripple), [16, 32, 64]);
      // One step of the tree per doubling: up alone, or up and down again.
      for (const step of steps(koggeStone)) assert.ok(step <= 3, `${step}`);
      for (const step of steps(brentKung)) assert.ok(step <= 5, `${step}`);
      const [r, s, b, k] = [ripple, select, brentKung, koggeStone].map((series) => series.at(-1)!) as [
        Row,
        Row,
        Row,
        Row,
      ];
      assert.ok(k.depth < b.depth && b.depth < s.depth && s.depth < r.depth / 2);
      assert.ok(k.transistors > b.transistors && b.transistors > r.transistors && s.transistors > r.transistors);
    });

    test("a tree multiplier is shallower than an array; a FIFO's and a core's registers are counted", async () => {
      const { rows } = await sweep({
        designs: {
          multiplier_array: { WIDTH: [12] },
          multiplier_tree: { WIDTH: [12] },
          fifo: { WIDTH: [8], DEPTH: [4, 8] },
          rv32: { REGISTERS: [16], MULTIPLY: [0] },
        },
      });
      const [array, tree, small, large, core] = rows as [Row, Row, Row, Row, Row];
      assert.ok(tree.depth < 0.7 * array.depth, `${tree.depth}, ${array.depth}`);
      // Words, two pointers, a count that also says "full"; some versions keep the read pointer in the memory's port, too.
      assert.ok([4 * 8 + 2 * 2 + 3, 4 * 8 + 3 * 2 + 3].includes(small.flip_flops), `${small.flip_flops}`);
      assert.ok([8 * 8 + 2 * 3 + 4, 8 * 8 + 3 * 3 + 4].includes(large.flip_flops), `${large.flip_flops}`);
      // x1 to x15, the program counter with or without its lowest bit, `stopped`.
      assert.ok([15 * 32 + 31 + 1, 15 * 32 + 32 + 1].includes(core.flip_flops), `${core.flip_flops}`);
    });

    test("instances go from none to one per processor at work, and back", async () => {
      await untilNone();
      const WIDTH = [64, 56, 48, 40, 32, 28, 24, 20];
      let over = false;
      const running = sweep({ designs: { adder_select: { BLOCK: [4, 8], WIDTH } } }).finally(() => (over = true));
      let most = 0;
      while (!over) {
        most = Math.max(most, await instances("chip-synth"));
        await pause(20);
      }
      const { parallel, failed } = await running;
      assert.equal(failed, 0);
      assert.equal(most, Math.min(parallel, 2 * WIDTH.length));
      await untilNone();
    });

    test("a syntax error is told with design, file and line, and the other points are there", async () => {
      const verilog = {
        broken: "module broken #(parameter WIDTH = 1) (input a, output b);\n  // half\n  assign b = a &;\nendmodule\n",
      };
      const designs = { broken: { WIDTH: [4] }, adder_ripple: { WIDTH: [4, 8] } };
      const { rows, failed } = await sweep({ designs, verilog });
      assert.equal(failed, 1);
      assert.deepEqual(rows[0], {
        design: "broken",
        parameters: { WIDTH: 4 },
        error: { message: "syntax error, unexpected ';'", file: "broken.v", line: 3 },
      });
      assert.ok(rows.slice(1).every(({ error, depth }) => error === undefined && depth > 0));

      const csv = await platform.call("chip-sweep", {
        path: "/?format=csv",
        body: JSON.stringify({ designs, verilog }),
      });
      assert.equal(csv.headers["content-type"], "text/csv; charset=utf-8");
      const [head, first, second] = csv.text.split("\n");
      assert.equal(head, "design,parameters,cells,flip_flops,transistors,depth,seconds,error");
      assert.equal(first, "broken,WIDTH=4,,,,,,\"broken.v:3: syntax error, unexpected ';'\"");
      assert.match(second ?? "", /^adder_ripple,WIDTH=4,\d+,0,\d+,9,\d+\.\d\d,$/);
    });

    test("a design of one's own may use ours; what is not there is named", async () => {
      const verilog = {
        twice:
          "module twice #(parameter WIDTH = 8) (input [WIDTH-1:0] a, output [WIDTH-1:0] b);\n  adder_ripple #(.WIDTH(WIDTH)) add (.a(a), .b(a), .carry_in(1'b0), .sum(b));\nendmodule\n",
        lonely: "module lonely(input a, output b);\n  nowhere u (a, b);\nendmodule\n",
      };
      const { rows } = await sweep({ designs: { twice: { WIDTH: [8] }, lonely: {}, missing: {} }, verilog });
      assert.equal(rows[0]?.error, undefined);
      assert.match(rows[1]?.error?.message ?? "", /nowhere.* is not part of the design/);
      assert.match(rows[2]?.error?.message ?? "", /missing\.v/);
    });

    test("a parameter that the module does not have, or that is no number, fails its point alone", async () => {
      const { rows } = await sweep({
        designs: { adder_ripple: { WIDTH: [8], DEPTH: [1] }, uart: { DATA_BITS: ["8; shell id", 8] } },
      });
      assert.match(rows[0]?.error?.message ?? "", /DEPTH/);
      assert.match(rows[1]?.error?.message ?? "", /whole numbers/);
      assert.ok((rows[2]?.depth ?? 0) > 0);
    });

    test("yosys killed in the middle of a call: that point says so, and the next call works", async () => {
      const designs = { rv32: { REGISTERS: [32], MULTIPLY: [1] }, adder_ripple: { WIDTH: [8, 16] } };
      const running = sweep({ designs });
      let pid: number | undefined;
      while ((pid = yosysOn("rv32.v", platform.pid)) === undefined) await pause(10);
      process.kill(pid, "SIGKILL");
      const { rows, failed } = await running;
      assert.equal(failed, 1);
      assert.deepEqual(rows[0]?.error, { message: "yosys was ended by SIGKILL", file: null, line: null });
      assert.ok(rows.slice(1).every(({ depth }) => depth > 0));
      assert.equal((await sweep({ designs: { adder_ripple: { WIDTH: [8] } } })).failed, 0);
    });

    test("the plot has a mark for each point and one per design in its legend, all inside it", async () => {
      const body = JSON.stringify({ designs: { crc: { WIDTH: [8, 16], BITS: [1, 8] }, uart: { DATA_BITS: [5, 8] } } });
      const svg = await platform.call("chip-sweep", { path: "/?format=svg", body });
      assert.equal(svg.headers["content-type"], "image/svg+xml");
      const marks = [...svg.text.matchAll(/class="mark" transform="translate\(([\d.]+) ([\d.]+)\)"/g)];
      assert.equal(marks.length, 6 + 2);
      for (const [, x, y] of marks) assert.ok(Number(x) > 0 && Number(x) < 960 && Number(y) > 0 && Number(y) < 600);
      assert.match(svg.text, /<title>crc WIDTH=16 BITS=8: [\d,]+ transistors, depth \d+<\/title>/);

      const page = await platform.call("chip-sweep", { body });
      assert.equal(page.headers["content-type"], "text/html; charset=utf-8");
      assert.equal(page.text.match(/<tr><td>/g)?.length, 6);
      assert.match(page.text, /<svg /);
      assert.equal((await platform.call("chip-sweep", { path: "/?format=pdf", body })).status, 400);
    });

    test("where yosys is missing the deploy says what installs it", async () => {
      const { source, settings } = functions.find(({ name }) => name === "chip-synth")!;
      const answer = await platform.tryDeploy("without", filesOf(source), {
        ...settings,
        environment: { PATH: "/nowhere" },
      });
      assert.equal(answer.status, 422, answer.text);
      assert.equal(answer.json().error.code, "start_failed");
      assert.match(answer.text, /apt-get install yosys/);
    });

    test("its own sweep has 200 points, each once", () => {
      const { designs } = JSON.parse(readFileSync(join(folder, "sweep/points.json"), "utf8")) as {
        designs: Record<string, Record<string, number[]>>;
      };
      const counts = Object.values(designs).map((axes) =>
        Object.values(axes).reduce((product, values) => product * new Set(values).size, 1),
      );
      assert.equal(
        counts.reduce((sum, count) => sum + count),
        200,
      );
      for (const design of Object.keys(designs)) readFileSync(join(folder, `synth/rtl/${design}.v`));
    });

    async function sweep(body: object): Promise<{ rows: Row[]; points: number; failed: number; parallel: number }> {
      const answer = await platform.call("chip-sweep", { path: "/?format=json", body: JSON.stringify(body) });
      assert.equal(answer.status, 200, answer.text);
      return answer.json();
    }

    async function instances(name: string): Promise<number> {
      return (await platform.request(`/v1/namespaces/default/functions/${name}`)).json().instances.length;
    }

    async function untilNone(): Promise<void> {
      while ((await instances("chip-synth")) > 0) await pause(50);
    }
  },
);

describe("chip-sweep's Verilog, proved by Yosys' SAT solver", { skip: missingTools("yosys") }, () => {
  for (const [name, WIDTH, extra] of [
    ["adder_ripple", 9, ""],
    ["adder_select", 9, ", .BLOCK(4)"],
    ["adder_prefix", 9, ""],
    ["adder_prefix", 16, ", .KOGGE_STONE(1)"],
  ] as const)
    test(`${name}, ${WIDTH} bits${extra}: adds`, () => {
      const wrong = `module top(input [${WIDTH - 1}:0] a, b, input c, output right);
        wire [${WIDTH}:0] sum;
        ${name} #(.WIDTH(${WIDTH})${extra}) add (.a(a), .b(b), .carry_in(c), .sum(sum[${WIDTH - 1}:0]), .carry_out(sum[${WIDTH}]));
        assign right = sum == a + b + c;
      endmodule`;
      prove(wrong);
    });

  for (const name of ["multiplier_array", "multiplier_tree"])
    test(`${name}, 5 bits: multiplies`, () =>
      prove(`module top(input [4:0] a, b, output right);
        wire [9:0] product;
        ${name} #(.WIDTH(5)) multiply (.a(a), .b(b), .product(product));
        assign right = product == a * b;
      endmodule`));

  test("the proof can fail", () => {
    assert.throws(() =>
      prove(`module top(input [3:0] a, output right);
        wire [3:0] sum;
        adder_ripple #(.WIDTH(4)) add (.a(a), .b(a), .carry_in(1'b1), .sum(sum));
        assign right = sum == a + a;
      endmodule`),
    );
  });

  function prove(verilog: string): void {
    const script = `read_verilog <<EOT\n${verilog}\nEOT\nhierarchy -libdir . -top top; proc; flatten; sat -verify -prove right 1 top`;
    const { status, stderr } = spawnSync("yosys", ["-q", "-s", "-"], {
      cwd: join(folder, "synth/rtl"),
      input: script.replaceAll("; ", "\n"),
      encoding: "utf8",
    });
    assert.equal(status, 0, stderr);
  }
});

function filesOf(source: string): Files {
  const names = readdirSync(source, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !entry.parentPath.includes("__pycache__"))
    .map((entry) => join(entry.parentPath, entry.name));
  return Object.fromEntries(names.map((name) => [name.slice(source.length + 1), readFileSync(name, "utf8")]));
}

/** How much deeper each is than the one before. */
function steps(rows: readonly Row[]): number[] {
  return rows.slice(1).map((row, index) => row.depth - rows[index]!.depth);
}

/** The Yosys below this platform that reads `file`. */
function yosysOn(file: string, platform: number): number | undefined {
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  return pids.map(Number).find((pid) => {
    const [program, , , script] = read(`/proc/${pid}/cmdline`).split("\0");
    return program === "yosys" && script?.includes(`read_verilog ${file};`) === true && below(pid, platform);
  });
}

function below(pid: number, ancestor: number): boolean {
  for (let at = pid; at > 1;) {
    if (at === ancestor) return true;
    at = Number(/^PPid:\s*(\d+)/m.exec(read(`/proc/${at}/status`))?.[1] ?? 0);
  }
  return false;
}

function read(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return ""; // ended meanwhile
  }
}
